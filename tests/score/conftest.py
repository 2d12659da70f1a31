"""A head with a lesion, a model that scores it, and stand-ins for what takes long in score."""

import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from helpers import tiny
from nilearn.image import resample_img
from safetensors.torch import save_file
from scored import THRESHOLD, TILT

from essim import calibration
from essim.calibration import Calibration
from essim.cohort import mni
from essim.cohort.generate import CohortConfig, grow_subject
from essim.data import volumes
from essim.figures.style import new_figure
from essim.models import build_model
from essim.prepare import align, registration
from essim.score import page, viewer
from essim.score import scan as score
from essim.train.checkpoints import snapshot


@pytest.fixture(scope="module")
def patient():
    """A healthy head, 4 mm, T1, in study space, with a ball of 18 mm, brighter than any tissue: (image, mask, ball)."""
    head = grow_subject(CohortConfig(seed=3, voxel_mm=4), "healthy", 0)
    centre = np.array([-30.0, -20, 25])[:, None, None, None]
    ball = (np.sum((mni.world_of(4) - centre) ** 2, 0) < 18**2) & (head["mask"] > 0)
    image = np.where(ball, 2.5 * head["t1"].max(), head["t1"]).astype(np.float32)
    return image, head["mask"] > 0, ball


@pytest.fixture(scope="module")
def scan(patient, tmp_path_factory):
    """That head tilted, stored as int16 in LPS with voxels of 3 x 3 x 5 mm: a folder of {scan,mask,seg}.nii.gz."""
    folder = tmp_path_factory.mktemp("tête à tête")
    for name, array in zip(("scan", "mask", "seg"), patient, strict=True):
        head = nib.Nifti1Image(array.astype(np.float32), TILT @ mni.affine_of(4))
        how = "linear" if name == "scan" else "nearest"
        turned = resample_img(head, np.diag([-3.0, -3, 5]), interpolation=how, force_resample=True, copy_header=False)
        kind = np.int16 if name == "scan" else np.uint8
        stored = nib.Nifti1Image(turned.get_fdata().astype(kind), turned.affine)
        stored.set_qform(turned.affine, code=1)
        nib.save(stored, folder / f"{name}.nii.gz")
    assert nib.aff2axcodes(stored.affine) == ("L", "P", "S")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model folder with an untrained network."""
    folder = tmp_path_factory.mktemp("model")
    config, draw = tiny(), torch.Generator().manual_seed(0)
    weights = snapshot(build_model(config.model_dump()).model)
    weights = {name: 0.1 * torch.randn(value.shape, generator=draw) for name, value in weights.items()}
    save_file(weights, folder / "weights.safetensors")
    preprocessing = {"smooth": False, "shape": [40, 48, 40], "factor": 1}
    description = {"contrast": "t1", "voxel_mm": 4, "training": config.model_dump(), "preprocessing": preprocessing}
    scoring = {"t": [50], "draws": 1, "sigmas": [0.3, 0.5], "temperature": 1.0, "healthy_scans": 2}
    scoring |= {"residual": 0.1, "tone": [[0.0] * 19, [1.0] * 19], "texture": [[-9.0] * 3, [0.0] * 3]}
    scoring["thresholds"] = {"adaptive": {"0.01": THRESHOLD, "0.05": 0.1}, "calibrated": {"0.01": 2}}
    maps = torch.full((3, 20, 24, 20), 0.05)
    Calibration((0.3, 0.5), (40, 48, 40), maps, maps, 0.05, 2).save(folder / calibration.FILE)
    for name, content in (("config", description), ("scoring", scoring)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def copied(model, tmp_path):
    """A model folder that a test may spoil."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


class Healer:
    """A network that knows how bright healthy tissue is: nothing is above 0.45 of the brightest."""

    betas, tones = torch.zeros(1), 0

    def reconstruct(self, x, **_):
        return x.clamp(max=0.45)


@pytest.fixture
def healer(monkeypatch):
    monkeypatch.setattr(score, "load_model", lambda folder: Healer())


@pytest.fixture
def known_place(monkeypatch):
    """The placement without a search: the tilt is known."""

    def place(images, template, *, mask):
        (contrast, path), flip = *images.items(), align.LPS
        matrix = flip @ TILT @ flip
        to_scan = sitk.AffineTransform(matrix[:3, :3].ravel().tolist(), matrix[:3, 3].tolist())
        grid = align.to_sitk(np.zeros(template.shape, np.uint8), template.affine)

        def bring(path, how):
            data, affine = volumes.read_nifti(path)
            image = align.to_sitk(data.astype(np.float32), affine)
            return align.from_sitk(sitk.Resample(image, grid, to_scan, how, 0.0))[0]

        inside = bring(mask, sitk.sitkNearestNeighbor) > 0
        image = bring(path, sitk.sitkLinear) * inside
        return registration.Placed(
            {contrast: image}, inside, None, template.affine, {contrast: to_scan}, 0.93, str(mask)
        )

    monkeypatch.setattr(registration, "place", place)


@pytest.fixture
def no_pictures(monkeypatch):
    """Empty ones: they take longer than all the rest."""
    monkeypatch.setattr(viewer, "show_overview", lambda *_, **__: new_figure(1, 1, 1, 1)[0])
    monkeypatch.setattr(page, "write_page", lambda path, *_: path.write_text("page"))
