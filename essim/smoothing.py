"""A Gaussian mean that stays inside a mask.

In: volumes (numpy) and the brain mask. Out: volumes of the same shape. It is kept apart from the rest of
post-processing, so that blurring a scan doesn't depend on the kernels of the score.
"""

import numpy as np
from scipy import ndimage


def gauss_inside(volume, mask, sigma):
    """A Gaussian mean of the mask's voxels alone, so that its rim isn't darkened; sigma is in voxels.

    Args: volume: float32 [..., H, W, D]. mask: [H, W, D].
    Returns: float32 of the volume's shape, 0 where no voxel of the mask is near.
    """
    weight = np.asarray(mask, np.float32)
    options = {"axes": (-3, -2, -1), "mode": "constant"}
    total = ndimage.gaussian_filter(volume * weight, sigma, **options)
    share = ndimage.gaussian_filter(weight, sigma, **options)
    return np.divide(total, share, out=np.zeros_like(total), where=np.broadcast_to(weight > 0, total.shape))
