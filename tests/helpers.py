"""Small scans, folders and stand-ins for several test files."""

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from torch import nn

from essim.data.volumes import save_nifti
from essim.evaluation.cases import PARTS, case_rows, read_case
from essim.settings import Preprocessing, TrainConfig

AS_IT_IS = Preprocessing(smooth=False, shape=(16, 16, 8), factor=1)
AFFINE = np.array([[2.0, 0, 0, -20], [0, 2, 0, -30], [0, 0, 2, -10], [0, 0, 0, 1]])
TINY = {
    "channels": 8,
    "multipliers": (1, 2),
    "blocks": 1,
    "head_channels": 8,
    "patch": 2,
    "batch": 4,
    "epochs": 8,
    "lr": 2e-3,
    "timesteps": 100,
    "augment": False,
    "ema_decay": 0.9,
}


def save(path, array, affine=AFFINE):
    """Write an array as NIfTI, with its folders; returns the path as a string."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine, dtype=array.dtype), path)
    return str(path)


def brain(shape=(16, 16, 8), seed=0):
    """A textured ellipsoid (float32, some hundreds) and its mask."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*((np.arange(n) - (n - 1) / 2) / n for n in shape), indexing="ij")
    mask = sum(a**2 for a in axes) < 0.4**2
    image = 300 + 200 * sum(np.sin((6 + i) * a + rng.uniform(0, 6)) for i, a in enumerate(axes))
    return ((image + 20 * rng.standard_normal(shape)) * mask).astype(np.float32), mask


def row(folder, shape=(16, 16, 8), seed=0, lesion=None, affine=AFFINE, **changes):
    """One row of a scan table, with its files below `folder`."""
    image, mask = brain(shape, seed)
    found = {"dataset": "tumour", "subject": f"s{seed}", "split": "test", "fold": "", "contrast": "t2"}
    found["image"] = save(folder / f"s{seed}_t2.nii.gz", image, affine)
    found["mask"] = save(folder / f"s{seed}_mask.nii.gz", mask.astype(np.uint8), affine)
    found["seg"] = "" if lesion is None else save(folder / f"s{seed}_seg.nii.gz", lesion.astype(np.uint8), affine)
    return found | {"age": 50, "sex": "f", "site": "a", "ignore": ""} | changes


def write_cases(folder, cases):
    """A folder of reconstructions from {subject: (split, image, reconstruction, mask, seg)}."""
    for subject, (_, *volumes) in cases.items():
        (folder / subject).mkdir(parents=True)
        for part, volume in zip(PARTS, volumes, strict=True):
            save_nifti(folder / subject / f"{part}.nii.gz", volume, AFFINE)
    lines = [{"dataset": "ms", "subject": name, "split": case[0]} for name, case in cases.items()]
    pd.DataFrame(lines).to_csv(folder / "scans.csv", index=False)
    return folder


def read_cases(folder, split=None):
    """The reconstructed cases of a folder, one at a time (all, or those of one split)."""
    return (read_case(folder, row) for row in case_rows(folder, split))


def slab(width, shape=(16, 14, 12)):
    """A lesion along one whole side of the volume: a shape that a median leaves as it is."""
    seg = np.zeros(shape, bool)
    seg[-width:] = True
    return seg


def pair(shape, seed=0, dtype=torch.float32):
    """Two volumes [N, C, *spatial] in [0, 1] that look alike, and a mask with a ragged rim."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    y = (x + 0.2 * torch.randn(shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    mask = torch.rand(shape, generator=generator) > 0.7
    return x.to(dtype), y.to(dtype), mask


class Shrink(nn.Module):
    """A stand-in for a network."""

    def forward(self, x, t):
        return 0.8 * x


def tiny(**changes):
    """A training that takes a second."""
    return TrainConfig(**TINY | changes)


def healthy_scans(folder):
    """The table of 6 healthy training and 2 validation scans."""
    parts = ["train"] * 6 + ["val"] * 2
    rows = [row(folder, seed=i, dataset="healthy", split=part) for i, part in enumerate(parts)]
    return pd.DataFrame(rows)


def sentence(caught, path):
    """The message names the file and is one line."""
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 400 + 2 * len(str(path))
    return message
