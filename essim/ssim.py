"""Structural similarity maps at any kernel size: the short, readable reference.

In: two batches of volumes or images [N, C, *spatial]. Out: SSIM maps of the same shape, values in [-1, 1].
Paper: section 2 (SSIM); Wang et al. (2004). Plain torch: runs on any device, differentiable.

Local means mu and variances are Gaussian-weighted (window sigma, radius int(3.5 sigma + 0.5), reflected borders):

    SSIM = l * cs,   l = (2 mu_x mu_y + c1) / (mu_x^2 + mu_y^2 + c1),   cs = (2 cov_xy + c2) / (var_x + var_y + c2)

with c1 = (0.01 L)^2, c2 = (0.03 L)^2 and L the data range. Written like this, 1 - SSIM is a difference of nearly equal
numbers. With p = x + y and q = x - y, everything becomes a sum of non-negative terms:

    M_p = mu_p^2 + 2 c1    M_q = mu_q^2    V_p = var_p + 2 c2    V_q = var_q
    u = M_q / (M_p + M_q)                  v = V_q / (V_p + V_q)                    both in [0, 1]
    1 - SSIM = 2 (u (1 - v) + v (1 - u))

M_q and V_q are the differences between x and y in brightness and in structure. M_p and V_p are what the scan itself
shows at that place, and what SSIM divides by. `structure_difference` is sqrt(V_q) alone, for essim.calibration, which
divides it by what healthy scans show.

Only the variance E[p^2] - mu_p^2 still subtracts. x and y are shifted to the middle of their range first, which changes
no variance and keeps float32 accurate enough for values far from zero.
"""

import warnings

import numpy as np
import torch

SIGMAS = (0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 1.5, 1.7)  # the paper's kernel sizes, in voxels
K1, K2 = 0.01, 0.03
CHANNELS = 16  # images with more are probably volumes whose batch axis was left out


def window(sigma):
    """The sampled Gaussian, normalised: float64 [2 radius + 1]; the radius int(3.5 sigma + 0.5) follows from sigma."""
    radius = int(3.5 * sigma + 0.5)
    values = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2)
    return values / values.sum()


