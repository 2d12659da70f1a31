"""AnoDDPM's partial chain: J. Wyatt et al., CVPR Workshops 2022. Noised to t = 250 of 1000, and back step by step.

    x_s ~ q(x_s | x_t, x_0 = f(x_t, t)),        t = 250, ..., s < t,        y = f(x_t, t) at the last

Simplex noise replaces Gaussian noise, forwards and backwards. The authors take all 250 steps; here it is STEPS of them,
like Nichol & Dhariwal's shorter chains.
"""

from essim.methods.chain import there_and_back

DRAWS, NETWORK = 1, "ddpm"
SHARE = 0.25  # of T
STEPS = 5


def reconstruct(model, image, mask, *, draws, seed):
    """As `essim.methods.reconstructors` says; `model` is a `GaussianDiffusion`."""
    return there_and_back(model, image, mask, share=SHARE, count=STEPS, eta=1, draws=draws, seed=seed)
