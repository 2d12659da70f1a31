"""Ours: the differences of l1 and SSIM, in standard deviations of healthy brains at that place.

    A = max(0, z_0 / 2 + sum_i z_i / 2K),     z_i = (f_i / r - m_i) / s_i

See essim.calibration. The healthy scans behind m and s are reconstructed in the same way as the scan: every
reconstructor has a calibration of its own.
"""

from essim.calibration import calibrated_map
from essim.methods.context import pair

DRAWS, NEEDS = 1, ("calibration",)


def score(x, ys, mask, *, context):
    """As `essim.methods.scores` says."""
    return calibrated_map(*pair(x, ys), context.calibration)[0, 0].numpy()
