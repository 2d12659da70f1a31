"""Loading: what is wrong is said in one sentence, and what is right ends up where it was."""

import re

import nibabel as nib
import numpy as np
import pytest
from helpers import AFFINE, AS_IT_IS, brain, row, save, sentence
from pydantic import ValidationError

from essim.data.volumes import curvature_flow, load_scan, read_nifti
from essim.settings import Preprocessing


@pytest.mark.parametrize("part", ["image", "mask", "seg"])
def test_missing_and_damaged_parts(tmp_path, part):
    scan = row(tmp_path, lesion=brain()[1])
    path = tmp_path / scan[part].rsplit("/", 1)[1]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="it is damaged, or in another format") as caught:
        load_scan(scan, AS_IT_IS)
    sentence(caught, scan[part])
    scan[part] = str(tmp_path / "gone.nii.gz")
    with pytest.raises(FileNotFoundError, match="no such file; check the path in the scan table") as caught:
        load_scan(scan, AS_IT_IS)
    sentence(caught, scan[part])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(tmp_path, bad):
    scan, (image, mask) = row(tmp_path), brain()
    image[8, 8, 4] = bad
    assert mask[8, 8, 4]
    scan["image"] = save(tmp_path / "bad.nii.gz", image)
    with pytest.raises(ValueError, match="has NaN or infinite voxels in the brain") as caught:
        load_scan(scan, AS_IT_IS)
    sentence(caught, scan["image"])
    with pytest.raises(ValueError, match="has NaN or infinite voxels") as caught:
        read_nifti(scan["image"])
    sentence(caught, scan["image"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_borders_that_are_no_numbers_are_outside(tmp_path, bad):
    scan, (image, _) = row(tmp_path), brain()
    expected = load_scan(scan, AS_IT_IS).image
    image[:2] = bad
    scan["image"] = save(tmp_path / "borders.nii.gz", image)
    np.testing.assert_array_equal(load_scan(scan, AS_IT_IS).image, expected)


def test_a_fourth_axis_of_one_is_taken_away(tmp_path):
    scan, (image, mask) = row(tmp_path), brain()
    expected = load_scan(scan, AS_IT_IS)
    scan["image"] = save(tmp_path / "long.nii.gz", image[..., None])
    scan["mask"] = save(tmp_path / "long_mask.nii.gz", mask[..., None].astype(np.uint8))
    found = load_scan(scan, AS_IT_IS)
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_allclose(found.affine, expected.affine)


def test_a_stripped_image_may_be_its_own_mask(tmp_path):
    scan, (image, mask) = row(tmp_path), brain()
    image[mask & (image == 0)] = 1
    scan["image"] = save(tmp_path / "stripped.nii.gz", image)
    np.testing.assert_array_equal(load_scan(scan | {"mask": "nonzero"}, AS_IT_IS).mask, mask)
    scan["image"] = save(tmp_path / "nothing.nii.gz", np.zeros_like(image))
    with pytest.raises(ValueError, match="the brain mask is empty"):
        load_scan(scan | {"mask": "nonzero"}, AS_IT_IS)
    with pytest.raises(ValueError, match=r"has no brain mask; bring the scan to study space first") as caught:
        load_scan(scan | {"mask": ""}, AS_IT_IS)
    sentence(caught, scan["image"])


def test_labels_become_lesion_and_ignored(tmp_path):
    labels = np.zeros((16, 16, 8), np.uint8)
    labels[6:9, 6:9, 3:5] = 1
    labels[9:11, 6:9, 3:5] = 2
    labels[6:9, 9:11, 3:5] = 4
    scan = row(tmp_path, lesion=labels)
    every = load_scan(scan, AS_IT_IS)
    np.testing.assert_array_equal(every.seg, labels > 0)
    assert not every.ignored.any()
    some = load_scan(scan | {"ignore": 2}, AS_IT_IS)
    np.testing.assert_array_equal(some.seg, (labels == 1) | (labels == 4))
    np.testing.assert_array_equal(some.ignored, labels == 2)
    assert some.seg.dtype == some.ignored.dtype == bool


def test_constant(tmp_path):
    scan, (_, mask) = row(tmp_path), brain()
    for values in (np.zeros(mask.shape), np.full(mask.shape, 7.0), np.where(mask, 5.0, np.random.rand(*mask.shape))):
        scan["image"] = save(tmp_path / "flat.nii.gz", values.astype(np.float32))
        with pytest.raises(ValueError, match="is constant, or nearly, inside the brain mask") as caught:
            load_scan(scan, AS_IT_IS)
        sentence(caught, scan["image"])


@pytest.mark.filterwarnings("ignore")
def test_constant_but_for_a_few_voxels(tmp_path):
    """Between the 1st and the 99th percentile there is nothing to scale."""
    scan, (_, mask) = row(tmp_path), brain()
    values = np.full(mask.shape, 700.0, np.float32)
    values[8, 8, 4] = 900
    scan["image"] = save(tmp_path / "flat.nii.gz", values)
    with pytest.raises(ValueError, match="is constant, or nearly") as caught:
        load_scan(scan, AS_IT_IS)
    sentence(caught, scan["image"])


@pytest.mark.parametrize("part", ["mask", "seg"])
def test_a_label_that_does_not_fit(tmp_path, part):
    scan, (_, mask) = row(tmp_path, lesion=brain()[1]), brain()
    moved = AFFINE.copy()
    moved[0, 3] += 4
    for label, affine in ((mask[:-1], AFFINE), (mask, moved), (mask, AFFINE @ np.diag([1.5, 1, 1, 1]))):
        path = tmp_path / "other.nii.gz"
        scan[part] = save(path, label.astype(np.uint8), affine)
        with pytest.raises(ValueError, match=f"does not fit {re.escape(scan['image'])}") as caught:
            load_scan(scan, AS_IT_IS)
        assert "nearest-neighbour" in sentence(caught, path)
    nearly = AFFINE.copy()
    nearly[0, 3] += 1e-5  # rounding of a header
    scan[part] = save(tmp_path / "fits.nii.gz", mask.astype(np.uint8), nearly)
    load_scan(scan, AS_IT_IS)


def test_empty_masks(tmp_path):
    scan = row(tmp_path)
    scan["mask"] = save(tmp_path / "empty.nii.gz", np.zeros((16, 16, 8), np.uint8))
    with pytest.raises(ValueError, match="the brain mask is empty") as caught:
        load_scan(scan, AS_IT_IS)
    sentence(caught, scan["mask"])


@pytest.mark.filterwarnings("ignore")
def test_nothing_left_after_the_crop(tmp_path):
    scan = row(tmp_path)
    corner = np.zeros((16, 16, 8), np.uint8)
    corner[:2, :2, :2] = 1
    scan["mask"] = save(tmp_path / "corner.nii.gz", corner)
    scan["image"] = save(tmp_path / "noise.nii.gz", np.random.default_rng(0).random((16, 16, 8)).astype(np.float32))
    with pytest.raises(ValueError, match=r"no brain is left after the centre crop to \[8, 8, 4\]; enlarge") as caught:
        load_scan(scan, Preprocessing(smooth=False, shape=(8, 8, 4), factor=1))
    sentence(caught, scan["image"])


def test_scaled_between_percentiles_inside_the_mask(tmp_path):
    scan, (image, mask) = row(tmp_path), brain()
    image = np.where(mask, image, 1e5).astype(np.float32)  # bright outside: must not matter
    scan["image"] = save(tmp_path / "bright.nii.gz", image)
    loaded = load_scan(scan, AS_IT_IS)
    low, high = np.percentile(image[mask], (1, 99))
    expected = np.where(mask, np.clip((image - low) / (high - low), 0, 1), 0)
    np.testing.assert_allclose(loaded.image, expected, atol=2e-3)
    assert loaded.image.dtype == np.float32
    assert (loaded.image.min(), loaded.image.max()) == (0, 1)
    np.testing.assert_array_equal(loaded.mask, mask)
    assert loaded.mask.dtype == loaded.seg.dtype == bool
    assert not loaded.seg.any()
    np.testing.assert_allclose(loaded.affine, AFFINE)


@pytest.mark.parametrize("shape", [(10, 12, 6), (20, 18, 12), (12, 20, 8)])
def test_crop_and_pad_keep_each_point_where_it_was(tmp_path, shape):
    lesion = np.zeros((16, 16, 8), bool)
    lesion[9, 7, 4] = True
    scan = row(tmp_path, lesion=lesion)
    loaded = load_scan(scan, Preprocessing(smooth=False, shape=shape, factor=1))
    assert loaded.image.shape == loaded.mask.shape == shape
    (voxel,) = np.argwhere(loaded.seg)
    np.testing.assert_allclose(loaded.affine @ [*voxel, 1], AFFINE @ [9, 7, 4, 1], atol=1e-6)
    assert (np.array(shape) / 2 - voxel == [8 - 9, 8 - 7, 4 - 4]).all()  # about the centre


def test_half_the_resolution(tmp_path):
    lesion = np.zeros((16, 16, 8), bool)
    lesion[4:10, 6:12, 2:6] = True
    scan = row(tmp_path, lesion=lesion)
    full = load_scan(scan, AS_IT_IS)
    half = load_scan(scan, Preprocessing(smooth=False, shape=(16, 16, 8), factor=2))
    assert half.image.shape == (8, 8, 4)
    np.testing.assert_allclose(np.abs(np.diag(half.affine)[:3]), [4, 4, 4])
    for label, fine in ((half.seg, full.seg), (half.mask, full.mask)):
        assert label.dtype == bool
        assert label.sum() == pytest.approx(fine.sum() / 8, rel=0.25)
    # a coarse voxel is a block of 2 x 2 x 2 fine ones; its label is that of one of them, the same for all (no mixture)
    np.testing.assert_allclose(half.affine @ [0, 0, 0, 1], full.affine @ [0.5, 0.5, 0.5, 1], atol=1e-6)
    corners = [np.s_[i::2, j::2, k::2] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    assert any((half.seg == full.seg[c]).all() and (half.mask == full.mask[c]).all() for c in corners)
    brain, *values = (v.reshape(8, 2, 8, 2, 4, 2).sum((1, 3, 5)) for v in (full.mask, full.image))
    assert np.corrcoef(half.image[half.mask], values[0][half.mask] / brain[half.mask])[0, 1] > 0.98  # the rim too


@pytest.mark.parametrize("axes", ["LPS", "PIR", "SAL"])
def test_any_orientation_becomes_ras(tmp_path, axes):
    lesion = np.zeros((16, 16, 8), bool)
    lesion[9, 4, 2] = True
    plain = row(tmp_path, lesion=lesion)
    turned = dict(plain)
    for part in ("image", "mask", "seg"):
        volume = nib.load(plain[part])
        start, end = nib.io_orientation(volume.affine), nib.orientations.axcodes2ornt(axes)
        turned[part] = str(tmp_path / f"turned_{part}.nii.gz")
        nib.save(volume.as_reoriented(nib.orientations.ornt_transform(start, end)), turned[part])
    assert nib.aff2axcodes(nib.load(turned["image"]).affine) == tuple(axes)
    smooth = Preprocessing(smooth=True, shape=(16, 16, 8), factor=1)
    one, two = load_scan(plain, smooth), load_scan(turned, smooth)
    np.testing.assert_allclose(two.image, one.image, atol=1e-5)
    np.testing.assert_array_equal(two.seg, one.seg)
    np.testing.assert_allclose(two.affine, one.affine, atol=1e-6)
    assert nib.aff2axcodes(two.affine) == ("R", "A", "S")


def test_curvature_flow_smooths_noise_and_keeps_mean_and_edges():
    rng = np.random.default_rng(0)
    flat = (100 + 5 * rng.standard_normal((24, 20, 16))).astype(np.float32)
    found = curvature_flow(flat)
    assert found.shape == flat.shape
    assert 0.1 * flat.std() < found.std() < 0.8 * flat.std()
    assert found.mean() == pytest.approx(flat.mean(), rel=2e-3)
    edge = np.zeros((24, 20, 16), np.float32)
    edge[12:] = 100
    np.testing.assert_allclose(curvature_flow(edge), edge, atol=1)  # a flat border has no curvature


def test_smoothing_is_a_switch(tmp_path):
    scan = row(tmp_path)
    rough, smooth = (load_scan(scan, Preprocessing(smooth=s, shape=(16, 16, 8), factor=1)).image for s in (False, True))
    assert 1e-3 < np.abs(rough - smooth).mean() < 0.2


def test_the_defaults_are_the_papers():
    assert Preprocessing().model_dump() == {"smooth": True, "shape": (192, 192, 100), "factor": 2}
    with pytest.raises(ValidationError, match="sharpen"):
        Preprocessing(sharpen=True)
    with pytest.raises(ValidationError, match="factor"):
        Preprocessing(factor=0)
