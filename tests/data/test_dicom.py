"""A folder of DICOM files is a scan like any other; what it isn't is said in a sentence, and nothing in it changes."""

import builtins
import hashlib
import shutil

import numpy as np
import pandas as pd
import pytest
from helpers import AS_IT_IS, brain, save, sentence
from odd_files import numbers, write, write_series

from essim.data import dicom
from essim.data.datasets import load_scans
from essim.data.grids import same_grid
from essim.data.headers import grid_of
from essim.data.volumes import load_scan, read_volume

OBLIQUE = np.array([[1.9, -0.5, 0, -40], [0.5, 1.9, 0, -50], [0, 0, 2.5, -30], [0, 0, 0, 1]])
VOLUME = numbers((20, 16, 12))


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "a series" / "T2 ä", VOLUME, OBLIQUE)


def contents(folder):
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in dicom.files_of(folder)}


def test_a_series_is_read_as_its_nifti_file_would_be(tmp_path, series):
    before = contents(series)
    data, grid = read_volume(series)
    expected, plain = read_volume(write(tmp_path / "plain.nii.gz", VOLUME, OBLIQUE))
    np.testing.assert_array_equal(data, expected)
    assert grid.stated and same_grid(grid, plain) and same_grid(grid_of(series), plain)
    assert grid.path == str(series) and contents(series) == before


def test_files_that_are_no_dicom_and_copies_in_it_do_no_harm(series):
    (series / "notes.txt").write_text("one dark slice")
    (series / "deeper").mkdir()
    shutil.copy(series / "01_003.dcm", series / "deeper/copy.dcm")
    np.testing.assert_array_equal(read_volume(series)[0], read_volume(series)[0])
    assert read_volume(series)[0].shape == VOLUME.shape


def spoil_two(folder):
    write_series(folder / "other", VOLUME, OBLIQUE, number=2, name="T1")
    return r"holds 2 series of DICOM files \(1_T2, 2_T1\); give a folder with one of them"


def spoil_none(folder):
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "scan.nii.gz").write_text("")
    return "is a folder without DICOM files; give one NIfTI file or the folder of one series"


def spoil_gap(folder):
    (folder / "01_005.dcm").unlink()
    return "is not a complete series of DICOM files .*export it again"


def spoil_truncated(folder):
    path = folder / "01_005.dcm"
    path.write_bytes(path.read_bytes()[:700])
    return "dcm2niix fails|is not a complete series"


def spoil_one_slice(folder):
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()
    return "has one slice only"


def spoil_text(folder):
    for path in folder.iterdir():
        path.write_text("no picture\n" * 50)
    return "is a folder without DICOM files"


SPOILT = [value for name, value in sorted(globals().items()) if name.startswith("spoil_")]


@pytest.mark.parametrize("spoil", SPOILT)
def test_what_is_no_series(series, spoil):
    text = spoil(series)
    for door in (read_volume, grid_of):
        with pytest.raises(ValueError, match=text) as caught:
            door(series)
        sentence(caught, series)


def test_one_file_of_a_series(series):
    with pytest.raises(ValueError, match="is one DICOM file; give the folder that holds its series") as caught:
        read_volume(series / "01_003.dcm")
    sentence(caught, series)


def test_without_dcm2niix(series, monkeypatch):
    really = builtins.__import__

    def without(name, *arguments, **options):
        if name == "dcm2niix":
            raise ImportError
        return really(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(dicom.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"read without dcm2niix: run `pip install \"essim\[dicom\]\"`") as caught:
        read_volume(series)
    sentence(caught, series)


def test_in_a_table_of_ones_own(tmp_path, series):
    """Looked at, read, and kept in the cache as other scans are."""
    image, mask = brain()
    affine = np.diag([2.0, 2, 2, 1]) - 10 * np.eye(4, k=3)
    write_series(tmp_path / "scans/x", np.where(mask, image + 300, 0), affine)
    save(tmp_path / "mask.nii.gz", mask.astype(np.uint8), affine)
    table = {"dataset": "healthy", "subject": "x", "contrast": "t2", "image": "scans/x", "mask": "mask.nii.gz"}
    pd.DataFrame([table | {"split": "test"}]).to_csv(tmp_path / "t.csv", index=False)
    (row,) = load_scans(tmp_path / "t.csv").to_dict("records")
    first = load_scan(row, AS_IT_IS, tmp_path / "cache")
    np.testing.assert_array_equal(first.mask, mask)
    write_series(tmp_path / "scans/x", np.where(mask, 900 - image, 0), affine)
    assert np.corrcoef(load_scan(row, AS_IT_IS, tmp_path / "cache").image[mask], first.image[mask])[0, 1] < 0
    spoil_two(tmp_path / "scans/x")
    with pytest.raises(ValueError, match="x: holds 2 series of DICOM files"):
        load_scans(tmp_path / "t.csv")
