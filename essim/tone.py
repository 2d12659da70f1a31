"""The tone of a volume: how bright its tissues are, whatever they look like.

In: a volume [H, W, D] in [0, 1] and its brain mask. Out: the quantiles of its intensities, which a network may be told;
or a reconstruction whose tone is matched to the volume's. Imports: numpy, scipy.

Scanners differ in contrast: between two of them lies, roughly, a monotone curve. A network that has seen many curves
can't know which one to paint in, since at t = 500 the noise hides contrast. So it is told by quantiles. A monotone
curve f takes quantiles to quantiles, q(f(x)) = f(q(x)), exactly where they are values of the volume itself, while blur,
a smooth bias field and noise hardly move them. Nor does a lesion, which is a small part of a brain.
"""

import numpy as np
from scipy.optimize import isotonic_regression

TONES = 24  # quantiles


def tone_of(volume, mask):
    """The tone of a volume: TONES quantiles of its brain, evenly spaced from 1/48 to 47/48.

    Args: volume: float32 [H, W, D] in [0, 1]. mask: bool [H, W, D].

    Returns: float32 [TONES], rising; each is the value of a voxel.

    Raises ValueError where the mask is empty.
    """
    if not mask.any():
        raise ValueError("tone_of: the mask is empty; give the brain mask of the volume.")
    shares = (np.arange(TONES) + 0.5) / TONES
    return np.quantile(volume[mask], shares, method="nearest").astype(np.float32)


def match_tone(image, reconstruction, mask, bins=32):
    """A reconstruction y in the tone of its image x, along one monotone curve; no network is asked.

    The brain's voxels are sorted by y into bins of equal count; the curve leads from the median of y in a bin to that
    of x, made monotone by isotonic regression. Since these are medians, lesions that are fewer than the healthy voxels
    of the same y don't bend it. Between the bins it is linear, beyond the first and the last of slope 1.

    Args: image, reconstruction: float32 [H, W, D] in [0, 1]. mask: bool [H, W, D].
        bins: bins of y; as many as there are voxels, where there are fewer.

    Returns: float32 [H, W, D] in [0, 1], 0 outside the mask.

    Raises ValueError where bins is below 2.
    """
    if bins < 2:
        raise ValueError(f"match_tone: bins must be at least 2, got {bins}.")
    x, y = image[mask], reconstruction[mask]
    result = np.zeros_like(reconstruction)
    if y.size:
        groups = np.array_split(np.argsort(y, kind="stable"), min(bins, y.size))
        knots, heights = (np.array([np.median(values[group]) for group in groups]) for values in (y, x))
        within = y.clip(knots[0], knots[-1])
        result[mask] = (np.interp(within, knots, isotonic_regression(heights).x) + y - within).clip(0, 1)
    return result
