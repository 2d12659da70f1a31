"""Maps of inputs that people pass from Python: the right map or one sentence, never silently a wrong map."""

import numpy as np
import pytest
import torch
from helpers import pair

import essim
from essim.calibration import Calibration

HALF = (9, 8, 7, 6)


@pytest.fixture(scope="module")
def volumes():
    return pair((1, 1, 16, 14, 12))


def maps(x, y, **options):
    """Every public map of two volumes."""
    calibration = Calibration(essim.SIGMAS, (16, 14, 12), torch.zeros(HALF), torch.ones(HALF), 0.1, 4)
    return {
        "ensemble": essim.ensemble_map(x, y, **options),
        "ensemble, torch": essim.ensemble_map(x, y, backend="torch", **options),
        "calibrated": essim.calibrated_map(x, y, calibration, **options),
        "l1": essim.l1_map(x, y, **options),
    }


@pytest.mark.parametrize(
    "made",
    [
        lambda v: v.numpy(),
        lambda v: v.numpy().astype(">f4"),
        lambda v: v.numpy()[:, :, ::-1, ::-1].copy()[:, :, ::-1, ::-1],  # negative strides
        lambda v: np.ma.array(v.numpy()),
        lambda v: v.tolist(),
        lambda v: v.permute(0, 1, 4, 3, 2).contiguous().permute(0, 1, 4, 3, 2),
    ],
    ids=["numpy", "big-endian", "negative strides", "masked array", "lists", "permuted"],
)
def test_arrays_are_taken_as_tensors_are(volumes, made):
    x, y, mask = volumes
    expected = maps(x, y, mask=mask)
    for name, found in maps(made(x), made(y), mask=made(mask)).items():
        torch.testing.assert_close(found, expected[name].to(found.dtype), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        essim.ssim_maps(made(x), made(y), sigmas=[0.5]).float(), essim.ssim_maps(x, y, sigmas=[0.5]), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.float16, np.longdouble])
def test_arrays_of_other_numbers(volumes, kind):
    x, y = ((1000 * v.numpy()).astype(kind) for v in volumes[:2])
    expected = essim.ensemble_map(x.astype(np.float32), y.astype(np.float32))
    torch.testing.assert_close(essim.ensemble_map(x, y).float(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "mask", [lambda m: 255 * m.to(torch.uint8), lambda m: 0.5 * m.float(), lambda m: 1e-6 * m.double() - 0.0]
)
def test_a_mask_is_what_is_above_zero(volumes, mask):
    x, y, inside = volumes
    expected = maps(x, y, mask=inside)
    for name, found in maps(x, y, mask=mask(inside)).items():
        assert torch.equal(found, expected[name]), name
    assert torch.equal(essim.ensemble_map(x, y, mask=mask(inside)[0, 0]), expected["ensemble"])  # broadcast


def test_masks_that_mean_nothing(volumes):
    x, y, mask = volumes
    for wrong, sentence in {
        "NaN": (torch.full(x.shape, torch.nan), "the mask has NaN voxels"),
        "shape": (mask[..., :5], r"the mask must broadcast to x, got \[1, 1, 16, 14, 5\] for \[1, 1, 16, 14, 12\]"),
        "words": (np.full(x.shape, "brain"), "a volume must have real numbers"),
    }.values():
        for work in (essim.ensemble_map, essim.l1_map):
            with pytest.raises(ValueError, match=sentence):
                work(x, y, mask=wrong)


def test_a_volume_without_its_batch_axes(volumes):
    x, y, _ = volumes
    for lacking in (lambda v: v[0, 0], lambda v: v[0, 0, 0]):
        with pytest.raises(
            ValueError, match=r"two spatial axes or more, got .*; give a single volume as x\[None, None\]"
        ):
            essim.ensemble_map(lacking(x), lacking(y))
        with pytest.raises(ValueError, match="two spatial axes or more"):
            essim.ssim_map(lacking(x), lacking(y), sigma=0.3)
    big = torch.rand(1, 80, 16, 16)  # [1, H, W, D], as torchio and MONAI have it, or images of 80 channels
    with pytest.warns(UserWarning, match=r"taken for images of 80 channels; give a volume \[1, H, W, D\] as x\[None\]"):
        essim.ensemble_map(big, big, sigmas=[0.3])


@pytest.mark.parametrize(
    "wrong", [np.full((1, 1, 9, 9), "a"), np.full((1, 1, 9, 9), None), np.ones((1, 1, 9, 9), complex)]
)
def test_what_holds_no_real_numbers(wrong):
    for work in (essim.ensemble_map, essim.l1_map, lambda x, y: essim.ssim_map(x, y, sigma=0.3)):
        with pytest.raises(ValueError, match="a volume must have real numbers, got"):
            work(wrong, wrong)
    with pytest.raises(ValueError, match="got complex ones; take their magnitude"):
        essim.ensemble_map(torch.ones(1, 1, 9, 9, dtype=torch.complex64), torch.ones(1, 1, 9, 9))


def test_l1_of_two_shapes(volumes):
    x, y, _ = volumes
    with pytest.raises(
        ValueError, match=r"l1_map: x and y must have the same shape, got \[1, 1, 16, 14, 12\] and \[16, 14, 12\]"
    ):
        essim.l1_map(x, y[0, 0])
