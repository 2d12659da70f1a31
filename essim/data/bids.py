"""BIDS names: what a file is, from what its name says.

In: a path such as sub-01/ses-2/anat/sub-01_ses-2_run-1_T1w.nii.gz, or people's variants of it. Out: a `Name`: subject,
session, entities, and whether it is an image (a T1, a T2, a FLAIR), a mask (of the brain, of lesions), or looks like a
mask of something unknown. Which of them belong together: essim.data.pairing. Source: the BIDS specification 1.10,
derivatives included.
"""

import re
from dataclasses import dataclass
from pathlib import Path

IMAGES = {"t1w": "t1", "t2w": "t2", "flair": "flair"}
MODALITIES = IMAGES | {"t1": "t1", "t2": "t2"} | dict.fromkeys(("dwi", "adc", "trace", "swi", "pdw"), "other")
MATCHED = ("run", "acq", "rec", "ce", "part", "echo", "inv", "res")  # entities that a mask shares with its image
# Entities that say how a scan was made; all others say what it shows.
MAKING = {*MATCHED, "space", "den", "task", "dir", "mt", "mod", "flip", "chunk", "from", "to", "mode", "sample", "proc"}
MAKING |= {"rater", "hemi", "split", "trc", "recording", "stain", "atlas"}
MASK = re.compile(r"\w*mask|msk|roi|[dp]?seg|probseg|segm\w*|labels?|lesions?")
LESION = re.compile(
    r"lesion|tumou?r|stroke|infarct|glioma|metasta|hyperintens|h(ae|e|a)morrh|h(ae|e|a)matoma|dysplasia|o?edema|abnormal"
    r"|anomal|patholog|contusion|isch(ae|e|a)mi|resection|cavernoma|wmhs?$|wmls?$|^(l|ms|fcd|gtv|wt)$"
)
# ... but not what lies beside a lesion, lacks one, or was made from one.
NO_LESION = re.compile(
    r"^non(?!enh)|^no(?=les|tum|str|inf|path)|^not|peri(?=les|tum|str|inf|isch)|contra(?!st)|ipsi|without|free$|less$|fill"
    r"|inpaint|mirror|disconn|overlap|distance|distmap|hemisph"
)
ALTERED = re.compile(r"fill|inpaint|synth|lesion|mask|simul|void")  # images that were changed after the scan
BRAIN = re.compile(r"(brain|bet|hdbet|brainextraction|synthstrip)(mask)?")
TISSUE = re.compile(
    r"(c|sc|s)?gm|(n?a)?wm|csf|bs|cb|nb|bg|bn|st|a(parca)?seg\w*|aparc\w*|ribbon|head|skull|face|deface\w*"
)
AGENT = re.compile(
    r"gd|gad|post(?=$|con|gd|gad|km|inj|ce|t1|t2|mpr|3d)|(?<!high)contrast|enhanc|^ce($|t1|t2|mpr|3d)|t1ce?$|km$"
)
NO_AGENT = re.compile(r"^(no(?!rm)|without|pre|un|native)")
NATIVE = {"", "orig", "native", "individual", "anat", "scanner", "subject", "self", "raw", *MODALITIES}
ELSEWHERE = {"func", "perf", "pet", "fmap", "meg", "eeg", "ieeg", "dwi", "swi"}  # folders without masks of the head


@dataclass(frozen=True)
class Name:
    """What the name of a file below a BIDS folder says. `kind`: t1, t2, flair, mask (the brain), seg (lesions), tissue,
    unclear (a mask, perhaps of lesions), unknown (a mask of something else), or "" (not needed)."""

    path: Path
    subject: str  # sub-01
    session: str  # "" where none is named
    kind: str
    entities: dict
    of: str  # the image that a mask was drawn on, where it says so: t1, t2, flair, other
    called: str  # the word that makes a mask one of a lesion, or of something beside it

    @property
    def space(self):
        """The space that the file lies in, "" for that of the scanner."""
        space = self.entities.get("space", "").casefold()
        return "" if space in NATIVE else space

    @property
    def agent(self):
        """Whether the scan was made with a contrast agent, as far as its name says."""
        values = {key: self.entities.get(key, "").casefold() for key in ("ce", "acq", "rec", "desc")}
        told = {key: value for key, value in values.items() if value and not NO_AGENT.search(value)}
        return "ce" in told or any(AGENT.search(value) for value in told.values())

    @property
    def pipeline(self):
        """The folder of the raw data or the derivatives that the file lies in."""
        parts = self.path.parts[:-1]
        return parts[: next((i for i, part in enumerate(parts) if part.startswith("sub-")), None)]


