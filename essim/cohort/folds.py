"""A head's own folds: the sulci of the cerebrum and the folia of the cerebellum.

In: a random generator, where each voxel lies (mm, in the template's space), the age of the brain. Out: how far below
the pial surface it lies, from which its tissues follow (`anatomy`).

A sulcus is the zero level of a smooth random field n: n / |grad n| is the distance to it in mm. Where a field hardly
varies along the way to the middle of a hemisphere, its sulci run inwards from the surface. The folia of the cerebellum
are parallel sheets, bent. With p the distance below the nearest pial surface,

    csf where p < 0,    cortex where 0 < p < its thickness,    white matter below.
"""

import numpy as np
from scipy import ndimage

from essim.cohort.fields import noise_at, smooth_noise
from essim.cohort.mni import axes_of

FOLDS_MM = 5.0  # the spacing of the field whose zero level the sulci are
HEMISPHERE = (33.0, -18.0, 10.0)  # the middle of one, mm; sulci run towards it


def distance_to_level(field, voxel_mm, floor):
    """The approximate distance (mm) to the zero level of a field [H, W, D]; `floor`: of the gradient, per mm."""
    slope = np.sqrt(sum(np.square(g) for g in np.gradient(field, voxel_mm)) + np.float32(floor) ** 2)
    return np.abs(field) / slope


def _fold(rng, where):
    """The field whose zero level the sulci are, at points [3, n] in mm."""
    middle = np.array(HEMISPHERE, np.float32)[:, None] * np.ones_like(where)
    middle[0] *= np.sign(where[0])
    away = where - middle
    radius = np.sqrt(np.square(away).sum(0)) + 1
    inwards = middle + away * (np.float32(0.3) + 26 / radius)
    mirrored = inwards * np.array([[-1.0], [1.0], [1.0]], np.float32)
    one, other = (noise_at(rng, to, FOLDS_MM) for to in (np.where(where[0] < 0, mirrored, inwards), inwards))
    return 0.93 * one + 0.37 * other  # the two hemispheres fold alike, but not quite


def below_pia(rng, where, depth, cerebellum, years, voxel_mm):
    """Distance (mm) below the nearest pial surface [H, W, D], negative in sulci and outside the brain.

    `where`: each voxel in the template's space, mm [3, H, W, D]; `depth`: below the brain's outer surface, mm;
    `cerebellum`: 0 to 1; `years`: of atrophy, 0 (at 20) to 1 (at 80) and beyond.
    """
    axes = axes_of(voxel_mm)
    # A hemisphere's inner wall is a surface too, except where the corpus callosum and what lies below join the two.
    x, y, z = where
    joined = 1.2 - np.sqrt(((y + 6) / 40) ** 2 + ((z - 2) / 27) ** 2)
    wall = np.abs(x) + 60 * np.clip(joined, 0, 1) + 4 * np.clip(-5 - z, 0, 20)
    depth = np.minimum(depth, wall)
    field = np.zeros(depth.shape, np.float32)
    near = ndimage.binary_dilation(depth > -voxel_mm)  # further outside all is csf, whatever the folds
    field[near] = _fold(rng, where[:, near])
    sulcus = distance_to_level(field, voxel_mm, 0.12)
    reach = 9 + 15 / (1 + np.exp(-1.5 * smooth_noise(rng, axes, 22)))  # how deep sulci are, mm
    width = np.maximum(0.2 + (0.6 + 1.3 * max(years, 0)) * np.exp(0.5 * smooth_noise(rng, axes, 18)), 0.2)
    sheet = np.hypot(sulcus, np.maximum(depth - reach, 0)) - width / 2

    pitch = rng.uniform(4.2, 7.0)
    along = where[2] + 0.35 * where[1] + 2.5 * smooth_noise(rng, axes, 14) + 0.004 * np.square(where[0])
    folium = np.abs((along / pitch + 0.5) % 1 - 0.5) * np.float32(pitch)
    slit = np.hypot(folium, np.maximum(depth - 9, 0)) - np.float32(rng.uniform(0.15, 0.5) + 0.3 * max(years, 0))

    recede = np.float32(max(0.3 + 1.2 * years + 0.4 * rng.standard_normal(), 0))  # from the skull
    return np.minimum(depth - recede, sheet + cerebellum * (slit - sheet))
