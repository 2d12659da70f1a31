"""What a file's header says: its kind, its shape and where it lies, read the same way by every entry point.

In: the path of a NIfTI file (one file or a pair, version 1 or 2), MGH, MGZ, or anything else nibabel takes for a
volume, or of a folder of DICOM files. Out: the opened file, its voxels unread, and its `Grid` in mm; or one sentence
that says what is wrong with it. What a header cannot show (damaged voxels) is left to `essim.data.volumes`.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from essim.data.dicom import as_file, is_dicom

HEAD_MM = (60, 600)  # the longest side of a head scan's field of view
ANYTHING_MM = (1, 5000)  # and of any volume
UNITS = {"meter": 1000, "micron": 0.001}  # in mm
COMPRESSION = 1100  # more than gzip achieves
ROUNDING = 1e-4  # by which the square of a quaternion's length may exceed 1


@dataclass(frozen=True)
class Grid:
    """Where a volume lies, in RAS+. `shape` [3]; `affine` [4, 4] voxel to world, mm; `stated` whether its header says
    so, or the affine is a guess; `other` the affine in the header's second form (qform), None where there is none."""

    path: str
    shape: tuple
    affine: np.ndarray
    stated: bool = True
    other: np.ndarray | None = None

    def sides_mm(self):
        """The sides of the whole volume in mm, [3]."""
        return np.array(self.shape) * nib.affines.voxel_sizes(self.affine)

    def corners(self, affine=None):
        """The centres of the eight corner voxels, [8, 3] in mm."""
        ends = np.indices((2, 2, 2)).reshape(3, 8).T * (np.array(self.shape) - 1)
        return nib.affines.apply_affine(self.affine if affine is None else affine, ends)


def grid_of(path):
    """The `Grid` of a file. Raises as `opened`."""
    with opened(path) as (_, grid):
        return grid


@contextmanager
def opened(path):
    """(nibabel's image as it is stored, its `Grid`); the voxels can be read within the block.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is empty or damaged, doesn't have 3 axes or plain numbers, or has no place in space; or a folder
            does not hold one series of DICOM files.
    """
    with as_file(path) as file:
        if not file.is_file():
            raise FileNotFoundError(
                f"{path}: no such file; check the path in the scan table or generate the data again."
            )
        with unreadable(path):
            image = _load(file)
            kind, shape = image.get_data_dtype(), image.shape
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        if len(shape) != 3 or 1 in shape:
            axes = f"{len(shape)} dimensions" if len(shape) != 3 else "one slice only"
            raise ValueError(f"{path}: has {axes} {list(shape)}, a scan must have 3; pick one volume.")
        if kind.kind not in "biuf":
            reason = "export the magnitude image." if kind.kind == "c" else "is it a colour picture?"
            raise ValueError(f"{path}: has voxels of type {kind}, a scan must have numbers; {reason}")
        with unreadable(path):
            _check_size(image)
        yield image, _grid(path, image, shape)


@contextmanager
def unreadable(path):
    """Turn whatever a reader raises for a damaged file, several lines perhaps, into a sentence that names the file."""
    try:
        yield
    except Exception as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())
        if is_dicom(path):
            raise ValueError(f"{path}: is one DICOM file; give the folder that holds its series.") from error
        raise ValueError(
            f"{path}: cannot be read as NIfTI ({reason}); it is damaged, or in another format: convert it."
        ) from error


class _Header(nib.Nifti1Header):
    quaternion_threshold = ROUNDING


class _Image(nib.Nifti1Image):
    header_class = _Header


def _load(file):
    """The file as nibabel opens it, even if the quaternion of its affine is longer than 1 by a rounding error."""
    try:
        image = nib.load(file)
    except ValueError as error:
        if "w2 should be positive" not in str(error):
            raise
        image = _Image.from_filename(file)
    if len(image.shape) > 2 and not isinstance(image, nib.spatialimages.SpatialImage):
        raise ValueError("not a volume")
    return image


