"""Transplants: lesions of real patients in the heads of real healthy controls, a test set that is half real.

In: healthy scans in study space, and a folder of lesion masks in MNI space. Out: a folder of scans with their ground
truth and table, which `essim.load_scans` reads like any other. Not in the paper.

A lesion's place and shape and the head around it are real; its intensities follow from the relaxation times of the
cohort's lesions and the signal equation of a scanner (`essim.cohort.planting`). Nothing around it has changed: no mass
effect, no atrophy, no wider ventricles.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from nibabel.affines import apply_affine
from scipy import ndimage
from tqdm import tqdm

from essim.cohort import mni
from essim.cohort.planting import KINDS, plant
from essim.data.volumes import read_labels, read_scan, save_nifti
from essim.evaluation.cases import widest_slice
from essim.runs.files import writing

# One patient


def read_lesion(path, voxel_mm):
    """A lesion mask in MNI space as its share of each voxel of the study grid: float32 [H, W, D] in [0, 1].

    `voxel_mm` is 1, 2 or 4. Raises FileNotFoundError and ValueError as `read_labels`, ValueError where it is empty.
    """
    labels, grid = read_labels(path)
    lesion, shape = (labels > 0).astype(np.float32), np.array(mni.shape_of(1))
    if not lesion.any():
        raise ValueError(f"{path}: the lesion mask is empty; leave it out.")
    # Only the box around the lesion is resampled, with the neighbouring voxel that interpolation reaches
    place = np.linalg.inv(mni.affine_of(1)) @ grid.affine
    ends, reach = apply_affine(place, np.argwhere(lesion)), np.abs(place[:3, :3]).sum(1)
    low = np.floor(ends.min(0) - reach).clip(0, shape - 1).astype(int)
    high = np.ceil(ends.max(0) + reach + 1).clip(1, shape).astype(int)
    back, fine, box = np.linalg.inv(place), np.zeros(shape, np.float32), tuple(map(slice, low, high))
    fine[box] = ndimage.affine_transform(lesion, back[:3, :3], apply_affine(back, low), tuple(high - low), order=1)
    sides = [part for side in mni.shape_of(voxel_mm) for part in (side, voxel_mm)]
    return fine.reshape(sides).mean((1, 3, 5))


def transplant(image, brain, lesion, kind, contrast, rng):
    """A healthy head with somebody else's lesion, on its own side or mirrored: arguments, result and errors of
    `planting.plant`; `rng` also draws the side."""
    share = np.asarray(lesion, np.float32)
    share = share[::-1] if rng.random() < 0.5 else share  # the middle of the grid is that of the head
    return plant(image, brain, share, kind, contrast, rng)


# A test set


def find_masks(folder):
    """The lesion masks (NIfTI) in a folder, a sorted list of paths; FileNotFoundError where there are none."""
    files = sorted(Path(folder).glob("*.nii*"))
    if not files:
        raise FileNotFoundError(f"{folder}: has no NIfTI files; give the folder of the masks.")
    return files


def make_transplants(scans, masks, kind, out, patients, seed):
    """Write a test set of `patients` half-real patients into the folder `out`, completely or not at all.

    Args: scans: rows of a scan table, healthy, one contrast, in study space. masks: paths of lesion masks in MNI space,
        each another patient's. kind: as in `transplant`, and the name of the set.

    Heads and masks are dealt out like cards, each pack reshuffled when it is used up: patient i is a function of
    (seed, i), however many there are.

    Returns: the scan table of `out` (also its scans.csv, with relative paths): the columns of a user's own table, with
        the head as `person`, plus `lesion`, the name of the mask, and `ignore`.

    Raises FileNotFoundError where files are missing; ValueError as `transplant`, naming the files.
    """
    out = Path(out)
    if not len(scans) or scans.subject.duplicated().any():
        raise ValueError("scans: each healthy subject must occur once; keep one contrast of the table.")
    heads, numbers = scans.to_dict("records"), tqdm(range(patients), desc=f"transplants, {kind}", unit="patient")
    with writing(out) as folder:
        folder.mkdir()
        rows = [_write(folder, heads, masks, kind, seed, number) for number in numbers]
        pd.DataFrame(rows).to_csv(folder / "scans.csv", index=False)
    table = pd.read_csv(out / "scans.csv", keep_default_na=False, dtype={"subject": str, "person": str})
    return table.assign(**{role: [str(out / path) for path in table[role]] for role in ("image", "mask", "seg")})


def _write(folder, heads, masks, kind, seed, number):
    """Make one patient; returns its row, with paths relative to `folder`."""
    head, file = (pack[_dealt(seed, i, number, len(pack))] for i, pack in enumerate((heads, masks)))
    image, brain, _, affine = read_scan(head)
    voxel_mm = round(affine[0, 0])
    if voxel_mm not in (1, 2, 4) or not np.allclose(affine, mni.affine_of(voxel_mm), atol=1e-3):
        raise ValueError(f"{head['image']}: isn't on the study grid; bring it there (python -m essim.prepare).")
    lesion, rng = read_lesion(file, voxel_mm), np.random.default_rng([seed, KINDS.index(kind), number])
    try:
        image, truth = transplant(image, brain, lesion, kind, head["contrast"], rng)
    except ValueError as error:
        raise ValueError(f"{file} in {head['image']}: {error}") from error
    name = f"{kind}{number:04d}"
    paths = {role: f"{name}_{role}.nii.gz" for role in ("image", "mask", "seg")}
    for path, array in zip(paths.values(), (image, brain, truth), strict=True):
        save_nifti(folder / path, array, affine)
    about = {"dataset": kind, "subject": name, "split": "test", "contrast": head["contrast"]}
    known = {key: head.get(key, "") for key in ("age", "sex", "site")}
    return about | paths | known | {"person": head["subject"], "lesion": file.name, "ignore": ""}


def _dealt(seed, pack, number, count):
    """Which of `count` cards of a pack the patient of this number gets."""
    return np.random.default_rng([seed, pack, number // count]).permutation(count)[number % count]


def look_at(row, scans):
    """One head before and after, for a row of `make_transplants` made from `scans`: (before, after, ground truth), the
    slices [H, W] that show most of the lesion, both scans scaled alike to [0, 1], the ground truth bool."""
    healthy, _, _, _ = read_scan(scans[scans.subject == row["person"]].iloc[0])
    image, brain, truth, _ = read_scan(row)
    low, high = np.percentile(healthy[brain], (1, 99))
    place = widest_slice(truth)
    before, after = (((v - low) / (high - low) * brain)[..., place].clip(0, 1) for v in (healthy, image))
    return before, after, truth[..., place] > 0
