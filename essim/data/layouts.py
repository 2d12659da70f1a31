"""Data sets as their authors publish them: which file is what, one entry a data set.

In: a folder as downloaded, of one data set or of several side by side. Out: its subjects, {role: path} and what is
known about them. An entry says how files are named; nothing else in essim knows about a data set. To add one, add an
entry.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

NONZERO = "nonzero"  # instead of a mask's path: the image is stripped, its brain is what isn't zero


@dataclass(frozen=True)
class People:
    """A table beside the scans that knows age and sex: its file's name, columns, and the key in a subject's name."""

    file: str
    key: str  # the column that names the subject
    key_in_subject: str  # regular expression; its group 1 is the key
    age: str
    sex: str
    group: str = ""  # the column that tells patients from controls


@dataclass(frozen=True)
class Layout:
    """One data set. `files` maps a role to regular expressions of a file's path below the source, without `.nii.gz`,
    the best first; their group `subject` names the subject, `site` (if any) its scanner."""

    name: str
    dataset: str  # "healthy" or the pathology; "" where each subject is one or the other
    files: dict[str, tuple[str, ...]]
    subject: str = "{subject}"  # the subject's name, from the groups
    mask: str = ""  # where there is no mask file: NONZERO, or "" for a head with its skull
    labels: tuple[int, ...] | None = (1,)  # of lesions in `seg`; None: any
    ignore: int | str = ""  # label of voxels that are neither lesion nor background
    own_grid: bool = False  # mask and lesions may lie on the grid of an image that isn't used (FLAIR)
    people: People | None = None


_BIDS = r"(?:sub-[^/]+/)?(?:ses-[^/]+/)?(?:anat/)?(?P<subject>sub-[A-Za-z0-9]+(?:_ses-[A-Za-z0-9]+)?)"
_ENTITIES = r"(?:_(?!label-)[a-z]+-[A-Za-z0-9]+)*"
_WMH = r"(?:training|test)/(?P<site>Utrecht|Singapore|Amsterdam)/(?:[^/]+/)?(?P<id>\d+)"

LAYOUTS = (
    Layout(
        "IXI",
        "healthy",
        {role: (rf"(?P<subject>IXI\d+-(?P<site>Guys|HH|IOP)-\d+)-{role.upper()}",) for role in ("t1", "t2")},
        people=People("IXI.xls", "IXI_ID", r"IXI0*(\d+)", "AGE", "SEX_ID (1=m, 2=f)"),
    ),
    Layout(
        "BraTS21",
        "tumour",
        {role: (rf"(?P<subject>BraTS2021_\d+)_{role}",) for role in ("t1", "t2", "seg")},
        mask=NONZERO,
        labels=(1, 2, 4),
    ),
    Layout(
        "BraTS23",
        "tumour",
        {
            role: (rf"(?P<subject>BraTS-GLI-\d+-\d+)-{kind}",)
            for role, kind in {"t1": "t1n", "t2": "t2w", "seg": "seg"}.items()
        },
        mask=NONZERO,
        labels=(1, 2, 3),
    ),
    Layout(
        "ATLAS v2.0",
        "stroke",
        {
            role: (rf"(?P<subject>sub-(?P<site>r\d+)s\d+_ses-\d+)_space-MNI152NLin2009aSym_{kind}",)
            for role, kind in {"t1": "T1w", "seg": "label-L_desc-T1lesion_mask"}.items()
        },
    ),
    Layout(
        "MSLUB",
        "ms",
        {
            role: tuple(rf"(?P<subject>patient\d+)/{folder}(?:patient\d+_)?{kind}" for folder in ("", "raw/"))
            for role, kind in {"t1": "T1W", "t2": "T2W", "mask": "brainmask", "seg": "consensus_gt"}.items()
        },
        own_grid=True,
    ),
    Layout(
        "WMH 2017",
        "wmh",
        {"t1": (rf"{_WMH}/pre/T1", rf"{_WMH}/orig/T1"), "seg": (rf"{_WMH}/wmh",)},
        subject="{site}_{id}",
        ignore=2,  # other pathology, which nobody has outlined
    ),
    Layout(  # what is left in a BIDS folder, raw or derivatives
        "BIDS",
        "",
        {
            "t1": (rf"{_BIDS}{_ENTITIES}_T1w",),
            "t2": (rf"{_BIDS}{_ENTITIES}_T2w",),
            "mask": (rf"{_BIDS}{_ENTITIES}_desc-brain_mask", rf"{_BIDS}{_ENTITIES}_label-brain_mask"),
            "seg": (rf"{_BIDS}{_ENTITIES}_(?:label|desc)-(?:\w*[Ll]esion\w*|L|WMH)(?:_desc-\w+)?_(?:mask|dseg|roi)",),
        },
        labels=None,
        people=People("participants.tsv", "participant_id", r"(sub-[A-Za-z0-9]+)", "age", "sex", "group"),
    ),
)
AUTHORS = {"Brats21": "BraTS21", "ATLAS_v2": "ATLAS v2.0", "MSLUB": "MSLUB", "WMH": "WMH 2017"}  # their name: layout
CONTROLS = {"control", "controls", "healthy", "hc", "cn", "hv", "normal"}  # what participants.tsv calls them


@dataclass
class Subject:
    """One subject of a data set: its files by role, {role: path below the source}."""

    layout: Layout
    name: str
    site: str
    files: dict[str, Path] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)  # of the patterns that the files match, 0 the best
    spare: list[Path] = field(default_factory=list)  # files in a role that is taken
    age: str | float = ""
    sex: str = ""
    group: str = ""


def find_subjects(source):
    """The subjects below the folder `source`, a list of `Subject` by data set and name. Links are followed.

    Raises ValueError where two BIDS data sets have a subject of one name, and for a damaged table of people.
    """
    subjects, tables = {}, []
    for path in sorted(_walk(source)):
        if any(layout.people and layout.people.file == path.name for layout in LAYOUTS):
            tables.append(path)
        match = _match(path.relative_to(source).as_posix())
        if match:
            layout, role, rank, groups = match
            name = layout.subject.format(**groups)
            subject = subjects.setdefault((layout.name, name), Subject(layout, name, groups.get("site") or ""))
            _take(subject, role, rank, path)
    order = [layout.name for layout in LAYOUTS]
    subjects = [subjects[key] for key in sorted(subjects, key=lambda key: (order.index(key[0]), key[1]))]
    for path in tables:
        _add_people(subjects, path)
    return subjects


def _walk(source):
    """Every file below a folder that isn't hidden."""
    for folder, folders, names in os.walk(source, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder) / name for name in names if not name.startswith("."))


