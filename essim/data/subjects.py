"""The subjects below a folder of data sets as downloaded: each file's role, and what tables say about people.

In: a folder, of one data set or of several side by side. Out: its subjects, {role: path} and what is known about them,
and sentences about what was left open. Paper: section 3 (data).
"""

import os
import re
from collections import Counter
from pathlib import Path

from essim.data.bids import read_name, root_of
from essim.data.layouts import BIDS, LAYOUTS, Subject
from essim.data.pairing import pair
from essim.data.people import read_people
from essim.data.prepared import CONTRASTS

TABLES = {name.casefold(): layout for layout in LAYOUTS if layout.people for name in layout.people.files}


def find_subjects(source):
    """The subjects below the folder `source`, a list of `Subject` by data set and name; and sentences to report.

    Links are followed, each folder is visited once. A damaged table of people becomes a sentence, and its subjects are
    in doubt unless another table lists them. Raises ValueError where two BIDS data sets have a subject of one name.
    """
    subjects, names, tables, sentences = {}, [], [], []
    for path in sorted(walk(source, sentences)):
        if path.name.casefold() in TABLES:
            tables.append(path)
        elif match := _match(path.relative_to(source).as_posix()):
            layout, role, rank, groups = match
            title = layout.subject.format(**groups)
            subject = subjects.setdefault((layout.name, title), Subject(layout, title, groups.get("site") or ""))
            _take(subject, role, rank, path)
        elif name := read_name(path):
            names.append(name)
    order = [layout.name for layout in LAYOUTS]
    subjects = [subjects[key] for key in sorted(subjects, key=lambda key: (order.index(key[0]), key[1]))]
    titles = {subject.name.partition("_ses-")[0] for subject in subjects}
    others = [name for name in names if name.subject in titles]  # other spaces of a data set with an entry of its own
    paired, strange, imageless = pair([name for name in names if name.subject not in titles])
    if others:
        path = others[0].path.relative_to(source)
        sentences.append(f"{len(others)} further file(s) of subjects in another space are unused, such as {path}")
    if strange:
        path = strange[0].path.relative_to(source)
        text = f"{len(strange)} file(s) look like masks, but not of lesions or brains, and are unused, such as {path}"
        sentences.append(f"{text}; a lesion mask is called `_label-lesion_mask`, a brain's `_desc-brain_mask`")
    if imageless:
        text = f"{len(imageless)} subject(s) without a T1w, T2w or FLAIR are left out, such as {imageless[0]}"
        sentences.append(f"{text}; phase images and those with filled lesions don't count")
    subjects += paired
    for path in tables:
        name = path.relative_to(source).as_posix()
        sentences += [f"{name}: {sentence}" for sentence in _add_people(subjects, path)]
    return subjects, sentences + _kin(subjects)


def walk(source, sentences):
    """Every file below a folder except hidden ones. A folder that several links lead to is visited once, by its own
    name where it has one below the source. What cannot be listed becomes one of the `sentences`."""
    folders, links, visited = [Path(source)], [], set()
    while folders or links:
        folder = (folders or links).pop(0)
        try:
            real = folder.resolve(strict=True)
            entries = [] if real in visited else sorted(os.scandir(folder), key=lambda entry: entry.name)
        except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError
            sentences.append(f"{folder}: cannot be listed ({getattr(error, 'strerror', error)}) and is left out")
            continue
        visited.add(real)
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = folder / entry.name
            if os.path.isdir(path):
                (links if path.is_symlink() else folders).append(path)
            else:
                yield path


def _match(path):
    """(layout, role, rank, groups) of a path below the source, or None: the first entry that knows it."""
    stem = re.sub(r"\.(nii(\.gz)?|mg[hz])$", "", path)
    if stem == path:
        return None
    for layout in LAYOUTS:
        for role, patterns in layout.files.items():
            for rank, pattern in enumerate(patterns):
                match = re.fullmatch(rf"(?:.*?/)?{pattern}", stem, re.IGNORECASE)
                if match:
                    return layout, role, rank, match.groupdict()
    return None


