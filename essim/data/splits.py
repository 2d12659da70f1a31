"""The training, validation and test parts: reproducible by seed, written as files that can be cited.

In: a scan table. Out: the same with `split` and `fold`, or its split files. A person's scans stay together.
Paper: section 3 (data).
"""

import hashlib
import re
import warnings
from pathlib import Path

import pandas as pd

from essim.data.prepared import FOLDS, SPLITS, by_contrast, split_name, write_split

TEST = (7, (1, 4))  # of every 7 healthy people these two are in the test part (the paper: 158 of 560), ...
VALIDATION = 9  # ... and of the rest every 9th validates, a different one in each fold (44 of 402)
LABELLED = (5, 1)  # of every 5 patients one is in the labelled validation part
# Healthy validation scans choose the network's best step, are the yardstick of the calibrated score, and set its
# thresholds. None of the three may look better for having seen another's scans, so each has people of its own, ...
VALIDATES = ("step", "yardstick", "thresholds")
FEWEST = 12  # ... if there are 4 for each; with fewer, all people serve for all three
# How names tell a person's scans apart, a group being the person: those of data sets, ...
NAMED = re.compile(
    r"(.+)_sess?-[A-Za-z0-9]+|(BraTS-[A-Z]+(?:-RT)?-\d+)-\d+|(UCSF-PDGM-\d+)_FU\d+d|(UPENN-GBM-\d+)_\d+"
    r"|(OAS\d+)_[A-Za-z]+_d\d+|(OAS[12]_\d+)_MR\d+|(?:ADNI_)?(\d{3}_S_\d{4,5})(?:[-_].*)?"
)
# ... and words for a visit, or a date, after a name with a digit.
VISIT = re.compile(
    r"(.*\d.*?)[-_](?:(?:ses|sess|session|visit|time|timepoint|tp|scan|wave|year|yr|month|mo|week|wk|day|[mywdvt])[-_]?\d+"
    r"|(?:baseline|bl|screening|sc|follow-?up|fu|pre-?op|post-?op|pre|post|rescan|retest)[-_]?\d*"
    r"|(?:19|20)\d\d[-_]?[01]\d[-_]?[0-3]\d)",
    re.IGNORECASE,
)
SEVERAL = range(2, 10)  # so many names that differ only in a suffix may be one person's; more are a numbered list


def person_of(subject):
    """The person behind a subject's name, which may end in a session or a visit."""
    match = NAMED.fullmatch(subject) or VISIT.fullmatch(subject)
    return next(group for group in match.groups() if group) if match else subject


def people_of(scans):
    """The person of each row of a scan table: its column `person`, if there is one, else inferred from the names."""
    return scans["person"] if "person" in scans else scans.subject.map(person_of)


def _is_guessed(subject):
    return VISIT.fullmatch(subject) and not NAMED.fullmatch(subject)


def doubtful_people(scans):
    """Sentences about names in a scan table that may belong to one person, or were taken to."""
    sentences, names, alike = [], {}, {}
    people = scans.assign(person=people_of(scans)).drop_duplicates(["dataset", "subject"])
    for dataset, person, subject in people[["dataset", "person", "subject"]].itertuples(index=False, name=None):
        names.setdefault((dataset, person), []).append(subject)
    visits = {key: group for key, group in names.items() if len(group) > 1 and any(map(_is_guessed, group))}
    if visits:
        (_, person), group = next(iter(visits.items()))
        count = sum(map(len, visits.values()))
        text = f"{count} subjects are taken, by their names, as visits of {len(visits)} people"
        sentences.append(f"{text} ({', '.join(group[:3])}: {person}); a column `person` may say otherwise")
    for dataset, person in names:
        base = re.fullmatch(r"(.*\d.*)[-_. ][^-_. ]+|(.*\d)[A-Za-z]+", person)
        alike.setdefault((dataset, (base[1] or base[2]) if base else person), []).append(person)
    alike = [group for group in alike.values() if len(group) in SEVERAL]
    if alike:
        text = "; ".join(", ".join(group[:3]) for group in alike[:3]) + ("; ..." if len(alike) > 3 else "")
        count = sum(map(len, alike))
        text = f"{count} subjects count as different people though only the ends of their names differ ({text})"
        sentences.append(f"{text}; if they aren't, list the scans in a CSV with a column `person`")
    return sentences


def assign(scans, *, fold=0, seed=0):
    """The scan table with `split` and `fold` assigned anew; ValueError for a fold that doesn't exist.

    People of each set are ordered by site, within a site by a hash of seed and name, and dealt out along that order: so
    each site has its share in each part, and nobody's part depends on how files are listed.
    """
    if not 0 <= fold < FOLDS:
        raise ValueError(f"fold must be one of 0 to {FOLDS - 1}, got {fold}.")
    people = people_of(scans)
    parts = {}
    for dataset, rows in scans.groupby("dataset"):
        sites = rows.site.groupby(people[rows.index]).first().astype(str)
        order = sorted(sites.index, key=lambda name: (sites[name], hashlib.sha256(f"{seed}:{name}".encode()).digest()))
        dealt = _deal_healthy(len(order), fold) if dataset == "healthy" else _deal_patients(len(order))
        parts |= {(dataset, name): part for name, part in zip(order, dealt, strict=True)}
    split = [parts[key] for key in zip(scans.dataset, people, strict=True)]
    folded = [fold if d == "healthy" and s != "test" else "" for d, s in zip(scans.dataset, split, strict=True)]
    return scans.assign(split=split, fold=folded)


def validation_parts(scans):
    """What each row of a scan table validates: one of VALIDATES for healthy validation scans, "" for all other rows.

    Each has a third of the people, dealt out along their order by site, within a site by a hash of the name. With fewer
    than FEWEST people all rows are "", with a warning: whatever asks for a part then gets all of them.

    Args: scans: of one contrast. Returns: a Series with the table's index.
    """
    rows, parts = scans[(scans.dataset == "healthy") & (scans.split == "val")], pd.Series("", scans.index)
    people = people_of(rows)
    sites = rows.site.astype(str).groupby(people).first()
    if 0 < len(sites) < FEWEST:
        text = f"{len(sites)} healthy validation people are too few for three parts ({FEWEST} are enough): all of them"
        warnings.warn(f"{text} choose the network's step, calibrate the score and set its thresholds.", stacklevel=2)
    elif len(sites):
        order = sorted(sites.index, key=lambda name: (sites[name], hashlib.sha256(str(name).encode()).digest()))
        dealt = {name: VALIDATES[i % len(VALIDATES)] for i, name in enumerate(order)}
        parts[rows.index] = people.map(dealt)
    return parts


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

    A table split by `assign` gets all its folds, one with splits of its own only fold 0. Subjects in `without`, pairs
    of (dataset, subject), have a part but no line: once a failed scan is repaired, nobody else changes place.
    """
    scans = by_contrast(scans).drop_duplicates(["dataset", "subject"]).sort_values(["dataset", "subject"])
    folded = (scans.fold != "").any()
    parts = [("healthy", split) for split in ("train", "val", "test")]
    parts += [(dataset, split) for dataset in sorted({*scans.dataset} - {"healthy"}) for split in ("val", "test")]
    for fold in range(FOLDS if folded else 1):
        table = assign(scans, fold=fold, seed=seed) if folded else scans
        for dataset, split in parts:
            rows = table[(table.dataset == dataset) & (table.split == split)].to_dict("records")
            rows = [row for row in rows if (row["dataset"], row["subject"]) not in without]
            write_split(Path(out) / SPLITS / split_name(dataset, split, fold), rows)
