"""Put a lesion into a given head: where it can lie, what shape it has, what a scanner shows of it.

In: a head on the study grid, real or grown, and a lesion's share of each voxel. Out: the head with the lesion, and the
ground truth.

Its look follows from the relaxation times of the cohort's lesions (`contrast`) and the signal equation of a scanner, on
the scale of the head's own white matter and CSF. Nothing around it changes: no mass effect, no atrophy, no wider
ventricles.
"""

from functools import lru_cache

import numpy as np
from scipy import ndimage

from essim.cohort import mni, scanner
from essim.cohort.fields import smooth_noise

KINDS = ("ms", "stroke")
# The quantile of CSF among the voxels of the template's ventricles: a head with smaller ones has white matter there too
CSF_QUANTILE = {"t1": 0.1, "t2": 0.9, "flair": 0.1}
EDGE_MM = 1.0  # standard deviation of the blur that softens a mask's edge, about a scanner's point spread
NEAR_WHITE = (4, 0.2)  # MS: the template's white matter, smoothed by so many mm, has at least this share
WIDE_MM = 4  # half the width of CSF that isn't a sulcus
RIM_MM = 3.0  # around what has become a cavity
GRAIN = 3.0  # standard deviations of the noise: larger details are anatomy and are removed
STRETCH = 1.5  # the long axis of an ovoid over the others, at most
RAGGED = 0.15  # how far its surface strays, standard deviation over its radius


def voxel_of(image):
    """The voxel size of a volume on the study grid, 1, 2 or 4 mm; ValueError for one on another grid."""
    for voxel_mm in (1, 2, 4):
        if image.shape == mni.shape_of(voxel_mm):
            return voxel_mm
    raise ValueError(f"image: {list(image.shape)} isn't the study grid; bring scan and lesion there first.")


# Shape


def white_matter(voxel_mm):
    """The template's white matter as its share of the study grid's voxels: float32 [H, W, D]. Do not write into it."""
    return _template(voxel_mm)[0]


def places_for(image, brain, kind, contrast):
    """Where a lesion of a kind can lie, bool [H, W, D]; arguments and errors as in `plant`."""
    image = image.astype(np.float32)
    return _places(_water(image, *levels_of(image, brain, contrast)), brain, kind)


def radius_of(ml):
    """The radius in mm of a ball of so many ml."""
    return (750 * ml / np.pi) ** (1 / 3)


def draw_ovoid(centre, ml, places, rng):
    """One lesion's share of each voxel, float32 [H, W, D] in [0, 1]: a ragged ovoid of about `ml`, turned at random.

    Args: centre: a voxel's index (3). places: bool [H, W, D] on the study grid: the lesion stays within these, and
        where they cut it off it reaches farther elsewhere. rng: a numpy Generator.
    """
    voxel_mm, radius = voxel_of(places), radius_of(ml)
    axis, stretch = rng.standard_normal(3), rng.uniform(1, STRETCH)
    away = voxel_mm * (np.indices(places.shape, np.float32) - np.float32(centre)[:, None, None, None])
    along = np.tensordot(np.float32(axis / np.linalg.norm(axis)), away, 1)
    distance = np.sqrt(np.maximum((away**2).sum(0) - along**2, 0) + (along / np.float32(stretch)) ** 2)
    noise = smooth_noise(rng, mni.axes_of(voxel_mm), max(5, radius))
    level = -distance * np.maximum(1 + np.float32(RAGGED) * noise, np.float32(0.5))
    count = min(max(1, round(1000 * ml / voxel_mm**3)), int(places.sum()))
    edge = np.partition(level[places], -count)[-count]
    return np.clip(0.5 + (level - edge) / voxel_mm, 0, 1).astype(np.float32) * places


# Look


