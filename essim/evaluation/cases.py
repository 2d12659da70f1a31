"""Patients as if healthy, on disk and back: the reconstructions that every score starts from.

In: the scan table and a trained model. Out: a folder of reconstructions, or the `Case`s read from one.

    reconstructions/<set>/scans.csv                                          one row a subject
    reconstructions/<set>/<subject>/{image,reconstruction,mask,seg}.nii.gz   preprocessed, on one grid

Paper: section 3 (reconstruction).
"""

import threading
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from essim.data.volumes import IGNORED, LESION, load_scan, read_nifti, save_nifti
from essim.runs.files import writing

PARTS = ("image", "reconstruction", "mask", "seg")
SLICES = 64  # slices that the network sees at once
TURN = threading.Lock()


@dataclass
class Case:
    """One reconstructed scan: [H, W, D] arrays on one grid; `split` is "val" or "test".

    `mask` is the brain, `seg` the lesions, `scored` the brain without what is neither lesion nor background; `spacing`
    the three sides of a voxel in mm.
    """

    dataset: str
    subject: str
    split: str
    image: np.ndarray
    reconstruction: np.ndarray
    mask: np.ndarray
    seg: np.ndarray
    scored: np.ndarray
    spacing: tuple

    def tensors(self):
        """(image, reconstruction, mask) as [1, 1, H, W, D] tensors, ready for `essim.ensemble_map`."""
        return tuple(torch.from_numpy(a)[None, None] for a in (self.image, self.reconstruction, self.mask))


def reconstruct_volume(diffusion, image, mask, *, t, draws, seed):
    """A volume [H, W, D] in [0, 1] as if healthy: the same shape, 0 outside the mask, slice by slice.

    Threads of one process may call it at once; on a GPU they take turns, for its memory holds one of them.
    """
    device = diffusion.betas.device
    filled = np.flatnonzero(mask.any((0, 1)))
    slices = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)[filled]))[:, None]
    with nullcontext() if device.type == "cpu" else TURN:
        parts = [
            diffusion.reconstruct(part.to(device), t=t, draws=draws, seed=[*seed, i]).cpu()
            for i, part in enumerate(slices.split(SLICES))
        ]
    result = np.zeros_like(image)
    result[:, :, filled] = torch.cat(parts)[:, 0].numpy().transpose(1, 2, 0)
    return result * mask


def noise_seed(seed, subject):
    """The seed of one scan's noise: from the study's seed and the scan's name, not from the order."""
    return [seed, *subject.encode()]


def reconstruct_set(diffusion, scans, preprocessing, out, *, t, draws, seed, cache=None):
    """Reconstruct every scan of a table into the folder `out` (written whole or not at all).

    `cache` is as in `load_scan`. Returns the table of `out`.
    """
    if not len(scans):
        raise ValueError(f"{out}: no scans to reconstruct; check `dataset` and `contrast` against the scan table.")
    if scans.subject.duplicated().any():
        twice = scans.subject[scans.subject.duplicated()].iloc[0]
        raise ValueError(f"{out}: {twice} comes more than once; keep one set and one contrast of the table.")
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
    """The rows of a folder's scans.csv as dicts, all or those of one split.

    Raises:
        FileNotFoundError: the folder has no scans.csv.
    """
    folder = Path(folder)
    if not (folder / "scans.csv").is_file():
        raise FileNotFoundError(f"{folder / 'scans.csv'}: no such file; reconstruct the set first (03_reconstruct).")
    rows = pd.read_csv(folder / "scans.csv", keep_default_na=False, dtype={"subject": str}).to_dict("records")
    return [row for row in rows if split in (None, row["split"])]


def read_cases(folder, split=None):
    """The reconstructed cases of a folder, one at a time (all, or those of one split)."""
    return (read_case(folder, row) for row in case_rows(folder, split))


def read_case(folder, row):
    """One case: the volumes of row["subject"] below `folder`; FileNotFoundError names one that is missing."""
    volumes = {part: read_nifti(Path(folder) / row["subject"] / f"{part}.nii.gz") for part in PARTS}
    image, reconstruction, mask, seg = (array for array, _ in volumes.values())
    image, reconstruction = image.astype(np.float32), reconstruction.astype(np.float32)
    mask, scored = mask > 0, (mask > 0) & (seg != IGNORED)
    spacing = tuple(np.linalg.norm(volumes["image"][1][:3, :3], axis=0).tolist())
    name = row["dataset"], row["subject"], row["split"]
    return Case(*name, image, reconstruction, mask, seg == LESION, scored, spacing)


def widest_slice(seg):
    """The axial slice of a segmentation [H, W, D] that shows most of it; the middle one where it is empty."""
    area = np.asarray(seg > 0).sum((0, 1))
    return int(area.argmax()) if area.any() else len(area) // 2


def residuals(folder):
    """How well each case was rebuilt: a DataFrame, mean |x - y| `inside` its lesions and `outside` in the brain."""
    rows = []
    for case in read_cases(folder):
        error, healthy = np.abs(case.image - case.reconstruction), case.scored & ~case.seg
        inside = error[case.seg].mean() if case.seg.any() else np.nan
        row = {"inside": inside, "outside": error[healthy].mean(), "lesion_voxels": case.seg.sum()}
        rows.append({"dataset": case.dataset, "subject": case.subject, "split": case.split} | row)
    return pd.DataFrame(rows)
