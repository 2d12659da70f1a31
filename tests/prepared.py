"""Small folders in the prepared layout, file by file: for the tests of the scan table."""

import numpy as np
import pandas as pd
from helpers import save

SEX = "SEX_ID (1=m, 2=f)"


def volume(path):
    save(path, np.ones((2, 2, 2), np.uint8))


def entry(root, name, place, patient, contrasts=("t1", "t2"), **changes):
    """One line of a split file, with its files."""
    for contrast in contrasts:
        volume(root / place / contrast / f"{name}_{contrast}.nii.gz")
    volume(root / place / "mask" / f"{name}_mask.nii.gz")
    if patient:
        volume(root / place / "seg" / f"{name}_seg.nii.gz")
    line = {
        "img_name": name,
        "label": int(patient),
        "age": 40.5,
        SEX: 1,
        "site": "Guys",
        "img_path": f"/{place}/t1/{name}_t1.nii.gz",
        "mask_path": f"/{place}/mask/{name}_mask.nii.gz",
        "seg_path": f"/{place}/seg/{name}_seg.nii.gz" if patient else "",
    }
    return line | changes


def split(root, name, *lines):
    (root / "splits").mkdir(exist_ok=True)
    pd.DataFrame(lines).to_csv(root / "splits" / name)
