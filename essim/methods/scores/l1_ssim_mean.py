"""The mean of l1 and SSIM, both in [0, 1]: what only one finds counts half.

A = (|x - y| + (1 - SSIM) / 2) / 2
"""

from essim.methods.context import l1_and_ssim

DRAWS, NEEDS = 1, ()


def score(x, ys, mask, *, context):
    """As `essim.methods.scores` says."""
    return sum(l1_and_ssim(x, ys)) / 2
