"""Your own scan -> where it departs from a healthy brain, in the scan's own grid (python -m essim.score).

In: one scan, any orientation and voxel size, and a model folder (weights.safetensors, config.json, scoring.json;
calibration.safetensors for the calibrated strategy).
Out: a folder, whole or not at all, with

    anomaly.nii.gz         float32, the post-processed anomaly map, 0 where nothing was scored
    segmentation.nii.gz    uint8, 1 where it exceeds the threshold, without specks
    reconstruction.nii.gz  float32, the scan as if healthy, in the scan's intensities, 0 outside the brain
    overview.png, viewer.html, finding.json (volumes in ml, threshold, provenance)

The walk is that of the study: place (registration), preprocess (volumes), reconstruct (cases), compare (ensemble),
clean (postprocess); then back through the inverse of the placement. For research, not for diagnosis.
"""

import argparse
import json
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from tqdm import tqdm

import essim
from essim import calibration, postprocess
from essim.data.volumes import preprocess, read_nifti
from essim.evaluation.cases import reconstruct_volume
from essim.models import load_model
from essim.prepare import registration
from essim.runs.files import write_json, writing
from essim.runs.provenance import provenance
from essim.score import viewer
from essim.score.finding import Back, describe, doubts, measure, save_like, without_specks
from essim.settings import Preprocessing

MAPS = ("anomaly", "segmentation", "reconstruction")
FILES = {*(f"{name}.nii.gz" for name in MAPS), "overview.png", "viewer.html", "finding.json"}
STRATEGIES = ("adaptive", "calibrated")  # the paper's, and ours (essim.calibration)


@dataclass(frozen=True)
class Recipe:
    """How a model's scans are placed, preprocessed, reconstructed and scored: its config.json and scoring.json."""

    contrast: str
    voxel_mm: float
    preprocessing: Preprocessing
    t: list
    draws: int
    sigmas: tuple
    temperature: float
    thresholds: dict  # {strategy: {share of healthy voxels above: threshold}}


