"""Post-processing: erosion, median, small components."""

import numpy as np
import pytest
from scipy import ndimage

from essim.kernels.median import median
from essim.postprocess import (
    ERODE_FIRST,
    ERODE_LAST,
    NO_EROSION,
    POST,
    bounding_box,
    erode_slices,
    median_by_partition,
    median_inside,
    postprocess,
    remove_small,
)
from essim.smoothing import gauss_inside


def ball(shape, radius):
    axes = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    return sum(a**2 for a in axes) <= radius**2


def test_erosion_is_three_voxels_at_96_and_stays_in_the_slice():
    mask = np.zeros((96, 80, 12), bool)
    mask[20:60, 10:50, 3:9] = True
    eroded = erode_slices(mask)
    expected = np.zeros_like(mask)
    expected[23:57, 13:47, 3:9] = True  # three in the plane, none through it
    np.testing.assert_array_equal(eroded, expected)


@pytest.mark.parametrize(("width", "steps"), [(24, 0), (25, 1), (49, 1), (50, 2), (96, 3), (100, 4), (192, 7)])
def test_erosion_grows_with_the_width(width, steps):
    mask = np.zeros((width, 24, 2), bool)
    mask[2:-2, 2:-2] = True
    along = np.flatnonzero(erode_slices(mask)[:, 12, 0])
    assert (along[0], along[-1]) == (2 + steps, width - 3 - steps)


@pytest.mark.parametrize("implementation", [median_inside, median_by_partition, median])
@pytest.mark.parametrize("digits", [0, 1, 8])  # few values, most of them many times, or all different
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("side", [3, 5])
def test_median_is_scipys_inside_the_mask(implementation, digits, dtype, side):
    rng = np.random.default_rng(0)
    volume = rng.standard_normal((18, 15, 13)).astype(dtype).round(digits)
    volume[:, :6] = 0
    mask = ball(volume.shape, 6.5) & (rng.random(volume.shape) > 0.2)
    mask[0, 0, 0] = mask[-1, 5, 3] = True  # at the border too
    found = implementation(volume, mask, side)
    np.testing.assert_array_equal(found[mask], ndimage.median_filter(volume, size=side, mode="reflect")[mask])
    assert (found[~mask] == 0).all()
    assert found.dtype == dtype


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 1), (9, 1, 17)])
@pytest.mark.parametrize("side", [3, 5])
def test_median_of_a_volume_smaller_than_the_window(shape, side):
    volume = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    mask = np.ones(shape, bool)
    np.testing.assert_array_equal(median(volume, mask, side), median_by_partition(volume, mask, side))


def test_median_of_another_side():
    with pytest.raises(ValueError, match="side must be one of 3, 5, got 7"):
        median(np.ones((9, 9, 9), np.float32), np.ones((9, 9, 9), bool), 7)


def test_median_of_nothing():
    volume = np.ones((6, 6, 6), np.float32)
    for implementation in (median_by_partition, median):
        assert (implementation(volume, np.zeros(volume.shape, bool)) == 0).all()


def test_postprocess_is_median_of_the_eroded_map():
    rng = np.random.default_rng(1)
    anomaly, mask = rng.random((50, 40, 10)), ball((50, 40, 10), 17)
    eroded = np.stack([ndimage.binary_erosion(mask[..., z], iterations=2) for z in range(10)], axis=-1)
    assert 0 < eroded.sum() < mask.sum()
    expected = ndimage.median_filter(np.where(eroded, anomaly, 0).astype(np.float32), size=5, mode="reflect")
    np.testing.assert_array_equal(postprocess(anomaly, mask), np.where(eroded, expected, 0))


def test_each_step_can_be_left_out():
    anomaly, mask = np.random.default_rng(3).random((30, 30, 6)).astype(np.float32), ball((30, 30, 6), 12)
    eroded = erode_slices(mask)
    np.testing.assert_array_equal(postprocess(anomaly, mask, post="none"), anomaly * eroded)
    np.testing.assert_array_equal(postprocess(anomaly, mask, order=NO_EROSION), median_inside(anomaly * mask, mask))
    np.testing.assert_array_equal(postprocess(anomaly, mask, order=NO_EROSION, post="none"), anomaly * mask)


def test_nan_has_no_place_in_an_order():
    volume = np.ones((9, 9, 9), np.float32)
    volume[4, 4, 4] = np.nan
    with pytest.raises(ValueError, match="the map has NaN voxels; check the score that made it"):
        median_inside(volume, np.ones((9, 9, 9), bool))


