"""One healthy head: a brain, deformed, aged, and given a cortex of its own where the brain is the MNI152 template.

In: a random generator and an age. Out: tissue fractions on the study grid (`Anatomy`).

A displacement u (mm) is a pull-back: the subject's point x shows what the template has at x + u(x).
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg, ndimage

from essim.cohort import folds
from essim.cohort.fields import along, smooth_noise, spline
from essim.cohort.mni import CANVAS_MM, CORNER_MM, MAP_CORNER, axes_of, load_maps, sample, shape_of, world_of
from essim.cohort.nuisance import with_nuisance

CENTRE = np.array([0.0, -17.0, 5.0], np.float32)  # heads are turned and scaled about this point
AROUND_MM = 5.0  # of the brain's surroundings that the scanner blurs into it
LATTICE_MM = 4  # displacements are made at this spacing and splined to the voxels
# Control spacing and standard deviation (mm) of the random deformation: head shape, lobes, gyri, folds.
DEFORMATION = ((64, 2.4), (32, 1.8), (16, 1.1), (10, 0.5))


@dataclass(frozen=True)
class Anatomy:
    """A head on the study grid, [H, W, D]."""

    voxel_mm: int
    fractions: np.ndarray  # [6, H, W, D] of contrast.TISSUES; their sum is 1 in the mask and near it, 0 in the skull
    texture: np.ndarray  # the template's
    mask: np.ndarray  # where skull stripping has cut
    displacement: np.ndarray  # [3, H, W, D], mm
    depth: np.ndarray  # below the brain's surface, mm
    ventricle: np.ndarray  # distance to the ventricles, mm, negative inside


def jacobian(displacement, voxel_mm):
    """Determinant of d(x + u)/dx [H, W, D] for u [3, H, W, D] in mm: volume change, 1 for no deformation."""
    (a, b, c), (d, e, f), (g, h, i) = (
        [slope + (row == column) for column, slope in enumerate(np.gradient(u, voxel_mm))]
        for row, u in enumerate(displacement)
    )
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def draw_displacement(rng, voxel_mm, age, push=None, maps=None):
    """Displacement u [3, H, W, D] in mm: residual misregistration (place, size), random shape, age; the last two are
    scaled down until the Jacobian is positive. `maps` are those of `load_maps` or of a real head.

    `push`, a mass effect, maps points [3, n] of the subject's space to pull-back displacements [3, n] in mm. It is
    applied first; the rest alone gives the same head without it. Raises ValueError where no factor makes the Jacobian
    positive.
    """
    extents = zip(CORNER_MM, CANVAS_MM, strict=True)
    axes = [corner + LATTICE_MM * np.arange(-1.0, side // LATTICE_MM + 2) for corner, side in extents]
    world = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    shape, world = world.shape, world.reshape(3, -1)
    # The study's scans are registered affinely, which leaves about 1 mm, 1 degree and 2 % in each direction.
    turn = _rotation(0.014 * rng.standard_normal(3)) / (1 + 0.02 * np.clip(rng.standard_normal((3, 1)), -2, 2))
    shift = CENTRE[:, None] + np.float32(0.8) * rng.standard_normal((3, 1)).astype(np.float32)
    random, amount = _draw_shape(rng, axes), _draw_aging(rng, age)
    moved = world if push is None else world + push(world)
    u = sample(random, moved, [a[0] for a in axes], LATTICE_MM)
    aging = (maps or load_maps(voxel_mm))[2]
    for factor in 0.85 ** np.arange(16, dtype=np.float32):
        placed = turn.astype(np.float32) @ (moved - CENTRE[:, None]) + shift + factor * u
        aged = sample(aging, placed, MAP_CORNER + 0.5, 2) * (factor * amount)[:, None]
        aged = aged[:3] + aged[3:]
        total = (placed + aged - world).reshape(shape)
        if jacobian(total, LATTICE_MM).min() > 0.15:
            places = [(a - c[0]) / LATTICE_MM for a, c in zip(axes_of(voxel_mm), axes, strict=True)]
            return np.stack([spline(t, places) for t in total])
    raise ValueError(f"no invertible deformation for age {age}: take another seed")


def _rotation(angles):
    """The rotation [3, 3] by small angles about the three axes, radians."""
    x, y, z = angles
    return linalg.expm(np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]))


def _draw_shape(rng, axes):
    """Random displacement [I, J, K, 3] in mm on the lattice, smaller near the canvas's faces: no head is cut."""
    fields = [np.float32(mm) * np.stack([smooth_noise(rng, axes, step) for _ in range(3)]) for step, mm in DEFORMATION]
    fields = sum(fields)
    mirrored = fields[:, ::-1] * np.array([-1, 1, 1], np.float32).reshape(3, 1, 1, 1)
    # Left and right are alike: the displacements of the two sides have a correlation of 0.9.
    random = np.moveaxis(_without_affine(0.851 * fields + 0.526 * mirrored), 0, -1)
    for axis, points in enumerate(axes):
        inside = np.minimum(points - points[0], points[-1] - points) - LATTICE_MM
        calm = 0.25 + 0.75 * np.clip(inside / 20, 0, 1) ** 1.5
        random[..., axis] *= along(axis, calm.astype(np.float32))
    return random


