"""SSIM with its usual window, sigma = 1.5 voxels (Wang et al., IEEE TIP 13:600, 2004).

A = 1 - l cs,     l = (2 mu_x mu_y + c1) / (mu_x^2 + mu_y^2 + c1),     cs = (2 cov_xy + c2) / (var_x + var_y + c2)
"""

from essim.ensemble import ensemble_map
from essim.methods.context import USUAL, pair

DRAWS, NEEDS = 1, ()


def score(x, ys, mask, *, context):
    """As `essim.methods.scores` says."""
    return ensemble_map(*pair(x, ys), sigmas=[USUAL])[0, 0].numpy()
