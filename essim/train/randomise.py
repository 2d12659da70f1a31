"""Slices as other scanners would show them: tone, bias field, sharpness and noise at random, for a whole batch.

In: slices [N, 1, H, W] in [0, 1] and a key for each. Out: the same shape, in [0, 1], and 0 where the slice was 0.
Imports: `essim.noise`, `essim.train.augment` (the monomials). The idea is that of domain randomisation (B. Billot et
al., SynthSeg, Medical Image Analysis 86:102789, 2023): a network that has seen more scanners than there are also knows
the next one.

    tone        p + (1 - p) c(x^g)                p = 0.3 u^2 with u in [0, 1], so half of them below 0.08;
                                                  g in [e^-0.5, e^0.5]; c of five straight pieces, whose slopes
                                                  differ by a factor of 4 at most
    bias        x exp(a + cubic polynomial)       standard deviation of the polynomial within the brain in [0, 0.1]:
                                                  what N4 leaves; a, of standard deviation 0.07, is what it leaves from
                                                  slice to slice
    sharpness   x + a (x - blurred x)             Gaussian blur, sigma in [0, 1.2] pixels; a = -1, the blurred slice,
                                                  for about half of the slices, otherwise in [0, 0.7]
    noise       x + s n                           Gaussian, s in [0, 0.05]

The brain is where the slice is above 0; hence this comes before `augment`, whose ghosts lie around it. The blur leaves
out what lies around the brain, which isn't black in a scanner.
"""

from dataclasses import dataclass

import numpy as np
import torch

from essim.noise import gaussian_noise
from essim.train.augment import POWERS, powers

PIECES = 5  # of the tone curve
STEPS = 256  # of the table that the tone curve is looked up in


@dataclass(frozen=True)
class Change:
    """What happens to one slice; the defaults change nothing, except near 0 by the steps of the table."""

    pedestal: float = 0.0
    gamma: float = 1.0
    slopes: tuple = (1.0,) * PIECES  # relative to each other
    bias: tuple = (0.0,) * len(POWERS)
    bias_sd: float = 0.0
    gain: float = 0.0  # of the slice as a whole, its logarithm
    sigma: float = 0.0  # pixels
    amount: float = 0.0  # -1: blurred; above 0: sharpened
    noise: float = 0.0
    seed: int = 0  # of the noise


def draw(key):
    """The `Change` of one slice: a function of its key (ints), whatever else is drawn."""
    rng = np.random.default_rng([*key, 1])  # not the numbers that `augment.draw` gets from this key
    return Change(
        pedestal=0.3 * rng.random() ** 2,
        gamma=np.exp(rng.uniform(-0.5, 0.5)),
        slopes=tuple(np.exp(rng.uniform(-np.log(2), np.log(2), PIECES))),
        bias=tuple(rng.standard_normal(len(POWERS))),
        bias_sd=rng.uniform(0, 0.1),
        sigma=rng.uniform(0, 1.2),
        amount=-1.0 if rng.random() < 0.5 else rng.uniform(0, 0.7),
        noise=rng.uniform(0, 0.05),
        seed=int(rng.integers(2**62)),
        gain=0.07 * rng.standard_normal(),
    )


def apply(slices, changes):
    """Slices [N, 1, H, W] in [0, 1], on any device, each with its `Change`: the same shape, clamped to [0, 1]."""
    brain = slices > 0
    result = _bend(slices, changes) * _bias(brain, changes)
    result = _sharpen(result, brain, changes)
    fields = torch.stack([gaussian_noise(slices.shape[1:], seed=change.seed) for change in changes])
    result = result + _each(changes, "noise", slices.device) * fields.to(slices.device, non_blocking=True)
    return result.clamp(0, 1) * brain


def retone(tones, changes):
    """The tones [N, TONES] of volumes (`essim.tone`) after the curve of their slices' `Change`: the same shape."""
    return _bend(tones, changes)


def _each(changes, name, device):
    """One field of the changes as a tensor [N, 1, 1, 1]."""
    values = torch.tensor([getattr(change, name) for change in changes], dtype=torch.float32)
    return values.to(device, non_blocking=True)[:, None, None, None]


def _bend(values, changes):
    """Values [N, ...] in [0, 1] along the tone curves, which begin at 0 and reach the pedestal one step further."""
    x, knots = np.linspace(0, 1, STEPS + 1), np.linspace(0, 1, PIECES + 1)
    curves = np.zeros((len(changes), STEPS + 1), np.float32)
    for curve, change in zip(curves, changes, strict=True):
        heights = np.cumsum([0, *change.slopes]) / np.sum(change.slopes)
        curve[1:] = change.pedestal + (1 - change.pedestal) * np.interp(x[1:] ** change.gamma, knots, heights)
    curves = torch.from_numpy(curves).to(values.device, non_blocking=True)
    place = values.flatten(1) * STEPS
    below = place.long().clamp(max=STEPS - 1)
    bent = torch.lerp(curves.gather(1, below), curves.gather(1, below + 1), place - below)
    return bent.view_as(values)


def _bias(brain, changes):
    """The factor of the bias fields [N, 1, H, W]: its logarithm has the wanted mean and deviation in the brain."""
    height, width = brain.shape[2:]
    coefficients = torch.tensor([change.bias for change in changes], dtype=torch.float32).to(brain.device)
    field = (coefficients @ powers(height, width, brain.device)).view(brain.shape)
    pixels = brain.sum((2, 3), keepdim=True).clamp_min(1)
    field = field - (field * brain).sum((2, 3), keepdim=True) / pixels
    deviation = ((field**2 * brain).sum((2, 3), keepdim=True) / pixels).sqrt().clamp_min(1e-6)
    field = _each(changes, "gain", brain.device) + _each(changes, "bias_sd", brain.device) * field / deviation
    return (field * brain).exp()


def _sharpen(slices, brain, changes):
    """Slices that are blurred or sharpened within the brain, [N, 1, H, W]."""
    height, width = slices.shape[2:]
    u, v = torch.fft.fftfreq(height, device=slices.device), torch.fft.rfftfreq(width, device=slices.device)
    sigma = _each(changes, "sigma", slices.device)
    gauss = torch.exp(-2 * (torch.pi * sigma) ** 2 * (u[:, None] ** 2 + v**2))
    both = torch.cat([slices * brain, brain.to(slices.dtype)], dim=1)
    values, weights = torch.fft.irfft2(torch.fft.rfft2(both) * gauss, s=(height, width)).chunk(2, dim=1)
    blurred = values / weights.clamp_min(0.05)  # even a single pixel of brain weighs more
    return slices + _each(changes, "amount", slices.device) * (slices - blurred)