def _draw_aging(rng, age):
    """How many mm the two aging fields of `load_maps` widen ventricles and sulci: [6], one for each component."""
    years = (age - 20) / 60
    ventricle_mm = np.clip(-0.6 + 3.6 * max(years, 0) ** 1.5 + 1.0 * rng.standard_normal(), -1.5, 5.5)
    sulci_mm = np.clip(-0.3 + 1.1 * years + 0.25 * rng.standard_normal(), -0.5, 1.4)
    return np.repeat(np.array([ventricle_mm, sulci_mm], np.float32), 3)


def _without_affine(fields):
    """Fields [3, I, J, K] less their best affine map: the study's scans are registered affinely."""
    middle = fields[:, 6:-6, 6:-6, 6:-6]  # where the brain is
    result = fields - middle.mean((1, 2, 3), keepdims=True)
    for axis in range(1, 4):  # orthogonal on a regular grid: one after the other is least squares
        steps = np.arange(fields.shape[axis], dtype=np.float32) - np.float32((fields.shape[axis] - 1) / 2)
        steps = along(axis, steps, 4)
        inner = np.take(steps, range(6, fields.shape[axis] - 6), axis)
        slope = (middle * inner).mean((1, 2, 3), keepdims=True) / (inner**2).mean()
        result = result - slope * steps
    return result


def grow_head(rng, voxel_mm, age, push=None, maps=None):
    """One head, an `Anatomy`. `age` in years, that of the brain (18 to 110: disease ages it), `push` as in
    `draw_displacement`; `maps`: those of a real head, None for the template's.

    The template's maps are probabilities over 152 people: where these blur the folds, the head gets its own
    (`essim.cohort.folds`); deep grey nuclei and brain stem stay as in the template. A real head has its own folds.
    """
    shape_rng, tissue_rng, rim_rng = rng.spawn(3)
    age = age + 6 * tissue_rng.standard_normal()  # brains of one age differ
    years = (age - 20) / 60
    maps = maps or load_maps(voxel_mm)
    u = draw_displacement(shape_rng, voxel_mm, age, push, maps)
    axes, world = axes_of(voxel_mm), world_of(voxel_mm)
    where = world + u
    depth, ventricle, individual = (
        v.reshape(shape_of(voxel_mm)) for v in sample(maps[1], where.reshape(3, -1), MAP_CORNER + 0.5, 2)
    )
    depth = depth + 0.5 * smooth_noise(rim_rng, axes, 8)
    unknown = individual.any()  # the folds are, in the template
    mask = _strip(rim_rng, axes, depth, 1.0 if unknown else 0.0)  # a real head's surface is its own mask's
    zone = depth > -AROUND_MM
    values = sample(maps[0], where[:, zone], MAP_CORNER, 1)
    grey, white, texture = np.zeros((3, *zone.shape), np.float32)
    grey[zone], white[zone], texture[zone] = values
    csf = np.clip(1 - grey - white, 0, 1)
    if unknown:
        csf, grey, white = _own_folds(tissue_rng, where, depth, individual, years, voxel_mm, (csf, grey, white))
    else:
        csf = _with_age(tissue_rng, csf, depth, years, voxel_mm)
    # What atrophy takes from the white matter around the ventricles, beyond what deformation can.
    widened = np.float32(max(1.6 * max(years, 0) ** 2 + 0.5 * tissue_rng.standard_normal(), 0))
    csf = np.maximum(csf, np.clip(0.5 + (widened - ventricle) / voxel_mm, 0, 1) * (ventricle < widened + voxel_mm))
    fractions = with_nuisance(tissue_rng, (csf, grey, white), where, depth, ventricle, years, voxel_mm)
    return Anatomy(voxel_mm, fractions * zone, texture * zone, mask, u, depth, ventricle)