def _match(path):
    """(layout, role, rank, groups) of a path below the source, or None: the first entry that knows it."""
    stem = re.sub(r"\.nii(\.gz)?$", "", path)
    if stem == path:
        return None
    for layout in LAYOUTS:
        for role, patterns in layout.files.items():
            for rank, pattern in enumerate(patterns):
                match = re.fullmatch(rf"(?:.*/)?{pattern}", stem)
                if match:
                    return layout, role, rank, match.groupdict()
    return None


def _take(subject, role, rank, path):
    """Put a file into its role; of several the best pattern's first stays, and what loses at the same rank is spare."""
    if role not in subject.files or rank < subject.ranks[role]:
        subject.files[role], subject.ranks[role] = path, rank
    elif rank == subject.ranks[role]:
        if not subject.layout.dataset and _root(path) != _root(subject.files[role]):
            text = f"{subject.files[role]} and {path}: two data sets have a {subject.name}"
            raise ValueError(f"{text}; give their subjects names of their own, or list the scans in a CSV.")
        subject.spare.append(path)


def _root(path):
    """The folder of a BIDS data set that a file belongs to."""
    parts = path.parts[:-1]
    root = parts[: next((i for i, part in enumerate(parts) if re.match("sub-|derivatives$", part)), None)]
    return root[:-1] if root[-1:] in (("rawdata",), ("sourcedata",)) else root


def _add_people(subjects, path):
    """Fill in age, sex and group from a table beside the scans."""
    for people in {layout.people for layout in LAYOUTS if layout.people and layout.people.file == path.name}:
        lines = _read_people(people, path)
        for subject in subjects:
            key = re.match(people.key_in_subject, subject.name)
            line = lines.get(key[1]) if key and subject.layout.people == people else None
            if line:
                subject.age, subject.sex = line.get(people.age, ""), sex_of(line.get(people.sex, ""))
                subject.group = str(line.get(people.group, ""))


def _read_people(people, path):
    """{key: line} of a table beside the scans; a subject can stand there twice: the line with fewer gaps counts."""
    excel = path.suffix == ".xls"
    try:
        table = pd.read_excel(path, engine="calamine") if excel else pd.read_csv(path, sep="\t")
    except Exception as error:  # whatever a damaged table makes the reader raise
        raise ValueError(f"{path}: cannot be read ({' '.join(str(error).split())}); fetch it again.") from error
    if people.key not in table:
        raise ValueError(f"{path}: has no column `{people.key}`; fetch it again or move it away.")
    rows = table.assign(gaps=table.isna().sum(axis=1)).sort_values("gaps", kind="stable").astype(object)
    lines = rows.where(rows.notna(), "").to_dict("records")
    return {str(line[people.key]).removesuffix(".0"): line for line in reversed(lines)}


def sex_of(value):
    """ "m", "f" or "" from what a table says: 1 or 2, M or F, male or female."""
    text = str(value).strip().lower().removesuffix(".0")
    return {"1": "m", "2": "f"}.get(text, text[0] if text in {"m", "f", "male", "female"} else "")


def known_labels(layout, others=()):
    """The labels that a lesion mask of a layout may have, and those of `others` as well; None: any."""
    if layout.labels is None or others is None:
        return None
    return tuple(sorted({0, *layout.labels, *others} | ({layout.ignore} - {""})))
