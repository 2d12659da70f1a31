"""Score tables summed up: means, the typical patient, regret, the spread over several runs."""

import itertools

import numpy as np
import pandas as pd
import pytest

from essim.evaluation.stats import interval
from essim.evaluation.summaries import (
    GAIN,
    regret,
    sensitivity_by_size,
    spread,
    summarise,
    typical,
    with_interval,
)


def scores(values, split="test"):
    """A score table from {dataset: {method: [auprc of each subject]}}."""
    lines = [
        {"dataset": d, "subject": f"{d}{i}", "split": split, "method": m, "auprc": v, "dice": v / 2}
        for d, methods in values.items()
        for m, subjects in methods.items()
        for i, v in enumerate(subjects)
    ]
    return pd.DataFrame(lines).assign(best_dice=0.9, threshold=0.1, prevalence=0.01)


def test_summarise():
    test = scores({"tumour": {"l1": [0.2, 0.4], "ssim": [0.6, 1.0]}, "ms": {"l1": [0.1], "ssim": [0.3]}})
    table = summarise(pd.concat([scores({"tumour": {"l1": [0.9]}}, "val"), test]))
    assert table[["dataset", "method"]].to_numpy().tolist() == [
        ["tumour", "l1"],
        ["tumour", "ssim"],
        ["ms", "l1"],
        ["ms", "ssim"],
    ]
    assert table.auprc.tolist() == pytest.approx([0.3, 0.8, 0.1, 0.3])
    assert table.dice.tolist() == pytest.approx([0.15, 0.4, 0.05, 0.15])
    assert table.subjects.tolist() == [2, 2, 1, 1]
    assert summarise(scores({"ms": {"l1": [0.5]}}, "val"), "val").auprc.tolist() == [0.5]


def test_regret_by_hand():
    values = {
        "tumour": {"0.3": [0.8], "1.1": [0.6], "adaptive": [0.7], "l1": [1.0]},
        "ms": {"0.3": [0.05], "1.1": [0.2], "adaptive": [0.15], "l1": [0.1]},
    }
    table = regret(scores(values), ["0.3", "1.1"]).set_index("method").regret
    # best singles: tumour 0.8, ms 0.2
    assert table["0.3"] == pytest.approx((0 + 0.15 / 0.2) / 2)
    assert table["1.1"] == pytest.approx((0.2 / 0.8 + 0) / 2)
    assert table["adaptive"] == pytest.approx((0.1 / 0.8 + 0.05 / 0.2) / 2)
    assert table["l1"] == pytest.approx((-0.2 / 0.8 + 0.1 / 0.2) / 2)  # better than the best single on one set
    assert table.tolist() == sorted(table)
    halves = regret(scores(values), ["0.3", "1.1"], score="dice").set_index("method").regret
    pd.testing.assert_series_equal(halves, table, check_exact=False)  # dice is half of auprc here: the same shares


def test_the_interval_of_regret_is_that_of_resampled_patients():
    """Three patients: 27 resamples per set, from which the bootstrap draws; each chooses the best window again."""
    values = {"ms": {"0.3": [0.1, 0.5, 0.9], "1.1": [0.4, 0.5, 0.4], "l1": [0.2, 0.3, 0.6]}}
    table = regret(scores(values), ["0.3", "1.1"], resamples=4000).set_index("method")
    every = np.array(list(itertools.product(range(3), repeat=3)))
    means = {method: np.array(subjects)[every].mean(1) for method, subjects in values["ms"].items()}
    best = np.maximum(means["0.3"], means["1.1"])
    for method, mean in means.items():
        low, high = np.quantile((best - mean) / best, [0.025, 0.975], method="inverted_cdf")
        assert table.regret_low[method] == pytest.approx(low, abs=0.03)
        assert table.regret_high[method] == pytest.approx(high, abs=0.03)
    assert (table.regret_low <= table.regret).all() and (table.regret <= table.regret_high).all()


def test_typical_is_the_median_patient():
    table = pd.concat(
        [scores({"ms": {"l1": [0.9, 0.1, 0.5], "ssim": [0.0, 0.1, 0.2]}}), scores({"ms": {"l1": [0.7]}}, "val")]
    )
    assert typical(table, "l1").subject == "ms2"
    assert typical(table, "ssim").subject == "ms1"
    lost = scores({"ms": {"l1": [0.9, np.nan, 0.5, np.nan, 0.7]}})
    assert typical(lost, "l1").subject == "ms4", "a patient whose lesion is too small for the grid has no score"


