"""Transplants: lesions go where they belong, look as they should, and leave everything else as it was."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from scipy import ndimage

import essim
from essim.calibration import FILE, Calibration
from essim.cohort import mni, planting
from essim.cohort.generate import CohortConfig, grow_subject
from essim.data.volumes import read_volume, save_nifti
from essim.models import build_model
from essim.settings import TrainConfig
from essim.ssim import SIGMAS
from essim.study import transplants
from essim.study.half_real import measure_transplants, summarise_transplants
from essim.study.transplants import find_masks, make_transplants, transplant

LAS = np.array([[-1.0, 0, 0, 90], [0, 1, 0, -126], [0, 0, 1, -72], [0, 0, 0, 1]])  # as in many MNI masks
SPOT = np.array([-26, -20, 28])  # mm, white matter on the left
SHAPE = mni.shape_of(4)


@pytest.fixture(scope="module")
def head():
    return grow_subject(CohortConfig(train=2, voxel_mm=4, contrasts=("t1", "t2", "flair")), "healthy", 0)


@pytest.fixture(scope="module")
def folders(head, tmp_path_factory):
    """Two healthy scans with their table, and two masks in MNI space."""
    folder = tmp_path_factory.mktemp("transplants")
    other = grow_subject(CohortConfig(train=2, voxel_mm=4), "healthy", 1)
    rows = []
    for name, grown in (("anna", head), ("ben", other)):
        files = {role: str(folder / f"{name}_{role}.nii.gz") for role in ("image", "mask")}
        save_nifti(files["image"], grown["t1"], mni.affine_of(4))
        save_nifti(files["mask"], grown["mask"], mni.affine_of(4))
        rows.append(
            {"dataset": "healthy", "subject": name, "contrast": "t1", **files, "seg": "", "ignore": "", "age": 40}
        )
    write_mask(folder / "masks/one.nii.gz", SPOT, 11)
    write_mask(folder / "masks/two.nii.gz", SPOT * [-1, 1, 1], 13)
    return folder, pd.DataFrame(rows)


def write_mask(path, centre, radius):
    """A ball, mm in MNI space, on the grid that masks come in."""
    axes = np.ogrid[:182, :218, :182]
    away = sum((LAS[i, i] * axis + LAS[i, 3] - centre[i]) ** 2 for i, axis in enumerate(axes))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_nifti(path, away < radius**2, LAS)


def ball(centre, radius):
    away = mni.world_of(4) - np.reshape(centre, (3, 1, 1, 1))
    return np.clip(0.5 + (radius - np.sqrt((away**2).sum(0))) / 4, 0, 1)


def put(head, lesion, kind="ms", contrast="t1", seed=0):
    brain = head["mask"] > 0
    return transplant(head[contrast], brain, lesion, kind, contrast, np.random.default_rng(seed))


def test_a_mask_lies_where_it_lay(folders):
    share = transplants.read_lesion(folders[0] / "masks/one.nii.gz", 4)
    assert share.shape == SHAPE and share.dtype == np.float32 and 0 <= share.min() and share.max() <= 1
    assert share.sum() * 64 == pytest.approx(4 / 3 * np.pi * 11**3, rel=0.02)  # mm3: averaging keeps the volume
    centre = nib.affines.apply_affine(mni.affine_of(4), ndimage.center_of_mass(share))
    np.testing.assert_allclose(centre, SPOT, atol=0.1)


def test_a_mask_may_lie_anyhow_and_is_never_empty(tmp_path):
    """Oblique voxels of 3 mm: the same ball as with voxels of 1 mm, slightly blurred; cut off at the edge."""
    affine = nib.affines.from_matvec(3 * nib.eulerangles.euler2mat(0.3, 0.2, 0.1), [-90, -100, -60])
    world = nib.affines.apply_affine(affine, np.indices((60, 72, 60)).reshape(3, -1).T)
    for centre, whole in ((SPOT, 1), (np.array([-80, -20, 28]), 0.5)):
        away = ((world - centre) ** 2).sum(1).reshape(60, 72, 60)
        save_nifti(tmp_path / "oblique.nii", away < 14**2, affine)
        share = transplants.read_lesion(tmp_path / "oblique.nii", 4)
        assert share.sum() * 64 == pytest.approx(whole * (away < 14**2).sum() * 27, rel=0.08)
        assert np.abs(share - ball(centre, 14)).max() < 0.4
    save_nifti(tmp_path / "none.nii", np.zeros((8, 8, 8), bool), LAS)
    with pytest.raises(ValueError, match="none.nii: the lesion mask is empty; leave it out"):
        transplants.read_lesion(tmp_path / "none.nii", 4)


def test_thin_lesions_keep_their_volume(head):
    sheet = np.zeros(SHAPE, np.float32)
    sheet[12:14, 18:26, 22:30] = np.random.default_rng(0).uniform(0.3, 0.49, (2, 8, 8))  # never half a voxel
    truth = put(head, sheet, "stroke")[1]
    assert truth.sum() == pytest.approx(sheet.sum(), rel=0.1)


def test_a_seed_is_one_patient(head):
    one, again, other = (put(head, ball(SPOT, 11), seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one[0], again[0])
    np.testing.assert_array_equal(one[1], again[1])
    assert (one[0] != other[0]).any()


@pytest.mark.parametrize("kind", planting.KINDS)
def test_only_the_lesion_changes(head, kind):
    image, truth = put(head, ball(SPOT, 11), kind)
    brain = head["mask"] > 0
    assert image.dtype == np.float32 and image.shape == truth.shape == SHAPE
    assert not truth[~brain].any() and not image[~brain].any()
    far = ndimage.distance_transform_edt(~truth) * 4 > 12
    np.testing.assert_array_equal(image[far], head["t1"][far])
    assert (image[truth] != head["t1"][truth]).mean() > 0.9  # all but CSF


def test_the_ground_truth_is_the_mask_on_one_side_or_the_other(head):
    lesion, sides = ball(SPOT, 11), set()
    for seed in range(8):
        truth = put(head, lesion, "stroke", seed=seed)[1]
        left = nib.affines.apply_affine(mni.affine_of(4), np.argwhere(truth))[:, 0].mean() < 0
        expected = lesion if left else lesion[::-1]
        assert expected[truth].min() > 0.4 and expected[~truth & (head["mask"] > 0)].max() < 0.6
        assert truth.sum() == pytest.approx(lesion.sum(), rel=0.06)  # as many as share one value
        sides.add(bool(left))
    assert sides == {True, False}


@pytest.mark.parametrize(("contrast", "sign"), [("t1", -1), ("t2", 1), ("flair", 1)])
def test_ms_is_dark_in_t1_and_bright_in_t2_and_flair(head, contrast, sign):
    brain = head["mask"] > 0
    white, csf = planting.levels_of(head[contrast], brain, contrast)
    for seed in range(3):
        image, truth = put(head, ball(SPOT, 11), contrast=contrast, seed=seed)
        level = np.median(image[ndimage.binary_erosion(truth)])
        assert sign * (level - white) > 0.08 * white
        if contrast == "t1":
            assert level > csf + 0.4 * (white - csf)  # no cavity


def test_an_old_stroke_is_a_cavity_with_a_rim(head):
    white, csf = planting.levels_of(head["t1"], head["mask"] > 0, "t1")
    image, truth = put(head, ball(SPOT, 16), "stroke")
    depth = ndimage.distance_transform_edt(truth) * 4
    deep, rim = np.median(image[depth > 9]), np.median(image[truth & (depth <= 4)])
    assert deep < csf + 0.3 * (white - csf) < rim < white


def test_ms_stays_near_white_matter_and_csf_stays_csf(head):
    """A mask of everything keeps the cortex for a stroke, and the ventricles for neither kind."""
    everything = np.ones(SHAPE, np.float32)
    (ms, ms_truth), (_, stroke_truth) = (put(head, everything, kind) for kind in planting.KINDS)
    assert 0.1 < ms_truth.sum() / stroke_truth.sum() < 0.9 and stroke_truth.sum() < (head["mask"] > 0).sum()
    white, csf = planting.levels_of(head["t1"], head["mask"] > 0, "t1")
    fluid = (head["mask"] > 0) & (head["t1"] < csf)
    assert fluid.any() and not ms_truth[fluid].any()
    np.testing.assert_allclose(ms[fluid], head["t1"][fluid], atol=1e-3)


def test_what_cannot_be_done_is_one_sentence(head):
    with pytest.raises(ValueError, match="lesion: none of it lies where such a lesion can be in this brain"):
        put(head, ball((75, 70, 75), 4))
    with pytest.raises(ValueError, match="kind is 'tumour': take one of ms, stroke"):
        put(head, ball(SPOT, 11), "tumour")
    with pytest.raises(ValueError, match="image: white matter and CSF don't look like t2"):
        transplant(head["t1"], head["mask"] > 0, ball(SPOT, 11), "ms", "t2", np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"image: \[40, 48, 32\] isn't the study grid"):
        cut = (array[..., 4:36] for array in (head["t1"], head["mask"] > 0, ball(SPOT, 11)))
        transplant(*cut, "ms", "t1", np.random.default_rng(0))


def test_a_test_set_is_a_table_of_ones_own(folders, tmp_path):
    folder, scans = folders
    table = make_transplants(scans, find_masks(folder / "masks"), "ms", tmp_path / "ms", 4, seed=1)
    assert table.subject.tolist() == [f"ms000{i}" for i in range(4)] and set(table.split) == {"test"}
    assert set(table.person[:2]) == set(table.person[2:]) == {"anna", "ben"}  # dealt out: each once before any twice
    assert set(table.lesion[:2]) == set(table.lesion[2:]) == {"one.nii.gz", "two.nii.gz"}
    read = essim.load_scans(tmp_path / "ms/scans.csv")
    assert read[["subject", "image", "seg"]].equals(table[["subject", "image", "seg"]]) and set(read.age) == {40}
    # a patient is a function of the seed and the number, however many there are
    fewer = make_transplants(scans, find_masks(folder / "masks"), "ms", tmp_path / "fewer", 2, seed=1)
    assert fewer[["person", "lesion"]].equals(table[["person", "lesion"]][:2])
    for role in ("image", "mask", "seg"):
        np.testing.assert_array_equal(read_volume(fewer[role][1])[0], read_volume(table[role][1])[0])
    before, after, truth = transplants.look_at(table.iloc[0], scans)
    assert before.shape == after.shape == truth.shape == SHAPE[:2] and truth.any()
    assert np.abs(before - after)[truth].mean() > 0.05 and 0 <= after.min() and after.max() <= 1


def test_a_test_set_that_cannot_be_made_leaves_nothing(head, folders, tmp_path):
    folder, scans = folders
    write_mask(tmp_path / "masks/nowhere.nii.gz", np.array([75, 70, 75]), 5)
    with pytest.raises(ValueError, match=r"nowhere.nii.gz in .*image.nii.gz: lesion: none of it lies"):
        make_transplants(scans, find_masks(tmp_path / "masks"), "ms", tmp_path / "out", 1, seed=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks"]
    with pytest.raises(FileNotFoundError, match="has no NIfTI files; give the folder of the masks"):
        find_masks(tmp_path)
    with pytest.raises(ValueError, match="each healthy subject must occur once; keep one contrast"):
        make_transplants(pd.concat([scans, scans]), find_masks(folder / "masks"), "ms", tmp_path / "out", 1, seed=0)
    away = {"image": str(tmp_path / "image.nii"), "mask": "nonzero"}
    save_nifti(away["image"], head["t1"], np.diag([4.0, 4, 4, 1]))
    with pytest.raises(ValueError, match=r"image.nii: isn't on the study grid; bring it there"):
        make_transplants(scans[:1].assign(**away), find_masks(folder / "masks"), "ms", tmp_path / "out", 1, seed=0)


def test_one_row_per_patient_and_method(folders, tmp_path):
    """With an untrained network: a grey image for every head."""
    folder, scans = folders
    training = TrainConfig(channels=8, multipliers=(1, 2), blocks=1, head_channels=8, patch=2, timesteps=100)
    settings = {"smooth": False, "shape": SHAPE, "factor": 1}
    description = {"contrast": "t1", "training": training.model_dump(), "preprocessing": settings}
    scoring = {"t": [50], "draws": 1, "sigmas": list(SIGMAS), "temperature": 1.0, "residual": 1.0}
    scoring["thresholds"] = dict.fromkeys(("l1", "adaptive", "calibrated"), {"0.01": 0.5})
    (tmp_path / "config.json").write_text(json.dumps(description))
    (tmp_path / "scoring.json").write_text(json.dumps(scoring))
    save_file(build_model(training.model_dump()).model.state_dict(), tmp_path / "weights.safetensors")
    ones = torch.ones(1 + len(SIGMAS), *(side // 2 for side in SHAPE))
    Calibration(SIGMAS, SHAPE, ones, ones, level=0.1, scans=2).save(tmp_path / FILE)
    table = make_transplants(scans, find_masks(folder / "masks"), "stroke", tmp_path / "stroke", 2, seed=0)
    scores = measure_transplants(table, tmp_path, [0.5, 1.5])
    methods = ["l1", "adaptive", "calibrated", "l1 calibrated", "ssim 0.5", "ssim 1.5"]
    assert scores.method.tolist() == methods * 2
    assert scores.subject.unique().tolist() == ["stroke0000", "stroke0001"] and set(scores.lesion) == set(table.lesion)
    shares = [read_volume(row.seg)[0].sum() / read_volume(row["mask"])[0].sum() for _, row in table.iterrows()]
    assert scores.prevalence[:: len(methods)].to_numpy() == pytest.approx(shares)
    assert scores.auprc.between(0, 1).all() and (scores.best_dice > 0).all()


def test_patients_who_share_a_lesion_count_as_one():
    rows = [("a", "x", 0.2), ("b", "x", 0.4), ("c", "y", 0.6), ("d", "", 0.9)]
    scores = pd.DataFrame(rows, columns=["subject", "lesion", "auprc"])
    scores = scores.assign(dataset="ms", method="l1", best_dice=0.5, prevalence=0.01)
    table = summarise_transplants(scores)
    assert table.subjects.tolist() == [3] and table.auprc[0] == pytest.approx((0.3 + 0.6 + 0.9) / 3)
    assert table.auprc_low[0] < table.auprc[0] < table.auprc_high[0]
