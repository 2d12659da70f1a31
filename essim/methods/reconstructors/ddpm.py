"""The paper's DDPM (Behrendt et al., arXiv 2403.14262): noised to t = 500 and predicted back in one step.

y = f(sqrt(abar_t) x + sqrt(1 - abar_t) noise, t)
"""

import numpy as np

from essim.reconstruct import reconstruct_volume

DRAWS, NETWORK = 1, "ddpm"
T = 500


def reconstruct(model, image, mask, *, draws, seed):
    """As `essim.methods.reconstructors` says; `model` is a `GaussianDiffusion`."""
    seeds = ([*seed, draw] for draw in range(draws))
    return np.stack([reconstruct_volume(model, image, mask, t=T, draws=1, seed=own) for own in seeds])
