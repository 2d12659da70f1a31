"""Where scans come from: any source -> one tidy table, one row a scan, checked.

In: a folder in the layout of the paper's preprocessed data (the built-in cohort and what `essim.prepare` writes have
it too), a folder of data sets as downloaded (essim.data.layouts), or a CSV or TSV of one's own. Out: a pandas.DataFrame with
the columns `COLUMNS`.

    Train/ixi/{t1,t2,mask}/...     Test/<set>/{t1,t2,mask,seg}/...     splits/IXI_{train,val}_fold<k>.csv, IXI_test.csv,
                                                                      splits/<set>_{val,test}.csv
"""

import re
import warnings
from pathlib import Path

import pandas as pd

from essim.data.checks import find_problems
from essim.data.layouts import CONTROLS, LAYOUTS, NONZERO, find, sex
from essim.data.splits import assign, read_split

COLUMNS = ["dataset", "subject", "split", "fold", "contrast", "image", "mask", "seg", "age", "sex", "site", "ignore"]
NEEDED = ("dataset", "subject", "contrast", "image")  # of a table of one's own
CONTRASTS = ("t1", "t2")
AUTHORS = {"Brats21": "BraTS21", "ATLAS_v2": "ATLAS v2.0", "MSLUB": "MSLUB", "WMH": "WMH 2017"}  # their name: layout
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
    return scans[COLUMNS]


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


def is_prepared(source):
    """Whether a source is a folder in the prepared layout, which can be trained on and scored as it is."""
    return Path(source).is_dir() and split_folder(Path(source)) is not None


def _warn_of_gaps(source, scans):
    """Say how many subjects are there in one contrast only, where their set has both."""
    for dataset, rows in scans.groupby("dataset", sort=False):
        people = set(rows.subject)
        for contrast in CONTRASTS:
            absent = people - set(rows.subject[rows.contrast == contrast])
            if absent and absent != people:
                text = f"{source}: {len(absent)} {dataset} subject(s) without {contrast} are left out for it."
                warnings.warn(text, stacklevel=3)


# The three kinds of source


def split_folder(source):
    """The folder of the split files of a prepared data folder, or None."""
    return next((f for f in (source / "splits", source / "Data" / "splits") if f.is_dir()), None)


def read_prepared(source, fold):
    """The rows of a folder in the prepared layout, and the labels of each set."""
    splits = split_folder(source)
    root = next((f for f in (source, source / "Data") if (f / "Train").is_dir() or (f / "Test").is_dir()), source)
    avail = splits / "avail_t2.csv"  # the authors' list of IXI subjects that have a T2
    have_t2 = set(map(_subject, pd.read_csv(avail, dtype=str).stack())) if avail.is_file() else None
    rows, labels = [], {}
    for name, split, path in split_files(splits, fold):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: the split file is missing; generate the cohort again or add the file.")
        layout = next((layout for layout in LAYOUTS if layout.name == AUTHORS.get(name)), None)
        dataset = layout.dataset if layout else name
        labels[dataset] = known_labels(layout) if layout else STUDY_LABELS
        shared = {"dataset": dataset, "split": split, "ignore": layout.ignore if layout else 2}
        shared["fold"] = fold if dataset == "healthy" and split != "test" else ""
        for entry in read_split(path):
            subject = shared | _prepared_files(root, entry)
            images = subject.pop("images")
            if dataset == "healthy" and have_t2 is not None and subject["subject"] not in have_t2:
                images.pop("t2", None)
            rows += [subject | {"contrast": contrast, "image": str(image)} for contrast, image in images.items()]
    return pd.DataFrame(rows, columns=COLUMNS), labels


def split_files(folder, fold):
    """The split files to read: (set, split, path). Healthy scans stand in the files called IXI."""
    healthy = [("train", f"IXI_train_fold{fold}.csv"), ("val", f"IXI_val_fold{fold}.csv"), ("test", "IXI_test.csv")]
    found = [("healthy", split, folder / name) for split, name in healthy]
    for path in sorted(folder.glob("*_test.csv")):
        name = path.name.removesuffix("_test.csv")
        if name != "IXI":
            found += [(name, "val", folder / f"{name}_val.csv"), (name, "test", path)]
    return found


