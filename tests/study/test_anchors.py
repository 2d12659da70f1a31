"""Published numbers beside the study's own: which rows there are, and where they come from."""

import pandas as pd
import pytest

from essim.study import anchors


@pytest.fixture
def tables():
    """volumes, decisions and grid of two sets with two patients each."""
    keys = [(d, s, m) for d in ("tumour", "epilepsy") for s in ("a", "b") for m in ("intensity", "l1", "adaptive")]
    volumes = pd.DataFrame(keys, columns=["dataset", "subject", "method"])
    volumes["auprc"] = [0.1 * (s == "b") + 0.2 * (m == "l1") for _, s, m in keys]
    decisions = volumes.drop(columns="auprc")
    decisions = pd.concat(
        [decisions.assign(source="validation", dice=0.5), decisions.assign(source="oracle", dice=1.0)]
    )
    cells = [
        ("tumour", r, s, 0.3 if (r, s) == ("vae", "l1") else 0.9, 2) for r in ("vae", "blur") for s in ("l1", "l2")
    ]
    return volumes, decisions, pd.DataFrame(cells, columns=["dataset", "reconstruction", "score", "auprc", "subjects"])


def test_the_published_table_is_whole():
    table = anchors.published()
    assert len(table) == 28 and not table.duplicated(["method", "dataset"]).any()
    assert table.dice.between(0.03, 0.6).all() and table.auprc.between(0.01, 0.6).all()
    rows = table.set_index(["method", "dataset"])[["dice", "auprc"]]
    assert rows.loc["DDPM", "tumour"].tolist() == [0.443, 0.5]
    assert rows.loc["threshold", "stroke"].tolist() == [0.044, 0.017]


def test_what_is_found_here_is_a_mean_over_patients(tables):
    table = anchors.found_here(*tables).set_index(["dataset", "method"])
    assert set(table.source) == {"this study"} and "adaptive" not in table.index.get_level_values("method")
    assert table.auprc["tumour", "threshold"] == pytest.approx(0.05)
    assert table.auprc["epilepsy", "DDPM"] == pytest.approx(0.25)
    assert table.auprc["tumour", "VAE"] == 0.3
    assert (table.dice.dropna() == 0.5).all(), "at the validation threshold"
    assert (table.subjects == 2).all()


def test_sets_that_nobody_published_stand_alone(tables, tmp_path):
    table = anchors.side_by_side(*tables, tmp_path)
    assert set(table.dataset) == {"tumour", "epilepsy"}
    assert set(table[table.dataset == "epilepsy"].source) == {"this study"}
    assert set(table[table.dataset == "tumour"].source) == {"this study", "published"}


def test_real_patients_by_contrast(tables, tmp_path):
    half = [
        ("half-real", "tumour", "l1", 0.4, 50),
        ("half-real", "ms", "l1", 0.1, 9),
        ("grown", "tumour", "l1", 0.9, 9),
    ]
    columns = ["patients", "dataset", "method", "auprc", "subjects"]
    pd.DataFrame(half, columns=columns).to_csv(tmp_path / "real_transplants.csv", index=False)
    heads = [("healthy", "t1", "l1", None), ("tumour", "t1", "l1", 0.2), ("tumour", "t1", "l1", 0.4)]
    heads += [("tumour", "t2", "l1", 0.7), ("tumour", "t2", "calibrated", 0.8)]
    pd.DataFrame(heads, columns=["dataset", "contrast", "method", "auprc"]).to_csv(
        tmp_path / "real_heads.csv", index=False
    )
    table = anchors.side_by_side(*tables, tmp_path)
    found = table[~table.source.isin(["this study", "published"])].set_index("source")
    assert found.auprc.to_dict() == pytest.approx({"half-real, T1": 0.4, "real, T1": 0.3, "real, T2": 0.7})
    assert found.subjects.to_dict() == {"half-real, T1": 50, "real, T1": 2, "real, T2": 1}
    assert found.dice.isna().all()
