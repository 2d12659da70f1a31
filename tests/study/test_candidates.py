"""The search for a calibrated ensemble: its maps, its rules by hand, and its agreement with the chosen strategy."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import read_cases, slab, write_cases
from scipy import ndimage
from test_calibration import SIGMAS, healthy

from essim import calibrated_map, ssim_maps
from essim.calibration import Calibration, level_of
from essim.evaluation.healthy import healthy_thresholds, marked_shares
from essim.ssim import check_pair
from essim.study import candidates
from essim.study.candidates import (
    CHANNELS,
    RULES,
    TAIL,
    all_maps,
    best_of,
    combine,
    look_at_healthy,
    minus_log_p,
    parts,
    takes_p,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """(patients, healthy scans): lesions are slabs that the reconstruction doesn't have."""
    root, cases = tmp_path_factory.mktemp("candidates"), {}
    for i, split in enumerate(("val", "val", "test")):
        rng, seg = np.random.default_rng(10 + i), slab(3 + i)
        image = rng.random(seg.shape).astype(np.float32)
        rebuilt = image + 0.1 * rng.standard_normal(seg.shape).astype(np.float32) - 0.15 * seg
        cases[f"p{i}"] = (split, image, rebuilt.astype(np.float32), np.ones(seg.shape, bool), seg)
    return write_cases(root / "patients", cases), healthy(root)


@pytest.fixture(scope="module")
def seen(folders):
    return look_at_healthy(folders[1], SIGMAS)


def test_every_map_is_what_it_is_called(folders):
    case = next(read_cases(folders[0]))
    x, y, _ = case.tensors()
    maps, place = all_maps(case, SIGMAS), parts(SIGMAS)
    assert maps.shape == (1 + 3 * len(SIGMAS), *case.image.shape)
    scale = max(np.ptp(case.image), np.ptp(case.reconstruction))
    np.testing.assert_allclose(maps[0].numpy(), abs(case.image - case.reconstruction) / scale, atol=1e-6)
    similar = ssim_maps(x, y, sigmas=SIGMAS)[:, 0, 0].numpy()
    np.testing.assert_allclose(maps[place["ssim"]].numpy(), 1 - similar, atol=1e-5)
    power = maps[place["luminance"]] ** 2 + maps[place["structure"]] ** 2  # mean square = square of the mean + variance
    assert (power[1] > 0).all() and power.mean() == pytest.approx((maps[0] ** 2).mean().item(), rel=0.1)


def test_the_chosen_candidate_is_the_strategy(folders, seen):
    """l1 + structure by mean z, voxel by voxel, for a scan at the healthy scans' level; the strategy stops at 0, where
    the difference is smaller than in healthy brains."""
    case, place = next(read_cases(folders[0])), parts(SIGMAS)
    x, y, _ = case.tensors()
    mean, sd = (torch.cat([maps[place["l1"]], maps[place["structure"]]]) for maps in (seen.mean, seen.sd))
    level = level_of(x, y, check_pair(x, y, SIGMAS, None)).item()
    found = calibrated_map(x, y, Calibration(SIGMAS, case.image.shape, mean, sd, level, 4))[0, 0].numpy()
    whole = np.ones(found.shape, bool)
    z = seen.z(all_maps(case, SIGMAS)[:, whole], whole)
    expected = z[place["l1"]].mean(0) / 2 + z[place["structure"]].mean(0) / 2
    np.testing.assert_allclose(found[whole], expected.clip(min=0), atol=1e-4)
    assert 0.1 < (found > 0).mean() < 0.9


