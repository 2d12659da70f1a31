"""The calibrated ensemble: its formula by hand, its file, its kernels, and what its errors say."""

import numpy as np
import pytest
import torch
from helpers import pair, write_cases
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from essim import calibrated_map, load_calibration
from essim.calibration import FILE, Calibration, differences, distribution, level_of, moments
from essim.evaluation.healthy import fit_calibration
from essim.ssim import check_pair

SIGMAS = (0.5, 1.1)


def calibration(shape, sigmas=SIGMAS, seed=0):
    """An arbitrary one: a kernel must agree with the formula on it."""
    half = [(side + 1) // 2 for side in shape]
    generator = torch.Generator().manual_seed(seed)
    mean, sd = (torch.rand(1 + len(sigmas), *half, generator=generator) for _ in range(2))
    return Calibration(tuple(sigmas), tuple(shape), mean * 0.2, sd * 0.3 + 0.05, 0.2, 8)


def healthy(folder, count=4, shape=(16, 14, 12)):
    """A folder of healthy validation scans, reconstructed worse on one side, and one test scan that must not count."""
    cases = {}
    for i in range(count + 1):
        rng = np.random.default_rng(i)
        mask = np.ones(shape, bool)
        mask[:, :3] = False
        image = rng.random(shape).astype(np.float32) * mask
        error = rng.standard_normal(shape) * np.where(np.arange(shape[0]) < 8, 0.02, 0.2)[:, None, None]
        rebuilt = ((image + error) * mask).astype(np.float32)
        cases[f"h{i}"] = ("val" if i < count else "test", image, rebuilt, mask, np.zeros(shape, bool))
    return write_cases(folder / "healthy", cases)


def by_hand(x, y, made):
    """The formula of the module's docstring in numpy, voxel by voxel of the half grid."""
    x, y = (v[0, 0].double().numpy() for v in (x, y))
    q = (x - y) / max(np.ptp(x), np.ptp(y))
    q = q * made.level / np.quantile(np.abs(q[(x != 0) | (y != 0)]), 0.75, method="inverted_cdf")
    total = 0
    for i, weight in enumerate([1 / 2] + [1 / 2 / len(made.sigmas)] * len(made.sigmas)):
        f = np.abs(q)
        if i:
            options = {"sigma": made.sigmas[i - 1], "radius": int(3.5 * made.sigmas[i - 1] + 0.5), "mode": "mirror"}
            variance = ndimage.gaussian_filter(q**2, **options) - ndimage.gaussian_filter(q, **options) ** 2
            f = np.sqrt(np.maximum(variance, 0))
        place = tuple(np.ix_(*(np.arange(side) // 2 for side in q.shape)))
        mean, sd = made.mean[i].numpy()[place], made.sd[i].numpy()[place]
        total = total + weight * (f - mean) / sd
    return np.maximum(total, 0)


def test_the_reference_is_the_formula():
    x, y, mask = pair((1, 1, 15, 12, 13), dtype=torch.float64)
    made = calibration(x.shape[2:])
    found = calibrated_map(x, y, made, mask=mask)
    expected = by_hand(x, y, made) * mask[0, 0].numpy()
    assert expected.std() > 0.1 and (expected == 0).any()
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-6, rtol=1e-6)


@given(st.tuples(*[st.integers(8, 19)] * 3), st.integers(0, 99), st.floats(0, 1))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_the_cpu_kernel_is_the_reference(shape, seed, share):
    x, y, _ = pair((2, 1, *shape), seed)
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) < share
    made = calibration(shape, (0.3, 1.7), seed)
    found = calibrated_map(x, 3 * y, made, mask=mask, backend="cpu")
    expected = calibrated_map(x.double(), 3 * y.double(), made, mask=mask, backend="torch")
    np.testing.assert_allclose(found.double().numpy(), expected.numpy(), atol=1e-3, rtol=1e-4)
    assert (found[~mask] == 0).all() and (share < 0.1 or found.std() > 0.1)


def test_where_healthy_scans_differ_more_a_difference_counts_less(tmp_path):
    made, _ = fit_calibration(healthy(tmp_path), SIGMAS)
    assert made.shape == (16, 14, 12) and made.mean.shape == made.sd.shape == (3, 8, 7, 6) and made.scans == 4
    left, right = made.mean[:, 1:3, 3:].mean((1, 2, 3)), made.mean[:, 5:7, 3:].mean((1, 2, 3))
    assert (right > 2 * left).all()
    x = torch.full((1, 1, 16, 14, 12), 0.5)
    x[0, 0, 0, 0, 0], x[0, 0, -1, 0, 0] = 0, 1
    y = x.clone()
    y[..., 3:6, 6:9, 5:8] += 0.2
    y[..., 11:14, 6:9, 5:8] += 0.2
    found = calibrated_map(x, y, made)[0, 0]
    assert found[4, 7, 6] > 2 * found[12, 7, 6] > 0


def test_a_scan_that_is_rebuilt_worse_all_over_has_the_same_map():
    x, y, mask = pair((1, 1, 15, 12, 13), dtype=torch.float64)
    made = calibration(x.shape[2:])
    span = {"data_range": 2.0, "mask": mask}
    first, worse = (calibrated_map(x, x - factor * (x - y), made, **span) for factor in (1, 1.7))
    assert first.std() > 0.1
    torch.testing.assert_close(worse, first)


def test_the_level_is_that_of_the_brain_and_of_each_volume():
    x, y = torch.zeros(3, 1, 4, 5, 10), torch.zeros(3, 1, 4, 5, 10)
    x[0, 0, 0, 0, :8], y[0, 0, 0, 0, :8] = 1, 1 - torch.arange(1, 9) / 10
    x[1, 0, 0], y[1, 0, 0] = 1, 0.5
    y[1, 0, 0, 0, 0] = -9  # one voxel far off
    assert level_of(x, y, torch.tensor([2.0, 1, 1])).tolist() == pytest.approx([0.3, 0.5, 0])


def test_a_calibration_is_of_scans_at_one_level(tmp_path):
    """A scan whose errors are twice as large counts as the others do, once divided by its level."""

    def fit(name, factors):
        cases = {}
        for i, factor in enumerate(factors):
            rng, mask = np.random.default_rng(0), np.ones((8, 8, 8), bool)
            x, error = rng.random(mask.shape), 0.1 * rng.standard_normal(mask.shape)
            x[0, 0, 0], x[1, 1, 1], error[0, 0, 0], error[1, 1, 1] = -1, 2, 0, 0  # the range is x's
            cases[f"h{i}"] = ("val", np.float32(x), np.float32(x + factor * error), mask, ~mask)
        return fit_calibration(write_cases(tmp_path / name, cases), SIGMAS)[0]

    alike, mixed = fit("alike", (1, 1, 1)), fit("mixed", (1, 1, 2))
    assert mixed.level == pytest.approx(4 / 3 * alike.level, rel=1e-5)
    for maps in ("mean", "sd"):
        found, expected = (getattr(made, maps) / made.level for made in (mixed, alike))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_moments_by_hand():
    """Two scans, two voxels of the half grid: moments of 16 values each, and of all of them, counted like two scans."""
    values = torch.rand(2, 1, 4, 2, 2, dtype=torch.float64) * torch.tensor([1, 1, 3, 3.0])[:, None, None]
    total = sum(moments(v, np.ones((4, 2, 2), bool)) for v in values)
    mean, sd = (maps.flatten() for maps in distribution(total, smoothing=0))
    for place in (0, 1):
        here = values[:, :, 2 * place : 2 * place + 2]
        first, second = ((2 * (here**n).mean() + 2 * (values**n).mean()).item() / 4 for n in (1, 2))
        assert mean[place].item() == pytest.approx(first)
        assert sd[place].item() == pytest.approx((second - first**2) ** 0.5)


def test_places_without_brain_take_the_whole_brains_distribution():
    rng, mask = np.random.default_rng(0), np.zeros((12, 4, 4), bool)
    mask[:4] = True
    total = sum(moments(torch.from_numpy(rng.random((1, 12, 4, 4))), mask) for _ in range(3))
    mean, sd = distribution(total, smoothing=0.5)
    overall = (total[1] / total[0])[:2].mean()
    assert mean[0, -1].numpy() == pytest.approx(overall.item(), rel=1e-3)
    assert sd[0, -1].numpy() == pytest.approx(np.sqrt(1 / 12), rel=0.1)
    assert (mean[0, 0] - overall).abs().max() > 1e-3, "a place with scans has a mean of its own"


def test_leaving_a_scan_out_is_fitting_without_it(tmp_path):
    folder = healthy(tmp_path)
    _, without = fit_calibration(folder, SIGMAS)
    assert list(without) == ["h0", "h1", "h2", "h3"]
    lines = (folder / "scans.csv").read_text().splitlines()
    (folder / "scans.csv").write_text("\n".join(line for line in lines if ",h2," not in line))
    fresh, _ = fit_calibration(folder, SIGMAS)
    assert without["h2"].scans == fresh.scans == 3
    torch.testing.assert_close(without["h2"].mean, fresh.mean)
    torch.testing.assert_close(without["h2"].sd, fresh.sd)


def test_to_disk_and_back(tmp_path):
    made, _ = fit_calibration(healthy(tmp_path), SIGMAS)
    (tmp_path / "model").mkdir()
    made.save(tmp_path / "model" / FILE, {"seed": 0})
    for path in (tmp_path / "model", tmp_path / "model" / FILE):
        back = load_calibration(path)
        assert (back.sigmas, back.shape, back.level, back.scans) == (made.sigmas, made.shape, made.level, made.scans)
        torch.testing.assert_close(back.mean, made.mean, atol=0, rtol=1e-3)
    x, y, _ = pair((1, 1, 16, 14, 12))
    maps = [calibrated_map(x, y, c) for c in (made, back)]
    torch.testing.assert_close(*maps, atol=0.02, rtol=2e-3)


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="calibration.safetensors: no such file; notebook 03_healthy"):
        load_calibration(tmp_path / FILE)
    for content in (b"", b"not this"):
        (tmp_path / FILE).write_bytes(content)
        with pytest.raises(ValueError, match="calibration.safetensors: damaged or not a calibration"):
            load_calibration(tmp_path)
    with pytest.raises(ValueError, match="has 1 healthy validation scan"):
        fit_calibration(healthy(tmp_path, count=1), SIGMAS)
    x, y, _ = pair((1, 1, 10, 11, 12))
    with pytest.raises(ValueError, match=r"is for volumes of \[10, 11, 13\], x has \[10, 11, 12\]"):
        calibrated_map(x, y, calibration((10, 11, 13)))
    with pytest.raises(ValueError, match="backend must be one of auto, torch, cpu, cuda, got 'numba'"):
        calibrated_map(x, y, calibration((10, 11, 12)), backend="numba")


@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_nothing_differs(backend):
    x, _, mask = pair((1, 1, 10, 11, 12))
    made = calibration((10, 11, 12))
    assert (calibrated_map(x, x, made, mask=mask, backend=backend) == 0).all()
    assert (calibrated_map(torch.zeros_like(x), torch.ones_like(x), made, backend=backend) == 0).all(), (
        "no range to measure in"
    )


def test_differences_are_in_units_of_the_range():
    x, y, _ = pair((1, 1, 10, 11, 12), dtype=torch.float64)
    found = [differences(s * x, s * y, SIGMAS, check_pair(s * x, s * y, SIGMAS, None)) for s in (1, 1000)]
    torch.testing.assert_close(*found)
    assert (found[0] >= 0).all() and found[0].shape == (3, 1, 1, 10, 11, 12)