def _take(subject, role, rank, path):
    """Put a file into its role; the first of the best pattern stays, and others of the same rank are spare."""
    if role not in subject.files or rank < subject.ranks[role]:
        subject.files[role], subject.ranks[role] = path, rank
    elif rank == subject.ranks[role] and path.resolve() != subject.files[role].resolve():
        subject.spare.append((path, subject.files[role], "first by name"))


def _add_people(subjects, path):
    """Fill in age, sex and health from a table beside the scans; sentences about what is missing."""
    layout = TABLES[path.name.casefold()]
    here = [subject for subject in subjects if subject.layout is layout and _covers(path, subject)]
    if not here:
        return []
    try:
        if not path.read_bytes().strip():
            return ["is empty"]
        people, speaks, sentences = read_people(path)
    except (ValueError, OSError) as error:
        reason = str(error).removeprefix(f"{path}: ").rstrip(".")
        for subject in here:
            subject.doubts.append(f"{path.name} {reason.partition(';')[0]}")
        return [f"{reason}; its people have no age and sex"]
    keys = {subject.name: re.match(layout.people.key, subject.name, re.IGNORECASE)[1] for subject in here}
    lines = _assign_lines(set(keys.values()), people)
    for subject in here:
        _describe(subject, lines.get(keys[subject.name]), speaks, path.name)
    missing = sorted({name for name, key in keys.items() if key not in lines})
    if missing and (layout.people.complete or not lines):
        sentences.append(f"{len(missing)} of {len(keys)} subject(s) aren't listed, such as {missing[0]}")
    return sentences


def _describe(subject, person, speaks, table):
    """Copy what a table says about a person, None if nothing, to a subject; `speaks`: it says who is healthy."""
    if person:
        subject.age = person.age if subject.age == "" else subject.age
        subject.sex = subject.sex or person.sex
    if person and person.healthy is not None:
        subject.healthy = person.healthy and subject.healthy is not False
        if not person.healthy:
            subject.doubts.append(f"{table} calls them " + " and ".join(f"`{group}`" for group in person.groups))
    elif speaks:
        subject.doubts.append(f"{table} says of others, but not of them, whether they are healthy")


def _covers(path, subject):
    """Whether a table is about a subject: it lies in the subject's data set, or above it."""
    if subject.layout is not BIDS:
        return True
    image = next(subject.files[kind] for kind in CONTRASTS if kind in subject.files)
    root = root_of(path)
    return root_of(image)[: len(root)] == root


def _assign_lines(keys, people):
    """{key of a subject: its Person}: by name, else by what is left of it without `sub-`, `S` and leading zeros."""
    exact = {re.sub(r"^sub[-_ ]|_ses-.*$", "", name.strip().casefold()): person for name, person in people.items()}
    lines = {key: exact.pop(key.casefold()) for key in sorted(keys) if key.casefold() in exact}

    def loose(name):
        return re.sub(r"^(?:subject|subj|sub|s)?[-_ ]*0*(?=.)", "", name.casefold())

    wanted = Counter(loose(key) for key in keys - {*lines})
    offered = Counter(map(loose, exact))
    for name, person in exact.items():
        for key in keys - {*lines}:
            if loose(key) == loose(name) and wanted[loose(key)] == offered[loose(name)] == 1:
                lines[key] = person
    return lines


def _kin(subjects):
    """A sentence where releases that have people in common lie side by side."""
    releases = {}
    for subject in subjects:
        if subject.layout.kin:
            releases.setdefault(subject.layout.kin, set()).add(re.match(r"[A-Za-z]+\d*(-[A-Z]+)*", subject.name)[0])
    return [
        f"{', '.join(sorted(names))} have people in common ({kin}), who then count twice or are in two parts; keep one"
        for kin, names in releases.items()
        if len(names) > 1
    ]
