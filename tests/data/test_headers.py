"""Where a file says that it lies: units, forms of the affine, axes of one; and which masks are a scan's."""

import nibabel as nib
import numpy as np
import pytest
from helpers import sentence
from odd_files import CODES, OBLIQUE, OFFSET, PIXDIM, QUATERNION, SFORM, edit, numbers, write

from essim.data.grids import check_brain, check_head, conflict, misfit, same_grid
from essim.data.headers import Grid, grid_of
from essim.data.volumes import read_nifti, read_volume

HEAD = nib.affines.from_matvec(np.diag([2.0, 2, 2]), [-79, -113, -73])
SHAPE = (80, 96, 80)


def head(affine=HEAD, shape=SHAPE, **more):
    return Grid("scan.nii", shape, np.asarray(affine, float), **more)


def moved(*mm, affine=HEAD):
    return affine + nib.affines.from_matvec(np.zeros((3, 3)), mm) - np.diag([0, 0, 0, 1])


# Units


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("unit", "times"),
    [("mm", 1), ("meter", 0.001), ("micron", 1000), ("meter", 1), ("micron", 1), ("unknown", 1), ("mm", 1000)],
)
def test_a_head_is_as_large_as_a_head_whatever_its_label_says(tmp_path, ending, unit, times):
    """Metres and microns, a wrong label on millimetres, another unit without its label."""
    affine = np.diag([20.0, 24, 20, 1]) @ OBLIQUE
    scaled = np.vstack([affine[:3] * times, affine[3]])
    path = write(tmp_path / f"scan{ending}", numbers((8, 7, 6)), scaled, units=unit)
    data, found = read_nifti(path)
    plain = read_nifti(write(tmp_path / "plain.nii", numbers((8, 7, 6)), affine))
    np.testing.assert_array_equal(data, plain[0])
    np.testing.assert_allclose(found, plain[1], rtol=1e-6)


@pytest.mark.parametrize(("unit", "side"), [("meter", 2), ("micron", 700), ("mm", 1e-3), ("unknown", 3e7)])
def test_a_size_that_no_unit_explains(tmp_path, unit, side):
    path = write(tmp_path / "scan.nii", numbers(), np.diag([side, side, side, 1]), units=unit)
    with pytest.raises(ValueError, match="long, impossible for a head; correct affine or xyzt_units") as caught:
        read_volume(path)
    sentence(caught, path)


# The header's own contradictions


def test_a_voxel_without_thickness(tmp_path):
    path = edit(write(tmp_path / "scan.nii.gz", numbers(), sform=0), PIXDIM + 12, [0])
    with pytest.raises(ValueError, match=r"has voxels of 2 x 2 x 0 mm; convert the scan again") as caught:
        grid_of(path)
    sentence(caught, path)
    path = edit(write(tmp_path / "fine.nii.gz", numbers()), PIXDIM + 12, [0])
    np.testing.assert_allclose(np.diag(grid_of(path).affine), [2, 2, 2.5, 1])  # the sform has it


@pytest.mark.parametrize("values", [[0] * 12, [np.nan] * 12, [2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 2]])
def test_an_affine_that_is_no_place(tmp_path, values):
    path = edit(write(tmp_path / "scan.nii", numbers()), SFORM, values)
    with pytest.raises(ValueError, match="its affine gives no place in space|cannot be read as NIfTI") as caught:
        grid_of(path)
    sentence(caught, path)


def test_a_quaternion_longer_than_one_by_a_rounding(tmp_path):
    turned = nib.affines.from_matvec(2 * np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]]), [3, 4, 5])
    whole = write(tmp_path / "whole.nii", numbers(), turned, sform=0)
    for name in ("only.nii", "only.nii.gz"):
        path = edit(write(tmp_path / name, numbers(), turned, sform=0), QUATERNION, [0.7071070, 0.7071070, 0])
        np.testing.assert_allclose(grid_of(path).affine, grid_of(whole).affine, atol=1e-5)
        np.testing.assert_array_equal(read_nifti(path)[0], read_nifti(whole)[0])
    path = edit(write(tmp_path / "sform.nii", numbers(), turned), QUATERNION, [0.9, 0.7, 0.3])
    np.testing.assert_allclose(grid_of(path).affine, grid_of(whole).affine, atol=1e-5)  # nobody needs the qform
    with pytest.raises(ValueError, match="cannot be read as NIfTI"):
        grid_of(edit(path, CODES, [1, 0], "<i2"))


def test_headers_that_say_nothing(tmp_path):
    assert grid_of(write(tmp_path / "both.nii", numbers())).stated
    assert not grid_of(write(tmp_path / "codes.nii", numbers(), sform=0, qform=0)).stated
    nib.save(nib.Spm99AnalyzeImage(numbers(), OBLIQUE), tmp_path / "analyze.img")
    assert grid_of(tmp_path / "analyze.img").stated
    (tmp_path / "analyze.mat").unlink()
    assert not grid_of(tmp_path / "analyze.img").stated
    mgz = write(tmp_path / "scan.mgz", numbers(dtype=np.float32), kind=nib.MGHImage)
    assert grid_of(mgz).stated and same_grid(grid_of(mgz), grid_of(tmp_path / "both.nii"))


# Axes and types


