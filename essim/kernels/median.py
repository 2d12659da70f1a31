"""The exact 3-D median of 3 or 5 voxels a side inside a mask, on a CPU.

In: a volume and a mask. Out: what `essim.postprocess` would get from numpy. Sorted faces of a window are merged by
networks of compare-exchanges (Batcher, 1968), which never branch, so that one instruction serves LANES windows side by
side. A face (the window at one place along the first axis) is sorted once and merged with the next one once, whatever
the number of windows that share it (after Adams, 2021).
"""

import numpy as np

from essim.kernels.compiling import compiled
from essim.kernels.vectors import LANES, WORD, generated

SIDES = (3, 5)

# Networks: lists of pairs of places (i, j), the smaller value goes to i


def merge(a, b, pairs):
    """Append what merges two lists of places, each sorted; returns the places in their order afterwards."""
    if not a or not b:
        return a + b
    if len(a) == len(b) == 1:
        pairs.append((*a, *b))
        return a + b
    first, second = merge(a[::2], b[::2], pairs), merge(a[1::2], b[1::2], pairs)
    couples = list(zip(second, first[1:], strict=False))
    pairs += couples
    rest = second[len(couples) :] + first[1 + len(couples) :]
    return [first[0], *(place for couple in couples for place in couple), *rest]


def sort(places, pairs):
    """Append what sorts the places; returns them in their order afterwards."""
    half = len(places) // 2
    return merge(sort(places[:half], pairs), sort(places[half:], pairs), pairs) if half else places


def sorted_vectors(code, vectors):
    """The vectors in order, lane by lane."""
    pairs = []
    return run(code, vectors, pairs, sort([*range(len(vectors))], pairs))


def merged_vectors(code, a, b):
    """Two lists of vectors, each in order, as one."""
    pairs = []
    order = merge([*range(len(a))], [*range(len(a), len(a + b))], pairs)
    return run(code, a + b, pairs, order)


def run(code, vectors, pairs, order):
    vectors = list(vectors)
    for i, j in pairs:
        vectors[i], vectors[j] = code.lower_and_higher(vectors[i], vectors[j])
    return [vectors[place] for place in order]


def after(code, start, count):
    """The places of `count` vectors that lie one after the other."""
    return [code.build.add(start, WORD(LANES * k)) for k in range(count)]


@generated
def enter(code, values, place, face, lists, old, new):
    """Sort LANES faces from `place` on, and merge each with the one before.

    face: a tuple, where a face's n values are. lists[old : old + n vectors] is the face before, sorted; lists[new :]
    becomes this one, n vectors, and then both, 2 n vectors.
    """
    this = sorted_vectors(code, [values.load(code.build.add(place, offset)) for offset in face])
    before = [lists.load(start) for start in after(code, old, len(face))]
    for vector, to in zip(this + merged_vectors(code, before, this), after(code, new, 3 * len(face)), strict=True):
        lists.store(vector, to)


@generated
def leave(code, face, lists, second, old, new, out, place):
    """out[place : place + LANES] = the medians of the windows of which these are the second, the last but one and the
    last face (for three a side, the second is the last but one); lists: as `enter` leaves it."""

    def load(start, first, last):
        return [lists.load(at) for at in after(code, start, last)[first:]]

    size = len(face)
    begin, rest = load(second, size, 3 * size), load(new, 0, size)
    if size > 9:
        rest = merged_vectors(code, load(old, size, 3 * size), rest)
    # The value of this rank in two sorted lists: the least max(x_i, y_j) with i + j = rank, counted from 1
    rank = (len(begin) + len(rest)) // 2 + 1
    best = rest[rank - 1] if rank <= len(rest) else begin[rank - 1]
    for i in range(max(1, rank - len(rest)), min(len(begin), rank - 1) + 1):
        _, higher = code.lower_and_higher(begin[i - 1], rest[rank - i - 1])
        best, _ = code.lower_and_higher(best, higher)
    out.store(best, place)


# The median


@compiled
def slide(values, step, face, wanted, out):
    """The medians wherever `wanted`: bool [A, blocks], one for LANES neighbours of a plane; out: [A * blocks * LANES].

    values: the planes, `step` values each and `side` - 1 more than A. face: a tuple, where a face's values are.
    """
    side = 3 if len(face) == 9 else 5
    slot = 3 * len(face) * LANES  # what `enter` makes of a face
    lists = np.empty(side * slot, values.dtype)  # the first face is merged with what happens to be there, for nothing
    planes, blocks = wanted.shape
    for block in range(blocks):
        first, last = planes, -1
        for a in range(planes):
            if wanted[a, block]:
                first, last = min(first, a), a
        for entering in range(first, last + side):
            a, old, new = entering - side + 1, (entering - 1) % side * slot, entering % side * slot
            enter(values, entering * step + block * LANES, face, lists, old, new)
            if a >= first and wanted[a, block]:
                leave(face, lists, (a + 1) % side * slot, old, new, out, (a * blocks + block) * LANES)


def median(volume, mask, side=5):
    """Median of the window around each voxel of the mask, 0 outside; [H, W, D], float32 or float64 without NaN, borders
    reflected (edge repeated). ValueError for another `side` than 3 or 5."""
    if side not in SIDES:
        raise ValueError(f"side must be one of {', '.join(map(str, SIDES))}, got {side}.")
    reach = side // 2
    # with one plane more than windows have, since the last vector ends beyond its plane
    values = np.pad(volume, ((reach, reach + 1), (reach, reach), (reach, reach)), mode="symmetric")
    planes, step, row = len(mask), values[0].size, values.shape[2]
    blocks = -(-mask.shape[1] * row // LANES)  # a plane of medians has rows as long as those of the values

    def in_rows(flat):
        return flat[:, : mask.shape[1] * row].reshape(planes, -1, row)[..., : mask.shape[2]]

    wanted, found = np.zeros((planes, blocks * LANES), bool), np.empty((planes, blocks * LANES), volume.dtype)
    in_rows(wanted)[:] = mask
    face = tuple(j * row + k for j in range(side) for k in range(side))
    slide(values.ravel(), step, face, wanted.view(np.uint64) > 0, found.ravel())
    return np.where(mask, in_rows(found), volume.dtype.type(0))
