"""The promise is counted in the right voxels, with the settings of the model folder."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from essim.calibration import FILE, Calibration
from essim.cohort.mni import affine_of
from essim.data.volumes import save_nifti
from essim.models import build_model
from essim.settings import TrainConfig
from essim.ssim import SIGMAS
from essim.study.promise import divergence, drift, find_anomalies, judge, measure_promise
from essim.study.realism import KEYS, REGIONS

SHAPE = (40, 48, 40)  # of 4 mm


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An untrained network, its model folder, and two scans, one with a lesion."""
    folder = tmp_path_factory.mktemp("promise")
    training = TrainConfig(channels=8, multipliers=(1, 2), blocks=1, head_channels=8, patch=2, timesteps=100)
    settings = {"smooth": False, "shape": SHAPE, "factor": 1}
    model = folder / "model"
    model.mkdir()
    save_file(build_model(training.model_dump()).model.state_dict(), model / "weights.safetensors")
    description = {"contrast": "t1", "training": training.model_dump(), "preprocessing": settings}
    (model / "config.json").write_text(json.dumps(description))
    ones = torch.ones(1 + len(SIGMAS), *(side // 2 for side in SHAPE))
    Calibration(SIGMAS, SHAPE, 0.1 * ones, 0.1 * ones, 0.1, 2).save(model / FILE)
    write_scoring(model)
    mask, rng = np.zeros(SHAPE, np.uint8), np.random.default_rng(0)
    mask[3:37, 3:45, 1:39] = 1
    save_nifti(folder / "mask.nii", mask, affine_of(4))
    seg = np.zeros(SHAPE, np.uint8)
    seg[14:22, 20:28, 22:30] = 1
    save_nifti(folder / "seg.nii", seg, affine_of(4))
    for name in "ab":
        save_nifti(folder / f"{name}.nii", (rng.random(SHAPE) * mask).astype(np.float32), affine_of(4))
    rows = [{"source": "s", "head": i, "contrast": "t1", "image": f"{name}.nii"} for i, name in enumerate("ab")]
    scans = pd.DataFrame(rows).assign(mask=str(folder / "mask.nii"), seg=["", str(folder / "seg.nii")], ignore="")
    return folder, scans.assign(image=[str(folder / image) for image in scans.image])


def write_scoring(model, l1=0.2, **more):
    thresholds = {"l1": {"0.01": l1}, "adaptive": {"0.01": -1.0}, "calibrated": {"0.01": 1e9}}
    scoring = {"t": [50], "draws": 1, "sigmas": list(SIGMAS), "temperature": 1.0, "residual": 0.25}
    (model / "scoring.json").write_text(json.dumps(scoring | {"thresholds": thresholds} | more))


def test_one_row_per_scan_and_method(place):
    folder, scans = place
    table = measure_promise(scans, folder / "model")
    off = ["residual", "divergence", "drift", "level"]
    assert list(table.columns) == [*KEYS, "method", "marked", *REGIONS, *off, "auprc", "best_dice"]
    methods = ["l1", "adaptive", "calibrated"]
    assert table.method.tolist() == [*methods, *methods, "l1 calibrated"]
    assert table["head"].tolist() == [0] * 3 + [1] * 4
    marked = table.set_index(["head", "method"]).marked
    assert (marked[:, "adaptive"] == 1).all() and (marked[:, "calibrated"] == 0).all()
    assert 0.3 < marked[0, "l1"] < 0.95  # the eroded rim is never marked
    assert table.auprc.isna().tolist() == table.best_dice.isna().tolist() == [True] * 3 + [False] * 4
    # an untrained network gives grey, 0.5, of noise in [0, 1]: 0.25 away on average
    assert table.residual.to_numpy() == pytest.approx(1.0, abs=0.02)
    assert measure_promise(scans, folder / "model").equals(table)


def test_single_windows_are_for_scans_with_lesions_and_have_no_threshold(place):
    folder, scans = place
    healthy, ill = find_anomalies(scans, folder / "model", sigmas=[0.3, 2.0])
    assert list(healthy.maps) == ["l1", "adaptive", "calibrated"]
    rows = pd.DataFrame(judge(ill)).set_index("method")
    assert list(rows.index) == ["l1", "adaptive", "calibrated", "l1 calibrated", "ssim 0.3", "ssim 2"]
    assert rows.marked.isna().tolist() == [False] * 3 + [True] * 3 and rows.auprc.notna().all()
    assert (rows.best_dice >= rows.auprc.min()).all()
    smoother = [np.abs(np.diff(ill.maps[name], axis=0)).mean() for name in ("ssim 2", "ssim 0.3")]
    assert smoother[0] < smoother[1]


def test_an_older_model_folder_is_one_sentence(place):
    folder, scans = place
    write_scoring(folder / "model", thresholds={"adaptive": {"0.01": 1.0}})
    with pytest.raises(ValueError, match="scoring.json: lacks the residual or the threshold of l1; run 03_healthy"):
        measure_promise(scans, folder / "model")


def test_how_far_off_in_which_way():
    """A uniform shift is a drift; noise is a residual without drift; a shuffled volume has the same histogram."""
    rng, tissue = np.random.default_rng(0), np.zeros((24, 24, 24), bool)
    tissue[2:22, 2:22, 2:22] = True
    x = rng.uniform(0.2, 0.6, tissue.shape).astype(np.float32)
    assert divergence(x, x, tissue) == drift(x, x, tissue) == 0
    assert drift(x + 0.2, x, tissue) == pytest.approx(0.2, abs=1e-5)
    assert divergence(x / 4, x / 4 + 0.5, tissue) == pytest.approx(1)
    shuffled = x.copy()
    shuffled[tissue] = rng.permutation(x[tissue])
    assert divergence(shuffled, x, tissue) == pytest.approx(0, abs=1e-9)
    assert drift(shuffled, x, tissue) < 0.1 * np.abs(shuffled - x)[tissue].mean()
    half = np.where(tissue & (np.arange(24) < 12), x + 0.2, x)
    assert drift(half, x, tissue) == pytest.approx(0.1, abs=0.01), "half of it, smeared at the border"
    assert np.isnan(divergence(x, x, ~tissue & tissue))
