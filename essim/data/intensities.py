"""What the values of a scan mean: which are background, which are brain, and what to put outside it.

In: arrays [H, W, D] in whatever units a scanner or a tool left them (z-scores, [-1, 1], a background of -32768). Out:
masks, and arrays whose brain lies above 0 or continues beyond its rim. Paper: section 3 (data, preprocessing).
"""

import numpy as np
from scipy import ndimage

TINY = 0.01  # of the 99th percentile: what interpolation leaves around a stripped brain
RIM = 0.02  # a brain has fewer such voxels than this share along its own rim
ENDS = (0.1, 99.9)  # percentiles: the brain's darkest and brightest, without specks
FLOOR = 0.25  # of their distance: if the true zero is lost, the darkest is put this far above 0, as in most scans
BRIGHTEST = 4  # times the brightest: anything above is not tissue


def background_of(image):
    """The value around a stripped brain, that of most border voxels; None where they have none in common.

    Background that isn't a number at all (NaN, infinity) is taken as 0.
    """
    border = np.concatenate([np.take(image, (0, -1), axis).ravel() for axis in range(3)])
    border = border[np.isfinite(border)]
    if not border.size:
        return 0.0
    value = np.quantile(border, 0.5, method="lower")
    return value if np.mean(np.abs(border - value) <= _tiny(image, value)) > 0.5 else None


def foreground(image):
    """Where a stripped scan shows its brain, bool: what is neither its background nor interpolation noise around it.

    In a scan without a common background value: every voxel that is a number.
    """
    background, finite = background_of(image), np.isfinite(image)
    if background is None:
        return finite
    brain = finite & (image != background)
    dark, _ = ndimage.label(
        ~finite | (np.abs(np.where(finite, image, background) - background) <= _tiny(image, background))
    )
    border = np.unique(np.concatenate([np.take(dark, (0, -1), axis).ravel() for axis in range(3)]))
    noise = brain & np.isin(dark, border[border > 0])
    return brain & ~noise if noise.sum() > RIM * (brain.sum() - noise.sum()) else brain


def _tiny(image, background):
    """How far from the background a value may lie and still be noise."""
    return TINY * np.percentile(np.abs(image[np.isfinite(image)].astype(np.float64) - background), 99)


def lift(image, inside):
    """The scan, float32, shifted so that its brain (`inside`, bool) lies above 0 and the rest is 0 or more.

    A brain that is already positive stays as it is. What isn't a number becomes 0, and so does the background, even
    where it lay within the brain's range; saturated specks are clipped.
    """
    finite = np.isfinite(image)
    brain = image[inside & finite]
    if not brain.size:
        return np.zeros(image.shape, np.float32)
    low, high = np.percentile(brain, ENDS)
    zero = 0 if low >= -TINY * (high - low) else low - FLOOR * (high - low)
    background = background_of(image)
    dark = ~finite if background is None else ~finite | ((image == background) & ~inside)
    return np.where(dark, 0, image - zero).clip(0, BRIGHTEST * (high - zero)).astype(np.float32)


def fill_outside(image, inside):
    """The scan with each voxel outside `inside` (bool) set to the nearest one in it: splines ring at sharp borders."""
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    return image[tuple(nearest)]
