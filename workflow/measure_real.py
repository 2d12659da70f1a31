"""Measure real scans: what grown heads are compared with, and whether thresholds hold. Numbers, no images.

    measure_real.py heads SCANS OUT [--networks models/laptop]    OUT: essim/study/real_heads.csv
    measure_real.py lesions OUT ms=FOLDER stroke=FOLDER           OUT: essim/study/real_lesions.csv
    measure_real.py promise SCANS OUT MODEL...                    OUT: models/promise.csv, of model folders

SCANS is a CSV with the columns source, contrast, image, mask, and voxel_mm (1 or 2), one line per scan in study space
(python -m essim.prepare brings it there); paths are relative to it. Lines with the same source and mask are one head,
which gets a number in place of its name. For the promise there may be a column seg, of lesion masks. FOLDER holds
lesion masks in MNI space (NIfTI), one per patient.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from essim.runs.files import writing

GRIDS = (1, 2, 4)  # mm


def read_scans(table):
    """The scans of the CSV `table`, with whole paths, and numbers in place of names."""
    scans = pd.read_csv(table)
    for column in ("source", "contrast", "image", "mask", "voxel_mm"):
        if column not in scans or scans[column].isna().any():
            raise ValueError(f"{table}: the column `{column}` is missing or has gaps; complete the table.")
    heads = scans.groupby("source", sort=False)["mask"].transform(lambda masks: pd.factorize(masks)[0] + 1)
    scans["seg"] = scans["seg"].fillna("") if "seg" in scans else ""
    roles = ("image", "mask", "seg")
    paths = {role: [str(Path(table).parent / path) if path else "" for path in scans[role]] for role in roles}
    return scans.assign(head=heads, ignore="", **paths)


def measure_heads(table, networks=None):
    """The statistics of all scans of the CSV `table`, as essim.study.realism has them, one row per scan."""
    from essim.study import realism  # here, since it takes seconds, which errors of the command line should not

    scans = read_scans(table).assign(seg="")  # lesions count as brain
    groups = scans.groupby("voxel_mm", sort=False)
    parts = [realism.measure_heads(part, int(voxel_mm), networks) for voxel_mm, part in groups]
    return pd.concat(parts)


def measure_promises(table, models):
    """How each model folder scores the scans of its contrast in the CSV `table`, as essim.study.promise has it."""
    from essim.study.promise import measure_promise

    scans, parts = read_scans(table), []
    for model in models:
        contrast = json.loads((Path(model) / "config.json").read_text())["contrast"]
        found = measure_promise(scans[scans.contrast == contrast], model)
        parts.append(found.assign(model=Path(model).name))
    return pd.concat(parts)


def measure_lesions(folders):
    """The quantiles of the lesions in {dataset: folder of masks}, on the study grid of 1, 2 and 4 mm."""
    from nilearn.image import resample_img

    from essim.cohort.mni import affine_of, shape_of
    from essim.study import burden

    patients = []
    for dataset, folder in folders.items():
        files = sorted(Path(folder).glob("*.nii*"))
        if not files:
            raise FileNotFoundError(f"{folder}: has no NIfTI files; give the folder of the masks.")
        for file in tqdm(files, desc=dataset, unit="patient"):
            for voxel_mm in GRIDS:
                grid = {"target_affine": affine_of(voxel_mm), "target_shape": shape_of(voxel_mm)}
                options = {"interpolation": "nearest", "copy_header": True, "force_resample": True}
                seg = np.asarray(resample_img(file, **grid, **options).dataobj) > 0
                row = {"dataset": dataset, "voxel_mm": voxel_mm}
                patients.append(row | burden.measure_lesions(seg, voxel_mm))
    groups = pd.DataFrame(patients).groupby("voxel_mm")
    return pd.concat({voxel_mm: burden.quantiles(part) for voxel_mm, part in groups}, names=["voxel_mm"]).reset_index(0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    heads, lesions, promise = (commands.add_parser(name) for name in ("heads", "lesions", "promise"))
    for command in (heads, promise):
        command.add_argument("scans")
    for command in (heads, lesions, promise):
        command.add_argument("out")
    heads.add_argument("--networks", help="adds the residual of these networks")
    lesions.add_argument("folders", nargs="+", metavar="SET=FOLDER")
    promise.add_argument("models", nargs="+", metavar="MODEL")
    arguments = parser.parse_args()
    if arguments.command == "heads":
        table = measure_heads(arguments.scans, arguments.networks)
    elif arguments.command == "promise":
        table = measure_promises(arguments.scans, arguments.models)
    else:
        table = measure_lesions(dict(folder.split("=", 1) for folder in arguments.folders))
    with writing(Path(arguments.out)) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5g", lineterminator="\n")


if __name__ == "__main__":
    main()
