"""Who trains, who validates, who is tested: reproducible by seed, written as files that can be cited.

In: a scan table. Out: the same with `split` and `fold`, or its split files. A person's scans stay together.
Paper: section 3 (data).
"""

import hashlib
import re
from pathlib import Path

from essim.data.prepared import FOLDS, SPLITS, split_name, write_split

TEST = (7, (1, 4))  # of every 7 healthy people these are tested (the paper: 158 of 560), ...
VALIDATION = 9  # ... and of those left every 9th validates, another one in each fold (44 of 402)
LABELLED = (5, 1)  # of every 5 patients one is in the labelled validation part
SESSION = re.compile(r"_ses-[A-Za-z0-9]+$|(?<=^BraTS-GLI-\d{5})-\d{3}$")  # how names tell a person's scans apart


def person_of(subject):
    """The person behind a subject's name, which may end in a session."""
    return SESSION.sub("", subject)


def assign(scans, *, fold=0, seed=0):
    """The scan table with `split` and `fold` given anew; ValueError for a fold that there isn't.

    People of each set are ordered by site, within a site by a hash of seed and name, and dealt out along that order: so
    each site has its share in each part, and nobody's part depends on how files are listed.
    """
    if not 0 <= fold < FOLDS:
        raise ValueError(f"fold must be one of 0 to {FOLDS - 1}, got {fold}.")
    scans = scans.assign(person=scans.subject.map(person_of))
    parts = {}
    for dataset, rows in scans.groupby("dataset"):
        sites = rows.groupby("person").site.first().astype(str)
        order = sorted(sites.index, key=lambda name: (sites[name], hashlib.sha256(f"{seed}:{name}".encode()).digest()))
        dealt = _deal_healthy(len(order), fold) if dataset == "healthy" else _deal_patients(len(order))
        parts |= {(dataset, name): part for name, part in zip(order, dealt, strict=True)}
    split = [parts[key] for key in zip(scans.dataset, scans.person, strict=True)]
    folded = [fold if d == "healthy" and s != "test" else "" for d, s in zip(scans.dataset, split, strict=True)]
    return scans.assign(split=split, fold=folded).drop(columns="person")


def _deal_healthy(count, fold):
    parts = ["test" if i % TEST[0] in TEST[1] else "train" for i in range(count)]
    rest = [i for i in range(count) if parts[i] == "train"]
    for i in rest[fold::VALIDATION]:
        parts[i] = "val"
    return parts


def _deal_patients(count):
    return ["val" if i % LABELLED[0] == LABELLED[1] else "test" for i in range(count)]


def write_splits(scans, out, *, without=(), seed=0):
    """Write the split files of a scan table whose files lie in the prepared folder `out`.

    A table that `assign` has split gets all its folds, one with splits of its own the fold 0. Who is in `without`,
    pairs of (dataset, subject), has a part but no line: when a scan that failed is mended, nobody else changes place.
    """
    scans = scans.sort_values("contrast").drop_duplicates(["dataset", "subject"]).sort_values(["dataset", "subject"])
    folded = (scans.fold != "").any()
    parts = [("healthy", split) for split in ("train", "val", "test")]
    parts += [(dataset, split) for dataset in sorted({*scans.dataset} - {"healthy"}) for split in ("val", "test")]
    for fold in range(FOLDS if folded else 1):
        table = assign(scans, fold=fold, seed=seed) if folded else scans
        for dataset, split in parts:
            rows = table[(table.dataset == dataset) & (table.split == split)].to_dict("records")
            rows = [row for row in rows if (row["dataset"], row["subject"]) not in without]
            write_split(Path(out) / SPLITS / split_name(dataset, split, fold), rows)
