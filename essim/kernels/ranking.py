"""Sort the scores of many voxels together with their labels, on a CPU.

In: unsigned integers of 33 bits, a float32's 32 and a label (essim.evaluation.metrics). Out: the same, in ascending
order, as `numpy.sort` gives it. A radix sort: three passes, one for every 11 bits, each of which only counts and moves.
"""

import numpy as np

from essim.kernels.compiling import compiled

BITS, PASSES = 11, 3


@compiled
def move(keys, shift, starts, out):
    """One pass: keys to `out`, in the order of the BITS bits from `shift` on; `starts` [2^BITS] is overwritten."""
    starts[:] = 0
    for key in keys:
        starts[(key >> shift) & np.uint64(len(starts) - 1)] += 1
    total = 0
    for digit in range(len(starts)):
        starts[digit], total = total, total + starts[digit]
    for key in keys:
        digit = (key >> shift) & np.uint64(len(starts) - 1)
        out[starts[digit]] = key
        starts[digit] += 1


def sort(keys):
    """uint64 [n] below 2^33 in ascending order: a new array."""
    starts = np.empty(1 << BITS, np.int64)
    for number in range(PASSES):
        moved = np.empty_like(keys)
        move(keys, np.uint64(number * BITS), starts, moved)
        keys = moved
    return keys
