"""Scoring a set: what is judged at which threshold, the level of maps, how a shorter training would have scored."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import AS_IT_IS, read_cases, slab, write_cases
from torch import nn

from essim.diffusion import GaussianDiffusion
from essim.evaluation import scoring
from essim.evaluation.cases import reconstruct_set
from essim.evaluation.scoring import map_levels, score_set, training_length


def scorer(case):
    """A perfect score, a useless one, and one that is right but twice as large in the validation part."""
    seg = torch.from_numpy(case.seg)[None, None].float()
    scale = 1.0 if case.split == "val" else 0.4
    graded = torch.where(seg > 0, 1.0, 0.6) * scale
    return {"perfect": seg, "useless": torch.full_like(seg, 0.5), "shifted": graded}


def test_score_set(folder):
    table = score_set(folder, scorer)
    assert list(table.columns) == [
        "dataset",
        "subject",
        "split",
        "method",
        "auprc",
        "dice",
        "best_dice",
        "threshold",
        "prevalence",
    ]
    assert len(table) == 3 * 3
    assert set(table.dataset) == {"ms"}
    assert table.groupby("subject").split.first().to_dict() == {"007": "val", "b": "test", "c": "test"}
    by = table.set_index(["method", "subject"])
    brain = 16 * 14 * 12 - 4 * 5 * 4
    for subject, width in (("007", 4), ("b", 3), ("c", 5)):
        prevalence = width * 14 * 12 / brain
        assert by.loc["perfect", subject].prevalence == pytest.approx(prevalence, abs=1e-12)
        assert by.loc["perfect", subject][["auprc", "dice", "best_dice"]].tolist() == [1, 1, 1]
        assert by.loc["useless", subject].auprc == pytest.approx(prevalence, abs=1e-9)
        everything_marked = 2 * prevalence / (1 + prevalence)
        assert by.loc["useless", subject].dice == pytest.approx(everything_marked, abs=1e-9)
        assert by.loc["useless", subject].best_dice == pytest.approx(everything_marked, abs=1e-9)
    # thresholds come from the validation part alone: on test cases, the shifted score never reaches its own
    shifted = by.loc["shifted"]
    assert shifted.auprc.tolist() == pytest.approx([1, 1, 1])
    assert shifted.best_dice.tolist() == pytest.approx([1, 1, 1])
    assert shifted.dice[["007", "b", "c"]].tolist() == pytest.approx([1, 0, 0])
    assert shifted.threshold.nunique() == 1
    assert shifted.threshold.iloc[0] == pytest.approx(0.6, abs=1e-6)


def test_specks_are_removed_before_dice(tmp_path):
    """A median would remove a speck, so it is drawn after it: 7 voxels go, 8 stay."""
    shape, mask = (16, 14, 12), np.ones((16, 14, 12), bool)
    image = np.zeros(shape, np.float32)
    cases = {s: (split, image, image, mask, slab(4)) for s, split in (("a", "val"), ("b", "test"))}
    folder = write_cases(tmp_path / "cases", cases)
    dices = {}
    for voxels in (7, 8):
        speck = slab(4)
        speck[1, 1, 1 : 1 + voxels] = True
        original = scoring.postprocess
        scoring.postprocess = lambda anomaly, mask, speck=speck: speck.astype(np.float32)
        try:
            table = score_set(folder, lambda case: {"m": torch.zeros(1, 1, *shape)})
        finally:
            scoring.postprocess = original
        dices[voxels] = table.dice.iloc[-1]
    lesion = 4 * 14 * 12
    assert dices == {7: 1.0, 8: pytest.approx(2 * lesion / (2 * lesion + 8))}


def test_score_set_without_validation_part(folder):
    table = pd.read_csv(folder / "scans.csv", dtype=str)
    table[table.split == "test"].to_csv(folder / "scans.csv", index=False)
    with pytest.raises(ValueError, match="has no validation cases; thresholds need"):
        score_set(folder, scorer)


def test_a_score_with_nan_stops(folder):
    def broken(case):
        return {"nan": torch.full((1, 1, 16, 14, 12), float("nan"))}

    with pytest.raises(ValueError, match="the map has NaN voxels; check the score that made it"):
        score_set(folder, broken)


def test_map_levels(tmp_path):
    seg, mask = slab(10, shape=(52, 50, 6)), np.ones((52, 50, 6), bool)
    case = ("val", np.ones(seg.shape, np.float32), np.zeros(seg.shape, np.float32), mask, seg)
    folder = write_cases(tmp_path / "cases", {"a": case})

    def rim(case):  # 9 on the voxels that the erosion takes, which must not count
        step = np.where(case.seg, 3.0, 1.0)
        step[:2] = step[-2:] = step[:, :2] = step[:, -2:] = 9
        return {"step": torch.from_numpy(step)[None, None]}

    (row,) = map_levels(folder, rim).to_dict("records")
    assert (row["dataset"], row["method"], row["healthy"], row["lesion"], row["subjects"]) == ("ms", "step", 1, 3, 1)


def test_training_length(scans, diffusion, tmp_path):
    """The network that made the reconstructions scores as they do; one that returns its input finds nothing."""
    folder = tmp_path / "out"
    reconstruct_set(diffusion, scans, AS_IT_IS, folder, t=[500], draws=2, seed=3)
    oracle = GaussianDiffusion(nn.Identity())
    oracle.reconstruct = lambda x, **_: x
    networks = {1: oracle, 9: None}  # its reconstructions are there
    table = training_length(folder, networks, scorer_of_difference, t=[500], draws=2, seed=3)
    assert {"dataset", "step", "method", "auprc", "auprc_low", "auprc_high", "error"} <= set(table)
    assert table[["step", "method"]].to_numpy().tolist() == [[1, "l1"], [9, "l1"]]
    (case,) = read_cases(folder, "val")
    scores = score_set(folder, scorer_of_difference)
    assert table.auprc[1] == scores[scores.split == "val"].auprc.item()
    assert table.auprc[0] == pytest.approx(case.seg[case.mask].mean(), abs=1e-9)  # chance
    error = np.abs(case.image - case.reconstruction)[case.mask & ~case.seg].mean()
    assert table.error.tolist() == pytest.approx([0, error], rel=1e-6)


def scorer_of_difference(case):
    x, y, _ = case.tensors()
    return {"l1": (x - y).abs()}
