"""Values between voxels, on a CPU: cubic splines on a grid and at any points, trilinear samples of maps.

In: arrays and places (essim.cohort). Out: what numpy and scipy give there without this kernel. Every sum has their
order and their precision: the bits are the same where scipy's C rounds after each product and sum, as on x86. Offsets
are unsigned: a signed index costs a test of its sign.
"""

import numpy as np

from essim.kernels.compiling import compiled

ZERO, ONE = np.float32(0), np.float32(1)
NEXT, SECOND, THIRD = np.uint64(1), np.uint64(2), np.uint64(3)
PAD = 3  # voxels beyond the border: there all four neighbours of a place have the border's value


@compiled
def weighted(weights, n, a, b, c, d):
    """The sum of four numbers or arrays with weights[:, n], from 0 on as Python's `sum`."""
    return ZERO + weights[0, n] * a + weights[1, n] * b + weights[2, n] * c + weights[3, n] * d


@compiled
def fill_grid(values, lows, weights, out):
    """Plane by plane and row by row, so that what lies between the sums of two axes stays in the processor's cache."""
    row = np.empty(values.shape[2], values.dtype)
    for i, x in enumerate(lows[0]):
        plane = weighted(weights[0], i, values[x], values[x + NEXT], values[x + SECOND], values[x + THIRD])
        for j, y in enumerate(lows[1]):
            for k in range(len(row)):
                row[k] = weighted(
                    weights[1], j, plane[y, k], plane[y + NEXT, k], plane[y + SECOND, k], plane[y + THIRD, k]
                )
            for k, z in enumerate(lows[2]):
                out[i, j, k] = weighted(weights[2], k, row[z], row[z + NEXT], row[z + SECOND], row[z + THIRD])


def cubic_on_grid(values, lows, weights):
    """Four taps per axis over values [I, J, K], float32: for each axis of the grid the first neighbours [n] and the
    weights of all four, float32 [4, n]. IndexError where a neighbour lies outside."""
    if any(low.min() < 0 or low.max() + 3 >= size for low, size in zip(lows, values.shape, strict=True)):
        raise IndexError("cubic_on_grid: a place has a neighbour outside the values; keep it from 1 to below I - 2.")
    out = np.empty([len(low) for low in lows], np.float32)
    fill_grid(np.ascontiguousarray(values), tuple(low.astype(np.uint64) for low in lows), tuple(weights), out)
    return out


@compiled
def fill_points(padded, places, out):
    at, weights = np.empty(3, np.uint64), np.empty((3, 4))
    for p in range(len(out)):
        for axis in range(3):
            low = np.floor(np.float64(places[axis, p]))
            y = places[axis, p] - low
            z = 1 - y
            weights[axis, 0] = z * z * z / 6
            weights[axis, 1] = (y * y * (y - 2) * 3 + 4) / 6
            weights[axis, 2] = (z * z * (z - 2) * 3 + 4) / 6
            weights[axis, 3] = 1 - weights[axis, 0] - weights[axis, 1] - weights[axis, 2]
            at[axis] = min(max(int(low) - 1 + PAD, 0), padded.shape[axis] - 4)
        total = 0.0
        for i in range(4):
            for j in range(4):
                for k in range(4):
                    value = padded[at[0] + np.uint64(i), at[1] + np.uint64(j), at[2] + np.uint64(k)]
                    total += value * weights[0, i] * weights[1, j] * weights[2, k]
        out[p] = total


def cubic_at(values, places):
    """`map_coordinates(values, places, order=3, prefilter=False, mode="nearest")` in three dimensions."""
    out = np.empty(places.shape[1:], values.dtype)
    fill_points(np.pad(values.astype(np.float64), PAD, mode="edge"), places.reshape(3, -1), out.reshape(-1))
    return out


@compiled
def locate(place, top):
    """The voxel below a place, kept from 0 to `top`, and how far beyond it the place lies."""
    place = min(np.float64(place), top) if place > 0 else 0.0  # so written, NaN gives 0
    return np.uint64(place), np.float32(place - np.floor(place))


@compiled
def fill_samples(maps, world, corner, spacing_mm, tops, out):
    for p in range(world.shape[1]):
        x, u = locate((world[0, p] - corner[0]) / spacing_mm, tops[0])
        y, v = locate((world[1, p] - corner[1]) / spacing_mm, tops[1])
        z, w = locate((world[2, p] - corner[2]) / spacing_mm, tops[2])
        r, s, t = ONE - u, ONE - v, ONE - w
        for channel in range(len(out)):
            total = ZERO + r * s * t * maps[x, y, z, channel]
            total += r * s * w * maps[x, y, z + NEXT, channel]
            total += r * v * t * maps[x, y + NEXT, z, channel]
            total += r * v * w * maps[x, y + NEXT, z + NEXT, channel]
            total += u * s * t * maps[x + NEXT, y, z, channel]
            total += u * s * w * maps[x + NEXT, y, z + NEXT, channel]
            total += u * v * t * maps[x + NEXT, y + NEXT, z, channel]
            total += u * v * w * maps[x + NEXT, y + NEXT, z + NEXT, channel]
            out[channel, p] = total


def linear_at(maps, world, corner, spacing_mm):
    """`essim.cohort.mni.sample`; maps float32, of at least two voxels per axis."""
    out = np.empty((maps.shape[3], world.shape[1]), np.float32)
    tops = (np.array(maps.shape[:3]) - 1.001).astype(world.dtype).astype(np.float64)
    corner, spacing_mm = np.asarray(corner).astype(np.float32), np.float32(spacing_mm)
    fill_samples(np.ascontiguousarray(maps), np.ascontiguousarray(world), corner, spacing_mm, tops, out)
    return out
