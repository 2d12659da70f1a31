"""Anomaly maps: where a scan and its healthy reconstruction differ, by l1 or by an ensemble of SSIM maps.

In: scan and reconstruction [N, C, *spatial]. Out: an anomaly map of the same shape, higher = more anomalous. What is
computed stands here, in torch; `essim.kernels` computes the same faster, and is used where it can be.
Paper: section 2 (adaptive ensembling).

    w_i = exp(-S_i / tau) / sum_j exp(-S_j / tau)        voxelwise: the less similar, the more weight; tau = 1
    A   = (1 - sum_i w_i S_i) * mask

Beyond the paper: `strategy="calibrated"` measures the same differences by what healthy brains show (essim.calibration).
"""

import functools

import torch

from essim.grids import grow
from essim.ssim import SIGMAS, as_float, check_pair, dissimilarity, in_range, structure_difference

STRATEGIES = ("adaptive", "mean", "min")
CALIBRATED = "calibrated"  # the strategy that needs a calibration
BACKENDS = ("auto", "torch", "cpu", "cuda")
KERNELS = {"cpu": "numba", "cuda": "triton"}  # essim.kernels.<backend> and the library that it needs


def check_temperature(temperature):
    """Raise a sentence unless tau can divide."""
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}; strategy='min' is its limit at 0.")


def ensemble_weights(maps, temperature=1.0):
    """The adaptive weights of SSIM maps [K, ...]: same shape, each voxel's K weights sum to 1."""
    check_temperature(temperature)
    return torch.softmax(-maps / temperature, dim=0)


def ensemble_map(
    x, y, *, sigmas=SIGMAS, strategy="adaptive", temperature=1.0, calibration=None, mask=None, data_range=None,
    backend="auto",
):  # fmt: skip
    """The anomaly map of scan x against reconstruction y.

    Args:
        x, y: [N, C, *spatial], finite, any dtype and device; integers and halves are computed in float32.
        sigmas: kernel sizes in voxels; a single one gives 1 - SSIM at that size with the paper's strategies.
        strategy: "adaptive" (the paper's weights), "mean" of the SSIM maps, or "min" (the least similar scale);
            "calibrated" (ours, not the paper's) measures the differences by what healthy brains show.
        temperature: tau of the adaptive weights (no other strategy has one); towards 0 it becomes "min", towards
            infinity "mean".
        calibration: for "calibrated", an `essim.calibration.Calibration` of these sigmas, on the grid of x.
        mask: bool or 0/1, broadcastable to x; the map is 0 outside. The data range comes from the whole volume.
        data_range: as in `essim.ssim_maps`.
        backend: "torch" is the readable reference, for any device, float64 and gradients; "cpu" (numba) and "cuda"
            (Triton) are fused kernels in float32 with the same map; "auto" takes the one for x where it can.

    Returns: [N, C, *spatial] in [0, 2] ("calibrated": 0 and above, in healthy standard deviations), on the device of x,
    in its dtype (float32 for integers).

    Raises:
        ValueError: as in `essim.ssim_maps`; an unknown strategy or backend, a backend that cannot do this, or a
            calibration that is missing, not asked for, or of other sigmas or another grid.
    """
    if strategy not in (*STRATEGIES, CALIBRATED):
        raise ValueError(f"strategy must be one of {', '.join((*STRATEGIES, CALIBRATED))}, got {strategy!r}.")
    check_temperature(temperature)
    data_range = check_pair(x, y, sigmas, data_range)
    check_calibration(calibration, strategy, sigmas, x)
    dtype = x.dtype if x.is_floating_point() else torch.float32
    x, y = as_float(x), as_float(y)
    kernel = pick_kernel(backend, x, y, sigmas, temperature)
    if kernel and strategy == CALIBRATED:
        return kernel.calibrated_maps(x, y, mask=mask, data_range=data_range, calibration=calibration).to(dtype)
    if kernel:
        options = {"sigmas": sigmas, "strategy": strategy, "temperature": temperature}
        return kernel.anomaly_maps(x, y, mask=mask, data_range=data_range, **options).to(dtype)
    if strategy == CALIBRATED:
        return _inside(excess(x, y, calibration, data_range), mask).to(dtype)
    maps = torch.stack([1 - dissimilarity(x, y, sigma, data_range) for sigma in sigmas])
    if strategy == "adaptive":
        similarity = (ensemble_weights(maps, temperature) * maps).sum(0)
    else:
        similarity = maps.mean(0) if strategy == "mean" else maps.amin(0)
    return _inside(1 - similarity, mask).to(dtype)


