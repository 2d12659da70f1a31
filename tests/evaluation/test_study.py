"""The loops that the notebooks share: score a set, look into why, sum it up."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import AS_IT_IS, slab, write_cases
from torch import nn

from essim.diffusion import GaussianDiffusion
from essim.evaluation import scoring as study
from essim.evaluation.cases import read_cases, reconstruct_set
from essim.evaluation.scoring import (
    levels,
    regret,
    score_set,
    spread,
    summarise,
    training_length,
    typical,
)

# --- scoring


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
    """The map passes a median, so a speck is drawn behind it: 7 voxels go, 8 stay."""
    shape, mask = (16, 14, 12), np.ones((16, 14, 12), bool)
    image = np.zeros(shape, np.float32)
    cases = {s: (split, image, image, mask, slab(4)) for s, split in (("a", "val"), ("b", "test"))}
    folder = write_cases(tmp_path / "cases", cases)
    dices = {}
    for voxels in (7, 8):
        speck = slab(4)
        speck[1, 1, 1 : 1 + voxels] = True
        original = study.postprocess
        study.postprocess = lambda anomaly, mask, speck=speck: speck.astype(np.float32)
        try:
            table = score_set(folder, lambda case: {"m": torch.zeros(1, 1, *shape)})
        finally:
            study.postprocess = original
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

    with pytest.raises(ValueError, match="NaN or infinite"):
        score_set(folder, broken)


def test_levels(tmp_path):
    seg, mask = slab(10, shape=(52, 50, 6)), np.ones((52, 50, 6), bool)
    case = ("val", np.ones(seg.shape, np.float32), np.zeros(seg.shape, np.float32), mask, seg)
    folder = write_cases(tmp_path / "cases", {"a": case})

    def rim(case):  # 9 on the voxels that the erosion takes, which must not count
        step = np.where(case.seg, 3.0, 1.0)
        step[:2] = step[-2:] = step[:, :2] = step[:, -2:] = 9
        return {"step": torch.from_numpy(step)[None, None]}

    (row,) = levels(folder, rim).to_dict("records")
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


# --- summing up


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
    """Three patients: 27 resamples of each set, of which the bootstrap draws; the best sigma is found in each anew."""
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
    assert typical(lost, "l1").subject == "ms4", "whose lesion is too small for the grid has no score"


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
