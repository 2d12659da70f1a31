"""Is a scan table sound? Files, grids, labels and splits, checked before anything is computed from them.

In: a scan table. Out: what is wrong, by file. All headers are read, but voxels only of lesion masks.
"""

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from essim.data.grids import WAY_OUT, conflict, same_grid
from essim.data.headers import grid_of, opened
from essim.data.layouts import NONZERO
from essim.data.splits import people_of

AT_ONCE = 2  # files: one is read while another is waited for; more threads only wait for each other


def find_problems(scans, labels, *, each, other_grids=False):
    """What is wrong with the files and splits of a scan table: {file or subject: (sentence, indices of its rows)}.

    Args:
        labels: {set: the labels that its lesion masks may have, or None for any}.
        each: whether masks must fit every image of their subject, as in prepared data, or only one of them. Sets whose
            masks may lie on a grid of their own, fitting none, are left out of `labels`.
        other_grids: masks may lie on a grid of their own in their scan's space, since they will be resampled.
    """
    rows_of = {}  # by file
    for role in ("image", "mask", "seg"):
        for index, path in scans[role].items():
            if path not in ("", NONZERO):
                rows_of.setdefault(path, []).append(index)
    headers = _look(_read_header, rows_of, "check headers")
    grids = {path: grid for path, (grid, _) in headers.items() if grid}
    segs = {path: scans.loc[rows_of[path][0]] for path in sorted({*scans.seg} & {*grids})}
    lesions = _look(lambda path: _check_lesion(path, segs[path], labels), segs, "check lesion masks")
    if mixed := sum(fractions for fractions, _ in lesions.values()):
        text = f"{mixed} lesion mask(s) have fractional values, as linear interpolation leaves; they are rounded."
        warnings.warn(text, stacklevel=3)

    findings = [(path, text, rows_of[path]) for path, (_, text) in (*headers.items(), *lesions.items()) if text]
    findings += _check_subjects(scans, labels, grids, each, other_grids)
    findings += _check_splits(scans)
    problems = {}
    for name, text, rows in findings:
        before, known = problems.get(name, ("", set()))
        problems[name] = (f"{before}; {text}" if before and text not in before else text, known | set(rows))
    return problems


def _look(work, files, what):
    """{file: work(file)}, several at a time; with a progress bar if it takes long."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = tqdm(pool.map(work, files), total=len(files), desc=what, unit="file", delay=3)
        return dict(zip(files, results, strict=True))


# Files: each returns what it found, and what is wrong or None


def _read_header(path):
    """The `Grid` of a file, None where it cannot be read; and what is wrong."""
    if not Path(path).exists():
        return None, "is missing"
    try:
        return grid_of(path), None
    except (OSError, ValueError) as error:
        return None, str(error).removeprefix(f"{path}: ").rstrip(".")


def _check_lesion(path, row, labels):
    """Whether the voxels of a lesion mask have fractional values; and what is wrong."""
    try:
        with opened(path) as (image, _):
            values = np.asanyarray(image.dataobj)
        if not ((values >= 0) & (values < 255.5)).all():
            return False, "has values that are not labels (negative, above 255 or NaN)"
    except Exception as error:  # whatever a damaged file makes the reader raise
        return False, f"cannot be read as NIfTI ({type(error).__name__}); the file is damaged"
    # numpy rounds small integers in float16, which is slow
    whole = (values if values.dtype.kind in "bui" else np.rint(values)).astype(np.uint8)
    fractions = bool((whole != values).any())  # interpolating between two labels makes others: not checked
    present = set(np.flatnonzero(np.bincount(whole.ravel("K"))).tolist())
    allowed = labels.get(row["dataset"])
    if allowed and not fractions and present - set(allowed):
        return fractions, f"has the label(s) {sorted(present - set(allowed))}, where only {sorted(allowed)} are allowed"
    if not present - {0, row["ignore"]}:
        return fractions, "has no lesion voxel; list the scan as healthy or leave it out"
    return fractions, None


# Subjects and people: each yields (file or subject, what is wrong, indices of its rows)


def _check_subjects(scans, labels, grids, each, other_grids):
    """Masks on a different grid from their image, patients without a lesion mask, scans that appear twice."""
    for (dataset, subject), rows in scans.groupby(["dataset", "subject"], sort=False):
        images = [grids[path] for path in rows.image if path in grids]
        for path in dict.fromkeys([*rows["mask"], *rows["seg"]]):
            if path in grids and (text := _misfit(grids[path], images, each, other_grids or dataset not in labels)):
                yield path, text, rows.index
        if dataset != "healthy" and (rows.seg == "").any():
            yield rows.image.iloc[0], "is a patient's scan without a lesion mask", rows.index
        if rows.duplicated(["contrast", "split"]).any():
            yield subject, f"appears twice in {dataset}", rows.index


def _misfit(mask, images, each, other_grids):
    """What is wrong between a mask and its subject's images; "" if nothing."""
    fits = [same_grid(mask, image) for image in images]
    if all(fits) or any(fits) and not each:
        return ""
    for image in images:
        if reason := conflict(mask, image):
            return f"does not fit {image.path}: {reason}; {WAY_OUT}"
    if other_grids:
        return ""
    shapes = f"{list(mask.shape)} against {list(images[fits.index(False)].shape)}"
    return f"does not fit its image ({shapes}, or another affine)"


def _check_splits(scans):
    """People who are in more than one part."""
    for (dataset, person), rows in scans.groupby(["dataset", people_of(scans)], sort=False):
        if rows.split.nunique() > 1:
            yield person, f"is in two splits of {dataset} ({', '.join(sorted(rows.split.unique()))})", rows.index
