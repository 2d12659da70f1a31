"""An image that isn't a head is refused at once; other units, other formats, a voxel without thickness."""

import itertools
import time

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from helpers import save
from odd_files import PIXDIM, edit, write, write_series
from odd_heads import MM, OBLIQUE, grown, placed, put, template

from essim.cohort.mni import CANVAS_MM, CORNER_MM
from essim.data.datasets import load_scans
from essim.data.volumes import read_nifti
from essim.prepare.folder import prepare
from essim.prepare.registration import place

pytestmark = pytest.mark.usefixtures("quick")


def test_what_is_no_head_is_told_at_once(tmp_path):
    image, *_ = grown()
    cases = {
        "one slice": (image[:, :, 20:21], OBLIQUE, "has one slice only"),
        "six slices": (image[:, :, 17:23], OBLIQUE, "shows only a part of a head"),
        "two dimensions": (image[:, :, 20], OBLIQUE, "has 2 dimensions"),
        "a mouse's": (image, np.diag([0.1, 0.1, 0.1, 1]) @ OBLIQUE, "impossible for a head"),
        "an elephant's": (image, np.diag([4, 4, 4, 1]) @ OBLIQUE, "impossible for a head"),
    }
    for name, (volume, affine, text) in cases.items():
        path = save(tmp_path / f"{name}.nii.gz", volume, affine)
        mask = save(tmp_path / f"{name} mask.nii.gz", (volume > 0).astype(np.uint8), affine)
        start = time.monotonic()
        with pytest.raises(ValueError, match=text) as caught:
            place({"t2": path}, template(), mask=mask)
        assert time.monotonic() - start < 2 and str(caught.value).startswith(path)


@pytest.mark.parametrize("side", [3, 41])
def test_a_brain_of_2_ml_or_of_4_litres(tmp_path, side):
    """In a field of view that could hold a head."""
    paths, wrong = put(tmp_path), np.zeros(grown()[1].shape, np.uint8)
    wrong[-side:, -side:, -side:] = 1
    write(paths["mask"], wrong, OBLIQUE)
    with pytest.raises(ValueError, match=r"mask.nii.gz: the brain mask holds .* ml, impossible for a brain"):
        placed(paths)


def test_a_whole_head_with_mask_nonzero_is_not_stripped(tmp_path):
    image, *_ = grown()
    noise = np.abs(np.random.default_rng(0).normal(0, 150, image.shape))
    with pytest.raises(ValueError, match=r"t2.nii.gz: the brain mask holds .* ml, impossible for a brain"):
        placed(put(tmp_path, (image + noise).astype(np.float32)), "nonzero")


@pytest.mark.parametrize(("unit", "times"), [("meter", 0.001), ("micron", 1000), ("meter", 1), ("mm", 0.001)])
def test_other_units_of_length(tmp_path, plain, unit, times):
    """A header's numbers are rounded to float32, differently in every unit, and so the registration stops elsewhere."""
    found = placed(put(tmp_path, affine=np.vstack([OBLIQUE[:3] * times, OBLIQUE[3]]), units=unit))
    corners = itertools.product(*[(c, c + side) for c, side in zip(CORNER_MM, CANVAS_MM, strict=True)])
    for corner in corners:
        there, here = (np.array(p.transforms["t2"].TransformPoint([float(c) for c in corner])) for p in (found, plain))
        assert np.linalg.norm(there - here) < 0.05, "mm, in voxels of 4"
    assert (found.mask != plain.mask).sum() <= plain.mask.sum() / 1000


def test_a_voxel_without_thickness(tmp_path):
    paths = put(tmp_path, sform=0)
    edit(paths["t2"], PIXDIM + 12, [0])
    with pytest.raises(ValueError, match="t2.nii.gz: has voxels of 4.01123 x 4.01123 x 0 mm"):
        placed(paths)


def test_mgz_and_dicom_in_a_table_of_ones_own(tmp_path):
    """To study space; the series is only read."""
    paths, (image, inside, lesion) = put(tmp_path), grown()
    series = write_series(tmp_path / "series", np.round(image).astype(np.uint16), OBLIQUE)
    for kind, volume in (("mask", inside), ("seg", lesion), ("t2", np.round(image))):
        write(tmp_path / f"{kind}.mgz", volume.astype(np.float32), OBLIQUE, kind=nib.MGHImage)
    shared = {"dataset": "tumour", "split": "test", "contrast": "t2"}
    rows = [
        shared | {"subject": "dicom", "image": series.name, "mask": "mask.nii.gz", "seg": "seg.mgz"},
        shared | {"subject": "mgz", "image": "t2.mgz", "mask": "mask.mgz", "seg": "seg.nii.gz"},
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    before = {path: path.read_bytes() for path in series.iterdir()}
    records, failures = prepare(tmp_path / "t.csv", tmp_path / "out", voxel_mm=MM)
    assert not failures and all(record["dice"] > 0.9 and not record["doubtful"] for record in records)
    assert {path: path.read_bytes() for path in series.iterdir()} == before
    one, two = (read_nifti(path)[0] for path in load_scans(tmp_path / "out").image)
    assert ((one > 0) != (two > 0)).sum() <= 3
    np.testing.assert_allclose(one[(one > 0) & (two > 0)], two[(one > 0) & (two > 0)], rtol=2e-3)
    with pytest.raises(ValueError, match="holds scans of the source"):
        prepare(tmp_path / "t.csv", series / "out", voxel_mm=MM)
    assert paths and {path: path.read_bytes() for path in series.iterdir()} == before
