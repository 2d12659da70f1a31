"""Scans of any scale and any fill around the brain come to study space as the ordinary one does."""

import numpy as np
import pytest
from helpers import save
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_heads import MM, OBLIQUE, grown, placed, put, template

from essim.cohort.generate import CohortConfig, grow_subject
from essim.prepare import align, brain
from essim.prepare.registration import place

pytestmark = pytest.mark.usefixtures("quick")


def scaled(image, inside):
    low, high = np.percentile(image[inside], (1, 99))
    return np.clip((image[inside] - low) / (high - low), 0, 1)


def z_scores(image, inside):
    return np.where(inside, (image - image[inside].mean()) / image[inside].std(), 0), "nonzero"


def minus_one_to_one(image, inside):
    return np.where(inside, 2 * (image - image[inside].min()) / np.ptp(image[inside]) - 1, -1.01), "nonzero"


def constant_taken_off(image, inside):
    return image - 1024, "nonzero"


def all_below_zero(image, inside):
    return image - 5000, "nonzero"


def far_below(image, inside):
    return np.where(inside, image, -32768), "nonzero"


def noise_around(image, inside):
    return np.where(inside, image, np.abs(np.random.default_rng(0).normal(0, 1e-3, image.shape))), "nonzero"


def bright_fill(image, inside):
    return np.where(inside, image, 32767), None


def huge_fill(image, inside):
    return np.where(inside, image, 1e30), None


def specks(image, inside):
    return np.where(~inside & (np.random.default_rng(0).random(image.shape) < 0.1), 32767, image), None


def not_a_number(image, inside):
    return np.where(inside, image, np.nan), None


def negative_fill(image, inside):
    return np.where(inside, image, -500), None


@pytest.mark.parametrize(
    "change", [bright_fill, huge_fill, specks, not_a_number, negative_fill, far_below, noise_around]
)
def test_what_lies_outside_of_the_brain_changes_nothing(tmp_path, plain, change):
    image, mask = change(*grown()[:2])
    found = placed(put(tmp_path, image.astype(np.float32)), mask)
    np.testing.assert_array_equal(found.mask, plain.mask)
    np.testing.assert_allclose(found.images["t2"], plain.images["t2"], rtol=1e-4, atol=0.1)


@pytest.mark.parametrize("change", [z_scores, minus_one_to_one, constant_taken_off, all_below_zero])
def test_any_scale_is_lifted_not_cut(tmp_path, plain, change):
    """Its zero is lost and with it a little of the bias field; the brain lies in the same place and looks the same."""
    image, mask = change(*grown()[:2])
    paths = put(tmp_path, image.astype(np.float32))
    for given_mask in (mask, None):
        found = placed(paths, given_mask)
        both = found.mask & plain.mask
        assert found.dice == pytest.approx(plain.dice, abs=0.01) and both.sum() > 0.95 * plain.mask.sum()
        assert (found.images["t2"][found.mask] > 0).mean() > 0.99
        assert np.corrcoef(found.images["t2"][both], plain.images["t2"][both])[0, 1] > 0.98
        assert np.abs(scaled(found.images["t2"], both) - scaled(plain.images["t2"], both)).mean() < 0.03


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.floats(width=32), min_size=1, max_size=4),
    st.floats(0.001, 1),
    st.integers(0, 99),
)
def test_no_value_outside_the_mask_reaches_study_space(values, share, seed):
    """Bias correction and resampling; the registration sees the stripped scan only."""
    image, inside, _ = grown()
    draw = np.random.default_rng(seed)
    spoilt = np.where(~inside & (draw.random(image.shape) < share), draw.choice(values, image.shape), image)
    mask, grid = align.to_sitk(inside, OBLIQUE), align.to_sitk(np.zeros(template().shape, np.uint8), template().affine)
    found = []
    for volume in (image, spoilt.astype(np.float32)):
        even = brain.correct("scan", align.to_sitk(volume, OBLIQUE), mask)
        within = align.sample_label(mask, even, brain.HERE)
        found.append(align.from_sitk(align.sample_scan(even, grid, np.eye(4), within))[0])
    where = align.from_sitk(align.sample_label(mask, grid, np.eye(4)))[0] > 0
    np.testing.assert_allclose(found[1][where], found[0][where], rtol=1e-3)


def test_a_t1_that_is_filled_with_a_bright_value_finds_its_t2(tmp_path):
    """Where the mask is the T2's, and the T1's brain is not known before the two are registered."""
    t1 = grow_subject(CohortConfig(voxel_mm=MM), "tumour", 0)["t1"]
    inside = grown()[1]
    files = put(tmp_path)
    results = []
    for name, image in (("plain", np.where(inside, t1, 0)), ("filled", np.where(inside, t1 - 600.0, 32767))):
        path = save(tmp_path / f"{name}.nii.gz", image.astype(np.float32), OBLIQUE)
        results.append(place({"t1": path, "t2": files["t2"]}, template(), mask="nonzero"))
    one, two = results
    assert two.dice > 0.9 and (one.mask & two.mask).sum() > 0.97 * one.mask.sum()
