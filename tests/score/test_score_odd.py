"""Scans as people have them, scored: other formats, odd headers, any scale; the maps lie over the scan's own file."""

import nibabel as nib
import numpy as np
import pytest
from odd_files import QUATERNION, edit, write, write_series
from scored import run

from essim.data.volumes import read_nifti
from essim.score import native
from essim.score.__main__ import main


def call(scan, mask, model, out):
    return main([str(word) for word in (scan, "--mask", mask, "--model", model, "--out", out)])


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def check_found(out, folder):
    """The lesion is where it was, on the grid of the map's own file."""
    found, affine = read_nifti(out / "segmentation.nii.gz")
    lesion, plain = read_nifti(folder / "seg.nii.gz")
    np.testing.assert_allclose(affine, plain, atol=1e-3)
    assert dice(found > 0, lesion > 0) > 0.7


def test_a_quaternion_longer_than_one_by_a_rounding(scan, model, tmp_path, healer, known_place, no_pictures):
    """The sform is fine, and says where the maps lie."""
    original = nib.load(scan / "scan.nii.gz")
    path = tmp_path / "scan.nii"
    nib.save(original, path)
    edit(path, QUATERNION, [0.7071070, 0.7071070, 0])
    assert call(path, scan / "mask.nii.gz", model, tmp_path / "out") == 0
    anomaly = nib.load(tmp_path / "out/anomaly.nii.gz")
    np.testing.assert_array_equal(anomaly.affine, nib.load(path).affine)
    assert (anomaly.header["sform_code"], anomaly.header["qform_code"]) == (2, 0)
    check_found(tmp_path / "out", scan)


@pytest.mark.parametrize("unit", ["meter", "micron"])
def test_maps_are_in_the_unit_of_their_scan(tmp_path, unit):
    times = {"meter": 0.001, "micron": 1000}[unit]
    affine = np.diag([20.0 * times, -24 * times, 21 * times, 1])
    path = write(tmp_path / "scan.nii", np.ones((8, 7, 6), np.int16), affine, units=unit)
    native.save_like(tmp_path / "map.nii", np.ones((8, 7, 6), np.float32), nib.load(path))
    made = nib.load(tmp_path / "map.nii")
    np.testing.assert_array_equal(made.affine, nib.load(path).affine)
    assert made.header.get_xyzt_units()[0] == unit
    np.testing.assert_allclose(read_nifti(tmp_path / "map.nii")[1], read_nifti(path)[1])


@pytest.mark.parametrize("ending", [".mgz", ".hdr", ".img"])
def test_other_formats(scan, model, tmp_path, healer, known_place, no_pictures, ending):
    for name in ("scan", "mask"):
        stored = nib.load(scan / f"{name}.nii.gz")
        kind = nib.MGHImage if ending == ".mgz" else nib.Nifti1Pair
        write(tmp_path / f"{name}{ending}", np.asarray(stored.dataobj), stored.affine, kind=kind)
    assert call(tmp_path / f"scan{ending}", tmp_path / f"mask{ending}", model, tmp_path / "out") == 0
    check_found(tmp_path / "out", scan)


def test_a_folder_of_dicom_files(scan, model, tmp_path, healer, known_place, no_pictures, capsys):
    """Scored as its NIfTI file would be; that file is written with the maps, and the series is only read."""
    data, affine = read_nifti(scan / "scan.nii.gz")
    series = write_series(tmp_path / "MR series", data, affine)
    before, out = {path: path.read_bytes() for path in series.iterdir()}, tmp_path / "out"
    for _ in range(2):  # the second replaces the first
        assert call(series, scan / "mask.nii.gz", model, out) == 0
    assert "MR series: " in capsys.readouterr().out
    check_found(out, scan)
    over, below = nib.load(out / "scan.nii.gz"), nib.load(out / "anomaly.nii.gz")
    np.testing.assert_array_equal(over.affine, below.affine)
    np.testing.assert_array_equal(read_nifti(out / "scan.nii.gz")[0], data)
    assert call(series, scan / "mask.nii.gz", model, series / "out") == 1
    assert "lies in the folder of the scan, which is only read" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in series.iterdir()} == before


def test_any_scale_and_any_fill(scan, model, tmp_path, healer, no_pictures):
    """Z-scores with a bright fill around the brain: found the whole way, including the registration."""
    (image, affine), inside = read_nifti(scan / "scan.nii.gz"), read_nifti(scan / "mask.nii.gz")[0] > 0
    scores = np.where(inside, (image - image[inside].mean()) / image[inside].std(), 1e30)
    path = write(tmp_path / "scan.nii.gz", scores.astype(np.float32), affine)
    assert call(path, scan / "mask.nii.gz", model, tmp_path / "out") == 0
    check_found(tmp_path / "out", scan)


def test_a_mask_that_fits_by_its_shape_only(scan, model, tmp_path, capsys):
    """Refused at once, with the same sentence as in prepare and in tables."""
    stored = nib.load(scan / "mask.nii.gz")
    mask = write(tmp_path / "mask.nii.gz", np.asarray(stored.dataobj), np.diag([-3.0, -3, 5, 1]))
    assert run(scan, model, tmp_path / "out", "--mask", mask) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(
        f"{mask}: does not fit {scan / 'scan.nii.gz'}: the mask's affine seems to have lost its origin"
    )


def test_a_mask_on_another_grid_is_said(scan, model, tmp_path, healer, no_pictures, capsys):
    stored = nib.load(scan / "mask.nii.gz")
    fine = np.asarray(stored.dataobj).repeat(2, axis=0)
    affine = stored.affine @ nib.affines.from_matvec(np.diag([0.5, 1, 1]), [-0.25, 0, 0])
    mask = write(tmp_path / "mask.nii.gz", fine, affine)
    assert call(scan / "scan.nii.gz", mask, model, tmp_path / "out") == 0
    doubt = "Beware: The brain mask lies on another grid and was resampled (nearest neighbour): 100% of it within"
    assert doubt in capsys.readouterr().out
    check_found(tmp_path / "out", scan)
