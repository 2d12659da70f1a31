"""DDIM's way back: J. Song et al., ICLR 2021, arXiv 2010.02502. Noised to t = 500, and back in steps without noise.

    x_s = sqrt(abar_s) f(x_t, t) + sqrt(1 - abar_s) noise^,        y = f(x_t, t) at the last

One step is the DDPM's prediction (ddpm.py); more of them add detail that a single one, which is a mean, lacks.
"""

from essim.methods.chain import there_and_back

DRAWS, NETWORK = 1, "ddpm"
SHARE = 0.5  # of T
STEPS = 5


def reconstruct(model, image, mask, *, draws, seed):
    """As `essim.methods.reconstructors` says; `model` is a `GaussianDiffusion`."""
    return there_and_back(model, image, mask, share=SHARE, count=STEPS, eta=0, draws=draws, seed=seed)
