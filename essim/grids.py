"""Maps on a coarser grid, and back.

In: maps [..., H, W, D]. Out: means over cubes of factor^3 voxels, [..., h, w, d] with each side divided by the factor
and rounded up; or every voxel of such a grid repeated to the finer one.
"""

import torch
from torch.nn import functional


def shrink(maps, factor):
    """Means over cubes of factor^3 voxels of float tensors [..., H, W, D]; cubes at the end hold what is there."""
    flat = maps.reshape(1, -1, *maps.shape[-3:])
    small = functional.avg_pool3d(flat, factor, ceil_mode=True, count_include_pad=False)
    return small.reshape(*maps.shape[:-3], *small.shape[-3:])


def grow(maps, factor, shape):
    """Maps [..., h, w, d] on the finer grid `shape` [H, W, D]: every voxel repeated, cut at the end."""
    for axis, length in enumerate(shape, -3):
        index = torch.arange(length, device=maps.device) // factor
        maps = maps.index_select(axis, index)
    return maps
