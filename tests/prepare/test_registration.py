"""Heads to study space: turned, stored and cut in every way, they end up where they belong; bad files say so."""

import functools
import re

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from helpers import save

from essim.cohort import mni
from essim.cohort.generate import CohortConfig, grow_subject
from essim.prepare import brain
from essim.prepare.align import LPS, as_matrix, from_sitk, sample_label, sample_scan, to_sitk
from essim.prepare.registration import load_template, place

MM = 2
PLAIN = np.array([[MM, 0, 0, -119], [0, MM, 0, -136], [0, 0, MM, -94], [0, 0, 0, 1.0]])
SHAPE = (120, 120, 100)
COARSE = nib.affines.from_matvec(12 * np.eye(3), [-91, -95, -82])  # of heads of 16 x 16 x 16 voxels
FAR = nib.affines.from_matvec(12 * np.eye(3), [900, 900, 900])


@functools.cache
def person():
    """A patient with a tumour, grown on the study grid."""
    return grow_subject(CohortConfig(voxel_mm=MM), "tumour", 0)


@functools.cache
def template():
    return load_template(voxel_mm=MM)


@pytest.fixture
def quick(monkeypatch):
    """Bias correction in a few steps, for tests that don't check it."""
    monkeypatch.setattr(brain, "BIAS_STEPS", [3])


def tilt(degrees=(12, -8, 20), shift=(15, -20, 10)):
    """The matrix from a scan's space to the space that the person was grown in."""
    return as_matrix(sitk.Euler3DTransform((0, -17, 5), *np.deg2rad(degrees).tolist(), shift))


def scan(kind, matrix=None, affine=PLAIN, shape=SHAPE):
    """One of the person's volumes as a scanner would see it: [H, W, D]."""
    label = kind in ("mask", "seg")
    volume = to_sitk(person()[kind] if label else person()[kind].astype(np.float32), person()["affine"])
    grid = to_sitk(np.zeros(shape, np.uint8), affine)
    matrix = tilt() if matrix is None else matrix
    return from_sitk((sample_label if label else sample_scan)(volume, grid, matrix))[0]


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def check(placed, matrix, contrast="t1"):
    """The brain covers the template's; mask and lesion are those that the person was grown with."""
    assert placed.dice > 0.95
    assert placed.affine == pytest.approx(mni.affine_of(MM)) and placed.mask.shape == mni.shape_of(MM)
    whole = matrix @ as_matrix(sitk.AffineTransform(placed.transforms[contrast]))  # study space to where it was grown
    grid = to_sitk(np.zeros(placed.mask.shape, np.uint8), placed.affine)
    grown = from_sitk(sample_label(to_sitk(person()["mask"], person()["affine"]), grid, whole))[0] > 0
    assert dice(grown, placed.mask) > 0.95
    if placed.seg is not None:
        volume = (placed.seg > 0).sum() * np.linalg.det(whole[:3, :3])
        assert volume == pytest.approx((person()["seg"] > 0).sum(), rel=0.1)
    for image in placed.images.values():
        assert image.dtype == np.float32 and (image >= 0).all() and not image[~placed.mask].any()
        assert (image[placed.mask] > 0).mean() > 0.9


def stored(path, array, affine, axes):
    """Save in another orientation, such as PIR."""
    save(path, array, affine)
    volume = nib.load(path)
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(axes))
    nib.save(volume.as_reoriented(turn), path)
    return str(path)


CASES = {
    "as grown": {"matrix": np.eye(4)},
    "anisotropic": {"affine": PLAIN @ np.diag([0.5, 0.5, 2.5, 1]), "shape": (240, 240, 40)},
    "PIR, turned the other way": {"axes": "PIR", "matrix": tilt((-25, 10, -20), (-40, 10, 30))},
    "left-handed": {"axes": "LAS"},
    "LPS, oblique": {"axes": "LPS", "affine": LPS @ tilt((0, 0, 15), (0, 0, 0)) @ LPS @ PLAIN},
}


