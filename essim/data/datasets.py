"""Where scans come from: any source -> one tidy table, one row a scan, checked.

In: a prepared folder (essim.data.prepared), a folder of data sets as downloaded (essim.data.layouts), or a CSV or TSV
of one's own. Out: a pandas.DataFrame with the columns SCAN_COLUMNS.
"""

import warnings
from collections import Counter
from pathlib import Path

import pandas as pd

from essim.data.checks import find_problems
from essim.data.layouts import AUTHORS, CONTROLS, LAYOUTS, NONZERO, find_subjects, known_labels, sex_of
from essim.data.prepared import CONTRASTS, is_prepared, read_splits
from essim.data.splits import assign

NEEDED = ["dataset", "subject", "contrast", "image"]  # in a table of one's own
SCAN_COLUMNS = ["dataset", "subject", "split", "fold", *NEEDED[2:], "mask", "seg", "age", "sex", "site", "ignore"]
STUDY_LABELS = (0, 1, 2)  # of essim's own lesion masks: background, lesion, ignored


def load_scans(source, *, fold=0, seed=0, strict=True):
    """The checked table of all scans of a source.

    Args:
        source: a data folder, or a CSV or TSV with the columns `dataset, subject, contrast, image` and as many of the
            others as are known; its paths are relative to its own folder.
        fold: which of the training folds, from 0.
        seed: of the split, where the source has none of its own (see essim.data.splits).
        strict: False leaves out the scans that have problems, with a warning that counts them.

    Returns: columns `dataset, subject, split, fold, contrast, image, mask, seg, age, sex, site, ignore`, a row a scan.
        Paths are strings, "" where absent; `mask` "nonzero" means that the image is stripped and its brain is what
        isn't zero, "" that the head still has its skull; `ignore` is the label of `seg` that is neither lesion nor
        background; every other label above 0 is lesion. A subject without one of the contrasts, or in downloaded data
        without the lesion mask, has no row for it, and a warning counts them.

    Raises:
        FileNotFoundError: the source or a split file is missing.
        ValueError: a table is damaged or lacks a column; or, in one report by file: files that are missing or no NIfTI,
            masks that don't fit their image, labels that the data set doesn't have, patients without a lesion, persons
            in two splits.

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
    """The table of `load_scans` without a look into its files, and {set: the labels that its lesion masks may have}."""
    source = Path(source)
    if source.is_file():
        scans, labels = read_own(source)
    elif not source.is_dir():
        raise FileNotFoundError(f"{source}: no such folder or table; correct the path.")
    elif is_prepared(source):
        scans, labels = read_prepared(source, fold)
    else:
        scans, labels = read_downloaded(source)
    return (assign(scans, fold=fold, seed=seed) if (scans.split == "").any() else scans), labels


def _warn_of_gaps(source, scans):
    """Say how many subjects are there in one contrast only, where their set has both."""
    for dataset, rows in scans.groupby("dataset", sort=False):
        people = set(rows.subject)
        for contrast in CONTRASTS:
            absent = people - set(rows.subject[rows.contrast == contrast])
            if absent and absent != people:
                text = f"{source}: {len(absent)} {dataset} subject(s) without {contrast} are left out for it."
                warnings.warn(text, stacklevel=3)


# The three kinds of source: each gives the rows of the table and {set: the labels that its lesion masks may have}


def read_prepared(source, fold):
    """A prepared folder, split already."""
    rows, labels = [], {}
    for name, split, subjects in read_splits(source, fold):
        layout = next((layout for layout in LAYOUTS if layout.name == AUTHORS.get(name)), None)
        dataset = layout.dataset if layout else name
        labels[dataset] = known_labels(layout) if layout else STUDY_LABELS
        part = {"dataset": dataset, "split": split, "fold": fold if dataset == "healthy" and split != "test" else ""}
        for subject in subjects:
            ignore = layout.ignore if layout else 2
            rows += _rows(subject["images"], subject | part | {"sex": sex_of(subject["sex"]), "ignore": ignore})
    return pd.DataFrame(rows, columns=SCAN_COLUMNS), labels


def read_downloaded(source):
    """Data sets as downloaded, not yet split; patients without a lesion mask are left out, with a warning."""
    subjects = find_subjects(source)
    if not subjects:
        known = ", ".join(layout.name for layout in LAYOUTS)
        raise FileNotFoundError(
            f"{source}: has no folder `splits` and no scan of a data set that is known ({known}); generate the cohort "
            "there (notebook 01_cohort), correct the path, or list your scans in a CSV."
        )
    with_lesions = {subject.layout.name for subject in subjects if "seg" in subject.files}
    rows, labels, unlabelled, spare = [], {}, Counter(), Counter()
    for subject in subjects:
        layout, dataset = subject.layout, _dataset_of(subject, with_lesions)
        if dataset != "healthy" and "seg" not in subject.files:
            unlabelled[dataset] += 1
            continue
        spare[dataset] += len(subject.spare)
        if not layout.own_grid:
            labels[dataset] = known_labels(layout, labels.get(dataset, ()))
        about = {"subject": subject.name, "site": subject.site, "age": subject.age, "sex": subject.sex}
        files = {"mask": str(subject.files.get("mask", layout.mask)), "seg": str(subject.files.get("seg", ""))}
        images = {contrast: subject.files[contrast] for contrast in CONTRASTS if contrast in subject.files}
        part = {"dataset": dataset, "split": "", "fold": ""}
        rows += _rows(images, part | about | files | {"ignore": layout.ignore})
    for dataset, count in unlabelled.items():
        warnings.warn(f"{source}: {count} {dataset} subject(s) without a lesion mask are left out.", stacklevel=3)
    for dataset, count in (+spare).items():
        text = f"{source}: {count} further file(s) of {dataset} subjects (other runs or spaces) are unused."
        warnings.warn(text, stacklevel=3)
    return pd.DataFrame(rows, columns=SCAN_COLUMNS), labels


def _dataset_of(subject, with_lesions):
    """The set of a downloaded subject; `with_lesions` names the layouts that have a lesion mask for anybody."""
    if subject.layout.dataset:
        return subject.layout.dataset
    control = subject.layout.name not in with_lesions or subject.group.lower() in CONTROLS
    return "healthy" if control and "seg" not in subject.files else "patients"


def _rows(images, shared):
    """A row for each of a subject's images."""
    return [shared | {"contrast": contrast, "image": str(path)} for contrast, path in images.items()]


