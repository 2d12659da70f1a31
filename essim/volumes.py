"""One scan from disk to study space: NIfTI files -> checked, preprocessed arrays with their affine.

In: a row of the scan table. Out: a `Scan`: float32 [H, W, D], RAS+, D axial, in [0, 1], 0 outside the brain mask.
Paper: section 3 (preprocessing): curvature-flow smoothing, centre crop, intensities to [0, 1], downsampling.
"""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
import torch

from essim.settings import Preprocessing  # noqa: F401 (belongs to this module's interface)


@dataclass
class Scan:
    """A preprocessed scan. `image` float32 in [0, 1]; `mask`, `seg` bool; all [H, W, D]; `seg` all False if healthy."""

    subject: str
    image: np.ndarray
    mask: np.ndarray
    seg: np.ndarray
    affine: np.ndarray


def read_nifti(path):
    """Read one 3-D volume: (array in the file's values, affine), reoriented to RAS+.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is empty or damaged, not 3-D, or has voxels that aren't finite numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the path in the scan table or generate the data again.")
    try:
        volume = nib.as_closest_canonical(nib.load(path))
        data = np.asanyarray(volume.dataobj)
    except Exception as error:  # whatever a damaged file makes the reader raise; some say it in several lines
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise ValueError(
            f"{path}: cannot be read as NIfTI ({reason}); the file is damaged, fetch or make it again."
        ) from error
    if data.ndim != 3:
        raise ValueError(f"{path}: has {data.ndim} dimensions {list(data.shape)}, a scan must have 3; pick one volume.")
    if data.dtype.kind not in "biuf":
        raise ValueError(f"{path}: has voxels of type {data.dtype}, a scan must have numbers; is it a colour picture?")
    if not np.isfinite(data).all():
        raise ValueError(f"{path}: has NaN or infinite voxels; repair the file or leave the scan out.")
    return data, volume.affine


def read_label(path, like, affine, image_path):
    """Read a mask or segmentation on the grid of an image: bool [H, W, D]."""
    data, label_affine = read_nifti(path)
    if data.shape != like.shape or not np.allclose(label_affine, affine, atol=1e-3):
        raise ValueError(
            f"{path}: does not fit {image_path} (shape {list(data.shape)} against {list(like.shape)}, or another "
            "affine); bring both to one grid with nearest-neighbour resampling."
        )
    return data > 0


def curvature_flow(image):
    """Edge-preserving smoothing of [H, W, D], 3 iterations with time step 0.125."""
    smoothed = sitk.CurvatureFlow(sitk.GetImageFromArray(image), timeStep=0.125, numberOfIterations=3)
    return sitk.GetArrayFromImage(smoothed)


def load_scan(row, preprocessing):
    """Load and preprocess one row of the scan table.

    Args:
        row: a mapping with `subject, image, mask, seg` (paths; `seg` "" for a healthy scan).
        preprocessing: a `Preprocessing`.

    Raises:
        FileNotFoundError, ValueError: as in `read_nifti`; or the mask or lesion does not fit the image, the mask is
            empty, or the image is constant inside it. Every message names the file.
    """
    import torchio as tio  # here, since it takes two seconds, and who only scores needs none of it

    data, affine = read_nifti(row["image"])
    image = data.astype(np.float32)
    mask = read_label(row["mask"], image, affine, row["image"])
    seg = read_label(row["seg"], image, affine, row["image"]) if row["seg"] else np.zeros_like(mask)
    if not mask.any():
        raise ValueError(f"{row['mask']}: the brain mask is empty; make it again or leave the scan out.")
    low, high = np.percentile(image[mask], (1, 99))
    if low == high:  # nothing to scale between
        raise ValueError(f"{row['image']}: is constant, or nearly, inside the brain mask; leave the scan out.")
    if preprocessing.smooth:
        image = curvature_flow(image)

    def tensor(array):
        return torch.from_numpy(np.ascontiguousarray(array))[None]

    subject = tio.Subject(
        image=tio.ScalarImage(tensor=tensor(image), affine=affine),
        mask=tio.LabelMap(tensor=tensor(mask.astype(np.uint8)), affine=affine),
        seg=tio.LabelMap(tensor=tensor(seg.astype(np.uint8)), affine=affine),
    )
    subject = tio.CropOrPad(preprocessing.shape)(subject)
    subject = tio.RescaleIntensity((0, 1), percentiles=(1, 99), masking_method="mask")(subject)
    if preprocessing.factor > 1:  # label maps are resampled to the nearest neighbour
        spacing = tuple(s * preprocessing.factor for s in subject.spacing)
        subject = tio.Resample(spacing, image_interpolation="bspline")(subject)
    mask = subject.mask.numpy()[0] > 0
    if not mask.any():
        shape = list(preprocessing.shape)
        raise ValueError(f"{row['mask']}: no brain is left after the centre crop to {shape}; enlarge `shape`.")
    image = np.where(mask, subject.image.numpy()[0].clip(0, 1), 0).astype(np.float32)
    return Scan(row["subject"], image, mask, (subject.seg.numpy()[0] > 0) & mask, subject.image.affine)


def save_nifti(path, array, affine):
    """Write [H, W, D] as NIfTI with its own dtype (bool as uint8) and its affine in mm."""
    array = array.astype(np.uint8) if array.dtype == bool else array
    nib.save(nib.Nifti1Image(array, affine, dtype=array.dtype), path)
