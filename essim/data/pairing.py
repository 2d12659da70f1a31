"""Which image, brain mask and lesion mask of a BIDS folder belong together.

In: the names of all files of a BIDS folder (essim.data.bids). Out: a `Subject` per session, with at most one file in
each role, and what isn't used and why; and the files that look like masks and match nothing. Paper: section 3 (data).
"""

import os
import re

from essim.data.bids import IMAGES, MATCHED, root_of
from essim.data.layouts import BIDS, NONZERO, Subject
from essim.data.prepared import KINDS

OTHER_IMAGE = 8  # how badly a mask drawn on another image fits: worse than any entity that only one of them names
STRIPPED = re.compile(r"brain|bet|skull|strip")
# Why an image is taken and not another: the parts of `_image_key`, in its order.
WHY = ("no contrast agent", "its lesion mask", "its lesion mask", "its brain mask", "its brain mask")
WHY += ("the scanner's own space", "raw data", "least processed", "fewest entities", "first by name")
LESION_MASK = 1  # the part of the key that is True where there is none
ALIKE = "one space for all contrasts, all stripped or none"
MASKS = {"mask": "brain", "seg": "lesion"}


def pair(names):
    """The `Subject`s of a BIDS folder's names, by name; the names that look like masks and match nothing; and people
    without a usable image.

    Raises ValueError where two BIDS data sets have a subject of the same name.
    """
    people, strange, imageless = {}, [], []
    roots = {root_of(name.path) for name in names if name.kind in IMAGES.values()}
    anybody = any(name.kind == "seg" for name in names)
    for name in sorted(names, key=lambda name: _order(name.path)):
        people.setdefault(name.subject, {}).setdefault(name.session, []).append(name)
    subjects = []
    for person, sessions in sorted(people.items()):
        names = [name for group in sessions.values() for name in group]
        # A bare `_dseg` beside tissue files shows tissues, not lesions.
        tissues = any(name.kind == "tissue" for name in names)
        unclear = [n for n in names if n.kind == "unclear" and (n.called or not tissues or "seg." not in n.path.name)]
        strange += [*unclear, *(name for name in names if name.kind == "unknown")]
        lesions = [name for name in names if name.kind == "seg"]
        imaged = _sessions(sessions)
        imageless += [] if imaged else [person]
        for session, group in sorted(imaged.items()):
            subject = _choose(f"{person}_ses-{session}" if session else person, group, roots)
            if lesions and "seg" not in subject.files:
                here = any(name.session in ("", session) for name in lesions)
                subject.ill = "their lesion mask is of another image" if here else "another session has the lesion mask"
            subject.doubts += ["others have lesion masks"] if anybody and not lesions else []
            subject.doubts += ["they have a mask that may be of lesions"] if unclear else []
            subjects.append(subject)
    return subjects, strange, imageless


def _sessions(sessions):
    """{session: names} of a person's sessions with images. Masks that name no session go to the only one there is."""
    imaged = {key: [*group] for key, group in sessions.items() if any(name.kind in IMAGES.values() for name in group)}
    if len(imaged) == 1:
        ((only, group),) = imaged.items()
        group += [n for key, rest in sessions.items() if key != only and "" in (key, only) for n in rest]
    return imaged


def _choose(title, names, roots):
    """The `Subject` of one session: an image of each contrast, all in one space, and the masks that belong to them."""
    kinds = {kind: _distinct([name for name in names if name.kind == kind]) for kind in KINDS}
    _check_roots(title, kinds, roots)
    ranked = [(_image_key(image, kinds), image) for kind in IMAGES.values() for image in kinds[kind]]
    ranked = _flair_last(sorted(ranked, key=_first))
    anchor, chosen = ranked[0][1], {}
    for key, image in ranked:
        # Where only a skull-stripped T1 shows what is brain, a FLAIR with its skull isn't used.
        alike = kinds["mask"] or image.kind != "flair" or _is_stripped(image) >= _is_stripped(anchor)
        if image.space == anchor.space and alike:
            chosen.setdefault(image.kind, (key, image))
    images = [image for _, image in chosen.values()]
    subject = Subject(BIDS, title, files={image.kind: image.path for image in images})
    for key, image in ranked:
        best, taken = chosen.get(image.kind, (key, anchor))
        if taken is not image:
            why = next((why for why, ours, theirs in zip(WHY, best, key, strict=True) if ours != theirs), ALIKE)
            subject.spare.append((image.path, taken.path, why))
    for kind in ("mask", "seg"):
        fitting = [entry for image in images for entry in _fitting(kinds[kind], image)]
        if fitting:
            best, taken = fitting[0]
            subject.files[kind] = taken.path
            rivals = [id(mask) for key, mask in fitting if key[0] == best[0]]
            for mask in kinds[kind]:
                if mask is not taken:
                    why = f"the first of several {MASKS[kind]} masks" if id(mask) in rivals else "the mask of its image"
                    subject.spare.append((mask.path, taken.path, why))
    if any(image.agent for image in images):
        subject.remarks.append("have a scan with contrast agent only, and it is taken")
    if not kinds["mask"] and all(map(_is_stripped, images)):
        subject.files["mask"] = NONZERO
    return subject


