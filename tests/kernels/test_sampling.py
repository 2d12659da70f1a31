"""Splines and samples are numpy's and scipy's, and heads are the same without the kernel."""

import numpy as np
import pytest
from scipy import ndimage

from essim.cohort import anatomy, fields, mni
from essim.kernels import sampling

SHAPE = (8, 9, 7)


@pytest.fixture
def without_numba(monkeypatch):
    """Calls a function as if numba weren't installed."""

    def call(function, *arguments):
        with monkeypatch.context() as patch:
            for module in (fields, mni):
                patch.setattr(module, "sampling", None)
            return function(*arguments)

    return call


def draw(shape):
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


def points(kind):
    """Places in voxels [3, n]: anywhere, far beyond the border, on voxels, on the last voxel and just below it."""
    rng, last = np.random.default_rng(0), np.array(SHAPE)[:, None] - 1.0
    anywhere, far, on = rng.uniform(-6, 14, (3, 20000)), rng.uniform(-900, 900, (3, 99)), rng.integers(-4, 12, (3, 999))
    return np.concatenate([anywhere, far, on, last - [0, 1e-6, 1e-3, 1]], axis=1).astype(kind)


def assert_same_bits(found, expected):
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_cubic_spline_at_points_as_by_scipy(kind):
    values, places = draw(SHAPE).astype(kind), points(kind)
    expected = ndimage.map_coordinates(values, places, order=3, prefilter=False, mode="nearest")
    found = sampling.cubic_at(values, places)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=8 * np.finfo(kind).eps)  # on x86 they are equal


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3, 6])
def test_samples_of_maps_as_by_numpy(without_numba, kind, channels):
    maps, corner = np.moveaxis(draw((channels, *SHAPE)), 0, -1), np.array([-11.3, 7.1, 0])
    call = maps, 2 * points(kind) + corner[:, None].astype(kind), corner, 2
    assert_same_bits(mni.sample(*call), without_numba(mni.sample, *call))


def test_a_cubic_spline_on_a_grid_as_by_numpy(without_numba):
    places = [np.sort(np.append(np.random.default_rng(n).uniform(1, n - 2, 50), [1, 3])) for n in SHAPE]
    found = fields.spline(draw(SHAPE), places)
    assert_same_bits(found, without_numba(fields.spline, draw(SHAPE), places))
    at = np.stack(np.meshgrid(*places, indexing="ij"))
    expected = ndimage.map_coordinates(draw(SHAPE), at, order=3, prefilter=False)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("place", [0.5, SHAPE[0] - 2.0])
def test_a_place_beyond_the_control_points_is_an_error(place):
    with pytest.raises(IndexError, match="a neighbour outside the values"):
        fields.spline(draw(SHAPE), [np.array([place]), np.array([2.0]), np.array([2.0])])


def test_a_head_is_the_same_without_the_kernel(without_numba):
    found, expected = (
        call(anatomy.grow_head, np.random.default_rng(0), 4, 60)
        for call in (lambda function, *arguments: function(*arguments), without_numba)
    )
    for name in ("fractions", "texture", "mask", "displacement", "depth", "ventricle"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-4, err_msg=name)


def test_a_place_that_is_no_number_is_no_address():
    nowhere = np.full((3, 1), np.nan, np.float32)
    assert sampling.linear_at(draw((*SHAPE, 1)), nowhere, np.zeros(3), 1)[0, 0] == draw((*SHAPE, 1))[0, 0, 0, 0]
    assert np.isnan(sampling.cubic_at(draw(SHAPE), nowhere)).all()