def score_scan(
    scan, model, out, *, mask="", contrast=None, strategy="adaptive", threshold=None, share=0.01, template=None, seed=0
):
    """Score one scan and write the folder `out`; an earlier result of this function there is replaced.

    Args:
        scan: path of a 3-D NIfTI file. model: the model folder.
        mask: path of the brain mask, "nonzero" for a scan that is stripped already, "" to strip it with HD-BET.
        contrast: None for the model's; another one is refused.
        strategy: "adaptive", or "calibrated" with what the model's healthy scans show (`essim.ensemble_map`).
        threshold: of the segmentation; None for the model's, above which `share` of the voxels of healthy brains lie.
        template: path of the template that the model's scans were placed on; None for MNI152.
        seed: of the noise.

    Returns: what finding.json holds, a dict.

    The map is taken to the scan's grid linearly. The segmentation is that map above the threshold, less the components
    smaller than 8 voxels of the model's grid (64 mm3 at 2 mm). The reconstruction is the network's [0, 1], stretched
    between the 1st and 99th percentile of the scan inside the brain: it can be overlaid on the scan, but its bias
    field is corrected and it is no finer than the model's voxels.

    Raises:
        FileNotFoundError, ValueError: a file is missing, damaged or doesn't fit the others, as in `registration.place`;
            a setting contradicts the model. FileExistsError: `out` holds something else. Each is one sentence.
    """
    scan, model, out = Path(scan), Path(model), Path(out).resolve()
    recipe = read_recipe(model)
    if contrast not in (None, recipe.contrast):
        raise ValueError(f"{model}: was trained on {recipe.contrast} scans and can't score {contrast}; take another.")
    threshold, share = pick_threshold(recipe, model, strategy, threshold, share)
    source = open_scan(scan)
    check_out(out, [scan, mask])
    diffusion, how = load_model(model), {"sigmas": recipe.sigmas, "strategy": strategy}
    inputs = [scan, *(model / name for name in ("weights.safetensors", "config.json", "scoring.json"))]
    if strategy == "calibrated":
        how |= {"calibration": calibration.load_calibration(model)}
        inputs += [model / calibration.FILE]
    else:
        how |= {"temperature": recipe.temperature}
    settings = {"scan": scan, "model": model, "mask": mask, "contrast": recipe.contrast}
    settings |= {"strategy": strategy, "threshold": threshold, "template": template or "MNI152", "seed": seed}
    inputs += [path for path in (mask, template) if path and path != "nonzero"]

    line = {"desc": "register", "bar_format": "{desc} ({n_fmt} of {total_fmt} steps done, {elapsed})"}
    with writing(out) as folder, tqdm(total=3, **line) as bar:
        folder.mkdir()
        template = registration.load_template(template, recipe.voxel_mm)
        placed = registration.place({recipe.contrast: scan}, template, mask=mask)
        nothing = np.zeros(placed.mask.shape, np.uint8)  # is known to be ill
        arrays = (placed.images[recipe.contrast], placed.mask, nothing, placed.affine)
        study = preprocess(*arrays, recipe.preprocessing, scan)
        bar.update()
        bar.set_description_str("reconstruct and compare")
        healthy, clean = compare(study, diffusion, recipe, how, seed)
        bar.update()
        bar.set_description_str("write")
        image, affine = read_nifti(scan, finite=False)
        image = np.nan_to_num(image.astype(np.float32), posinf=0, neginf=0)
        back = Back(image, affine, placed.transforms[recipe.contrast])
        brain = back.bring(placed.mask, placed.affine) > 0
        scored = back.bring(postprocess.erode_slices(study.mask), study.affine) > 0
        if not scored.any():
            raise ValueError(f"{scan}: no brain is left to score once placed, cut and eroded; look at the scan's mask.")
        anomaly = back.bring(clean, study.affine)
        segmentation = without_specks(anomaly > threshold, affine, study.affine)
        seen, (low, high) = back.bring(study.mask, study.affine) > 0, np.percentile(image[brain], (1, 99))
        reconstruction = np.where(seen, low + (high - low) * back.bring(healthy, study.affine), 0).astype(np.float32)

        finding = measure(segmentation, anomaly, brain, scored, affine)
        finding |= {"contrast": recipe.contrast, "strategy": strategy, "threshold": threshold, "share": share}
        finding["template_overlap"] = round(placed.dice, 3)
        finding |= {"doubts": doubts(finding), "provenance": provenance(settings, inputs)}
        for name, array in zip(MAPS, (anomaly, segmentation, reconstruction), strict=True):
            save_like(folder / f"{name}.nii.gz", array, source)
        shown, warning = {"brain": brain, "affine": affine, "threshold": threshold}, "Not for diagnosis."
        title = f"{scan.name}: {describe(finding)} {warning}"
        figure = viewer.overview(image, reconstruction, anomaly, segmentation, title=title, **shown)
        figure.savefig(folder / "overview.png", dpi=160, metadata={"Software": None})
        viewer.viewer(image, anomaly, title=warning, **shown).save_as_html(folder / "viewer.html")
        write_json(folder / "finding.json", finding)
        bar.update()
    return finding


def read_recipe(model):
    """The `Recipe` of a model folder; FileNotFoundError or ValueError says what is missing and how to get it."""
    config = _read_json(model / "config.json", "train the model first (notebook 02_train)")
    scoring = _read_json(model / "scoring.json", "it holds the thresholds; notebook 03_healthy writes it")
    for found, name, keys in (
        (config, "config.json", ("contrast", "voxel_mm", "preprocessing")),
        (scoring, "scoring.json", ("t", "draws", "sigmas", "temperature", "thresholds")),
    ):
        if lacking := [key for key in keys if key not in found]:
            raise ValueError(f"{model / name}: lacks {', '.join(lacking)}; train the model again with this version.")
    try:
        thresholds = {
            strategy: {float(key): float(value) for key, value in scoring["thresholds"][strategy].items()}
            for strategy in STRATEGIES
        }
    except (KeyError, TypeError) as error:
        both = ", ".join(STRATEGIES)
        raise ValueError(f"{model / 'scoring.json'}: lacks thresholds of {both}; run notebook 03_healthy.") from error
    return Recipe(
        config["contrast"],
        round(config["voxel_mm"], 3),
        Preprocessing(**config["preprocessing"]),
        scoring["t"],
        scoring["draws"],
        tuple(scoring["sigmas"]),
        scoring["temperature"],
        thresholds,
    )


def _read_json(path, way_out):
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {way_out}.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error}); fetch or make it again.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: holds no settings; fetch or make it again.")
    return found


