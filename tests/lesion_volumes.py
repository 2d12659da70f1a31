"""Volumes with lesions for the tests of detection: cubes, blobs, nothing, everything."""

import numpy as np
from scipy import ndimage

SHAPE = (20, 18, 16)
MM = (2.0, 2.0, 2.0)


def cubes(*corners, side=2, shape=SHAPE):
    """A bool volume with a cube at each corner."""
    volume = np.zeros(shape, bool)
    for x, y, z in corners:
        volume[x : x + side, y : y + side, z : z + side] = True
    return volume


def blobs(rng, share):
    """Random blobs of many sizes, some of them single voxels."""
    noise = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 0.8)
    return (noise > np.quantile(noise, 1 - share)) | (rng.random(SHAPE) > 0.998)


def same(values, expected):
    np.testing.assert_allclose(values, expected, rtol=1e-12)  # NaN equals NaN


NOTHING, EVERYTHING = np.zeros(SHAPE, bool), np.ones(SHAPE, bool)
TWO = cubes((2, 2, 2), (10, 2, 2))
