"""SSIM maps: identities, analytic cases, and two independent implementations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from essim.ssim import SIGMAS, blur_matrix, check_pair, ssim_map, ssim_maps


def pair(shape, seed=0, dtype=torch.float64, noise=0.2):
    """A smooth-ish volume and a disturbed copy, both in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    for axis in range(2, len(shape)):
        x = (x + x.roll(1, axis) + x.roll(2, axis)) / 3
    y = (x + noise * torch.randn(shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    return x.to(dtype), y.to(dtype)


def skimage_map(x, y, sigma, data_range):
    """scikit-image's full SSIM map of two arrays [*spatial], on volumes padded as ours are (edge not repeated)."""
    radius = int(3.5 * sigma + 0.5)
    inside = (slice(radius, -radius),) * x.ndim
    padded = [np.pad(a, radius, mode="reflect") for a in (x, y)]
    _, full = structural_similarity(
        *padded,
        sigma=sigma,
        data_range=data_range,
        gaussian_weights=True,
        use_sample_covariance=False,
        full=True,
    )
    return full[inside]


@pytest.mark.parametrize("shape", [(2, 1, 20, 15), (1, 2, 18, 22), (2, 1, 16, 17, 18)])
def test_itself_is_one(shape):
    x, _ = pair(shape)
    assert torch.equal(ssim_maps(x, x, sigmas=SIGMAS), torch.ones(len(SIGMAS), *shape, dtype=x.dtype))


def test_symmetric():
    x, y = pair((2, 1, 16, 16, 16))
    assert torch.allclose(ssim_map(x, y, sigma=1.1), ssim_map(y, x, sigma=1.1), atol=1e-14, rtol=0)


@pytest.mark.parametrize("shape", [(24, 30), (20, 24, 18)])
@pytest.mark.parametrize("sigma", [0.3, 0.7, 1.5, 2.4])
def test_against_scikit_image(shape, sigma):
    x, y = pair((1, 1, *shape))
    expected = skimage_map(x[0, 0].numpy(), y[0, 0].numpy(), sigma, 1.3)
    found = ssim_map(x, y, sigma=sigma, data_range=1.3)[0, 0].numpy()
    assert expected.std() > 0.02  # else any map would do
    np.testing.assert_allclose(found, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize(
    ("shape", "sigma"), [((32, 36), 0.5), ((32, 36), 1.1), ((32, 36), 1.7), ((14, 12, 13), 0.5), ((15, 18, 16), 0.9)]
)
def test_against_torchmetrics_in_the_interior(shape, sigma):
    x, y = pair((2, 1, *shape), seed=3)
    radius = int(3.5 * sigma + 0.5)
    _, full = structural_similarity_index_measure(
        x, y, sigma=sigma, kernel_size=2 * radius + 1, data_range=1.0, return_full_image=True
    )
    found = ssim_map(x, y, sigma=sigma, data_range=1.0)
    inside = (slice(None),) * 2 + (slice(radius, -radius),) * len(shape)
    assert full.shape == found.shape
    np.testing.assert_allclose(found[inside].numpy(), full[inside].numpy(), atol=1e-9, rtol=0)


def test_default_data_range_is_each_items_own():
    x, y = pair((3, 1, 12, 12, 12))
    scale = torch.tensor([1.0, 5.0, 0.01], dtype=x.dtype).reshape(3, 1, 1, 1, 1)
    x, y = x * scale, y * scale
    by_hand = [max(np.ptp(x[i].numpy()), np.ptp(y[i].numpy())) for i in range(3)]
    np.testing.assert_allclose(check_pair(x, y, [0.9], None).numpy(), by_hand, rtol=1e-12)
    together = ssim_map(x, y, sigma=0.9)
    for i in range(3):
        one = slice(i, i + 1)
        alone = ssim_map(x[one], y[one], sigma=0.9)
        assert torch.allclose(together[one], alone, atol=1e-12, rtol=0)
        given_range = ssim_map(x[one], y[one], sigma=0.9, data_range=check_pair(x, y, [0.9], None)[one])
        assert torch.allclose(alone, given_range, atol=1e-12, rtol=0)


def test_scaling_both_volumes_changes_nothing():
    x, y = pair((1, 1, 14, 14, 14))
    assert torch.allclose(ssim_map(x, y, sigma=1.3), ssim_map(1e4 * x, 1e4 * y, sigma=1.3), atol=1e-10, rtol=0)


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_float32_is_close_to_float64(shift):
    """Measured: 2.4e-5 at sigma 0.3, 2e-6 at 0.5, below 1e-6 from 0.7 on, near zero and far from it.

    Both get the same float32 input: the rounding of the input isn't counted, only the computation's.
    """
    worst = torch.zeros(len(SIGMAS), dtype=torch.float64)
    for seed, noise in ((0, 0.2), (1, 0.01)):
        x, y = (v + shift for v in pair((1, 1, 24, 24, 24), seed, torch.float32, noise))
        exact = ssim_maps(x.double(), y.double(), sigmas=SIGMAS)
        error = (ssim_maps(x, y, sigmas=SIGMAS).double() - exact).abs().flatten(1).amax(1)
        worst = torch.maximum(worst, error)
    assert (worst > 0).all()
    assert worst[0] < 8e-5
    assert worst[1] < 8e-6
    assert (worst[2:] < 2e-6).all()


@pytest.mark.parametrize("shape", [(1, 2, 12, 10), (1, 1, 10, 11), (1, 1, 9, 10, 11)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_volumes(shape, dtype):
    def constant(value):
        return torch.full(shape, value, dtype=dtype)

    for value in (0.0, 0.3, -7.0, 1e4):
        assert torch.equal(ssim_map(constant(value), constant(value), sigma=1.1), torch.ones(shape, dtype=dtype))
    # different constants have no structure to differ in: the luminance term is left
    for a, b, data_range in ((0.2, 0.6, 1.0), (3.0, -3.0, 2.0), (0.0, 0.5, 1.0)):
        c1 = (0.01 * data_range) ** 2
        luminance = (2 * a * b + c1) / (a * a + b * b + c1)
        found = ssim_map(constant(a), constant(b), sigma=1.1, data_range=data_range)
        assert torch.allclose(found, constant(luminance), atol=1e-5 if dtype == torch.float32 else 1e-12, rtol=0)
    # without a data range (both have none) c1 is 0
    found = ssim_map(constant(1.0), constant(3.0), sigma=0.5)
    assert torch.allclose(found, constant(0.6), atol=1e-6, rtol=0)


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=16, max_size=16),
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=16, max_size=16),
    st.sampled_from(SIGMAS[:3]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_never_nan_and_within_bounds(x, y, sigma):
    x, y = (torch.tensor(v, dtype=torch.float32).reshape(1, 1, 4, 4) for v in (x, y))
    found = ssim_map(x, y, sigma=sigma)
    assert torch.isfinite(found).all()
    assert found.min() >= -1 - 1e-6
    assert found.max() <= 1


@pytest.mark.parametrize("size", [1e-12, 1e12])
def test_never_nan_for_tiny_and_huge_values(size):
    x, y = (size * v for v in pair((1, 1, 12, 12), dtype=torch.float32))
    assert torch.allclose(ssim_map(x, y, sigma=0.9), ssim_map(x / size, y / size, sigma=0.9), atol=1e-4, rtol=0)


def test_channels_are_independent():
    x, y = pair((1, 3, 12, 13))
    found = ssim_map(x, y, sigma=0.7, data_range=1.0)
    for c in range(3):
        one = (slice(None), slice(c, c + 1))
        assert torch.allclose(found[one], ssim_map(x[one], y[one], sigma=0.7, data_range=1.0), atol=1e-12, rtol=0)


def test_maps_is_the_stack_of_map():
    x, y = pair((2, 1, 16, 16))
    maps = ssim_maps(x, y, sigmas=(0.3, 1.7))
    assert maps.shape == (2, 2, 1, 16, 16)
    assert torch.equal(maps[1], ssim_map(x, y, sigma=1.7))
    assert not torch.equal(maps[0], maps[1])


def test_blur_matrix():
    matrix = blur_matrix(20, 1.5)
    assert torch.allclose(matrix.sum(1), torch.ones(20, dtype=torch.float64), atol=1e-14, rtol=0)
    row = torch.exp(-0.5 * (torch.arange(-5, 6).double() / 1.5) ** 2)  # radius int(3.5 * 1.5 + 0.5) = 5
    assert torch.allclose(matrix[10, 5:16], row / row.sum(), atol=1e-15, rtol=0)
    assert torch.count_nonzero(matrix[10]) == 11
    # the border is reflected without repeating the edge: row 0 sees voxel 1 twice, voxel 0 once
    assert matrix[0, 1] == pytest.approx(2 * matrix[10, 11].item(), rel=1e-12)
    assert matrix[0, 0] == pytest.approx(matrix[10, 10].item(), rel=1e-12)


def test_gradients():
    x, y = (v.requires_grad_() for v in pair((1, 1, 4, 5, 3)))
    assert torch.autograd.gradcheck(lambda x, y: ssim_map(x, y, sigma=0.7, data_range=1.0), (x, y), atol=1e-6)


def test_gradients_are_finite_where_nothing_differs():
    for value in (0.0, 0.4):
        x = torch.full((1, 1, 6, 6), value, requires_grad=True)
        ssim_map(x, torch.full((1, 1, 6, 6), value), sigma=0.5).sum().backward()
        assert torch.isfinite(x.grad).all()


def test_errors():
    x = torch.rand(1, 1, 8, 8)
    with pytest.raises(ValueError, match="of one shape"):
        ssim_map(x, x[..., :7], sigma=0.5)
    with pytest.raises(ValueError, match=r"\[N, C, \*spatial\]"):
        ssim_map(x[0, 0], x[0, 0], sigma=0.5)
    for sigma in (0, -1.0):
        with pytest.raises(ValueError, match="sigma must be above 0"):
            ssim_map(x, x, sigma=sigma)
    with pytest.raises(ValueError, match="sigma"):
        ssim_maps(x, x, sigmas=[])
    with pytest.raises(ValueError, match="sigma 2.4 needs more than 8 voxels"):
        ssim_map(x, x, sigma=2.4)
    for data_range in (0, -1.0):
        with pytest.raises(ValueError, match="data_range must be above 0"):
            ssim_map(x, x, sigma=0.5, data_range=data_range)