def plant(image, brain, lesion, kind, contrast, rng):
    """A head with a lesion.

    Args:
        image: float [H, W, D] on the study grid of 1, 2 or 4 mm, of any scale, stripped, without bias field.
        brain: bool. lesion: its share of each voxel, float or bool, in [0, 1]. kind: ms, which stays in white matter
            and at its border, or stroke, an old one: a cavity with a rim. contrast: t1, t2 or flair.
        rng: a numpy Generator, which draws the scanner and how severe the lesion is.

    Returns: (the image with the lesion, float32 [H, W, D] of the same scale, unchanged outside the brain; the ground
        truth, bool [H, W, D]: the voxels with the largest shares, as many as the lesion's volume, in the brain and
        without CSF, though sulci within a stroke count).

    Raises ValueError for another kind or grid, where white matter and CSF can't be told apart, or where nothing is left
        of the lesion.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}: take one of {', '.join(KINDS)}")
    voxel_mm = voxel_of(image)
    if not image.shape == brain.shape == lesion.shape:
        raise ValueError(f"lesion: {list(lesion.shape)} isn't the study grid; bring scan and lesion there first.")
    image, share = image.astype(np.float32), np.asarray(lesion, np.float32)
    white, csf = levels_of(image, brain, contrast)
    water = _water(image, white, csf)
    if kind == "ms":
        share = share * _near_white(voxel_mm)
    mask = _whole(share)
    truth = mask & _places(water, brain, kind)
    if not truth.any():
        raise ValueError("lesion: none of it lies where such a lesion can be in this brain; take a mask in MNI space.")
    cover = ndimage.gaussian_filter(share, EDGE_MM / voxel_mm) * (1 - water) * brain
    shares = {name: part * cover for name, part in _tissues(kind, mask, voxel_mm, rng).items()}
    shown = scanner.signals(rng, rng.choice(list(scanner.SITES.values())), contrast)
    # The other end of the scale is CSF; in FLAIR, which largely suppresses CSF, it is zero signal
    far, far_shown = (0, 0) if contrast == "flair" else (csf, shown["csf"])
    gain = (far - white) / (far_shown - shown["white"])
    looks = {name: white + gain * (shown[name] - shown["white"]) for name in shares}
    grain = _grain(image, brain & (_template(voxel_mm)[0] > 0.95))
    result = image + sum(part * (looks[name] + grain - image) for name, part in shares.items())
    return np.where(cover > 0, np.maximum(result, 0), image).astype(np.float32), truth


def _water(image, white, csf):
    """How much of each voxel is CSF already, float32 in [0, 1]; 0 up to grey matter."""
    return np.clip(2 * (image - white) / (csf - white) - 1, 0, 1)


def _near_white(voxel_mm):
    return _template(voxel_mm)[1] > NEAR_WHITE[1]


def _places(water, brain, kind):
    """`places_for`, from what is CSF."""
    fluid, voxel_mm = water >= 0.5, voxel_of(water)
    if kind == "ms":
        return brain & ~fluid & _near_white(voxel_mm)
    # raters who outline an old infarct include its sulci, but not the ventricles
    return brain & ~ndimage.binary_opening(fluid, iterations=WIDE_MM // voxel_mm)


def _whole(share):
    """The voxels with the largest shares, as many as its volume; in a thin lesion fewer are above one half."""
    count = max(1, round(float(share.sum())))
    return (share >= np.partition(share, -count, axis=None)[-count]) & (share > 0)


def levels_of(image, brain, contrast):
    """The levels of a head's white matter and CSF: arguments as in `plant`, whose ValueError it raises."""
    white_share, _, ventricles = _template(voxel_of(image))
    tissue, fluid = image[brain & (white_share > 0.95)], image[brain & ventricles]
    white, csf = (np.quantile(v, q) if len(v) else 0.0 for v, q in ((tissue, 0.5), (fluid, CSF_QUANTILE[contrast])))
    if not (csf > white if contrast == "t2" else csf < white):
        raise ValueError(f"image: white matter and CSF don't look like {contrast}; bring it to study space first.")
    return np.float32(white), np.float32(csf)


@lru_cache(maxsize=1)
def _template(voxel_mm):
    """The template's white matter as it is and smoothed, and where its ventricles are; each [H, W, D]."""
    tissue, guide, _ = mni.load_maps(voxel_mm)
    world, shape = mni.world_of(voxel_mm).reshape(3, -1), mni.shape_of(voxel_mm)
    white = mni.sample(tissue, world, mni.MAP_CORNER, 1)[1].reshape(shape)
    ventricle = mni.sample(guide, world, mni.MAP_CORNER + 0.5, 2)[1].reshape(shape)
    return white, ndimage.gaussian_filter(white, NEAR_WHITE[0] / voxel_mm), ventricle < 0


def _tissues(kind, mask, voxel_mm, rng):
    """{tissue: its share of the lesion [H, W, D]}, varied like the cohort's lesions."""
    severe = rng.uniform(0.75, 1.0)
    coarse, fine = (smooth_noise(rng, mni.axes_of(voxel_mm), mm) for mm in (10, 5))
    varied = np.clip(severe * (1 + 0.12 * coarse + 0.08 * fine), 0, 1)
    if kind == "ms":
        return {"ms": varied}
    inside = (ndimage.distance_transform_edt(mask) - 0.5) * voxel_mm  # from the edge, not the next voxel's centre
    cavity = np.clip(inside / RIM_MM - 0.3 + 0.4 * coarse, 0, 1)
    return {"rim": varied * (1 - cavity), "cavity": cavity}


def _grain(image, white):
    """The noise and fine texture of a head: what a blur takes away, no larger than white matter's own."""
    detail = image - ndimage.gaussian_filter(image, 1.0)
    limit = GRAIN * 1.48 * np.median(np.abs(detail[white]))
    return np.clip(detail, -limit, limit)
