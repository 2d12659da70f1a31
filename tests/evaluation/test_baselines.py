"""Scores without training: the intensity, and what a blur leaves."""

import helpers
import numpy as np
import pytest
import torch

from essim.evaluation.baselines import blurred, intensity_map


def test_bright_in_t2_dark_in_t1():
    image = np.array([0.0, 0.2, 0.9, 0.7])
    mask = np.array([True, True, True, False])
    for contrast in ("t2", "flair"):
        np.testing.assert_allclose(intensity_map(image, mask, contrast), [0, 0.2, 0.9, 0], atol=1e-12)
    np.testing.assert_allclose(intensity_map(image, mask, "t1"), [1, 0.8, 0.1, 0], atol=1e-12)
    tensors = torch.from_numpy(image), torch.from_numpy(mask)
    np.testing.assert_allclose(intensity_map(*tensors, "t1").numpy(), [1, 0.8, 0.1, 0], atol=1e-12)


@pytest.fixture
def mask():
    return helpers.brain()[1]


@pytest.mark.parametrize("sigma", [0.5, 2, 10])
def test_a_constant_brain_stays_constant_to_its_rim(mask, sigma):
    image = np.where(mask, np.float32(0.6), 0)
    smooth = blurred(image, mask, sigma)
    assert smooth.dtype == np.float32 and smooth.shape == image.shape
    np.testing.assert_allclose(smooth[mask], 0.6, atol=1e-6)
    assert (smooth[~mask] == 0).all()


def test_what_lies_outside_the_mask_has_no_part_in_the_blur(mask):
    image = np.random.default_rng(0).random(mask.shape, np.float32)
    np.testing.assert_array_equal(blurred(image, mask, 1.5), blurred(np.where(mask, image, 7), mask, 1.5))


def test_a_blur_is_the_gaussian_mean_of_the_brain(mask):
    """One voxel against the sum written out, its window over the edge of the volume."""
    image, (i, j, k) = np.random.default_rng(1).random(mask.shape, np.float32), (8, 8, 1)
    assert mask[i, j, k]
    offsets = np.meshgrid(*(np.arange(n) - c for n, c in zip(mask.shape, (i, j, k), strict=True)), indexing="ij")
    weight = np.exp(-sum(o**2 for o in offsets) / (2 * 1.5**2)) * mask * (np.abs(offsets).max(0) <= 6)
    assert blurred(image, mask, 1.5)[i, j, k] == pytest.approx((weight * image).sum() / weight.sum(), abs=1e-6)


def test_a_blur_keeps_what_is_wide_and_loses_what_is_narrow():
    image, mask = np.full((40, 40, 40), 0.3, np.float32), np.ones((40, 40, 40), bool)
    image[10:14, 10:14, 10:14] = image[20:36, 20:36, 20:36] = 0.9
    error = abs(image - blurred(image, mask, 3))
    assert error[12, 12, 12] > 0.4  # of 0.6
    assert error[28, 28, 28] < 0.05
