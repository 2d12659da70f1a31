"""Scans as people have them, to study space: any scale, any fill, masks on other grids; or one sentence at once."""

import functools
import itertools
import time

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from helpers import save
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_files import PIXDIM, edit, write, write_series

from essim.cohort.generate import CohortConfig, grow_subject
from essim.cohort.mni import CANVAS_MM, CORNER_MM
from essim.data.datasets import load_scans
from essim.data.volumes import read_nifti
from essim.prepare import align, brain
from essim.prepare.folder import prepare
from essim.prepare.registration import UNSTATED, load_template, place

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


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Bias correction in a few steps, where it isn't looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(brain, "BIAS_STEPS", [5])
        yield


def put(folder, image=None, affine=OBLIQUE, **options):
    """A scan and the files that belong to it: {t2, mask, seg: path}."""
    plain, inside, lesion = grown()
    volumes = {"t2": plain if image is None else image, "mask": inside.astype(np.uint8), "seg": lesion.astype(np.uint8)}
    return {kind: str(write(folder / f"{kind}.nii.gz", volume, affine, **options)) for kind, volume in volumes.items()}


def placed(paths, mask=None, seg="", **more):
    return place({"t2": paths["t2"]}, template(), mask=paths["mask"] if mask is None else mask, seg=seg, **more)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What the ordinary scan becomes."""
    return placed(put(tmp_path_factory.mktemp("plain")))


def check_same(found, plain):
    """The same brain and values, but for a voxel on the rim that rounding moves in or out."""
    assert (found.mask != plain.mask).sum() <= 3
    both = found.mask & plain.mask
    np.testing.assert_allclose(found.images["t2"][both], plain.images["t2"][both], rtol=2e-3)


def scaled(image, inside):
    low, high = np.percentile(image[inside], (1, 99))
    return np.clip((image[inside] - low) / (high - low), 0, 1)


# Values


def z_scores(image, inside):
    return np.where(inside, (image - image[inside].mean()) / image[inside].std(), 0), "nonzero"


def minus_one_to_one(image, inside):
    return np.where(inside, 2 * (image - image[inside].min()) / np.ptp(image[inside]) - 1, -1.01), "nonzero"


def constant_taken_off(image, inside):
    return image - 1024, "nonzero"


def all_below_zero(image, inside):
    return image - 5000, "nonzero"


def far_below(image, inside):
    return np.where(inside, image, -32768), "nonzero"


def noise_around(image, inside):
    return np.where(inside, image, np.abs(np.random.default_rng(0).normal(0, 1e-3, image.shape))), "nonzero"


def bright_fill(image, inside):
    return np.where(inside, image, 32767), None


def huge_fill(image, inside):
    return np.where(inside, image, 1e30), None


def specks(image, inside):
    return np.where(~inside & (np.random.default_rng(0).random(image.shape) < 0.1), 32767, image), None


def not_a_number(image, inside):
    return np.where(inside, image, np.nan), None


def negative_fill(image, inside):
    return np.where(inside, image, -500), None


@pytest.mark.parametrize(
    "change", [bright_fill, huge_fill, specks, not_a_number, negative_fill, far_below, noise_around]
)
def test_what_lies_outside_of_the_brain_changes_nothing(tmp_path, plain, change):
    image, mask = change(*grown()[:2])
    found = placed(put(tmp_path, image.astype(np.float32)), mask)
    np.testing.assert_array_equal(found.mask, plain.mask)
    np.testing.assert_allclose(found.images["t2"], plain.images["t2"], rtol=1e-4, atol=0.1)


@pytest.mark.parametrize("change", [z_scores, minus_one_to_one, constant_taken_off, all_below_zero])
def test_any_scale_is_lifted_not_cut(tmp_path, plain, change):
    """Its zero is lost and with it a little of the bias field; the brain lies where it lay and shows the same."""
    image, mask = change(*grown()[:2])
    paths = put(tmp_path, image.astype(np.float32))
    for given_mask in (mask, None):
        found = placed(paths, given_mask)
        both = found.mask & plain.mask
        assert found.dice == pytest.approx(plain.dice, abs=0.01) and both.sum() > 0.95 * plain.mask.sum()
        assert (found.images["t2"][found.mask] > 0).mean() > 0.99
        assert np.corrcoef(found.images["t2"][both], plain.images["t2"][both])[0, 1] > 0.98
        assert np.abs(scaled(found.images["t2"], both) - scaled(plain.images["t2"], both)).mean() < 0.03


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.floats(width=32), min_size=1, max_size=4),
    st.floats(0.001, 1),
    st.integers(0, 99),
)
def test_no_value_outside_the_mask_reaches_study_space(values, share, seed):
    """Bias correction and resampling; the registration sees the stripped scan only."""
    image, inside, _ = grown()
    draw = np.random.default_rng(seed)
    spoilt = np.where(~inside & (draw.random(image.shape) < share), draw.choice(values, image.shape), image)
    mask, grid = align.to_sitk(inside, OBLIQUE), align.to_sitk(np.zeros(template().shape, np.uint8), template().affine)
    found = []
    for volume in (image, spoilt.astype(np.float32)):
        even = brain.correct("scan", align.to_sitk(volume, OBLIQUE), mask)
        within = align.sample_label(mask, even, brain.HERE)
        found.append(align.from_sitk(align.sample_scan(even, grid, np.eye(4), within))[0])
    where = align.from_sitk(align.sample_label(mask, grid, np.eye(4)))[0] > 0
    np.testing.assert_allclose(found[1][where], found[0][where], rtol=1e-3)


def test_a_t1_that_is_filled_with_a_bright_value_finds_its_t2(tmp_path):
    """Where the mask is the T2's, and the T1's brain is not known before the two are registered."""
    t1 = grow_subject(CohortConfig(voxel_mm=MM), "tumour", 0)["t1"]
    inside = grown()[1]
    files = put(tmp_path)
    results = []
    for name, image in (("plain", np.where(inside, t1, 0)), ("filled", np.where(inside, t1 - 600.0, 32767))):
        path = save(tmp_path / f"{name}.nii.gz", image.astype(np.float32), OBLIQUE)
        results.append(place({"t1": path, "t2": files["t2"]}, template(), mask="nonzero"))
    one, two = results
    assert two.dice > 0.9 and (one.mask & two.mask).sum() > 0.97 * one.mask.sum()


# Masks on other grids


def drawn_elsewhere(folder, volume, shift=(0, 0, 0), spacing=(2.6, 3.1, 5)):
    """A mask of the patient on a grid of its own, in the same space but for a shift in mm."""
    affine = nib.affines.from_matvec(np.diag(spacing), [-95, -120, -80])
    grid = align.to_sitk(np.zeros((74, 80, 36), np.uint8), affine)
    moved = np.eye(4)
    moved[:3, 3] = shift
    label = align.sample_label(align.to_sitk(volume, OBLIQUE), grid, moved)
    return save(folder, align.from_sitk(label)[0].astype(np.uint8), affine)


def test_lesions_on_the_grid_of_a_flair(tmp_path, plain):
    """They are taken, and it is said how they lie."""
    paths = put(tmp_path)
    here = placed(paths, seg=paths["seg"])
    found = placed(paths, seg=drawn_elsewhere(tmp_path / "flair.nii.gz", grown()[2]))
    assert not here.notes and (here.seg > 0).any()
    overlap = 2 * ((here.seg > 0) & (found.seg > 0)).sum() / ((here.seg > 0).sum() + (found.seg > 0).sum())
    ((text, trust),) = found.notes
    assert overlap > 0.8 and trust > 0.9
    assert "the lesions lie on another grid and were taken to the nearest voxel: 1" in text or "99%" in text


def test_a_brain_mask_on_another_grid(tmp_path, plain):
    paths = put(tmp_path)
    found = placed(paths, drawn_elsewhere(tmp_path / "other.nii.gz", grown()[1]))
    assert 2 * (found.mask & plain.mask).sum() / (found.mask.sum() + plain.mask.sum()) > 0.95
    ((text, trust),) = found.notes
    assert trust > 0.9 and "the brain mask lies on another grid and was taken to the nearest voxel" in text


@pytest.mark.parametrize("kind", ["mask", "seg"])
def test_masks_that_lie_beside(tmp_path, kind):
    volume = grown()[1 if kind == "mask" else 2]
    beside = drawn_elsewhere(tmp_path / "beside.nii.gz", volume, shift=(0, 90, 60) if kind == "mask" else (0, 0, -90))
    with pytest.raises(ValueError, match=r"beside.nii.gz: the .* beside .* give the") as caught:
        placed(put(tmp_path), **{"mask": beside} if kind == "mask" else {"seg": beside})
    assert "\n" not in str(caught.value)


def sform_for_a_template(folder):
    """The scan's sform says where it lies in MNI space, its qform where it lay in the scanner; masks have the qform."""
    paths, scanner = put(folder), OBLIQUE.copy()
    scanner[:3, 3] += 12, -18, 25
    scan = nib.load(paths["t2"])
    scan.set_qform(scanner, 1)
    scan.set_sform(OBLIQUE, 4)
    nib.save(scan, paths["t2"])
    for kind, volume in (("mask", grown()[1]), ("seg", grown()[2])):
        paths[kind] = str(write(folder / f"{kind}.nii.gz", volume.astype(np.uint8), scan.get_qform()))
    return paths, "sform and qform of the scan disagree"