def read_name(path):
    """The `Name` of a volume; None where it isn't named as in BIDS.

    A number after the subject, as in sub-01_2_T1w, belongs to the subject's name.
    """
    match = re.fullmatch(r"(sub-[^_/]+(?:_\d+(?=_))*)_(.+)\.(?:nii(?:\.gz)?|mg[hz])", path.name)
    if not match:
        return None
    entities, words = {}, []
    for token in match[2].split("_"):
        key, dash, value = token.partition("-")
        if dash and key:
            entities[key.casefold()] = entities.get(key.casefold(), "") + value
        else:
            words.append(token.casefold())
    folders = [part[4:] for part in path.parts[:-1] if part.startswith("ses-")]
    session = entities.pop("ses", folders[-1] if folders else "")
    kind, called = _kind(entities, words, path.parent.name)
    told = (*words, entities.get("mod", "").casefold(), entities.get("space", "").casefold())
    of = [MODALITIES[word] for word in told if word in MODALITIES]
    of = of[0] if of and kind not in IMAGES.values() else ""
    return Name(path, match[1], session, kind, entities, of, called)


def contrast_of(path):
    """The contrast that an image's name gives, one of the values of IMAGES; None where it gives none."""
    name = read_name(path)
    return name.kind if name and name.kind in IMAGES.values() else None


def _kind(entities, words, folder):
    """(kind of a file or "", the word for a lesion) from its entities, its words without a dash, and its folder."""
    last = words[-1] if words else ""
    shown = [value.casefold() for key, value in entities.items() if key not in MAKING]
    shown += [key for key in entities if key not in MAKING and LESION.search(key)]
    shown += [word for word in words if word not in MODALITIES]
    image, masked = last in MODALITIES, any(MASK.fullmatch(word) for word in words)
    lesions = [token for token in shown if LESION.search(token)]
    if lesions and not any(NO_LESION.search(token) for token in lesions):
        labelled = "label" in entities or any(LESION.search(token) for token in (*entities, *words))
        return ("seg" if masked or labelled else "unclear"), min(lesions, key=len)
    if image:
        usable = last in IMAGES and len(words) == 1 and not {"label", "hemi"} & {*entities}
        usable = usable and entities.get("part", "mag").casefold() == "mag"
        return (IMAGES[last] if usable and not ALTERED.search(entities.get("desc", "").casefold()) else ""), ""
    if lesions:
        return "unclear", lesions[0]
    if not masked and not any(re.search("mask|probseg|dseg", token) for token in shown):
        return "", ""
    tokens = [
        token for token in shown if not MASK.fullmatch(token) or BRAIN.fullmatch(token) or TISSUE.fullmatch(token)
    ]
    if last.endswith(("mask", "msk", "roi")) and any(BRAIN.fullmatch(token) for token in tokens):
        return ("mask" if folder not in ELSEWHERE and "task" not in entities else ""), ""
    if any(TISSUE.fullmatch(token) for token in tokens):
        return "tissue", ""
    if any("brain" in token for token in tokens) or folder in ELSEWHERE - {"dwi"}:
        return "", ""
    return ("unknown" if tokens else "unclear"), ""


def root_of(path):
    """The folder of the BIDS data set that a file belongs to."""
    parts = path.parts[:-1]
    end = next((i for i, part in enumerate(parts) if re.match("sub-|(derivatives|rawdata|sourcedata)$", part)), None)
    return parts[:end]
