"""Which value is chosen, and what the sentences say about it."""

import numpy as np
import pandas as pd
import pytest

from essim.study import selection


def scores(values, split, method="adaptive"):
    """A score table from {dataset: {value: [auprc of each subject]}}."""
    rows = [
        {"dataset": d, "subject": f"{d}{i}", "split": split, "value": v, "method": method, "auprc": s}
        for d, several in values.items()
        for v, subjects in several.items()
        for i, s in enumerate(subjects)
    ]
    return pd.DataFrame(rows)


VAL = {"tumour": {"1": [0.8, 0.8], "2": [0.7, 0.9], "4": [0.6, 0.8]}, "ms": {"1": [0.1, 0.1], "2": [0.1], "4": [0.2]}}
TEST = {"tumour": {"1": [0.5, 0.7], "4": [0.6, 0.9]}, "ms": {"1": [0.3, 0.3], "4": [0.1, 0.2]}}


def test_the_choice_is_that_of_the_validation_part():
    """Regret of 1, 2, 4: tumour 0, 0, 1/8; ms 1/2, 1/2, 0. The test part, where 1 is better for ms, has no say."""
    table = pd.concat([scores(VAL, "val"), scores(TEST, "test")])
    assert selection.chosen(table, 1, "adaptive") == "4"
    found = selection.choice(table, "draws", 1, ["adaptive"])
    assert found[["study", "chosen", "subjects"]].to_numpy().tolist() == [["1", "4", 2]] * 2
    by = found.set_index("dataset")
    assert by.gain.to_dict() == pytest.approx({"tumour": 0.15, "ms": -0.15})
    assert by.at_study.to_dict() == pytest.approx({"tumour": 0.6, "ms": 0.3})
    assert by.at_chosen.to_dict() == pytest.approx({"tumour": 0.75, "ms": 0.15})
    (sentence,) = selection.sentences(found)
    assert sentence.startswith("adaptive: the validation parts choose 4 instead of the study's 1; this changes AUPRC")
    assert sentence.endswith(" on the test parts by +0.150 (tumour), -0.150 (ms)."), "two patients give no interval"


@pytest.mark.parametrize("study", ["1", "2"])
def test_the_study_keeps_its_value_in_a_tie(study):
    table = pd.concat([scores({"ms": {"1": [0.4], "2": [0.4], "4": [0.1]}}, split) for split in ("val", "test")])
    found = selection.choice(table, "draws", study, ["adaptive"])
    assert found.chosen.tolist() == [study] and found.gain.tolist() == [0]
    assert "as the study does; AUPRC on the test parts: 0.400 (ms)." in selection.sentences(found)[0]


def test_means_have_intervals_around_them():
    values = np.random.default_rng(0).random(20)
    (row,) = selection.means(scores({"ms": {"1": values}}, "test")).to_dict("records")
    assert row["auprc"] == pytest.approx(values.mean())
    low, high = row["auprc_low"], row["auprc_high"]
    error = values.std(ddof=1) / 20**0.5
    assert low < row["auprc"] < high and high - low == pytest.approx(2 * 1.96 * error, rel=0.2)
