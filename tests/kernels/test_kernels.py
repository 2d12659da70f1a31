"""The fused kernels give the maps of the readable reference, in float64, wherever they say that they work."""

import builtins
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import pair
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from essim import kernels
from essim.calibration import Calibration, calibrated_map
from essim.ensemble import STRATEGIES, ensemble_map
from essim.kernels import cpu, dispatch, planes

# White noise over the whole range is the hardest case: a small window's variance is a difference of large squares.
CLOSE = {"atol": 1e-4, "rtol": 0}


def reference(x, y, **options):
    return ensemble_map(x.double(), y.double(), backend="torch", **options)


def assert_like_the_reference(x, y, **options):
    found, expected = ensemble_map(x, y, backend="cpu", **options), reference(x, y, **options)
    assert found.shape == x.shape
    np.testing.assert_allclose(found.double().numpy(), expected.numpy(), **CLOSE)
    return found


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("shape", [(1, 1, 21, 18, 26), (2, 3, 9, 8, 11), (1, 1, 30, 27), (2, 1, 8, 40)])
def test_same_map_as_the_reference(shape, strategy):
    x, y, mask = pair(shape)
    for chosen in (None, mask):
        found = assert_like_the_reference(x, y, strategy=strategy, mask=chosen)
        assert found.std() > 0.01


