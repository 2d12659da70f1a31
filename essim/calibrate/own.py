"""From a user's few healthy scans to a model folder with thresholds, and perhaps a calibration, of its own.

In: a folder or a table of healthy scans, as `essim.prepare` takes them, or a prepared folder; a model folder. Out: a
model folder with the same network, and

    scoring.json               the new thresholds, what they promise (essim.calibrate.conformal), provenance
    calibration.safetensors    from these scans, if there are ENOUGH and it makes them more alike, else the model's

Beside it lies <out>_scans, with the scans in study space (prepared/qc.html: look at it) and their reconstructions. It
can be deleted; all that the model folder holds of the scans is numbers and paths.
"""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np

from essim.calibrate.conformal import bound_of, conformal_threshold, own_threshold, promise_of
from essim.calibration import FILE, calibrated_map, load_calibration
from essim.data.datasets import load_scans
from essim.data.prepared import is_prepared
from essim.data.splits import people_of
from essim.ensemble import ensemble_map
from essim.evaluation.cases import for_each, reconstruct_set
from essim.evaluation.healthy import fit_calibration, healthy_looks
from essim.evaluation.scoring import clean_maps
from essim.models import find_model, load_model
from essim.prepare.folder import prepare
from essim.runs.files import write_json, writing
from essim.runs.provenance import provenance
from essim.score.recipe import read_recipe

ENOUGH = 8  # scans for a calibration of their own, which needs a mean and a deviation at every place
NETWORK = ("weights.safetensors", "config.json", "log.csv")  # the last one may be missing


def calibrate(healthy, model, out, *, jobs=1, template=None, seed=0):
    """Write the model folder `out`; an earlier result of this function there is replaced.

    Args:
        healthy: a folder of data sets as downloaded (BIDS, ...), a user's own table, or a prepared folder. Of its
            healthy scans of the model's contrast one per person is used.
        model: a model folder, or its name if it comes with essim (anatomies_t1).
        jobs: how many scans are brought to study space at once. template: as in `score_scan`. seed: of the noise.

    Returns: a dict: `scans`, how many; `left_out`, (dataset, subject, reason) of those that failed; `thresholds`
        {method: {share: threshold}} for the model's shares; `bound`, the probability that they promise; `promise`, a
        sentence; `own_calibration`, whether it was made from these scans.

    Raises FileNotFoundError, ValueError: as `prepare` and `load_model`; there are fewer than 2 scans; they lie on
        another grid than the model's. FileExistsError: `out` holds something else.
    """
    healthy, model, out = Path(healthy), find_model(model), Path(out)
    recipe = read_recipe(model)
    _check_out(out, model)
    work = out.with_name(f"{out.name}_scans")
    scans, left_out = healthy_scans(healthy, recipe, work / "prepared", jobs=jobs, template=template)
    folder, how = work / "reconstructions", {"t": recipe.t, "draws": recipe.draws, "seed": seed}
    reconstruct_set(load_model(model), scans.assign(split="val"), recipe.preprocessing, folder, **how)
    levels, own = scan_thresholds(folder, recipe, load_calibration(model), {}), None
    enough = len(scans) >= ENOUGH
    if enough:
        calibration, without = fit_calibration(folder, recipe.sigmas)
        others = scan_thresholds(folder, recipe, calibration, without)
        if price_of(levels) > price_of(others):
            own, levels = calibration, others
    thresholds = {m: {s: conformal_threshold([scan[m][s] for scan in levels]) for s in levels[0][m]} for m in levels[0]}
    about = {"healthy": healthy, "model": model, "template": template or "MNI152", "seed": seed}
    inputs = [model / name for name in ("weights.safetensors", "config.json", "scoring.json", FILE)]
    record = provenance(about, [*inputs, *scans.image, *scans["mask"]])
    result = {"bound": bound_of(len(scans)), "promise": promise_of(len(scans), nearly=enough)}
    result |= {"own_calibration": own is not None}
    scoring = json.loads((model / "scoring.json").read_text(encoding="utf-8"))
    scoring |= {"healthy_scans": len(scans)} | healthy_looks(folder) | result
    scoring |= {"thresholds": {m: {f"{s:g}": t for s, t in own.items()} for m, own in thresholds.items()}}
    with writing(out) as temporary:
        temporary.mkdir()
        for name in NETWORK:
            if (model / name).is_file():
                shutil.copyfile(model / name, temporary / name)
        own.save(temporary / FILE, record) if own else shutil.copyfile(model / FILE, temporary / FILE)
        write_json(temporary / "scoring.json", scoring | {"provenance": record})
    return result | {"scans": len(scans), "left_out": left_out, "thresholds": thresholds}


