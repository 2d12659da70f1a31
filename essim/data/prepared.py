"""The prepared folder: where its scans lie, and the split files of the training, validation and test parts.

In: a set, a subject, a kind of file. Out: the path below the folder; split files, written and read. The layout is that
of the paper's preprocessed data (section 3); the built-in cohort and `essim.prepare` write it.

    Train/ixi/{t1,t2,flair,mask}/<subject>_<kind>.nii.gz          healthy subjects
    Test/<set>/{t1,t2,flair,mask,seg}/<subject>_<kind>.nii.gz     patients
    splits/IXI_{train,val}_fold<k>.csv, IXI_test.csv, <set>_{val,test}.csv
"""

import csv
import re
from pathlib import Path

import pandas as pd

from essim.runs.files import writing

CONTRASTS = ("t1", "t2", "flair")  # the first that a subject has stands for it; each may be missing
KINDS = (*CONTRASTS, "mask", "seg")
ENDING = f"_({'|'.join(CONTRASTS)})"  # of an image's name, a regular expression
FOLDS = 5  # of cross-validation
SPLITS = "splits"  # the folder of the split files
SEX = "SEX_ID (1=m, 2=f)"
SPLIT_COLUMNS = ("", "img_name", "label", "age", SEX, "site", "img_path", "mask_path", "seg_path")
REQUIRED = ("img_name", "img_path", "mask_path")


def folder_of(dataset):
    """The folder of a set's scans, below the prepared folder."""
    return "Train/ixi" if dataset == "healthy" else f"Test/{dataset}"


def path_of(dataset, subject, kind):
    """The path of a subject's file of one of KINDS, below the prepared folder."""
    return f"{folder_of(dataset)}/{kind}/{subject}_{kind}.nii.gz"


def split_name(dataset, split, fold=0):
    """The name of a split file. `split` is train, val or test; only healthy subjects are trained on, in folds."""
    if dataset != "healthy":
        return f"{dataset}_{split}.csv"
    return "IXI_test.csv" if split == "test" else f"IXI_{split}_fold{fold}.csv"


def write_split(path, subjects):
    """Write a split file, one line per subject.

    `subjects` are mappings with `dataset, subject, age, sex, site` and `seg`, which is falsy where there is no lesion
    mask: rows of the scan table, for example.
    """
    with writing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([SPLIT_COLUMNS, *((i, *_line(subject)) for i, subject in enumerate(subjects))])


def _line(subject):
    dataset, name = subject["dataset"], subject["subject"]
    t1, mask, seg = (f"/{path_of(dataset, name, kind)}" for kind in ("t1", "mask", "seg"))
    sex = {"m": 1, "f": 2}.get(subject["sex"], "")
    about = (f"{name}_t1.nii.gz", int(dataset != "healthy"), subject["age"], sex, subject["site"])
    return *about, t1, mask, seg if subject["seg"] else ""


def is_prepared(source):
    """Whether a source is a prepared folder, which can be trained on and scored as it is."""
    return _split_folder(Path(source)) is not None


def by_contrast(scans):
    """The rows of a scan table, those of the first of CONTRASTS first."""
    return scans.sort_values("contrast", key=lambda names: names.map(CONTRASTS.index), kind="stable")


def read_splits(source, fold):
    """Yield (set, split, subjects) for each split file of a prepared folder, with one of the training folds.

    `subjects` are as in `read_split`. Raises FileNotFoundError for a split file that is missing, and what `read_split`
    raises.
    """
    source, splits = Path(source), _split_folder(Path(source))
    root = next((f for f in (source, source / "Data") if (f / "Train").is_dir() or (f / "Test").is_dir()), source)
    listed = splits / "avail_t2.csv"  # the authors' list of IXI subjects that have a T2
    have_t2 = set(map(_plain, pd.read_csv(listed, dtype=str).stack())) if listed.is_file() else None
    patients = [path.name.removesuffix("_test.csv") for path in sorted(splits.glob("*_test.csv"))]
    parts = [("healthy", split) for split in ("train", "val", "test")]
    parts += [(dataset, split) for dataset in patients if dataset != "IXI" for split in ("val", "test")]
    for dataset, split in parts:
        path = splits / split_name(dataset, split, fold)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: the split file is missing; generate the cohort again or add the file.")
        subjects = read_split(path, root)
        for subject in subjects if dataset == "healthy" and have_t2 is not None else ():
            if subject["subject"] not in have_t2:
                subject["images"].pop("t2", None)
        yield dataset, split, subjects


def read_split(path, root):
    """The subjects of a split file, whose paths are relative to `root`, even if they start with a slash.

    Returns a list of dicts: `subject`, `images` {contrast: path}, `mask`, `seg` (paths; "" where absent), and what the
    file says for `age`, `sex` and `site`. Raises ValueError, naming the file, where it is damaged or a column has gaps.
    """
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype={"img_name": str})  # a name like 007 is not a number
    except ValueError as error:  # pandas doesn't name the file
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: cannot be read as CSV ({reason}); fetch or make it again.") from error
    for column in REQUIRED:
        if column not in table or (table[column].astype(str) == "").any():
            raise ValueError(f"{path}: the column `{column}` is missing or has gaps; complete the file.")
    return [_subject(root, line) for line in table.to_dict("records")]


def _subject(root, line):
    columns = ("img_path", "mask_path", "seg_path")
    t1, mask, seg = (root / line[column].lstrip("/") if line.get(column) else "" for column in columns)
    images = {c: t1.parent.parent / c / re.sub(rf"{ENDING}\.nii", f"_{c}.nii", t1.name) for c in CONTRASTS}
    return {
        "subject": _plain(line["img_name"]),
        "images": {contrast: path for contrast, path in images.items() if path.is_file()} or {"t1": t1},
        "mask": str(mask),
        "seg": str(seg),
        "age": line.get("age", ""),
        "sex": line.get(SEX, ""),
        "site": line.get("site", "") or line.get("Scanner Brand", ""),
    }


def _plain(name):
    """A subject's name from that of a file."""
    return re.sub(rf"({ENDING})?(\.nii(\.gz)?)?$", "", name)


def _split_folder(source):
    """The folder of the split files, or None; the authors' lies below `Data`."""
    return next((f for f in (source / SPLITS, source / "Data" / SPLITS) if f.is_dir()), None)
