"""The SSIM ensemble on a CPU, fused over all kernel sizes: one pass over the volume, no stack of maps.

In: two volumes, the sigmas, optionally a mask. Out: the anomaly map. `essim.ssim` and `essim.ensemble` say what is
computed; this is how. With p = x + y and q = x - y, plane by plane and row by row:

    along a    sums of the rows a-k and a+k of p, q, p^2, q^2, shared by all sigmas; their weighted sums, one per sigma,
               go into a ring buffer that holds the rows b-R..b+R
    along b    weighted sums of the ring's rows
    along c    weighted sums of that row, shifted
    combine    d = 1 - SSIM of this sigma, added to the running ensemble: sum d exp(d / tau) / sum exp(d / tau)

The calibrated ensemble needs q alone: the sums are of q and q^2, and what is added is sqrt(V_q), the window's standard
deviation of q, times the gain of this sigma and place.

Everything but p and q stays in the processor's caches. All inner loops run along contiguous float32 rows, so that LLVM
turns them into vector instructions; each uses few arrays, since LLVM must check at run time that none overlap. Volumes
are shifted to the middle of their range and divided by the data range, which keeps float32 accurate.
"""

import functools
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from essim.kernels import compiling
from essim.ssim import K1, K2, half_windows

C1, C2 = np.float32(K1**2), np.float32(K2**2)  # at a data range of 1
ZERO, TWO = np.float32(0), np.float32(2)
# exp on [-1, 1] to 2e-8: numba's own is not vectorised
EXP = np.polynomial.Chebyshev.interpolate(np.exp, 8).convert(kind=np.polynomial.Polynomial).coef.astype(np.float32)
E0, E1, E2, E3, E4, E5, E6, E7, E8 = EXP
LOWEST_TEMPERATURE = 0.02  # below, exp overflows in float32
ADAPTIVE, MEAN, MIN, CALIBRATED = 0, 1, 2, 3
CODES = {"adaptive": ADAPTIVE, "mean": MEAN, "min": MIN}
PLANES = 8  # per piece of work

compiled = functools.partial(compiling.compiled, fastmath={"contract"}, error_model="numpy")
# Scratch arrays are flat, and rows are unsigned offsets into them: making a slice costs as much as a short row, since
# its references are counted, and a signed index costs a test of its sign.
OFFSET = np.uint64


@compiled
def reflect(i, n):
    """Index i of a row of n: borders are reflected, the edge is not repeated (except in a row of one)."""
    i = abs(i)
    return max(0, 2 * n - 2 - i) if i >= n else i


@compiled
def pair(volume, above, below, sums, first, second, n):
    """Two rows of the volume: their sum to sums[first], the sum of their squares to sums[second]."""
    for i in range(n):
        u, v = volume[above + i], volume[below + i]
        sums[first + i] = u + v
        sums[second + i] = u * u + v * v


@compiled
def weigh(out, at, sums, w, n):
    """out[at] = sum_k w[k] times row k of `sums`, whose rows are n long; there are at least two."""
    wa, wb = w[0], w[1]
    for i in range(n):
        out[at + i] = wa * sums[i] + wb * sums[n + i]
    k = 2
    while k + 2 < len(w):
        a, b, c = OFFSET(k) * n, OFFSET(k + 1) * n, OFFSET(k + 2) * n
        wa, wb, wc = w[k], w[k + 1], w[k + 2]
        for i in range(n):
            out[at + i] += wa * sums[a + i] + wb * sums[b + i] + wc * sums[c + i]
        k += 3
    while k < len(w):
        a, wa = OFFSET(k) * n, w[k]
        for i in range(n):
            out[at + i] += wa * sums[a + i]
        k += 1


