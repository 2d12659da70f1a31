"""Real lesions as a source of scans like any other: half-real and real patients, with healthy controls.

In: the scans of `make real` in study space, and lesion masks in MNI space. Out: a folder in the layout of
essim.data.prepared, which `make methods DATA=...` takes. Not in the paper.

    healthy            validation: the people of the part `train`, not needed by pretrained networks; test: of `test`
    half_real_<kind>   lesions of KINDS in healthy heads: validation in those of the part `val`, test in those of `test`
    real_<set>         the public patients, all for testing
    patients.csv       one row per scan; whose head (`person`) and whose lesion it is

Only T1: there are no public healthy controls in another contrast.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from essim.data.datasets import load_scans
from essim.data.prepared import path_of
from essim.data.splits import write_splits
from essim.runs.files import write_json, writing
from essim.study.transplants import KINDS, find_masks, make_transplants

CONTRAST = "t1"
HEADS = {"train": "val", "test": "test"}  # part of the healthy controls: their part here


def gather_patients(prepared, masks, out, *, patients, seed):
    """Write the folder `out`, completely or not at all; returns the table of its patients.csv.

    Args: prepared: a folder in study space. masks: a folder with one of lesion masks for each of KINDS. patients:
        {"val": how many half-real patients of each kind, "test": ...}; no lesion is in both parts. seed: of the
        lesions' sides, appearance and heads.

    Raises FileNotFoundError for a missing folder; ValueError where there are too few masks, or as `make_transplants`.
    """
    scans = load_scans(prepared)
    scans = scans[scans.contrast == CONTRAST]
    healthy, ill = scans[scans.dataset == "healthy"], scans[scans.dataset != "healthy"]
    controls = healthy[healthy.split.isin(HEADS)]
    tables = [controls.assign(split=controls.split.map(HEADS)), ill.assign(dataset="real_" + ill.dataset, split="test")]
    with writing(out) as folder, tempfile.TemporaryDirectory() as temporary:
        for kind in KINDS:
            for number, (split, lesions) in enumerate(_parts_of(masks, kind, patients, seed).items()):
                heads, place = healthy[healthy.split == split], Path(temporary, split, kind)
                table = make_transplants(heads, lesions, kind, place, patients[split], 2 * seed + number)
                tables.append(table.assign(dataset=f"half_real_{kind}", split=split, subject=split + table.subject))
        table = pd.concat(tables, ignore_index=True).assign(fold="")
        for row in table.to_dict("records"):
            for kind, role in ((CONTRAST, "image"), ("mask", "mask"), ("seg", "seg")):
                if row[role]:
                    target = folder / path_of(row["dataset"], row["subject"], kind)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(row[role], target)
        write_splits(table, folder)
        table = table[["dataset", "subject", "split", "person", "lesion", "age", "sex", "site"]].fillna("")
        table.to_csv(folder / "patients.csv", index=False)
        write_json(folder / "source.json", {"source": [str(prepared), str(masks)]})
    return table


def _parts_of(masks, kind, patients, seed):
    """{"val": paths of masks, "test": all others}, by a shuffle."""
    files = find_masks(Path(masks) / kind)
    if len(files) < sum(patients.values()):
        text = f"has {len(files)} lesion masks, {sum(patients.values())} are needed"
        raise ValueError(f"{Path(masks) / kind}: {text}; ask for fewer patients or fetch the masks again (make real).")
    order = [files[i] for i in np.random.default_rng([seed, KINDS.index(kind)]).permutation(len(files))]
    return {"val": sorted(order[: patients["val"]]), "test": sorted(order[patients["val"] :])}
