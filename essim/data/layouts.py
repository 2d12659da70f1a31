"""Data sets as their authors publish them: which file is what, one entry per data set.

In: what their authors say about them. Out: LAYOUTS. An entry says how files are named and what is known of the set;
nothing else in essim knows about a data set (BIDS, whose names are a language, has essim.data.bids). To add one, add
an entry.
Paper: section 3 (data).
"""

from dataclasses import dataclass, field
from pathlib import Path

NONZERO = "nonzero"  # instead of a mask's path: the image is skull-stripped, all that isn't zero is brain


@dataclass(frozen=True)
class People:
    """Tables beside the scans that give age, sex and perhaps group (essim.data.people)."""

    files: tuple[str, ...]  # their names, whatever the case
    key: str  # regular expression at the beginning of a subject's name; its group 1 names the person in the table
    complete: bool = True  # everybody should be listed


@dataclass(frozen=True)
class Layout:
    """One data set. `files` maps a role to regular expressions of a file's path below the source, without `.nii.gz`,
    the best first; their group `subject` names the subject, `site` (if any) its scanner. The role `t1c` is a T1 with
    contrast agent, which is not taken as T1."""

    name: str
    dataset: str  # "healthy" or the pathology; "" where each subject is one or the other
    files: dict[str, tuple[str, ...]]
    subject: str = "{subject}"  # the subject's name, from the groups
    mask: str = ""  # where there is no mask file: NONZERO, or "" for a head with its skull
    labels: tuple[int, ...] | None = (1,)  # of lesions in `seg`; None: any
    ignore: int | str = ""  # label of voxels that are neither lesion nor background
    own_grid: bool = False  # mask and lesions may lie on the grid of an image that isn't included
    people: People | None = None
    kin: str = ""  # entries with the same word have people in common


def _roles(*patterns, **kinds):
    """{role: patterns}, which differ in their `{kind}`."""
    return {role: tuple(pattern.replace("{kind}", kind) for pattern in patterns) for role, kind in kinds.items()}


_WMH = r"(?P<site>Utrecht|Singapore|Amsterdam|GE3T|GE1T5)/(?:[^/]+/)?(?P<id>\d+)"
_SINCE_2023 = {"t1": "t1n", "t2": "t2w", "flair": "t2f", "t1c": "t1c"}  # how BraTS calls its images
_GLIOMA = "gliomas of TCIA and the challenges"

