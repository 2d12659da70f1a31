"""mDDPM, masked: H. Iqbal et al., arXiv 2305.19867 (2023). A DDPM trained on slices with holes.

    loss = |x_0 - f(sqrt(abar_t) h(x_0) + sqrt(1 - abar_t) noise, t)|        y = f(x_t, t)

h damages up to HOLES rectangles of a slice, and the network has to guess what was there: in half of the slices they are
left empty (masked image modelling), in the others they keep only the low or only the high frequencies (masked
frequency modelling). A scan to be reconstructed is noised whole, as in ddpm.py. The released code has the same sizes;
it also uses pDDPM's patches, which are left out here.
"""

import numpy as np
import torch

from essim.methods.chain import ask
from essim.methods.draws import numbers
from essim.methods.reconstructors import ddpm
from essim.models import build_model
from essim.train.loop import draw_times_and_noise

DRAWS, NETWORK = 1, "mddpm"
HOLES = 5  # at most
SIDES = (0.09, 0.18)  # of a rectangle, as shares of the slice
CUTS = (2, 10)  # where frequencies are cut, in periods per slice


def build(config):
    """An untrained `GaussianDiffusion`, the DDPM's."""
    return build_model(config.model_dump())


def loss(model, x0, *, key, t_range, tone):
    """As `essim.methods.networks` says: l1 over the whole slice, predicted from one with holes."""
    t, noise = draw_times_and_noise(model, x0.shape, key, t_range)
    return (ask(model, model.q_sample(damaged(x0, numbers(key)), t, noise), t, tone) - x0).abs().mean()


def reconstruct(model, image, mask, *, draws, seed):
    """As `essim.methods.reconstructors` says; `model` is what `build` made."""
    return ddpm.reconstruct(model, image, mask, draws=draws, seed=seed)


def damaged(x0, rng):
    """Slices [N, 1, H, W] in [-1, 1] with holes; their filling and their places are drawn from a numpy Generator."""
    empty = torch.from_numpy(rng.random(len(x0)) < 0.5).to(x0.device)[:, None, None, None]
    filling = torch.where(empty, -1.0, some_frequencies(x0, rng))
    return torch.where(holes(x0.shape, rng).to(x0.device), filling, x0)


def holes(shape, rng):
    """Up to HOLES rectangles in each slice: bool [N, 1, H, W]."""
    n, _, height, width = shape
    there = rng.integers(HOLES + 1, size=n)[:, None] > np.arange(HOLES)
    sides, centres = rng.uniform(*SIDES, (2, n, HOLES)), rng.uniform(0.15, 0.85, (2, n, HOLES))
    within = [
        abs((np.arange(size) + 0.5) / size - centre[..., None]) <= side[..., None] / 2
        for size, side, centre in zip((height, width), sides, centres, strict=True)
    ]
    found = there[..., None, None] & within[0][..., None] & within[1][:, :, None]
    return torch.from_numpy(found.any(1))[:, None]


def some_frequencies(x0, rng):
    """Slices [N, 1, H, W] in [-1, 1], each without its low or its high frequencies, clamped."""
    cut = torch.from_numpy(rng.integers(CUTS[0], CUTS[1] + 1, len(x0))).to(x0.device)[:, None, None, None]
    high = torch.from_numpy(rng.random(len(x0)) < 0.5).to(x0.device)[:, None, None, None]
    along = [torch.fft.fftfreq(size, 1 / size, device=x0.device).abs() for size in x0.shape[2:]]
    low = torch.maximum(along[0][:, None], along[1]) < cut
    return torch.fft.ifft2(torch.fft.fft2((x0 + 1) / 2) * (low != high)).real.clamp(0, 1) * 2 - 1
