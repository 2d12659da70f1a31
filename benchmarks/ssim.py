"""How fast and how accurate is the SSIM ensemble? essim's backends compared with today's common libraries.

    python benchmarks/ssim.py [--sizes 96x96x50 ...] [--rounds 5] [--device cpu] [--out results/bench]

Every contender makes the paper's ensemble of the eight sigmas from the same two volumes (those without an ensemble:
eight maps, then the softmax); `calibrated` is the calibrated ensemble. Contenders take turns, round by round,
on one thread, or one GPU without TF32; the time is the median of the rounds, the ratio is against torchmetrics. The
error is the largest of the anomaly map against float64, away from the borders, where libraries differ on purpose; a
second one on the same data shifted by +100. Two peers give no ensemble, so that they have no error: pytorch-msssim
gives the means of the eight maps and no map, fused-ssim the map of one window, whatever sigma is wanted; it is asked
eight times. Peers that are not installed are left out, and the table says so: pip install -e ".[bench]".
"""

import argparse
import functools
import statistics
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from tqdm import tqdm

from essim.calibration import Calibration, calibrated_map
from essim.ensemble import ensemble_map, ensemble_weights
from essim.figures.speed import plot_speed
from essim.runs.provenance import provenance, save_figure, write_table
from essim.ssim import SIGMAS, check_pair

BORDER = 6  # the radius of the widest window
SLOW = 15  # seconds; a contender that takes longer runs once
FLOP = 1336  # per voxel, of the paper's ensemble, counted as essim/kernels/planes.py computes it


