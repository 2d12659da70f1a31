"""Random smooth fields over a head: cubic B-splines over random control points.

In: a random generator, points in mm, a spacing. Out: values of mean 0 and standard deviation near 1. Control points are
laid in mm: one seed gives one field, whatever the voxel size.
"""

import numpy as np
from scipy import ndimage

from essim.cohort.mni import CANVAS_MM, CORNER_MM, sampling

REACH_MM = 40.0  # how far beyond the canvas the fields of `noise_at` extend


def spline(values, places):
    """Cubic B-spline over control values [I, J, K] at the grid of `places` (control units, from 1 to below I - 2).

    Sums of four taps per axis, not a matrix product: the same bits whatever the number of threads.
    """
    lows = [np.floor(place).astype(int) - 1 for place in places]
    weights = [_taps((place - np.floor(place)).astype(np.float32)) for place in places]
    if sampling:
        return sampling.cubic_on_grid(values, lows, weights)
    for axis, low in enumerate(lows):
        values = sum(along(axis, tap) * np.take(values, low + k, axis) for k, tap in enumerate(weights[axis]))
    return values


def _taps(f):
    """The weights [4, n] of the four neighbours of places that lie f [n] beyond the second one."""
    return np.stack([(1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3]) / 6


def along(axis, values, dimensions=3):
    """Values [n] of the points along one axis, shaped to be broadcast over the others."""
    return values.reshape([-1 if a == axis else 1 for a in range(dimensions)])


def smooth_noise(rng, axes, spacing_mm):
    """Random smooth field on a grid with the given world axes (mm): mean 0, standard deviation near 1, correlated over
    about `spacing_mm`."""
    reach = 8.0  # mm beyond the canvas: the lattice is one step wider
    shape = [int(np.ceil((side + 2 * reach) / spacing_mm)) + 4 for side in CANVAS_MM]
    places = [(a - c + reach) / spacing_mm + 1 for a, c in zip(axes, CORNER_MM, strict=True)]
    return spline(rng.standard_normal(shape, dtype=np.float32), places) / np.float32(0.333)


def noise_at(rng, points, spacing_mm):
    """As `smooth_noise`, at any points [3, ...] in mm, not only those of a grid."""
    shape = [int(np.ceil((side + 2 * REACH_MM) / spacing_mm)) + 4 for side in CANVAS_MM]
    corner = np.array(CORNER_MM, np.float32).reshape(3, *[1] * (points.ndim - 1))
    places = (points - corner + np.float32(REACH_MM)) / np.float32(spacing_mm) + 1
    values = rng.standard_normal(shape, dtype=np.float32) / np.float32(0.333)
    if sampling:
        return sampling.cubic_at(values, places)
    return ndimage.map_coordinates(values, places, order=3, prefilter=False, mode="nearest")
