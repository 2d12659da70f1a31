"""Anomaly maps: the formula by hand, its identities and limits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from essim.ensemble import STRATEGIES, ensemble_map, ensemble_weights, l1_map
from essim.ssim import SIGMAS, ssim_map, ssim_maps


@pytest.fixture(scope="module")
def volumes():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 1, 14, 13, 12, generator=generator, dtype=torch.float64)
    y = (x + 0.2 * torch.randn(x.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    return x, y


@given(st.integers(1, 8), st.floats(0.01, 100), st.integers(0, 1000))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_weights_sum_to_one_and_fall_with_similarity(count, temperature, seed):
    maps = 2 * torch.rand(count, 1, 1, 5, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1
    weights = ensemble_weights(maps, temperature)
    assert weights.shape == maps.shape
    assert torch.allclose(weights.sum(0), torch.ones(1, 1, 5, 5, dtype=torch.float64), atol=1e-12, rtol=0)
    assert (weights >= 0).all()
    assert torch.equal(weights.argmax(0), maps.argmin(0))  # the least similar scale weighs most


def test_adaptive_is_the_papers_formula(volumes):
    x, y = volumes
    s = np.stack([ssim_map(x, y, sigma=sigma).numpy() for sigma in SIGMAS])
    w = np.exp(-s)
    w /= w.sum(0)
    np.testing.assert_allclose(ensemble_map(x, y).numpy(), 1 - (w * s).sum(0), atol=1e-12, rtol=0)


def test_mean_and_min(volumes):
    s = ssim_maps(*volumes, sigmas=SIGMAS).numpy()
    np.testing.assert_allclose(ensemble_map(*volumes, strategy="mean").numpy(), 1 - s.mean(0), atol=1e-12, rtol=0)
    np.testing.assert_allclose(ensemble_map(*volumes, strategy="min").numpy(), 1 - s.min(0), atol=1e-12, rtol=0)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("sigma", [0.3, 1.7])
def test_one_sigma_is_that_map(volumes, strategy, sigma):
    found = ensemble_map(*volumes, sigmas=[sigma], strategy=strategy)
    assert torch.allclose(found, 1 - ssim_map(*volumes, sigma=sigma), atol=1e-14, rtol=0)


def test_temperature_runs_from_min_to_mean(volumes):
    def distance(temperature, strategy):
        found = ensemble_map(*volumes, temperature=temperature)
        return (found - ensemble_map(*volumes, strategy=strategy)).abs().max().item()

    assert distance(1e-5, "min") < 1e-4 < distance(1.0, "min")
    assert distance(1e5, "mean") < 1e-4 < distance(1.0, "mean")
    means = [ensemble_map(*volumes, temperature=t).mean().item() for t in (0.01, 0.1, 1, 10)]
    assert means == sorted(means, reverse=True)
    assert means[0] > means[-1] + 1e-3


def test_mask_and_data_range(volumes):
    x, y = volumes
    mask = torch.zeros(1, 1, 14, 13, 12, dtype=torch.bool)
    mask[..., 3:10, 3:10, 3:10] = True
    whole, masked = ensemble_map(x, y), ensemble_map(x, y, mask=mask)
    assert torch.equal(masked, whole * mask)
    assert (masked[..., :3, :, :] == 0).all()
    assert torch.equal(ensemble_map(x, y, mask=mask.double()), masked)
    assert torch.allclose(
        ensemble_map(x, y, data_range=3.0, sigmas=[0.5]), 1 - ssim_map(x, y, sigma=0.5, data_range=3.0), atol=1e-14
    )


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_float32_is_close_to_float64(volumes, shift):
    """Measured: 3.6e-6 near zero, 4.5e-6 far from it (both from sigma 0.3)."""
    x, y = (v.float() + shift for v in volumes)
    exact = ensemble_map(x.double(), y.double())
    found = ensemble_map(x, y)
    assert found.dtype == torch.float32
    assert 0 < (found.double() - exact).abs().max() < 1.5e-5


def test_same_volume_gives_zero_for_every_strategy(volumes):
    x, _ = volumes
    for strategy in STRATEGIES:
        assert ensemble_map(x, x, strategy=strategy).abs().max() < 1e-12


def test_l1_map_of_unsigned_integers_does_not_wrap():
    x, y = (torch.full((1, 1, 2, 2), value, dtype=torch.uint8) for value in (5, 10))
    assert l1_map(x, y).unique().tolist() == [5]


def test_l1_map(volumes):
    x, y = volumes
    mask = x > 0.5
    np.testing.assert_array_equal(l1_map(x, y).numpy(), np.abs(x.numpy() - y.numpy()))
    np.testing.assert_array_equal(l1_map(x, y, mask).numpy(), np.abs(x.numpy() - y.numpy()) * mask.numpy())


def test_errors(volumes):
    x, y = volumes
    with pytest.raises(ValueError, match="strategy must be one of adaptive, mean, min, got 'max'"):
        ensemble_map(x, y, strategy="max")
    for temperature in (0, -1):
        with pytest.raises(ValueError, match="temperature must be above 0"):
            ensemble_map(x, y, temperature=temperature)
    with pytest.raises(ValueError, match="of one shape"):
        ensemble_map(x, y[:1])
