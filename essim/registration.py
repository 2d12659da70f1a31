"""One person's head to study space: brain mask, bias correction, registration, resampling.

In: the paths of a person's T1 and T2 (either may be missing), brain mask and lesions, and a `Template`. Out: a
`Placed`: float32 images, bool mask and uint8 lesions on the study grid, with the transforms back to the scans.
Paper: section 3 (data): affine registration to an atlas, skull-stripped, N4 bias-corrected, cut to the brain.

A transform maps points of a fixed space to points of a moving space (LPS, mm), as everywhere in SimpleITK; within this
module it is a matrix [4, 4]. Everything runs on one thread: mutual information summed by several differs in its last
bits from run to run.
"""

import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from essim import mni
from essim.volumes import read_nifti, save_nifti

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS+ to LPS and back
MARGIN_MM = 8  # around the brain: of a template's box, and of the region in which images are compared
BIAS_MM = 8  # voxels on which N4 works; the field that it seeks is far smoother
BIAS_STEPS = [50, 50, 50]  # of N4, from coarse to fine; a fourth, finer grid takes large lesions for bias
LEVELS_MM = {8: 1.0, 4: 0.5, 2: 0.2}  # voxels on which images are registered, and the share of them that is compared
START_DEG = 25  # heads are turned by so much, about each axis both ways, where the affine registration starts
SEED = 0  # of the points at which images are compared


@dataclass
class Template:
    """Where heads are brought to. `image` the template's T1, skull-stripped, float32, on a grid of its own. The study
    grid: `shape` (H, W, D), `affine` [4, 4] voxel to world, RAS+, mm; `brain` bool [H, W, D], the template's on it.
    """

    image: sitk.Image
    shape: tuple
    affine: np.ndarray
    brain: np.ndarray


@dataclass
class Placed:
    """A person in study space. `images` {contrast: float32 [H, W, D], in the scan's units, 0 outside the mask}; `mask`
    bool; `seg` uint8 (1 lesion, 2 ignored) or None; `affine` [4, 4], RAS+, mm; `transforms` {contrast: sitk.Transform
    from points of study space to points of that scan}: `sitk.Resample` with it brings the scan to study space, its
    inverse brings a map back; `dice` overlap of the mask with the template's brain, 0 to 1.
    """

    images: dict
    mask: np.ndarray
    seg: np.ndarray | None
    affine: np.ndarray
    transforms: dict
    dice: float


def to_sitk(array, affine):
    """[H, W, D] with its affine (RAS+, mm) as sitk.Image (LPS); bool becomes uint8. Shear is kept in the direction."""
    array = array.astype(np.uint8) if array.dtype == bool else array
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    matrix = LPS @ affine
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    return image