def read_own(path):
    """A table of one's own, split or not; its lesion masks may have any labels. ValueError says what is wrong."""
    try:
        table = pd.read_csv(path, sep=None, engine="python", keep_default_na=False, dtype=str)
    except Exception as error:  # csv.Error, ValueError: whatever a file that is no table makes the reader raise
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: cannot be read as a CSV or TSV ({reason}); correct the file.") from error
    for column in NEEDED:
        if column not in table or (table[column] == "").any():
            raise ValueError(f"{path}: the column `{column}` is missing or has gaps; complete the table.")
    wrong = sorted(set(table.contrast) - set(CONTRASTS))
    if wrong:
        raise ValueError(f"{path}: contrast `{wrong[0]}` is neither t1 nor t2; correct the table.")
    if "split" in table and (table["split"] == "").any() != (table["split"] == "").all():
        raise ValueError(f"{path}: the column `split` has gaps; fill it (train, val, test) or leave it out.")
    table = table.reindex(columns=SCAN_COLUMNS, fill_value="")
    for column, form, text in (
        ("split", "(train|val|test)?", "is none of train, val, test"),
        ("ignore", r"(\d+(\.0*)?)?", "is no label, a whole number"),
    ):
        odd = table[~table[column].str.fullmatch(form)]
        if len(odd):
            row = odd.iloc[0]
            raise ValueError(f"{path}: {column} `{row[column]}` of {row.subject} {text}; correct the table.")
    for column in ("image", "mask", "seg"):
        table[column] = [p if p in ("", NONZERO) else str(path.parent / p) for p in table[column]]
    table["ignore"] = [int(label.split(".")[0]) if label else "" for label in table["ignore"]]  # also 2.0
    table["sex"] = table["sex"].map(sex_of)
    return table.assign(fold=""), dict.fromkeys(table.dataset)
