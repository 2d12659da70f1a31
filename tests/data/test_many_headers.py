"""Generated files of every kind: all doors read the same from one, or refuse it with the same sentence."""

import warnings

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_files import CODES, OFFSET, PIXDIM, QUATERNION, SFORM, SLOPE, UNITS, edit, write

from essim.data.checks import _read_header
from essim.data.headers import grid_of
from essim.data.volumes import read_labels, read_volume
from essim.prepare.align import from_sitk
from essim.prepare.brain import read_image
from essim.score.scan import open_scan

KINDS = {
    "nii": (nib.Nifti1Image, ".nii"),
    "nii.gz": (nib.Nifti1Image, ".nii.gz"),
    "NII.GZ": (nib.Nifti1Image, ".NII.GZ"),
    "NIfTI-2": (nib.Nifti2Image, ".nii"),
    "NIfTI-2, gz": (nib.Nifti2Image, ".nii.gz"),
    "pair by .hdr": (nib.Nifti1Pair, ".hdr"),
    "pair by .img": (nib.Nifti1Pair, ".img"),
    "mgh": (nib.MGHImage, ".mgh"),
    "mgz": (nib.MGHImage, ".mgz"),
    "MGZ": (nib.MGHImage, ".MGZ"),
}
NUMBERS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
PICTURES = (np.dtype("c8"), np.dtype("c16"), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
IN_MGH = ("u1", "i2", "i4", "f4")
SHAPES = [(12, 11, 10)] * 6 + [
    (12, 11, 10, 1),
    (12, 11, 10, 1, 1),
    (12, 11, 10, 2),
    (12, 11),
    (12, 11, 1),
    (1, 12, 11, 10),
]
ONE = np.array([[-17.0, 1, 0, 95], [1, 17, 0.5, -88], [0, -0.5, 18, -80]])  # oblique, stored from right to left
AFFINES = [ONE, ONE[:, [2, 0, 1, 3]], ONE * 0.001, ONE * 1000, ONE * 0.05, 17 * np.eye(3, 4), np.zeros((3, 4))]
CHANGES = {
    "slope": (SLOPE, [0.5, 10]),
    "slope 0": (SLOPE, [0, 5]),
    "slope NaN": (SLOPE, [np.nan, np.nan]),
    "intercept NaN": (SLOPE, [1, np.nan]),
    "slope inf": (SLOPE, [np.inf, 0]),
    "no thickness": (PIXDIM + 12, [0]),
    "negative side": (PIXDIM + 4, [-17]),
    "handedness 0": (PIXDIM, [0]),
    "quaternion": (QUATERNION, [0.8, 0.6, 0.3]),
    "quaternion, a rounding": (QUATERNION, [0.7071070, 0.7071070, 0]),
    "offset 0": (OFFSET, [0]),
    "sform 0": (SFORM, [0] * 12),
    "sform NaN": (SFORM, [np.nan]),
    "one axis thrice": (SFORM, [17, 0, 0, 0] * 3),
}


@st.composite
def files(draw):
    """How a file is to be written: everything that `store` needs."""
    name = draw(st.sampled_from(sorted(KINDS)))
    mgh = KINDS[name][0] is nib.MGHImage
    return {
        "name": name,
        "dtype": np.dtype(draw(st.sampled_from(IN_MGH if mgh else (*NUMBERS * 2, *PICTURES)))),
        "shape": draw(st.sampled_from(SHAPES)),
        "affine": np.vstack([draw(st.sampled_from(AFFINES * 2 + [ONE] * 6)), [0, 0, 0, 1]]),
        "codes": draw(st.tuples(st.sampled_from([0, 1, 2, 4, 999]), st.sampled_from([0, 1, 2, 4]))),
        "unit": draw(st.sampled_from([0, 1, 2, 2, 3, 7, 10])),
        "endian": draw(st.sampled_from("<<>")),
        "change": draw(st.sampled_from([None] * 9 + sorted(CHANGES))),
        "not a number": draw(st.sampled_from([False] * 9 + [True])),
        "cut": draw(st.sampled_from([0] * 9 + [1, 200, 2000])),
    }


def store(folder, what):
    """Write the file; returns its path, or None where the format itself cannot hold it."""
    kind, ending = KINDS[what["name"]]
    path, plain = folder / f"scan{ending}", np.random.default_rng(0).integers(1, 101, what["shape"])
    array = np.zeros(what["shape"], what["dtype"]) if what["dtype"].kind == "V" else plain.astype(what["dtype"])
    if what["not a number"] and what["dtype"].kind == "f":
        array.flat[7] = np.nan
    nifti = kind is not nib.MGHImage
    try:
        write(path, array, what["affine"], kind=kind, endian=what["endian"])
    except (nib.spatialimages.HeaderDataError, ValueError, np.linalg.LinAlgError):
        return None
    header = path.with_suffix(".hdr") if "pair" in what["name"] else path
    if nifti and kind is not nib.Nifti2Image:
        order = what["endian"]
        edit(header, CODES, what["codes"][::-1], f"{order}i2")
        edit(header, UNITS, [what["unit"]], "u1")
        if what["change"]:
            place, values = CHANGES[what["change"]]
            edit(header, place, values, f"{order}f4")
    if what["cut"]:
        data = path.with_suffix(".img") if "pair" in what["name"] else path
        data.write_bytes(data.read_bytes()[: -what["cut"]])
    return path


def said(door, path):
    """(What a door gives, "") or (None, the sentence by which it refuses)."""
    try:
        return door(path), ""
    except (OSError, ValueError) as error:
        text = str(error)
        assert text.startswith(f"{path}: ") and "\n" not in text and text[-1] in ".?", text
        return None, text


def check_all_doors(path):
    """Whether the file was read: by all doors alike, or by none, and for one reason."""
    header, wrong = _read_header(path)
    volume, refused = said(lambda p: read_volume(p, finite=False), path)
    scan, at_score = said(open_scan, path)
    raw, at_prepare = said(read_image, path)
    if wrong:
        texts = [refused, at_score, at_prepare, said(grid_of, path)[1]]
        assert {text.removeprefix(f"{path}: ").rstrip(".") for text in texts} == {wrong}
        return False
    no_head = "impossible for a head" in at_score or "a part of a head" in at_score
    if refused:  # damaged voxels, which no header knows of
        assert "cannot be read as NIfTI" in refused and at_prepare == refused and (at_score == refused or no_head)
        return False
    data, grid = volume
    assert grid.shape == header.shape == data.shape
    np.testing.assert_array_equal(grid.affine, header.affine)
    labels, unlabelled = said(read_labels, path)
    assert np.isfinite(data).all() == bool(labels) and (labels or "NaN or infinite" in unlabelled)
    assert bool(scan) != no_head and (bool(raw) or at_prepare == at_score or "is constant" in at_prepare)
    if raw:
        values, affine = from_sitk(raw[0])
        np.testing.assert_array_equal(values, data.astype(np.float32))
        np.testing.assert_allclose(affine, grid.affine, atol=1e-4)
    return True


def quietly(check, *arguments):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return check(*arguments)


GENERATED = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@settings(GENERATED, max_examples=200)
@given(files())
def test_every_door_reads_the_same_or_says_the_same(tmp_path_factory, what):
    path = quietly(store, tmp_path_factory.mktemp("odd"), what)
    if path is None or not quietly(check_all_doors, path):
        return
    if what["change"] != "quaternion, a rounding":  # which nibabel alone cannot read
        expected = quietly(nib.as_closest_canonical, nib.squeeze_image(nib.load(path)))
        found, grid = read_volume(path, finite=False)
        np.testing.assert_array_equal(found, np.asanyarray(expected.dataobj).astype(found.dtype))
        times = np.linalg.norm(grid.affine[:3, :3]) / np.linalg.norm(expected.affine[:3, :3])
        assert round(np.log10(times), 5) in (-3, 0, 3)
        np.testing.assert_allclose(grid.affine[:3], times * expected.affine[:3], rtol=1e-5, atol=1e-5)


@settings(GENERATED, max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=4), st.booleans())
def test_bytes_of_a_header_that_were_hit(tmp_path_factory, hits, zipped):
    path = tmp_path_factory.mktemp("hit") / ("scan.nii.gz" if zipped else "scan.nii")
    write(path, np.arange(1320, dtype=np.int16).reshape(12, 11, 10), np.vstack([ONE, [0, 0, 0, 1]]))
    for place, value in hits:
        edit(path, place, [value], "u1")
    quietly(check_all_doors, path)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_most_kinds_are_taken(tmp_path, name):
    """So that the doors do not agree by refusing all."""
    ordinary = {"name": name, "dtype": np.dtype("i2"), "shape": (12, 11, 10), "affine": np.vstack([ONE, [0, 0, 0, 1]])}
    path = store(
        tmp_path,
        ordinary | {"codes": (1, 1), "unit": 2, "endian": "<", "change": None, "cut": 0, "not a number": False},
    )
    assert check_all_doors(path)
