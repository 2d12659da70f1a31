"""No network: the brain's Gaussian mean around every voxel.

y = G_sigma * x, over the mask's voxels only
"""

from essim.methods.draws import alike
from essim.smoothing import gauss_inside

DRAWS, NETWORK = 1, None
SIGMA = 3.0  # voxels


def reconstruct(model, image, mask, *, draws, seed):
    """As `essim.methods.reconstructors` says; the draws are all alike."""
    return alike(gauss_inside(image, mask, SIGMA) * mask, draws)
