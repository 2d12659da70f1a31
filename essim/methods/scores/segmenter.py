"""A segmenter for comparison: the other methods' U-Net, trained to mark lesions that are drawn into healthy slices.

    A = sigmoid(f(x)),        trained by cross entropy and 1 - Dice against where something was drawn

It isn't unsupervised, since it learns that lesions are blobs, brighter or darker than their surroundings; but it needs
no outlined lesion. There are up to LESIONS in a slice, ragged ovoids from 1.5 to 16 pixels in radius, each on a
random brain voxel, with a level of its own, more or less transparent, its edge sharp or soft. DISYRE and others also
learn from synthetic anomalies, but to remove them; this network only says where they are. There is no reconstruction:
ys is not used. It has no time: t is always 1.
"""

import numpy as np
import torch
from torch.nn import functional as F

from essim.methods.chain import ask
from essim.methods.draws import numbers
from essim.models import build_model
from essim.noise import simplex_noise
from essim.reconstruct import by_slices, tone_for

DRAWS, NEEDS, NETWORK = 1, ("segmenter",), "segmenter"
LESIONS = 4  # at most
RADII = (1.5, 16.0)  # pixels, drawn uniformly in the logarithm
CONTRAST = (0.1, 0.6)  # between a lesion and the tissue at its centre
RAGGED = 0.4  # how far the noise moves an edge, in radii


def build(config):
    """An untrained `GaussianDiffusion`, of which only the network is used."""
    return build_model(config.model_dump())


def loss(model, x0, *, key, t_range, tone):
    """As `essim.methods.networks` says: how badly the drawn lesions are marked."""
    x, marked = with_lesions((x0 + 1) / 2, numbers(key))
    logits, target = ask(model, 2 * x - 1, 1, tone), marked.float()
    sure = logits.sigmoid()
    dice = (2 * (sure * target).sum() + 1) / (sure.sum() + target.sum() + 1)
    return F.binary_cross_entropy_with_logits(logits, target) + 1 - dice


def score(x, ys, mask, *, context):
    """As `essim.methods.scores` says; `context.segmenter` is the trained network."""
    return segment(context.segmenter, x, mask)


def segment(model, image, mask):
    """How sure the network is of a lesion: float32 [H, W, D] in [0, 1], 0 outside the mask."""
    tone = tone_for(model, image, mask)

    @torch.no_grad()
    def predict(slices, _):
        return ask(model, 2 * slices - 1, 1, tone).sigmoid()

    return by_slices(predict, image, mask, model.betas.device)


def with_lesions(x, rng):
    """Slices [N, 1, H, W] in [0, 1] with lesions: the slices, and where lesions cover more than half, bool.

    What is drawn, and where, comes from a numpy Generator; nothing is drawn outside the brain, where x is 0.
    """
    brain, marked = x > 0, torch.zeros_like(x, dtype=torch.bool)
    counts = rng.integers(LESIONS + 1, size=len(x))
    for place in range(LESIONS):
        cover, level = draw(x, brain, rng)
        cover = cover * torch.from_numpy(counts > place).to(x.device)[:, None, None, None]
        opacity = _each(rng.uniform(0.4, 1, len(x)), x)
        x, marked = torch.lerp(x, level, opacity * cover), marked | (cover > 0.5)
    return x, marked


def draw(x, brain, rng):
    """One lesion in every slice: how much of each pixel it covers [N, 1, H, W], and its level [N, 1, 1, 1]."""
    n, _, height, width = x.shape
    inside = [np.flatnonzero(one) for one in brain.flatten(1).cpu().numpy()]
    centres = np.array([rng.choice(pixels) if len(pixels) else 0 for pixels in inside])
    radius, edge = _each(np.exp(rng.uniform(*np.log(RADII), n)), x), _each(rng.uniform(1, 4, n), x)
    stretch = _each(np.exp(rng.uniform(-0.3, 0.3, n)), x)
    rows, columns = (torch.arange(size, device=x.device) for size in (height, width))
    down = (rows[:, None] - _each(centres // width, x)) * stretch
    across = (columns - _each(centres % width, x)) / stretch
    noise = simplex_noise(x.shape, octaves=3, frequency=16, seed=int(rng.integers(2**31)), device=x.device)
    cover = 0.5 + (radius * (1 + RAGGED * noise) - (down**2 + across**2).sqrt()) / edge
    at_centre = x.flatten(1).gather(1, torch.from_numpy(centres).to(x.device)[:, None])[:, :, None, None]
    level = at_centre + _each(rng.choice((-1, 1), n) * rng.uniform(*CONTRAST, n), x)
    return cover.clamp(0, 1) * brain, level.clamp(0.01, 1)


def _each(values, x):
    """One number per slice: float32 [N, 1, 1, 1] on the device of x."""
    return torch.from_numpy(np.asarray(values, np.float32)).to(x.device)[:, None, None, None]
