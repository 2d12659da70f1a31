"""The plan of a study on your own scans: its sets, its contrasts, where its results lie."""

import re
from pathlib import Path

import pandas as pd
import pytest
from plan import make_plan, place_of, results_of
from steps import check, steps_of


@pytest.fixture
def table(tmp_path):
    """Healthy people in T1, patients of a set in T1, of another in T2 only."""
    rows = [{"dataset": "healthy", "subject": f"h{i}", "contrast": "t1"} for i in range(12)]
    for dataset, contrast in (("epilepsy", "t1"), ("ms", "t2")):
        rows += [{"dataset": dataset, "subject": f"{dataset}{i}", "contrast": contrast} for i in range(4)]
    for row in rows:
        row |= {"image": f"{row['subject']}.nii.gz", "mask": "nonzero"}
    path = tmp_path / "my scans.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_scans_of_ones_own_decide_the_sets(table):
    plan = make_plan({"profile": "smoke", "source": str(table)})
    assert plan.sets == {"epilepsy": "t1"} and plan.contrasts == ["t1"], "of ms nothing can be learned"
    assert plan.raw and plan.stamp == [f"{plan.data}/prepare.json"]
    assert re.fullmatch(r"results/smoke-my-scans-[0-9a-f]{6}", plan.home) and plan.home[8:] == plan.data[5:]
    assert results_of("smoke", str(table)) == Path(plan.home)
    assert f"{table}, to be prepared first" in plan.summary() and "  epilepsy t1: 1 val, 3 test" in plan.summary()
    steps = steps_of(plan)
    assert not steps[None] and "03_reconstruct_epilepsy" in steps[""]
    check(steps)


def test_a_set_is_scored_in_a_contrast_that_there_is(table):
    """In the profile's, else in T2, T1, FLAIR."""
    scans = pd.read_csv(table)
    ms, others = scans[scans.dataset == "ms"], scans[scans.dataset != "ms"]
    everything = pd.concat([others, ms.assign(contrast="t1"), ms, *(scans.assign(contrast=c) for c in ("t2", "flair"))])
    without_t2 = everything[(everything.dataset != "ms") | (everything.contrast == "flair")]
    for rows, sets in (
        (everything, {"ms": "t2", "epilepsy": "t2"}),
        (without_t2, {"ms": "flair", "epilepsy": "t2"}),
        (scans.assign(contrast="flair"), {"ms": "flair", "epilepsy": "flair"}),
    ):
        rows.drop_duplicates(["subject", "contrast"]).to_csv(table, index=False)
        assert make_plan({"profile": "smoke", "source": str(table)}).sets == sets


def test_a_contrast_without_a_network_is_one_sentence(table):
    pd.read_csv(table).assign(contrast="flair").to_csv(table, index=False)
    text = "elsewhere_flair: no such folder, there is no pretrained network for flair; .* leave the set epilepsy out"
    with pytest.raises(ValueError, match=text):
        make_plan({"profile": "pretrained", "networks": "elsewhere", "source": str(table)})


def test_new_files_have_another_digest(table):
    plan = make_plan({"profile": "smoke", "source": str(table)})
    before = plan.files_digest()
    assert plan.files_digest() == before
    (table.parent / "h0.nii.gz").write_bytes(b"1")
    assert plan.files_digest() != before


def test_sources_of_one_name_have_places_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["a/scans", "b/scans", "ds-1.0.0", "ds-1.0.1", "my data", "my-data", "2023", "1e3", "it's # odd: yes"]
    places = [place_of("results/laptop", name) for name in names]
    assert len({*places}) == len(places)
    assert all(re.fullmatch(r"results/laptop-[\w.-]+-[0-9a-f]{6}", place) for place in places)
    assert place_of("results/laptop", tmp_path / "ds-1.0.0") == places[2], "the same source, called in another way"
    assert place_of("results/laptop", "") == "results/laptop"


@pytest.mark.parametrize("source", [2023, 1000.0, True])
def test_a_source_that_came_as_a_number_is_one_sentence(source):
    with pytest.raises(ValueError, match=f"source must be a path, got {source}: write source=@NAME"):
        make_plan({"profile": "smoke", "source": source})


def test_a_wrong_source_is_one_sentence(table):
    with pytest.raises(ValueError, match="nowhere: no such folder or table; correct the path."):
        make_plan({"profile": "smoke", "source": "nowhere"})
    alone = pd.read_csv(table)
    alone[alone.dataset != "healthy"].to_csv(table, index=False)
    with pytest.raises(ValueError, match="has no patients with healthy scans of the same contrast"):
        make_plan({"profile": "smoke", "source": str(table)})
