"""The SSIM ensemble on a GPU, fused over all kernel sizes: one kernel, no moment in global memory.

In: batches of volumes, the sigmas, optionally a mask. Out: the anomaly maps. `essim.ssim` and `essim.ensemble` say what
is computed; this is how. A program computes one tile of one plane and, for each sigma,

    along a    adds up p = x + y, q = x - y, p^2 and q^2 of the planes a-k and a+k, on the tile and a halo around it
    along b    multiplies by the banded matrix of the window from the left
    along c    ... from the right: both products stay in registers and shared memory
    combine    adds d = 1 - SSIM to the running softmax: sum d exp(d / tau) / sum exp(d / tau)

The calibrated ensemble needs q and q^2 alone, and adds sqrt(V_q) times the gain of this sigma and place.

Products are in full float32 ("ieee"): TF32 would be wrong by up to 1. A tile without a voxel of the mask is skipped.
"""

import torch
import triton
import triton.language as tl

from essim.ssim import K1, K2, extremes, half_windows

# {voxels that windows reach: (tile, warps)}. With fewer warps a tile's sums would not fit into their registers, and a
# wider tile would not fit into shared memory: tests/kernels/test_kernels_cuda.py compiles each for an H100 and checks.
TILES = {8: (16, 8), 16: (32, 16)}
CODES = {"adaptive": 0, "mean": 1, "min": 2}
CALIBRATED = 3


@triton.jit
def reflect(i, n):
    """Indices of a row of n: borders are reflected, the edge is not repeated; what lies further out is clamped."""
    i = tl.abs(i)
    i = tl.where(i >= n, 2 * n - 2 - i, i)
    return tl.minimum(tl.maximum(i, 0), n - 1)


