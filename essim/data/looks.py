"""How a brain looks to a network, in a few numbers: which intensities it has, and how fine its detail is.

In: a preprocessed scan, its brain mask; the same of healthy scans. Out: numbers, and how far they lie outside the range
of the healthy ones. Not in the paper.
"""

import numpy as np
from scipy import ndimage

from essim.data.intensities import fill_outside

OCTAVES = (0.7, 1.4, 2.8)  # voxels: widths of Gaussians, between which a band of detail lies
INNER = 3  # voxels from the mask's rim inwards, so that a brain's edge doesn't count as detail
TINY = 1e-6
QUANTILES = np.linspace(0.05, 0.95, 19)


def look_of(image, mask):
    """The look of a scan: {"tone": quantiles of the brain, in [0, 1]; "texture": for each octave of detail, from fine
    to coarse, log2 of its standard deviation over the brain's}.

    Args: image: float32 [H, W, D] in [0, 1]. mask: bool [H, W, D], not empty.
    """
    inside = ndimage.binary_erosion(mask, iterations=INNER)
    inside = inside if inside.any() else mask
    filled = fill_outside(image, mask)
    levels = [filled, *(ndimage.gaussian_filter(filled, sigma) for sigma in OCTAVES)]
    bands = [(fine - coarse)[inside].std() for fine, coarse in zip(levels, levels[1:], strict=False)]
    texture = np.log2(np.maximum(bands, TINY) / max(image[inside].std(), TINY))
    return {"tone": np.quantile(image[mask], QUANTILES).tolist(), "texture": texture.tolist()}


def range_of(looks):
    """The range of several looks: {name: [the lowest numbers, the highest numbers]}, to four decimals."""
    each = {name: [look[name] for look in looks] for name in looks[0]}
    return {name: [end(numbers, 0).round(4).tolist() for end in (np.min, np.max)] for name, numbers in each.items()}


def strangeness(look, usual):
    """How far a look lies outside a range (`range_of`) at worst; 0: inside. {"tone": in [0, 1], "texture": octaves}."""
    return {
        name: float(np.max([np.subtract(low, look[name]), np.subtract(look[name], high)]).clip(0))
        for name, (low, high) in usual.items()
    }