def test_rules_by_hand():
    z, weights = np.array([[1.0, -2, 3], [0, 4, 3]], np.float32), np.array([0.25, 0.75], np.float32)
    tails = np.stack([-np.log(TAIL)] * 2)  # exponential: -log p is z itself, 0 below
    surprise = np.stack([minus_log_p(values, tail) for values, tail in zip(z, tails, strict=True)])
    found = {rule: combine(surprise if takes_p(rule) else z, weights, rule, np.eye(2)) for rule in RULES}
    np.testing.assert_allclose(found["mean z"], [0.25, 2.5, 3])
    np.testing.assert_allclose(found["max z"], [1, 4, 3])
    sums = [0.25 * np.e + 0.75, 0.25 * np.exp(-2) + 0.75 * np.exp(4), np.exp(3)]
    np.testing.assert_allclose(found["log-sum-exp z"], np.log(sums), rtol=1e-6)
    np.testing.assert_allclose(found["decorrelated z"], [1, 2, 6])  # nothing to decorrelate: the sum
    np.testing.assert_allclose(found["Mahalanobis z"], [1, 16, 18])
    np.testing.assert_allclose(found["Fisher (mean -log p)"], [0.25, 3, 3], rtol=1e-6)
    np.testing.assert_allclose(found["max -log p"], [1, 4, 3], rtol=1e-6)


def test_beyond_what_healthy_scans_show_the_surprise_still_grows():
    tail = np.quantile(np.random.default_rng(0).exponential(size=100_000), 1 - TAIL)
    assert minus_log_p(np.array([0.0, 1, 3]), tail) == pytest.approx([0, 1, 3], abs=0.05)
    far = minus_log_p(np.array([12.0, 20, 40]), tail)
    assert (np.diff(far) > 0).all() and far[0] > -np.log(TAIL[-1])


def test_the_best_is_the_best_mean_over_sets():
    rows = [("l1", "max z", "a", 0.9), ("l1", "max z", "a", 0.9), ("l1", "max z", "a", 0.9), ("l1", "max z", "b", 0.1)]
    rows += [("SSIM", "mean z", "a", 0.6), ("SSIM", "mean z", "b", 0.5)]
    table = pd.DataFrame(rows, columns=["channels", "rule", "dataset", "auprc"])
    assert best_of(table) == ("SSIM", "mean z")
    assert best_of(table[table.dataset == "a"]) == ("l1", "max z")


def test_every_candidate_can_be_judged(folders, seen):
    tried = [(channels, rule) for channels in CHANNELS for rule in RULES]
    table = candidates.scores(folders[0], seen, SIGMAS, tried, "test")
    assert list(zip(table.channels, table.rule, strict=True)) == tried and set(table.subject) == {"p2"}
    assert table.auprc.between(0, 1).all() and table.auprc.nunique() > 10


def test_marked_shares_by_hand(folders):
    """A map of evenly spaced numbers from 0 to 1: thresholds from healthy scans keep their promise."""

    def scorer(case):
        count = case.mask.size
        return {"even": torch.arange(count).reshape(1, 1, *case.mask.shape) / count * torch.from_numpy(case.mask)}

    _, scans = folders
    thresholds = healthy_thresholds(scans, scorer, [0.1, 0.5])
    table = pd.read_csv(scans / "scans.csv").assign(site="a", sex="f", age=40)
    table.to_csv(scans / "scans.csv", index=False)
    found = marked_shares(scans, scorer, thresholds)
    assert list(found.subject.unique()) == ["h4"] and list(found.site) == ["a", "a"]
    assert found.marked.tolist() == pytest.approx(found.promised.tolist(), abs=0.02)


def test_marked_far_from_lesions_by_hand(folders):
    """A map that is high on the lesion and up to 3 mm around it marks that rim, and nothing further away."""

    def scorer(case):
        near = ndimage.binary_dilation(case.seg, np.ones((7, 7, 7)))
        return {"near": torch.from_numpy(near)[None, None].float()}

    patients, _ = folders
    pd.read_csv(patients / "scans.csv").assign(site="a", sex="f", age=40).to_csv(patients / "scans.csv", index=False)
    shares = [marked_shares(patients, scorer, {"near": {0.1: 0.5}}, margin).marked.item() for margin in (0, 2, 6)]
    assert shares[0] > shares[1] > shares[2] == 0
