"""The exact 3-D median of 3 or 5 voxels a side inside a mask, on a CPU.

In: a volume and a mask. Out: what `essim.postprocess` would get from numpy. A window slides along the last axis: of 5
voxels a side, 25 values leave, 25 enter. How many of its values lie in each of 256 bins of rank is kept up to date
(Huang et al., 1979); the median's bin moves a step or two, and only the few values in that bin are looked at one by
one.
"""

import numpy as np

from essim.kernels.compiling import compiled

BINS = 256


@compiled
def slide(ranks, side, shift, wanted, out):
    """out[wanted] = the rank of the median around; ranks: int32, `side` - 1 longer along each axis, rank >> shift is
    its bin."""
    face, half = side**2, side**3 // 2
    values, bins = np.empty(side**3, np.int32), np.empty(side**3, np.int32)
    counts, near = np.empty(BINS, np.int32), np.empty(side**3 + 1, np.int32)
    for a in range(wanted.shape[0]):
        for b in range(wanted.shape[1]):
            first, last = wanted.shape[2], -1
            for c in range(wanted.shape[2]):
                if wanted[a, b, c]:
                    first, last = min(first, c), c
            counts[:] = 0
            middle, below = 0, 0  # the median's bin, and how many values lie in the bins below it
            for entering in range(first, last + side):
                k = entering % side * face
                if entering >= first + side:
                    for leaving in bins[k : k + face]:
                        counts[leaving] -= 1
                        below -= leaving < middle
                for i in range(side):
                    for j in range(side):
                        values[k] = ranks[a + i, b + j, entering]
                        bins[k] = values[k] >> shift
                        counts[bins[k]] += 1
                        below += bins[k] < middle
                        k += 1
                c = entering - side + 1
                if c < first:
                    continue
                while below > half:
                    middle -= 1
                    below -= counts[middle]
                while below + counts[middle] <= half:
                    below += counts[middle]
                    middle += 1
                if wanted[a, b, c]:
                    found = 0
                    for k in range(side**3):  # always written, kept if it lies in the bin: no branch to mispredict
                        near[found] = values[k]
                        found += bins[k] == middle
                    out[a, b, c] = smallest(near[:found], half - below)


@compiled
def smallest(values, rank):
    """The value of this rank (from 0) among a few, which are sorted on the way."""
    for i in range(1, len(values)):
        value, j = values[i], i
        while j > 0 and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value
    return values[rank]


def median(volume, mask, side=5):
    """Median of the window around each voxel of the mask, 0 outside; [H, W, D], borders reflected (edge repeated)."""
    filled = volume != 0  # all others share the rank of 0
    values = np.append(volume.dtype.type(0), volume[filled])
    order = np.argsort(values)
    rank = np.empty(len(values), np.int32)
    rank[order] = np.arange(len(values), dtype=np.int32)
    ranks = np.full(volume.shape, rank[0])
    ranks[filled] = rank[1:]
    found, shift = np.empty(volume.shape, np.int32), max(0, len(values).bit_length() - BINS.bit_length() + 1)
    slide(np.pad(ranks, side // 2, mode="symmetric"), side, shift, mask, found)
    result = np.zeros_like(volume)
    result[mask] = values[order[found[mask]]]
    return result
