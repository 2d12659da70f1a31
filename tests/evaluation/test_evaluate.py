"""The evaluation of one set: thresholds by source, counts by hand, broken scores that must land where theory says."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import read_cases, slab, write_cases

from essim.evaluation.evaluate import ORACLE, VALIDATION, decide, evaluate, pool, scores_of_reconstructions, source_of
from essim.evaluation.metrics import average_precision, dice
from essim.evaluation.scoring import clean_maps, validation_auprc

SHAPE = (16, 14, 12)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """(patients, healthy): the patients' lesions are slabs of 4 (validation), 3 and 5 planes."""
    rng = np.random.default_rng(0)
    brain = np.ones(SHAPE, bool)

    def case(split, width):
        seg = slab(width, SHAPE) if width else np.zeros(SHAPE, bool)
        image = rng.random(SHAPE).astype(np.float32)
        return split, image, image, brain, seg

    patients = {"v": case("val", 4), "a": case("test", 3), "b": case("test", 5)}
    healthy = {"h1": case("val", 0), "h2": case("val", 0), "h3": case("test", 0)}
    root = tmp_path_factory.mktemp("cases")
    return write_cases(root / "patients", patients), write_cases(root / "healthy", healthy)


def scorer(case):
    """Right; right, but half as high in the test part; and constant."""
    seg = torch.from_numpy(case.seg)[None, None].float()
    height = 1.0 if case.split == "val" else 0.5
    return {"truth": seg, "shifted": seg * height + 0.2, "flat": torch.full_like(seg, 0.3)}


def test_every_threshold_has_a_source(folders):
    patients, healthy = folders
    found = evaluate(patients, healthy, scorer, [0.01, 0.05])
    assert list(found.thresholds) == ["truth", "shifted", "flat"]
    assert list(found.thresholds["truth"]) == ["healthy 1%", "healthy 5%", VALIDATION, ORACLE]
    assert source_of(0.005) == "healthy 0.5%"
    shifted = found.thresholds["shifted"]
    assert shifted["healthy 1%"] == pytest.approx(0.2)  # nothing else is in a healthy map
    assert 0.2 <= shifted[VALIDATION] < 1.2 and 0.2 * 0.999 < shifted[ORACLE] < 0.7
    by = found.decisions.set_index(["method", "source", "subject"])
    assert by.loc["truth", VALIDATION].dice.tolist() == [1, 1]
    assert by.loc["shifted", ORACLE].dice.tolist() == [1, 1]


def test_the_oracle_is_never_behind_on_the_pooled_voxels(folders):
    patients, healthy = folders

    def noisy(case):
        rng = np.random.default_rng(len(case.subject) + case.seg.sum())
        values = rng.random(case.seg.shape) + 0.7 * case.seg
        return {"noisy": torch.from_numpy(values.astype(np.float32))[None, None]}

    found = evaluate(patients, healthy, noisy, [0.05])
    best, _ = pool(patients, noisy)["noisy"].best_dice()
    test = list(read_cases(patients, "test"))
    maps, segs = np.stack([clean_maps(case, noisy)["noisy"] for case in test]), np.stack([case.seg for case in test])
    reached = [dice(maps > threshold, segs) for threshold in found.thresholds["noisy"].values()]
    assert all(value <= best + 1e-6 for value in reached) and np.count_nonzero(reached) > 1


def test_broken_scores_land_where_theory_says(folders):
    """Chance scores the prevalence, the inverted ground truth the least that any ranking can, the ground truth 1."""
    patients, healthy = folders

    def broken(case):
        seg = torch.from_numpy(case.seg)[None, None].float()
        return {"chance": torch.full_like(seg, 0.5), "inverted": 1 - seg, "truth": seg}

    found = evaluate(patients, healthy, broken, [0.05])
    for row in found.volumes.itertuples():
        n, k = np.prod(SHAPE), {"a": 3, "b": 5}[row.subject] * 14 * 12
        assert row.prevalence == pytest.approx(k / n)
        assert row.auprc == pytest.approx({"chance": k / n, "inverted": k / n, "truth": 1}[row.method])
    pooled = found.pooled.set_index("method")
    assert pooled.auprc.to_dict() == pytest.approx({"chance": 8 / 32, "inverted": 8 / 32, "truth": 1}, abs=1e-9)
    assert (pooled.bound < 1e-9).sum() >= 2
    decisions = found.decisions[found.decisions.source == VALIDATION].set_index(["method", "subject"])
    assert decisions.loc["truth"].sensitivity.tolist() == [1, 1]
    assert decisions.loc["truth"].false_positives.tolist() == [0, 0]
    assert decisions.loc["truth"].distance_mm.tolist() == [0, 0]
    precision = found.precision.set_index(["method", "subject"]).precision
    assert (precision.loc["truth"] == 1).all()
    assert precision.loc["chance", "a"].to_numpy() == pytest.approx(3 / 16)


