"""Anomaly maps: where a scan and its healthy reconstruction differ, by l1 or by an ensemble of SSIM maps.

In: scan and reconstruction [N, C, *spatial]. Out: an anomaly map of the same shape, higher = more anomalous. The
definition is here, in torch; `essim.kernels` computes the same faster, and is used where possible.
Paper: section 2 (adaptive ensembling).

    w_i = exp(-S_i / tau) / sum_j exp(-S_j / tau)        voxelwise: the less similar, the more weight; tau = 1
    A   = (1 - sum_i w_i S_i) * mask

`essim.calibration` has a map of our own, which measures the same differences against what healthy brains show.
"""

import torch

from essim.kernels.dispatch import pick_kernel
from essim.ssim import SIGMAS, as_float, as_mask, as_tensor, check_pair, dissimilarity

STRATEGIES = ("adaptive", "mean", "min")


def check_temperature(temperature):
    """Raise ValueError unless tau is above 0."""
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}; strategy='min' is its limit at 0.")


def ensemble_weights(maps, temperature=1.0):
    """The adaptive weights of SSIM maps [K, ...]: same shape, each voxel's K weights sum to 1."""
    check_temperature(temperature)
    return torch.softmax(-maps / temperature, dim=0)


def ensemble_map(
    x, y, *, sigmas=SIGMAS, strategy="adaptive", temperature=1.0, mask=None, data_range=None, backend="auto"
):
    """The anomaly map of scan x against reconstruction y (paper, section 2).

    Args:
        x, y: tensors or arrays [N, C, *spatial], finite, any dtype and device; integers and half-precision floats are
            computed in float32.
        sigmas: kernel sizes in voxels; with a single one the map is 1 - SSIM at that size.
        strategy: "adaptive" (the paper's weights), "mean" of the SSIM maps, or "min" (the least similar scale).
        temperature: tau of the adaptive weights (the other strategies don't use it); towards 0 they become "min",
            towards infinity "mean".
        mask: broadcastable to x, inside where it is above 0; the map is 0 outside. The data range comes from the whole
            volume.
        data_range: as in `essim.ssim_maps`.
        backend: "torch" is the readable reference, for any device, float64 and gradients; "cpu" (numba) and "cuda"
            (Triton) are fused kernels in float32 with the same map; "auto" takes the one for x's device where it can.

    Returns: [N, C, *spatial] in [0, 2], on the device of x, in its dtype (float32 for integers).

    Raises:
        ValueError: as in `essim.ssim_maps`; an unknown strategy or backend, or a backend that cannot compute this.

    >>> import essim, torch
    >>> healthy = torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> scan = healthy.clone()
    >>> scan[:, :, 12:20, 12:20, 12:20] = 1
    >>> anomaly = essim.ensemble_map(scan, healthy)
    >>> bool(anomaly[0, 0, 16, 16, 16] > 0.5), bool(anomaly[0, 0, 0, 0, 0] < 1e-6)
    (True, True)
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, got {strategy!r}.")
    check_temperature(temperature)
    x, y = as_tensor(x), as_tensor(y)
    data_range, mask = check_pair(x, y, sigmas, data_range), as_mask(mask, x)
    dtype = x.dtype if x.is_floating_point() else torch.float32
    x, y = as_float(x), as_float(y)
    kernel = pick_kernel(backend, x, y, sigmas, temperature)
    if kernel:
        options = {"sigmas": sigmas, "strategy": strategy, "temperature": temperature}
        return kernel.anomaly_maps(x, y, mask=mask, data_range=data_range, **options).to(dtype)
    maps = torch.stack([1 - dissimilarity(x, y, sigma, data_range) for sigma in sigmas])
    if strategy == "adaptive":
        similarity = (ensemble_weights(maps, temperature) * maps).sum(0)
    else:
        similarity = maps.mean(0) if strategy == "mean" else maps.amin(0)
    return inside(1 - similarity, mask).to(dtype)


def l1_map(x, y, mask=None):
    """|x - y|, the most common score: [N, C, *spatial], 0 outside `mask`; arguments as in `ensemble_map`.

    >>> import essim, torch
    >>> essim.l1_map(torch.tensor([[[[0.2, 0.9]]]]), torch.tensor([[[[0.2, 0.4]]]]))
    tensor([[[[0.0000, 0.5000]]]])
    """
    x, y = as_tensor(x), as_tensor(y)
    if x.shape != y.shape:
        raise ValueError(f"l1_map: x and y must have the same shape, got {list(x.shape)} and {list(y.shape)}.")
    return inside((as_float(x) - as_float(y)).abs(), as_mask(mask, x))


def inside(anomaly, mask):
    """The map, 0 outside a bool mask of its shape; unchanged if the mask is None."""
    return anomaly if mask is None else anomaly * mask
