"""Scanners moved step by step away from those that a network was trained on, and every score at each step.

In: sets of grown patients, each imaged by scanners that differ in one property (AXES), and a trained network. Out: a
table, one row per patient, scanner, network and score. What follows from it: shift_law. The paper (section 4) finds
SSIM ahead of l1 on real scans; here the question is when that is so.

An amount of 0 is the training scanner itself, 1 the far end of an axis:

    contrast     protocols, from the site's to that of FAR: T2w with more proton-density weighting, T1w with little
                 contrast
    brighter     gamma, from 1 to 1/2: dark tissue rises
    darker       gamma, from 1 to 2
    bias field   8 times the standard deviation
    blur         another point spread on top, with a standard deviation of 3 mm
    noise        6 times as much
    slices       8 mm thick

The network is queried in three ways (NETWORKS): given the scan's tone; given the tone of the training scans, so that it
reconstructs the scan in their contrast, like a network trained on that contrast alone; and the same again, with the
tone of the reconstruction then matched to the scan's.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from essim.calibration import calibrated_map, load_calibration
from essim.cohort import lesions, mni, scanner
from essim.cohort.generate import SETS, describe
from essim.data.volumes import preprocess
from essim.ensemble import ensemble_map, l1_map
from essim.evaluation.cases import case_rows, read_case
from essim.evaluation.metrics import average_precision
from essim.models import load_model
from essim.postprocess import postprocess
from essim.reconstruct import reconstruct_volume
from essim.settings import Preprocessing
from essim.ssim import check_pair
from essim.study.promise import divergence, drift
from essim.study.teaching import ssim_factors
from essim.tone import tone_of

AXES = {  # what an amount of 1 means, briefly
    "contrast": "1: another protocol",
    "brighter": "1: gamma 1/2",
    "darker": "1: gamma 2",
    "bias field": "1: 8 times",
    "blur": "1: 3 mm more",
    "noise": "1: 6 times",
    "slices": "1: 8 mm",
}
FAR = {"t1": {"tr": 4000, "ti": 2500, "flip": 9}, "t2": {"tr": 2500, "te": 40}, "flair": {"te": 60, "ti": 1800}}
GAMMA = {"brighter": 1 / 2, "darker": 2}
TOLD, UNTOLD, MATCHED = NETWORKS = ("told", "untold", "matched")
POSTS = {"median": "median 5", "smooth": "gauss 1"}  # the protocol's, and a Gaussian of one voxel instead of the median


# A scanner, a patient


def move(site, axis, amount):
    """The `scanner.Site` moved along an axis of AXES; gamma isn't part of the site, which it leaves unchanged."""
    changes = {
        "contrast": {name: _between(getattr(site, name), far, amount) for name, far in FAR.items()},
        "bias field": {"bias": site.bias * 8**amount},
        "blur": {"blur": np.hypot(site.blur, 3 * amount)},
        "noise": {"noise": site.noise * 6**amount},
        "slices": {"slice_mm": {name: max(mm, mm + (8 - mm) * amount) for name, mm in site.slice_mm.items()}},
    }
    return replace(site, **changes.get(axis, {}))


def _between(near, far, amount):
    """A protocol between two others, each value interpolated geometrically."""
    return {name: value * (far.get(name, value) / value) ** amount for name, value in near.items()}


class Patient:
    """One person of a set, whom any scanner can image.

    `config`: a `CohortConfig`. Its seed gives patients of the same kinds and ages as its cohort's, but different ones.
    """

    def __init__(self, config, dataset, index):
        self.person = describe(replace(config, domain_shift=False), dataset, index)
        self.key = [config.seed, SETS.index(dataset), index]
        rng = np.random.default_rng([*self.key, 101])
        self.grown = lesions.draw_patient(dataset, rng, config.voxel_mm, self.person["age"])

    def scan(self, contrast, preprocessing, axis, amount):
        """The `Scan` by a training site, moved: noise, shading and tissue are the same for every axis and amount."""
        site = move(scanner.SITES[self.person["site"]], axis, amount)
        rng, head = np.random.default_rng([*self.key, 102]), self.grown.head
        volume = scanner.acquire(rng, head, site, contrast, self.grown.lesion).astype(np.float32)
        place = head.mask, self.grown.mask.astype(np.uint8), mni.affine_of(head.voxel_mm)
        scan = preprocess(volume, *place, preprocessing, self.person["subject"])
        return replace(scan, image=scan.image ** np.float32(GAMMA.get(axis, 1) ** amount))


# A network, queried in three ways


def reconstruct(diffusion, scan, known, *, t, draws, seed):
    """{network of NETWORKS: reconstruction [H, W, D]} of a `Scan`; `known` is the tone of the training scans.

    A network that can't be told the tone has no TOLD.
    """

    ask = partial(reconstruct_volume, diffusion, scan.image, scan.mask, t=t, draws=draws, seed=seed)
    found = {TOLD: ask()} if diffusion.tones else {}
    found[UNTOLD] = ask(tone=known)
    return found | {MATCHED: match_tone(scan.image, found[UNTOLD], scan.mask)}