@compiled
def blur(out, rows, base, at, w, n):
    """out = w[0] row(0) + sum_k w[k] (row(-k) + row(k)); row(k) starts at rows[base + at[len(at) // 2 + k]]."""
    m = len(at) // 2
    c, a, b = base + at[m], base + at[m - 1], base + at[m + 1]
    w0, w1 = w[0], w[1]
    for i in range(n):
        out[i] = w0 * rows[c + i] + w1 * (rows[a + i] + rows[b + i])
    k = 2
    while k + 2 < len(w):
        a, b, w0 = base + at[m - k], base + at[m + k], w[k]
        c, d, w1 = base + at[m - k - 1], base + at[m + k + 1], w[k + 1]
        e, f, w2 = base + at[m - k - 2], base + at[m + k + 2], w[k + 2]
        for i in range(n):
            near = w0 * (rows[a + i] + rows[b + i]) + w1 * (rows[c + i] + rows[d + i])
            out[i] += near + w2 * (rows[e + i] + rows[f + i])
        k += 3
    if k + 1 < len(w):
        a, b, w0 = base + at[m - k], base + at[m + k], w[k]
        c, d, w1 = base + at[m - k - 1], base + at[m + k + 1], w[k + 1]
        for i in range(n):
            out[i] += w0 * (rows[a + i] + rows[b + i]) + w1 * (rows[c + i] + rows[d + i])
    elif k < len(w):
        a, b, w0 = base + at[m - k], base + at[m + k], w[k]
        for i in range(n):
            out[i] += w0 * (rows[a + i] + rows[b + i])


@compiled
def dissimilarity(d, smooth, span, centre_p, centre_q, n):
    """d = 1 - SSIM from local means and mean squares of p and q, side by side in `smooth`; see essim.ssim."""
    q, pp, qq = span, OFFSET(2) * span, OFFSET(3) * span
    for i in range(n):
        mu_p, mu_q = smooth[i], smooth[q + i]
        mp, mq = mu_p + centre_p, mu_q + centre_q
        a, b = mp * mp + TWO * C1, mq * mq
        c, e = max(smooth[pp + i] - mu_p * mu_p, ZERO) + TWO * C2, max(smooth[qq + i] - mu_q * mu_q, ZERO)
        d[i] = TWO * (a * e + b * c) / ((a + b) * (c + e))


@compiled
def add_weighted(d, scale, squarings, weight, total, weights):
    """total += d exp(d / tau), weights += exp(d / tau), up to a factor that all sigmas share."""
    for i in range(len(d)):
        z = (d[i] - np.float32(1)) * scale  # in [-1, 1]
        weight[i] = E0 + z * (E1 + z * (E2 + z * (E3 + z * (E4 + z * (E5 + z * (E6 + z * (E7 + z * E8)))))))
    for _ in range(squarings):
        for i in range(len(d)):
            weight[i] = weight[i] * weight[i]
    for i in range(len(d)):
        weights[i] += weight[i]
        total[i] += weight[i] * d[i]


@compiled
def add_structure(smooth, span, gain, total):
    """total += gain sqrt(V_q) from the local mean and mean square of q, side by side in `smooth`."""
    for i in range(len(total)):
        mu = smooth[i]
        total[i] += gain[i] * np.sqrt(max(smooth[span + i] - mu * mu, ZERO))


