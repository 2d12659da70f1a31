"""Tables and sentences about real heads follow from their scans: where they lie, what is found, what is marked."""

import json

import numpy as np
import pandas as pd
import pytest
from test_promise import place  # noqa: F401 - a fixture: an untrained network and two scans, one with a lesion

from essim.data.volumes import read_nifti
from essim.study import real_heads
from essim.study.promise import PROMISED


@pytest.fixture
def seen(place, tmp_path):  # noqa: F811
    """The table and the slices of a healthy and an ill person; T2 has no network."""
    folder, scans = place
    (tmp_path / "net_t1").symlink_to(folder / "model")
    scans = pd.concat([scans, scans.tail(1).assign(contrast="t2")])
    about = {"dataset": ["healthy", "ms", "ms"], "subject": ["anna", "bert", "bert"], "site": ["A", "B", "B"]}
    scans = scans.drop(columns=["source", "head"]).assign(split="test", age=[40, "", ""], sex="", **about)
    return scans, *real_heads.look(scans, tmp_path / "net", [0.3, 2.0])


def test_a_scan_that_lies_askew_overlaps_less(seen):
    scans, *_ = seen
    brain = read_nifti(scans["mask"].iloc[0])[0] > 0
    table, slices, outline = real_heads.placement(scans, brain)
    assert table.overlap.tolist() == [1.0] * 3 and list(slices) == ["anna, T1", "bert, T1", "bert, T2"]
    assert [image.shape for image in slices["anna, T1"]] == [part.shape for part in outline] == [(40, 48), (48, 40)]
    askew, *_ = real_heads.placement(scans, np.roll(brain, 5, axis=1))
    assert 0.8 < askew.overlap.max() < 0.95


def test_patients_are_shown_where_the_lesion_is_largest(seen):
    scans, table, views = seen
    assert table.groupby("subject").method.size().to_dict() == {"anna": 3, "bert": 6}
    assert table.sigma.dropna().tolist() == [0.3, 2.0]
    (view,) = views.values()
    assert list(views) == ["bert, T1"] and len(view) == len(real_heads.COLUMNS)
    seg = read_nifti(scans.seg.iloc[1])[0] > 0
    assert (view[-1] == seg[:, :, seg.sum((0, 1)).argmax()]).all()


def test_the_best_window_stands_beside_the_others(seen):
    _, table, _ = seen
    rows = real_heads.patients(table)
    assert rows.method.tolist() == list(real_heads.SHOWN)
    singles = table[table.sigma.notna()].set_index("sigma").auprc
    best = rows.set_index("method").loc["ssim best"]
    assert best.auprc == singles.max() and best.sigma == singles.idxmax()
    assert set(real_heads.healthy(table).subject) == {"anna"}
    assert real_heads.sources(table) == "Scans: A; B."


def test_sentences_follow_the_numbers():
    marked = {"l1": 0.01, "ssim best": np.nan, "adaptive": 0.02, "l1 calibrated": np.nan, "calibrated": 0.034}
    rows = pd.DataFrame([{"method": method, "marked": share} for method, share in marked.items()])
    rows = rows.assign(subject="bert", contrast="t2", sigma=[np.nan, 0.5] + [np.nan] * 3)
    rows = rows.assign(auprc=[0.3, 0.2, 0.1, 0.25, 0.4])
    (sentence,) = real_heads.say_found(rows)
    assert sentence == (
        "bert, T2: calibrated is ahead, AUPRC 0.40; l1 0.30, l1 calibrated 0.25, adaptive 0.10; the best single "
        f"window, with hindsight (\u03c3 = 0.5), 0.20. Outside the lesions, where {PROMISED:.0%} is promised, "
        "l1 marks 1.0%, adaptive marks 2.0%, calibrated marks 3.4%."
    )
    windows = real_heads.say_windows(rows, [0.3, 0.5])
    assert windows == (
        "No single window reaches l1 on 1 of 1 scans, adaptive on 0 of 1 scans, "
        "l1 calibrated on 1 of 1 scans, calibrated on 1 of 1 scans; "
        "on 1, the best window is the smallest or largest tried."
    )
    people = pd.DataFrame({"age": [20, 30, 40, ""], "marked": [0.01, 0.02, 0.03, 0.5], "split": "test", "method": "l1"})
    share, age = real_heads.say_marked(people)
    assert share == "4 scans of healthy controls not used in training: l1 marks a median of 2.5% (1.0% to 50.0%)."
    assert age.startswith("Age against the share that l1 marks: Spearman's \u03c1 +1.00")
    known, new, _ = real_heads.say_marked(people.assign(split=["train", "val", "test", "test"]))
    assert known.startswith("2 scans of healthy controls whose anatomy was used in training: l1 marks a median of 1.5%")
    assert new.startswith("2 scans of healthy controls not used in training")


def test_a_network_of_an_older_kind_is_one_sentence(place, tmp_path, seen):  # noqa: F811
    folder, _ = place
    scans, *_ = seen
    (tmp_path / "old_t1").mkdir()
    for file in (folder / "model").iterdir():
        (tmp_path / "old_t1" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "old_t1/scoring.json").write_text(json.dumps({"thresholds": {}}))
    with pytest.raises(ValueError, match="lacks the residual"):
        real_heads.look(scans, tmp_path / "old", [0.3])
