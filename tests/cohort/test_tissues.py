"""The tissues of a scan, and the maps that heads grow from: a person made of the template, whose tissues are known."""

import shutil

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from essim.cohort import mni, tissues
from essim.data import prepared

STUDY = tuple(slice(low, low + side) for low, side in zip((4, 3, 5), mni.CANVAS_MM, strict=True))  # in the maps' box


@pytest.fixture(scope="module")
def person():
    """Fractions and T1w intensities [168, 200, 168], brain, and a mask that is 2 mm too wide, with a dark rim."""
    brain, _, grey, white = mni.read_files()
    rng = np.random.default_rng(0)
    fractions = np.zeros((*brain.shape, 3), np.float32)
    logs = np.log(np.stack([np.clip(1 - grey - white, 0, 1), grey, white], -1)[brain] + 1e-3)
    for tissue in range(2):  # folds of their own
        logs[:, tissue] += 0.4 * ndimage.zoom(rng.standard_normal((42, 50, 42), np.float32), 4, order=1)[brain]
    odds = np.exp(2 * logs)
    fractions[brain] = odds / odds.sum(1, keepdims=True)
    mask = ndimage.binary_dilation(brain, iterations=2)
    fractions[mask & ~brain] = (1, 0, 0)
    tone = np.where(brain[..., None], np.float32([0.2, 0.66, 1.0]), np.float32(0.1))
    image = (fractions * tone).sum(-1) + 0.04 * rng.standard_normal(mask.shape, np.float32)
    return fractions, np.where(mask, np.rint(700 * np.maximum(image, 0)), 0).astype(np.int16), brain, mask


@pytest.fixture(scope="module")
def source(person, tmp_path_factory):
    """A prepared folder with the person in training, and nobody else."""
    out = tmp_path_factory.mktemp("prepared")
    for kind, volume in (("t1", person[1]), ("mask", person[3].astype(np.uint8))):
        _save(out / prepared.path_of("healthy", "b", kind), volume[STUDY])
    _write_splits(out, ["b"])
    return out


def _save(path, volume, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(volume, mni.affine_of(1) if affine is None else affine), path)


def _write_splits(out, names):
    people = [dict(dataset="healthy", subject=name, age=30, sex="f", site="", seg="") for name in names]
    for split in ("train", "val", "test"):
        name = prepared.split_name("healthy", split)
        prepared.write_split(out / prepared.SPLITS / name, people if split == "train" else [])


def test_maps_are_those_of_the_person(person, source, tmp_path, monkeypatch):
    fractions, _, brain, mask = person
    ((t1, drawn),) = tissues.find_anatomies(source)
    before = tissues.digest_of(t1, drawn)
    maps = tissues.load_anatomy(t1, drawn, tmp_path, 1)
    for found, template in zip(maps, mni.load_maps(1), strict=True):
        assert found.shape == template.shape and found.dtype == template.dtype
    tissue, guide, aging = maps
    error = np.abs(tissue[..., :2] - fractions[..., 1:])
    assert error[brain].mean() < 0.06  # .050 was measured; the smoothed template alone is off by .258
    share = tissue[brain].mean(0)[:2] - fractions[brain].mean(0)[1:]
    assert np.abs(share).max() < 0.01  # no tissue at another's cost
    assert tissue[mask & ~brain, :2].sum(-1).mean() < 0.05  # the dark rim is no cortex
    assert not tissue[..., 2].any() and not guide[..., 2].any() and not tissue[~mask].any()
    ventricles = mni.load_maps(1)[1][..., 1] < 0
    shared = 2 * (ventricles & (guide[..., 1] < 0)).sum() / (ventricles.sum() + (guide[..., 1] < 0).sum())
    assert shared > 0.8
    assert 0.9 < np.sqrt((aging[..., :3] ** 2).sum(-1)).max() <= 1.001

    (kept,) = tmp_path.iterdir()
    assert kept.name == f"{before}.npz" and tissues.digest_of(t1, drawn) == before
    tissues.load_anatomy.cache_clear()
    monkeypatch.delattr(tissues, "segment")  # from here on nothing is segmented
    for first, again in zip(maps, tissues.load_anatomy(t1, drawn, tmp_path, 1), strict=True):
        assert np.array_equal(first, again)


def test_other_files_are_another_anatomy(tmp_path):
    for name, content in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (tmp_path / name for name in "abc")
    assert tissues.digest_of(a, b) == tissues.digest_of(c, b) != tissues.digest_of(b, a)


def test_subjects_come_by_name(source, tmp_path):
    shutil.copytree(source / prepared.SPLITS, tmp_path / prepared.SPLITS)
    _write_splits(tmp_path, ["c", "a", "b"])
    assert [t1.name for t1, _ in tissues.find_anatomies(tmp_path)] == ["a_t1.nii.gz", "b_t1.nii.gz", "c_t1.nii.gz"]


def test_errors_name_what_is_wrong(person, source, tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path}: isn't a prepared folder; make one"):
        tissues.find_anatomies(tmp_path)
    _write_splits(tmp_path, [])
    with pytest.raises(ValueError, match="no healthy training subject"):
        tissues.find_anatomies(tmp_path)
    ((t1, _),) = tissues.find_anatomies(source)
    coarse, moved = tmp_path / "coarse.nii.gz", tmp_path / "moved.nii.gz"
    _save(coarse, np.ones(mni.shape_of(2), np.uint8), mni.affine_of(2))
    _save(moved, np.ones(mni.shape_of(1), np.uint8), np.eye(4))
    for wrong in (coarse, moved):
        with pytest.raises(ValueError, match=f"{wrong.name}: isn't in study space at 1 mm"):
            tissues.load_anatomy(t1, wrong, tmp_path)
    t2 = tmp_path / "t2.nii.gz"
    _save(t2, np.where(person[3], 1000 - person[1], 0).astype(np.int16)[STUDY])
    mask = tmp_path / "mask.nii.gz"
    _save(mask, (person[3] & (np.arange(168) // 30 == 2)).astype(np.uint8)[STUDY])  # a slab is quick
    with pytest.raises(ValueError, match="t2.nii.gz: csf, grey and white matter can't be told apart"):
        tissues.load_anatomy(t2, mask, tmp_path)
    with pytest.raises(ValueError, match="can't be told apart"):
        tissues.segment(person[1], np.zeros(person[1].shape, bool))
