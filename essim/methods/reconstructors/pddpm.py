"""pDDPM, patched: F. Behrendt et al., MIDL 2023, arXiv 2303.03758. One patch is noised, its surroundings stay.

    y_P = f(M_P x_t + (1 - M_P) x, t)_P        for every patch P; M_P is 1 in P

so that the network sees the context as it is, and repaints the patch to fit. Trained by |x_0 - y| within a random
patch of the same grid. As in the released code, the slice is halved along both axes (48 of 96 pixels), t = 500,
and one field of noise serves all patches. Published: a relative gain of 25.1 % over baselines, on tumours and MS.
"""

import torch

from essim.methods.chain import ask, at, noised, steps_from
from essim.methods.draws import by_draws, numbers
from essim.models import build_model
from essim.reconstruct import tone_for
from essim.train.loop import draw_times_and_noise

DRAWS, NETWORK = 1, "pddpm"
SHARE = 0.5  # of T
GRID = 2  # patches along each axis


def build(config):
    """An untrained `GaussianDiffusion`, the DDPM's."""
    return build_model(config.model_dump())


def loss(model, x0, *, key, t_range, tone):
    """As `essim.methods.networks` says: l1 within one patch of every slice."""
    t, noise = draw_times_and_noise(model, x0.shape, key, t_range)
    masks = patches(x0)
    inside = masks[torch.from_numpy(numbers(key).integers(len(masks), size=len(x0))).to(x0.device)]
    y = ask(model, torch.where(inside, model.q_sample(x0, t, noise), x0), t, tone)
    return ((y - x0).abs() * inside).sum() / inside.sum()


def reconstruct(model, image, mask, *, draws, seed):
    """As `essim.methods.reconstructors` says; `model` is what `build` made."""
    tone, (step,) = tone_for(model, image, mask), steps_from(model, SHARE)

    def predict(x, seed):
        x_t, _ = noised(model, x, step, seed)
        return sum(repaint(model, x, x_t, patch, step, tone) * patch for patch in patches(x))

    return by_draws(predict, image, mask, model.betas.device, draws=draws, seed=seed)


def patches(x):
    """The patches of slices [N, 1, H, W]: bool [GRID^2, 1, H, W]; every pixel is in one."""
    rows, columns = (torch.arange(size, device=x.device) * GRID // size for size in x.shape[2:])
    return torch.stack([(rows == i)[:, None] & (columns == j) for i in range(GRID) for j in range(GRID)])[:, None]


def repaint(model, x, x_t, patch, step, tone):
    """Slices in [0, 1] with one patch as if healthy, and the rest as it was."""
    y = model.predict_start(torch.where(patch, x_t, 2 * x - 1), at(step, x), tone)
    return torch.where(patch, (y + 1) / 2, x)