def match_tone(x, y, mask):
    """The reconstruction y [H, W, D] through the rising curve that maps the quantiles of its brain to those of x."""
    shares, result = np.linspace(0, 1, 257), np.zeros_like(y)
    result[mask] = np.interp(y[mask], np.quantile(y[mask], shares), np.quantile(x[mask], shares))
    return result


# Scores


def anomaly_maps(x, y, mask, calibration, *, sigmas, temperature, windows, factors_at):
    """{method: tensor [1, 1, H, W, D]}: l1, `ssim <sigma>` of the windows, adaptive, calibrated, and 1 minus each of
    SSIM's two factors at one sigma, luminance and structure (contrast and structure together)."""
    data_range = check_pair(x, y, [factors_at], None)
    maps = {"l1": l1_map(x, y)} | {f"ssim {s:g}": ensemble_map(x, y, sigmas=[s], mask=mask) for s in windows}
    maps["adaptive"] = ensemble_map(x, y, sigmas=sigmas, temperature=temperature, mask=mask)
    maps["calibrated"] = calibrated_map(x, y, calibration, mask=mask)
    factors = ssim_factors(x, y, factors_at, data_range.item())
    return maps | {"luminance": 1 - factors["luminance"], "structure": 1 - factors["contrast"] * factors["structure"]}


def clean(maps, mask):
    """Yield (method, post of POSTS, float32 [H, W, D]) of tensors [1, 1, H, W, D], post-processed in both ways."""
    volumes = np.stack([anomaly[0, 0].float().numpy() for anomaly in maps.values()])
    for name, post in POSTS.items():
        for method, anomaly in zip(maps, postprocess(volumes, mask, post=post), strict=True):
            yield method, name, anomaly


# Everything together


def conditions(steps):
    """[(axis, amount)]: the training scanner itself, with axis "", then `steps` even steps along each axis."""
    return [("", 0.0)] + [(axis, step / steps) for axis in AXES for step in range(1, steps + 1)]


def known_tone(folder):
    """The tone of the training scans: the mean over the healthy validation scans in a folder of reconstructions."""
    cases = [read_case(folder, row) for row in case_rows(folder, "val")]
    return np.mean([tone_of(case.image, case.mask) for case in cases], 0)


def measure(config, dataset, contrast, folder, known, *, patients, steps, t, draws, seed, **how):
    """Every score of every patient under every scanner.

    Args: config: a `CohortConfig`. dataset: a set of patients, by name. folder: the model folder of its contrast, with
        scoring.json and calibration.safetensors. known: as in `reconstruct`. patients: how many. steps: of each axis.
        t, draws: of `GaussianDiffusion.reconstruct`. seed: of its noise. how: of `anomaly_maps`.

    Returns: a DataFrame, one row per patient, scanner, network, method and post: dataset, subject, axis ("" where
        nothing is moved), amount, network, residual (mean |x - y| of healthy tissue, as a multiple of its value in
        healthy controls), divergence, drift (of `promise`, the latter as a multiple of that same value), level (mean x
        there), method, post, auprc.

    Raises FileNotFoundError and ValueError as `load_model` and `load_calibration`.
    """
    diffusion, calibration, folder = load_model(folder), load_calibration(folder), Path(folder)
    preprocessing = Preprocessing(**json.loads((folder / "config.json").read_text())["preprocessing"])
    healthy = json.loads((folder / "scoring.json").read_text())["residual"]

    def rows(place):
        patient, (axis, amount) = place
        scan = patient.scan(contrast, preprocessing, axis, amount)
        about = {"dataset": dataset, "subject": patient.person["subject"], "axis": axis, "amount": amount}
        tissue, found = scan.mask & ~scan.seg, []
        ask = {"t": t, "draws": draws, "seed": [seed, *patient.key, 103]}
        for network, y in reconstruct(diffusion, scan, known, **ask).items():
            residual = float(np.abs(scan.image - y)[tissue].mean(dtype=float) / healthy)
            own = about | {"network": network, "residual": residual, "divergence": divergence(scan.image, y, tissue)}
            own |= {"drift": drift(scan.image, y, tissue) / healthy, "level": float(scan.image[tissue].mean())}
            tensors = (torch.from_numpy(np.ascontiguousarray(part))[None, None] for part in (scan.image, y, scan.mask))
            for method, post, anomaly in clean(anomaly_maps(*tensors, calibration, **how), scan.mask):
                auprc = average_precision(anomaly, scan.seg, scan.mask)
                found.append(own | {"method": method, "post": post, "auprc": auprc})
        return found

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        people = list(pool.map(lambda index: Patient(config, dataset, index), range(patients)))
        places = [(patient, condition) for patient in people for condition in conditions(steps)]
        found = list(tqdm(pool.map(rows, places), total=len(places), desc=f"shifts, {dataset}", unit="scan"))
    return pd.DataFrame([row for own in found for row in own])
