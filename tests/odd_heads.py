"""A grown head as files with odd values, masks and headers, and what becomes of it in study space."""

import functools

import numpy as np
from odd_files import write

from essim.cohort.generate import CohortConfig, grow_subject
from essim.prepare.registration import load_template, place

MM = 4
OBLIQUE = np.array([[4.0, 0.3, 0, -83], [-0.3, 4, 0, -106], [0, 0, 4, -70], [0, 0, 0, 1]])


@functools.cache
def grown():
    """A patient with a tumour, in voxels of 4 mm: float32 image, bool brain, bool lesion."""
    person = grow_subject(CohortConfig(voxel_mm=MM), "tumour", 0)
    inside = person["mask"] > 0
    return np.where(inside, person["t2"], 0).astype(np.float32), inside, person["seg"] > 0


@functools.cache
def template():
    return load_template(voxel_mm=MM)


def put(folder, image=None, affine=OBLIQUE, **options):
    """A scan and the files that belong to it: {t2, mask, seg: path}."""
    plain, inside, lesion = grown()
    volumes = {"t2": plain if image is None else image, "mask": inside.astype(np.uint8), "seg": lesion.astype(np.uint8)}
    return {kind: str(write(folder / f"{kind}.nii.gz", volume, affine, **options)) for kind, volume in volumes.items()}


def placed(paths, mask=None, seg="", **more):
    return place({"t2": paths["t2"]}, template(), mask=paths["mask"] if mask is None else mask, seg=seg, **more)


def check_same(found, plain):
    """The same brain and values, but for a voxel on the rim that rounding moves in or out."""
    assert (found.mask != plain.mask).sum() <= 3
    both = found.mask & plain.mask
    np.testing.assert_allclose(found.images["t2"][both], plain.images["t2"][both], rtol=2e-3)
