"""The MNI152 2009a brain as maps to grow heads from, and the study grid around it.

In: the files that nilearn ships (T1w template, grey- and white-matter maps, brain mask; Fonov et al., NeuroImage 54,
2011); nothing is downloaded. Out: float32 maps, trilinear samples of them, grid coordinates. World coordinates are MNI,
RAS+, mm; volumes are [H, W, D] with D axial.
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

try:
    from essim.kernels import sampling
except ImportError:  # no numba: numpy and scipy give the same bits, more slowly
    sampling = None

FILE = "datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"  # in nilearn's folder
BRAIN = 0.2  # of the template's largest value: what is brighter is brain, as in nilearn
CANVAS_MM = (160, 192, 160)  # the box cut around the brain, ...
CORNER_MM = (-80.0, -113.0, -75.0)  # ... and its lower corner in MNI space
TEMPLATE_ORIGIN = np.array([-98, -134, -72])  # world position of voxel (0, 0, 0) of the MNI files
MAP_CORNER, MAP_SHAPE = np.array([-84, -116, -80]), (168, 200, 168)  # the part that is kept, zero-padded


def shape_of(voxel_mm):
    """Voxels of the study grid: (80, 96, 80) at 2 mm."""
    return tuple(side // voxel_mm for side in CANVAS_MM)


def affine_of(voxel_mm):
    """Voxel to world [4, 4] in mm, RAS+, voxel centres."""
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = np.array(CORNER_MM) + voxel_mm / 2
    return affine


def axes_of(voxel_mm):
    """World coordinates of the voxel centres along each axis, mm."""
    return [c + voxel_mm * (np.arange(n) + 0.5) for c, n in zip(CORNER_MM, shape_of(voxel_mm), strict=True)]


def world_of(voxel_mm):
    """World coordinates of the voxel centres, float32 [3, H, W, D], mm."""
    return np.stack(np.meshgrid(*axes_of(voxel_mm), indexing="ij")).astype(np.float32)


@lru_cache(maxsize=4)
def load_maps(voxel_mm=2):
    """The MNI152 maps (tissue, guide, aging), float32. Cached: do not write into them.

    tissue, at 1 mm [168, 200, 168, 3]: grey, white (smoothed to the study's voxel size) and texture, the T1w minus what
    the fractions explain. guide, at 2 mm [84, 100, 84, 3]: signed distance to the brain's surface (mm, positive
    inside), to the ventricles (mm, negative inside), and `individual`, 0 in deep grey nuclei and brain stem, 1 in
    cortex. aging, at 2 mm [84, 100, 84, 6]: two pull-back fields of at most 1 mm, the first widens the ventricles, the
    second the sulci.
    """
    brain, t1, grey, white = read_files()
    csf = np.clip(brain - grey - white, 0, 1)
    design = np.stack([fraction[brain] for fraction in (csf, grey, white)], 1).astype(np.float64)
    texture = np.zeros_like(t1)
    texture[brain] = t1[brain] - design @ np.linalg.solve(design.T @ design, design.T @ t1[brain])
    tissue = np.stack([ndimage.gaussian_filter(v, 0.35 * voxel_mm) for v in (grey, white, texture)], -1)

    surface, ventricle, aging = landmarks(csf, brain)
    x, y, z = _coarse_axes()
    deep = np.sqrt((x / 34) ** 2 + ((y + 14) / 38) ** 2 + ((z - 6) / 24) ** 2)
    stem = np.maximum(np.abs(x) / 20, np.abs(y + 30) / 19) + np.maximum(z + 8, 0) / 10
    individual = 1 / (1 + np.exp(-12 * (np.minimum(deep, stem) - 1)))
    return tissue, np.stack([surface, ventricle, individual], -1).astype(np.float32), aging


def landmarks(csf, brain, near=True):
    """What lies where in a brain, from its CSF (share of each voxel) and mask at 1 mm [168, 200, 168].

    Returns, at 2 mm and as `load_maps` describes them: distances to the surface and to the ventricles [84, 100, 84] in
    mm, and the aging fields [84, 100, 84, 6]. `near` bool [84, 100, 84] is where the ventricles may be; True: anywhere.
    """
    csf, brain = (v.reshape(84, 2, 100, 2, 84, 2).mean((1, 3, 5), dtype=np.float32) for v in (csf, brain))
    surface = _signed_distance(ndimage.binary_closing(brain > 0.5, iterations=2))
    ventricle = -_signed_distance(_ventricles(csf * near, surface, *_coarse_axes()))
    aging = (_towards(ventricle < 0, 3), _towards(csf * (surface > -1) * (ventricle > 6), 1.3))
    return surface, ventricle, np.concatenate(aging, -1)


def _coarse_axes():
    """World coordinates of the maps' voxels of 2 mm, three arrays to be broadcast."""
    return [c + 0.5 + 2 * a.astype(np.float32) for c, a in zip(MAP_CORNER, np.ogrid[:84, :100, :84], strict=True)]


