"""A volume as if healthy: its axial slices are sent through a network and put together again.

In: a volume [H, W, D] in [0, 1], its brain mask, a network for slices. Out: a volume of the same shape, 0 outside the
mask. Paper: section 3 (reconstruction).
"""

import threading
from contextlib import nullcontext

import numpy as np
import torch

from essim.tone import tone_of

BATCH = 64  # slices the network sees at once
TURN = threading.Lock()


def by_slices(predict, volume, mask, device):
    """Apply a function of slices to a volume; slices without brain are left out.

    Threads of one process may call it at the same time; on a GPU they take turns, since its memory may hold only one.

    Args:
        predict: a function from slices [N, 1, H, W] on the device, and the number of their batch, to the same shape.
        volume: float32 [H, W, D]. mask: bool [H, W, D]. device: a torch.device.

    Returns: float32 [H, W, D], 0 outside the mask.
    """
    filled = np.flatnonzero(mask.any((0, 1)))
    slices = torch.from_numpy(np.ascontiguousarray(volume.transpose(2, 0, 1)[filled]))[:, None]
    with nullcontext() if device.type == "cpu" else TURN:
        batches = [predict(batch.to(device), i).cpu() for i, batch in enumerate(slices.split(BATCH))]
    result = np.zeros_like(volume)
    result[:, :, filled] = torch.cat(batches)[:, 0].numpy().transpose(1, 2, 0)
    return result * mask


def reconstruct_volume(diffusion, image, mask, *, t, draws, seed, tone=None):
    """The healthy version of a volume by a `GaussianDiffusion`, on its device.

    Args: image: float32 [H, W, D] in [0, 1]. mask: bool. t, draws: as in `GaussianDiffusion.reconstruct`.
        seed: a list of ints (`noise_seed`), to which the number of the batch is appended.
        tone: as in `tone_for`.

    Returns: float32 [H, W, D] in [0, 1], 0 outside the mask.
    """

    tone = tone_for(diffusion, image, mask, tone)

    def predict(slices, batch):
        return diffusion.reconstruct(slices, t=t, draws=draws, seed=[*seed, batch], tone=tone)

    return by_slices(predict, image, mask, diffusion.betas.device)


def tone_for(diffusion, image, mask, tone=None):
    """The `tone` that a `GaussianDiffusion` needs for slices of a volume; arguments as in `reconstruct_volume`.

    Args: tone: float32 [tones] to give the network instead of the volume's own (`tone_of`).

    Returns: float32 [1, tones] on its device; None if the network takes no tone.
    """
    if not diffusion.tones:
        return None
    tone = tone_of(image, mask) if tone is None else tone
    return torch.from_numpy(tone)[None].to(diffusion.betas.device)


def noise_seed(seed, subject):
    """The seed of one scan's noise: it depends on the study's seed and the scan's name, not on the order of scans."""
    return [seed, *subject.encode()]
