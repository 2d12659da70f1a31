"""Baselines for the diffusion model: scores that need no training.

In: a scan in [0, 1] and its brain mask. Out: an anomaly map of the same shape, or a blurred scan, from which the scan
differs where it is locally unusual. Trained baselines are in essim.train.autoencoder.
"""

from essim.smoothing import gauss_inside


def intensity_map(image, mask, contrast):
    """The intensity of [..., H, W, D] itself: dark voxels in "t1", else bright ones (Meissen et al., 2021)."""
    return (1 - image if contrast == "t1" else image) * mask


def blurred(image, mask, sigma):
    """A Gaussian mean over the brain alone: |image - blurred| is the simplest score of what stands out locally.

    Arguments and result are those of `essim.smoothing.gauss_inside`.
    """
    return gauss_inside(image, mask, sigma)
