"""Rank the scores of many voxels, on a CPU.

`sort` puts unsigned integers of 33 bits, a float32's 32 and a label (essim.evaluation.metrics), into ascending order,
as `numpy.sort` does: a radix sort, three passes, one for every 11 bits, each of which only counts and moves.
`at_least` counts the scores above some of them, without sorting the others.
"""

import numpy as np

from essim.kernels.compiling import compiled

BITS, PASSES = 11, 3
BINS = 1 << 16  # of equal width, by which `at_least` finds a score's neighbours


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


@compiled
def place(scores, wanted, first, counts):
    """counts[i] += the scores that are as high as i of `wanted`; first: int [BINS + 1], overwritten."""
    low, last = np.float64(wanted[0]), BINS - 1  # float64: the difference of two float32s is finite
    scale = BINS / max(np.float64(wanted[-1]) - low, 1e-50)
    first[:] = 0
    for value in wanted:
        first[1 + int(min((value - low) * scale, last))] += 1
    for number in range(BINS):
        first[number + 1] += first[number]
    for score in scores:
        if score < low:
            counts[0] += 1
            continue
        number = int(min((score - low) * scale, last))
        begin, end = first[number], first[number + 1]
        while begin < end:
            middle = (begin + end) // 2
            if wanted[middle] <= score:
                begin = middle + 1
            else:
                end = middle
        counts[begin] += 1


def at_least(scores, wanted):
    """How many of the scores are as high as each of `wanted`: int64 [K].

    Args: float32, finite: [n], and [K], one or more, in ascending order.
    """
    counts = np.zeros(len(wanted) + 1, np.int64)
    place(scores, wanted, np.empty(BINS + 1, np.int32), counts)
    return counts[:0:-1].cumsum()[::-1]
