"""The product of l1 and SSIM, both in [0, 1]: finds only what both find.

A = |x - y| (1 - SSIM) / 2
"""

import numpy as np

from essim.methods.context import l1_and_ssim

DRAWS, NEEDS = 1, ()


def score(x, ys, mask, *, context):
    """As `essim.methods.scores` says."""
    return np.multiply(*l1_and_ssim(x, ys))
