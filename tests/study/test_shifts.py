"""Moved scanners: nothing moves at 0, else one property; SSIM is its factors; the network is queried in three ways."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from essim import ssim_map
from essim.calibration import FILE, Calibration
from essim.cohort.generate import CohortConfig
from essim.cohort.scanner import TRAINING_SITES, acquire
from essim.models import build_model, load_model
from essim.settings import Preprocessing, TrainConfig
from essim.ssim import SIGMAS
from essim.study import shifts

CONFIG = CohortConfig(seed=3, voxel_mm=4, train=0, val=0, test=0, patients_val=0, patients_test=2)
SPACE = Preprocessing(smooth=False, shape=(40, 48, 32), factor=1)
HOW = {"sigmas": [0.3, 1.1], "temperature": 1.0, "windows": [0.3, 2.0], "factors_at": 1.1}


@pytest.fixture(scope="module")
def patient():
    return shifts.Patient(CONFIG, "stroke", 0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of an untrained network that is told the tone."""
    folder = tmp_path_factory.mktemp("model")
    few = {"channels": 8, "multipliers": (1, 2), "blocks": 1, "head_channels": 8, "patch": 2, "timesteps": 100}
    training = TrainConfig(**few, tone=True)
    save_file(build_model(training.model_dump()).model.state_dict(), folder / "weights.safetensors")
    about = {"contrast": "t1", "training": training.model_dump(), "preprocessing": SPACE.model_dump()}
    (folder / "config.json").write_text(json.dumps(about))
    (folder / "scoring.json").write_text(json.dumps({"residual": 0.25}))
    ones = torch.ones(1 + len(SIGMAS), *(side // 2 for side in SPACE.shape))
    Calibration(SIGMAS, SPACE.shape, 0.1 * ones, 0.1 * ones, 0.1, 2).save(folder / FILE)
    return folder


@pytest.mark.parametrize("axis", shifts.AXES)
def test_an_amount_of_0_changes_nothing_and_more_changes_one_thing(patient, axis):
    for site in TRAINING_SITES:
        assert shifts.move(site, axis, 0.0) == site
    before, after = (patient.scan("t1", SPACE, axis, amount) for amount in (0.0, 1.0))
    assert np.array_equal(before.image, patient.scan("t1", SPACE, "", 0.0).image)
    assert np.array_equal(before.mask, after.mask) and np.array_equal(before.seg, after.seg)
    assert np.abs(before.image - after.image)[before.mask].mean() > 0.01
    half = patient.scan("t1", SPACE, axis, 0.5).image
    assert np.abs(half - before.image).sum() < np.abs(after.image - before.image).sum(), "further is more"


def test_the_scanner_of_an_amount_of_0_is_the_cohorts(patient):
    site = shifts.scanner.SITES[patient.person["site"]]
    assert site in TRAINING_SITES
    raw = acquire(np.random.default_rng([*patient.key, 102]), patient.grown.head, site, "t1", patient.grown.lesion)
    image = patient.scan("t1", SPACE, "", 0.0).image
    crop = raw[:, :, 4:-4] if raw.shape[2] == 40 else raw
    inside = (image > 0) & (image < 1)
    assert np.corrcoef(image[inside], crop[inside])[0, 1] == pytest.approx(1, abs=1e-5)


def test_the_factors_multiply_to_ssim(patient, model):
    x = torch.from_numpy(patient.scan("t1", SPACE, "", 0.0).image)[None, None]
    y = torch.from_numpy(patient.scan("t1", SPACE, "brighter", 1.0).image)[None, None]
    mask = x > 0
    maps = shifts.anomaly_maps(x, y, mask, shifts.load_calibration(model), **HOW)
    assert list(maps) == ["l1", "ssim 0.3", "ssim 2", "adaptive", "calibrated", "luminance", "structure"]
    product = (1 - maps["luminance"]) * (1 - maps["structure"])
    assert torch.allclose(product.float(), ssim_map(x, y, sigma=HOW["factors_at"]), atol=1e-4)


def test_a_window_of_a_third_of_a_voxel_is_a_relative_difference(patient, model):
    x = torch.from_numpy(patient.scan("t1", SPACE, "", 0.0).image)[None, None]
    y = torch.from_numpy(patient.scan("t1", SPACE, "brighter", 1.0).image)[None, None]
    narrow = 1 - ssim_map(x, y, sigma=0.3)
    relative = (x - y) ** 2 / (x**2 + y**2 + 0.01**2)
    assert np.corrcoef(narrow[x > 0], relative[x > 0])[0, 1] > 0.95


def test_matching_undoes_a_rising_curve():
    rng, mask = np.random.default_rng(0), np.ones((20, 20, 20), bool)
    mask[0] = False
    y = (rng.random(mask.shape) * mask).astype(np.float32)
    assert np.allclose(shifts.match_tone(y**2, y, mask), y**2, atol=0.01)
    assert not shifts.match_tone(y**2, y, mask)[0].any()


def test_a_network_that_knows_the_tone_need_not_be_told(patient, model):
    diffusion, scan = load_model(model), patient.scan("t1", SPACE, "", 0.0)
    how = {"t": [50], "draws": 1, "seed": [0]}
    own = shifts.reconstruct(diffusion, scan, shifts.tone_of(scan.image, scan.mask), **how)
    assert list(own) == list(shifts.NETWORKS) and np.array_equal(own["told"], own["untold"])
    other = shifts.reconstruct(diffusion, scan, np.full(24, 0.5, np.float32), **how)
    assert np.array_equal(other["told"], own["told"])


def test_one_row_per_patient_scanner_network_and_score(model, monkeypatch):
    monkeypatch.setattr(shifts, "AXES", dict.fromkeys(["contrast", "brighter"], ""))
    known = np.linspace(0, 1, 24, dtype=np.float32)
    few = {"patients": 2, "steps": 1, "t": [50], "draws": 1, "seed": 0}
    table = shifts.measure(CONFIG, "stroke", "t1", model, known, **few, **HOW)
    scanners = 1 + len(shifts.AXES)
    assert len(table) == 2 * scanners * 3 * 7 * 2 and table.notna().all(axis=None)
    assert set(table.subject) == {"stroke0000", "stroke0001"} and set(table.axis) == {"", *shifts.AXES}
    assert table.auprc.between(0, 1).all() and set(table.post) == set(shifts.POSTS)
    again = shifts.measure(CONFIG, "stroke", "t1", model, known, **few | {"patients": 1}, **HOW)
    same = table[table.subject == "stroke0000"].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, same)