def test_eroded_last_the_rim_has_a_part_in_the_smoothing():
    """Against the definition, in scipy; away from the rim the order makes no difference."""
    rng = np.random.default_rng(4)
    anomaly, mask = rng.random((50, 40, 10)).astype(np.float32), ball((50, 40, 10), 17)
    eroded = erode_slices(mask)
    medians = {side: ndimage.median_filter(anomaly * mask, size=side, mode="reflect") for side in (3, 5)}
    for side, expected in medians.items():
        found = postprocess(anomaly, mask, post=f"median {side}", order=ERODE_LAST)
        np.testing.assert_array_equal(found, np.where(eroded, expected, 0))
    for sigma in (0.7, 1, 1.5, 4):
        share = ndimage.gaussian_filter(mask.astype(float), sigma, mode="constant")
        expected = ndimage.gaussian_filter((anomaly * mask).astype(float), sigma, mode="constant") / share.clip(1e-9)
        found = postprocess(anomaly, mask, post=f"gauss {sigma:g}", order=ERODE_LAST)
        np.testing.assert_allclose(found, np.where(eroded, expected, 0), atol=1e-6)
    for post in POST:
        first, last = (postprocess(anomaly, mask, post=post, order=order) for order in (ERODE_FIRST, ERODE_LAST))
        assert first.dtype == last.dtype == np.float32
        assert (first == last).all() == (post == "none")
        reach = 2 * max(2, round(4 * float(post.split()[1]))) + 1 if post.startswith("gauss") else 5
        middle = ndimage.minimum_filter(eroded, reach, mode="constant", cval=1)
        np.testing.assert_array_equal(first[middle], last[middle])


def test_a_gaussian_does_not_darken_the_rim():
    mask = ball((20, 20, 8), 7)
    np.testing.assert_allclose(gauss_inside(mask.astype(np.float32), mask, 1.5)[mask], 1, atol=1e-6)


def test_an_unknown_step_is_one_sentence():
    with pytest.raises(ValueError, match="post must be one of none, gauss 0.7, .*, got 'median 4'"):
        postprocess(np.ones((4, 4, 4)), np.ones((4, 4, 4), bool), post="median 4")
    with pytest.raises(ValueError, match="order must be 'erode first', 'erode last' or 'no erosion', got 'last'"):
        postprocess(np.ones((4, 4, 4)), np.ones((4, 4, 4), bool), order="last")


def test_postprocess_leaves_its_input_alone():
    anomaly = np.random.default_rng(2).random((30, 30, 6)).astype(np.float32)
    before = anomaly.copy()
    postprocess(anomaly, ball(anomaly.shape, 12))
    np.testing.assert_array_equal(anomaly, before)


def test_empty_mask_gives_an_empty_map():
    assert (postprocess(np.ones((30, 30, 4)), np.zeros((30, 30, 4), bool)) == 0).all()


def test_remove_small_keeps_eight_voxels_and_drops_seven():
    binary = np.zeros((20, 20, 10), bool)
    binary[1:3, 1:3, 1:3] = True  # 8
    binary[10:17, 5, 5] = True  # 7
    found = remove_small(binary)
    assert found.dtype == bool
    assert found.sum() == 8
    assert found[1:3, 1:3, 1:3].all()
    assert remove_small(binary, min_voxels=7).sum() == 15
    assert remove_small(binary, min_voxels=9).sum() == 0


def test_components_touch_by_corners():
    binary = np.zeros((12, 12, 12), bool)
    for i in range(8):
        binary[i, i, i] = True  # a diagonal: one component of 8 in the 26-neighbourhood
    assert remove_small(binary).sum() == 8
    binary[7, 7, 7] = False
    assert remove_small(binary).sum() == 0


def test_remove_small_takes_any_memory_layout():
    binary = np.zeros((10, 20, 20), bool)
    binary[1:3, 1:3, 1:3] = True
    binary[8, 8, 8] = True
    assert remove_small(binary.transpose(2, 0, 1)).sum() == 8
    assert remove_small(np.asfortranarray(binary)).sum() == 8
    assert remove_small(np.zeros((4, 4, 4), bool)).sum() == 0


@pytest.mark.parametrize("post", POST)
@pytest.mark.parametrize("order", [ERODE_FIRST, ERODE_LAST, NO_EROSION])
def test_what_lies_beyond_the_brain_changes_nothing(post, order):
    """Only the brain's box is looked at; a brain that touches the volume's border has no room around it."""
    rng = np.random.default_rng(0)
    anomaly, mask = rng.random((40, 36, 30), np.float32), np.zeros((40, 36, 30), bool)
    mask[0:29, 5:30, 8:30] = True
    wide = [(0, 9), (7, 6), (5, 0)]  # not where it touches the border, at which values are mirrored
    result = postprocess(anomaly, mask, post=post, order=order)
    whole = postprocess(np.pad(anomaly, wide), np.pad(mask, wide), post=post, order=order)
    np.testing.assert_array_equal(result, whole[:40, 7:43, 5:])


def test_a_bounding_box_is_as_small_as_can_be():
    mask = np.zeros((6, 7, 8), bool)
    assert mask[bounding_box(mask)].size == 0 and mask[bounding_box(mask, 2)].size == 0
    mask[1:3, 4, 0:8:7] = True
    assert bounding_box(mask) == (slice(1, 3), slice(4, 5), slice(0, 8))
    assert bounding_box(mask, 2) == (slice(0, 5), slice(2, 7), slice(0, 8))
