"""Your own scan -> where it departs from a healthy brain, on the scan's own grid.

In: one scan (NIfTI, MGZ, a folder of DICOM files), any orientation and voxel size, and a model folder
(weights.safetensors, config.json, scoring.json; calibration.safetensors for the calibrated map). Out: a folder,
complete or not at all, with

    anomaly.nii.gz         float32, the post-processed anomaly map, 0 where nothing was scored
    segmentation.nii.gz    uint8, 1 where it exceeds the threshold, without specks; missing if the scan is too unlike
                           what the model knows (essim.score.doubts)
    reconstruction.nii.gz  float32, the scan as if healthy, in the scan's intensities, 0 outside the brain
    scan.nii.gz            float32, only if the scan came as DICOM files: the image under the maps
    overview.png, viewer.html, finding.json (volumes in ml, threshold, provenance)

The steps are those of the study (paper, section 3), then back. For research, not for diagnosis.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import essim
from essim import calibration, postprocess
from essim.data.grids import check_head
from essim.data.headers import opened
from essim.data.volumes import preprocess, read_volume
from essim.models import find_model, load_model
from essim.prepare import registration
from essim.reconstruct import reconstruct_volume
from essim.runs.files import write_json, writing
from essim.runs.provenance import provenance
from essim.score import page, viewer
from essim.score.doubts import RULES, doubts, measure
from essim.score.native import bring_back, describe, measure_finding, save_like
from essim.score.recipe import Recipe, contrast_in, model_for, name_of, pick_threshold, read_recipe
from essim.score.self_test import self_test

SEGMENTATION, CONVERTED = "segmentation.nii.gz", "scan.nii.gz"  # not in every folder
FILES = {"anomaly.nii.gz", "reconstruction.nii.gz", "overview.png", "viewer.html", "finding.json"}  # in every one


@dataclass(frozen=True)
class Plan:
    """How a scan is scored, checked to fit together: the arguments of `plan_scan`, and `recipe`; `about`, for
    finding.json; `settings` and `inputs`, for its provenance."""

    scan: Path
    model: Path
    mask: str
    template: str | None
    seed: int
    force: bool
    self_test: bool
    recipe: Recipe
    about: dict
    settings: dict
    inputs: list


def score_scan(scan, model, out, *, progress=True, **choices):
    """Score one scan and write the folder `out`; an earlier result of this function there is replaced.

    Args:
        scan, model, and `choices` (mask, contrast, strategy, ...): as in `plan_scan`.
        progress: False shows no progress bar.

    Returns: what finding.json holds, a dict.

    Raises:
        FileNotFoundError, ValueError: a file is missing, damaged or doesn't fit the others, as in `registration.place`;
            a setting contradicts the model. FileExistsError: `out` holds something else. Each is one sentence.
    """
    plan, out = plan_scan(scan, model, **choices), Path(out).resolve()
    scan, recipe, threshold = plan.scan, plan.recipe, plan.about["threshold"]
    source = open_scan(scan)
    check_out(out, [scan, plan.mask])
    diffusion = load_model(plan.model)
    calibrated = plan.about["strategy"] == "calibrated"
    healthy_levels = calibration.load_calibration(plan.model) if calibrated else None

    bar_format = "{desc} ({n_fmt} of {total_fmt} steps done, {elapsed})"
    bar = tqdm(total=3, desc="register", bar_format=bar_format, disable=not progress)
    with writing(out) as folder, bar:
        folder.mkdir()
        template = registration.load_template(plan.template, round(recipe.voxel_mm, 3))
        placed, study = to_study_space(scan, plan.mask, recipe, template)
        bar.update()
        bar.set_description_str("reconstruct and compare")
        scored = partial(compare, diffusion=diffusion, recipe=recipe, healthy_levels=healthy_levels, seed=plan.seed)
        healthy, anomaly = scored(study)
        if plan.self_test:
            bar.set_description_str("self-test")
        tests, untested = _tested(plan, placed, study, anomaly, scored, progress)
        bar.update()
        bar.set_description_str("write")
        volumes, affine = bring_back(scan, placed, study, healthy, anomaly, threshold, template.standard)
        numbers = measure(volumes, affine, placed, template, study, healthy, anomaly, recipe, plan.about)
        finding = measure_finding(volumes, affine, placed.transform.GetInverse()) | plan.about
        finding |= tests | {"brain_mask": placed.drawn_by, "doubts": doubts(numbers, placed.notes) + untested}
        finding["segmentation_written"] = plan.force or not any(doubt["stops"] for doubt in finding["doubts"])
        finding |= {"checks": {name: numbers[name] for name in RULES}, "marked_by_part": numbers["by_part"]}
        finding["provenance"] = provenance(plan.settings, plan.inputs)
        write_results(folder, scan, source, volumes, affine, finding)
        bar.update()
    return finding


# Check


def plan_scan(
    scan,
    model=None,
    *,
    mask="",
    contrast=None,
    strategy="calibrated",
    threshold=None,
    share=0.01,
    template=None,
    seed=0,
    force=False,
    self_test=False,
):
    """The `Plan` of a scan; it reads no file but the model's settings.

    Args:
        scan: path of a 3-D NIfTI or MGZ file, or of a folder with one series of DICOM files.
        model: the model folder, or its name if it comes with essim (anatomies_t1); None: by the scan's contrast.
        mask: path of the brain mask, "nonzero" for a scan that is stripped already, "" to have it stripped
            (`essim.prepare.strip`).
        contrast: of the scan, "t1", "t2" or "flair"; None for the one in its name (..._FLAIR.nii.gz), else the
            model's. A model for another contrast is refused.
        strategy: "calibrated" (`essim.calibrated_map`, ours: it finds more in real patients and keeps what its
            threshold promises) or "adaptive" (`essim.ensemble_map`, the paper's).
        threshold: of the segmentation; None for the model's, above which `share` of the voxels of healthy brains lie.
        template: path of the template that the model's scans were placed on; None for MNI152.
        seed: of the noise.
        force: write a segmentation whatever the doubts (`essim.score.doubts`).
        self_test: plant lesions in the scan and see how many are found (`essim.score.self_test`).

    Raises FileNotFoundError, ValueError: there is no model, it is incomplete, or a setting contradicts it.
    """
    scan, told_by = Path(scan), "the user" if contrast else "its name"
    contrast = contrast or contrast_in(scan)
    model = find_model(model) if model else model_for(contrast, scan)
    recipe = read_recipe(model)
    if contrast not in (None, recipe.contrast):
        text = f"{model}: was trained on {recipe.contrast} scans and can't score {contrast}"
        raise ValueError(f"{text}; take another model, or correct the contrast of {scan}.")
    threshold, share = pick_threshold(recipe, model, strategy, threshold, share)
    kind = {"contrast": recipe.contrast, "strategy": strategy, "threshold": threshold}
    about = kind | {"contrast_told_by": told_by if contrast else "the model", "share": share}
    about |= {"promise": recipe.promise} if recipe.promise and share else {}
    settings = {"scan": scan, "model": model, "mask": mask, **kind, "template": template or "MNI152", "seed": seed}
    settings |= {name: True for name, wanted in (("force", force), ("self_test", self_test)) if wanted}
    names = ["weights.safetensors", "config.json", "scoring.json"]
    names += [calibration.FILE] if strategy == "calibrated" else []
    inputs = [scan, *(model / name for name in names)]
    inputs += [path for path in (mask, template) if path and path != "nonzero"]
    return Plan(scan, model, mask, template, seed, force, self_test, recipe, about, settings, inputs)


def default_out(scan):
    """The folder `essim_<name>` in the working folder; FileExistsError where another scan has its result there."""
    out = Path(f"essim_{name_of(scan)}")
    if (out / "finding.json").is_file():
        other = json.loads((out / "finding.json").read_text(encoding="utf-8"))["provenance"]["parameters"]["scan"]
        if Path(other).resolve() != Path(scan).resolve():
            raise FileExistsError(f"{out}: holds the result of {other}; name another folder with --out.")
    return out


def open_scan(scan):
    """The scan's file as nibabel opens it (for its header), after a check of the header and the voxels."""
    if not scan.exists():
        raise FileNotFoundError(f"{scan}: no such file; check the path of the scan.")
    with opened(scan) as (image, grid):
        check_head(grid)
    read_volume(scan, finite=False)
    return image


def check_out(out, inputs):
    """Raise an error unless `out` can be written: a new folder, an empty one, or an earlier result without inputs."""
    for path in map(Path, filter(None, inputs)):
        if out in path.resolve().parents:
            raise ValueError(f"{path}: lies in {out}, which would be replaced; give another folder.")
        if path.is_dir() and out.is_relative_to(path.resolve()):
            raise ValueError(f"{out}: lies in the folder of the scan, which is only read; give another folder.")
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if names and not ("finding.json" in names and names <= {*FILES, SEGMENTATION, CONVERTED}):
        raise FileExistsError(f"{out}: holds files that are not an earlier result of score; give another folder.")
    nearest = next(path for path in (out, *out.parents) if path.exists())
    if not nearest.is_dir():
        raise FileExistsError(f"{out}: {nearest} is a file, not a folder; give another folder.")
    if not os.access(out.parent if nearest == out else nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"{out}: cannot be written, {nearest} is read-only; give another folder.")


# Place, compare, write


def to_study_space(scan, mask, recipe, template):
    """A scan registered to a `registration.Template`, a `registration.Placed`, and preprocessed, a `volumes.Scan`."""
    placed = registration.place({recipe.contrast: scan}, template, mask=mask)
    no_lesion = np.zeros(placed.mask.shape, np.uint8)  # none is known
    arrays = placed.images[recipe.contrast], placed.mask, no_lesion, placed.affine
    return placed, preprocess(*arrays, recipe.preprocessing, scan)


def compare(study, diffusion, recipe, healthy_levels, seed):
    """A preprocessed scan as if healthy, in [0, 1], and its post-processed anomaly map: both float32 [H, W, D].

    healthy_levels: a `Calibration`, or None for the paper's map.
    """
    noise = {"t": recipe.t, "draws": recipe.draws, "seed": [seed]}
    healthy = reconstruct_volume(diffusion, study.image, study.mask, **noise)
    x, y, brain = (torch.from_numpy(array)[None, None] for array in (study.image, healthy, study.mask))
    if healthy_levels:
        anomaly = essim.calibrated_map(x, y, healthy_levels, mask=brain)
    else:
        anomaly = essim.ensemble_map(x, y, sigmas=recipe.sigmas, temperature=recipe.temperature, mask=brain)
    return healthy, postprocess.postprocess(anomaly[0, 0].numpy(), study.mask)


def _tested(plan, placed, study, anomaly, scored, progress):
    """({"self_test": its rows}, []), or ({}, [a doubt]) if it couldn't be done; ({}, []) if it wasn't asked for."""
    if not plan.self_test:
        return {}, []
    try:
        how = plan.recipe, plan.about["threshold"], plan.seed, progress
        return {"self_test": self_test(placed, study, anomaly, scored, *how)}, []
    except ValueError as error:
        doubt = {"name": "self-test", "number": 0, "usual": "done", "do": "Look at the overview.", "stops": False}
        return {}, [doubt | {"means": f"The self-test could not be done: {error}"}]


def write_results(folder, scan, source, volumes, affine, finding):
    """Write FILES; the maps get the geometry of `source`, the scan as nibabel opened it."""
    names = {f"{name}.nii.gz": name for name in ("anomaly", "reconstruction")}
    names |= {SEGMENTATION: "segmentation"} if finding["segmentation_written"] else {}
    names |= {CONVERTED: "image"} if scan.is_dir() else {}
    with ThreadPoolExecutor() as pool:  # zipping leaves a core to the pictures
        written = [pool.submit(save_like, folder / file, volumes[name], source) for file, name in names.items()]
        written.append(pool.submit(page.write_page, folder / "viewer.html", volumes, affine, finding, scan.name))
        threshold, warning = finding["threshold"], "Not for diagnosis."
        title = f"{scan.name}: {describe(finding)} {warning}"
        beware = [doubt["means"] for doubt in finding["doubts"]]
        figure = viewer.show_overview(volumes, affine, threshold=threshold, title=title, beware=beware)
        figure.savefig(folder / "overview.png", dpi=160, metadata={"Software": None})
    for task in written:
        task.result()
    write_json(folder / "finding.json", finding)
