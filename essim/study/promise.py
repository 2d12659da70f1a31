"""The promise: on heads that no network has seen, does a threshold mark the share of healthy tissue that it promises?

In: scans in study space, with lesion masks where there are lesions, and a model folder with its calibration and
thresholds. Out: a row a scan and method: what is marked, where, how far the reconstruction strays, what is found. Not
in the paper.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from essim.calibration import calibrated_map, load_calibration
from essim.data.volumes import load_scan
from essim.ensemble import ensemble_map
from essim.evaluation.metrics import average_precision
from essim.models import load_model
from essim.postprocess import postprocess
from essim.reconstruct import noise_seed, reconstruct_volume
from essim.settings import Preprocessing
from essim.study.realism import KEYS, REGIONS, regions_of

PROMISED = 0.01


def measure_promise(scans, folder):
    """What the network of a model folder makes of scans of its contrast.

    Args:
        scans: a DataFrame with the columns of a scan table that `load_scan` reads, and KEYS of `realism`: source, head,
            contrast. folder: the model folder, with scoring.json and calibration.safetensors (notebook 03_healthy).

    Returns: a DataFrame, one row a scan and method (l1, adaptive, calibrated), with the columns source, head, contrast,
        method, and
        marked      share of the brain outside lesions above the threshold that promises PROMISED, post-processed
        <region>    the same in the cerebrum, the cerebellum and the brain stem
        residual    mean |x - y| of the brain outside lesions, as a multiple of that of healthy grown heads
        auprc       average precision; NaN without lesions

    Raises FileNotFoundError and ValueError as `load_model`, `load_calibration` and `load_scan`; ValueError where the
    folder's scoring.json is an older one.
    """
    folder, device = Path(folder), torch.device("cpu")
    diffusion, calibration = load_model(folder, device), load_calibration(folder)
    preprocessing = Preprocessing(**json.loads((folder / "config.json").read_text())["preprocessing"])
    scoring, rows = json.loads((folder / "scoring.json").read_text()), []
    if "residual" not in scoring or "l1" not in scoring["thresholds"]:
        raise ValueError(f"{folder / 'scoring.json'}: lacks the residual or the threshold of l1; run 03_healthy again.")
    for row in tqdm(scans.to_dict("records"), desc=f"promise of {folder.name}", unit="scan"):
        scan = load_scan(row, preprocessing)
        how = {"t": scoring["t"], "draws": scoring["draws"], "seed": noise_seed(0, str(row["head"]))}
        y = reconstruct_volume(diffusion, scan.image, scan.mask, **how)
        tissue, parts = scan.mask & ~scan.seg & ~scan.ignored, regions_of(scan.mask)
        found = {"residual": np.abs(scan.image - y)[tissue].mean(dtype=float) / scoring["residual"]}
        for method, anomaly in maps_of(scan, y, scoring, calibration).items():
            above = anomaly > scoring["thresholds"][method][f"{PROMISED:g}"]
            shares = {"marked": above[tissue].mean()} | {name: above[tissue & parts[name]].mean() for name in REGIONS}
            auprc = average_precision(anomaly, scan.seg, scan.mask & ~scan.ignored) if scan.seg.any() else np.nan
            rows.append({key: row[key] for key in KEYS} | {"method": method} | shares | found | {"auprc": auprc})
    return pd.DataFrame(rows)


def maps_of(scan, y, scoring, calibration, singles=()):
    """{method: post-processed anomaly map [H, W, D]} of a `Scan` and its reconstruction, with a model folder's scoring
    and calibration; `singles` are windows, in voxels, each of which has a map of its own, `ssim <sigma>`."""
    x, y, mask = (torch.from_numpy(np.ascontiguousarray(array))[None, None] for array in (scan.image, y, scan.mask))
    how = {"sigmas": scoring["sigmas"], "temperature": scoring["temperature"], "mask": mask}
    maps = {"l1": (x - y).abs() * mask}
    maps |= {f"ssim {sigma:g}": ensemble_map(x, y, sigmas=[sigma], mask=mask) for sigma in singles}
    maps |= {"adaptive": ensemble_map(x, y, **how), "calibrated": calibrated_map(x, y, calibration, mask=mask)}
    return {method: postprocess(anomaly[0, 0].numpy(), scan.mask) for method, anomaly in maps.items()}