def differences(x, y, sigmas, data_range):
    """What differs, undivided: |x - y|, then sqrt(D) at each sigma: [1 + K, N, C, *spatial], in units of the range."""
    structure = [structure_difference(x, y, sigma, data_range) for sigma in sigmas]
    return torch.stack([in_range(x - y, data_range).abs(), *structure])


def excess(x, y, calibration, data_range):
    """How much more differs than in a healthy brain: the calibrated map [N, C, H, W, D], see essim.calibration."""
    gains, expected = (grow(maps.to(x), 2, x.shape[2:]) for maps in (calibration.gains, calibration.expected))
    found = differences(x, y, calibration.sigmas, data_range)
    return sum(gain * f for gain, f in zip(gains, found, strict=True)).sub(expected).clamp(min=0)


def check_calibration(calibration, strategy, sigmas, x):
    """Raise a sentence unless the calibration is there if it is needed, and of these sigmas and this grid."""
    if strategy != CALIBRATED:
        if calibration is not None:
            raise ValueError(f"calibration is for strategy='calibrated', got strategy={strategy!r}; leave one out.")
        return
    if calibration is None:
        raise ValueError("strategy='calibrated' needs a calibration; essim.load_calibration reads a model's.")
    if tuple(sigmas) != tuple(calibration.sigmas):
        raise ValueError(f"the calibration is for sigmas {list(calibration.sigmas)}, got {list(sigmas)}; pass its own.")
    if tuple(x.shape[2:]) != tuple(calibration.shape):
        shape = list(calibration.shape)
        raise ValueError(f"the calibration is for volumes of {shape}, x has {list(x.shape[2:])}; bring x to that grid.")


@functools.cache
def load_kernel(name):
    """The module essim.kernels.<name>, or None where its library is missing."""
    try:
        if name == "cpu":
            from essim.kernels import cpu as kernel
        else:
            from essim.kernels import cuda as kernel
    except ImportError:
        return None
    return kernel


def obstacle(name, x, y, sigmas, temperature):
    """Why the kernel `name` cannot do this, as the end of a sentence; "" if it can."""
    if x.device.type != name:
        return f"works on {name} tensors, x is on {x.device.type}"
    if load_kernel(name) is None:
        return f"needs {KERNELS[name]}, which is not installed"
    if x.ndim not in (4, 5):
        return f"works in two or three dimensions, x has {x.ndim - 2}"
    if torch.is_grad_enabled() and (x.requires_grad or y.requires_grad):
        return "has no gradient"
    return load_kernel(name).obstacle(sigmas, temperature)


def pick_kernel(backend, x, y, sigmas, temperature):
    """The kernel's module; None for the reference in torch."""
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}.")
    if backend in KERNELS:
        if why := obstacle(backend, x, y, sigmas, temperature):
            raise ValueError(f"backend={backend!r} {why}; use backend='torch'.")
        return load_kernel(backend)
    device = x.device.type
    if backend == "torch" or device not in KERNELS or torch.float64 in (x.dtype, y.dtype):
        return None  # who brings float64 wants its precision
    return None if obstacle(device, x, y, sigmas, temperature) else load_kernel(device)


def l1_map(x, y, mask=None):
    """|x - y|, the score that most work uses: [N, C, *spatial], 0 outside `mask`."""
    return _inside((as_float(x) - as_float(y)).abs(), mask)


def _inside(anomaly, mask):
    return anomaly if mask is None else anomaly * mask.to(anomaly.dtype)
