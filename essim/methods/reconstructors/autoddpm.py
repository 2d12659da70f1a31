"""AutoDDPM: C. Bercea et al., Mask, Stitch, and Re-Sample, arXiv 2305.19643 (2023).

    mask      M = [|x - y| / q95 (1 - SSIM) / 2 > threshold], one pixel wider;      y: noised to t = 200, and back
    stitch    z = M y + (1 - M) x
    resample  z <- M f(z_t, t) + (1 - M) x,        z_t: z noised to a low t; several times

so that only what looks ill is replaced, and made to fit its surroundings. q95 is the 95th percentile of |x - y| in
the slice's brain. The authors use LPIPS instead of 1 - SSIM, and resample at every t from 50 of 1000 down; here it is
one t, the last of `methods.chain`.
"""

import torch

from essim.methods.chain import LAST, noised, predict_slice, steps_from, stream, unlike, walk_back, widen
from essim.methods.draws import by_draws
from essim.reconstruct import tone_for

DRAWS, NETWORK = 1, "ddpm"
SHARE = 0.2  # of T
STEPS = 3  # of the chain that makes the first y
THRESHOLD = 0.1
TIMES = 4  # number of resamplings


def reconstruct(model, image, mask, *, draws, seed):
    """As `essim.methods.reconstructors` says; `model` is a `GaussianDiffusion`."""
    tone, steps, (low,) = tone_for(model, image, mask), steps_from(model, SHARE, STEPS), steps_from(model, LAST)

    def predict(x, seed):
        y = walk_back(model, x, steps, tone, eta=1, seed=seed)
        ill = looks_ill(x, y)
        z = torch.where(ill, y, x)
        for time in range(TIMES):
            z_t, _ = noised(model, z, low, stream(seed, len(steps) + time))
            z = torch.where(ill, predict_slice(model, z_t, low, tone), x)
        return z

    return by_draws(predict, image, mask, model.betas.device, draws=draws, seed=seed)


def looks_ill(x, y):
    """Where slices differ from their reconstructions: bool [N, 1, H, W]."""
    difference = (x - y).abs()
    brain = torch.where(x > 0, difference, torch.nan).flatten(1)
    scale = brain.nanquantile(0.95, dim=1).nan_to_num(1).clamp(min=1e-6)[:, None, None, None]
    return widen(((difference / scale).clamp(max=1) * unlike(x, y) > THRESHOLD).float(), 3) > 0
