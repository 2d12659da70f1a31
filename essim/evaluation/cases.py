"""Healthy-looking reconstructions, written and read back: the input of every score, and the loop over the cases.

In: the scan table and a trained network. Out: a folder of reconstructions, the `Case`s read from one, or a table of
what a function returns for each of them.

    reconstructions/<set>/scans.csv                                          one row per subject
    reconstructions/<set>/<subject>/{image,reconstruction,mask,seg}.nii.gz   preprocessed, on one grid

Paper: section 3 (reconstruction).
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from essim.data.splits import VALIDATES
from essim.data.volumes import IGNORED, LESION, load_scan, read_nifti, save_nifti
from essim.reconstruct import noise_seed, reconstruct_volume
from essim.runs.files import writing

PARTS = ("image", "reconstruction", "mask", "seg")
FEW = 8  # validation patients per set, where so much is tried that using all of them would take too long


@dataclass
class Case:
    """One reconstructed scan: [H, W, D] arrays on one grid; `split` is "val" or "test".

    `mask` is the brain, `seg` the lesions, `scored` the brain without voxels labelled neither lesion nor background;
    `spacing_mm` the three sides of a voxel.
    """

    dataset: str
    subject: str
    split: str
    image: np.ndarray
    reconstruction: np.ndarray
    mask: np.ndarray
    seg: np.ndarray
    scored: np.ndarray
    spacing_mm: tuple

    @property
    def name(self):
        """The first columns of the case's rows in a table: dataset and subject."""
        return {"dataset": self.dataset, "subject": self.subject}

    @property
    def tissue(self):
        """The healthy brain around the lesions: bool [H, W, D]."""
        return self.scored & ~self.seg

    def tensors(self):
        """(image, reconstruction, mask) as [1, 1, H, W, D] tensors, ready for `essim.ensemble_map`."""
        return tuple(torch.from_numpy(array)[None, None] for array in (self.image, self.reconstruction, self.mask))


def reconstruct_set(diffusion, scans, preprocessing, out, *, t, draws, seed, cache=None):
    """Reconstruct every scan of a table into the folder `out` (written completely or not at all).

    `cache` is as in `load_scan`. Returns the table of `out`.
    """
    if not len(scans):
        raise ValueError(f"{out}: no scans to reconstruct; check `dataset` and `contrast` against the scan table.")
    if scans.subject.duplicated().any():
        twice = scans.subject[scans.subject.duplicated()].iloc[0]
        raise ValueError(f"{out}: {twice} occurs more than once; keep one set and one contrast of the table.")
    with writing(out) as folder:
        folder.mkdir()
        for row in tqdm(scans.to_dict("records"), desc="reconstruct", unit="volume"):
            scan = load_scan(row, preprocessing, cache)
            noise = noise_seed(seed, row["subject"])
            healthy = reconstruct_volume(diffusion, scan.image, scan.mask, t=t, draws=draws, seed=noise)
            place = folder / row["subject"]
            place.mkdir()
            seg = np.where(scan.ignored, IGNORED, scan.seg).astype(np.uint8)
            for part, array in zip(PARTS, (scan.image, healthy, scan.mask, seg), strict=True):
                save_nifti(place / f"{part}.nii.gz", array, scan.affine)
        table = scans.drop(columns=["image", "mask", "seg"])
        table.to_csv(folder / "scans.csv", index=False)
    return table


def case_rows(folder, split=None):
    """The rows of a folder's scans.csv as dicts, all or those of one split; FileNotFoundError where it is missing.

    `split` may also be one of `essim.data.splits.VALIDATES`, the parts of the healthy validation scans: those whose
    column `part` names it, and those that serve every purpose, whose `part` is empty or missing.
    """
    folder = Path(folder)
    if not (folder / "scans.csv").is_file():
        raise FileNotFoundError(f"{folder / 'scans.csv'}: no such file; reconstruct the set first (03_reconstruct).")
    rows = pd.read_csv(folder / "scans.csv", keep_default_na=False, dtype={"subject": str}).to_dict("records")
    if split in VALIDATES:
        return [row for row in rows if row["split"] == "val" and row.get("part", "") in ("", split)]
    return [row for row in rows if split in (None, row["split"])]


def read_case(folder, row):
    """One case: the volumes of row["subject"] below `folder`; FileNotFoundError names one that is missing."""
    volumes = [read_nifti(Path(folder) / row["subject"] / f"{part}.nii.gz") for part in PARTS]
    # in the order of everything that is computed from them; NIfTI's is the other way around
    image, reconstruction, mask, seg = (np.ascontiguousarray(array) for array, _ in volumes)
    image, reconstruction = image.astype(np.float32), reconstruction.astype(np.float32)
    mask, scored = mask > 0, (mask > 0) & (seg != IGNORED)
    _, affine = volumes[0]
    spacing_mm = tuple(np.linalg.norm(affine[:3, :3], axis=0).tolist())
    name = row["dataset"], row["subject"], row["split"]
    return Case(*name, image, reconstruction, mask, seg == LESION, scored, spacing_mm)


def for_each(folder, split, work, what, first=None):
    """[work(case) for the cases of a split (None: all), or for its `first` few], several at a time, with a progress bar
    labelled `what`."""
    rows = case_rows(folder, split)[:first]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        results = pool.map(lambda row: work(read_case(folder, row)), rows)
        return list(tqdm(results, total=len(rows), desc=what, unit="volume"))


def rows_of(folder, split, judge, what, first=None):
    """The records (dicts) that `judge` returns for each `Case` that `for_each` goes through.

    Returns: a DataFrame, one row per record, in the order of scans.csv: dataset, subject, then the record's.
    """
    cases = for_each(folder, split, lambda case: [case.name | record for record in judge(case)], what, first)
    return pd.DataFrame([record for records in cases for record in records])


def residuals(folder):
    """How well each case was reconstructed: a DataFrame, mean |x - y| `inside` its lesions and `outside`, in brain."""

    def judge(case):
        error, voxels = np.abs(case.image - case.reconstruction), case.seg.sum()
        inside, outside = error[case.seg].mean() if voxels else np.nan, error[case.tissue].mean()
        yield {"split": case.split, "inside": inside, "outside": outside, "lesion_voxels": voxels}

    return rows_of(folder, None, judge, "residuals")


def widest_slice(seg):
    """The axial slice of a segmentation [H, W, D] that shows most of it; the middle one where it is empty."""
    area = np.asarray(seg > 0).sum((0, 1))
    return int(area.argmax()) if area.any() else len(area) // 2
