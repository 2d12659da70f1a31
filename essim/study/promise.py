"""The promise: on held-out heads, does a threshold mark the share of healthy tissue that it promises?

In: scans in study space, with lesion masks where there are lesions, and a model folder with its calibration and
thresholds. Out: one row per scan and method: how much is marked and where, how far off the reconstruction is, how well
lesions are found. Not in the paper.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.spatial.distance import jensenshannon
from tqdm import tqdm

from essim.calibration import calibrated_l1, calibrated_map, load_calibration
from essim.data.volumes import Scan, load_scan
from essim.ensemble import ensemble_map
from essim.evaluation.metrics import average_precision, best_dice
from essim.models import load_model
from essim.postprocess import postprocess
from essim.reconstruct import noise_seed, reconstruct_volume
from essim.settings import Preprocessing
from essim.ssim import blur
from essim.study.realism import KEYS, REGIONS, regions_of

PROMISED = 0.01
BINS = 64  # of the histograms that `divergence` compares
WIDE = 4.0  # sigma in voxels of the Gaussian that keeps the smooth part of a residual


@dataclass
class Found:
    """A network's result for one scan: its `row` of the table; `scan`, as from `load_scan`, and `reconstruction`;
    `maps` {method: post-processed float32 [H, W, D]}; `scoring`, the contents of scoring.json."""

    row: dict
    scan: Scan
    reconstruction: np.ndarray
    maps: dict
    scoring: dict


def measure_promise(scans, folder):
    """Whether a model folder's thresholds keep their promise on scans of its contrast.

    Args:
        scans: a DataFrame with the columns of a scan table that `load_scan` reads, and KEYS of `realism`: source, head,
            contrast. folder: the model folder, with scoring.json and calibration.safetensors (notebook 03_healthy).

    Returns: a DataFrame, one row per scan and method (`find_anomalies`), with the columns of `judge`.

    Raises FileNotFoundError and ValueError as `find_anomalies`.
    """
    return pd.DataFrame([row for found in find_anomalies(scans, folder) for row in judge(found)])


def find_anomalies(scans, folder, sigmas=()):
    """Yield a `Found` for every scan: reconstructed as scoring.json says, scored by l1, adaptive and calibrated.

    Scans with lesions are also scored by `l1 calibrated`, the control of `calibrated`, and by single windows,
    `ssim <sigma>`.

    Args: as in `measure_promise`. sigmas: of the single windows.

    Raises FileNotFoundError and ValueError as `load_model`, `load_calibration` and `load_scan`; ValueError where the
    folder's scoring.json is outdated.
    """
    folder, device = Path(folder), torch.device("cpu")
    diffusion, calibration = load_model(folder, device), load_calibration(folder)
    preprocessing = Preprocessing(**json.loads((folder / "config.json").read_text())["preprocessing"])
    scoring = json.loads((folder / "scoring.json").read_text())
    if "residual" not in scoring or "l1" not in scoring["thresholds"]:
        raise ValueError(f"{folder / 'scoring.json'}: lacks the residual or the threshold of l1; run 03_healthy again.")

    def find(row):
        scan = load_scan(row, preprocessing)
        how = {"t": scoring["t"], "draws": scoring["draws"], "seed": noise_seed(0, str(row["head"]))}
        y = reconstruct_volume(diffusion, scan.image, scan.mask, **how)
        maps = _maps(scan, y, scoring, calibration, sigmas)
        return Found(row, scan, y, maps, scoring)

    rows, workers = scans.to_dict("records"), torch.get_num_threads()
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(rows), desc=f"promise of {folder.name}", unit="scan") as bar,
    ):
        for start in range(0, len(rows), workers):  # a few at a time: each holds all its maps
            for found in pool.map(find, rows[start : start + workers]):
                yield found
                bar.update()


def judge(found):
    """Yield a row, a dict, for each method of a `Found`: source, head, contrast, method, and

    marked      share of the brain outside lesions above the threshold that promises PROMISED, post-processed; NaN for
                methods without a threshold in scoring.json
    <region>    the same in the cerebrum, the cerebellum and the brain stem
    residual    mean |x - y| of the brain outside lesions, as a multiple of its value in healthy grown heads
    divergence  of the histograms of x and y there (`divergence`)
    drift       the smooth part of the residual (`drift`), as a multiple of that same value
    level       mean x there
    auprc       average precision; NaN without lesions
    best_dice   Dice at the threshold that suits the scan best: an upper bound, not a result; NaN without lesions
    """
    scan, scoring = found.scan, found.scoring
    tissue, parts, scored = scan.mask & ~scan.seg & ~scan.ignored, regions_of(scan.mask), scan.mask & ~scan.ignored
    x, y = scan.image, found.reconstruction
    off = {"residual": np.abs(x - y)[tissue].mean(dtype=float) / scoring["residual"]}
    off |= {"divergence": divergence(x, y, tissue), "drift": drift(x, y, tissue) / scoring["residual"]}
    off["level"] = x[tissue].mean(dtype=float)
    for method, anomaly in found.maps.items():
        row = {key: found.row[key] for key in KEYS} | {"method": method}
        row |= dict.fromkeys(("marked", *REGIONS), np.nan)
        if method in scoring["thresholds"]:
            above = anomaly > scoring["thresholds"][method][f"{PROMISED:g}"]
            row |= {"marked": above[tissue].mean()} | {name: above[tissue & parts[name]].mean() for name in REGIONS}
        row |= off | {"auprc": np.nan, "best_dice": np.nan}
        if scan.seg.any():
            row["auprc"] = average_precision(anomaly, scan.seg, scored)
            row["best_dice"] = best_dice(anomaly, scan.seg, scored)[0]
        yield row


def divergence(x, y, tissue):
    """How much the intensities of two volumes [H, W, D] differ, regardless of place: 0 (as frequent) to 1 (disjoint).

    The Jensen-Shannon divergence of the two histograms, of BINS bins from 0 to 1, in the bool mask `tissue`; NaN where
    that is empty.
    """
    if not tissue.any():
        return np.nan
    p, q = (np.histogram(volume[tissue], BINS, (0, 1))[0] for volume in (x, y))
    return float(jensenshannon(p, q, base=2) ** 2)


def drift(x, y, tissue):
    """How far two volumes [H, W, D] drift apart over whole regions: the mean of |G (x - y)| in the bool mask `tissue`,
    with G a Gaussian of WIDE voxels within it. Noise and edges, which change sign between voxels, average out."""
    parts = np.stack([(x - y) * tissue, tissue]).astype(np.float32)
    total, weight = blur(torch.from_numpy(parts), WIDE).numpy()
    return float(np.abs(total[tissue] / weight[tissue]).mean(dtype=float))


def _maps(scan, y, scoring, calibration, sigmas):
    """{method: post-processed anomaly map [H, W, D]} of a scan and its reconstruction."""
    x, y, mask = (torch.from_numpy(np.ascontiguousarray(array))[None, None] for array in (scan.image, y, scan.mask))
    maps = {"l1": (x - y).abs() * mask}
    how = {"sigmas": scoring["sigmas"], "temperature": scoring["temperature"], "mask": mask}
    maps |= {"adaptive": ensemble_map(x, y, **how), "calibrated": calibrated_map(x, y, calibration, mask=mask)}
    if scan.seg.any():  # these have no thresholds, and AUPRC and Dice need lesions
        maps["l1 calibrated"] = calibrated_l1(x, y, calibration) * mask
        maps |= {f"ssim {sigma:g}": ensemble_map(x, y, sigmas=[sigma], mask=mask) for sigma in sigmas}
    return {method: postprocess(anomaly[0, 0].numpy(), scan.mask) for method, anomaly in maps.items()}
