"""A model folder with thresholds of one's own: what is in it, what it promises, and what is refused."""

import json

import numpy as np
import pytest
from helpers import read_cases

from essim.calibrate import own
from essim.calibrate.__main__ import main
from essim.calibrate.conformal import own_threshold
from essim.calibration import FILE, calibrated_map, load_calibration
from essim.evaluation.healthy import fit_calibration
from essim.evaluation.scoring import clean_maps
from essim.score.recipe import pick_threshold, read_recipe

NAMES = [f"p{i}" for i in range(9)]


def call(*words):
    return main([str(word) for word in words])


def calibrated(folder, calibrations):
    """The own thresholds of the scans of a folder of reconstructions, for 1 %."""

    def scorer(case):
        x, y, mask = case.tensors()
        return {"map": calibrated_map(x, y, calibrations[case.subject], mask=mask)}

    return [own_threshold(clean_maps(case, scorer)["map"], case.mask, 0.01) for case in read_cases(folder)]


def test_a_few_scans_give_thresholds(tmp_path, model, in_study_space, capsys):
    """And keep the model's calibration; what they promise stands in scoring.json, where score reads it."""
    healthy, out = in_study_space(tmp_path / "healthy", NAMES[:3]), tmp_path / "mine"
    for _ in range(2):  # the second replaces the first
        assert call(healthy, "--model", model, "--out", out) == 0
    said = capsys.readouterr().out
    assert "75% or more (3 of 4)" in said and "taken from the model: one made from the scans needs 8" in said
    for name in ("weights.safetensors", "config.json", FILE):
        assert (out / name).read_bytes() == (model / name).read_bytes()
    scoring = json.loads((out / "scoring.json").read_text("utf-8"))
    assert (scoring["healthy_scans"], scoring["bound"], scoring["own_calibration"]) == (3, 0.75, False)
    assert scoring["residual"] != 0.1 and str(model / FILE) in scoring["provenance"]["inputs"]
    recipe = read_recipe(out)
    threshold, _ = pick_threshold(recipe, out, "calibrated", None, 0.01)
    levels = calibrated(tmp_path / "mine_scans/reconstructions", dict.fromkeys(NAMES, load_calibration(model)))
    assert len(levels) == 3 and threshold == max(levels), "the largest: no less keeps the share in all"
    assert recipe.promise.startswith("From 3 healthy scans")
    assert recipe.thresholds["calibrated"][0.05] < threshold and recipe.thresholds["adaptive"][0.01] < 1


def test_enough_scans_give_a_calibration(tmp_path, model, in_study_space, monkeypatch):
    """Each is held against one that has not seen it."""
    prices = iter([1.5, 1.2])
    monkeypatch.setattr(own, "price_of", lambda levels: next(prices))
    healthy, out = in_study_space(tmp_path / "healthy", NAMES), tmp_path / "mine"
    result = own.calibrate(healthy, model, out)
    assert result["own_calibration"] and result["scans"] == 9 and result["bound"] == 0.9
    whole, without = fit_calibration(tmp_path / "mine_scans/reconstructions", (0.3, 0.5))
    kept = load_calibration(out)
    assert kept.scans == 9 and kept.level == pytest.approx(whole.level)
    np.testing.assert_allclose(kept.mean, whole.mean, atol=1e-3)
    threshold = result["thresholds"]["calibrated"][0.01]
    assert threshold == pytest.approx(max(calibrated(tmp_path / "mine_scans/reconstructions", without)))
    assert "approximately" in read_recipe(out).promise


def test_a_calibration_by_which_scans_differ_more_is_not_taken(tmp_path, model, in_study_space, monkeypatch, capsys):
    healthy, out = in_study_space(tmp_path / "healthy", NAMES), tmp_path / "mine"
    prices = iter([1.2, 1.5])
    monkeypatch.setattr(own, "price_of", lambda levels: next(prices))
    assert call(healthy, "--model", model, "--out", out) == 0
    assert (out / FILE).read_bytes() == (model / FILE).read_bytes()
    assert "with one made from the scans, they differ more from each other" in capsys.readouterr().out


def test_the_price_of_a_promise():
    levels = [{"calibrated": {0.05: 1.0, 0.01: level}, "l1": {0.01: 9.0}} for level in (2.0, 6.0, 3.0)]
    assert own.price_of(levels) == 2


def test_raw_scans_come_to_study_space_first(tmp_path, model, in_study_space, monkeypatch, capsys):
    """One scan a person, of the model's contrast; who fails is left out, and said."""

    def prepare(source, out, *, voxel_mm, jobs, template):
        assert (source.name, voxel_mm, jobs) == ("raw.csv", 2, 1)
        in_study_space(out, ["p1_ses-1", "p1_ses-2", "p2_ses-1"], ("t1", "t2"))
        return [{}] * 3, [("healthy", "p3", "no brain")]

    monkeypatch.setattr(own, "prepare", prepare)
    assert call(tmp_path / "raw.csv", "--model", model, "--out", tmp_path / "mine", "--jobs", "1") == 0
    said = capsys.readouterr()
    assert "p3 is left out: no brain" in said.err and "From 2 healthy scans" in said.out


def test_sentences(tmp_path, model, in_study_space, capsys):
    healthy, out = in_study_space(tmp_path / "healthy", NAMES[:1]), tmp_path / "mine"
    assert call(healthy, "--model", model, "--out", out) == 1
    assert "has 1 healthy people with a t1 scan that can be used; a threshold needs 2 or" in capsys.readouterr().err
    assert call(healthy, "--model", model, "--out", model) == 1
    assert "is the model's folder" in capsys.readouterr().err
    assert call(healthy, "--model", model, "--out", healthy) == 1
    assert "holds something other than an earlier result of calibrate" in capsys.readouterr().err
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"voxel_mm": 1.0}))
    in_study_space(tmp_path / "two", NAMES[:2])
    assert call(tmp_path / "two", "--model", model, "--out", out) == 1
    assert "has voxels of 2 mm, the model works at 1 mm; give the raw scans" in capsys.readouterr().err
    assert call(tmp_path / "nowhere", "--model", model, "--out", out) == 1
    assert "nowhere: no such folder or table" in capsys.readouterr().err
    assert not out.exists()