def half_windows(sigmas):
    """The windows from the middle outwards: weights float32 [K, R + 1], 0 beyond the end of each, and lengths [K]."""
    halves = [weights[len(weights) // 2 :] for weights in map(window, sigmas)]
    return torch.nn.utils.rnn.pad_sequence(halves, True).float(), torch.tensor([len(half) for half in halves])


def blur_matrix(length, sigma):
    """A Gaussian filter along one axis as a matrix: float64 [length, length], borders reflected (edge not repeated)."""
    weights = window(sigma)
    radius = len(weights) // 2
    source = (torch.arange(length)[:, None] + torch.arange(-radius, radius + 1)).abs()  # reflect at 0 ...
    source = length - 1 - (length - 1 - source).abs()  # ... and at the far end
    matrix = torch.zeros(length, length, dtype=torch.float64)
    return matrix.scatter_add_(1, source, weights.expand(length, -1))


def blur(maps, sigma):
    """[M, *spatial] filtered with a Gaussian along every spatial axis: the same shape."""
    shape = maps.shape
    for axis in range(1, len(shape) - 1):  # [maps and axes before, axis, axes after]
        matrix = blur_matrix(shape[axis], sigma).to(maps)
        maps = (matrix @ maps.flatten(axis + 1).flatten(0, axis - 1)).reshape(shape)
    return maps @ blur_matrix(shape[-1], sigma).to(maps).T


def as_float(x):
    """Integers and half-precision floats as float32; float32 and float64 as they are."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def as_tensor(volume):
    """A tensor unchanged, anything else that numpy accepts as a tensor on the CPU; ValueError unless it is numeric."""
    if not isinstance(volume, torch.Tensor):
        array = np.asarray(volume)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"a volume must have real numbers, got {array.dtype}; pass a tensor or a numpy array.")
        precise = array.dtype.kind == "f" and array.dtype.itemsize >= 8
        volume = torch.from_numpy(np.ascontiguousarray(array, np.float64 if precise else np.float32))
    if volume.is_complex():
        raise ValueError("a volume must have real numbers, got complex ones; take their magnitude.")
    return volume


def as_mask(mask, x):
    """A mask as bool on the device of x, True where it is above 0; None stays None. ValueError unless it fits x."""
    if mask is None:
        return None
    mask = as_tensor(mask).to(x.device)
    if mask.isnan().any():
        raise ValueError("the mask has NaN voxels; make it 0 or 1.")
    try:
        return (mask > 0).expand(x.shape)
    except RuntimeError:
        raise ValueError(f"the mask must broadcast to x, got {list(mask.shape)} for {list(x.shape)}.") from None


def extremes(x):
    """Smallest and largest value of each batch item of [N, ...]: two tensors [N]."""
    x = as_float(x).flatten(1)
    return x.amin(1), x.amax(1)  # on a CPU, torch.aminmax along an axis takes twenty times as long


def dissimilarity(x, y, sigma, data_range):
    """1 - SSIM without cancellation (see the top of this module): [N, C, *spatial] in [0, 2]. `data_range`: [N]."""
    return combined(*factors(local_moments(x, y, sigma), data_range))


def local_moments(x, y, sigma):
    """Local means and variances of p = x + y and q = x - y: (mu_p, var_p, mu_q, var_q), each [N, C, *spatial]."""
    spatial = (1,) * (x.ndim - 1)
    centre_x, centre_y = (sum(extremes(z)).reshape(-1, *spatial) / 2 for z in (x, y))
    x, y = x - centre_x, y - centre_y  # before anything else: the sum x + y far from zero would be rounded
    p, q, centre_p, centre_q = x + y, x - y, centre_x + centre_y, centre_x - centre_y
    stacked = torch.stack([p, p * p, q, q * q])
    mu_p, pp, mu_q, qq = blur(stacked.flatten(0, 2), sigma).reshape(stacked.shape)
    var_p, var_q = (pp - mu_p.square()).clamp(min=0), (qq - mu_q.square()).clamp(min=0)
    return mu_p + centre_p, var_p, mu_q + centre_q, var_q


def factors(moments, data_range):
    """The factors of SSIM from its `local_moments` and the data range [N]: u = (1 - l) / 2 and v = (1 - cs) / 2."""
    mu_p, var_p, mu_q, var_q = moments
    c1, c2 = ((k * data_range).square().reshape(-1, *(1,) * (mu_p.ndim - 1)) for k in (K1, K2))
    return share(mu_q.square(), mu_p.square() + 2 * c1), share(var_q, var_p + 2 * c2)


def combined(u, v):
    """1 - SSIM from its two factors, in [0, 2]."""
    return 2 * (u * (1 - v) + v * (1 - u))


def structure_difference(x, y, sigma, data_range):
    """sqrt(V_q): the local standard deviation of x - y, in units of the data range [N]: [N, C, *spatial], 0 or more."""
    q = in_range(x - y, data_range)
    q = q - sum(extremes(q)).reshape(-1, *(1,) * (x.ndim - 1)) / 2
    stacked = torch.stack([q, q * q])
    mu, qq = blur(stacked.flatten(0, 2), sigma).reshape(stacked.shape)
    return (qq - mu.square()).clamp(min=0).sqrt()


def in_range(q, data_range):
    """Values [N, ...] in units of the data range [N]; 0 where that is 0."""
    return q * torch.where(data_range > 0, 1 / data_range, 0).reshape(-1, *(1,) * (q.ndim - 1))


def share(part, rest):
    """part / (part + rest), where 0 / 0 is 0: constant volumes have no structure to differ in."""
    total = part + rest
    return part / torch.where(total > 0, total, 1)  # not where() around the quotient: its gradient would be NaN


def check_pair(x, y, sigmas, data_range):
    """The data range of each batch item [N]; ValueError unless x and y can be compared at these sigmas."""
    if x.shape != y.shape or x.ndim < 4 or not x.numel():
        raise ValueError(
            "SSIM: x and y must both be [N, C, *spatial] of one shape, with two spatial axes or more, got "
            f"{list(x.shape)} and {list(y.shape)}; give a single volume as x[None, None]."
        )
    if x.ndim == 4 and x.shape[1] > CHANNELS:
        text = f"SSIM: {list(x.shape)} is taken for images of {x.shape[1]} channels"
        warnings.warn(f"{text}; give a volume [1, H, W, D] as x[None].", stacklevel=3)
    if not len(sigmas) or min(sigmas) <= 0:
        raise ValueError(f"SSIM: every sigma must be above 0 (voxels), got {list(sigmas)}.")
    radius = int(3.5 * max(sigmas) + 0.5)
    if min(x.shape[2:]) <= radius:
        raise ValueError(
            f"SSIM: sigma {max(sigmas)} needs more than {radius} voxels along every axis, got {list(x.shape[2:])}; "
            "use a smaller sigma."
        )
    ranges = []
    for name, volume in (("x", x), ("y", y)):
        low, high = extremes(volume)
        ranges.append(high - low)
        if not ranges[-1].isfinite().all():
            raise ValueError(f"SSIM: {name} has NaN or infinite voxels; repair it first.")
    if data_range is None:
        return torch.maximum(*ranges)
    data_range = torch.as_tensor(data_range, dtype=as_float(x[:0]).dtype, device=x.device)
    if not (data_range > 0).all():
        raise ValueError(f"SSIM: data_range must be above 0, got {data_range.tolist()}; omit it for the data's own.")
    return data_range.expand(len(x))


def ssim_maps(x, y, *, sigmas, data_range=None):
    """SSIM maps at several kernel sizes.

    Args:
        x, y: tensors or arrays [N, C, *spatial], two spatial axes or more, finite, any dtype and device; channels are
            independent. Integers and half-precision floats are computed in float32.
        sigmas: standard deviations of the Gaussian window, in voxels; the window's radius is int(3.5 sigma + 0.5).
        data_range: L in c1 and c2, a number or [N]; default: per batch item, the larger of the two volumes' max - min
            (the paper's).

    Returns: [K, N, C, *spatial], values in [-1, 1], on the device of x, in its dtype (float32 for integers). Two equal
    constant volumes give 1, two different ones the luminance term; never NaN.

    Raises:
        ValueError: shapes differ, a volume has NaN or infinite voxels, a sigma isn't positive, or a window is wider
            than the volume.

    >>> import essim, torch
    >>> x, y = torch.rand(2, 1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> essim.ssim_maps(x, y, sigmas=essim.SIGMAS).shape
    torch.Size([8, 1, 1, 32, 32])
    """
    x, y = as_tensor(x), as_tensor(y)
    data_range = check_pair(x, y, sigmas, data_range)
    maps = torch.stack([1 - dissimilarity(as_float(x), as_float(y), sigma, data_range) for sigma in sigmas])
    return maps.to(x.dtype) if x.is_floating_point() else maps


def ssim_map(x, y, *, sigma, data_range=None):
    """SSIM map at one kernel size: [N, C, *spatial]. Arguments, range and errors as in `ssim_maps`.

    >>> import essim, torch
    >>> x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> bool((essim.ssim_map(x, x, sigma=1.5) == 1).all())
    True
    """
    return ssim_maps(x, y, sigmas=[sigma], data_range=data_range)[0]