LAYOUTS = (
    Layout(
        "IXI",
        "healthy",
        _roles(r"(?P<subject>IXI\d+-(?P<site>Guys|HH|IOP)-\d+)-{kind}", t1="T1", t2="T2"),
        people=People(("IXI.xls", "IXI.xlsx", "IXI.csv"), r"IXI(\d+)", complete=False),
    ),
    Layout(  # BraTS 2017 to 2020; one lesion mask of 2020 kept the name that its rater gave it
        "BraTS17-20",
        "tumour",
        _roles(r"(?P<subject>BraTS(?:1[789]|20)_\w+?)_{kind}", t1="t1", t2="t2", flair="flair", t1c="t1ce")
        | {
            "seg": (
                r"(?P<subject>BraTS(?:1[789]|20)_\w+?)_seg",
                r"(?P<subject>BraTS(?:1[789]|20)_\w+?)/W39_1998\.09\.19_Segm",
            )
        },
        mask=NONZERO,
        labels=(1, 2, 4),
        kin=_GLIOMA,
    ),
    Layout(
        "BraTS21",
        "tumour",
        _roles(r"(?P<subject>BraTS2021_\d+)_{kind}", t1="t1", t2="t2", flair="flair", t1c="t1ce", seg="seg"),
        mask=NONZERO,
        labels=(1, 2, 4),
        kin=_GLIOMA,
    ),
    Layout(  # BraTS since 2023, gliomas before and after treatment; 4: the cavity of a resection
        "BraTS23",
        "tumour",
        _roles(r"(?P<subject>BraTS-GLI-\d+-\d+)-{kind}", **_SINCE_2023, seg="seg"),
        mask=NONZERO,
        labels=(1, 2, 3, 4),
        kin=_GLIOMA,
    ),
    Layout(  # meningiomas, metastases, children, Africa
        "BraTS23 MEN/MET/PED/SSA",
        "tumour",
        _roles(r"(?P<subject>BraTS-(?:MEN|MET|PED|SSA)-\d+-\d+)-{kind}", **_SINCE_2023, seg="seg"),
        mask=NONZERO,
        labels=(1, 2, 3, 4),
    ),
    Layout(  # for radiotherapy, with skull and a T1 with contrast agent only
        "BraTS24 MEN-RT",
        "tumour",
        _roles(r"(?P<subject>BraTS-MEN-RT-\d+-\d+)_{kind}", **_SINCE_2023, seg="gtv"),
    ),
    Layout(
        "UCSF-PDGM",
        "tumour",
        _roles(
            r"(?P<subject>UCSF-PDGM-\d+(?:_FU\d+d)?)_{kind}",
            **{"t1": "T1", "t2": "T2", "flair": "FLAIR", "t1c": "T1c"},
            **{"mask": "brain_segmentation", "seg": "tumor_segmentation"},
        ),
        mask=NONZERO,
        labels=(1, 2, 4),
        kin=_GLIOMA,
    ),
    Layout(
        "UPENN-GBM",
        "tumour",
        _roles(r"(?P<subject>UPENN-GBM-\d+_\d+)_{kind}", t1="T1", t2="T2", flair="FLAIR", t1c="T1GD")
        | {"seg": tuple(rf"(?P<subject>UPENN-GBM-\d+_\d+)_{kind}" for kind in ("segm", "automated_approx_segm"))},
        mask=NONZERO,
        labels=(1, 2, 4),
        kin=_GLIOMA,
    ),
    Layout(
        "ATLAS v2.0",
        "stroke",
        _roles(
            r"(?P<subject>sub-(?P<site>r\d+)s\d+_ses-\d+)_space-MNI152NLin2009aSym_{kind}",
            t1="T1w",
            seg="label-(?:L|lesion)_desc-T1lesion_mask",
        ),
        labels=(1, 255),
    ),
    Layout(
        "MSLUB",
        "ms",
        _roles(
            *(rf"(?P<subject>patient\d+)/{folder}(?:patient\d+_)?{{kind}}" for folder in ("", "raw/")),
            **{"t1": "T1W", "t2": "T2W", "flair": "FLAIR", "mask": "brainmask", "seg": "consensus_gt"},
        ),
        own_grid=True,
    ),
    Layout(
        "WMH 2017",
        "wmh",
        _roles(rf"{_WMH}/pre/{{kind}}", rf"{_WMH}/orig/{{kind}}", t1="T1", flair="FLAIR") | {"seg": (rf"{_WMH}/wmh",)},
        subject="{site}_{id}",
        ignore=2,  # other pathology, which nobody has outlined
    ),
    Layout(  # what is left in a BIDS folder, raw or derivatives
        "BIDS",
        "",
        {},
        labels=None,
        people=People(("participants.tsv", "participants.csv", "participants.xlsx"), r"sub-(.+?)(?:_ses-[^_]+)?$"),
    ),
)
BIDS = LAYOUTS[-1]
AUTHORS = {"Brats21": "BraTS21", "ATLAS_v2": "ATLAS v2.0", "MSLUB": "MSLUB", "WMH": "WMH 2017"}  # their name: layout


@dataclass
class Subject:
    """One subject of a data set: its files by role, {role: path below the source}."""

    layout: Layout
    name: str
    site: str = ""
    files: dict[str, Path] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)  # of the patterns that the files match, 0 the best
    spare: list[tuple[Path, Path, str]] = field(default_factory=list)  # what isn't used, what is used instead, and why
    age: int | float | str = ""
    sex: str = ""
    healthy: bool | None = None  # what a table says; None: nothing
    ill: str = ""  # other evidence that it is ill, though there is no lesion mask in `files`
    doubts: list[str] = field(default_factory=list)  # why it may be ill, unless a table calls it healthy
    remarks: list[str] = field(default_factory=list)  # what else to report about it


def known_labels(layout, others=()):
    """The labels that a lesion mask of a layout may have, and those of `others` as well; None: any."""
    if layout.labels is None or others is None:
        return None
    return tuple(sorted({0, *layout.labels, *others} | ({layout.ignore} - {""})))
