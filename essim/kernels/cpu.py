"""The SSIM ensemble on a CPU: one pass over each volume, on as many threads as torch uses.

In: two volumes, the sigmas, optionally a mask. Out: the anomaly map. `essim.kernels.layout` says how volumes lie in
memory, `essim.kernels.planes` what is computed.
"""

import functools
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from essim.kernels.compiling import version
from essim.kernels.layout import along_c, around, lay_out, put_back
from essim.kernels.planes import ADAPTIVE, CALIBRATED, LENGTHS, MEAN, MIN, OFFSET, planes
from essim.ssim import half_windows

LOWEST_TEMPERATURE = 0.02  # below, exp overflows in float32
CODES = {"adaptive": ADAPTIVE, "mean": MEAN, "min": MIN}
PLANES = 16  # per piece of work


@functools.cache
def announce_compilation():
    """Say why the first call takes a while, unless the compiled code is already on disk."""
    folder = planes.stats.cache_path  # None: nothing can be kept
    if folder is None or not any(Path(folder).glob(f"planes.planes-*-{version()}.nbi")):
        logging.getLogger("essim").warning("essim compiles its CPU kernel, this once; it takes some seconds.")


def obstacle(sigmas, temperature):
    """Why this kernel cannot do it, as the end of a sentence; "" if it can."""
    if temperature < LOWEST_TEMPERATURE:
        return f"needs a temperature of {LOWEST_TEMPERATURE} or more, got {temperature}"
    _, lengths = half_windows(sigmas)
    return f"takes sigmas below 4.7, got {max(sigmas):g}" if max(lengths) > max(LENGTHS) else ""


def anomaly_maps(x, y, *, mask, data_range, sigmas, strategy, temperature):
    """`essim.ensemble_map` of float tensors [N, C, *spatial] on the CPU, two or three spatial axes: float32 tensor."""
    squarings = max(0, int(np.ceil(np.log2(1 / temperature))))
    how = CODES[strategy], np.float32(1 / temperature / 2**squarings), squarings
    return each_volume(x, y, mask, data_range, sigmas, how, None)


def calibrated_maps(x, y, *, mask, data_range, calibration):
    """`essim.calibrated_map`, in three spatial axes."""
    maps = [maps.numpy() for maps in (calibration.gains, calibration.expected[None])]
    return each_volume(x, y, mask, data_range, calibration.sigmas, (CALIBRATED, np.float32(0), 0), np.concatenate(maps))


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
    windows, wide = np.pad(windows, ((0, 0), (0, 2))), np.maximum(wide, 2)  # a tiny sigma's window is one voxel
    windows = np.ascontiguousarray(windows[:, : max(3, wide.max())])  # with it a row fills a vector, however short
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
