"""Anomaly maps: where a scan and its healthy reconstruction differ, by l1 or by an ensemble of SSIM maps.

In: scan and reconstruction [N, C, *spatial]. Out: an anomaly map of the same shape, higher = more anomalous.
Paper: section 2 (adaptive ensembling).

    w_i = exp(-S_i / tau) / sum_j exp(-S_j / tau)        voxelwise: the less similar, the more weight; tau = 1
    A   = (1 - sum_i w_i S_i) * mask
"""

import torch

from essim.ssim import SIGMAS, ssim_maps

STRATEGIES = ("adaptive", "mean", "min")


def ensemble_weights(maps, temperature=1.0):
    """The adaptive weights of SSIM maps [K, ...]: same shape, each voxel's K weights sum to 1."""
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}; strategy='min' is its limit at 0.")
    return torch.softmax(-maps / temperature, dim=0)


def ensemble_map(x, y, *, sigmas=SIGMAS, strategy="adaptive", temperature=1.0, mask=None, data_range=None):
    """The anomaly map of scan x against reconstruction y.

    Args:
        x, y: [N, C, *spatial], any float dtype and device.
        sigmas: kernel sizes in voxels; a single one gives 1 - SSIM at that size with every strategy.
        strategy: "adaptive" (the paper's weights), "mean" of the SSIM maps, or "min" (the least similar scale).
        temperature: tau of the adaptive weights; towards 0 it becomes "min", towards infinity "mean".
        mask: bool or 0/1, broadcastable to x; the map is 0 outside. The data range comes from the whole volume.
        data_range: as in `essim.ssim_maps`.

    Returns: [N, C, *spatial] in [0, 2], dtype and device of x.
    """
    maps = ssim_maps(x, y, sigmas=sigmas, data_range=data_range)
    if strategy == "adaptive":
        similarity = (ensemble_weights(maps, temperature) * maps).sum(0)
    elif strategy == "mean":
        similarity = maps.mean(0)
    elif strategy == "min":
        similarity = maps.amin(0)
    else:
        raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, got {strategy!r}.")
    return _inside(1 - similarity, mask)


def l1_map(x, y, mask=None):
    """|x - y|, the score that most work uses: [N, C, *spatial], 0 outside `mask`."""
    return _inside((x - y).abs(), mask)


def _inside(anomaly, mask):
    return anomaly if mask is None else anomaly * mask.to(anomaly.dtype)
