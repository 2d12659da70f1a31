"""Where scans come from: a data folder -> one tidy table, one row a scan.

In: a folder in the layout of the paper's preprocessed data (the built-in cohort is written in it too). Out: a
pandas.DataFrame with the columns `COLUMNS`.

    Train/ixi/{t1,t2,mask}/...     Test/<set>/{t1,t2,mask,seg}/...     splits/IXI_{train,val}_fold<k>.csv, IXI_test.csv,
                                                                      splits/<set>_{val,test}.csv
"""

import re
import warnings
from pathlib import Path

import pandas as pd

COLUMNS = ["dataset", "subject", "split", "fold", "contrast", "image", "mask", "seg", "age", "sex", "site"]
REQUIRED = ("img_name", "img_path", "mask_path")  # of a split file
CONTRASTS = ("t1", "t2")


def split_files(folder, fold):
    """The split files to read: (dataset, split, path). Healthy scans stand in the files called IXI."""
    healthy = [("train", f"IXI_train_fold{fold}.csv"), ("val", f"IXI_val_fold{fold}.csv"), ("test", "IXI_test.csv")]
    found = [("healthy", split, folder / name) for split, name in healthy]
    for path in sorted(folder.glob("*_test.csv")):
        name = path.name.removesuffix("_test.csv")
        if name != "IXI":
            found += [(name, "val", folder / f"{name}_val.csv"), (name, "test", path)]
    return found


def load_scans(source, *, fold=0):
    """The table of all scans below the folder `source`.

    Args:
        source: the data folder. fold: which of the training folds.

    Returns: columns `dataset, subject, split, fold, contrast, image, mask, seg, age, sex, site`, one row for each
    subject and contrast that is on disk; paths are strings, "" where absent. A subject without one of the contrasts
    has no row for it, and a warning counts them.

    Raises:
        FileNotFoundError: the folder or a split file is missing, or a file that it names (image, mask or seg).
        ValueError: a split file is damaged, or lacks a column that is needed.
    """
    root = Path(source)
    splits = root / "splits"
    if not splits.is_dir():
        raise FileNotFoundError(
            f"{root}: has no folder `splits`; generate the cohort there (notebook 01_cohort) or correct the path."
        )
    rows, absent = [], {}
    for dataset, split, path in split_files(splits, fold):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: the split file is missing; generate the cohort again or add the file.")
        for entry in read_split(path):
            subject = scan_rows(root, dataset, split, fold, entry)
            for contrast in set(CONTRASTS) - {row["contrast"] for row in subject}:
                absent[dataset, contrast] = absent.get((dataset, contrast), 0) + 1
            rows += subject
    for (dataset, contrast), count in sorted(absent.items()):
        warnings.warn(f"{root}: {count} {dataset} subject(s) without {contrast} are left out for it.", stacklevel=2)
    return pd.DataFrame(rows, columns=COLUMNS)


def read_split(path):
    """The lines of a split file: a list of mappings."""
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype={"img_name": str})  # a name like 007 is no number
    except ValueError as error:  # pandas says it without the name of the file
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: cannot be read as CSV ({reason}); fetch or make it again.") from error
    for column in REQUIRED:
        if column not in table or (table[column].astype(str) == "").any():
            raise ValueError(f"{path}: the column `{column}` is missing or has gaps; complete the file.")
    return table.to_dict("records")


def scan_rows(root, dataset, split, fold, entry):
    """The rows of one subject: one a contrast that is on disk."""

    def locate(column):  # "/Train/ixi/t1/..." is relative to the data folder in spite of its slash
        return root / entry[column].lstrip("/") if entry.get(column) else None

    t1, mask, seg = locate("img_path"), locate("mask_path"), locate("seg_path")
    images = {c: t1.parent.parent / c / t1.name.replace("_t1.nii", f"_{c}.nii") for c in CONTRASTS}
    images = {contrast: path for contrast, path in images.items() if path.is_file()}
    for path in [p for p in (mask, seg) if p and not p.is_file()] + ([] if images else [t1]):
        raise FileNotFoundError(f"{path}: named in the split files, but missing; generate or fetch the data again.")
    shared = {
        "dataset": dataset,
        "subject": re.sub(r"(_t1)?(\.nii(\.gz)?)?$", "", entry["img_name"]),
        "split": split,
        "fold": fold if dataset == "healthy" and split != "test" else "",
        "mask": str(mask),
        "seg": str(seg or ""),
        "age": entry.get("age", ""),
        # a column with gaps has 1.0 and 2.0
        "sex": {"1": "m", "2": "f"}.get(str(entry.get("SEX_ID (1=m, 2=f)", "")).removesuffix(".0"), ""),
        "site": entry.get("site", ""),
    }
    return [shared | {"contrast": contrast, "image": str(path)} for contrast, path in images.items()]
