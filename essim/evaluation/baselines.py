"""What the diffusion model is compared with: scores that need no training.

In: a scan in [0, 1] and its brain mask, or its reconstruction. Out: an anomaly map of the same shape, or a blurred
scan, from which the scan differs where it is locally unusual. Trained baselines are in essim.train.autoencoder.
"""

from essim.calibration import at_level, refine
from essim.smoothing import gauss_inside
from essim.ssim import check_pair, in_range


def intensity_map(image, mask, contrast):
    """The intensity of [..., H, W, D] itself: dark voxels in "t1", else bright ones (Meissen et al., 2021)."""
    return (1 - image if contrast == "t1" else image) * mask


def blurred(image, mask, sigma):
    """A Gaussian mean over the brain alone: |image - blurred| is the simplest score of what stands out locally.

    Arguments and result are those of `essim.smoothing.gauss_inside`.
    """
    return gauss_inside(image, mask, sigma)


def calibrated_l1(x, y, calibration):
    """l1 measured against healthy scans as `essim.calibrated_map` does it, but alone: what SSIM's differences have to
    surpass. In standard deviations of healthy brains, 0 and above.

    Args: x, y: float tensors [N, C, H, W, D]. calibration: a `Calibration` for their grid.
    """
    data_range = check_pair(x, y, calibration.sigmas, None)
    error = in_range(x - at_level(x, y, calibration.level, data_range), data_range).abs()
    mean, sd = (refine(maps[:1].to(x), 2, x.shape[2:])[0] for maps in (calibration.mean, calibration.sd))
    return ((error - mean) / sd).clamp(min=0)
