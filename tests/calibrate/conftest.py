"""Healthy scans in study space, and a model folder whose network needs no training."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import AFFINE, Shrink, brain, save

from essim import calibration
from essim.calibrate import own
from essim.calibration import Calibration
from essim.data.prepared import path_of
from essim.data.splits import assign, write_splits
from essim.diffusion import GaussianDiffusion

SHAPE = (16, 16, 8)


@pytest.fixture(autouse=True)
def network(monkeypatch):
    monkeypatch.setattr(own, "load_model", lambda folder: GaussianDiffusion(Shrink()))


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"weights")
    description = {"contrast": "t1", "voxel_mm": float(np.linalg.norm(AFFINE[:3, 0]))}
    description["preprocessing"] = {"smooth": False, "shape": SHAPE, "factor": 1}
    scoring = {"t": [50], "draws": 1, "sigmas": [0.3, 0.5], "temperature": 1.0, "healthy_scans": 2}
    scoring |= {"residual": 0.1, "tone": [[0.0] * 19, [1.0] * 19], "texture": [[-9.0] * 3, [0.0] * 3]}
    scoring["thresholds"] = {name: {"0.01": 9.0, "0.05": 8.0} for name in ("l1", "adaptive", "calibrated")}
    for name, content in (("config", description), ("scoring", scoring)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    maps = torch.full((3, 8, 8, 4), 0.01)
    Calibration((0.3, 0.5), SHAPE, maps, maps, 0.05, 2).save(folder / calibration.FILE)
    return folder


@pytest.fixture
def in_study_space():
    return write_prepared


def write_prepared(folder, names, contrasts=("t1",)):
    """A prepared folder of healthy people."""
    rows = []
    for seed, name in enumerate(names):
        image, mask = brain(SHAPE, seed)
        for contrast in contrasts:
            save(folder / path_of("healthy", name, contrast), image)
            about = {"dataset": "healthy", "subject": name, "contrast": contrast, "seg": "", "age": "", "sex": ""}
            rows.append(about | {"site": ""})
        save(folder / path_of("healthy", name, "mask"), mask.astype(np.uint8))
    write_splits(assign(pd.DataFrame(rows)), folder)
    return folder