def healthy_scans(healthy, recipe, prepared, *, jobs, template):
    """(The scan table, one row a person, in study space; (dataset, subject, reason) of those that failed).

    Raw scans are brought to the folder `prepared`, as `prepare` does; what is there and up to date stays.
    """
    left_out = []
    if not is_prepared(healthy):
        placed, left_out = prepare(healthy, prepared, voxel_mm=recipe.voxel_mm, jobs=jobs, template=template)
        if not placed:
            raise ValueError(f"{healthy}: no scan could be brought to study space; {prepared / 'failed.csv'} says why.")
    scans = load_scans(healthy if is_prepared(healthy) else prepared)
    scans = scans[(scans.dataset == "healthy") & (scans.contrast == recipe.contrast)]
    scans = scans[~people_of(scans).duplicated()].reset_index(drop=True)
    if len(scans) < 2:
        text = f"{healthy}: has {len(scans)} healthy people with a {recipe.contrast} scan that can be used"
        raise ValueError(f"{text}; a threshold needs 2 or more.")
    for path in scans.image:
        sides_mm = nib.affines.voxel_sizes(nib.load(path).affine)
        if not np.allclose(sides_mm, recipe.voxel_mm, atol=0.01):
            text = f"{path}: has voxels of {sides_mm.max():g} mm, the model works at {recipe.voxel_mm:g} mm"
            raise ValueError(f"{text}; give the raw scans, or prepare them with --voxel {recipe.voxel_mm:g}.")
    return scans, left_out


def scan_thresholds(folder, recipe, calibration, without):
    """The thresholds of each reconstructed scan alone, for the model's shares: a list of {method: {share: float}}.

    without: {subject: the calibration that has not seen it}; the others are measured against `calibration`.
    """
    shares = sorted({share for by_share in recipe.thresholds.values() for share in by_share})

    def scorer(case):
        x, y, mask = case.tensors()
        how = {"sigmas": recipe.sigmas, "temperature": recipe.temperature, "mask": mask}
        ours = calibrated_map(x, y, without.get(case.subject, calibration), mask=mask)
        return {"l1": (x - y).abs() * mask, "adaptive": ensemble_map(x, y, **how), "calibrated": ours}

    def judge(case):
        maps = clean_maps(case, scorer)
        return {m: {s: own_threshold(anomaly, case.mask, s) for s in shares} for m, anomaly in maps.items()}

    return for_each(folder, "val", judge, "thresholds")


def price_of(levels):
    """What a promise costs in sensitivity: the calibrated map's threshold for all scans over the median scan's, for the
    smallest share. The more alike healthy scans are, the nearer it is to 1."""
    own = [min(scan["calibrated"].items())[1] for scan in levels]
    return conformal_threshold(own) / max(float(np.median(own)), 1e-9)


def _check_out(out, model):
    """Refuse a folder that is the model's, or holds anything but an earlier result."""
    if out.resolve() == model.resolve():
        raise ValueError(f"{out}: is the model's folder, which is only read; give another one.")
    if not out.exists():
        return
    names = {path.name for path in out.iterdir()} if out.is_dir() else None
    earlier = names and names <= {*NETWORK, FILE, "scoring.json"} and "scoring.json" in names
    if names != set() and not (earlier and "promise" in json.loads((out / "scoring.json").read_text("utf-8"))):
        raise FileExistsError(f"{out}: holds something other than an earlier result of calibrate; give another folder.")