RUNS = {(0, 0): 0.1, (0, 1): 0.3, (1, 0): 0.5, (1, 1): 0.9}  # (seed, fold): the score


def test_spread_by_hand():
    """Means of the seeds: 0.2, 0.7; of the folds: 0.3, 0.6. Two numbers' deviation is their distance / 2^.5."""
    rows = []
    for (seed, fold), value in RUNS.items():
        run = {"seed": seed, "fold": fold, "dataset": "ms"}
        ends = {"auprc_low": 0.9 * value, "auprc_high": 1.1 * value}
        rows.append(run | {"method": "ssim 0.3", "sigma": 0.3, "auprc": value, "dice": 0.5} | ends)
        ends = {"auprc_low": 0.25, "auprc_high": 0.45}
        rows.append(run | {"method": "l1", "sigma": np.nan, "auprc": 0.4, "dice": value} | ends)
    table = spread(pd.DataFrame(rows), ["dataset", "method", "sigma"], ["auprc", "dice"])
    parts = ["between_subjects", "between_seeds", "between_folds"]
    assert list(table.columns) == ["dataset", "method", "sigma", "score", "mean", *parts]
    assert table.method.tolist() == ["ssim 0.3", "l1"] * 2 and table.sigma.isna().tolist() == [False, True] * 2
    assert table.score.tolist() == ["auprc", "auprc", "dice", "dice"]
    assert table["mean"].tolist() == pytest.approx([0.45, 0.4, 0.5, 0.45])
    assert table.between_subjects.tolist() == pytest.approx([0.045, 0.1, np.nan, np.nan], nan_ok=True)
    assert table.between_seeds.tolist() == pytest.approx([0.5 / 2**0.5, 0, 0, 0.5 / 2**0.5])
    assert table.between_folds.tolist() == pytest.approx([0.3 / 2**0.5, 0, 0, 0.3 / 2**0.5])


@pytest.mark.parametrize(("several", "one"), [("seed", "fold"), ("fold", "seed")])
def test_spread_over_what_there_is_several_of(several, one):
    table = pd.DataFrame({several: [0, 1, 2], one: 0, "method": "l1", "regret": [0.1, 0.2, 0.3]})
    (row,) = spread(table, ["method"], ["regret"]).to_dict("records")
    numbers = {"mean": pytest.approx(0.2), f"between_{several}s": pytest.approx(0.1)}
    assert row == {"method": "l1", "score": "regret"} | numbers


def test_a_mean_with_its_interval_is_text():
    row = {"auprc": 0.5, "auprc_low": 0.25, "auprc_high": np.nan, "gain": 0.1, "gain_low": -0.2, "gain_high": 0.3}
    assert with_interval(row, "auprc") == "0.500 (0.250 to nan)"
    assert with_interval(row, "gain", GAIN) == "+0.100, -0.200 to +0.300"
    none = {f"gain_{end}": float("nan") for end in ("low", "high")}
    assert with_interval(row | none, "gain", GAIN) == "+0.100", "too few subjects for an interval"


def test_the_interval_by_size_is_over_patients():
    found = np.random.default_rng(0).random(20) < 0.5
    lesions = pd.DataFrame({"subject": [f"p{i % 5}" for i in range(20)], "volume_ml": 5.0, "found": found})
    (row,) = sensitivity_by_size(lesions).to_dict("records")
    assert (row["size"], row["lesions"]) == ("1 to 10 ml", len(lesions))
    shares = lesions.groupby("subject").found.mean()
    assert (row["sensitivity"], (row["sensitivity_low"], row["sensitivity_high"])) == (shares.mean(), interval(shares))


def test_one_patient_of_many_lesions_counts_as_one():
    few = [{"subject": f"p{i}", "volume_ml": 0.5, "found": True} for i in range(9)]
    many = [{"subject": "q", "volume_ml": 0.5, "found": i < 5} for i in range(50)]
    (row,) = sensitivity_by_size(pd.DataFrame(few + many)).to_dict("records")
    assert (
        row["sensitivity"] == pytest.approx((9 + 0.1) / 10)
        and row["sensitivity_low"] <= row["sensitivity"] <= row["sensitivity_high"]
    )
