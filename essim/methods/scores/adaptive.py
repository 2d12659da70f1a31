"""The paper's ensemble of SSIM maps: F. Behrendt et al., ISBI 2024, arXiv 2403.14262.

    w_i = exp(-S_i) / sum_j exp(-S_j),        A = 1 - sum_i w_i S_i,        S_i the SSIM map at sigma_i

See essim.ensemble.
"""

from essim.ensemble import ensemble_map
from essim.methods.context import pair

DRAWS, NEEDS = 1, ()


def score(x, ys, mask, *, context):
    """As `essim.methods.scores` says."""
    options = {"sigmas": context.sigmas, "temperature": context.temperature}
    return ensemble_map(*pair(x, ys), **options)[0, 0].numpy()
