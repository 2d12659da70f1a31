"""What else a scan shows: vessels, membranes, the choroid plexus, iron; and what lies around the brain.

In: a random generator, tissues, where each voxel lies. Out: fractions of all tissues (`contrast.TISSUES`). None of it
is pathological, and none of it is in a map of grey and white matter.
"""

import numpy as np

from essim.cohort.fields import smooth_noise
from essim.cohort.folds import distance_to_level
from essim.cohort.mni import axes_of


def with_nuisance(rng, tissues, where, depth, ventricle, years, voxel_mm):
    """Fractions [6, H, W, D] of `contrast.TISSUES`, float32; their sum is 1.

    `tissues`: csf, grey and white [H, W, D] each. `where`: each voxel in the template's space, mm [3, H, W, D].
    `depth`, `ventricle`: as in `Anatomy`. `years`: of atrophy, 0 (at 20) to 1 (at 80) and beyond.
    """
    csf, grey, white = tissues
    outside = np.clip(0.5 - depth / voxel_mm, 0, 1)  # of the brain, and what lies there: a film of CSF, then dura
    film = 0.2 + 0.4 * years + 0.2 * rng.standard_normal() + 0.5 * smooth_noise(rng, axes_of(voxel_mm), 16)
    shell = np.clip(0.5 - (depth + film) / voxel_mm, 0, 1)
    falx = 0.4 * csf * (np.abs(where[0]) < 1.5) * (where[2] > -5) * (depth > 0)
    plexus = 0.7 * csf * (ventricle < -1.5) * (smooth_noise(rng, axes_of(voxel_mm), 7) > 1.1)
    csf = np.maximum(csf, outside)
    vessel = _vessels(rng, where, depth, voxel_mm) * np.clip(csf + 0.25, 0, 1) * (ventricle > 3)
    dura = np.clip(shell + falx, 0, 1)
    # Putamen, pallidum and thalamus accumulate iron with age.
    x, y, z = where
    nuclei = np.clip(3 * (1 - np.sqrt((x / 30) ** 2 + ((y + 8) / 32) ** 2 + ((z - 4) / 18) ** 2)), 0, 1)
    iron = np.clip(0.45 + 0.5 * years + 0.15 * rng.standard_normal(), 0, 1)
    rest = (1 - csf) / np.maximum(grey + white, 1e-6)
    grey, white = grey * rest + plexus, white * rest
    csf = csf - plexus
    deep = grey * nuclei * np.float32(iron) * (ventricle > 0)
    fractions = np.stack([csf, grey - deep, white, deep, vessel, dura])
    fractions[:4] *= np.clip(1 - vessel - dura, 0, 1)
    fractions[4] *= 1 - dura
    return (np.clip(fractions, 0, None) / np.maximum(fractions.sum(0), 1e-6)).astype(np.float32)


def _vessels(rng, world, depth, voxel_mm):
    """The share of each voxel that vessels of the brain's surface and base fill: where two random sheets meet."""
    axes = axes_of(voxel_mm)
    sheets = [distance_to_level(smooth_noise(rng, axes, mm), voxel_mm, 0.06) for mm in (8, 10)]
    radius = np.float32(0.7) + np.clip((-8 - world[2]) / 15, 0, 1) * np.float32(0.9)  # mm, widest at the base
    tube = np.clip(0.5 + (radius - np.hypot(*sheets)) / voxel_mm, 0, 1)
    sagittal = (np.abs(world[0]) < 5) & (depth < 1.5) & ((world[2] > 25) | (world[1] < -70))  # the superior sinus
    return np.maximum(tube * np.clip(1.3 - depth / 14, 0, 1), 0.8 * sagittal).astype(np.float32)
