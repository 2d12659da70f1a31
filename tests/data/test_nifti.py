"""Files in and out: whatever is wrong with one is said in a sentence that names it."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from helpers import AFFINE, brain, save, sentence

from essim.data.volumes import read_nifti, save_nifti


def damage_nothing(path):
    path.write_bytes(b"")


def damage_text(path):
    path.write_text("this is no scan\n" * 40)


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_truncate_header(path):
    path.write_bytes(path.read_bytes()[:60])


def damage_bytes(path):
    content = bytearray(path.read_bytes())
    for i in range(len(content) // 3, len(content) // 3 + 200):
        content[i] ^= 0x5A
    path.write_bytes(bytes(content))


def damage_unzipped(path):
    """Unzipped content shorter than its header says, correctly zipped."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:2000]))


def damage_header(path):
    """A type code that doesn't exist."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[70:72] = (9999).to_bytes(2, "little")
    path.write_bytes(gzip.compress(bytes(content)))


def damage_size(path):
    """A header that promises more voxels than any memory holds."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[42:48] = (32767).to_bytes(2, "little") * 3
    path.write_bytes(gzip.compress(bytes(content)))


def damage_negative_size(path):
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[42:44] = (-5).to_bytes(2, "little", signed=True)
    path.write_bytes(gzip.compress(bytes(content)))


def damage_affine(path):
    """An affine of zeros and NaN: nowhere in space."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[280:328] = np.array([np.nan] + [0.0] * 11, "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(content)))


DAMAGES = [
    damage_nothing,
    damage_text,
    damage_truncate,
    damage_truncate_header,
    damage_bytes,
    damage_unzipped,
    damage_header,
    damage_size,
    damage_negative_size,
    damage_affine,
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files(tmp_path, damage):
    path = tmp_path / "scan.nii.gz"
    save(path, brain((20, 20, 20))[0])
    read_nifti(path)  # it was fine
    damage(path)
    with pytest.raises(ValueError, match="cannot be read as NIfTI") as caught:
        read_nifti(path)
    sentence(caught, path)


def test_four_dimensions(tmp_path):
    path = tmp_path / "series.nii.gz"
    save(path, np.zeros((4, 4, 4, 3), np.float32))
    with pytest.raises(ValueError, match=r"has 4 dimensions \[4, 4, 4, 3\], a scan must have 3; pick one") as caught:
        read_nifti(path)
    sentence(caught, path)


def test_colours_are_no_scan(tmp_path):
    path = tmp_path / "screenshot.nii.gz"
    save(path, np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]))
    with pytest.raises(ValueError, match="must have numbers") as caught:
        read_nifti(path)
    sentence(caught, path)


def test_integer_files_are_scaled_by_their_header(tmp_path):
    stored = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), AFFINE)
    stored.header.set_slope_inter(0.5, 10)
    nib.save(stored, tmp_path / "scaled.nii.gz")
    data, affine = read_nifti(tmp_path / "scaled.nii.gz")
    np.testing.assert_allclose(data.ravel(), nib.load(tmp_path / "scaled.nii.gz").get_fdata().ravel())
    np.testing.assert_allclose(affine, AFFINE)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int16, bool])
def test_save_and_read(tmp_path, dtype):
    array = (10 * np.random.default_rng(0).random((3, 4, 5))).astype(dtype)
    save_nifti(tmp_path / "x.nii.gz", array, AFFINE)
    data, affine = read_nifti(tmp_path / "x.nii.gz")
    np.testing.assert_array_equal(data.astype(dtype), array)
    np.testing.assert_allclose(affine, AFFINE)
    assert nib.load(tmp_path / "x.nii.gz").get_data_dtype() == (np.uint8 if dtype is bool else dtype)