def _check_size(image):
    """Raise ValueError where the voxels begin within the header, or the file is too short for them."""
    if not nib.is_proxy(image.dataobj) or not hasattr(image.dataobj, "offset"):
        return
    if isinstance(image, nib.Nifti1Image) and image.dataobj.offset < image.header.single_vox_offset:
        raise ValueError(f"vox_offset {image.dataobj.offset} lies within the header")
    file = Path(image.file_map["image"].filename)
    promised = image.dataobj.offset + int(np.prod(image.shape, dtype=object)) * image.get_data_dtype().itemsize
    plain = file.suffix.lower() in (".nii", ".img", ".mgh")
    if promised > file.stat().st_size * (1 if plain else COMPRESSION):
        raise ValueError(f"expected {promised} bytes, the file has {file.stat().st_size}")


def _grid(path, image, shape):
    """The `Grid` of an opened file; ValueError where its affine gives no place in space, or its size is no scan's."""
    stated, other = _forms(path, image)
    affine = image.affine
    with unreadable(path):
        sides = nib.affines.voxel_sizes(affine)
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) <= 0.01 * np.prod(sides):
            raise ValueError("its affine gives no place in space")
    in_mm = np.diag([*[_unit_mm(path, image, sides * shape)] * 3, 1])
    change = nib.io_orientation(affine)
    to_ras = nib.orientations.inv_ornt_aff(change, shape)
    ordered = tuple(int(shape[axis]) for axis in np.argsort(change[:, 0]))
    return Grid(str(path), ordered, in_mm @ affine @ to_ras, stated, None if other is None else in_mm @ other @ to_ras)


def _forms(path, image):
    """(whether the header says where the volume lies, the affine by its second form or None).

    ValueError for a voxel without thickness, which nibabel takes for one of 1 mm.
    """
    if isinstance(image, nib.MGHImage):
        return bool(image.header["goodRASFlag"]), None
    if not isinstance(image, nib.Nifti1Pair):
        return not isinstance(image, nib.AnalyzeImage) or "mat" in _files(image), None
    sform, qform = int(image.header["sform_code"]), int(image.header["qform_code"])
    if not sform:
        with unreadable(path), image.file_map.get("header", image.file_map["image"]).get_prepare_fileobj("rb") as file:
            written = type(image.header).from_fileobj(file, check=False)
        if (written["pixdim"][1:4] == 0).any():
            sides = " x ".join(f"{side:g}" for side in written["pixdim"][1:4])
            raise ValueError(
                f"{path}: has voxels of {sides} mm; convert the scan again, or correct pixdim in its header."
            )
    if not (sform and qform):
        return bool(sform or qform), None
    try:
        return True, image.get_qform()
    except (ValueError, nib.spatialimages.HeaderDataError):  # a damaged quaternion; the sform counts
        return True, None


def _files(image):
    """Which of an image's files exist."""
    return {kind for kind, holder in image.file_map.items() if holder.filename and Path(holder.filename).is_file()}


def _unit_mm(path, image, sides):
    """A file's unit of length in mm: the one that makes it as large as a head, if any does. Tools scale an affine and
    leave the label, or the reverse; a factor of a thousand can't be mistaken.

    ValueError where no unit gives a plausible size. sides: of the volume, [3], in the file's unit.
    """
    try:
        label = image.header.get_xyzt_units()[0]
    except (AttributeError, KeyError):  # not NIfTI, or a code that doesn't exist
        label = "mm"
    longest = max(sides)
    for factor in (1, *UNITS.values()):
        if HEAD_MM[0] <= longest * factor <= HEAD_MM[1]:
            return factor
    if label in UNITS or not ANYTHING_MM[0] <= longest <= ANYTHING_MM[1]:
        unit = f"{label}s" if label in UNITS else "mm"
        raise ValueError(f"{path}: is {longest:.3g} {unit} long, impossible for a head; correct affine or xyzt_units.")
    return 1
