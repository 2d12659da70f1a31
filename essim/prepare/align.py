"""Images in millimetres: from arrays to SimpleITK and back, registered to each other, resampled to other grids.

In: SimpleITK images of heads. Out: matrices [4, 4] that map points of the fixed image's space to points of the moving
image's (LPS, mm, as everywhere in SimpleITK), and images on another grid.
"""

from contextlib import contextmanager

import numpy as np
import SimpleITK as sitk

from essim.data.intensities import fill_outside

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS+ to LPS and back
HERE = np.eye(4)  # the matrix between two images in the same space
MARGIN_MM = 8  # images are compared in the brain and this far around it
SHARES = {8: 1.0, 4: 0.5, 2: 0.2}  # voxel size of a registration level (mm): share of its voxels that are compared
START_DEG = 25  # the affine registration also starts from heads turned by this angle, both ways about each axis
SEED = 1  # of the points at which images are compared; with 0, SimpleITK would seed from the clock


@contextmanager
def one_thread():
    """SimpleITK on one thread: mutual information summed by several differs in its last bits from run to run."""
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


# Arrays, points and matrices


def to_sitk(array, affine):
    """[H, W, D] with its affine (RAS+, mm) as a sitk.Image (LPS); bool becomes uint8. The direction keeps shear."""
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


def voxel_ml(affine):
    """The volume of one voxel of a grid in ml, from the grid's affine [4, 4] in mm."""
    return abs(np.linalg.det(affine[:3, :3])) / 1000


def centre_of(image):
    """The centre of mass of an image without negative values: a point, [3] in mm."""
    values, affine = from_sitk(sitk.Cast(image, sitk.sitkFloat64))
    values = values[::2, ::2, ::2]
    voxel = [2 * np.average(indices, weights=values) for indices in np.indices(values.shape)]
    return (LPS @ affine @ [*voxel, 1])[:3]


def as_transform(matrix, centre=(0, 0, 0)):
    """A matrix as an affine sitk.Transform that rotates about a centre (a point in mm)."""
    linear, centre = matrix[:3, :3], np.asarray(centre, float)
    shift = linear @ centre + matrix[:3, 3] - centre
    return sitk.AffineTransform(linear.ravel().tolist(), shift.tolist(), centre.tolist())


def as_matrix(transform):
    """A linear sitk.Transform as a matrix [4, 4]."""
    matrix, centre = np.eye(4), np.array(transform.GetCenter())
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    matrix[:3, 3] = transform.GetTranslation() + centre - matrix[:3, :3] @ centre
    return matrix


# Other grids


def blocks(image, mm):
    """Means over blocks of as many voxels as fit into `mm` along each axis, so that nothing finer is left to alias."""
    return sitk.BinShrink(image, [max(1, int(mm / s + 0.01)) for s in image.GetSpacing()])


def sample_label(label, grid, matrix):
    """A label map on the grid of an image: the nearest voxel's label, 0 outside."""
    return sitk.Resample(label, grid, as_transform(matrix), sitk.sitkNearestNeighbor, 0, label.GetPixelID())


def sample_scan(image, grid, matrix, brain=None):
    """A scan on the grid of an image, float32, 0 outside: cubic B-spline, since the blur of linear interpolation
    depends on how the grids happen to lie; undershoot beside sharp borders is clipped at 0.

    brain: label map on the scan's grid; if given, intensities outside it don't affect those inside.
    """
    if brain is not None:
        (values, affine), inside = from_sitk(image), from_sitk(brain)[0] > 0
        image = to_sitk(fill_outside(values, inside), affine)
    image = blocks(image, grid.GetSpacing()[0])
    moved = sitk.Resample(image, grid, as_transform(matrix), sitk.sitkBSpline, 0.0, sitk.sitkFloat32)
    return sitk.Maximum(moved, 0.0)


# Registration


def register_rigid(fixed, brain, moving, shift):
    """The matrix from one scan to another of the same person.

    Args:
        fixed, moving: the scans, float32, without negative values. brain: label map of the fixed one's brain.
        shift: a vector (mm) from fixed to moving to start from; the scanner coordinates are tried as a start too.

    Raises RuntimeError where the two don't overlap.
    """
    centre = centre_of(brain).tolist()
    starts = [sitk.Euler3DTransform(centre, 0, 0, 0, offset.tolist()) for offset in (np.zeros(3), shift)]
    best = _best(fixed, brain, moving, starts, 8)
    for mm in (4, 2):
        best = _best(fixed, brain, moving, [best], mm)
    return as_matrix(best)


def register_affine(fixed, moving):
    """The matrix from a template to a person's scan, both float32, 0 outside the brain: first a similarity transform,
    started from several orientations, then an affine one. Raises RuntimeError where they don't overlap."""
    brain, starts = fixed > 0, []
    centre = centre_of(brain)
    shift = centre_of(moving > 0) - centre
    for axis, sign in [(0, 0), *((axis, sign) for axis in range(3) for sign in (-1, 1))]:
        turn = sign * np.deg2rad(START_DEG) * np.eye(3)[axis]
        start = sitk.Similarity3DTransform()
        start.SetMatrix(sitk.Euler3DTransform((0, 0, 0), *turn.tolist()).GetMatrix())
        start.SetCenter(centre.tolist())
        start.SetTranslation(shift.tolist())
        starts.append(start)
    best = as_transform(as_matrix(_best(fixed, brain, moving, starts, 8)), centre)
    for mm in (4, 2):
        best = _best(fixed, brain, moving, [best], mm)
    return as_matrix(best)


def _best(fixed, brain, moving, starts, mm):
    """Of the transforms reached from `starts`, the one with the highest mutual information (Mattes), computed on voxels
    of `mm` in and around the fixed image's brain."""
    fixed, moving = _coarse(fixed, mm), _coarse(moving, mm)
    distance = sitk.SignedMaurerDistanceMap(sample_label(brain, fixed, np.eye(4)), False, False, True)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(distance <= MARGIN_MM)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(SHARES[mm], SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=float(mm), minStep=mm / 100, numberOfIterations=100, gradientMagnitudeTolerance=1e-6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    reached = []
    for start in starts:
        moved = type(start)(start)
        method.SetInitialTransform(moved, inPlace=True)
        method.Execute(fixed, moving)
        reached.append((method.GetMetricValue(), moved))
    return min(reached, key=lambda pair: pair[0])[1]  # SimpleITK's sign: lower is better


def _coarse(image, mm):
    """The image on isotropic voxels of `mm`, clipped at its 99.5th percentile: bright specks would take most of the
    histogram's bins."""
    image = blocks(image, mm)
    values = sitk.GetArrayViewFromImage(image)
    image = sitk.Clamp(image, sitk.sitkFloat32, 0.0, float(np.percentile(values[values > 0], 99.5)))
    size = [max(1, round(n * s / mm)) for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    corner = image.TransformContinuousIndexToPhysicalPoint([0.5 * mm / s - 0.5 for s in image.GetSpacing()])
    return sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, corner, [mm] * 3, image.GetDirection())