@triton.jit
def tiles(
    x, y, mask, out, windows, wide, centres, healthy, size_a, size_b, size_c, sigmas, span, inverse_tau, C1, C2,
    STRATEGY: tl.constexpr, MASKED: tl.constexpr, FLAT: tl.constexpr, OUT: tl.constexpr, IN: tl.constexpr,
):  # fmt: skip
    """One tile [OUT, OUT] of plane program_id(0), which counts the planes of all volumes.

    centres: [M, 3], the middles of x and of y, 1 / data range. windows: [sigmas, span]; wide: their lengths, at most
    (IN - OUT) / 2 + 1. healthy, if STRATEGY is 3: a calibration's gains, then what it expects, [1 + sigmas + 1, a / 2,
    b / 2, c / 2], rounded up. FLAT: images, nothing to add up along a.
    """
    plane = tl.program_id(0)
    item, a = plane // size_a, plane % size_a
    halo = (IN - OUT) // 2
    row_out = tl.program_id(1) * OUT + tl.arange(0, OUT)
    column_out = tl.program_id(2) * OUT + tl.arange(0, OUT)
    volume = item.to(tl.int64) * size_a * size_b * size_c
    target = volume + (a * size_b + row_out[:, None]) * size_c + column_out[None, :]
    inside = (row_out[:, None] < size_b) & (column_out[None, :] < size_c)
    wanted = inside
    if MASKED:
        wanted = inside & (tl.load(mask + target, mask=inside, other=0) != 0)
    total = tl.zeros([OUT, OUT], tl.float32)
    weights = tl.zeros([OUT, OUT], tl.float32)
    largest = tl.zeros([OUT, OUT], tl.float32)
    if tl.max(wanted.to(tl.int32)) > 0:
        centre_x = tl.load(centres + 3 * item)
        centre_y = tl.load(centres + 3 * item + 1)
        scale = tl.load(centres + 3 * item + 2)
        centre_p, centre_q = (centre_x + centre_y) * scale, (centre_x - centre_y) * scale
        rows = reflect(tl.program_id(1) * OUT - halo + tl.arange(0, IN), size_b)
        columns = reflect(tl.program_id(2) * OUT - halo + tl.arange(0, IN), size_c)
        place = volume + rows[:, None] * size_c + columns[None, :]
        half_b, half_c = (size_b + 1) // 2, (size_c + 1) // 2
        half = half_b * half_c * ((size_a + 1) // 2)
        here = (a // 2 * half_b + row_out[:, None] // 2) * half_c + column_out[None, :] // 2
        step = tl.arange(0, IN)[None, :] - tl.arange(0, OUT)[:, None] - halo  # [OUT, IN], from the window's middle
        distance = tl.abs(step)
        for s in range(sigmas):
            length = tl.load(wide + s)
            sum_p = tl.zeros([IN, IN], tl.float32)
            sum_q = tl.zeros([IN, IN], tl.float32)
            sum_pp = tl.zeros([IN, IN], tl.float32)
            sum_qq = tl.zeros([IN, IN], tl.float32)
            for k in range(1 if FLAT else length):
                w = 1.0 if FLAT else tl.load(windows + s * span + k)
                w = tl.where(k == 0, w / 2, w)  # plane a is paired with itself
                for side in tl.static_range(2):
                    plane_in = reflect(a + k * (2 * side - 1), size_a) * size_b * size_c
                    x_in = (tl.load(x + place + plane_in) - centre_x) * scale
                    y_in = (tl.load(y + place + plane_in) - centre_y) * scale
                    p, q = x_in + y_in, x_in - y_in
                    sum_p += w * p
                    sum_q += w * q
                    sum_pp += w * p * p
                    sum_qq += w * q * q
            band = tl.load(windows + s * span + distance, mask=distance < length, other=0.0)  # [OUT, IN]
            turned = tl.trans(band)
            mu_q = tl.dot(tl.dot(band, sum_q, input_precision="ieee"), turned, input_precision="ieee")
            qq = tl.dot(tl.dot(band, sum_qq, input_precision="ieee"), turned, input_precision="ieee")
            e = tl.maximum(qq - mu_q * mu_q, 0.0)
            if STRATEGY != 3:
                mu_p = tl.dot(tl.dot(band, sum_p, input_precision="ieee"), turned, input_precision="ieee")
                pp = tl.dot(tl.dot(band, sum_pp, input_precision="ieee"), turned, input_precision="ieee")
                mean_p, mean_q = mu_p + centre_p, mu_q + centre_q
                i, j = mean_p * mean_p + 2 * C1, mean_q * mean_q
                c = tl.maximum(pp - mu_p * mu_p, 0.0) + 2 * C2
                d = 2 * (i * e + j * c) / ((i + j) * (c + e))
            if STRATEGY == 3:
                total += tl.load(healthy + (1 + s) * half + here, mask=inside, other=0.0) * tl.sqrt(e)
            elif STRATEGY == 0:
                higher = tl.maximum(largest, d)
                fade, weight = tl.exp((largest - higher) * inverse_tau), tl.exp((d - higher) * inverse_tau)
                total = total * fade + weight * d
                weights = weights * fade + weight
                largest = higher
            elif STRATEGY == 1:
                total += d
                weights += 1.0
            else:
                total = tl.maximum(total, d)
                weights = tl.full([OUT, OUT], 1.0, tl.float32)
        if STRATEGY == 3:
            q = tl.load(x + target, mask=inside, other=0.0) - tl.load(y + target, mask=inside, other=0.0)
            total += tl.load(healthy + here, mask=inside, other=0.0) * tl.abs(q) * scale
            total = tl.maximum(total - tl.load(healthy + (1 + sigmas) * half + here, mask=inside, other=0.0), 0.0)
            weights = tl.full([OUT, OUT], 1.0, tl.float32)
        total = tl.where(wanted, total / weights, 0.0)
    tl.store(out + target, total, mask=inside)


def obstacle(sigmas, temperature):
    """Why this kernel cannot compute this, as the end of a sentence; "" if it can."""
    reach = half_windows(sigmas)[0].shape[1] - 1
    return f"takes sigmas below 4.7, got {max(sigmas):g}" if reach > max(TILES) else ""


def anomaly_maps(x, y, *, mask, data_range, sigmas, strategy, temperature):
    """`essim.ensemble_map` of float tensors [N, C, *spatial] on a GPU, two or three spatial axes: float32 tensor."""
    return launch(x, y, mask, data_range, sigmas, CODES[strategy], temperature, None)


def calibrated_maps(x, y, *, mask, data_range, calibration):
    """`essim.calibrated_map`, in three spatial axes."""
    healthy = torch.cat([calibration.gains, calibration.expected[None]]).to(x.device).contiguous()
    return launch(x, y, mask, data_range, calibration.sigmas, CALIBRATED, 1, healthy)


def launch(x, y, mask, data_range, sigmas, strategy, temperature, healthy):
    """Every tile of a batch: float32 tensor of its shape."""
    flat = x.ndim == 4
    shape = x.shape if not flat else (*x.shape[:2], 1, *x.shape[2:])
    mask = None if mask is None else mask.to(torch.int8).contiguous()
    x, y = (volume.detach().float().contiguous() for volume in (x, y))
    windows, wide = (values.to(x.device) for values in half_windows(sigmas))
    data_range = data_range.float().repeat_interleave(shape[1])
    constant = data_range == 0
    middle_x, middle_y = (sum(extremes(volume.flatten(0, 1))) / 2 for volume in (x, y))
    centres = torch.stack([middle_x, middle_y, 1 / torch.where(constant, 1, data_range)], dim=1).contiguous()
    out = torch.empty_like(x)
    size, warps = next(tile for reach, tile in TILES.items() if windows.shape[1] <= reach + 1)
    # the first side of a grid may be 2^31 long, the others 65,535
    grid = (shape[0] * shape[1] * shape[2], triton.cdiv(shape[3], size), triton.cdiv(shape[4], size))
    with torch.cuda.device_of(x):  # Triton launches on the current one
        tiles[grid](
            x, y, x if mask is None else mask, out, windows, wide, centres, x if healthy is None else healthy,
            *shape[2:], len(sigmas), windows.shape[1], 1 / temperature, K1**2, K2**2,
            STRATEGY=strategy, MASKED=mask is not None, FLAT=flat, OUT=size, IN=2 * size,
            num_warps=warps,
        )  # fmt: skip
    # Two constants differ in luminance alone, which the calibrated map has no unit for.
    p, q = middle_x + middle_y, middle_x - middle_y
    luminance = torch.where(q == 0, 0, 2 * q.square() / (p.square() + q.square())) * (healthy is None)
    constant, luminance = (v.reshape(*shape[:2], *(1,) * (x.ndim - 2)) for v in (constant, luminance))
    return torch.where(constant, luminance if mask is None else luminance * mask, out)
