"""From a noised slice back to a slice, in one step or several; and how unlike a scan the result is.

In: slices [N, 1, H, W] in [0, 1], or a volume, and a `GaussianDiffusion`. Out: the same shape, or draws of the volume.
Papers: Ho et al. (2020); J. Song et al., DDIM, arXiv 2010.02502, equations 12 and 16; A. Nichol & P. Dhariwal, arXiv
2102.09672 (a chain of fewer steps).

With x_0^ what the network predicts at t, noise^ the noise that would lead from there to x_t, and s < t,

    x_s = sqrt(abar_s) x_0^ + sqrt(1 - abar_s - sigma^2) noise^ + sigma noise
    sigma = eta sqrt((1 - abar_s) / (1 - abar_t)) sqrt(1 - abar_t / abar_s)

eta = 1 is the DDPM's reverse step, eta = 0 DDIM's, which draws nothing. A chain ends with x_0^ itself.
"""

import numpy as np
import torch
from torch.nn import functional as F

from essim.methods.draws import by_draws
from essim.reconstruct import tone_for
from essim.ssim import ssim_map

LAST = 0.1  # of T: from here a chain predicts the slice at once; less noise hides nothing and needn't be learned
SIGMA = 1.0  # pixels: SSIM's window in `unlike`


def steps_from(diffusion, share, count=1):
    """`count` noising steps from share * T down to LAST * T, evenly spaced, each 1 or more; a list, falling."""
    steps = np.linspace(share, min(share, LAST), count) * diffusion.timesteps
    return sorted({max(1, round(step)) for step in steps.tolist()}, reverse=True)


def ask(diffusion, x_t, t, tone):
    """The network's own output for slices [N, 1, H, W] in [-1, 1], not clamped; t: [N] or one step for all."""
    t = at(t, x_t)
    return diffusion.model(x_t, t) if tone is None else diffusion.model(x_t, t, tone)


def at(step, x):
    """One step for all slices of x: int64 [1], as the diffusion takes it; steps [N] stay as they are."""
    return torch.as_tensor(step, device=x.device).reshape(-1)


def noised(diffusion, x, step, seed):
    """Slices in [0, 1] noised to a step, on the scale of [-1, 1], and their noise."""
    noise = diffusion.sample_noise(x.shape, seed=seed)
    return diffusion.q_sample(2 * x - 1, at(step, x), noise), noise


def predict_slice(diffusion, x_t, step, tone):
    """The slices, in [0, 1], that the network predicts from noised ones."""
    return (diffusion.predict_start(x_t, at(step, x_t), tone) + 1) / 2


def step_back(diffusion, x_t, step, before, y, *, eta, noise):
    """x_s, on the scale of [-1, 1], for s = `before`, 1 or more: the equation above, with y in [0, 1] for x_0^."""
    x0, abar, abar_before = 2 * y - 1, diffusion.alphas_cumprod[step - 1], diffusion.alphas_cumprod[before - 1]
    sigma = eta * ((1 - abar_before) / (1 - abar) * (1 - abar / abar_before)).sqrt()
    back = (x_t - abar.sqrt() * x0) / (1 - abar).sqrt()
    return abar_before.sqrt() * x0 + (1 - abar_before - sigma**2).clamp(min=0).sqrt() * back + sigma * noise


def walk_back(diffusion, x, steps, tone, *, eta, seed):
    """Slices in [0, 1] noised to the first of `steps` and back through the others: the same shape, in [0, 1]."""
    x_t, noise = noised(diffusion, x, steps[0], seed)
    for i, (step, before) in enumerate(zip(steps, [*steps[1:], 0], strict=True)):
        y = predict_slice(diffusion, x_t, step, tone)
        if before:
            noise = diffusion.sample_noise(x.shape, seed=stream(seed, i)) if eta else noise
            x_t = step_back(diffusion, x_t, step, before, y, eta=eta, noise=noise)
    return y


def there_and_back(model, image, mask, *, share, count, eta, draws, seed):
    """Several draws of a volume, each noised to share * T and back in `count` steps; as `by_draws` returns them."""
    tone, steps = tone_for(model, image, mask), steps_from(model, share, count)

    def predict(x, seed):
        return walk_back(model, x, steps, tone, eta=eta, seed=seed)

    return by_draws(predict, image, mask, model.betas.device, draws=draws, seed=seed)


def stream(seed, place):
    """The seed of what is drawn at a place (0, 1, ...) of a chain, from the seed of the chain."""
    return int(np.random.SeedSequence([seed, place]).generate_state(1)[0])


def unlike(x, y):
    """(1 - SSIM) / 2 of slices [N, 1, H, W] in [0, 1]: the same shape, in [0, 1].

    It replaces the papers' LPIPS, which needs a network of its own.
    """
    return (1 - ssim_map(x, y, sigma=SIGMA)) / 2


def widen(maps, pixels):
    """The largest value in a square of `pixels` (odd) a side around each pixel: [N, 1, H, W]."""
    return F.max_pool2d(maps, pixels, stride=1, padding=pixels // 2)
