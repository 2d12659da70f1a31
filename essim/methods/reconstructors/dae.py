"""DAE, the denoising autoencoder: A. Kascenas et al., MIDL 2022, and arXiv 2301.08330 (2023).

    loss = mean (x - f(x + n))^2        y = f(x)

n is coarse: Gaussian, one number per cell of 8 pixels (about 15 mm; the authors: 16 x 16 cells in 128 x 128 pixels),
of standard deviation 0.2 on a scale where brains are in [0, 1], interpolated and shifted at random, and 0 outside the
brain. To the network a lesion is one more such cloud, which it removes. The mean is taken over the whole slice, since
parts of a brain may be as black as the background. There is no time: t is always 1. The 2023 paper finds it fast,
simple, and of state-of-the-art accuracy.
"""

import math

import torch
from torch.nn import functional as F

from essim.methods.chain import ask, predict_slice
from essim.methods.draws import alike, by_draws, numbers
from essim.models import build_model
from essim.reconstruct import tone_for

DRAWS, NETWORK = 1, "dae"
CELL = 8  # pixels
SCALE = 0.2  # standard deviation of the cells' numbers, before interpolation makes it smaller


def build(config):
    """An untrained `GaussianDiffusion`, of which only the network is used."""
    return build_model(config.model_dump())


def loss(model, x0, *, key, t_range, tone):
    """As `essim.methods.networks` says: the squared error, in units of [0, 1]."""
    noise = (x0 > -1) * coarse_noise(x0.shape, numbers(key)).to(x0.device)
    return (ask(model, x0 + 2 * noise, 1, tone) - x0).square().mean() / 4


def reconstruct(model, image, mask, *, draws, seed):
    """As `essim.methods.reconstructors` says; `model` is what `build` made; the draws are all alike."""
    tone = tone_for(model, image, mask)

    def predict(x, seed):
        return predict_slice(model, 2 * x - 1, 1, tone)

    return alike(by_draws(predict, image, mask, model.betas.device, draws=1, seed=seed)[0], draws)


def coarse_noise(shape, rng):
    """Clouds for slices of a shape (N, 1, H, W), drawn from a numpy Generator: float32."""
    n, _, height, width = shape
    cells = SCALE * rng.standard_normal((n, 1, math.ceil(height / CELL), math.ceil(width / CELL)))
    wide = F.interpolate(torch.from_numpy(cells).float(), scale_factor=CELL, mode="bilinear", align_corners=True)
    shifts = rng.integers(wide.shape[2:], size=(n, 2)).tolist()
    return torch.stack([cloud.roll(shift, (1, 2)) for cloud, shift in zip(wide, shifts, strict=True)])[
        :, :, :height, :width
    ]
