"""Small folders of data sets as downloaded, BIDS above all: for the tests of what is read from them."""

import warnings

import numpy as np
from helpers import AFFINE, save

from essim.data.datasets import load_scans

SHAPE = (6, 7, 5)


def scan(path, shape=SHAPE, affine=AFFINE, dtype=np.int16):
    return save(path, np.ones(shape, dtype), affine)


def labels(path, *values, shape=SHAPE, affine=AFFINE):
    """A lesion mask with one voxel of each label."""
    voxels = np.zeros(shape, np.uint8)
    voxels.ravel()[: len(values)] = values
    return save(path, voxels, affine)


def quietly(source, **options):
    """The scans of a source that has nothing to be said about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_scans(source, **options)


def told(source, **options):
    """(scans, all that was said about them, below the source)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = load_scans(source, **options)
    return table, " ".join(str(warning.message).replace(f"{source}", "") for warning in caught)


def bids(root, subject, *endings, session=""):
    """Files of one subject: what is called a lesion, a mask or a segmentation has one voxel of label 1."""
    for ending in endings:
        stem = f"{subject}_{session}_{ending}" if session else f"{subject}_{ending}"
        place(root, f"{subject}/{session}/anat/{stem}.nii.gz")


def place(root, name):
    """One file of a tree by its path, an image or a mask as it is called."""
    path = root / name
    masked = any(word in path.name.lower() for word in ("lesion", "mask", "roi", "seg", "tumor", "stroke"))
    return labels(path, 1) if masked else scan(path)


def participants(root, *lines, columns="participant_id\tage\tsex\tgroup", encoding="utf-8"):
    """A participants.tsv from its lines."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "participants.tsv").write_bytes("\n".join([columns, *lines, ""]).encode(encoding))
