"""The confirmatory run: what is declared, what is frozen, and which verdict follows."""

import numpy as np
import pandas as pd
import pytest
import yaml
from study_folder import ROOT

from essim.study import confirm

DECLARED = {"alpha": 0.05, "margin": 0.02, "share": 0.1, "column": "at_best"}
DECLARED["claims"] = {"a is ahead of l1": ["adaptive", "l1"], "c is ahead of l1": ["calibrated", "l1"]}


def scores(gains, spread=0.01, subjects=40):
    """Test patients: l1 scores about 0.3; {(dataset, method): its mean gain over l1, in `at_best` only}."""
    rng, parts = np.random.default_rng(0), []
    for dataset in dict.fromkeys(name for name, _ in gains):
        level = 0.3 + 0.1 * rng.standard_normal(subjects)
        for method in ("l1", "adaptive", "calibrated"):
            noise = rng.standard_normal(subjects)
            own = level if method == "l1" else level + spread * (noise - noise.mean())
            columns = {"protocol": own, "at_best": own + gains.get((dataset, method), 0)}
            part = pd.DataFrame({"dataset": dataset, "subject": range(subjects), "method": method} | columns)
            parts.append(part)
    return pd.concat(parts, ignore_index=True).assign(split="test")


GAINS = {("ms", "adaptive"): -0.1, ("ms", "calibrated"): 0.1, ("wmh", "adaptive"): 0.0, ("wmh", "calibrated"): 0.1}


def test_every_verdict():
    table = confirm.family(scores(GAINS), DECLARED, "at_best").set_index(["method", "dataset"])
    assert table.verdict.to_dict() == {
        ("adaptive", "ms"): "the opposite",
        ("adaptive", "wmh"): "no difference",
        ("calibrated", "ms"): "confirmed",
        ("calibrated", "wmh"): "confirmed",
    }
    loose = confirm.family(scores(GAINS, spread=0.3), DECLARED, "at_best").set_index(["method", "dataset"])
    assert loose.verdict["adaptive", "wmh"] == "open"
    assert (confirm.family(scores(GAINS), DECLARED, "protocol").verdict != "confirmed").all(), "the other column"


def test_holm_and_the_wide_intervals_are_over_the_whole_family():
    table = confirm.family(scores(GAINS, spread=0.2), DECLARED, "at_best")
    order = table.p.sort_values().index
    expected = (table.p[order] * np.arange(len(table), 0, -1)).cummax().clip(upper=1)
    np.testing.assert_allclose(table.p_holm[order], expected)
    assert (table.family_low < table.gain_low).all() and (table.gain_high < table.family_high).all()
    alone = DECLARED | {"claims": {"c is ahead of l1": ["calibrated", "l1"]}}
    part = confirm.family(scores(GAINS, spread=0.2), alone, "at_best").set_index("dataset")
    whole = table[table.method == "calibrated"].set_index("dataset")
    assert (part.gain == whole.gain).all() and (part.family_high < whole.family_high).all()
    assert (part.p_holm <= whole.p_holm).all()


def test_where_every_score_is_small_a_small_difference_is_one():
    """An interval within the margin says nothing about scores smaller than the margin."""
    small = scores({("wmh", "adaptive"): 0.0, ("wmh", "calibrated"): 0.0}, spread=0.3)
    columns = ["protocol", "at_best"]
    small[columns] = small[columns] / 100
    table = confirm.family(small, DECLARED, "at_best")
    assert table[["gain_low", "gain_high"]].abs().max(axis=None) < DECLARED["margin"]
    assert set(table.verdict) == {"open"} and (table.margin < 0.001).all()


def test_the_sentences_name_every_set_with_its_numbers():
    table = confirm.family(scores(GAINS), DECLARED, "at_best")
    first, about_a, about_c = confirm.say(table)
    assert first == "Of 4 statements (one claim on one set): 2 confirmed, 1 the opposite, 1 no difference, 0 open."
    assert about_a.startswith("A is ahead of l1: The opposite on ms -0.10") and "No difference on wmh" in about_a
    assert about_c.startswith("C is ahead of l1: Confirmed on ms +0.") and "; wmh +0." in about_c


def test_regret_is_against_the_best_window_in_both_columns():
    rows = [("ms", "ssim 0.3", 0.4, 0.2), ("ms", "ssim 4", 0.2, 0.4), ("ms", "adaptive", 0.3, 0.3)]
    rows += [("ms", "ssim best", 0.9, 0.9)]
    table = pd.DataFrame(rows, columns=["dataset", "method", "protocol", "at_best"])
    table = pd.concat([table.assign(subject=f"{i}", split="test") for i in range(4)])
    whole = confirm.regrets(table)
    lost = whole[whole.dataset == "all"].set_index(["column", "method"]).regret
    assert lost["protocol", "ssim 0.3"] == lost["at_best", "ssim 4"] == 0 and ("protocol", "ssim best") not in lost
    assert lost["protocol", "adaptive"] == lost["at_best", "adaptive"] == pytest.approx(0.25)
    sentences = confirm.say_regret(confirm.regrets(table))
    assert "protocol: the paper's ensemble +0.250" in sentences[0] and "window (ssim 4) +0.000" in sentences[1]


def test_the_declaration_of_the_study_is_whole():
    declared = confirm.read_declaration(ROOT / "workflow/confirm.yaml")
    assert declared["column"] == "at_best" and declared["alpha"] == 0.05 and len(declared["claims"]) == 6


@pytest.mark.parametrize("changes", [{"alpha": "0.05"}, {"column": "best"}, {"claims": {}}, {"beta": 0.1}])
def test_a_wrong_declaration_is_one_sentence(tmp_path, changes):
    path = tmp_path / "confirm.yaml"
    path.write_text(yaml.safe_dump(DECLARED | changes))
    with pytest.raises(ValueError, match="confirm.yaml: must have alpha .float., .*, `claims` one or more"):
        confirm.read_declaration(path)


def test_missing_choices_are_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="at_best.csv: no such file; finish the development study first"):
        confirm.read_frozen(tmp_path)
    pd.DataFrame({"method": ["l1"], "post": ["none"], "order": ["erode first"]}).to_csv(tmp_path / "at_best.csv")
    windows = pd.DataFrame({"dataset": ["ms"], "column": ["protocol"], "method": ["ssim 4"]})
    windows.to_csv(tmp_path / "at_best_windows.csv")
    assert confirm.read_frozen(tmp_path)[1] == {("ms", "protocol"): "ssim 4"}
