"""The SSIM ensemble on a CPU, fused over all kernel sizes: one pass over the volume, no stack of maps.

In: two volumes, the sigmas, optionally a mask. Out: the anomaly map. `essim.ssim` and `essim.ensemble` say what is
computed; this is how. With p = x + y and q = x - y, plane by plane and four rows at a time:

    along a    sums of the rows a-k and a+k of p, q, p^2, q^2, shared by all sigmas; their weighted sums, one per sigma,
               go into a ring buffer that holds the rows b-R..b+3+R
    along b    weighted sums of the ring's rows, each of which is read once for all four
    along c    weighted sums of those rows, shifted
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
PLANES = 16  # per piece of work
ROWS = 4  # at a time, along b
TILE = 16  # voxels a side, where an array is read along one axis and written along another

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
def blur_rows(out, ring, base, at, w, n):
    """ROWS rows along b, one after the other in `out`: row j is sum_k w[|k|] row(j + k), |k| < len(w), where row(k)
    starts at ring[base + at[R + k]]. Four rows of the ring are read for four of `out`."""
    reach = len(w) - 1
    first, count = (len(at) - ROWS) // 2 - reach, 2 * reach + ROWS
    o1, o2, o3 = n, OFFSET(2) * n, OFFSET(3) * n
    out[: OFFSET(ROWS) * n] = ZERO
    for t in range(0, count, 4):
        k = t - reach  # from the first of `out` to the first of the ring
        r0, r1 = base + at[first + t], base + at[first + min(t + 1, count - 1)]
        r2, r3 = base + at[first + min(t + 2, count - 1)], base + at[first + min(t + 3, count - 1)]
        w0, w1, w2, w3 = tap(w, k), tap(w, k + 1), tap(w, k + 2), tap(w, k + 3)
        v1, v2, v3 = tap(w, k - 1), tap(w, k - 2), tap(w, k - 3)
        for i in range(n):
            a, b, c, d = ring[r0 + i], ring[r1 + i], ring[r2 + i], ring[r3 + i]
            out[i] += w0 * a + w1 * b + w2 * c + w3 * d
            out[o1 + i] += v1 * a + w0 * b + w1 * c + w2 * d
            out[o2 + i] += v2 * a + v1 * b + w0 * c + w1 * d
            out[o3 + i] += v3 * a + v2 * b + v1 * c + w0 * d


@compiled
def tap(w, k):
    """The weight of a window at k, 0 beyond its ends."""
    return w[abs(k)] if abs(k) < len(w) else ZERO


@compiled
def blur(out, row, middle, w, n):
    """out[i] = sum_k w[|k|] row[middle + i + k], |k| < len(w)."""
    c, a, b = middle, middle - OFFSET(1), middle + OFFSET(1)
    w0, w1 = w[0], w[1]
    for i in range(n):
        out[i] = w0 * row[c + i] + w1 * (row[a + i] + row[b + i])
    k = 2
    while k + 2 < len(w):
        a, b, w0 = middle - OFFSET(k), middle + OFFSET(k), w[k]
        c, d, w1 = a - OFFSET(1), b + OFFSET(1), w[k + 1]
        e, f, w2 = a - OFFSET(2), b + OFFSET(2), w[k + 2]
        for i in range(n):
            near = w0 * (row[a + i] + row[b + i]) + w1 * (row[c + i] + row[d + i])
            out[i] += near + w2 * (row[e + i] + row[f + i])
        k += 3
    a, b = middle - OFFSET(k), middle + OFFSET(k)
    if k + 1 < len(w):
        c, d, w0, w1 = a - OFFSET(1), b + OFFSET(1), w[k], w[k + 1]
        for i in range(n):
            out[i] += w0 * (row[a + i] + row[b + i]) + w1 * (row[c + i] + row[d + i])
    elif k < len(w):
        w0 = w[k]
        for i in range(n):
            out[i] += w0 * (row[a + i] + row[b + i])


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
    pq, span, live, windows, wide, tall, centre_p, centre_q, strategy, scale, squarings, gains, first, last, out
):
    """Planes first..last of the anomaly map.

    pq: [A, B, 2, C + 2 R] flat, p and q with borders reflected along c; [A, B, 1, C + 2 R] if only q is needed. span:
    C + 2 R. live: [A, B], which rows are wanted. windows: [K, R + 1], the half windows; wide: their lengths. tall: the
    same along a. gains: [K, A / 2, B / 2, C] (rounded up) if CALIBRATED. out: [A, B, C].
    """
    size_a, size_b, size_c = out.shape
    sigmas, radius, high = len(windows), windows.shape[1] - 1, tall.shape[1]
    half = OFFSET(len(pq) // (size_a * size_b))  # p and q, or q, side by side; then their squares
    rows, n = 2 * radius + ROWS, OFFSET(2) * half
    c = OFFSET(size_c)
    sums = np.empty(high * n, np.float32)
    ring = np.zeros(sigmas * rows * n, np.float32)
    row, smooth = np.zeros(OFFSET(ROWS) * n + OFFSET(2 * radius), np.float32), np.empty(OFFSET(ROWS) * n, np.float32)
    d, weight = np.empty(size_c, np.float32), np.empty(size_c, np.float32)
    weights, total = np.empty((ROWS, size_c), np.float32), np.empty((ROWS, size_c), np.float32)
    at = np.empty(rows, OFFSET)
    for a in range(first, last):
        begin, end = size_b, -1  # the rows that are wanted lie between
        for b in range(size_b):
            if live[a, b]:
                begin, end = min(begin, b), b
        entered = max(0, begin - radius)
        for b in range(begin, end + 1, ROWS):
            while entered <= min(b + ROWS - 1 + radius, size_b - 1):
                for k in range(high):
                    above = OFFSET(reflect(a - k, size_a) * size_b + entered) * half
                    below = OFFSET(reflect(a + k, size_a) * size_b + entered) * half
                    pair(pq, above, below, sums, OFFSET(k) * n, OFFSET(k) * n + half, half)
                for s in range(sigmas):
                    weigh(ring, OFFSET(s * rows + entered % rows) * n, sums, tall[s, : min(wide[s], high)], n)
                entered += 1
            for k in range(rows):
                at[k] = OFFSET(reflect(b + k - radius, size_b) % rows) * n
            weights[:] = ZERO
            total[:] = ZERO
            for s in range(sigmas):
                w = windows[s, : wide[s]]
                blur_rows(row, ring, OFFSET(s * rows) * n, at, w, n)
                blur(smooth, row, OFFSET(radius), w, OFFSET(ROWS) * n)
                for r in range(min(ROWS, end + 1 - b)):
                    here = smooth[r * n : (r + 1) * n]
                    if strategy == CALIBRATED:
                        add_structure(here, span, gains[s, a // 2, (b + r) // 2], total[r])
                        continue
                    dissimilarity(d, here, span, centre_p, centre_q, c)
                    if strategy == ADAPTIVE:
                        add_weighted(d, scale, squarings, weight, total[r], weights[r])
                    elif strategy == MEAN:
                        for i in range(size_c):
                            total[r, i] += d[i]
                    else:
                        for i in range(size_c):
                            total[r, i] = max(total[r, i], d[i])
            for r in range(min(ROWS, end + 1 - b)):
                for i in range(size_c):
                    if strategy == ADAPTIVE:
                        out[a, b + r, i] = total[r, i] / weights[r, i]
                    elif strategy == MEAN:
                        out[a, b + r, i] = total[r, i] / np.float32(sigmas)
                    else:
                        out[a, b + r, i] = total[r, i]


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
    x, y = (volume.detach().float().numpy() for volume in (x, y))
    mask = np.broadcast_to(True, x.shape) if mask is None else mask.numpy()
    result = np.zeros(x.shape, np.float32)
    for n, c in np.ndindex(x.shape[:2]):
        # an image is a volume of one plane
        volumes = (array[n, c] if x.ndim == 5 else array[n, c, None] for array in (x, y, mask, result))
        anomaly_map(*volumes, data_range[n].item(), sigmas, how, healthy)
    return torch.from_numpy(result)


def anomaly_map(x, y, mask, result, data_range, sigmas, how, healthy):
    """The anomaly map of one volume [A, B, C], float32, finite, into `result`, which is 0; mask: bool.

    how: strategy, scale and squarings of `planes`. healthy: a calibration's gains, then what it expects, concatenated:
    [1 + K + 1, A / 2, B / 2, C / 2]; else None. Rows without a voxel of the mask are skipped; the map is 0 outside.
    Uses as many threads as torch does.
    """
    whole = not any(mask.strides)  # one value for all voxels
    if not whole and not mask.any():
        return
    centre_x, centre_y = (np.float32(v.min() / 2 + v.max() / 2) for v in (x, y))
    if data_range == 0:  # two constants differ in luminance alone, which the calibrated map has no unit for
        p, q = float(centre_x) + float(centre_y), float(centre_x) - float(centre_y)
        result[mask] = 2 * q**2 / (p**2 + q**2) if q and healthy is None else 0
        return
    windows, wide = (values.numpy() for values in half_windows(sigmas))
    windows, wide = np.pad(windows, ((0, 0), (0, 1))), np.maximum(wide, 2)  # a tiny sigma's window is one voxel
    windows = np.ascontiguousarray(windows[:, : wide.max()])
    radius = windows.shape[1] - 1
    box = tuple(slice(0, side) for side in x.shape) if whole else around(mask, radius)
    order = np.argsort(x[box].shape, kind="stable")  # the longest axis last
    live = mask[box].any(order[2])  # in the other two axes' own order
    live = np.ascontiguousarray(live if order[0] < order[1] else live.T)
    x, y, mask, result = (volume[box].transpose(order) for volume in (x, y, mask, result))
    calibrated = healthy is not None
    pq = np.empty((*x.shape[:2], 1 if calibrated else 2, x.shape[2] + 2 * radius), np.float32)
    lay_out(x, y, centre_x, centre_y, np.float32(data_range), radius, pq)
    centre_p, centre_q = (np.float32(c / data_range) for c in (centre_x + centre_y, centre_x - centre_y))
    tall = windows * np.where(np.arange(radius + 1) == 0, 0.5, 1).astype(np.float32)  # row a is paired with itself
    if len(x) == 1:  # an image: nothing to blur along a
        tall = np.full((len(sigmas), 2), (0.5, 0), np.float32)
    out = np.zeros(x.shape, np.float32)
    healthy = along_c(healthy, box, order) if calibrated else np.empty((2, 0, 0, 0), np.float32)

    def work(first):
        last = min(first + PLANES, len(out))
        fixed = (OFFSET(pq.shape[3]), live, windows, wide, tall, centre_p, centre_q)
        planes(pq.ravel(), *fixed, *how, healthy[1:-1], first, last, out)
        for a in range(first, last) if calibrated else ():
            gain, expected = (maps[a // 2].repeat(2, axis=0)[: out.shape[1]] for maps in healthy[[0, -1]])
            l1 = np.abs(pq[a, :, 0, radius : radius + out.shape[2]] + centre_q)
            out[a] = np.maximum(out[a] + gain * l1 - expected, 0)
        put_back(out[first:last], mask[first:last], result[first:last])

    pieces, threads = range(0, len(out), PLANES), torch.get_num_threads()
    if threads == 1:
        list(map(work, pieces))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, pieces))


@compiled
def lay_out(x, y, centre_x, centre_y, data_range, radius, pq):
    """p = x + y and q = x - y of the centred, scaled volumes [A, B, C], or q alone: [A, B, 2 or 1, C + 2 radius],
    reflected along c. In tiles, since the axes may be in any order in memory."""
    size_a, size_b, size_c = x.shape
    last = pq.shape[2] - 1
    for tile_a in range(0, size_a, TILE):
        for b in range(size_b):
            for tile_c in range(0, size_c, TILE):
                for a in range(tile_a, min(tile_a + TILE, size_a)):
                    for c in range(tile_c, min(tile_c + TILE, size_c)):
                        u, v = (x[a, b, c] - centre_x) / data_range, (y[a, b, c] - centre_y) / data_range
                        pq[a, b, 0, radius + c] = u + v
                        pq[a, b, last, radius + c] = u - v
            for a in range(tile_a, min(tile_a + TILE, size_a)):
                for row in pq[a, b]:
                    for k in range(radius):
                        row[k] = row[radius + reflect(k - radius, size_c)]
                        row[radius + size_c + k] = row[radius + reflect(size_c + k, size_c)]


@compiled
def put_back(out, mask, result):
    """result = out inside the mask, 0 outside; [A, B, C] each, in tiles as above."""
    size_a, size_b, size_c = out.shape
    for tile_a in range(0, size_a, TILE):
        for b in range(size_b):
            for tile_c in range(0, size_c, TILE):
                for a in range(tile_a, min(tile_a + TILE, size_a)):
                    for c in range(tile_c, min(tile_c + TILE, size_c)):
                        result[a, b, c] = out[a, b, c] if mask[a, b, c] else ZERO


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
