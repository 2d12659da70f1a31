"""The tone of a volume: how bright its tissues are, whatever their shape.

In: a volume [H, W, D] in [0, 1] and its brain mask. Out: quantiles of its intensities, which a network may be given.

Scanners differ in contrast, roughly by a monotone curve. A network that has seen many such curves can't know which one
to reproduce, since at t = 500 the noise hides contrast. So it is given quantiles. A monotone curve f maps quantiles to
quantiles, q(f(x)) = f(q(x)), exactly if they are values of the volume itself, while blur, a smooth bias field and noise
hardly move them. Nor does a lesion, which is a small part of a brain.
"""

import numpy as np

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
