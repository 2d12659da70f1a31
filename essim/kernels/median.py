"""The exact 3-D median of 3 or 5 voxels a side inside a mask, on a CPU.

In: a volume and a mask. Out: what `essim.postprocess` would get from numpy. Sorted faces of a window are merged by
networks of compare-exchanges (Batcher, 1968), which never branch, so that one instruction serves LANES windows side by
side. A face (the window at one place along the first axis) is sorted once and merged with the next one once, whatever
the number of windows that share it (after Adams, 2021). Networks run in registers: their code is generated here, since
numba would keep every row of values in memory.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from essim.kernels.compiling import compiled

SIDES = (3, 5)
LANES = 8  # windows in one register; as many as a uint64 has bytes, see `median`

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


class Code:
    """The machine code of a network: lists of vectors, each the values of LANES windows at one place of theirs."""

    def __init__(self, context, builder):
        self.context, self.builder = context, builder

    def after(self, start, count):
        """Where `count` vectors lie that were stored one after the other."""
        return [self.builder.add(start, ir.Constant(start.type, LANES * k)) for k in range(count)]

    def vectors(self, array, kind, places):
        """Pointers to the vectors that begin at these places of a one-dimensional array."""
        data = self.context.make_array(kind)(self.context, self.builder, array).data
        vector = ir.VectorType(self.context.get_data_type(kind.dtype), LANES).as_pointer()
        return [self.builder.bitcast(self.builder.gep(data, [place]), vector) for place in places]

    def load(self, array, kind, places):
        align = kind.dtype.bitwidth // 8  # of one value: vectors begin anywhere
        return [self.builder.load(vector, align=align) for vector in self.vectors(array, kind, places)]

    def store(self, values, array, kind, places):
        for value, vector in zip(values, self.vectors(array, kind, places), strict=True):
            self.builder.store(value, vector, align=kind.dtype.bitwidth // 8)

    def lower_and_higher(self, x, y):
        less = self.builder.fcmp_ordered("<", x, y)
        return self.builder.select(less, x, y), self.builder.select(less, y, x)

    def sorted(self, values):
        pairs = []
        return self.run(values, pairs, sort([*range(len(values))], pairs))

    def merged(self, a, b):
        values, pairs = a + b, []
        return self.run(values, pairs, merge([*range(len(a))], [*range(len(a), len(values))], pairs))

    def run(self, values, pairs, order):
        values = list(values)
        for i, j in pairs:
            values[i], values[j] = self.lower_and_higher(values[i], values[j])
        return [values[place] for place in order]


@intrinsic
def enter(typing, values, place, face, lists, old, new):
    """Sort LANES faces from `place` on, and merge each with the one before.

    face: a tuple, where a face's n values are. lists[old : old + n vectors] is the face before, sorted; lists[new :]
    becomes this one, n vectors, and then both, 2 n vectors.
    """

    def generate(context, builder, signature, arguments):
        read, place, where, sorted_lists, old, new = arguments
        code = Code(context, builder)
        places = [builder.add(place, builder.extract_value(where, k)) for k in range(len(face))]
        this = code.sorted(code.load(read, values, places))
        both = code.merged(code.load(sorted_lists, lists, code.after(old, len(face))), this)
        code.store(this + both, sorted_lists, lists, code.after(new, 3 * len(face)))
        return context.get_dummy_value()

    return types.void(values, types.intp, face, lists, types.intp, types.intp), generate


@intrinsic
def leave(typing, face, lists, second, old, new, out, place):
    """out[place : place + LANES] = the medians of the windows of which these are the second, the last but one and the
    last face (for three a side, the second is the last but one); lists: as `enter` leaves it."""

    def generate(context, builder, signature, arguments):
        _, sorted_lists, second, old, new, medians, place = arguments
        code, size = Code(context, builder), len(face)
        after = {start: code.after(start, 3 * size) for start in (second, old, new)}
        first, rest = (code.load(sorted_lists, lists, places) for places in (after[second][size:], after[new][:size]))
        if size > 9:
            rest = code.merged(code.load(sorted_lists, lists, after[old][size:]), rest)
        # The value of this rank in two sorted lists: the least max(x_i, y_j) with i + j = rank, counted from 1
        rank = (len(first) + len(rest)) // 2 + 1
        best = rest[rank - 1] if rank <= len(rest) else first[rank - 1]
        for i in range(max(1, rank - len(rest)), min(len(first), rank - 1) + 1):
            _, higher = code.lower_and_higher(first[i - 1], rest[rank - i - 1])
            best, _ = code.lower_and_higher(best, higher)
        code.store([best], medians, out, [place])
        return context.get_dummy_value()

    return types.void(face, lists, *[types.intp] * 3, out, types.intp), generate


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
