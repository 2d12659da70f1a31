"""What the calibration's settings contribute, and whether promises are kept: by hand, against the study's own."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import read_cases, slab, write_cases
from test_calibration import SIGMAS, healthy

from essim import calibrated_map
from essim.evaluation.healthy import fit_calibration
from essim.evaluation.scoring import validation_auprc
from essim.study.calibrating import (
    calibrations_by_setting,
    maps_by_setting,
    marked_by_group,
    score_settings,
    sentences,
    shares_kept,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """(patients, healthy scans) of one scanner each, whose lesions the reconstruction doesn't have."""
    root, cases = tmp_path_factory.mktemp("calibrating"), {}
    for i, split in enumerate(("val", "test")):
        rng, seg = np.random.default_rng(10 + i), slab(3 + i)
        image = rng.random(seg.shape).astype(np.float32)
        rebuilt = image + 0.1 * rng.standard_normal(seg.shape).astype(np.float32) - 0.15 * seg
        cases[f"p{i}"] = (split, image, rebuilt.astype(np.float32), np.ones(seg.shape, bool), seg)
    patients, people = write_cases(root / "ms", cases), healthy(root)
    for folder, site in ((patients, "there"), (people, "here")):
        table = pd.read_csv(folder / "scans.csv").assign(site=site, sex="f", age=30)
        table.to_csv(folder / "scans.csv", index=False)
    return patients, people


@pytest.fixture(scope="module")
def by_setting(folders):
    return calibrations_by_setting(folders[1], SIGMAS, [2, 4, 16], [0.5, 2.0])


def test_the_settings_meet_in_the_studys_own_calibration(folders, by_setting):
    own, _ = fit_calibration(folders[1], SIGMAS)
    assert list(by_setting)[1:] == [("healthy scans", n) for n in (0, 2, 4)] + [("smoothing", w) for w in (0.5, 2.0)]
    for setting in (("misplaced", 0), ("healthy scans", 4), ("smoothing", 0.5)):
        assert torch.equal(by_setting[setting].mean, own.mean) and torch.equal(by_setting[setting].sd, own.sd)
    assert by_setting["healthy scans", 2].scans == 2
    assert not torch.equal(by_setting["smoothing", 2.0].mean, own.mean)


def test_without_a_healthy_scan_the_differences_are_added_up(folders, by_setting):
    case = next(read_cases(folders[0]))
    maps = maps_by_setting(case, by_setting, [1])
    l1 = np.abs(case.image - case.reconstruction) / max(np.ptp(case.image), np.ptp(case.reconstruction))
    assert (maps["healthy scans", 0][0, 0].numpy() >= l1 / 2 - 1e-6).all()


def test_a_misplaced_scan_is_compared_out_of_place_and_comes_back(folders, by_setting):
    case = next(read_cases(folders[0]))
    x, y, _ = case.tensors()
    maps, whole = maps_by_setting(case, by_setting, [1, 2]), by_setting["misplaced", 0]
    assert [value for setting, value in maps if setting == "misplaced"] == [0, -1, 1, -2, 2]
    moved = calibrated_map(x.roll(2, 3), y.roll(2, 3), whole)
    assert torch.equal(maps["misplaced", 2], moved.roll(-2, 3)) and not torch.equal(maps["misplaced", 2], moved)


def test_settings_are_scored_on_the_validation_part(folders, by_setting):
    table = score_settings({"ms": folders[0]}, {"ms": by_setting}, [1])
    assert list(table.columns) == ["setting", "value", "ms", "mean"] and len(table) == len(by_setting) + 2
    own = validation_auprc(
        folders[0], lambda case: {"own": calibrated_map(*case.tensors()[:2], by_setting["misplaced", 0])}
    )
    row = table.set_index(["setting", "value"]).loc[("misplaced", 0)]
    assert row.ms == row["mean"] == own.item()


def test_every_group_is_marked(folders):
    patients, people = folders

    def scorer(case):
        return {"one": torch.ones(1, 1, *case.mask.shape), "none": torch.zeros(1, 1, *case.mask.shape)}

    thresholds = {"t2": {"one": {0.5: 0.5}, "none": {0.5: 0.5}}}
    marked = marked_by_group({"t2": people}, {"ms": patients}, {"ms": "t2"}, {"t2": scorer}, thresholds)
    shares = marked.groupby(["group", "method"], sort=False).marked.mean().unstack("method")
    assert list(shares.index) == ["known scanners", "patients", "patients, far from lesions"]
    assert (shares.one.dropna() == 1).all() and (shares.none.dropna() == 0).all()


def test_shares_kept_and_said_by_hand():
    rows = {"group": ["known scanners"] * 2 + ["patients"], "site": ["a", "b", "c"], "age": [30, 70, 70]}
    marked = pd.DataFrame(rows | {"contrast": "t1", "method": "l1", "promised": 0.1, "marked": [0.1, 0.2, 0.9]})
    kept = shares_kept(marked).set_index(["by", "who"]).marked
    assert kept["group"].to_dict() == pytest.approx({"known scanners": 0.15, "patients": 0.9})
    assert kept["site"].to_dict() == {"a": 0.1, "b": 0.2}, "patients stand in their group only"
    assert kept["age"].to_dict() == {"< 40": 0.1, "60 +": 0.2}


def test_a_promise_is_kept_where_the_whole_interval_is():
    """The means of both methods are within a factor of 1.5 at both shares; an end of an interval may not be."""
    rows = [  # method, promised, marked, and the interval
        ("calibrated", 0.01, 0.010, 0.008, 0.014),
        ("calibrated", 0.10, 0.120, 0.090, 0.151),
        ("l1", 0.01, 0.012, 0.006, 0.014),
        ("l1", 0.10, 0.110, np.nan, np.nan),  # two scans have no interval
    ]
    kept = pd.DataFrame(rows, columns=["method", "promised", "marked", "marked_low", "marked_high"])
    kept = kept.assign(by="group", contrast="t1", who="known scanners")
    (text,) = sentences(pd.concat([kept, kept.assign(by="site")]), ["calibrated", "l1"])
    assert text == (
        "T1, known scanners, share marked / share promised: "
        "calibrated 1.00 to 1.20, whole interval within a factor of 1.5 at 1.0%; "
        "l1 1.10 to 1.20, whole interval within a factor of 1.5 at no share."
    )
