"""The control of `calibrated`: l1 in standard deviations of healthy brains at that place, without SSIM's differences.

    A = max(0, z_0),     z_0 = (f_0 / r - m_0) / s_0

What `calibrated` gains beyond this comes from SSIM; what this gains beyond l1 comes from the healthy scans alone.
"""

from essim.calibration import calibrated_l1
from essim.methods.context import pair

DRAWS, NEEDS = 1, ("calibration",)


def score(x, ys, mask, *, context):
    """As `essim.methods.scores` says."""
    return calibrated_l1(*pair(x, ys), context.calibration)[0, 0].numpy()
