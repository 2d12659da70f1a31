"""The tone of a volume: how bright its tissues are, whatever they look like.

In: a volume [H, W, D] in [0, 1] and its brain mask. Out: the quantiles of its intensities, which a network may be told.

Scanners differ in contrast: between two of them lies, roughly, a monotone curve. A network that has seen many curves
can't know which one to paint in, since at t = 500 the noise hides contrast. So it is told by quantiles. A monotone
curve f takes quantiles to quantiles, q(f(x)) = f(q(x)), exactly where they are values of the volume itself, while blur,
a smooth bias field and noise hardly move them. Nor does a lesion, which is a small part of a brain.
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