def _is_stripped(image):
    return bool(STRIPPED.search(image.entities.get("desc", "").casefold()))


def _flair_last(ranked):
    """[(key, image)] with those of FLAIR after the others, unless they alone have a lesion mask: which T1 and T2 are
    used doesn't depend on whether there is a FLAIR."""
    others, flair = ([e for e in ranked if (e[1].kind == "flair") is wanted] for wanted in (False, True))
    without = [all(key[LESION_MASK] for key, _ in entries) for entries in (others, flair)]
    return flair + others if without == [True, False] else others + flair


def _first(entry):
    return entry[0]


def _check_roots(title, kinds, roots):
    """ValueError where one subject's files come from two BIDS data sets; a folder of masks alone doesn't count."""
    images = [image for kind in IMAGES.values() for image in kinds[kind]]
    first = images[0]
    for name in (*images, *kinds["mask"], *kinds["seg"]):
        if root_of(name.path) != root_of(first.path) and root_of(name.path) in roots:
            text = f"{first.path} and {name.path}: two data sets have a {title}"
            raise ValueError(f"{text}; give their subjects names of their own, or list the scans in a CSV.")


def _image_key(image, kinds):
    """What decides between images of a contrast, see WHY; the smallest is taken."""
    lesions, brains = ([_badness(mask, image) for mask in kinds[kind]] for kind in ("seg", "mask"))
    lesion, brain = (min((b for b in badness if b is not None), default=None) for badness in (lesions, brains))
    description = image.entities.get("desc", "").casefold()
    steps = 3 if _is_stripped(image) else 0 if not description else 1 if description == "preproc" else 2
    derived = bool({"derivatives", "sourcedata"} & {*image.path.parts})
    masks = (lesion is None, lesion or 0, brain is None, brain or 0)
    return (image.agent, *masks, image.space != "", derived, steps, len(image.entities), _order(image.path))


def _badness(mask, image):
    """How badly the names of a mask and an image fit, 0 well; None where they contradict each other."""
    if mask.space != image.space:
        return None
    other = mask.of not in ("", image.kind)
    badness = OTHER_IMAGE if other else 0
    for key in MATCHED:
        ours, theirs = (re.sub(r"^0+(?=\d)", "", name.entities.get(key, "").casefold()) for name in (mask, image))
        if ours != theirs and (key == "res" or not other):  # the runs of another image are numbered separately
            if ours and theirs:
                return None
            badness += 1
    return 2 * badness + (mask.pipeline != image.pipeline)


def _fitting(masks, image):
    """[(key, mask)] that fit an image, the best first: whole lesions before their parts, masks before probabilities."""
    fitting = []
    for mask in masks:
        badness, called = _badness(mask, image), mask.called
        kind = ("probseg" in mask.path.name, "seg" in mask.path.name)
        if badness is not None:
            part = called not in ("", "lesion", "lesions", "l")
            fitting.append(((badness, part, len(called), *kind, _order(mask.path)), mask))
    return sorted(fitting, key=_first)


def _distinct(names):
    """Names of different files: of a file and links to it, the file itself, or else the first link."""
    by_file = {}
    for name in sorted(names, key=lambda name: (name.path.is_symlink(), _order(name.path))):
        by_file.setdefault(os.path.realpath(name.path), name)
    return list(by_file.values())


def _order(path):
    """A key that sorts paths as people count: run-2 before run-10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.as_posix())]