@pytest.mark.parametrize("more", [(1,), (1, 1), (1, 1, 1, 1)])
def test_further_axes_of_one(tmp_path, more):
    path = write(tmp_path / "scan.nii.gz", numbers()[(..., *[None] * len(more))])
    np.testing.assert_array_equal(read_nifti(path)[0], numbers()[::-1])
    assert grid_of(path).shape == (6, 7, 8)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (numbers((6, 7)), r"has 2 dimensions \[6, 7\], a scan must have 3"),
        (numbers((6, 7, 1)), r"has one slice only \[6, 7, 1\]"),
        (numbers((1, 7, 8)), "has one slice only"),
        (numbers((6, 7, 8, 1, 3)), r"has 5 dimensions \[6, 7, 8, 1, 3\]"),
        (numbers((1, 6, 7, 8)), "has 4 dimensions"),
        (numbers(dtype=np.complex64), "has voxels of type complex64.* export the magnitude image"),
        (np.zeros((6, 7, 8), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "is it a colour picture"),
        (np.zeros((6, 7, 8), [("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")]), "is it a colour picture"),
    ],
)
def test_what_is_no_volume_of_numbers(tmp_path, array, text):
    """By its header alone."""
    path = write(tmp_path / "scan.nii.gz", array)
    with pytest.raises(ValueError, match=text) as caught:
        grid_of(path)
    sentence(caught, path)


def test_a_file_that_is_too_short_for_its_header(tmp_path):
    path = write(tmp_path / "scan.nii", numbers())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"cannot be read as NIfTI .*expected 1024 bytes, the file has 1023"):
        grid_of(path)
    path = edit(write(tmp_path / "offset.nii", numbers()), OFFSET, [0])  # nibabel takes the header for voxels
    with pytest.raises(ValueError, match="cannot be read as NIfTI .*vox_offset 0 lies within the header"):
        grid_of(path)
    path = edit(write(tmp_path / "huge.nii.gz", numbers()), 42, [32767] * 3, "<i2")
    with pytest.raises(ValueError, match="cannot be read as NIfTI .*expected 703"):
        grid_of(path)


# Whose mask is it?


TRAPS = {
    "drawn on the qform": (head(), head(moved(12, -18, 25), other=HEAD), "sform and qform of the scan disagree"),
    "qform of the mask": (head(moved(3, 0, 0), other=HEAD), head(), "sform and qform of the mask disagree"),
    "no header": (head(stated=False), head(moved(1, 2, 3)), "the mask's header doesn't say where it lies"),
    "scan without header": (head(), head(moved(1, 2, 3), stated=False), "the scan's header doesn't say"),
    "no header, other shape": (head(stated=False, shape=(9, 9, 9)), head(), "the mask's header doesn't say"),
    "identity": (head(np.eye(4)), head(), "the mask's affine seems to have lost the size of its voxels"),
    "thickness 1": (head(HEAD @ np.diag([1, 1, 0.5, 1])), head(), "lost the size of its voxels"),
    "origin 0": (head(np.diag([2.0, 2, 2, 1])), head(), "the mask's affine seems to have lost its origin"),
    "centred": (head(nib.affines.from_matvec(2 * np.eye(3), [-79, -95, -79])), head(), "lost its origin"),
    "scan at 0": (head(), head(np.diag([2.0, 2, 2, 1])), "the scan's affine seems to have lost its origin"),
    "LPS for RAS": (head(nib.affines.from_matvec(np.diag([2.0, 2, 2]), [-79, -77, -73])), head(), "exchanged"),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_a_mask_that_fits_by_its_shape_only(trap):
    mask, scan, text = TRAPS[trap]
    assert text in conflict(mask, scan) and text in misfit(mask, scan)


@pytest.mark.parametrize(
    "mask",
    [
        head(moved(3, 5, -2)),
        head(nib.affines.from_matvec(np.diag([1.5, 1.5, 3.1]), [-90, -120, -70]), shape=(120, 150, 50)),
        head(HEAD @ nib.affines.from_matvec(nib.eulerangles.euler2mat(0.1, 0.2))),
    ],
    ids=["moved", "a FLAIR's", "turned"],
)
def test_another_grid_of_the_same_space_is_no_conflict(mask):
    assert conflict(mask, head()) == "" and "bring both to one grid" in misfit(mask, head())


def test_the_same_grid_in_two_headers():
    """To a tenth of a voxel, at the corner where an error is largest."""
    nearly = HEAD @ nib.affines.from_matvec(nib.eulerangles.euler2mat(0.0005))
    assert same_grid(head(nearly), head()) and misfit(head(nearly), head()) == ""
    assert not same_grid(head(HEAD @ nib.affines.from_matvec(nib.eulerangles.euler2mat(0.003))), head())
    assert not same_grid(head(shape=(80, 96, 79)), head())
    assert conflict(head(stated=False), head(stated=False)) == ""


# Is it a head?


def test_what_shows_no_head():
    check_head(head())
    for shape, text in (((80, 96, 6), "80 x 96 x 6 voxels, 160 x 192 x 12 mm"), ((80, 20, 80), "a part of a head")):
        with pytest.raises(ValueError, match=text):
            check_head(head(shape=shape))
    for times in (0.1, 5):
        with pytest.raises(ValueError, match="impossible for a head; correct affine or xyzt_units"):
            check_head(head(np.diag([times, times, times, 1]) @ HEAD))


@pytest.mark.parametrize("ml", [2, 149, 3001, 40_000])
def test_brains_of_no_size(ml):
    with pytest.raises(ValueError, match="mask.nii: the brain mask holds .* ml, impossible for a brain"):
        check_brain("mask.nii", ml)
    for usual in (350, 1200, 2200):
        check_brain("mask.nii", usual)
