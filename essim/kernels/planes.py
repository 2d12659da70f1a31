"""The arithmetic of the SSIM ensemble on a CPU, fused over all kernel sizes: planes of the map, no stack of maps.

In: p = x + y and q = x - y as `essim.kernels.layout` lays them out, and the windows. Out: planes of the anomaly map.
`essim.ssim` and `essim.ensemble` say what is computed; this is how, plane by plane and four rows at a time:

    along a    sums of the rows a-k and a+k of p, q, p^2, q^2, shared by all sigmas; their weighted sums, one per sigma,
               go into a ring buffer that holds the rows b-R..b+3+R
    along b    weighted sums of the ring's rows, each of which is read once for all four
    along c    weighted sums of those rows, shifted
    combine    d = 1 - SSIM of this sigma, added to the running ensemble: sum d exp(d / tau) / sum exp(d / tau)

The calibrated ensemble needs q alone: the sums are of q and q^2, and what is added is sqrt(V_q), the window's standard
deviation of q, times the gain of this sigma and place.

Everything but p and q stays in the processor's caches. All inner loops run along contiguous float32 rows. The sums are
generated, so that they stay in registers (essim.kernels.vectors); the other loops LLVM itself turns into vector
instructions, and each of these uses few arrays, since LLVM must check at run time that none overlap.
"""

import functools

import numpy as np

from essim.kernels import compiling
from essim.kernels.layout import reflect
from essim.kernels.vectors import WORD, generated
from essim.ssim import K1, K2

C1, C2 = np.float32(K1**2), np.float32(K2**2)  # at a data range of 1
ZERO, TWO = np.float32(0), np.float32(2)
# exp on [-1, 1] to 2e-8: numba's own is not vectorised
EXP = np.polynomial.Chebyshev.interpolate(np.exp, 8).convert(kind=np.polynomial.Polynomial).coef.astype(np.float32)
E0, E1, E2, E3, E4, E5, E6, E7, E8 = EXP
ADAPTIVE, MEAN, MIN, CALIBRATED = 0, 1, 2, 3
ROWS = 4  # at a time, along b
LENGTHS = range(2, 18)  # of half windows: code is generated for each

compiled = functools.partial(compiling.compiled, fastmath={"contract"}, error_model="numpy")
# Scratch arrays are flat, and rows are unsigned offsets into them: making a slice costs as much as a short row, since
# its references are counted, and a signed index costs a test of its sign.
OFFSET = np.uint64


@compiled
def pair(volume, above, below, sums, first, second, n):
    """Two rows of the volume: their sum to sums[first], the sum of their squares to sums[second]."""
    for i in range(n):
        u, v = volume[above + i], volume[below + i]
        sums[first + i] = u + v
        sums[second + i] = u * u + v * v


@generated
def weigh(code, out, at, sums, w, n):
    """out[at] = sum_k w[k] times row k of `sums`, whose rows are n long."""
    add, multiply = code.build.add, code.build.mul

    def write(length):
        weights, rows = [w.everywhere(WORD(k)) for k in range(length)], [multiply(n, WORD(k)) for k in range(length)]
        code.each(n, lambda i: out.store(code.weighted(weights, [sums.load(add(row, i)) for row in rows]), add(at, i)))

    code.which(w.length, LENGTHS, write)


@generated
def blur_rows(code, out, ring, base, at, w, n):
    """ROWS rows along b, one after the other in `out`: row j is sum_k w[|k|] row(j + k), |k| < len(w), where row(k)
    starts at ring[base + at[R + k]]. Each row of the ring is read once for all of `out`."""
    build, add = code.build, code.build.add
    middle = build.lshr(build.sub(at.length, WORD(ROWS)), WORD(1))  # R

    def write(length):
        weights = [w.everywhere(WORD(k)) for k in [*range(length - 1, 0, -1), *range(length)]]
        first = build.sub(middle, WORD(length - 1))
        rows = [add(base, at.one(add(first, WORD(k)))) for k in range(len(weights) + ROWS - 1)]

        def each(i):
            these = [ring.load(add(row, i)) for row in rows]
            for j in range(ROWS):
                to = add(i, build.mul(n, WORD(j)))
                out.store(code.weighted(weights, these[j : j + len(weights)]), to)

        code.each(n, each)

    code.which(w.length, LENGTHS, write)


@generated
def blur(code, out, row, middle, w, n):
    """out[i] = sum_k w[|k|] row[middle + i + k], |k| < len(w)."""
    build = code.build

    def write(length):
        weights = [w.everywhere(WORD(k)) for k in range(length)]

        def each(i):
            here, these = build.add(middle, i), [row.load(build.add(middle, i))]
            for k in range(1, length):
                these.append(build.fadd(row.load(build.sub(here, WORD(k))), row.load(build.add(here, WORD(k)))))
            out.store(code.weighted(weights, these), i)

        code.each(n, each)

    code.which(w.length, LENGTHS, write)


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
