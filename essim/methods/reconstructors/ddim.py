"""DDIM's way back: J. Song et al., ICLR 2021, arXiv 2010.02502. Noised to t = 500, and back in steps without noise.

    x_s = sqrt(abar_s) f(x_t, t) + sqrt(1 - abar_s) noise^,        y = f(x_t, t) at the last

One step is the DDPM's prediction (ddpm.py); more of them add detail that a single one, which is a mean, lacks.
"""

from essim.methods.chain import steps_from, walk_back
from essim.methods.draws import by_draws
from essim.reconstruct import tone_for

DRAWS, NETWORK = 1, "ddpm"
SHARE = 0.5  # of T
STEPS = 5


def reconstruct(model, image, mask, *, draws, seed):
    """As `essim.methods.reconstructors` says; `model` is a `GaussianDiffusion`."""
    tone, steps = tone_for(model, image, mask), steps_from(model, SHARE, STEPS)

    def predict(x, seed):
        return walk_back(model, x, steps, tone, eta=0, seed=seed)

    return by_draws(predict, image, mask, model.betas.device, draws=draws, seed=seed)
