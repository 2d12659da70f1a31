"""THOR: C. Bercea et al., Diffusion Models with Implicit Guidance, MICCAI 2024, arXiv 2403.08464.

    x_s = sqrt(abar_s) (a f(x_t, t) + (1 - a) x) + sqrt(1 - abar_s) noise,        t = 300, ..., s < t

where a in [0, 1] is how ill the scan looks at t: |x - f| (1 - SSIM) over its largest value in the slice, averaged with
its maximum in a square around. On its way back a slice is drawn towards the scan where that looks healthy. The
authors use LPIPS instead of 1 - SSIM, and squares of 13 of 128 pixels, a tenth of the slice here; their own score, the
harmonic mean of the maps a, is left to the scores.
"""

import torch

from essim.methods.chain import at, noised, predict_slice, steps_from, unlike, widen
from essim.methods.draws import by_draws
from essim.reconstruct import tone_for

DRAWS, NETWORK = 1, "ddpm"
SHARE = 0.3  # of T
STEPS = 5


def reconstruct(model, image, mask, *, draws, seed):
    """As `essim.methods.reconstructors` says; `model` is a `GaussianDiffusion`."""
    tone, steps = tone_for(model, image, mask), steps_from(model, SHARE, STEPS)

    def predict(x, seed):
        x_t, noise = noised(model, x, steps[0], seed)
        for step, before in zip(steps, [*steps[1:], 0], strict=True):
            y = predict_slice(model, x_t, step, tone)
            if before:
                mixed = torch.lerp(x, y, guidance(x, y))
                x_t = model.q_sample(2 * mixed - 1, at(before, x), noise)
        return y

    return by_draws(predict, image, mask, model.betas.device, draws=draws, seed=seed)


def guidance(x, y):
    """a: how ill slices look compared with their reconstructions, [N, 1, H, W] in [0, 1]; 0 where nothing differs."""
    likelihood = (x - y).abs() * unlike(x, y)
    likelihood = likelihood / likelihood.amax((2, 3), keepdim=True).clamp(min=1e-6)
    return (likelihood + widen(likelihood, x.shape[3] // 10 | 1)) / 2