def test_decide_on_healthy_scans_counts_what_is_marked(folders):
    healthy = folders[1]

    def half(case):
        marked = torch.from_numpy(slab(8, SHAPE).astype(np.float32))[None, None]
        return {"half": marked, "other": torch.zeros_like(marked)}

    rows = decide(healthy, half, {"half": {"low": 0.5, "high": 2.0}})
    assert rows.subject.tolist() == ["h3", "h3"] and set(rows.method) == {"half"}
    low, high = rows.set_index("source").loc["low"], rows.set_index("source").loc["high"]
    assert low.false_ml == pytest.approx(8 * 14 * 12 * 8 / 1000)  # voxels of 2 mm
    assert (low.false_positives, low.dice, high.false_ml, high.dice) == (1, 0, 0, 1)
    assert low.level == high.level == 1  # of the scan, at whatever threshold
    assert np.isnan(low.sensitivity) and np.isnan(high.sensitivity)


def test_lesions_are_found_one_by_one(tmp_path):
    """Two lesions, one of them marked; both survive the median, as slabs at two ends do."""
    seg = slab(3, SHAPE) | slab(4, SHAPE)[::-1]
    image = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    brain = np.ones(SHAPE, bool)
    cases = {"v": ("val", image, image, brain, slab(3, SHAPE)), "t": ("test", image, image, brain, seg)}
    patients = write_cases(tmp_path / "p", cases)
    healthy = write_cases(tmp_path / "h", {"h": ("val", image, image, brain, np.zeros(SHAPE, bool))})

    def one(case):
        return {"one": torch.from_numpy(slab(3, SHAPE).astype(np.float32))[None, None]}

    found = evaluate(patients, healthy, one, [0.01])
    lesions = found.lesions[found.lesions.source == VALIDATION].sort_values("volume_ml")
    assert lesions.found.tolist() == [True, False]
    assert lesions.volume_ml.tolist() == pytest.approx([3 * 14 * 12 * 0.008, 4 * 14 * 12 * 0.008])
    last = found.operating.sort_values("threshold").iloc[-1]
    assert (last.lesions, last.found, last.false_positives) == (2, 1, 0)


def test_a_set_without_patients_to_test_is_refused(tmp_path, folders):
    image, brain = np.zeros(SHAPE, np.float32), np.ones(SHAPE, bool)
    only = write_cases(tmp_path / "only", {"v": ("val", image, image, brain, slab(3, SHAPE))})
    with pytest.raises(ValueError, match="has no test cases"):
        evaluate(only, folders[1], scorer, [0.05])


def l1(case):
    return torch.from_numpy(np.abs(case.image - case.reconstruction))[None, None]


def test_grid_puts_every_reconstruction_under_every_score(folders):
    patients = folders[0]
    remakes = {"right": lambda case: case.image - case.seg, "wrong": lambda case: case.image - ~case.seg}

    def single(case, sigma):
        return l1(case) if sigma == 2 else torch.zeros(1, 1, *SHAPE)

    table = scores_of_reconstructions(patients, remakes, lambda case: {"l1": l1(case)}, single, [1, 2])
    assert len(table) == 2 * 2 * 2
    by = table.set_index(["reconstruction", "score", "subject"])
    assert by.loc["right"].auprc.tolist() == [1, 1, 1, 1]
    assert by.loc["wrong", "l1", "a"].auprc == pytest.approx(3 / 16)
    # chosen separately for each reconstruction: where the window sees nothing, a flat map is better
    assert by.sigma.loc["right", "ssim best"].tolist() == [2, 2]
    assert by.sigma.loc["right", "l1"].isna().all()


def test_validation_auprc_looks_at_the_validation_part_only(folders):
    expected = average_precision(np.full(SHAPE, 0.3), slab(4, SHAPE))
    assert validation_auprc(folders[0], scorer).to_dict() == pytest.approx({"truth": 1, "shifted": 1, "flat": expected})
    assert isinstance(validation_auprc(folders[0], scorer), pd.Series)