def _strip(rng, axes, depth, wide_mm):
    """The brain mask: skull strippers cut 1 or 2 mm wider or tighter than `wide_mm` around it, each in its own way."""
    wide = wide_mm + 0.7 * np.clip(rng.standard_normal(), -2.2, 2.2) + 0.5 * smooth_noise(rng, axes, 30)
    labels, _ = ndimage.label(depth > -wide)
    return labels == np.argmax(np.bincount(labels.ravel(), minlength=2)[1:]) + 1  # no islands


def _own_folds(rng, where, depth, individual, years, voxel_mm, template):
    """csf, grey and white [H, W, D] each: the template's, sharpened, and this head's cortex where it is undecided."""
    x, y, z = where
    below = -22 + 0.4 * (y + 70) - 0.15 * np.abs(x) - z  # the tentorium, mm
    cerebellum = 1 / (1 + np.exp(-np.clip(np.minimum(below, -36 - y) / 3, -20, 20)))
    p = folds.below_pia(rng, where, depth, cerebellum, years, voxel_mm)
    thick = np.float32(2.9 - 0.5 * years) + 0.35 * smooth_noise(rng, axes_of(voxel_mm), 20)  # of the cortex, mm
    stem = (1 - individual) * np.clip((-8 - z) / 6, 0, 1)  # as bright as white matter in T1w
    csf, grey, white = template
    template = csf, grey * (1 - 0.7 * stem), white + 0.7 * stem * grey
    logits = np.log(np.stack(template) + np.float32(1e-3)) * np.float32(1.5 if voxel_mm < 4 else 1.2)
    csf, grey, white = sharp = np.exp(logits) / np.exp(logits).sum(0)
    own_csf = np.maximum(np.clip(0.5 - p / voxel_mm, 0, 1), np.clip((csf - 0.55) / 0.3, 0, 1))
    own_white = np.clip(0.5 + (p - thick) / voxel_mm, 0, 1)
    own_white *= 1 - np.clip((grey - 0.75) / 0.2, 0, 1) * np.clip((depth - 12) / 6, 0, 1)  # hippocampus, insula
    own_white *= 1 - cerebellum * (1 - np.clip((white - 0.15) / 0.4, 0, 1))
    own_white = np.minimum(own_white, 1 - own_csf)
    own = np.stack([own_csf, 1 - own_csf - own_white, own_white])
    return sharp + individual * (own - sharp)


def _with_age(rng, csf, depth, years, voxel_mm):
    """The csf [H, W, D] of a real head, that of an adult who isn't old, at another age: sulci widen by some share of
    their width, and the brain's surface recedes from the skull."""
    varied = np.exp(0.3 * smooth_noise(rng, axes_of(voxel_mm), 18))
    wider = 1 + max(1.3 * years + 0.2 * rng.standard_normal(), -0.3) * varied
    recede = np.float32(max(years + 0.4 * rng.standard_normal(), 0))
    return np.maximum(np.clip(csf * wider, 0, 1), np.clip(0.5 + (recede - depth) / voxel_mm, 0, 1) * (recede > 0))