def pick_threshold(recipe, model, strategy, threshold, share):
    """(threshold, None) if one is given, else (the model's for this strategy and share of healthy voxels, share)."""
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be {' or '.join(STRATEGIES)}, got {strategy!r}.")
    if threshold is not None:
        if not (math.isfinite(threshold) and threshold > 0):
            raise ValueError(f"threshold must be a number above 0, got {threshold}.")
        return float(threshold), None
    known = recipe.thresholds[strategy]
    if share not in known:
        known = ", ".join(f"{key:g}" for key in known) or "none"
        raise ValueError(f"{model}: has no threshold for share {share:g}, only for {known}; or give a threshold.")
    return known[share], share


def open_scan(scan):
    """The scan's file as nibabel opens it (for its header), once `read_nifti` found nothing wrong with it."""
    if scan.is_dir():
        raise ValueError(f"{scan}: is a folder; give one NIfTI file (dcm2niix makes one of a folder of DICOM files).")
    if not scan.exists():
        raise FileNotFoundError(f"{scan}: no such file; check the path of the scan.")
    read_nifti(scan, finite=False)
    return nib.load(scan)


def check_out(out, inputs):
    """Raise a sentence unless `out` can be written: a new folder, an empty one, or an earlier result without inputs."""
    for path in inputs:
        if out in Path(path).resolve().parents:
            raise ValueError(f"{path}: lies in {out}, which would be replaced; give another folder.")
    if out.is_dir():
        there = {path.name for path in out.iterdir()}
        if there and not ("finding.json" in there and there <= FILES):
            raise FileExistsError(f"{out}: holds files that are no earlier result of score; give another folder.")
    nearest = next(path for path in (out, *out.parents) if path.exists())
    if not nearest.is_dir():
        raise FileExistsError(f"{out}: {nearest} is a file, not a folder; give another folder.")
    if not os.access(out.parent if nearest == out else nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"{out}: cannot be written, {nearest} is read-only; give another folder.")


def compare(study, diffusion, recipe, how, seed):
    """A preprocessed scan as if healthy, in [0, 1], and its post-processed anomaly map: both float32 [H, W, D].

    how: options of `essim.ensemble_map`.
    """
    noise = {"t": recipe.t, "draws": recipe.draws, "seed": [seed]}
    healthy = reconstruct_volume(diffusion, study.image, study.mask, **noise)
    x, y, inside = (torch.from_numpy(a)[None, None] for a in (study.image, healthy, study.mask))
    anomaly = essim.ensemble_map(x, y, mask=inside, **how)
    return healthy, postprocess.postprocess(anomaly[0, 0].numpy(), study.mask)


def main(arguments=None):
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser("python -m essim.score", description=__doc__.split("\n\n")[0])
    parser.add_argument("scan", help="your scan: a 3-D NIfTI file, any orientation and voxel size")
    parser.add_argument("--model", required=True, help="model folder, for instance models/laptop_t2")
    parser.add_argument("--out", required=True, help="folder to write; an earlier result there is replaced")
    parser.add_argument("--mask", default="", help='brain mask, or "nonzero" if stripped already; default: HD-BET')
    parser.add_argument("--contrast", choices=("t1", "t2"), help="of the scan; default: the model's")
    ours = "the paper's ensemble (default), or ours, calibrated on healthy scans"
    parser.add_argument("--strategy", choices=STRATEGIES, default="adaptive", help=ours)
    parser.add_argument("--share", type=float, default=0.01, help="of healthy voxels above the threshold (0.01)")
    parser.add_argument("--threshold", type=float, help="a threshold of your own, instead")
    parser.add_argument("--template", help="template that the model's scans lie on, if it isn't MNI152")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default 0)")
    options = vars(parser.parse_args(arguments))
    scan, model, out = (options.pop(name) for name in ("scan", "model", "out"))
    try:
        finding = score_scan(scan, model, out, **options)
    except (OSError, ValueError) as error:
        reason = f"{error.filename}: {error.strerror}." if getattr(error, "strerror", None) else error
        sys.stderr.write(f"{reason}\n")
        return 1
    sys.stdout.write(f"{scan}: {describe(finding)}\n")
    for doubt in finding["doubts"]:
        sys.stdout.write(f"Beware: {doubt}\n")
    sys.stdout.write(f"{out}: open viewer.html; all files are there. Not for diagnosis.\n")
    return 0
