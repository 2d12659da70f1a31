"""Real anatomies to grow heads from: the tissues of healthy people, as maps like those of the template.

In: a folder that `python -m essim.prepare` wrote at 1 mm. Out: for each healthy training subject what `mni.load_maps`
gives for the template: tissue, guide and aging. Folds and folia are then a real person's.
Paper: expectation maximisation with a spatial prior, Ashburner & Friston, NeuroImage 26, 2005; mixed voxels as classes
of their own, Tohka et al., NeuroImage 23, 2004.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

from essim.cohort import mni
from essim.data.prepared import is_prepared, read_splits
from essim.runs.files import writing

PRIOR_MM = 4  # the template is smoothed by this: the scan says where a fold lies
FLOOR = 0.02  # no tissue is ruled out anywhere
EDGE_MM = 3  # skull stripping leaves dura and dark voxels this near to the mask's edge: nothing is learned from them
STEPS = 20  # of expectation maximisation: the means have settled to a hundredth
MIXED = ((0, 1), (1, 2))  # the tissues that share voxels: csf and grey, grey and white
REACH_MM = 8  # how far a person's ventricles reach beyond the template's


# Whose anatomies, and their maps


def find_anatomies(folder):
    """The T1w scans and masks of a prepared folder's healthy training subjects (first fold): pairs of paths, by name.

    Raises ValueError where the folder isn't a prepared one or has no such scan, and what `read_splits` raises.
    """
    if not is_prepared(folder):
        raise ValueError(f"{folder}: isn't a prepared folder; make one with `python -m essim.prepare SOURCE {folder}`.")
    healthy = [group for *part, group in read_splits(folder, 0) if part == ["healthy", "train"]][0]
    found = [(s["images"]["t1"], Path(s["mask"])) for s in healthy if "t1" in s["images"]]
    if not found:
        raise ValueError(f"{folder}: has no healthy training subject with a T1w scan; prepare a source that has some.")
    return sorted(found, key=lambda paths: paths[0].name)


def digest_of(t1, mask):
    """Hash of a subject's two files and of the source that makes maps from them: these decide the maps."""
    digest = hashlib.sha256()
    for path in (t1, mask, __file__, mni.__file__):
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()


@lru_cache(maxsize=2)
def load_anatomy(t1, mask, cache, voxel_mm=2):
    """A person's maps (tissue, guide, aging), as `mni.load_maps` has the template's: same shapes, units and type.

    `t1` and `mask` are paths, from `find_anatomies`. Texture is 0, and so is `individual`: these folds are already a
    person's own. The tissues are kept in the folder `cache`, if there is one, and read from it the next time. The grids
    of study and maps lie half a voxel apart; the head is moved by that (0.5 mm along each axis) rather than blurred.
    Cached: do not write into the maps.

    Raises ValueError, naming the file, where a scan isn't in study space at 1 mm or doesn't look like T1w.
    """
    kept = Path(cache or "") / f"{digest_of(t1, mask)}.npz"
    if cache and kept.is_file():
        with np.load(kept) as arrays:
            brain, tissue = arrays["brain"], arrays["tissue"]
    else:
        brain = _read(mask) > 0
        try:
            tissue = np.rint(255 * segment(_read(t1), brain)[..., 1:]).astype(np.uint8)
        except ValueError as error:
            raise ValueError(f"{t1}: {error}") from error
        if cache:
            with writing(kept) as temporary:
                np.savez_compressed(temporary, brain=brain, tissue=tissue)
    tissue = tissue / np.float32(255)
    csf = np.clip(brain - tissue.sum(-1), 0, 1)
    near = mni.load_maps(voxel_mm)[1][..., 1] < REACH_MM
    surface, ventricle, aging = mni.landmarks(csf, brain, near)
    guide = np.stack([surface, ventricle, np.zeros_like(surface)], -1).astype(np.float32)
    # As smooth as the template's; the scan's own voxels of 1 mm have done a part of it.
    sigma = 0.35 * np.sqrt(voxel_mm**2 - 1)
    grey, white = (ndimage.gaussian_filter(tissue[..., i], sigma) for i in range(2))
    return np.stack([grey, white, np.zeros_like(grey)], -1), guide, aging


