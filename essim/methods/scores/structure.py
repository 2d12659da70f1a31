"""SSIM without its luminance: what varies around a voxel, not how bright it is there (Wang et al., 2004).

    A = 1 - cs,     cs = (2 cov_xy + c2) / (var_x + var_y + c2)

A scan that is reconstructed in another contrast differs in luminance everywhere; a lesion that is one even blob differs
in nothing else except at its edge. Huijben et al. (arXiv 2412.17586) split cs once more: see contrast.py.
"""

from essim.methods.context import USUAL, pair
from essim.ssim import check_pair, factors, local_moments

DRAWS, NEEDS = 1, ()


def score(x, ys, mask, *, context):
    """As `essim.methods.scores` says."""
    x, y = pair(x, ys)
    _, v = factors(local_moments(x, y, USUAL), check_pair(x, y, [USUAL], None))
    return 2 * v[0, 0].numpy()
