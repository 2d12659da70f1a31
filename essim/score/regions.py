"""Which part of the brain a voxel lies in: cerebrum and cerebellum, left and right, and the brain stem.

In: the grid of a scan in study space, placed on MNI152. Out: a label for each of its voxels.

The template that comes with nilearn has no labels. But CSF separates its parts, above all around the tentorium, and
where it doesn't (the peduncles) they are narrow: a watershed of its CSF finds the borders from a box inside each part.
"""

from functools import lru_cache

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from essim.cohort import mni

PARTS = ("left cerebrum", "right cerebrum", "left cerebellum", "right cerebellum", "brain stem")
CEREBRUM, CEREBELLUM, STEM = 1, 2, 3
SEEDS = (  # boxes in MNI space, mm: from, to along x, y, z
    (CEREBRUM, ((-84, 84), (-116, 84), (6, 88))),  # above the tentorium
    (CEREBRUM, ((-84, 84), (-10, 84), (-80, 88))),  # in front of the middle of the temporal lobes
    (CEREBRUM, ((-84, 84), (-32, 84), (-4, 88))),  # the thalami
    (CEREBELLUM, ((-44, 44), (-80, -52), (-50, -28))),
    (STEM, ((-7, 7), (-36, -22), (-60, -10))),
)


@lru_cache(maxsize=1)
def _template():
    """CEREBRUM, CEREBELLUM or STEM for every voxel of the template's maps at 2 mm, uint8 [84, 100, 84]."""
    brain, _, grey, white = mni.read_files()
    halves = (brain.astype(np.float32), np.clip(brain - grey - white, 0, 1))
    inside, csf = (v.reshape(84, 2, 100, 2, 84, 2).mean((1, 3, 5), dtype=np.float32) for v in halves)
    height = np.where(inside > 0.5, ndimage.gaussian_filter(csf, 0.5), 2)  # what is outside is flooded last
    x, y, z = (corner + 0.5 + 2 * np.arange(n) for corner, n in zip(mni.MAP_CORNER, height.shape, strict=True))
    seeds = np.zeros(height.shape, np.uint8)
    for part, sides in SEEDS:
        within = [(axis >= low) & (axis <= high) for axis, (low, high) in zip((x, y, z), sides, strict=True)]
        box = np.ix_(*within)
        seeds[box] = np.where(inside[box] > 0.5, part, seeds[box])
    images = [sitk.GetImageFromArray(array) for array in (height, seeds)]
    return sitk.GetArrayFromImage(sitk.MorphologicalWatershedFromMarkers(*images, markWatershedLine=False))


def parts_of(shape, affine):
    """The part that each voxel of a grid in MNI space lies in, or is next to: uint8 [H, W, D], 1 + its index in PARTS.

    Args: shape: (H, W, D). affine: [4, 4], voxel to world, RAS+, mm. Left is where x < 0.
    """
    world = affine[:3, :3] @ np.indices(shape).reshape(3, -1) + affine[:3, 3:]
    labels = _template()
    voxels = np.rint((world - (mni.MAP_CORNER + 0.5)[:, None]) / 2).astype(int)
    voxels = np.clip(voxels, 0, np.array(labels.shape)[:, None] - 1)
    part, right = labels[tuple(voxels)], world[0] > 0
    names = np.select([part == CEREBRUM, part == CEREBELLUM], [1 + right, 3 + right], 5)
    return names.astype(np.uint8).reshape(shape)
