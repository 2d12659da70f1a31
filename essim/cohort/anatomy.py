"""One healthy head: the MNI152 brain, deformed and given a cortex of its own.

In: a random generator, age and sex. Out: tissue fractions on the study grid (`Anatomy`).

A displacement u (mm) is a pull-back: the subject's point x shows what the template has at x + u(x).
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from essim.cohort.mni import CANVAS_MM, CORNER_MM, MAP_CORNER, axes_of, load_maps, sample, shape_of, world_of

CENTRE = np.array([0.0, -17.0, 5.0], np.float32)  # heads are scaled about this point
RIM_MM = 0.3  # skull stripping leaves a thin film of CSF around the cortex, the template's mask does not
LATTICE_MM = 4  # displacements are made at this spacing and splined to the voxels
# Control spacing and standard deviation (mm) of the random deformation: head shape, lobes, gyri, folds.
DEFORMATION = ((64, 2.4), (32, 1.8), (16, 1.1), (10, 0.5))


@dataclass(frozen=True)
class Anatomy:
    """A head on the study grid, [H, W, D]."""

    voxel_mm: int
    fractions: np.ndarray  # [3, H, W, D]: csf, grey, white; their sum is 1 inside the mask, 0 outside
    texture: np.ndarray  # the template's
    mask: np.ndarray
    displacement: np.ndarray  # [3, H, W, D], mm
    depth: np.ndarray  # below the brain's surface, mm
    ventricle: np.ndarray  # distance to the ventricles, mm, negative inside


def spline(values, places):
    """Cubic B-spline over control values [I, J, K] at the grid of `places` (control units, from 1 to I - 2).

    Sums of four taps an axis, not a matrix product: the same bits whatever the number of threads.
    """
    for axis, place in enumerate(places):
        low = np.floor(place).astype(int)
        f = (place - low).astype(np.float32)
        taps = ((1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3)
        values = sum(_along(axis, tap) / 6 * np.take(values, low + k - 1, axis) for k, tap in enumerate(taps))
    return values


def _along(axis, values, dimensions=3):
    """Values [n] of the points along one axis, shaped to be broadcast over the others."""
    return values.reshape([-1 if a == axis else 1 for a in range(dimensions)])


def smooth_noise(rng, axes, spacing_mm):
    """Random smooth field on a grid with the given world axes (mm): mean 0, standard deviation near 1, correlated over
    about `spacing_mm`. Control points are laid in mm: one seed gives one field, whatever the voxel size."""
    reach = 8.0  # mm beyond the canvas: the lattice is one step wider
    shape = [int(np.ceil((side + 2 * reach) / spacing_mm)) + 4 for side in CANVAS_MM]
    places = [(a - c + reach) / spacing_mm + 1 for a, c in zip(axes, CORNER_MM, strict=True)]
    return spline(rng.standard_normal(shape, dtype=np.float32), places) / np.float32(0.333)


def jacobian(displacement, voxel_mm):
    """Determinant of d(x + u)/dx [H, W, D] for u [3, H, W, D] in mm: volume change, 1 for no deformation."""
    (a, b, c), (d, e, f), (g, h, i) = (
        [slope + (row == column) for column, slope in enumerate(np.gradient(u, voxel_mm))]
        for row, u in enumerate(displacement)
    )
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def draw_displacement(rng, voxel_mm, age, sex, push=None):
    """Displacement u [3, H, W, D] in mm: size, random shape, age; positive Jacobian (made smaller until so).

    `push`, a mass effect, maps points [3, n] of the subject's space to pull-back displacements [3, n] in mm: it acts
    first, the head without it after. Raises ValueError where no factor makes the Jacobian positive.
    """
    extents = zip(CORNER_MM, CANVAS_MM, strict=True)
    axes = [corner + LATTICE_MM * np.arange(-1.0, side // LATTICE_MM + 2) for corner, side in extents]
    world = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    shape, world = world.shape, world.reshape(3, -1)
    # The MNI brain is larger than most; men's heads are some 3 % longer than women's in each direction.
    size = (0.955 if sex == "m" else 0.93) + 0.015 * rng.standard_normal() + 0.010 * rng.standard_normal(3)
    size = np.clip(size, 0.88, 0.99).astype(np.float32)[:, None]
    random, amount = _draw_shape(rng, axes), _draw_aging(rng, age)
    moved = world if push is None else world + push(world)
    u = sample(random, moved, [a[0] for a in axes], LATTICE_MM)
    aging = load_maps(voxel_mm)[2]
    for factor in 0.85 ** np.arange(16, dtype=np.float32):
        scaled = (moved - CENTRE[:, None]) / size + CENTRE[:, None] + factor * u
        aged = sample(aging, scaled, MAP_CORNER + 0.5, 2) * (factor * amount)[:, None]
        aged = aged[:3] + aged[3:]
        total = (scaled + aged - world).reshape(shape)
        if jacobian(total, LATTICE_MM).min() > 0.15:
            places = [(a - c[0]) / LATTICE_MM for a, c in zip(axes_of(voxel_mm), axes, strict=True)]
            return np.stack([spline(t, places) for t in total])
    raise ValueError(f"no invertible deformation for age {age}, sex {sex}: take another seed")


def _draw_shape(rng, axes):
    """Random displacement [I, J, K, 3] in mm on the lattice, calmer towards the faces of the canvas: no head is cut."""
    fields = [np.float32(mm) * np.stack([smooth_noise(rng, axes, step) for _ in range(3)]) for step, mm in DEFORMATION]
    random = np.moveaxis(_without_affine(sum(fields)), 0, -1)
    for axis, points in enumerate(axes):
        inside = np.minimum(points - points[0], points[-1] - points) - LATTICE_MM
        calm = 0.25 + 0.75 * np.clip(inside / 20, 0, 1) ** 1.5
        random[..., axis] *= _along(axis, calm.astype(np.float32))
    return random


def _draw_aging(rng, age):
    """How many mm the two aging fields of `load_maps` widen ventricles and sulci: [6], one for each component."""
    years = (age - 20) / 60
    ventricle_mm = np.clip(-0.6 + 3.2 * max(years, 0) ** 1.5 + 0.8 * rng.standard_normal(), -1.2, 4.0)
    sulci_mm = np.clip(-0.3 + 1.1 * years + 0.25 * rng.standard_normal(), -0.5, 1.2)
    return np.repeat(np.array([ventricle_mm, sulci_mm], np.float32), 3)


def _without_affine(fields):
    """Fields [3, I, J, K] less their best affine map: the study's scans are registered affinely."""
    middle = fields[:, 6:-6, 6:-6, 6:-6]  # where the brain is
    result = fields - middle.mean((1, 2, 3), keepdims=True)
    for axis in range(1, 4):  # orthogonal on a regular grid: one after the other is least squares
        along = np.arange(fields.shape[axis], dtype=np.float32) - np.float32((fields.shape[axis] - 1) / 2)
        along = _along(axis, along, 4)
        inner = np.take(along, range(6, fields.shape[axis] - 6), axis)
        slope = (middle * inner).mean((1, 2, 3), keepdims=True) / (inner**2).mean()
        result = result - slope * along
    return result


