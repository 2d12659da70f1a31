"""Is a scan table sound? Files, grids, labels and splits, looked at before anything is computed from them.

In: a scan table. Out: what is wrong, by file. Headers are read of all files, voxels of the lesion masks only.
"""

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
from tqdm import tqdm

from essim.data.layouts import NONZERO
from essim.data.splits import person

SAME_MM = 1e-3  # affines may differ by rounding


def find_problems(scans, labels, *, each):
    """What is wrong with the files and splits of a scan table: {file or subject: (sentence, indices of its rows)}.

    Args:
        labels: {set: the labels that its lesion masks may have, or None for any}.
        each: masks must fit each image of their subject, as in prepared data; otherwise one of them (those that fit
            none of it are on a grid of their own, which only some data sets have: leave these out of `labels`).
    """
    problems = {}

    def add(what, text, rows):
        before, already = problems.get(what, ("", set()))
        problems[what] = (f"{before}; {text}" if before and text not in before else text, already | set(rows))

    users = {}  # file -> rows
    for role in ("image", "mask", "seg"):
        for index, path in scans[role].items():
            if path not in ("", NONZERO):
                users.setdefault(path, []).append(index)
    headers = dict(zip(users, _several(_header, users, "check headers"), strict=True))
    for path, header in headers.items():
        if isinstance(header, str):
            add(path, header, users[path])

    segs = {path: scans.loc[users[path][0]] for path in sorted(set(scans.seg) - {""}) if path in users}
    readable = {path: row for path, row in segs.items() if not isinstance(headers[path], str)}
    found = _several(lambda path: _lesion(path, readable[path], labels), readable, "check lesion masks")
    for path, (text, _) in zip(readable, found, strict=True):
        if text:
            add(path, text, users[path])
    if mixed := sum(fractions for _, fractions in found):
        text = f"{mixed} lesion mask(s) have fractions, as linear interpolation leaves them; the nearest label counts."
        warnings.warn(text, stacklevel=3)

    for (dataset, subject), rows in scans.groupby(["dataset", "subject"], sort=False):
        images = [headers[path] for path in rows.image if not isinstance(headers[path], str)]
        for path in dict.fromkeys([*rows["mask"], *rows["seg"]]):
            header = headers.get(path)
            if not images or header is None or isinstance(header, str) or dataset not in labels:
                continue
            fits = [_same_grid(header, image) for image in images]
            if not (all(fits) if each else any(fits)):
                shapes = f"{list(header[0])} against {list(images[fits.index(False)][0])}"
                add(path, f"does not fit its image ({shapes}, or another affine)", rows.index)
        if dataset != "healthy" and (rows.seg == "").any():
            add(rows.image.iloc[0], "is a patient's scan without a lesion mask", rows.index)
        if rows.duplicated(["contrast", "split"]).any():
            add(subject, f"comes twice in {dataset}", rows.index)
    for (dataset, name), rows in scans.groupby(["dataset", scans.subject.map(person)], sort=False):
        if rows.split.nunique() > 1:
            add(name, f"is in two splits of {dataset} ({', '.join(sorted(rows.split.unique()))})", rows.index)
    return problems


def _several(work, files, what):
    """[work(file) for file in files], several at a time; a bar with the time left if it takes long."""
    with ThreadPoolExecutor() as pool:
        return list(tqdm(pool.map(work, files), total=len(files), desc=what, unit="file", delay=3))


def _header(path):
    """(shape, affine) in RAS+ of a NIfTI file, or what is wrong with it."""
    if not Path(path).is_file():
        return "is missing"
    try:
        volume = nib.load(path)
        shape = volume.shape[:3] if volume.shape[3:] == (1,) else volume.shape
        if len(shape) != 3:
            return f"has {len(shape)} dimensions, a scan must have 3"
        change = nib.io_orientation(volume.affine)
        affine = volume.affine @ nib.orientations.inv_ornt_aff(change, shape)
        return tuple(shape[axis] for axis in np.argsort(change[:, 0])), affine
    except Exception as error:  # whatever a damaged file makes the reader raise
        return f"cannot be read as NIfTI ({type(error).__name__})"


def _lesion(path, row, labels):
    """(what is wrong with the voxels of a lesion mask, or None; whether it has fractions)."""
    try:
        values = np.asanyarray(nib.load(path).dataobj)
        if not ((values >= 0) & (values < 255.5)).all():
            return "has values that are no labels (negative, above 255 or NaN)", False
    except Exception as error:  # whatever a damaged file makes the reader raise
        return f"cannot be read as NIfTI ({type(error).__name__}), the file is damaged", False
    whole = np.rint(values).astype(np.uint8)
    fractions = bool((whole != values).any())  # between two labels lie others: these are not asked for
    present = set(np.flatnonzero(np.bincount(whole.ravel())).tolist())
    known = labels.get(row["dataset"])
    if known and not fractions and present - set(known):
        return f"has the label(s) {sorted(present - set(known))}, known are {sorted(known)}", fractions
    if not present - {0, row["ignore"]}:
        return "has no lesion voxel; list the scan as healthy or leave it out", fractions
    return None, fractions


def _same_grid(one, other):
    return one[0] == other[0] and np.allclose(one[1], other[1], atol=SAME_MM)
