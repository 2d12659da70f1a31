"""From a raw anomaly map to the one that is scored: erosion, smoothing and, for binary maps, removal of specks.

In: an anomaly map [H, W, D] (numpy, axial slices along D) and the brain mask. Out: a map of the same shape.
Paper: section 3 (post-processing): erosion, then a median of 5 voxels. The other filters are there so that every score
can be judged with the one that suits it.
"""

import functools

import cc3d
import numpy as np
from scipy import ndimage

from essim.kernels.dispatch import load_kernel
from essim.smoothing import gauss_inside

MIN_VOXELS = 8  # components of 7 voxels or fewer are specks
MEDIAN = 5  # voxels along each axis
ERODE_FIRST, ERODE_LAST, NO_EROSION = "erode first", "erode last", "no erosion"
CONNECTIVITY = 26  # voxels that touch by a face, an edge or a corner belong together


def erode_slices(mask):
    """Erode a bool mask [H, W, D] slice by slice: 3 iterations at 96 pixels, in proportion at other sizes."""
    iterations = max(mask.shape[:2]) // 25
    return _eroded(np.asarray(mask, bool).tobytes(), mask.shape, iterations).copy() if iterations else mask


@functools.lru_cache(maxsize=8)
def _eroded(mask, shape, iterations):
    """A bool mask, given as bytes, eroded; kept, since all maps of a scan have one mask."""
    cross = ndimage.generate_binary_structure(2, 1)[:, :, None]  # within the axial slice only
    return ndimage.binary_erosion(np.frombuffer(mask, bool).reshape(shape), cross, iterations=iterations)


def median_inside(volume, mask, side=MEDIAN):
    """Exact 3-D median of `side` (3 or 5) voxels a side, computed inside the mask only (0 outside); [H, W, D], borders
    reflected. Values outside the mask enter the windows. ValueError for NaN, which has no place in an order."""
    if np.isnan(volume).any():
        raise ValueError("median: the map has NaN voxels; check the score that made it.")
    kernel = load_kernel("median")
    return kernel.median(volume, mask, side) if kernel else median_by_partition(volume, mask, side)


def median_by_partition(volume, mask, side=MEDIAN):
    """`median_inside` in numpy, by partitioning every window."""
    count = side**3
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(volume, side // 2, mode="symmetric"), (side,) * 3)
    result = np.zeros_like(volume)
    for z in range(volume.shape[2]):  # slice by slice: 125 values per voxel wouldn't fit into memory at full resolution
        inside = mask[:, :, z]
        values = windows[:, :, z][inside].reshape(-1, count)
        result[:, :, z][inside] = np.partition(values, count // 2, axis=1)[:, count // 2]
    return result


def _gauss(sigma):
    return lambda volume, inside, wanted: gauss_inside(volume, inside, sigma)


def _median(side):
    def each(volume, inside, wanted):
        if volume.ndim > 3:
            return np.stack([each(one, inside, wanted) for one in volume])
        return median_inside(volume, wanted, side)

    return each


# {name: a function of maps that are 0 outside `inside`, of `inside`, and of `wanted`, the voxels to be computed}
POST = {"none": lambda volume, inside, wanted: volume}
POST |= {f"gauss {sigma:g}": _gauss(sigma) for sigma in (0.7, 1.0, 1.5, 2.0, 3.0, 4.0)}
POST |= {f"median {side}": _median(side) for side in (3, 5)}
PROTOCOL = {"post": "median 5", "order": ERODE_FIRST}  # the paper's


def postprocess(anomaly, mask, *, post=PROTOCOL["post"], order=PROTOCOL["order"]):
    """Erode the brain mask slice by slice (the brain's rim is never reconstructed well), and smooth the map.

    Args:
        anomaly: float [..., H, W, D], one map or several of one brain. mask: bool [H, W, D]. post: one of POST.
        order: ERODE_FIRST, the paper's: the eroded rim has no part in the smoothing (a median sees 0 there).
            ERODE_LAST: the rim takes part in the smoothing, then it is cut off. NO_EROSION: nothing is eroded.
    Returns: float32 of the map's shape, 0 outside the (eroded) mask.

    Raises ValueError for an unknown `post` or `order`.
    """
    if post not in POST:
        raise ValueError(f"post must be one of {', '.join(POST)}, got {post!r}.")
    if order not in (ERODE_FIRST, ERODE_LAST, NO_EROSION):
        raise ValueError(f"order must be {ERODE_FIRST!r}, {ERODE_LAST!r} or {NO_EROSION!r}, got {order!r}.")
    wanted = mask if order == NO_EROSION else erode_slices(mask)
    inside = wanted if order == ERODE_FIRST else mask
    result = np.zeros(np.shape(anomaly), np.float32)
    box = bounding_box(inside, MEDIAN // 2)  # beyond it all is 0, and further than any median looks
    if not inside[box].size:
        return result
    volume = np.where(inside[box], anomaly[..., *box], 0).astype(np.float32, copy=False)
    np.multiply(POST[post](volume, inside[box], wanted[box]), wanted[box], out=result[..., *box])
    return result


def bounding_box(mask, margin=0):
    """The smallest box around a bool mask [H, W, D], and `margin` voxels more where the volume has them: three slices;
    empty ones for an empty mask."""
    box = []
    for axis, size in enumerate(mask.shape):
        filled = np.flatnonzero(mask.any(tuple({0, 1, 2} - {axis})))
        box.append(slice(max(filled[0] - margin, 0), min(filled[-1] + 1 + margin, size)) if len(filled) else slice(0))
    return tuple(box)


def remove_small(binary, min_voxels=MIN_VOXELS):
    """Drop the 26-connected components of fewer than `min_voxels` voxels from a bool map [H, W, D]."""
    result, box = np.zeros(binary.shape, bool), bounding_box(binary)
    if binary[box].size:
        result[box] = cc3d.dust(binary[box].astype(np.uint8), threshold=min_voxels, connectivity=CONNECTIVITY)
    return result


def connected_components(binary):
    """(labels int [H, W, D], how many): the 26-connected components of a bool map, labelled 1, 2, ..."""
    return cc3d.connected_components(binary.astype(np.uint8), connectivity=CONNECTIVITY, return_N=True)
