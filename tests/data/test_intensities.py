"""Values of any scale: what is background, what lies above it, and that nothing outside the brain reaches it."""

import numpy as np
import pytest
from helpers import brain, save
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from essim.data.intensities import background_of, fill_outside, foreground, lift
from essim.data.volumes import load_scan, preprocess
from essim.settings import Preprocessing

SHAPE = (20, 22, 16)
IMAGE, MASK = brain(SHAPE)
IMAGE = np.where(MASK, IMAGE + 400, 0).astype(np.float32)  # above 0 everywhere in the brain
Z = np.where(MASK, (IMAGE - IMAGE[MASK].mean()) / IMAGE[MASK].std(), 0)
ONE = np.where(MASK, 2 * (IMAGE - IMAGE[MASK].min()) / np.ptp(IMAGE[MASK]) - 1, -1)

SCALES = {
    "plain": (IMAGE, 0),
    "z-scores": (Z, 0),
    "[-1, 1]": (ONE, -1),
    "a constant taken off": (IMAGE - 1024, -1024),
    "a constant added": (IMAGE + 1024, 1024),
    "all below 0": (IMAGE - 5000, -5000),
    "background -32768": (np.where(MASK, IMAGE, -32768), -32768),
    "background 32767": (np.where(MASK, IMAGE, 32767), 32767),
    "background 1e30": (np.where(MASK, IMAGE, 1e30), 1e30),
    "background NaN": (np.where(MASK, IMAGE, np.nan), 0),
    "background inf": (np.where(MASK, IMAGE, -np.inf), 0),
    "dark on bright": (np.where(MASK, -IMAGE, 255), 255),
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_brain_is_what_differs_from_the_background(scale, dtype):
    image, background = SCALES[scale]
    image = image.astype(dtype)
    assert background_of(image) == pytest.approx(background)
    found = foreground(image)
    missing = MASK & ~found
    assert not (found & ~MASK).any() and missing.sum() <= (scale == "[-1, 1]")  # its darkest voxel is -1 too


def test_a_scan_cut_to_its_brain_and_one_with_its_skull():
    box = ndimage.find_objects(MASK.astype(int))[0]
    np.testing.assert_array_equal(foreground(IMAGE[box]), MASK[box])
    noise = np.abs(np.random.default_rng(0).normal(0, 60, SHAPE))
    assert background_of(noise + IMAGE) is None  # nothing that most of the border shares
    assert foreground(noise + IMAGE).all()


@pytest.mark.parametrize("order", [1, 3])
def test_noise_around_a_stripped_brain_is_background(order):
    """From denoising, and from splines, which ring."""
    noise = np.abs(np.random.default_rng(0).normal(0, 1e-3, SHAPE))
    np.testing.assert_array_equal(foreground(np.where(MASK, IMAGE, noise)), MASK)
    moved, inside = (ndimage.shift(volume, (0.4, 0.3, 0.2), order=order) for volume in (IMAGE, MASK.astype(float)))
    assert (moved != 0).mean() > 0.8 or order == 1
    found = foreground(moved)
    assert 0.9 < found.sum() / (inside > 0.5).sum() < 1.7 and found[inside > 0.5].all()


def test_dark_voxels_of_a_brain_are_brain():
    """Single ones within, and the few that any rim has: the mask of an ordinary scan is what is not 0."""
    image = IMAGE.copy()
    image[10, 11, 8] = 1e-6
    rim = np.argwhere(MASK & ~ndimage.binary_erosion(MASK))[::40]
    image[tuple(rim.T)] = 0.5
    np.testing.assert_array_equal(foreground(image), MASK)


@pytest.mark.parametrize("scale", SCALES)
def test_lifted_the_brain_lies_above_0_and_the_rest_not_below(scale):
    image, _ = SCALES[scale]
    found = lift(image.astype(np.float32), MASK)
    assert found.dtype == np.float32 and np.isfinite(found).all() and (found >= 0).all()
    assert (found[MASK] > 0).mean() > 0.998
    assert np.corrcoef(found[MASK], image[MASK])[0, 1] > 0.9999
    assert (found[~MASK] == 0).all() or scale in ("a constant added", "plain")


def test_a_positive_scan_stays_as_it_is():
    whole = np.random.default_rng(0).integers(0, 1500, SHAPE).astype(np.float32)
    np.testing.assert_array_equal(lift(whole, MASK), whole)
    undershoots = np.where(MASK & (np.indices(SHAPE).sum(0) % 400 == 30), -2, whole)
    assert lift(undershoots, MASK)[MASK].min() == 0  # what a spline leaves is no scale of its own


def test_specks_are_cut():
    image = IMAGE.copy()
    image[10, 11, 8], image[0, 0, 0] = 1e30, 32767
    assert lift(image, MASK).max() < 6 * np.percentile(IMAGE[MASK], 99)


def test_the_nearest_voxel_of_the_brain_fills_what_lies_outside():
    image = np.zeros((5, 5, 5), np.float32)
    inside = np.zeros((5, 5, 5), bool)
    inside[1:3, 2, 2], image[1, 2, 2], image[2, 2, 2] = True, 7, 9
    found = fill_outside(image, inside)
    assert set(np.unique(found)) == {7, 9} and found[0, 0, 0] == 7 and found[4, 4, 4] == 9


# What lies outside of the mask doesn't matter


OUTSIDE = st.one_of(
    st.sampled_from([0.0, 1e30, -1e30, np.nan, np.inf, -np.inf, 32767.0, -32768.0, 255.0]),
    st.floats(-1e6, 1e6, width=32),
)


def with_outside(values, share, seed):
    """The brain, and outside of it a share of voxels with these values, in a pattern of their own."""
    draw = np.random.default_rng(seed)
    chosen = ~MASK & (draw.random(SHAPE) < share)
    return np.where(chosen, draw.choice(values, SHAPE), IMAGE).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(st.lists(OUTSIDE, min_size=1, max_size=4), st.floats(0.01, 1), st.integers(0, 99), st.sampled_from([1, 2]))
def test_no_value_outside_the_mask_reaches_a_scan_of_the_study(values, share, seed, factor):
    image = np.nan_to_num(with_outside(values, share, seed), nan=0, posinf=0, neginf=0)  # as `read_scan` does
    recipe = Preprocessing(smooth=True, shape=(20, 22, 16), factor=factor)
    rest = MASK, np.zeros(SHAPE, np.uint8), np.diag([2.0, 2, 2, 1]), recipe, "scan"
    np.testing.assert_allclose(preprocess(image, *rest).image, preprocess(IMAGE, *rest).image, atol=1e-3)


@pytest.mark.parametrize("scale", sorted(set(SCALES) - {"dark on bright"}))
def test_any_scale_gives_the_same_scan_of_the_study(tmp_path, scale):
    image, background = SCALES[scale]
    mask = save(tmp_path / "mask.nii.gz", MASK.astype(np.uint8))
    plain = save(tmp_path / "plain.nii.gz", IMAGE)
    path = save(tmp_path / "scan.nii.gz", image.astype(np.float32))
    for factor in (1, 2):
        recipe = Preprocessing(smooth=False, shape=(20, 22, 16), factor=factor)
        expected = load_scan({"image": plain, "mask": mask, "seg": "", "ignore": ""}, recipe)
        found = load_scan({"image": path, "mask": mask, "seg": "", "ignore": ""}, recipe)
        np.testing.assert_allclose(found.image, expected.image, atol=1e-3)
        stripped = load_scan({"image": path, "mask": "nonzero", "seg": "", "ignore": ""}, recipe)
        assert (stripped.mask != expected.mask).sum() <= (scale == "[-1, 1]")
        np.testing.assert_allclose(stripped.image[expected.mask], expected.image[expected.mask], atol=5e-3)
