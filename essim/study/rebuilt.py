"""The study's scans rebuilt by one of the field's reconstructors, several draws kept: written, and read back.

In: a folder of reconstructions (essim.evaluation.cases), of which scan, mask and lesion are used, and a reconstructor
with its network (essim.methods). Out: a folder of the same layout, all draws beside their mean.

    <reconstructor>/<set>/scans.csv                                          one row per subject, with seconds
    <reconstructor>/<set>/<subject>/{image,reconstruction,mask,seg}.nii.gz   the reconstruction is the mean of the draws
    <reconstructor>/<set>/<subject>/draws.npz                                each minus the mean, in brain, in 32,767ths
"""

import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from essim.data.volumes import read_nifti, save_nifti
from essim.evaluation.cases import case_rows, read_case
from essim.reconstruct import noise_seed
from essim.runs.files import writing

LEVELS = 2**15 - 1  # of a draw's difference from the mean, on disk: little space, and none where all draws agree


def rebuild(folder, out, reconstruct, *, draws, seed, counts):
    """Reconstruct the scans of a folder with a reconstructor into the folder `out` (written completely or not at all).

    Args: folder: of reconstructions, of a set or of healthy controls. reconstruct: a function (image, mask, draws,
        seed) -> [draws, H, W, D]. seed: of the noise, from which every scan derives its own. counts: {split: how many
        of its first scans}, the splits as in `case_rows`.

    Returns: the table of `out`: that of `folder` with the columns seconds, per scan with all its draws, and threads.

    Raises ValueError where none of the splits has a scan.
    """
    rows = [row for split, count in counts.items() for row in case_rows(folder, split)[:count]]
    if not rows:
        raise ValueError(
            f"{folder}: has no scans of {' or '.join(counts)}; reconstruct the set again (03_reconstruct)."
        )
    with writing(out) as target:
        target.mkdir()
        for row in tqdm(rows, desc=f"{Path(out).parent.name}, {Path(out).name}", unit="volume"):
            case, place = read_case(folder, row), target / row["subject"]
            began = time.perf_counter()
            ys = reconstruct(case.image, case.mask, draws=draws, seed=noise_seed(seed, case.subject))
            row |= {"seconds": time.perf_counter() - began, "threads": torch.get_num_threads()}
            place.mkdir()
            for part in ("image", "mask", "seg"):
                shutil.copyfile(Path(folder) / row["subject"] / f"{part}.nii.gz", place / f"{part}.nii.gz")
            affine = read_nifti(place / "image.nii.gz")[1]
            mean = ys.mean(0, dtype=np.float32)
            save_nifti(place / "reconstruction.nii.gz", mean, affine)
            np.savez_compressed(place / "draws.npz", np.rint(LEVELS * (ys - mean)[:, case.mask]).astype(np.int16))
        pd.DataFrame(rows).to_csv(target / "scans.csv", index=False)
    return pd.DataFrame(rows)


def read_draws(folder, case):
    """The draws of a case in a folder of `rebuild`: float32 [draws, H, W, D], 0 outside the mask."""
    with np.load(Path(folder) / case.subject / "draws.npz") as file:
        added = file["arr_0"].astype(np.float32) / LEVELS
    ys = np.zeros((len(added), *case.mask.shape), np.float32)
    ys[:, case.mask] = (case.reconstruction[case.mask] + added).clip(0, 1)
    return ys