@compiled
def planes(
    p, q, span, live, windows, wide, tall, centre_p, centre_q, strategy, scale, squarings, gains, first, last, out
):
    """Planes first..last of the anomaly map.

    p, q: [A, B, C + 2 R] flat, borders reflected along c; p is empty if only q is needed. span: C + 2 R. live: [A, B],
    which rows are wanted. windows: [K, R + 1], the half windows; wide: their lengths. tall: the same along a. gains:
    [K, A / 2, B / 2, C] (rounded up) if CALIBRATED. out: [A, B, C].
    """
    size_a, size_b, size_c = out.shape
    sigmas, radius, high = len(windows), windows.shape[1] - 1, tall.shape[1]
    # p, q, p^2 and q^2 side by side, or q and q^2
    rows, n = 2 * radius + 1, OFFSET(4 if len(p) else 2) * span
    half = n // OFFSET(2)
    at_q = half - span
    c = OFFSET(size_c)
    sums = np.empty(high * n, np.float32)
    ring = np.zeros(sigmas * rows * n, np.float32)
    row, smooth = np.zeros(n + OFFSET(2 * radius), np.float32), np.empty(n, np.float32)
    d, weight = np.empty(size_c, np.float32), np.empty(size_c, np.float32)
    weights, total = np.empty(size_c, np.float32), np.empty(size_c, np.float32)
    shifts, at = np.arange(rows).astype(OFFSET), np.empty(rows, OFFSET)
    for a in range(first, last):
        begin, end = size_b, -1  # the rows that are wanted lie between
        for b in range(size_b):
            if live[a, b]:
                begin, end = min(begin, b), b
        entered = max(0, begin - radius)
        for b in range(begin, end + 1):
            while entered <= min(b + radius, size_b - 1):
                for k in range(high):
                    above = OFFSET(reflect(a - k, size_a) * size_b + entered) * span
                    below = OFFSET(reflect(a + k, size_a) * size_b + entered) * span
                    here = OFFSET(k) * n
                    if len(p):
                        pair(p, above, below, sums, here, here + half, span)
                    pair(q, above, below, sums, here + at_q, here + at_q + half, span)
                for s in range(sigmas):
                    weigh(ring, OFFSET(s * rows + entered % rows) * n, sums, tall[s, : min(wide[s], high)], n)
                entered += 1
            if not live[a, b]:
                continue
            for k in range(rows):
                at[k] = OFFSET(reflect(b + k - radius, size_b) % rows) * n
            weights[:] = ZERO
            total[:] = ZERO
            for s in range(sigmas):
                w = windows[s, : wide[s]]
                blur(row, ring, OFFSET(s * rows) * n, at, w, n)
                blur(smooth, row, OFFSET(0), shifts, w, n)
                if strategy == CALIBRATED:
                    add_structure(smooth, span, gains[s, a // 2, b // 2], total)
                    continue
                dissimilarity(d, smooth, span, centre_p, centre_q, c)
                if strategy == ADAPTIVE:
                    add_weighted(d, scale, squarings, weight, total, weights)
                elif strategy == MEAN:
                    for i in range(size_c):
                        total[i] += d[i]
                else:
                    for i in range(size_c):
                        total[i] = max(total[i], d[i])
            for i in range(size_c):
                if strategy == ADAPTIVE:
                    out[a, b, i] = total[i] / weights[i]
                elif strategy == MEAN:
                    out[a, b, i] = total[i] / np.float32(sigmas)
                else:
                    out[a, b, i] = total[i]


@functools.cache
def announce_compilation():
    """Say why the first call takes a while, unless the compiled code is already on disk."""
    folder = planes.stats.cache_path  # None: nothing can be kept
    if folder is None or not any(Path(folder).glob("cpu.planes-*.nbi")):
        logging.getLogger("essim").warning("essim compiles its CPU kernel, this once; it takes some seconds.")


def obstacle(sigmas, temperature):
    """Why this kernel cannot do it, as the end of a sentence; "" if it can."""
    too_low = temperature < LOWEST_TEMPERATURE
    return f"needs a temperature of {LOWEST_TEMPERATURE} or more, got {temperature}" if too_low else ""


def anomaly_maps(x, y, *, mask, data_range, sigmas, strategy, temperature):
    """`essim.ensemble_map` of float tensors [N, C, *spatial] on the CPU, two or three spatial axes: float32 tensor."""
    squarings = max(0, int(np.ceil(np.log2(1 / temperature))))
    how = CODES[strategy], np.float32(1 / temperature / 2**squarings), squarings
    return each_volume(x, y, mask, data_range, sigmas, how, None)


def calibrated_maps(x, y, *, mask, data_range, calibration):
    """`essim.calibrated_map`, in three spatial axes."""
    maps = [maps.numpy() for maps in (calibration.gains, calibration.expected[None])]
    return each_volume(x, y, mask, data_range, calibration.sigmas, (CALIBRATED, ZERO, 0), np.concatenate(maps))


def each_volume(x, y, mask, data_range, sigmas, how, healthy):
    """`anomaly_map` of every volume of a batch."""
    announce_compilation()
    mask = None if mask is None else mask.numpy()
    x, y = (volume.detach().float().numpy() for volume in (x, y))
    result = np.empty(x.shape, np.float32)
    for n, c in np.ndindex(x.shape[:2]):
        inside = None if mask is None else mask[n, c]
        result[n, c] = anomaly_map(x[n, c], y[n, c], inside, data_range[n].item(), sigmas, how, healthy)
    return torch.from_numpy(result)


def anomaly_map(x, y, mask, data_range, sigmas, how, healthy):
    """The anomaly map of one volume [A, B, C] or image [B, C], float32, finite; mask: bool or None.

    how: strategy, scale and squarings of `planes`. healthy: a calibration's gains, then what it expects, concatenated:
    [1 + K + 1, A / 2, B / 2, C / 2]; else None. Rows without a voxel of the mask are skipped; the map is 0 outside.
    Uses as many threads as torch does.
    """
    if x.ndim == 2:
        mask = None if mask is None else mask[None]
        return anomaly_map(x[None], y[None], mask, data_range, sigmas, how, healthy)[0]
    result = np.zeros(x.shape, np.float32)
    if mask is None:
        mask = np.ones(x.shape, bool)
    if not mask.any():
        return result
    centre_x, centre_y = (np.float32(v.min() / 2 + v.max() / 2) for v in (x, y))
    if data_range == 0:  # two constants differ in luminance alone, which the calibrated map has no unit for
        p, q = float(centre_x) + float(centre_y), float(centre_x) - float(centre_y)
        result[mask] = 2 * q**2 / (p**2 + q**2) if q and healthy is None else 0
        return result
    windows, wide = (values.numpy() for values in half_windows(sigmas))
    windows, wide = np.pad(windows, ((0, 0), (0, 1))), np.maximum(wide, 2)  # a tiny sigma's window is one voxel
    windows = np.ascontiguousarray(windows[:, : wide.max()])
    radius = windows.shape[1] - 1
    box = around(mask, radius)
    order = np.argsort(result[box].shape, kind="stable")  # the longest axis last
    x, y, inside = (volume[box].transpose(order) for volume in (x, y, mask))
    p, q = sum_and_difference(x, y, centre_x, centre_y, np.float32(data_range), radius)
    centre_p, centre_q = (np.float32(c / data_range) for c in (centre_x + centre_y, centre_x - centre_y))
    tall = windows * np.where(np.arange(radius + 1) == 0, 0.5, 1).astype(np.float32)  # row a is paired with itself
    if len(x) == 1:  # an image: nothing to blur along a
        tall = np.full((len(sigmas), 2), (0.5, 0), np.float32)
    out, live = np.zeros(x.shape, np.float32), inside.any(2)
    healthy = np.empty((2, 0, 0, 0), np.float32) if healthy is None else along_c(healthy, box, order)
    gains, volumes = healthy[1:-1], [volume.ravel() for volume in (p if not len(healthy[0]) else p[:0], q)]

    def work(first):
        last = min(first + PLANES, len(out))
        fixed = (OFFSET(p.shape[2]), live, windows, wide, tall, centre_p, centre_q)
        planes(*volumes, *fixed, *how, gains, first, last, out)
        for a in range(first, last) if len(healthy[0]) else ():
            gain, expected = (maps[a // 2].repeat(2, axis=0)[: out.shape[1]] for maps in healthy[[0, -1]])
            l1 = np.abs(q[a, :, radius : radius + out.shape[2]] + centre_q)
            out[a] = np.maximum(out[a] + gain * l1 - expected, 0)

    pieces, threads = range(0, len(out), PLANES), torch.get_num_threads()
    if threads == 1:
        list(map(work, pieces))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, pieces))
    result[box] = np.where(inside, out, 0).transpose(np.argsort(order))
    return result


def around(mask, radius):
    """The box around a mask's voxels and their windows: a slice for each axis, starting at an even voxel."""
    box = []
    for axis in range(mask.ndim):
        found = np.flatnonzero(mask.any(tuple(set(range(mask.ndim)) - {axis})))
        box.append(slice(max(0, found[0] - radius) // 2 * 2, min(mask.shape[axis], found[-1] + radius + 1)))
    return tuple(box)


def along_c(healthy, box, order):
    """Maps [M, h, w, d] of the half grid as `planes` reads them: cut to the box, axes in order, the last upsampled."""
    cut = healthy[:, *(slice(side.start // 2, (side.stop + 1) // 2) for side in box)].transpose(0, *(order + 1))
    sides = [box[axis].stop - box[axis].start for axis in order]
    return np.ascontiguousarray(cut.repeat(2, axis=3)[..., : sides[2]])


def sum_and_difference(x, y, centre_x, centre_y, data_range, radius):
    """p = x + y and q = x - y of the centred, scaled volumes [A, B, C]: [A, B, C + 2 radius], reflected along c."""
    length = x.shape[2]
    p, q = (np.zeros((*x.shape[:2], length + 2 * radius), np.float32) for _ in "pq")
    for a in range(len(x)):  # plane by plane: no copies of whole volumes
        one, other = (x[a] - centre_x) / data_range, (y[a] - centre_y) / data_range
        np.add(one, other, out=p[a, :, radius : radius + length])
        np.subtract(one, other, out=q[a, :, radius : radius + length])
    for padded in (p, q):
        padded[..., :radius] = padded[..., 2 * radius : radius : -1]
        padded[..., radius + length :] = padded[..., length + radius - 2 : length - 2 : -1]
    return p, q