def read_files():
    """Brain mask (bool), T1w, grey and white matter at 1 mm [168, 200, 168], zero outside the brain."""

    def read(kind):
        volume, _ = read_file(kind)
        cut = MAP_CORNER - TEMPLATE_ORIGIN  # negative at the bottom: padded
        volume = volume[cut[0] : cut[0] + MAP_SHAPE[0], cut[1] : cut[1] + MAP_SHAPE[1]]
        return np.pad(volume, ((0, 0), (0, 0), (-cut[2], 0)))[:, :, : MAP_SHAPE[2]]

    maps = [read(kind) for kind in ("t1", "gm", "wm")]
    brain = maps[0] > BRAIN
    return brain, *(volume * brain for volume in maps)


def read_file(kind):
    """One of the files, "t1", "gm" or "wm", float32 at 1 mm from 0 to 1, and its affine: what nilearn's own functions
    give. They aren't used, since importing nilearn.datasets takes two seconds."""
    image = nib.load(Path(find_spec("nilearn").origin).parent / FILE.format(kind))
    volume = np.asarray(image.dataobj).astype(np.float32)
    return volume / volume.max(), image.affine


def _signed_distance(inside):
    """Distance (mm) to the border of a binary volume at 2 mm, positive inside."""
    inner, outer = ndimage.distance_transform_edt(inside), ndimage.distance_transform_edt(~inside)
    return ndimage.gaussian_filter(2 * (inner - outer) - np.where(inside, 1.0, -1.0), 0.6)


def _ventricles(csf, surface, x, y, z):
    """The lateral and third ventricles, binary: deep CSF without cisterns and fissures."""
    side = np.abs(x)
    lateral = (side > 2) & (side < np.where(y > -22, 24, 42)) & (y > -75) & (y < 40) & (z > -6) & (z < 34)
    lateral = lateral & ~((side < 12) & (y < -34))
    third = (side <= 4) & (y > -28) & (y < 6) & (z > -10) & (z < 16)
    labels, _ = ndimage.label((csf > 0.5) & (surface > 18) & (lateral | third), np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return (sizes > 40)[labels]


def _towards(target, sigma):
    """Pull-back field [..., 3] that widens `target`: it points towards it, length at most 1 mm."""
    smooth = ndimage.gaussian_filter(target.astype(np.float32), sigma)
    gradient = np.stack(np.gradient(smooth), -1).astype(np.float32)
    return gradient / np.sqrt((gradient**2).sum(-1)).max()


def sample(maps, world, corner, spacing_mm):
    """Trilinear values [C, n] of maps [H, W, D, C] at points [3, n] in mm, float32; border values outside.

    `corner` is where the first voxel's centre lies, `spacing_mm` a voxel's side. In numpy, all channels of a corner are
    fetched at once, for as many points as the cache holds: faster than one `map_coordinates` per channel.
    """
    if sampling:
        return sampling.linear_at(maps, world, corner, spacing_mm)
    size, channels = maps.shape[:3], maps.shape[3]
    strides, flat = (size[1] * size[2], size[2], 1), maps.reshape(-1, channels)
    out = np.zeros((channels, world.shape[1]), np.float32)
    for start in range(0, world.shape[1], 32768):
        block = slice(start, start + 32768)
        index, weights = 0, []
        for place, low_corner, n, stride in zip(world[:, block], corner, size, strides, strict=True):
            place = np.clip((place - np.float32(low_corner)) / np.float32(spacing_mm), 0, n - 1.001)
            low = place.astype(np.intp)
            part = (place - low).astype(np.float32)
            index = index + low * stride
            weights.append((1 - part, part))
        for i, j, k in np.ndindex(2, 2, 2):
            weight = weights[0][i] * weights[1][j] * weights[2][k]
            values = flat.take(index + (i * strides[0] + j * strides[1] + k), 0, mode="clip")
            for channel in range(channels):
                out[channel, block] += weight * values[:, channel]
    return out