@pytest.mark.parametrize("case", CASES)
def test_however_a_head_lies_and_is_stored(tmp_path, quick, case):
    options = {"matrix": tilt(), "affine": PLAIN, "shape": SHAPE} | CASES[case]
    axes = options.pop("axes", "RAS")
    files = {kind: tmp_path / f"{kind}.nii.gz" for kind in ("t1", "mask", "seg")}
    paths = {kind: stored(path, scan(kind, **options), options["affine"], axes) for kind, path in files.items()}
    assert nib.aff2axcodes(nib.load(paths["t1"]).affine) == tuple(axes)
    placed = place({"t1": paths["t1"]}, template(), mask=paths["mask"], seg=paths["seg"])
    check(placed, options["matrix"])
    assert np.unique(placed.seg).tolist() == [0, 1]


@functools.cache
def pair(folder):
    """T1 and T2 of one session on other grids, the head moved in between; and the matrices."""
    turned, moved = tilt(), tilt((14, -7, 18), (13, -22, 12))
    fine = PLAIN @ np.diag([0.9, 0.9, 2, 1])
    paths = {"t1": save(folder / "t1.nii.gz", scan("t1", turned), PLAIN)}
    paths["t2"] = save(folder / "t2.nii.gz", scan("t2", moved, fine, (133, 133, 50)), fine)
    return paths, turned, moved, fine


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return pair(tmp_path_factory.mktemp("pair"))


def between(placed, matrix, other_matrix, other):
    """How far the T1 and the other scan are from each other in study space: mean distance in the brain (mm)."""
    one, two = (as_matrix(sitk.AffineTransform(placed.transforms[c])) for c in ("t1", other))
    points = np.argwhere(placed.mask)[::50]
    points = LPS @ placed.affine @ np.c_[points, np.ones(len(points))].T
    return np.linalg.norm(((matrix @ one - other_matrix @ two) @ points)[:3], axis=0).mean()


@pytest.mark.parametrize(("drawn", "other"), [("other", "flair"), ("elsewhere", "t2")])
def test_two_contrasts_and_labels_on_another_grid(tmp_path, quick, scans, drawn, other):
    """Labels on the other scan's grid move with it; on a third grid they lie in the T1's space (as in MSLUB)."""
    paths, turned, moved, fine = scans
    paths = {other: paths["t2"], "t1": paths["t1"]}
    third = PLAIN @ np.diag([1.1, 1.1, 1.1, 1])
    space = {"other": (moved, fine, (133, 133, 50)), "elsewhere": (turned, third, (110, 110, 95))}
    mask, seg = (scan(kind, *space[drawn]) for kind in ("mask", "seg"))
    half = np.arange(seg.shape[2]) < np.median(np.argwhere(seg)[:, 2])
    seg = np.where((seg > 0) & half, 2, seg)  # label 2 is something else, as in WMH 2017
    files = [save(tmp_path / f"{name}.nii.gz", v, space[drawn][1]) for name, v in (("mask", mask), ("seg", seg))]
    placed = place(paths, template(), mask=files[0], seg=files[1], ignore=2)
    assert between(placed, turned, moved, other) < 0.6
    check(placed, turned)
    check(placed, moved, other)
    shares = [(labels == 2).sum() / (labels > 0).sum() for labels in (seg, placed.seg)]
    assert shares[1] == pytest.approx(shares[0], rel=0.1)


def test_ignored_voxels_stay_ignored(tmp_path):
    label = np.zeros((4, 4, 4), np.float32)
    label[0], label[1], label[2] = 1, 2, 4
    path = save(tmp_path / "seg.nii.gz", label)
    for ignore, expected in (("", [1, 1, 1, 0]), (2, [1, 2, 1, 0]), ("4", [1, 1, 2, 0])):
        assert from_sitk(brain.read_lesions(path, ignore)[0])[0][:, 0, 0].tolist() == expected


