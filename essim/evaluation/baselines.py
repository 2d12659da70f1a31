"""What the diffusion model is compared with: scores that need no training.

In: a scan in [0, 1] and its brain mask. Out: an anomaly map of the same shape, or a blurred scan, from which the scan
differs where it is locally unusual. Those that learn are in essim.train.autoencoder.
"""

import numpy as np
from scipy.ndimage import gaussian_filter


def intensity_map(image, mask, contrast):
    """The intensity of [..., H, W, D] itself: dark voxels in "t1", bright ones else (Meissen et al., 2021)."""
    return (1 - image if contrast == "t1" else image) * mask


def blurred(image, mask, sigma):
    """A Gaussian mean of the brain alone: |image - blurred| is the plainest score of what stands out locally.

    Voxels outside the mask have no part in it, and so the brain's rim isn't darkened. sigma is in voxels.
    Returns: float32 [H, W, D], 0 outside the mask.
    """
    weight = np.asarray(mask, np.float32)
    total = gaussian_filter(image * weight, sigma, mode="constant")
    share = gaussian_filter(weight, sigma, mode="constant")
    return np.divide(total, share, out=np.zeros_like(weight), where=weight > 0)