def _read(path):
    """A volume in study space at 1 mm, float32, placed in the box of the maps [168, 200, 168]."""
    image = nibabel.load(path)
    if image.shape != mni.shape_of(1) or not np.allclose(image.affine, mni.affine_of(1), atol=1e-3):
        raise ValueError(f"{path}: isn't in study space at 1 mm; prepare it with --voxel 1 and the MNI152 template.")
    low = (np.array(mni.CORNER_MM) - mni.MAP_CORNER).astype(int)
    pad = [(a, full - side - a) for a, full, side in zip(low, mni.MAP_SHAPE, mni.CANVAS_MM, strict=True)]
    return np.pad(np.asarray(image.dataobj, np.float32), pad)


# Tissues of a scan


def segment(image, mask):
    """Fractions of csf, grey and white matter, float32 [168, 200, 168, 3]: their sum is 1 inside `mask`, 0 outside.

    `image` is a T1w scan of any scale, stripped, bias-corrected and placed affinely, on the grid of the template's maps
    [168, 200, 168]; `mask` bool. Five Gaussians are fitted: one per tissue, all with the noise's variance, and the two
    mixtures. Raises ValueError where the tissues don't come out in the order of T1w, dark to bright.
    """
    coarse = tuple(slice(None, None, 2) for _ in range(3))  # an eighth of the voxels shows what the tissues look like
    inside = ndimage.binary_erosion(mask, iterations=EDGE_MM)[coarse]
    values, prior = image[coarse][inside].astype(np.float32), _prior()[coarse][inside]
    belief = prior**3
    for _ in range(STEPS if inside.any() else 0):
        pure = belief[:, :3]
        mean = values @ pure / pure.sum(0)
        variance = ((values[:, None] - mean) ** 2 * pure).sum() / pure.sum()
        belief = _believe(values, prior, mean, variance)
    if not inside.any() or not mean[0] < mean[1] < mean[2]:
        raise ValueError("csf, grey and white matter can't be told apart; take a T1w scan and the mask of its brain.")
    values, result = image[mask].astype(np.float32), np.zeros((*mask.shape, 3), np.float32)
    belief = _believe(values, _prior()[mask], mean, variance)
    fractions = belief[:, :3]
    for (a, b), mixed in zip(MIXED, belief[:, 3:].T, strict=True):
        share = np.clip((values - mean[a]) / (mean[b] - mean[a]), 0, 1)
        fractions[:, a] += mixed * (1 - share)
        fractions[:, b] += mixed * share
    result[mask] = fractions
    return result


def _believe(values, prior, mean, variance):
    """Probabilities [n, 5] of tissues and mixtures. A mixture lies where both may, evenly between their means."""
    pairs = [(mean[a], mean[b]) for a, b in MIXED]
    prior = np.concatenate([prior, *(np.sqrt(prior[:, [a]] * prior[:, [b]]) for a, b in MIXED)], 1)
    mean = np.append(mean, [(a + b) / 2 for a, b in pairs])
    variance = np.append([variance] * 3, [variance + (a - b) ** 2 / 12 for a, b in pairs])
    away = (values[:, None] - mean) ** 2 / variance
    likely = prior * np.exp((away.min(1, keepdims=True) - away) / 2) / np.sqrt(variance)
    return (likely / likely.sum(1, keepdims=True)).astype(np.float32)


@lru_cache(maxsize=1)
def _prior():
    """The template's csf, grey and white matter [168, 200, 168, 3], smoothed; their sum is 1 everywhere."""
    _, _, grey, white = mni.read_files()
    grey, white = (ndimage.gaussian_filter(v, PRIOR_MM) for v in (grey, white))
    prior = np.stack([np.maximum(1 - grey - white, 0), grey, white], -1) + np.float32(FLOOR)
    return prior / prior.sum(-1, keepdims=True)
