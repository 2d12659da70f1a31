"""What a score is given besides a scan and its reconstructions, and the checks that all scores share.

In: a score's module, x [H, W, D], ys [draws, H, W, D], a mask and a `Context`. Out: its anomaly map, float32 [H, W, D].
"""

from dataclasses import dataclass

import numpy as np
import torch

from essim.calibration import Calibration
from essim.diffusion import GaussianDiffusion
from essim.ensemble import ensemble_map
from essim.ssim import SIGMAS

USUAL = 1.5  # sigma of SSIM's usual window, in voxels
OF_THE_SCAN = ("diffusion", "segmenter")  # networks that judge the scan itself, without a reconstruction


@dataclass(frozen=True)
class Context:
    """What some scores need.

    sigmas, temperature: the ensemble's. calibration: a `Calibration` from healthy scans rebuilt by the *same*
    reconstructor. diffusion, steps: a `GaussianDiffusion` and the noising steps at which it is used. segmenter: a
    network trained to mark lesions. seed: ints, of the noise.
    """

    sigmas: tuple = SIGMAS
    temperature: float = 1.0
    calibration: Calibration | None = None
    diffusion: GaussianDiffusion | None = None
    steps: tuple = ()
    segmenter: GaussianDiffusion | None = None
    seed: tuple = (0,)

    def lacks(self, score):
        """The fields that a score's module needs and this context doesn't have: a list of names."""
        return [name for name in score.NEEDS if not getattr(self, name)]


def is_alone(score):
    """Whether a score's module uses no reconstruction."""
    return any(name in OF_THE_SCAN for name in score.NEEDS)


def anomaly_map(score, x, ys, mask, *, context):
    """The map of a score's module: float32 [H, W, D], 0 or more, 0 outside the mask.

    Args: x: float32 [H, W, D] in [0, 1]. ys: float32 [draws, H, W, D]. mask: bool [H, W, D]. context: a `Context`.

    Raises ValueError where shapes differ, there are fewer draws than the score needs, or the context lacks something.
    """
    name = score.__name__.rpartition(".")[2]
    if ys.ndim != x.ndim + 1 or ys.shape[1:] != x.shape or mask.shape != x.shape:
        shapes = f"{list(x.shape)}, {list(ys.shape)} and {list(mask.shape)}"
        raise ValueError(f"{name}: x, ys and mask must be [H, W, D], [draws, H, W, D] and [H, W, D], got {shapes}.")
    if len(ys) < score.DRAWS:
        raise ValueError(f"{name}: needs {score.DRAWS} draws or more, got {len(ys)}; set `draws` to {score.DRAWS}.")
    if lacking := context.lacks(score):
        raise ValueError(
            f"{name}: needs {' and '.join(lacking)}, which the context doesn't have; give it, or leave {name} out."
        )
    return np.where(mask, score.score(x, ys, mask, context=context), 0).astype(np.float32)


def pair(x, ys):
    """Scan and mean reconstruction as tensors [1, 1, H, W, D]."""
    return tuple(torch.from_numpy(np.ascontiguousarray(volume))[None, None] for volume in (x, ys.mean(0)))


def l1_and_ssim(x, ys):
    """|x - y| and (1 - SSIM) / 2 at the usual window, both in [0, 1]: arrays [H, W, D]."""
    a, b = pair(x, ys)
    return np.abs(x - ys.mean(0)), ensemble_map(a, b, sigmas=[USUAL])[0, 0].numpy() / 2
