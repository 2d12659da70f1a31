"""From a raw anomaly map to the one that is scored: erosion, median, and for binary maps no specks.

In: an anomaly map [H, W, D] (numpy, axial slices along D) and the brain mask. Out: a map of the same shape.
Paper: section 3 (post-processing).
"""

import cc3d
import numpy as np
from scipy import ndimage

from essim.kernels.dispatch import load_kernel

MIN_VOXELS = 8  # components of 7 voxels or fewer are specks
MEDIAN = 5  # voxels along each axis
CONNECTIVITY = 26  # voxels that touch by a face, an edge or a corner belong together


def erode_slices(mask):
    """Erode a bool mask [H, W, D] slice by slice: 3 iterations at 96 pixels, in proportion at other sizes."""
    iterations = max(mask.shape[:2]) // 25
    if not iterations:
        return mask
    cross = ndimage.generate_binary_structure(2, 1)[:, :, None]  # within the axial slice only
    return ndimage.binary_erosion(mask, cross, iterations=iterations)


def median_inside(volume, mask):
    """Exact 3-D median of 5 x 5 x 5 voxels, computed inside the mask only (0 outside); [H, W, D], borders reflected."""
    kernel = load_kernel("median")
    return kernel.median(volume, mask) if kernel else median_by_partition(volume, mask)


def median_by_partition(volume, mask):
    """`median_inside` in numpy, by partitioning every window."""
    half = MEDIAN // 2
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(volume, half, mode="symmetric"), (MEDIAN,) * 3)
    result, middle = np.zeros_like(volume), MEDIAN**3 // 2
    for z in range(
        volume.shape[2]
    ):  # slice by slice: 125 values per voxel would not fit into memory at full resolution
        inside = mask[:, :, z]
        values = windows[:, :, z][inside].reshape(-1, MEDIAN**3)
        result[:, :, z][inside] = np.partition(values, middle, axis=1)[:, middle]
    return result


def postprocess(anomaly, mask, *, erode=True, median=True):
    """Erode the brain mask slice by slice (the brain's rim is never reconstructed well), then take the 3-D median.

    Args:
        anomaly: float [H, W, D]. mask: bool [H, W, D]. erode, median: False leaves that step out.
    Returns: float32 [H, W, D], 0 outside the (eroded) mask.
    """
    inside = erode_slices(mask) if erode else mask
    anomaly = np.where(inside, anomaly, 0).astype(np.float32)
    return median_inside(anomaly, inside) if median else anomaly


def remove_small(binary, min_voxels=MIN_VOXELS):
    """Drop the 26-connected components of fewer than `min_voxels` voxels from a bool map [H, W, D]."""
    return cc3d.dust(binary.astype(np.uint8), threshold=min_voxels, connectivity=CONNECTIVITY).astype(bool)


def connected_components(binary):
    """(labels int [H, W, D], how many): the 26-connected components of a bool map, labelled 1, 2, ..."""
    return cc3d.connected_components(binary.astype(np.uint8), connectivity=CONNECTIVITY, return_N=True)
