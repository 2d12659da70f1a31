"""Who trains, who validates, who is tested: reproducible by seed, written as files that can be cited.

In: a scan table. Out: the same with `split` and `fold`, or the split files of the paper's data,
IXI_{train,val}_fold<k>.csv, IXI_test.csv and <set>_{val,test}.csv. A person's scans stay together.
"""

import csv
import hashlib
import re
from pathlib import Path

import pandas as pd

from essim.runs.files import writing

FOLDS = 5
TEST = (7, (1, 4))  # of every 7 healthy people these are tested (the paper: 158 of 560), ...
VALIDATION = 9  # ... and of those left every 9th validates, another one in each fold (44 of 402)
LABELLED = (5, 1)  # of every 5 patients one is in the labelled validation part
SESSION = re.compile(r"_ses-[A-Za-z0-9]+$|(?<=^BraTS-GLI-\d{5})-\d{3}$")  # how names tell a person's scans apart
COLUMNS = ("", "img_name", "label", "age", "SEX_ID (1=m, 2=f)", "site", "img_path", "mask_path", "seg_path")
REQUIRED = ("img_name", "img_path", "mask_path")


def person(subject):
    """The person behind a subject's name, which may end in a session."""
    return SESSION.sub("", subject)


def assign(scans, *, fold=0, seed=0):
    """The scan table with `split` and `fold` given anew.

    People of each set are ordered by site, within a site by a hash of seed and name, and dealt out along that order: so
    each site has its share in each part, and nobody's part depends on how files are listed.
    """
    if not 0 <= fold < FOLDS:
        raise ValueError(f"fold must be one of 0 to {FOLDS - 1}, got {fold}.")
    scans = scans.assign(person=scans.subject.map(person))
    parts = {}
    for dataset, rows in scans.groupby("dataset"):
        sites = rows.groupby("person").site.first().astype(str)
        order = sorted(sites.index, key=lambda name: (sites[name], hashlib.sha256(f"{seed}:{name}".encode()).digest()))
        deal = _deal_healthy if dataset == "healthy" else _deal_patients
        parts |= {(dataset, name): part for name, part in zip(order, deal(len(order), fold), strict=True)}
    split = [parts[key] for key in zip(scans.dataset, scans.person, strict=True)]
    folded = [fold if d == "healthy" and s != "test" else "" for d, s in zip(scans.dataset, split, strict=True)]
    return scans.assign(split=split, fold=folded).drop(columns="person")


def _deal_healthy(count, fold):
    parts = ["test" if i % TEST[0] in TEST[1] else "train" for i in range(count)]
    rest = [i for i in range(count) if parts[i] == "train"]
    for i in rest[fold::VALIDATION]:
        parts[i] = "val"
    return parts


def _deal_patients(count, fold):
    return ["val" if i % LABELLED[0] == LABELLED[1] else "test" for i in range(count)]


def read_split(path):
    """The lines of a split file: a list of mappings; ValueError names a damaged file or a column with gaps."""
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype={"img_name": str})  # a name like 007 is no number
    except ValueError as error:  # pandas says it without the name of the file
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: cannot be read as CSV ({reason}); fetch or make it again.") from error
    for column in REQUIRED:
        if column not in table or (table[column].astype(str) == "").any():
            raise ValueError(f"{path}: the column `{column}` is missing or has gaps; complete the file.")
    return table.to_dict("records")


def write_splits(scans, out, *, without=(), seed=0):
    """Write the split files of a scan table whose files lie in the prepared layout below `out`.

    A table that `assign` has split gets all its folds, one with splits of its own the fold 0. Who is in `without`,
    pairs of (dataset, subject), has a part but no line: when a scan that failed is mended, nobody else changes place.
    """
    out = Path(out)
    scans = scans.sort_values("contrast").drop_duplicates(["dataset", "subject"]).sort_values(["dataset", "subject"])
    folded = (scans.fold != "").any()
    for fold in range(FOLDS if folded else 1):
        table = assign(scans, fold=fold, seed=seed) if folded else scans
        files = {("healthy", split): f"IXI_{split}_fold{fold}.csv" for split in ("train", "val")}
        files |= {("healthy", "test"): "IXI_test.csv"}
        patients = sorted(set(table.dataset) - {"healthy"})
        files |= {(name, split): f"{name}_{split}.csv" for name in patients for split in ("val", "test")}
        for (dataset, split), name in files.items():
            rows = table[(table.dataset == dataset) & (table.split == split)].to_dict("records")
            rows = [row for row in rows if (row["dataset"], row["subject"]) not in without]
            lines = [_line(i, row, out) for i, row in enumerate(rows)]
            with writing(out / "splits" / name) as path, open(path, "w", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows([COLUMNS, *lines])


def _line(number, row, out):
    def below(path):
        return f"/{Path(path).relative_to(out).as_posix()}" if path else ""

    t1 = below(row["image"]).replace(f"/{row['contrast']}/", "/t1/").replace(f"_{row['contrast']}.nii", "_t1.nii")
    sex = {"m": 1, "f": 2}.get(row["sex"], "")
    label = int(row["dataset"] != "healthy")
    return (number, f"{row['subject']}_t1.nii.gz", label, row["age"], sex, row["site"], t1) + tuple(
        below(row[role]) for role in ("mask", "seg")
    )
