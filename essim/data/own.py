"""A user's own table, one line per scan, as people write it.

In: a CSV, a TSV or an Excel file with the columns NEEDED and as many of the others as are known. Out: the scan table,
not yet checked. Paper: section 3 (data).
"""

import re
from pathlib import Path

import pandas as pd

from essim.data.layouts import NONZERO
from essim.data.people import read_ages, read_sexes
from essim.data.prepared import CONTRASTS
from essim.data.splits import person_of
from essim.data.tables import is_gap, read_table

NEEDED = ("dataset", "subject", "contrast", "image")
OPTIONAL = ("split", "mask", "seg", "age", "sex", "site", "ignore", "person")
HEALTHY_NAMES = re.compile(r"ixi|(healthy[-_ ]?)?controls?|healthy[-_ ].*|hc|normals?", re.IGNORECASE)


def read_own(path):
    """The rows of a user's own table, with the columns NEEDED and OPTIONAL, gaps as ""; and sentences to report.

    `split` is "" throughout if the table has none; `person` says which scans are one person's, if names don't.
    Raises ValueError, one sentence, for what is missing or can't be right.
    """
    table = _read(path)
    for column in NEEDED:
        if column not in table or (table[column] == "").any():
            raise ValueError(f"{path}: the column `{column}` is missing or has gaps; complete the table.")
    optional = [column for column in OPTIONAL if column in table]
    table = table.reindex(columns=[*NEEDED, *OPTIONAL], fill_value="")
    for column in ("image", *optional):
        table[column] = ["" if is_gap(value) else value for value in table[column]]
    for column in ("contrast", "dataset"):
        table[column] = [
            value.lower() if value.lower() in (*CONTRASTS, "healthy") else value for value in table[column]
        ]
    _check(path, table)
    for column in ("image", "mask", "seg"):
        table[column] = [_path(path.parent, value) for value in table[column]]
    table["ignore"] = [int(label.split(".")[0]) if label else "" for label in table["ignore"]]  # also 2.0
    ages, unread = read_ages(table.age)
    sexes, unread_sexes = read_sexes(table.sex)
    sentences = unread + unread_sexes + _check_people(path, table)
    return table.assign(age=ages, sex=sexes, fold=""), sentences


def _read(path):
    """The table as text, its columns in lower case; ValueError where a line is ambiguous."""
    names, lines, odd = read_table(path)
    names = [name.casefold() for name in names]
    if odd:
        text = f"{path}: line {odd[0]} has more cells than the table has columns ({len(names)})"
        raise ValueError(f"{text}; put cells with a separator in quotes.")
    for name in (*NEEDED, *OPTIONAL):
        if names.count(name) > 1:
            raise ValueError(f"{path}: has two columns `{name}`; keep one.")
    return pd.DataFrame(lines, columns=names, dtype=str)


def _check(path, table):
    """Refuse what no column may hold."""
    wrong = sorted(set(table.contrast) - set(CONTRASTS))
    if wrong:
        raise ValueError(f"{path}: contrast `{wrong[0]}` is not one of {', '.join(CONTRASTS)}; correct the table.")
    ill = table[(table.dataset == "healthy") & (table.seg != "")]
    if len(ill):
        text = f"{path}: {ill.subject.iloc[0]} is healthy and has a lesion mask"
        raise ValueError(f"{text}; empty its `seg`, or give its set another name than `healthy`.")
    for name in dict.fromkeys(table.dataset):
        if name != "healthy" and HEALTHY_NAMES.fullmatch(name):
            raise ValueError(f"{path}: dataset `{name}` stands for healthy people; call their set `healthy`.")
        if re.search(r'[/\\:*?"<>|\x00-\x1f]|^[.-]', name):
            raise ValueError(f"{path}: dataset `{name}` can't be the name of a folder; use letters, digits, - and _.")
    unsplit = table["split"] == ""
    if unsplit.any() and not unsplit.all():
        raise ValueError(f"{path}: the column `split` has gaps; fill it (train, val, test) or leave it out.")
    for column, form, text in (
        ("split", "(train|val|test)?", "is not one of train, val, test"),
        ("ignore", r"(\d+(\.0*)?)?", "is not a label, a whole number"),
        ("image", r"(?s).+", "is not a path"),
    ):
        for value, subject in zip(table[column], table.subject, strict=True):
            if not re.fullmatch(form, value):
                raise ValueError(f"{path}: {column} `{value}` of {subject} {text}; correct the table.")


def _check_people(path, table):
    """Sentences about which scans are one person's, and `person` filled in; ValueError if a subject is two people."""
    given = table.person != ""
    people = table[given].groupby(["dataset", "subject"]).person.nunique()
    if (people > 1).any():
        dataset, subject = people.index[(people > 1).argmax()]
        raise ValueError(f"{path}: subject `{subject}` of {dataset} is two people; correct the column `person`.")
    known = {key: rows.person.max() for key, rows in table[given].groupby(["dataset", "subject"])}
    keys = zip(table.dataset, table.subject, strict=True)
    table["person"] = [known.get(key) or person_of(key[1]) for key in keys]
    named = table[given]
    both = set(named.person[named.dataset == "healthy"]) & set(named.person[named.dataset != "healthy"])
    text = f"{len(both)} person(s) are healthy in one scan and patients in another, such as {min(both, default='')}"
    return [f"{text}; training would have seen them"] if both else []


def _path(folder, value):
    """A path of a table, relative to its folder; also as Windows writes it, and below the home folder."""
    if value == "" or value.casefold() == NONZERO:
        return value.casefold()
    path = folder / Path(value).expanduser()
    if "\\" in value and not path.exists():
        path = folder / value.replace("\\", "/")
    return str(path)