def _subject(name):
    return re.sub(r"(_t[12])?(\.nii(\.gz)?)?$", "", name)


def _prepared_files(root, entry):
    """What a line of a split file says of a subject; "/Train/ixi/t1/..." is relative to the data folder."""
    columns = ("img_path", "mask_path", "seg_path")
    t1, mask, seg = (root / entry[c].lstrip("/") if entry.get(c) else "" for c in columns)
    named = {c: t1.parent.parent / c / re.sub(r"_t[12]\.nii", f"_{c}.nii", t1.name) for c in CONTRASTS}
    images = {contrast: path for contrast, path in named.items() if path.is_file()} or {"t1": t1}
    return {
        "subject": _subject(entry["img_name"]),
        "images": images,
        "mask": str(mask),
        "seg": str(seg),
        "age": entry.get("age", ""),
        "sex": sex(entry.get("SEX_ID (1=m, 2=f)", "")),
        "site": entry.get("site", "") or entry.get("Scanner Brand", ""),
    }


def read_downloaded(source):
    """The rows of data sets as downloaded, not yet split, and the labels of each set."""
    subjects = find(source)
    if not subjects:
        known = ", ".join(layout.name for layout in LAYOUTS)
        raise FileNotFoundError(
            f"{source}: has no folder `splits` and no scan of a data set that is known ({known}); generate the cohort "
            "there (notebook 01_cohort), correct the path, or list your scans in a CSV."
        )
    lesions = {s.layout.name for s in subjects if "seg" in s.files}
    rows, labels, unlabelled, spare = [], {}, {}, {}
    for found in subjects:
        dataset = found.layout.dataset
        if not dataset:  # BIDS: patients are those with a lesion
            control = found.layout.name not in lesions or found.group.lower() in CONTROLS
            dataset = "healthy" if control and "seg" not in found.files else "patients"
        if dataset != "healthy" and "seg" not in found.files:
            unlabelled[dataset] = unlabelled.get(dataset, 0) + 1
            continue
        if found.spare:
            spare[dataset] = spare.get(dataset, 0) + len(found.spare)
        if not found.layout.own_grid:
            labels[dataset] = known_labels(found.layout, labels.get(dataset, ()))
        files = {role: str(found.files.get(role, "")) for role in ("mask", "seg")}
        files["mask"] = files["mask"] or found.layout.mask
        about = {"subject": found.subject, "site": found.site, "age": found.age, "sex": found.sex}
        shared = {"dataset": dataset, "split": "", "fold": "", "ignore": found.layout.ignore} | files | about
        images = {contrast: found.files[contrast] for contrast in CONTRASTS if contrast in found.files}
        rows += [shared | {"contrast": contrast, "image": str(path)} for contrast, path in images.items()]
    for dataset, count in unlabelled.items():
        warnings.warn(f"{source}: {count} {dataset} subject(s) without a lesion mask are left out.", stacklevel=3)
    for dataset, count in spare.items():
        text = f"{source}: {count} further file(s) of {dataset} subjects (other runs or spaces) are unused."
        warnings.warn(text, stacklevel=3)
    return pd.DataFrame(rows, columns=COLUMNS), labels


def read_own(path):
    """The rows of a table of one's own, and the labels of each set: any."""
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
    table = table.reindex(columns=COLUMNS, fill_value="")
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
    table["sex"] = table["sex"].map(sex)
    return table.assign(fold=""), dict.fromkeys(table.dataset)


def known_labels(layout, others=()):
    """The labels that a lesion mask of a layout may have, and those of `others` as well; None: any."""
    if layout.labels is None or others is None:
        return None
    return tuple(sorted({0, *layout.labels, *others} | ({layout.ignore} - {""})))