def phantom(shape, seed):
    """A scan, its reconstruction and the brain mask: float32 [1, 1, H, W, D] in [0, 1] and bool."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    mask = sum((a / r) ** 2 for a, r in zip(axes, (0.75, 0.9, 0.85), strict=True)) < 1
    tissue = ndimage.gaussian_filter(rng.standard_normal(shape), 4)
    scan = 0.5 + 0.2 * np.sign(tissue) + 0.04 * ndimage.gaussian_filter(rng.standard_normal(shape), 0.7)
    healthy = ndimage.gaussian_filter(scan, 0.8) + 0.02 * ndimage.gaussian_filter(rng.standard_normal(shape), 2)
    scan, healthy = (np.clip(volume * mask, 0, 1).astype(np.float32) for volume in (scan, healthy))
    return *(torch.from_numpy(volume)[None, None] for volume in (scan, healthy)), torch.from_numpy(mask)[None, None]


def radius(sigma):
    return int(3.5 * sigma + 0.5)


def combine(maps):
    maps = torch.stack(maps)
    return 1 - (ensemble_weights(maps) * maps).sum(0)


def by_torchmetrics(x, y, mask):
    from torchmetrics.functional.image import structural_similarity_index_measure

    def one(sigma):
        options = {"sigma": sigma, "kernel_size": 2 * radius(sigma) + 1, "data_range": data_range}
        return structural_similarity_index_measure(x, y, return_full_image=True, **options)[1]

    data_range = check_pair(x, y, SIGMAS, None).item()
    return combine([one(sigma) for sigma in SIGMAS])


def by_monai(x, y, mask):
    from monai.metrics.regression import compute_ssim_and_cs

    def one(sigma):
        window = {"kernel_type": "gaussian", "kernel_size": [2 * radius(sigma) + 1] * 3, "kernel_sigma": [sigma] * 3}
        padded = [torch.nn.functional.pad(volume, [radius(sigma)] * 6, mode="reflect") for volume in (x, y)]
        return compute_ssim_and_cs(*padded, 3, data_range=data_range, **window)[0]

    data_range = check_pair(x, y, SIGMAS, None).item()
    return combine([one(sigma) for sigma in SIGMAS])


def by_skimage(x, y, mask):
    from skimage.metrics import structural_similarity

    def one(sigma):
        how = {"gaussian_weights": True, "sigma": sigma, "use_sample_covariance": False, "data_range": data_range}
        _, similarity = structural_similarity(x[0, 0].numpy(), y[0, 0].numpy(), full=True, **how)
        return torch.from_numpy(similarity)[None, None]

    data_range = check_pair(x, y, SIGMAS, None).item()
    return combine([one(sigma) for sigma in SIGMAS])


def by_pytorch_msssim(x, y, mask):
    from pytorch_msssim import ssim

    data_range = check_pair(x, y, SIGMAS, None).item()
    for sigma in SIGMAS:
        ssim(x, y, data_range=data_range, win_size=2 * radius(sigma) + 1, win_sigma=sigma)


def by_fused_ssim(x, y, mask):
    from fused_ssim import FusedSSIMMap, fused_ssim3d  # noqa: F401 (releases without the second have no 3-D)

    data_range = check_pair(x, y, SIGMAS, None).item()
    constants = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    combine([FusedSSIMMap.apply(*constants, x, y, "same", False, 3) for _ in SIGMAS])


def essim(backend):
    return lambda x, y, mask: ensemble_map(x, y, backend=backend)


def essim_inside(backend):
    return lambda x, y, mask: ensemble_map(x, y, mask=mask, backend=backend)


def essim_calibrated(backend):
    return lambda x, y, mask: calibrated_map(x, y, calibration_for(tuple(x.shape[2:])), mask=mask, backend=backend)


@functools.cache
def calibration_for(shape):
    """Any calibration of this grid: what the map costs doesn't depend on the numbers in it."""
    half = [1 + len(SIGMAS), *((side + 1) // 2 for side in shape)]
    return Calibration(SIGMAS, shape, torch.full(half, 0.02), torch.full(half, 0.04), 0.05, 1)


ANYWHERE = {"essim, torch": essim("torch"), "MONAI": by_monai, "torchmetrics": by_torchmetrics}
ANYWHERE |= {"pytorch-msssim": by_pytorch_msssim}
CONTENDERS = {
    "cpu": {"essim, numba, mask": essim_inside("cpu"), "essim, numba": essim("cpu")}
    | {"essim, numba, mask, calibrated": essim_calibrated("cpu"), "scikit-image": by_skimage}
    | ANYWHERE,
    "cuda": {"essim, triton, mask": essim_inside("cuda"), "essim, triton": essim("cuda")}
    | {"essim, triton, mask, calibrated": essim_calibrated("cuda"), "fused-ssim": by_fused_ssim}
    | ANYWHERE,
}
NOTES = {"pytorch-msssim": "means, no map", "fused-ssim": "one window, eight times"}  # no ensemble, no error
# what tracemalloc sees
IN_NUMPY = ("essim, numba, mask", "essim, numba", "essim, numba, mask, calibrated", "scikit-image")


def error(found, name, x, y, mask):
    """Largest difference from the float64 map, inside the mask and away from the borders; NaN where it has one."""
    x, y, options = x.double(), y.double(), {"mask": mask, "backend": "torch"}
    if "calibrated" in name:
        expected = calibrated_map(x, y, calibration_for(tuple(x.shape[2:])), **options)
    else:
        expected = ensemble_map(x, y, **options)
    inside = (..., *[slice(BORDER, -BORDER)] * 3)
    return ((found * mask - expected)[inside]).abs().max().item()


def peak_memory(work):
    """The most memory (MB) that numpy asks for on top of what is there; tracemalloc doesn't see torch's own."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return peak


def seconds(work, device):
    """How long the work takes, on the device's own clock."""
    if device == "cpu":
        began = time.perf_counter()
        work()
        return time.perf_counter() - began
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    work()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / 1000


def floor(shape, device):
    """Milliseconds for the ensemble's arithmetic at the speed at which this device multiplies large matrices."""
    n = 1024 if device == "cpu" else 8192
    a = torch.rand(n, n, device=device)
    return 1000 * FLOP * np.prod(shape) * min(seconds(lambda: a @ a, device) for _ in range(5)) / (2 * n**3)


def race(shape, rounds, device):
    """One row per contender: milliseconds (median), errors, memory; the last row is the floor."""
    # On a GPU the volumes of other rounds push these out of its cache.
    pairs = [[volume.to(device) for volume in phantom(shape, seed)] for seed in range(1 if device == "cpu" else 8)]
    small = [volume.to(device) for volume in phantom((16, 16, 16), 0)]
    x, y, mask = pairs[0]
    times, rows, size, absent = {}, {}, "x".join(map(str, shape)), []
    for name, make in CONTENDERS[device].items():
        try:
            make(*small)  # compiles
        except ImportError:
            absent.append({"size": size, "contender": name, "note": "left out: not installed"})
            continue
        maps = []
        first = seconds(lambda make=make, maps=maps: maps.append(make(x, y, mask)), device)
        rows[name] = {"size": size, "contender": name, "note": NOTES.get(name, "")}
        if name not in NOTES:
            rows[name]["error"] = error(maps[0], name, x, y, mask)
        times[name] = [first] if first >= SLOW else []
        if first < SLOW and name not in NOTES:
            far = x + 100, y + 100, mask
            rows[name]["error_at_100"] = error(make(*far), name, *far)
        if name in IN_NUMPY:
            rows[name]["peak_mb"] = peak_memory(lambda make=make: make(x, y, mask))
    for i in tqdm(range(rounds), desc=f"rounds at {size}"):
        for name, taken in times.items():
            if max(taken, default=0) < SLOW:
                make, pair = CONTENDERS[device][name], pairs[i % len(pairs)]
                taken.append(seconds(lambda make=make, pair=pair: make(*pair), device))
    for name, taken in times.items():
        rows[name]["milliseconds"] = 1000 * statistics.median(taken)
    rows["floor"] = {"size": size, "contender": "floor", "milliseconds": floor(shape, device)}
    return pd.DataFrame([*rows.values(), *absent])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["48x48x25", "96x96x50", "192x192x100"])
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs")
    parser.add_argument("--device", choices=list(CONTENDERS), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("results/bench"), help="folder of the table and the figure")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    shapes = [tuple(map(int, size.split("x"))) for size in given.sizes]
    record, table = provenance({"sizes": given.sizes, "rounds": given.rounds, "device": given.device}), None
    for shape in shapes:  # what is measured is kept, whatever comes after
        table = pd.concat([table, race(shape, given.rounds, given.device)])
        slowest = table[table.contender == "torchmetrics"].set_index("size").milliseconds
        table["times_torchmetrics"] = table["size"].map(slowest) / table.milliseconds
        write_table(table, given.out / f"ssim_{given.device}.csv", record)
    save_figure(plot_speed(table), given.out / f"ssim_{given.device}", record)
    print(table.to_markdown(index=False, floatfmt=".4g"))
    print(f"Written to {given.out}: ssim_{given.device}.csv, .png and .pdf")


if __name__ == "__main__":
    main()