def test_odd_files_and_a_stripped_t2_alone(tmp_path, quick):
    """Stripped (BraTS), a singleton 4th axis, int16 with a slope, NaN around: all give the same result."""
    image = scan("t2") * scan("mask")
    plain = save(tmp_path / "plain.nii.gz", image.astype(np.float32), PLAIN)
    odd = nib.Nifti1Image(np.round(image / 0.05)[..., None].astype(np.int16), PLAIN)
    odd.header.set_slope_inter(0.05, 0)
    nib.save(odd, tmp_path / "odd.nii.gz")
    bordered = np.where(np.arange(SHAPE[0])[:, None, None] < 3, np.nan, image).astype(np.float32)
    bordered = save(tmp_path / "nan.nii.gz", bordered, PLAIN)
    read = [brain.lifted(brain.read_image(path)[0]) for path in (plain, tmp_path / "odd.nii.gz", bordered)]
    for other in read[1:]:
        np.testing.assert_allclose(from_sitk(other)[0], from_sitk(read[0])[0], atol=0.05)
    placed = place({"t2": bordered}, template(), mask="nonzero")
    check(placed, tilt(), "t2")
    assert placed.seg is None


def test_maps_go_back_to_the_scan_and_the_same_comes_again(tmp_path, quick):
    paths = {kind: save(tmp_path / f"{kind}.nii.gz", scan(kind), PLAIN) for kind in ("t1", "mask", "seg")}
    placed = place({"t1": paths["t1"]}, template(), mask=paths["mask"], seg=paths["seg"])
    grid = to_sitk(np.zeros(SHAPE, np.uint8), PLAIN)
    back = sitk.Resample(to_sitk(placed.seg, placed.affine), grid, placed.transforms["t1"].GetInverse(), 1, 0)
    assert dice(from_sitk(back)[0] > 0, scan("seg") > 0) > 0.9
    again = place({"t1": paths["t1"]}, template(), mask=paths["mask"], seg=paths["seg"])
    assert (again.images["t1"] == placed.images["t1"]).all() and (again.mask == placed.mask).all()


def test_the_bias_field_goes_and_the_lesion_stays():
    mask, image = scan("mask"), scan("t1")
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    field = 0.4 * (x + 0.5 * y * z - 0.7 * z**2)
    clean, biased = (
        brain.correct("scan", to_sitk(values.astype(np.float32), PLAIN), to_sitk(mask, PLAIN))
        for values in (image, image * np.exp(field))
    )
    inside, _ = brain._around(to_sitk(mask, PLAIN), to_sitk(mask, PLAIN))
    keep = (from_sitk(inside)[0] > 0) & (from_sitk(clean)[0] > 100)
    left = np.log(from_sitk(biased)[0][keep] / from_sitk(clean)[0][keep])
    assert left.std() < 0.15 * field[mask > 0].std()
    before, _ = brain._around(to_sitk(image, PLAIN), to_sitk(mask, PLAIN))
    lesion = from_sitk(brain._around(to_sitk(scan("seg"), PLAIN), to_sitk(mask, PLAIN))[0])[0] > 0
    contrast = [from_sitk(v)[0][keep & lesion].mean() / from_sitk(v)[0][keep & ~lesion].mean() for v in (before, clean)]
    assert contrast[1] == pytest.approx(contrast[0], rel=0.05)


# Every error is one sentence


def damage_truncate(folder):
    path = folder / "t1.nii.gz"
    path.write_bytes(path.read_bytes()[:2000])
    return {}, "t1.nii.gz", "is damaged"


def damage_text(folder):
    (folder / "t1.nii.gz").write_text("no scan")
    return {}, "t1.nii.gz", "is damaged"


def damage_gone(folder):
    (folder / "mask.nii.gz").unlink()
    return {}, "mask.nii.gz", "no such file"


def damage_series(folder):
    save(folder / "t1.nii.gz", np.ones((8, 8, 8, 3), np.float32))
    return {}, "t1.nii.gz", "has 4 dimensions"


def damage_empty_mask(folder):
    save(folder / "mask.nii.gz", np.zeros((16, 16, 16), np.uint8), COARSE)
    return {}, "mask.nii.gz", "mask is empty"


def damage_mask_beside(folder):
    save(folder / "mask.nii.gz", np.ones((16, 16, 16), np.uint8), FAR)
    return {}, "mask.nii.gz", "does not lie on"


def damage_nan(folder):
    image = np.random.default_rng(0).random((16, 16, 16)).astype(np.float32)
    image[8, 8, 8] = np.nan
    save(folder / "t1.nii.gz", image, COARSE)
    return {}, "t1.nii.gz", "NaN or infinite voxels in the brain"


def damage_constant(folder):
    save(folder / "t1.nii.gz", np.full((16, 16, 16), 7, np.float32), COARSE)
    return {}, "t1.nii.gz", "is constant"


