"""The exact 3-D median of 3 or 5 voxels a side inside a mask, on a CPU.

In: a volume and a mask. Out: what `essim.postprocess` would get from numpy. Sorted faces of a window are merged, all
windows of a line along the last axis side by side, by networks of compare-exchanges (Batcher, 1968): they never branch,
and one instruction serves many windows. A face (the window at one place along the first axis) is sorted once and
merged with the next one once, whatever the number of windows that share it (after Adams, 2021).
"""

from functools import lru_cache

import numpy as np

from essim.kernels.compiling import compiled

SIDES = (3, 5)
PAD = 16  # values after each row: at a distance of a power of 2, stores hold up loads

# Networks: lists of pairs of rows (i, j), the smaller value goes to row i


def merge(a, b, pairs):
    """Append what merges two lists of rows, each sorted; returns the rows in their order afterwards."""
    if not a or not b:
        return a + b
    if len(a) == len(b) == 1:
        pairs.append((*a, *b))
        return a + b
    first, second = merge(a[::2], b[::2], pairs), merge(a[1::2], b[1::2], pairs)
    couples = list(zip(second, first[1:], strict=False))
    pairs += couples
    rest = second[len(couples) :] + first[1 + len(couples) :]
    return [first[0], *(row for couple in couples for row in couple), *rest]


def sort(rows, pairs):
    """Append what sorts the rows; returns them in their order afterwards."""
    half = len(rows) // 2
    return merge(sort(rows[:half], pairs), sort(rows[half:], pairs), pairs) if half else rows


@lru_cache
def networks(side):
    """(pairs [n, 2], order of the rows afterwards) of three steps, int32: the rows of a face; two faces, one after the
    other; what else a window has, two faces, if there are any, and one."""
    face, one = side**2, []
    of_one = sort(list(range(face)), one)
    two, rest = [], []
    of_two = merge(of_one, [face + row for row in of_one], two)
    before = (side - 3) * face
    of_rest = merge(of_two[:before], [before + row for row in of_one], rest)
    steps = ((one, of_one), (two, of_two), (rest, of_rest))
    return tuple((np.array(pairs, np.int32).reshape(-1, 2), np.array(order, np.int32)) for pairs, order in steps)


# The median


@compiled
def run(pairs, rows, width):
    """Apply a network to the first `width` values of the rows."""
    for k in range(len(pairs)):
        low, high = rows[pairs[k, 0]], rows[pairs[k, 1]]
        for c in range(width):
            x, y = low[c], high[c]
            low[c], high[c] = min(x, y), max(x, y)


@compiled
def copy(these, rows, width):
    """Copy the first `width` values of each row: faster than assigning slices."""
    for k in range(len(these)):
        x, y = these[k], rows[k]
        for c in range(width):
            y[c] = x[c]


@compiled
def slide(keys, side, wanted, steps, out):
    """out[wanted] = the median around; keys: integers, `side` - 1 longer along each axis."""
    (one, _), (two, of_two), (rest, of_rest) = steps
    face, rank = side**2, side**3 // 2 + 1
    length = wanted.shape[2] + PAD  # of a row
    faces = np.empty((side, face, length), keys.dtype)
    doubles = np.empty((side, 2 * face, length), keys.dtype)  # each face merged with the one before
    rows, best = np.empty((face * (side - 2), length), keys.dtype), np.empty(length, keys.dtype)
    for b in range(wanted.shape[1]):
        first, last, left, right = wanted.shape[0], -1, wanted.shape[2], 0
        for a in range(wanted.shape[0]):
            for c in range(wanted.shape[2]):
                if wanted[a, b, c]:
                    first, last, left, right = min(first, a), a, min(left, c), max(right, c + 1)
        width = right - left
        for entering in range(first, last + side):
            new, old = faces[entering % side], faces[(entering - 1) % side]
            for j in range(side):
                for k in range(side):
                    x, y = keys[entering, b + j, left + k :], new[j * side + k]
                    for c in range(width):
                        y[c] = x[c]
            run(one, new, width)
            double = doubles[entering % side]
            copy(old, double, width)
            copy(new, double[face:], width)
            run(two, double, width)
            a = entering - side + 1
            if a < first or not wanted[a, b].any():
                continue
            # The window: the double of its first two faces, and all others
            begin = doubles[(a + 1) % side]
            copy(doubles[(entering - 1) % side][: face * (side - 3)], rows, width)
            copy(new, rows[face * (side - 3) :], width)
            run(rest, rows, width)
            # the value of this rank in two sorted lists: the least max(x_i, y_j) with i + j = rank, counted from 1
            beyond = rows[of_rest[rank - 1]] if rank <= len(of_rest) else begin[of_two[rank - 1]]
            for c in range(width):
                best[c] = beyond[c]
            for i in range(max(1, rank - len(of_rest)), min(len(of_two), rank - 1) + 1):
                x, y = begin[of_two[i - 1]], rows[of_rest[rank - i - 1]]
                for c in range(width):
                    best[c] = min(best[c], max(x[c], y[c]))
            for c in range(width):
                if wanted[a, b, left + c]:
                    out[a, b, left + c] = best[c]


def median(volume, mask, side=5):
    """Median of the window around each voxel of the mask, 0 outside; [H, W, D], floats without NaN, borders reflected
    (edge repeated). ValueError for another `side` than 3 or 5."""
    if side not in SIDES:
        raise ValueError(f"side must be one of {', '.join(map(str, SIDES))}, got {side}.")
    bits = (volume + volume.dtype.type(0)).view(f"i{volume.itemsize}")  # + 0 turns -0 into 0
    keys = np.where(bits < 0, bits ^ np.iinfo(bits.dtype).max, bits)  # integers that sort as the floats do
    found = np.zeros_like(keys)
    slide(np.pad(keys, side // 2, mode="symmetric"), side, mask, networks(side), found)
    return np.where(found < 0, found ^ np.iinfo(bits.dtype).max, found).view(volume.dtype)
