"""Where scans come from: any source -> one tidy table, one row per scan, checked.

In: a prepared folder (essim.data.prepared), a folder of data sets as downloaded (essim.data.layouts), or a user's own
CSV or TSV. Out: a pandas.DataFrame with the columns SCAN_COLUMNS.
"""

import warnings
from pathlib import Path

import pandas as pd

from essim.data.checks import find_problems
from essim.data.downloaded import read_downloaded
from essim.data.layouts import AUTHORS, LAYOUTS, known_labels
from essim.data.own import read_own
from essim.data.people import sex_of
from essim.data.prepared import CONTRASTS, is_prepared, read_splits
from essim.data.splits import assign, doubtful_people

SCAN_COLUMNS = "dataset subject split fold contrast image mask seg age sex site ignore".split()
STUDY_LABELS = (0, 1, 2)  # of essim's own lesion masks: background, lesion, ignored


def load_scans(source, *, fold=0, seed=0, strict=True):
    """The checked table of all scans of a source.

    Args:
        source: a data folder, or a CSV or TSV with the columns `dataset, subject, contrast, image` and as many of the
            others as are known, plus `person` if names don't tell which scans are one person's; its paths are relative
            to its own folder.
        fold: which of the training folds, counted from 0.
        seed: of the split, where the source has none of its own (see essim.data.splits).
        strict: False leaves out the scans that have problems, with a warning that counts them.

    Returns: columns `dataset, subject, split, fold, contrast, image, mask, seg, age, sex, site, ignore`, one row per
        scan. `contrast` is t1, t2 or flair. Paths are strings, "" where absent; `mask` "nonzero" means that the image
        is skull-stripped and all that isn't zero is brain, "" that the head still has its skull; `ignore` is the label
        of `seg` that is neither lesion nor background; every other label above 0 is lesion. A subject has no row for a
        contrast that is missing, and a patient in downloaded data none at all without a lesion mask; warnings count
        them, and say what was chosen and what is left open.

    Raises:
        FileNotFoundError: the source or a split file is missing.
        ValueError: a table is damaged or lacks a column; no scan is left; or, in one report by file: files that are
            missing or not NIfTI, masks that don't fit their image, labels that the data set doesn't have, patients
            without a lesion, people in two splits.

    >>> import essim, nibabel, numpy, pandas, tempfile
    >>> own = pandas.DataFrame({"subject": ["anna", "ben"], "image": ["a.nii", "b.nii"], "split": ["train", "test"]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in own.image:
    ...         nibabel.save(nibabel.Nifti1Image(numpy.ones((4, 4, 4)), numpy.eye(4)), f"{folder}/{name}")
    ...     own.assign(dataset="healthy", contrast="t1").to_csv(f"{folder}/scans.csv")
    ...     scans = essim.load_scans(f"{folder}/scans.csv")
    >>> scans[["dataset", "subject", "split", "contrast"]]
       dataset subject  split contrast
    0  healthy    anna  train       t1
    1  healthy     ben   test       t1
    """
    source = Path(source)
    scans, labels = list_scans(source, fold=fold, seed=seed)
    _warn_of_gaps(source, scans)
    problems = find_problems(scans, labels, each=is_prepared(source))
    if problems and strict:
        report = "\n".join(f"  {path}: {text}" for path, (text, _) in problems.items())
        raise ValueError(f"{source}: {len(problems)} problem(s); strict=False leaves these scans out.\n{report}")
    if problems:
        bad = set().union(*(rows for _, rows in problems.values()))
        lost = scans.loc[sorted(bad)].groupby("dataset", sort=False).size()
        counts = ", ".join(f"{count} {dataset}" for dataset, count in lost.items())
        warnings.warn(f"{source}: scans with problems are left out ({counts}).", stacklevel=2)
        scans = scans.drop(index=bad).reset_index(drop=True)
    return scans[SCAN_COLUMNS]


def list_scans(source, *, fold=0, seed=0):
    """The table of `load_scans` without a check of its files, and {set: the labels that its lesion masks may have}."""
    source = Path(source)
    if source.is_file():
        scans, sentences = read_own(source)
        labels, sentences = dict.fromkeys(scans.dataset), sentences + doubtful_people(scans)
    elif not source.is_dir():
        raise FileNotFoundError(f"{source}: no such folder or table; correct the path.")
    elif is_prepared(source):
        scans, labels, sentences = *read_prepared(source, fold), []
    else:
        scans, labels, sentences = read_downloaded(source)
        scans = scans.assign(split="", fold="")
    for sentence in sentences:
        warnings.warn(f"{source}: {sentence}.", stacklevel=3)
    return (assign(scans, fold=fold, seed=seed) if (scans.split == "").any() else scans), labels


def _warn_of_gaps(source, scans):
    """Say how many subjects lack a contrast that others of their set have."""
    for dataset, rows in scans.groupby("dataset", sort=False):
        people = set(rows.subject)
        for contrast in CONTRASTS:
            absent = people - set(rows.subject[rows.contrast == contrast])
            if absent and absent != people:
                text = f"{source}: {len(absent)} {dataset} subject(s) without {contrast} are left out there."
                warnings.warn(text, stacklevel=3)


# The three kinds of source: each gives the rows of the table and {set: the labels that its lesion masks may have}


def read_prepared(source, fold):
    """A prepared folder, which is already split. The authors' folder has its own names for its sets; one written by
    essim.prepare (it has a source.json) keeps its names."""
    rows, labels = [], {}
    authors = {} if (source / "source.json").is_file() else AUTHORS
    for name, split, subjects in read_splits(source, fold):
        layout = next((layout for layout in LAYOUTS if layout.name == authors.get(name)), None)
        dataset = layout.dataset if layout else name
        labels[dataset] = known_labels(layout) if layout else STUDY_LABELS
        part = {"dataset": dataset, "split": split, "fold": fold if dataset == "healthy" and split != "test" else ""}
        for subject in subjects:
            ignore = layout.ignore if layout else 2
            rows += _rows(subject["images"], subject | part | {"sex": sex_of(subject["sex"]), "ignore": ignore})
    return pd.DataFrame(rows, columns=SCAN_COLUMNS), labels


def _rows(images, shared):
    """A row for each of a subject's images."""
    return [shared | {"contrast": contrast, "image": str(path)} for contrast, path in images.items()]