def smooth_pair(shape):
    """Two volumes [1, 1, *spatial] in [0, 1] as smooth as brains at this resolution, 0 outside a ball."""
    rng = np.random.default_rng(0)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    ball = sum(a**2 for a in axes) < 0.8
    x = ndimage.gaussian_filter(rng.standard_normal(shape), 1.5)
    y = x + 0.3 * ndimage.gaussian_filter(rng.standard_normal(shape), 1)
    return [torch.from_numpy(((v - x.min()) / np.ptp(x)).clip(0, 1) * ball).float()[None, None] for v in (x, y)]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_much_closer_on_smooth_volumes(strategy):
    x, y = smooth_pair((24, 30, 28))
    found, expected = ensemble_map(x, y, strategy=strategy, backend="cpu"), reference(x, y, strategy=strategy)
    assert found.std() > 0.05
    np.testing.assert_allclose(found.double().numpy(), expected.numpy(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sigmas", [[0.3], [1.7], [4.0], [0.3, 4.0], [2.5, 0.5, 1.1], [0.1]])
def test_any_list_of_sigmas(sigmas):
    x, y, mask = pair((1, 1, 17, 20, 15))
    for strategy in STRATEGIES:
        assert_like_the_reference(x, y, sigmas=sigmas, strategy=strategy, mask=mask)


def test_every_length_of_window():
    x, y, _ = pair((1, 1, 19, 20, 21))
    for length in planes.LENGTHS:
        assert_like_the_reference(x, y, sigmas=[(length - 1) / 3.5])
    with pytest.raises(ValueError, match="backend='cpu' takes sigmas below 4.7, got 5; use backend='torch'"):
        ensemble_map(x, y, sigmas=[5.0], backend="cpu")
    assert ensemble_map(x, y, sigmas=[5.0]).equal(ensemble_map(x, y, sigmas=[5.0], backend="torch"))


@pytest.mark.parametrize("side", [1, 2, 3])
def test_rows_shorter_than_a_vector(side):
    x, y, _ = pair((1, 1, *[side] * 3))
    sigmas = [0.1] if side == 1 else [0.1, 0.3]
    assert_like_the_reference(x, y, sigmas=sigmas)
    half = torch.full((len(sigmas) + 1, *[(side + 1) // 2] * 3), 0.1)
    calibration = Calibration(tuple(sigmas), (side,) * 3, half, half, level=0.3, scans=4)
    maps = [calibrated_map(x, y, calibration, backend=backend) for backend in ("cpu", "torch")]
    torch.testing.assert_close(*maps, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("temperature", [cpu.LOWEST_TEMPERATURE, 0.1, 0.6, 3.0, 1e4])
def test_any_temperature(temperature):
    x, y, _ = pair((1, 1, 12, 13, 14))
    assert_like_the_reference(x, -y, temperature=temperature)  # 1 - SSIM from 0 to nearly 2


volumes = st.tuples(*[st.integers(8, 19)] * 3) | st.tuples(*[st.integers(8, 40)] * 2)
windows = st.lists(st.floats(0.05, 2.1), min_size=1, max_size=4)


@given(volumes, windows, st.sampled_from(STRATEGIES), st.integers(0, 99), st.floats(0, 1))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_random_shapes_masks_and_sigmas(spatial, sigmas, strategy, seed, share):
    x, y, _ = pair((1, 1, *spatial), seed)
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) < share
    found = assert_like_the_reference(x, y, sigmas=sigmas, strategy=strategy, mask=mask)
    assert (found[~mask] == 0).all()


@given(st.integers(0, 99), st.sampled_from(STRATEGIES))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_symmetric_and_the_same_when_flipped(seed, strategy):
    x, y, _ = pair((1, 1, 12, 9, 17), seed)
    found = ensemble_map(x, y, strategy=strategy, backend="cpu")
    swapped = ensemble_map(y, x, strategy=strategy, backend="cpu")
    torch.testing.assert_close(found, swapped, atol=2e-6, rtol=0)
    for axis in (2, 3, 4):
        flipped = ensemble_map(x.flip(axis), y.flip(axis), strategy=strategy, backend="cpu").flip(axis)
        torch.testing.assert_close(found, flipped, atol=2e-5, rtol=0)  # sums in another order


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1e4, 1e15])
def test_scaling_both_scales_the_range_and_leaves_the_map(scale):
    x, y, _ = pair((1, 1, 12, 13, 14))
    found = ensemble_map(x, y, backend="cpu")
    torch.testing.assert_close(ensemble_map(scale * x, scale * y, backend="cpu"), found, **CLOSE)
    given_range = ensemble_map(scale * x, scale * y, data_range=scale * 0.5, backend="cpu")
    torch.testing.assert_close(given_range, ensemble_map(x, y, data_range=0.5, backend="cpu"), **CLOSE)


def test_far_from_zero():
    x, y, _ = pair((1, 1, 20, 20, 20))
    shifted = ensemble_map(x + 100, y + 100, backend="cpu")  # float32 keeps 1e-5 of the data there
    np.testing.assert_allclose(shifted.numpy(), reference((x + 100), (y + 100)).numpy(), **CLOSE)


def test_every_item_has_its_own_data_range():
    x, y, _ = pair((3, 1, 10, 11, 12))
    scale = torch.tensor([1.0, 50.0, 0.01]).reshape(3, 1, 1, 1, 1)
    assert_like_the_reference(x * scale, y * scale)
    assert_like_the_reference(x, y, data_range=torch.tensor([1.0, 2.0, 3.0]))


# --- defined answers at the edges


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_nothing_differs(backend, strategy):
    x, _, mask = pair((1, 1, 10, 11, 12))
    assert (ensemble_map(x, x, strategy=strategy, backend=backend).abs() < 1e-6).all()
    for constant in (0.0, 0.7, -3.0):
        flat = torch.full_like(x, constant)
        assert (ensemble_map(flat, flat, strategy=strategy, mask=mask, backend=backend) == 0).all()


@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_two_constants_differ_by_luminance(backend):
    one, other = torch.full((1, 1, 9, 9, 9), 0.6), torch.full((1, 1, 9, 9, 9), 0.2)
    expected = 1 - 2 * 0.6 * 0.2 / (0.6**2 + 0.2**2)
    found = ensemble_map(one, other, backend=backend)
    torch.testing.assert_close(found, torch.full_like(one, expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_is_an_error_that_names_the_volume(backend, value):
    x, y, _ = pair((1, 1, 9, 9, 9))
    y[0, 0, 4, 4, 4] = value
    with pytest.raises(ValueError, match="SSIM: y has NaN or infinite voxels"):
        ensemble_map(x, y, backend=backend)
    with pytest.raises(ValueError, match="SSIM: x has NaN or infinite voxels"):
        ensemble_map(y, x, data_range=1.0, backend=backend)


def test_an_empty_mask_gives_zeros():
    x, y, mask = pair((1, 1, 9, 9, 9))
    assert (ensemble_map(x, y, mask=torch.zeros_like(mask), backend="cpu") == 0).all()


def test_one_voxel_in_a_corner():
    x, y, mask = pair((1, 1, 16, 17, 18))
    for corner in ((0, 0, 0), (-1, 0, -1), (-1, -1, -1)):
        mask[:] = False
        mask[0, 0][corner] = True
        assert assert_like_the_reference(x, y, mask=mask).count_nonzero() == 1


def test_a_mask_is_broadcast_and_may_be_numbers():
    x, y, mask = pair((2, 3, 9, 10, 11))
    assert_like_the_reference(x, y, mask=mask[:1, :1])
    assert_like_the_reference(x, y, mask=mask.to(torch.uint8))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8, torch.int16])
@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_other_dtypes(dtype, backend):
    x, y, _ = pair((1, 1, 9, 10, 11))
    x, y = (250 * x).to(dtype), (250 * y).to(dtype)
    found = ensemble_map(x, y, backend=backend)
    assert found.dtype == (dtype if dtype.is_floating_point else torch.float32)
    step = 2 * torch.finfo(dtype).eps if dtype.is_floating_point else 2e-5
    np.testing.assert_allclose(found.double().numpy(), reference(x, y).numpy(), atol=step, rtol=0)


def test_float64_keeps_its_precision_unless_told_otherwise():
    x, y, _ = pair((1, 1, 9, 10, 11), dtype=torch.float64)
    assert torch.equal(ensemble_map(x, y), reference(x, y))
    found = ensemble_map(x, y, backend="cpu")
    assert found.dtype == torch.float64
    assert 0 < (found - reference(x, y)).abs().max() < 2e-5


def test_strided_input():
    x, y, mask = pair((1, 1, 24, 20, 11))
    whole = ensemble_map(x[:, :, ::2].contiguous(), y[:, :, ::2].contiguous(), backend="cpu")
    assert torch.equal(ensemble_map(x[:, :, ::2], y[:, :, ::2], backend="cpu"), whole)
    turned = [v.permute(0, 1, 4, 2, 3) for v in (x, y, mask)]
    assert_like_the_reference(*turned[:2], mask=turned[2])


def test_threads_change_nothing():
    x, y, mask = pair((1, 1, 40, 20, 21))
    threads = torch.get_num_threads()
    maps = []
    for count in (1, 3):
        torch.set_num_threads(count)
        maps.append(ensemble_map(x, y, mask=mask, backend="cpu"))
    torch.set_num_threads(threads)
    assert torch.equal(*maps)


def test_inputs_are_left_alone():
    x, y, mask = pair((1, 1, 12, 12, 12))
    before = [v.clone() for v in (x, y, mask)]
    ensemble_map(x, y, mask=mask, backend="cpu")
    assert all(torch.equal(*both) for both in zip((x, y, mask), before, strict=True))


# --- which backend


def test_auto_takes_the_kernel_where_it_can(monkeypatch):
    x, y, _ = pair((1, 1, 9, 10, 11))
    used = []
    monkeypatch.setattr(cpu, "anomaly_maps", lambda x, y, **_: used.append(1) or x)
    ensemble_map(x, y)
    assert used == [1]
    ensemble_map(x.double(), y)
    ensemble_map(x.clone().requires_grad_(), y)
    ensemble_map(x, y, temperature=0.001)
    ensemble_map(torch.rand(1, 1, 4, 4, 4, 4), torch.rand(1, 1, 4, 4, 4, 4), sigmas=[0.3])
    assert used == [1]


def test_gradients_flow_through_auto():
    x, y, _ = pair((1, 1, 9, 10, 11))
    x.requires_grad_()
    ensemble_map(x, y).sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.fixture
def no_libraries(monkeypatch):
    """As if neither numba nor triton were installed."""
    real = builtins.__import__

    def importing(name, *rest, **options):
        if name.split(".")[0] in ("numba", "triton"):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", importing)
    for name in {path.stem for path in Path(kernels.__file__).parent.glob("*.py")} - {"__init__", "dispatch"}:
        monkeypatch.delitem(sys.modules, f"essim.kernels.{name}", raising=False)
        monkeypatch.delattr(kernels, name, raising=False)
    dispatch.load_kernel.cache_clear()
    yield
    dispatch.load_kernel.cache_clear()


def test_everything_works_without_numba_and_triton(no_libraries):
    x, y, mask = pair((1, 1, 9, 10, 11))
    torch.testing.assert_close(ensemble_map(x, y, mask=mask).double(), reference(x, y, mask=mask), **CLOSE)
    with pytest.raises(ValueError, match="backend='cpu' needs numba, which is not installed; use backend='torch'"):
        ensemble_map(x, y, backend="cpu")


def test_backends_that_cannot_do_it():
    x, y, _ = pair((1, 1, 9, 10, 11))
    with pytest.raises(ValueError, match="backend must be one of auto, torch, cpu, cuda, got 'numba'"):
        ensemble_map(x, y, backend="numba")
    with pytest.raises(ValueError, match="backend='cuda' works on cuda tensors, x is on cpu; use backend='torch'"):
        ensemble_map(x, y, backend="cuda")
    with pytest.raises(ValueError, match="backend='cpu' has no gradient"):
        ensemble_map(x.requires_grad_(), y, backend="cpu")
    with pytest.raises(ValueError, match="needs a temperature of 0.02 or more, got 0.01"):
        ensemble_map(x.detach(), y, temperature=0.01, backend="cpu")
    with pytest.raises(ValueError, match="works in two or three dimensions, x has 4"):
        ensemble_map(torch.rand(1, 1, 4, 4, 4, 4), torch.rand(1, 1, 4, 4, 4, 4), sigmas=[0.3], backend="cpu")
