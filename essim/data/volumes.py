"""One scan from disk to study space: NIfTI files -> checked, preprocessed arrays with their affine.

In: a row of the scan table. Out: a `Scan`: float32 [H, W, D], RAS+, D axial, in [0, 1], 0 outside the brain mask.
Paper: section 3 (preprocessing): curvature-flow smoothing, centre crop, intensities to [0, 1], downsampling.
"""

import contextlib
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from essim.data import dicom, headers, intensities
from essim.data.grids import misfit
from essim.data.headers import opened, unreadable
from essim.data.intensities import fill_outside, foreground
from essim.runs.files import writing

LESION, IGNORED = 1, 2  # in the lesion masks that essim writes


@dataclass
class Scan:
    """A preprocessed scan, [H, W, D]."""

    image: np.ndarray  # float32 in [0, 1], 0 outside the mask
    mask: np.ndarray  # bool, the brain
    seg: np.ndarray  # bool, the lesions; all False if healthy
    ignored: np.ndarray  # bool, what is neither lesion nor background
    affine: np.ndarray  # [4, 4], voxel to world, mm


def read_volume(path, *, finite=True):
    """Read one 3-D volume: (array [H, W, D] in the file's values, its `Grid`), in RAS+ and mm; drops further axes of 1.

    `finite=False` lets NaN and infinite voxels pass. `path` may be a folder that holds one series of DICOM files.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as `headers.opened`; it is damaged, or has voxels that aren't finite numbers.
    """
    with opened(path) as (image, grid), unreadable(path):
        stored = np.asanyarray(image.dataobj).reshape(image.shape[:3])
        data = nib.apply_orientation(stored, nib.io_orientation(image.affine))
    if finite and not np.isfinite(data).all():
        raise ValueError(f"{path}: has NaN or infinite voxels; repair the file or leave the scan out.")
    return data, grid


def read_nifti(path, *, finite=True):
    """`read_volume` as (array, affine [4, 4])."""
    data, grid = read_volume(path, finite=finite)
    return data, grid.affine


def fill_borders(image, mask, path):
    """The image with 0 for voxels outside the mask that aren't numbers (resampling leaves such borders).

    Raises ValueError, naming `path`, where one lies inside.
    """
    bad = ~np.isfinite(image)
    if bad[mask].any():
        raise ValueError(f"{path}: has NaN or infinite voxels in the brain; repair the file or leave the scan out.")
    return np.where(bad, 0, image)


def read_labels(path):
    """Read a mask or segmentation: (labels [H, W, D], its `Grid`). A fraction, as linear interpolation leaves it,
    becomes the nearest label. Raises as `read_volume`."""
    data, grid = read_volume(path)
    return (np.rint(data) if data.dtype.kind == "f" else data), grid


def read_label(path, like):
    """Read a mask or segmentation [H, W, D]; ValueError where it isn't on the `Grid` of its scan."""
    data, grid = read_labels(path)
    if text := misfit(grid, like):
        raise ValueError(f"{path}: {text}.")
    return data


def curvature_flow(image):
    """Edge-preserving smoothing of [H, W, D], float32: 3 iterations with time step 0.125 (section 3)."""
    smoothed = sitk.CurvatureFlow(sitk.GetImageFromArray(image), timeStep=0.125, numberOfIterations=3)
    return sitk.GetArrayFromImage(smoothed)


def load_scan(row, preprocessing, cache=None):
    """Load and preprocess one row of the scan table.

    Args:
        row: a mapping with `image, mask, seg, ignore` (paths; `mask` may be "nonzero" for a stripped image;
            `seg` "" for a healthy scan; `ignore` the label of seg that is neither lesion nor background, or "").
        preprocessing: a `Preprocessing`.
        cache: a folder that keeps the result, under a name made of the files' contents and the preprocessing; several
            processes may share it. None: nothing is kept.

    Raises:
        FileNotFoundError, ValueError: as in `read_nifti`; or the mask or lesion does not fit the image, the mask is
            empty, or the image is constant inside it. Every message names the file.
    """
    if cache is None:
        return preprocess(*read_scan(row), preprocessing, row["image"])
    path = Path(cache) / f"{_cache_key(row, preprocessing)}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            return Scan(**kept)
    except Exception:  # not there yet, or damaged: made anew
        scan = load_scan(row, preprocessing)
    # Two processes that make the same scan at once may remove each other's file; the last one's stays.
    with contextlib.suppress(FileNotFoundError), writing(path) as temporary:
        np.savez(temporary, **asdict(scan))
    return scan