def damage_zero(folder):
    save(folder / "t1.nii.gz", np.zeros((16, 16, 16), np.float32), COARSE)
    return {"mask": "nonzero"}, "t1.nii.gz", "is constant; fetch the scan again"


DAMAGES = [value for name, value in list(globals().items()) if name.startswith("damage_")]


@pytest.mark.parametrize("damage", DAMAGES)
def test_bad_input(tmp_path, damage):
    image = np.random.default_rng(0).random((16, 16, 16)).astype(np.float32)
    paths = {"t1": save(tmp_path / "t1.nii.gz", image, COARSE)}
    mask = np.zeros((16, 16, 16), np.uint8)
    mask[4:12, 4:12, 4:12] = 1
    options = {"mask": save(tmp_path / "mask.nii.gz", mask, COARSE)}
    changed, name, text = damage(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(text)) as caught:
        place(paths, template(), **options | changed)
    message = str(caught.value)
    assert str(tmp_path / name) in message and "\n" not in message


def test_scans_that_are_nowhere_near_each_other(tmp_path, quick, monkeypatch):
    """SimpleITK's error of many lines becomes one that names the file."""

    def fails(*_):
        raise RuntimeError("Exception thrown\nITK ERROR: All samples map outside moving image buffer.\n")

    monkeypatch.setattr("essim.prepare.align.register_affine", fails)
    path = save(tmp_path / "t1.nii.gz", scan("t1"), PLAIN)
    with pytest.raises(ValueError, match="registration to the template fails .*All samples map outside") as caught:
        place({"t1": path}, template(), mask="nonzero")
    assert path in str(caught.value) and "\n" not in str(caught.value)


# Templates and grids


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS"])
def test_arrays_to_sitk_and_back(axes):
    affine = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(axes), (3, 4, 5)) @ np.diag([1, 2, 3, 1])
    affine[0, 1] += 0.1  # sheared
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    image = to_sitk(array, affine)
    back, found = from_sitk(image)
    np.testing.assert_array_equal(back, array)
    np.testing.assert_allclose(found, affine, atol=1e-12)
    point = LPS @ affine @ [2, 1, 3, 1]
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((2, 1, 3)), point[:3], atol=1e-9)


@pytest.mark.parametrize("mm", [1, 2, 4])
def test_the_default_is_the_built_in_cohorts_grid(mm):
    found = load_template(voxel_mm=mm)
    assert found.shape == mni.shape_of(mm) == found.brain.shape
    np.testing.assert_allclose(found.affine, mni.affine_of(mm))
    assert 1.7e6 < found.brain.sum() * mm**3 < 2e6


def test_a_template_of_ones_own_is_cut_to_its_brain(tmp_path):
    data = np.zeros((40, 50, 30), np.float32)
    data[10:30, 12:42, 5:25] = 5
    affine = np.diag([-1.5, 1.5, 2, 1])
    affine[:3, 3] = 40, -30, 7
    found = load_template(save(tmp_path / "atlas.nii", data, affine), 3)
    assert found.shape == (16, 21, 19)  # (30 + 16) / 3, (45 + 16) / 3, (40 + 16) / 3, rounded up
    np.testing.assert_allclose(np.diag(found.affine), [3, 3, 3, 1])
    low = np.array([40 - 1.5 * 29.5, -30 + 1.5 * 11.5, 7 + 2 * 4.5]) - 8  # the box's lower corner
    np.testing.assert_allclose(found.affine[:3, 3], low + 1.5)
    assert found.brain.sum() * 27 == pytest.approx(30 * 45 * 40, rel=0.12)


def test_bad_templates(tmp_path):
    for data in (np.ones((8, 8, 8), np.float32), np.zeros((8, 8, 8), np.float32)):
        with pytest.raises(ValueError, match="atlas.nii: is not a skull-stripped template"):
            load_template(save(tmp_path / "atlas.nii", data))
    for mm in (0, -1, 20, float("nan")):
        with pytest.raises(ValueError, match="voxel_mm is"):
            load_template(voxel_mm=mm)
    with pytest.raises(FileNotFoundError, match="gone.nii"):
        load_template(tmp_path / "gone.nii")