def codes_0(folder):
    paths = put(folder)
    write(paths["t2"], grown()[0], OBLIQUE, sform=0, qform=0)
    return paths, "the scan's header doesn't say where it lies"


def masks_without_header(folder):
    paths = put(folder)
    for kind, volume in (("mask", grown()[1]), ("seg", grown()[2])):
        write(paths[kind], volume.astype(np.uint8), np.eye(4))
    return paths, "the mask's affine seems to have lost the size of its voxels"


TRAPS = [sform_for_a_template, codes_0, masks_without_header]


@pytest.mark.parametrize("trap", TRAPS)
def test_masks_that_fit_by_shape_only_are_refused_at_every_door(tmp_path, trap):
    """With one sentence, that names both files and the way out."""
    paths, reason = trap(tmp_path)
    row = {"dataset": "tumour", "subject": "x", "split": "test", "contrast": "t2", "image": paths["t2"]}
    pd.DataFrame([row | {"mask": paths["mask"], "seg": paths["seg"]}]).to_csv(tmp_path / "t.csv", index=False)
    for kind in ("mask", "seg"):
        sentence = f"{paths[kind]}: does not fit {paths['t2']}: {reason}"
        with pytest.raises(ValueError) as caught:
            place({"t2": paths["t2"]}, template(), **{"mask": paths["mask"], "seg": "", kind: paths[kind]})
        assert str(caught.value).startswith(f"{paths['mask']}: does not fit {paths['t2']}: {reason}")
        with pytest.raises(ValueError) as caught:
            load_scans(tmp_path / "t.csv")
        assert sentence in str(caught.value) and "give both one header" in str(caught.value)
    _, failures = prepare(tmp_path / "t.csv", tmp_path / "out", voxel_mm=MM)
    assert reason in failures[0][2]