def _cache_key(row, preprocessing):
    """A digest of all that decides the result: the files' contents, the settings and the modules that read them."""
    modules = (__file__, headers.__file__, intensities.__file__, dicom.__file__)
    code = b"".join(Path(module).read_bytes() for module in modules)
    digest = hashlib.sha256(code + preprocessing.model_dump_json().encode())
    for role in ("image", "mask", "seg"):
        files = dicom.files_of(row[role]) if row[role] else []
        content = b"".join(file.read_bytes() for file in files) or row[role].encode()
        digest.update(f"{role} {row['ignore']} {hashlib.sha256(content).hexdigest()}".encode())
    return digest.hexdigest()[:32]


def read_scan(row):
    """One row's image (float32), brain mask (bool), labels (uint8: 0, LESION, IGNORED), each [H, W, D], and affine."""
    if not row["mask"]:
        raise ValueError(
            f"{row['image']}: has no brain mask; bring the scan to study space first (python -m essim.prepare)."
        )
    data, grid = read_volume(row["image"], finite=False)
    image = data.astype(np.float32)
    mask = foreground(image) if row["mask"] == "nonzero" else read_label(row["mask"], grid) > 0
    if not mask.any():
        raise ValueError(f"{row['mask']}: the brain mask is empty; make it again or leave the scan out.")
    label = read_label(row["seg"], grid) if row["seg"] else np.zeros(image.shape)
    seg = np.where(label == row["ignore"], IGNORED, label > 0).astype(np.uint8)
    return fill_borders(image, mask, row["image"]), mask, seg, grid.affine


def preprocess(image, mask, seg, affine, preprocessing, path):
    """A `Scan` from what `read_scan` gives: section 3, with a `Preprocessing` for its parameters.

    Raises ValueError, naming `path`, where the scan is constant inside the mask, or the crop leaves no brain.
    """
    import torchio as tio  # here, since it takes two seconds, and not every use of this module needs it

    low, high = np.percentile(image[mask], (1, 99))
    if low == high:  # nothing to scale between
        raise ValueError(f"{path}: is constant, or nearly, inside the brain mask; leave the scan out.")
    if preprocessing.smooth or preprocessing.factor > 1:  # both look beyond the mask
        image = fill_outside(image, mask)
    if preprocessing.smooth:
        image = curvature_flow(image)
    image, mask, seg = (np.ascontiguousarray(array)[None] for array in (image, mask.astype(np.uint8), seg))
    subject = tio.Subject(
        image=tio.ScalarImage(tensor=image, affine=affine),
        mask=tio.LabelMap(tensor=mask, affine=affine),
        seg=tio.LabelMap(tensor=seg, affine=affine),
    )
    subject = tio.CropOrPad(preprocessing.shape)(subject)
    subject = tio.RescaleIntensity((0, 1), percentiles=(1, 99), masking_method="mask")(subject)
    if preprocessing.factor > 1:  # label maps are resampled with nearest neighbour
        spacing_mm = tuple(side * preprocessing.factor for side in subject.spacing)
        subject = tio.Resample(spacing_mm, image_interpolation="bspline")(subject)
    mask = subject.mask.numpy()[0] > 0
    if not mask.any():
        shape = list(preprocessing.shape)
        raise ValueError(f"{path}: no brain is left after the centre crop to {shape}; enlarge `shape`.")
    image = np.where(mask, subject.image.numpy()[0].clip(0, 1), 0).astype(np.float32)
    seg = subject.seg.numpy()[0]
    return Scan(image, mask, (seg == LESION) & mask, (seg == IGNORED) & mask, subject.image.affine)


def save_nifti(path, array, affine):
    """Write an array [H, W, D] as NIfTI with its own dtype (bool as uint8) and its affine in mm."""
    array = array.astype(np.uint8) if array.dtype == bool else array
    image = nib.Nifti1Image(array, affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
