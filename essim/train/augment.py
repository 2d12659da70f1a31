"""The protocol's augmentations, for a whole batch of slices at once and on its device.

In: slices [N, 1, H, W] in [0, 1] and a key for each. Out: the same shape, changed as scanners might, in [0, 1].
Paper: section 3 (training). The four kinds and their ranges are TorchIO's defaults, in two dimensions.

    gamma      x^exp(a)                          a in [-0.3, 0.3]
    bias       x exp(sum c_ij u^i v^j)           c_ij in [-0.5, 0.5], i + j <= 3, u and v from -1 to 1
    blur       Gaussian, one sigma per axis      sigma in [0, 2] mm: at most 1 pixel of 2 mm
    ghosting   every m-th line of the spectrum   m in 4..10, dimmed by 0.5 to 1, the central 2 % of the lines kept
               along one axis

Blur and ghosting are both factors on the spectrum, so one Fourier transform there and back serves both.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch

CHANCE = {"gamma": 0.5, "bias": 0.25, "blur": 0.25, "ghosting": 0.5}
POWERS = [(i, j) for i in range(4) for j in range(4) if i + j <= 3]
KEPT = 0.02  # of the lines, around the spectrum's centre


@dataclass(frozen=True)
class Change:
    """What happens to one slice; the defaults change nothing."""

    gamma: float = 1.0
    bias: tuple = (0.0,) * len(POWERS)
    blur: tuple = (0.0, 0.0)  # sigma along H and W, pixels
    ghosts: int = 0  # 0: none
    axis: int = 0
    dimmed: float = 0.0


def draw(key, pixel_mm):
    """The `Change` of one slice, whose pixels have this side in mm: a function of its key (ints) alone."""
    rng = np.random.default_rng(key)
    happens = dict(zip(CHANCE, rng.random(len(CHANCE)) < list(CHANCE.values()), strict=True))
    changes = {
        "gamma": {"gamma": np.exp(rng.uniform(-0.3, 0.3))},
        "bias": {"bias": tuple(rng.uniform(-0.5, 0.5, len(POWERS)))},
        "blur": {"blur": tuple(rng.uniform(0, 2, 2) / pixel_mm)},
        "ghosting": {"ghosts": int(rng.integers(4, 11)), "axis": int(rng.integers(2)), "dimmed": rng.uniform(0.5, 1)},
    }
    return Change(**{name: value for kind in CHANCE if happens[kind] for name, value in changes[kind].items()})


def apply(slices, changes):
    """Slices [N, 1, H, W] in [0, 1], on any device, each with its `Change`: the same shape, clamped to [0, 1]."""
    height, width = slices.shape[2:]

    def tensor(values):
        return torch.tensor(np.array(values), dtype=torch.float32).to(slices.device, non_blocking=True)

    gamma = tensor([change.gamma for change in changes])
    bias = tensor([change.bias for change in changes]) @ powers(height, width, slices.device)
    result = slices ** gamma[:, None, None, None] * bias.exp().view(len(slices), 1, height, width)
    filtered = [i for i, change in enumerate(changes) if change.ghosts or any(change.blur)]
    if filtered:
        along_h, along_w = (
            tensor([_factors(changes[i], axis, (height, width)[axis]) for i in filtered]) for axis in (0, 1)
        )
        factors = along_h[:, None, :, None] * along_w[:, None, None, : width // 2 + 1]
        spectrum = torch.fft.rfft2(result[filtered]) * factors
        result[filtered] = torch.fft.irfft2(spectrum, s=(height, width))
    return result.clamp(0, 1)


def retone(tones, changes):
    """The tones [N, TONES] of volumes (`essim.tone`) after the gamma of their slices' `Change`: the same shape."""
    gamma = torch.tensor([change.gamma for change in changes], dtype=torch.float32)
    return tones ** gamma.to(tones.device)[:, None]


@functools.lru_cache(maxsize=8)
def powers(height, width, device):
    """The monomials of the bias field on the pixel grid: [P, H * W]."""
    u, v = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return torch.tensor(np.stack([(u**i * v**j).ravel() for i, j in POWERS]), dtype=torch.float32, device=device)


def _factors(change, axis, size):
    """What one axis of the spectrum is multiplied by, in the order of `torch.fft.fftfreq`."""
    distance = np.minimum(np.arange(size), size - np.arange(size))
    window = np.exp(-0.5 * (distance / max(change.blur[axis], 0.1)) ** 2)  # at 0.1 and below: a single 1
    factors = np.fft.fft(window / window.sum()).real
    if change.ghosts and change.axis == axis:
        lines = np.ones(size)  # in the order of fftshift: the centre in the middle
        lines[:: change.ghosts] = 1 - change.dimmed
        middle, kept = size // 2, int(np.round(KEPT * size)) // 2
        lines[middle - kept : middle + kept] = 1
        lines = np.fft.ifftshift(lines)
        factors = factors * (lines + np.roll(lines[::-1], 1)) / 2  # symmetric: only the real part comes back
    return factors