def test_the_rule_of_the_masks_holds_for_lesions(tmp_path):
    paths = put(tmp_path)
    write(paths["seg"], grown()[2].astype(np.uint8), np.eye(4))
    with pytest.raises(ValueError, match=r"seg.nii.gz: does not fit .*t2.nii.gz: the mask's affine seems to have lost"):
        placed(paths, seg=paths["seg"])


def test_a_scan_and_a_mask_that_say_nothing_are_taken_with_a_doubt(tmp_path):
    ((text, trust),) = placed(put(tmp_path, sform=0, qform=0)).notes
    assert text.startswith(UNSTATED) and trust == 0


# No head, within a second


def test_what_is_no_head_is_told_at_once(tmp_path):
    image, *_ = grown()
    cases = {
        "one slice": (image[:, :, 20:21], OBLIQUE, "has one slice only"),
        "six slices": (image[:, :, 17:23], OBLIQUE, "shows a part of a head"),
        "two dimensions": (image[:, :, 20], OBLIQUE, "has 2 dimensions"),
        "a mouse's": (image, np.diag([0.1, 0.1, 0.1, 1]) @ OBLIQUE, "no head is"),
        "an elephant's": (image, np.diag([4, 4, 4, 1]) @ OBLIQUE, "no head is"),
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
    """In a field of view that a head may have."""
    paths, wrong = put(tmp_path), np.zeros(grown()[1].shape, np.uint8)
    wrong[-side:, -side:, -side:] = 1
    write(paths["mask"], wrong, OBLIQUE)
    with pytest.raises(ValueError, match=r"mask.nii.gz: the brain mask holds .* ml, no brain does"):
        placed(paths)


def test_a_whole_head_with_mask_nonzero_is_not_stripped(tmp_path):
    image, *_ = grown()
    noise = np.abs(np.random.default_rng(0).normal(0, 150, image.shape))
    with pytest.raises(ValueError, match=r"t2.nii.gz: the brain mask holds .* ml, no brain does"):
        placed(put(tmp_path, (image + noise).astype(np.float32)), "nonzero")


@pytest.mark.parametrize(("unit", "times"), [("meter", 0.001), ("micron", 1000), ("meter", 1), ("mm", 0.001)])
def test_other_units_of_length(tmp_path, plain, unit, times):
    """A header's numbers are rounded to float32, in another way in every unit, and the registration stops elsewhere."""
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


# Other formats


def test_mgz_and_dicom_in_a_table_of_ones_own(tmp_path):
    """To study space; the series is only read, and a changed one is done again."""
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
