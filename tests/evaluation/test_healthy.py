"""Healthy scans in parts: a yardstick and thresholds, each from different people."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import write_cases

from essim.evaluation.cases import case_rows
from essim.evaluation.healthy import fit_calibration, healthy_thresholds

SHAPE = (16, 14, 12)


@pytest.fixture
def folder(tmp_path):
    """Six healthy validation scans and a test scan, each reconstructed with a different error: 0.01, 0.02, ..."""
    cases, brain = {}, np.ones(SHAPE, bool)
    for i in range(7):
        image = np.random.default_rng(i).random(SHAPE).astype(np.float32)
        cases[f"h{i}"] = ("val" if i < 6 else "test", image, image - np.float32(0.01 * (i + 1)), brain, 0 * brain)
    return write_cases(tmp_path / "healthy", cases)


def share_out(folder, parts):
    table = pd.read_csv(folder / "scans.csv").assign(part=parts)
    table.to_csv(folder / "scans.csv", index=False)


def l1(case):
    return {"l1": torch.from_numpy(np.abs(case.image - case.reconstruction))[None, None]}


def test_the_yardstick_and_the_thresholds_know_their_own_people_only(folder):
    share_out(folder, ["yardstick", "thresholds"] * 3 + [""])
    names = {part: [row["subject"] for row in case_rows(folder, part)] for part in ("yardstick", "thresholds")}
    assert names == {"yardstick": ["h0", "h2", "h4"], "thresholds": ["h1", "h3", "h5"]}
    assert len(case_rows(folder, "val")) == 6 and len(case_rows(folder, "test")) == 1
    calibration, without = fit_calibration(folder, [0.5])
    assert calibration.scans == 3 and list(without) == names["yardstick"]
    assert healthy_thresholds(folder, l1, [0.01])["l1"][0.01] == pytest.approx(0.06, abs=1e-6)
    share_out(folder, ["thresholds"] * 2 + ["yardstick"] * 4 + [""])
    assert healthy_thresholds(folder, l1, [0.01])["l1"][0.01] == pytest.approx(0.02, abs=1e-6)


@pytest.mark.parametrize("named", [False, True])
def test_few_scans_serve_for_all(folder, named):
    if named:
        share_out(folder, "")
    calibration, without = fit_calibration(folder, [0.5])
    assert calibration.scans == len(without) == 6
    assert healthy_thresholds(folder, l1, [0.01])["l1"][0.01] == pytest.approx(0.06, abs=1e-6)