def grow_head(rng, voxel_mm, age, sex, push=None):
    """One head, an `Anatomy`. `age` in years (18 to 95), `sex` m or f, `push` as in `draw_displacement`.

    The template's maps are probabilities over 152 people; a person has one cortex. Where they are undecided, a random
    field decides, and the fractions are sharpened. Deep grey nuclei and brain stem stay as the template has them.
    """
    shape_rng, tissue_rng = rng.spawn(2)
    u = draw_displacement(shape_rng, voxel_mm, age, sex, push)
    tissue, guide, _ = load_maps(voxel_mm)
    axes, where = axes_of(voxel_mm), world_of(voxel_mm) + u
    depth, ventricle, individual = sample(guide, where.reshape(3, -1), MAP_CORNER + 0.5, 2)
    depth = depth.reshape(shape_of(voxel_mm)) + RIM_MM + 0.8 * smooth_noise(tissue_rng, axes, 8)
    labels, _ = ndimage.label(depth > 0)
    mask = labels == np.argmax(np.bincount(labels.ravel(), minlength=2)[1:]) + 1  # no islands
    grey, white, texture = sample(tissue, where[:, mask], MAP_CORNER, 1)
    fractions = np.log(np.stack([np.clip(1 - grey - white, 0, 1), grey, white]) + 1e-3)
    years = np.clip((age - 20) / 60, 0, 1.2)
    # Thinner cortex and wider sulci with age; then the folds of this person.
    tilt = np.zeros_like(fractions) + np.array([[0.25 + 0.5 * years], [0.0], [0.1]], np.float32)
    for row in tilt[:2]:
        for spacing, strength in ((5, 0.6), (11, 0.45)):
            row += np.float32(strength) * smooth_noise(tissue_rng, axes, spacing)[mask]
    individual = individual[mask.ravel()]
    # A voxel of 4 mm is a mixture by itself: less sharpening.
    fractions = np.exp(fractions * (1 + (1.1 if voxel_mm < 4 else 0.4) * individual) + individual * tilt)
    fractions /= fractions.sum(0)

    def full(values):
        volume = np.zeros((*values.shape[:-1], *mask.shape), np.float32)
        volume[..., mask] = values
        return volume

    return Anatomy(voxel_mm, full(fractions), full(texture), mask, u, depth, ventricle.reshape(mask.shape))
