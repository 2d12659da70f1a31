"""Volumes and masks as the CPU's kernel reads them, and its map back in their place.

In: two volumes, a mask, a calibration's maps, in any order of axes. Out: p = x + y and q = x - y, side by side, their
longest axis last and its borders reflected; the map in the volume's own order. Volumes are shifted to the middle of
their range and divided by the data range, which keeps float32 accurate.
"""

import functools

import numpy as np

from essim.kernels import compiling

compiled = functools.partial(compiling.compiled, error_model="numpy")
TILE = 64  # voxels a side, where an array is read along one axis and written along another


@compiled
def reflect(i, n):
    """Index i of a row of n: borders are reflected, the edge is not repeated (except in a row of one)."""
    i = abs(i)
    return max(0, 2 * n - 2 - i) if i >= n else i


@compiled
def lay_out(x, y, centre_x, centre_y, data_range, radius, pq):
    """p = x + y and q = x - y of the centred, scaled volumes [A, B, C], or q alone: [A, B, 2 or 1, C + 2 radius],
    reflected along c. In tiles, since the axes may be in any order in memory."""
    size_a, size_b, size_c = x.shape
    last = pq.shape[2] - 1
    for tile_a in range(0, size_a, TILE):
        for b in range(size_b):
            for tile_c in range(0, size_c, TILE):
                for a in range(tile_a, min(tile_a + TILE, size_a)):
                    for c in range(tile_c, min(tile_c + TILE, size_c)):
                        u, v = (x[a, b, c] - centre_x) / data_range, (y[a, b, c] - centre_y) / data_range
                        pq[a, b, 0, radius + c] = u + v
                        pq[a, b, last, radius + c] = u - v
            for a in range(tile_a, min(tile_a + TILE, size_a)):
                for row in pq[a, b]:
                    for k in range(radius):
                        row[k] = row[radius + reflect(k - radius, size_c)]
                        row[radius + size_c + k] = row[radius + reflect(size_c + k, size_c)]


@compiled
def put_back(out, mask, result):
    """result = out inside the mask, 0 outside; [A, B, C] each, in tiles as above."""
    size_a, size_b, size_c = out.shape
    for tile_a in range(0, size_a, TILE):
        for b in range(size_b):
            for tile_c in range(0, size_c, TILE):
                for a in range(tile_a, min(tile_a + TILE, size_a)):
                    for c in range(tile_c, min(tile_c + TILE, size_c)):
                        result[a, b, c] = out[a, b, c] if mask[a, b, c] else np.float32(0)


def around(mask, radius):
    """The box around a mask's voxels and their windows: a slice for each axis, starting at an even voxel."""
    box = []
    for axis in range(mask.ndim):
        found = np.flatnonzero(mask.any(tuple(set(range(mask.ndim)) - {axis})))
        box.append(slice(max(0, found[0] - radius) // 2 * 2, min(mask.shape[axis], found[-1] + radius + 1)))
    return tuple(box)


def along_c(healthy, box, order):
    """Maps [M, h, w, d] of the half grid as `planes` reads them: cut to the box, axes in order, the last upsampled."""
    cut = healthy[:, *(slice(side.start // 2, (side.stop + 1) // 2) for side in box)].transpose(0, *(order + 1))
    sides = [box[axis].stop - box[axis].start for axis in order]
    return np.ascontiguousarray(cut.repeat(2, axis=3)[..., : sides[2]])