def from_sitk(image):
    """A 3-D sitk.Image as (array [H, W, D], affine [4, 4] voxel to world, RAS+, mm); axes stay in the image's order."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), LPS @ affine


def load_template(path=None, voxel_mm=1):
    """The template and the study grid around its brain.

    Args:
        path: a skull-stripped T1 template (such as SRI24's), NIfTI; its own axes, cut to its brain and 8 mm around.
            None: MNI152, which nilearn carries, in the box of the built-in cohort (160 x 192 x 160 mm).
        voxel_mm: side of a voxel of the study grid.

    Raises:
        FileNotFoundError, ValueError: as in `read_nifti`; voxel_mm is not above 0, or the template is not stripped.
    """
    if not 0 < voxel_mm <= 8:
        raise ValueError(f"voxel_mm is {voxel_mm}: take a size above 0 and up to 8 mm.")
    if path is None:
        from nilearn import datasets  # takes a second

        maps = [load(resolution=1) for load in (datasets.load_mni152_template, datasets.load_mni152_brain_mask)]
        data, brain = (np.asarray(volume.dataobj, np.float32) for volume in maps)
        image = to_sitk(data * (brain > 0), maps[0].affine)
        shape, affine = tuple(int(n) for n in mni.shape_of(voxel_mm)), mni.affine_of(voxel_mm)
    else:
        data, own = read_nifti(path)
        filled = np.argwhere(data > 0)
        if not 0 < len(filled) < 0.7 * data.size:
            raise ValueError(f"{path}: is no skull-stripped template (0 around the brain); strip it, or leave it out.")
        image = to_sitk(data.clip(0).astype(np.float32), own)
        spacing = np.linalg.norm(own[:3, :3], axis=0)
        low, high = filled.min(0) - 0.5 - MARGIN_MM / spacing, filled.max(0) + 0.5 + MARGIN_MM / spacing
        shape = tuple(int(n) for n in np.ceil((high - low) * spacing / voxel_mm))
        affine = own @ np.diag([*voxel_mm / spacing, 1])
        affine[:3, 3] = (own @ [*low + 0.5 * voxel_mm / spacing, 1])[:3]  # the centre of the first voxel
    grid = to_sitk(np.zeros(shape, np.uint8), affine)
    brain = _labels(image > 0, grid, np.eye(4))
    return Template(image, shape, affine, from_sitk(brain)[0] > 0)


def place(images, template, *, mask="", seg="", ignore=""):
    """Bring one person to study space.

    Args:
        images: {contrast: path}; the T1, if there is one, is registered to the template, the other scan to it.
        template: a `Template`.
        mask: path of the brain mask; "nonzero": the images are stripped, their brain is what is not 0; "": by HD-BET.
        seg: path of the lesions, "" for none. ignore: the label in it that is neither lesion nor background.
            Mask and lesions may lie on the grid of either scan, and move with it, or on another grid in the T1's space.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged or no 3-D volume; the mask is empty or beside the image; the image has NaN inside
            it; there is neither mask nor HD-BET; the registration fails. The message is one sentence with the file.
    """
    with _one_thread():
        scans = {contrast: _read_image(path) for contrast, path in images.items()}
        anchor = "t1" if "t1" in scans else next(iter(scans))
        home, brain = _find_brain(images, scans, anchor, mask)  # the scan whose space the mask lies in
        brains, to_scan = {home: brain}, {home: np.eye(4)}  # matrices from points of the home scan
        even = {home: _n4(images[home], scans[home], brain)}
        for c in scans.keys() - {home}:
            shift = _centre(scans[c]) - _centre(scans[home])
            to_scan[c] = _rigid(even[home], brain, _finite(scans[c]), shift, images[c])
            brains[c] = _labels(brain, scans[c], np.linalg.inv(to_scan[c]))
            if not _any(brains[c]):
                raise ValueError(f"{images[c]}: does not show the brain of {images[home]}; are they one person's?")
            even[c] = _n4(images[c], scans[c], brains[c])
        to_anchor = _affine(template.image, even[anchor], brains[anchor], images[anchor])
        matrices = {c: to_scan[c] @ np.linalg.inv(to_scan[anchor]) @ to_anchor for c in scans}

        grid = to_sitk(np.zeros(template.shape, np.uint8), template.affine)
        inside = from_sitk(_labels(brain, grid, matrices[home]))[0] > 0
        placed = {c: from_sitk(_values(even[c], grid, matrices[c]))[0] * inside for c in scans}
        lesions = None
        if seg:
            drawn = _read_label(seg, ignore)
            lesions = from_sitk(_labels(drawn, grid, matrices[_space_of(drawn, scans, anchor)]))[0]
        dice = 2 * (inside & template.brain).sum() / max(inside.sum() + template.brain.sum(), 1)
        transforms = {c: _as_transform(m) for c, m in matrices.items()}
        return Placed(placed, inside, lesions, template.affine, transforms, float(dice))


# Files and masks


def _read_image(path):
    """A scan as float32 sitk.Image; voxels that are not finite stay so until the brain mask is known."""
    data, affine = read_nifti(path, finite=False)
    return to_sitk(data.astype(np.float32), affine)


def _read_label(path, ignore=None):
    """A mask (0, 1) or, with `ignore`, lesions (0, 1, 2) as uint8 sitk.Image on the file's grid."""
    data, affine = read_nifti(path)
    label = (data > 0).astype(np.uint8)
    if ignore is None and not label.any():
        raise ValueError(f"{path}: the brain mask is empty; make it again or leave the scan out.")
    if ignore not in (None, ""):
        label[data == float(ignore)] = 2
    return to_sitk(label, affine)


def _space_of(label, scans, anchor):
    """The contrast on whose grid a label map lies; the anchor where it lies on none."""

    def fits(scan):
        same = label.GetSize() == scan.GetSize()
        return same and np.allclose(from_sitk(label[:1, :1, :1])[1], from_sitk(scan[:1, :1, :1])[1], atol=1e-2)

    return next((c for c in (anchor, *scans) if fits(scans[c])), anchor)


def _find_brain(images, scans, anchor, mask):
    """(contrast, its brain as uint8 sitk.Image): by HD-BET, by what is not 0, or from a file."""
    if mask == "":
        return anchor, _hd_bet(images[anchor], scans[anchor])
    if mask == "nonzero":
        brain = sitk.BinaryFillhole(_finite(scans[anchor]) != 0)
        if not _any(brain):
            raise ValueError(f"{images[anchor]}: has no voxel other than 0; fetch the scan again or leave it out.")
        return anchor, brain
    drawn = _read_label(mask)
    home = _space_of(drawn, scans, anchor)
    brain = _labels(drawn, scans[home], np.eye(4))
    if not _any(brain):
        raise ValueError(f"{mask}: the brain mask lies beside {images[home]}; give the mask of this scan.")
    return home, brain


def _hd_bet(path, image):
    """The brain of a scan with its skull: uint8 sitk.Image."""
    command = shutil.which("hd-bet") or shutil.which("hd-bet", path=str(Path(sys.executable).parent))
    if command is None:
        raise ValueError(
            f"{path}: has no brain mask and HD-BET is not installed; give a mask, strip the scan with a tool of your "
            "choice, or run `pip install hd-bet`."
        )
    import torch  # HD-BET needs it too

    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        save_nifti(f"{folder}/scan.nii.gz", *from_sitk(_finite(image)))
        options = ["-i", f"{folder}/scan.nii.gz", "-o", f"{folder}/brain.nii.gz", "-device", device]
        options += ["--disable_tta", "--save_bet_mask", "--no_bet_image"]
        done = subprocess.run([command, *options], capture_output=True, text=True, check=False)
        found = Path(folder) / "brain_bet.nii.gz"
        if done.returncode or not found.is_file():
            reason = " ".join((done.stderr.strip() or "no mask was written").splitlines()[-1].split())
            raise ValueError(f"{path}: HD-BET failed ({reason}); run `hd-bet` on it by hand, or give a mask.")
        return _labels(_read_label(found), image, np.eye(4))


def _any(label):
    return bool(sitk.GetArrayViewFromImage(label).any())


# Intensities


def _finite(image):
    """The image with 0 for NaN and infinity."""
    values, affine = from_sitk(image)
    return to_sitk(np.nan_to_num(values, nan=0, posinf=0, neginf=0), affine)


def _n4(path, scan, brain):
    """The scan, cut around its brain, without its bias field (N4) and without negative and not finite values."""
    image, brain = _around(scan, brain)
    values = sitk.GetArrayViewFromImage(image)[sitk.GetArrayViewFromImage(brain) > 0]
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: has NaN or infinite voxels inside the brain; repair the file or leave the scan out.")
    if np.ptp(values) == 0 or values.max() <= 0:
        raise ValueError(f"{path}: is constant inside the brain mask; are image and mask of one scan?")
    image = sitk.Maximum(_finite(image), 0.0)
    share = _blocks(sitk.Cast(brain, sitk.sitkFloat32), BIAS_MM)
    mean = _blocks(sitk.Mask(image, brain), BIAS_MM) / sitk.Maximum(share, 1e-3)  # of the brain's voxels only
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(BIAS_STEPS)
    try:
        n4.Execute(mean, sitk.And(share > 0.5, mean > 0))
    except RuntimeError as error:
        raise ValueError(f"{path}: bias correction fails ({_reason(error)}); look at scan and mask.") from error
    field = n4.GetLogBiasFieldAsImage(mean)  # smooth enough to be interpolated
    here = (sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32, True)  # True: its border goes on outside
    return image / sitk.Exp(sitk.Resample(field, image, *here))


def _around(image, brain):
    """Both cut to the box of the brain and two margins around."""
    filled = np.argwhere(from_sitk(brain)[0] > 0)
    margin = np.ceil(2 * MARGIN_MM / np.array(image.GetSpacing())).astype(int)
    low, high = np.maximum(filled.min(0) - margin, 0), np.minimum(filled.max(0) + margin + 1, image.GetSize())
    size, start = [[int(n) for n in numbers] for numbers in (high - low, low)]
    return sitk.RegionOfInterest(image, size, start), sitk.RegionOfInterest(brain, size, start)


def _blocks(image, mm):
    """Means of blocks of voxels, as many as fit into `mm` along each axis: nothing finer is left to alias."""
    return sitk.BinShrink(image, [max(1, int(mm / s + 0.01)) for s in image.GetSpacing()])


# Registration


def _rigid(fixed, brain, moving, shift, path):
    """Matrix from a scan to another of the same person, from scanner coordinates or, if that is better, moved by a
    vector (mm)."""
    starts = [sitk.Euler3DTransform(), sitk.Euler3DTransform()]
    for start, offset in zip(starts, ([0, 0, 0], shift.tolist()), strict=True):
        start.SetCenter(_centre(brain).tolist())
        start.SetTranslation(offset)
    best = _best(fixed, brain, moving, starts, 8, path)
    for mm in (4, 2):
        best = _best(fixed, brain, moving, [best], mm, path)
    return _as_matrix(best)


def _affine(fixed, moving, brain, path):
    """Matrix from the template to a scan: a similarity first, from several sides, then affine; without the skulls."""
    moving, centre, starts = sitk.Mask(moving, _labels(brain, moving, np.eye(4))), _centre(fixed > 0), []
    turns = [np.zeros(3), *(sign * np.deg2rad(START_DEG) * axis for axis in np.eye(3) for sign in (-1, 1))]
    for turn in turns:
        start = sitk.Similarity3DTransform()
        start.SetMatrix(sitk.Euler3DTransform((0, 0, 0), *turn.tolist()).GetMatrix())
        start.SetCenter(centre.tolist())
        start.SetTranslation((_centre(brain) - centre).tolist())
        starts.append(start)
    best = _as_transform(_as_matrix(_best(fixed, fixed > 0, moving, starts, 8, path)), centre)
    for mm in (4, 2):
        best = _best(fixed, fixed > 0, moving, [best], mm, path)
    return _as_matrix(best)


def _best(fixed, brain, moving, starts, mm, path):
    """Of the transforms from several starts the one under which the images share most information (Mattes): compared
    on voxels of `mm`, in and around a brain (label on any grid) of the fixed image."""
    fixed, moving = _coarse(fixed, mm), _coarse(moving, mm)
    distance = sitk.SignedMaurerDistanceMap(_labels(brain, fixed, np.eye(4)), False, False, True)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(distance <= MARGIN_MM)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(LEVELS_MM[mm], SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(float(mm), mm / 100, 100, 0.5, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    found = []
    for start in starts:
        moved = type(start)(start)
        method.SetInitialTransform(moved, inPlace=True)
        try:
            method.Execute(fixed, moving)
        except RuntimeError as error:
            raise ValueError(f"{path}: registration fails ({_reason(error)}); look at scan and mask.") from error
        found.append((method.GetMetricValue(), moved))
    return min(found, key=lambda pair: pair[0])[1]  # SimpleITK's sign: the less, the better


def _coarse(image, mm):
    """The image on isotropic voxels of `mm`, cut at its 99.5th percentile: bright specks would take most of the
    histogram's bins."""
    image = _blocks(image, mm)
    values = sitk.GetArrayViewFromImage(image)
    image = sitk.Clamp(image, sitk.sitkFloat32, 0.0, float(np.percentile(values[values > 0], 99.5)))
    size = [max(1, round(n * s / mm)) for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    corner = image.TransformContinuousIndexToPhysicalPoint([0.5 * mm / s - 0.5 for s in image.GetSpacing()])
    return sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, corner, [mm] * 3, image.GetDirection())


def _centre(image):
    """The centre of mass, point in mm."""
    values, affine = from_sitk(image)
    weight = np.nan_to_num(values[::2, ::2, ::2], nan=0, posinf=0, neginf=0).clip(0).astype(np.float64)
    index = [2 * np.average(places, weights=weight) for places in np.indices(weight.shape)] if weight.any() else [0] * 3
    return (LPS @ affine @ [*index, 1])[:3]


def _reason(error):
    return " ".join(str(error).splitlines()[-1].split())


# Resampling


def _labels(label, grid, matrix):
    """A label map on a grid: the nearest neighbour's."""
    return sitk.Resample(label, grid, _as_transform(matrix), sitk.sitkNearestNeighbor, 0, label.GetPixelID())


def _values(image, grid, matrix):
    """A scan on a grid: cubic B-spline, since linear would blur by how the grids happen to lie; its undershoots beside
    sharp borders are cut at 0."""
    image = _blocks(image, grid.GetSpacing()[0])
    moved = sitk.Resample(image, grid, _as_transform(matrix), sitk.sitkBSpline, 0.0, sitk.sitkFloat32)
    return sitk.Maximum(moved, 0.0)


def _as_transform(matrix, centre=(0, 0, 0)):
    """An affine sitk.Transform that turns about a centre, point in mm."""
    transform = sitk.AffineTransform(3)
    transform.SetCenter([float(x) for x in centre])
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation((matrix[:3, :3] @ centre + matrix[:3, 3] - centre).tolist())
    return transform


def _as_matrix(transform):
    matrix, centre = np.eye(4), np.array(transform.GetCenter())
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    matrix[:3, 3] = transform.GetTranslation() + centre - matrix[:3, :3] @ centre
    return matrix


@contextmanager
def _one_thread():
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
