"""Transplants: lesions of real patients in the heads of real healthy people, a test set that is half real.

In: healthy scans in study space, and a folder of lesion masks in MNI space. Out: a folder of scans with the truth about
them and their table, which `essim.load_scans` reads as one's own. Not in the paper.

Where a lesion lies, its shape and the head around it are real; what it looks like follows from the relaxation times of
the cohort's lesions and the signal equation of a scanner (`essim.cohort`), on the scale of the head's own white matter
and CSF. Nothing around it has changed: no mass effect, no atrophy, no wider ventricles.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from nibabel.affines import apply_affine
from scipy import ndimage
from tqdm import tqdm

from essim.cohort import mni, scanner
from essim.cohort.fields import smooth_noise
from essim.data.volumes import read_labels, read_scan, save_nifti
from essim.evaluation.cases import widest_slice
from essim.runs.files import writing

KINDS = ("ms", "stroke")
# Where CSF stands among the voxels of the template's ventricles: a head with smaller ones has white matter there, too
CSF_QUANTILE = {"t1": 0.1, "t2": 0.9, "flair": 0.1}
EDGE_MM = 1.0  # standard deviation of what softens a mask's edge, about a scanner's point spread
NEAR_WHITE = (4, 0.2)  # MS: the least share of the template's white matter, smoothed by so many mm
WIDE_MM = 4  # half the width of CSF that isn't a sulcus
RIM_MM = 3.0  # around what has become a cavity
GRAIN = 3.0  # standard deviations of the noise: larger details are anatomy, and go


# One patient


def read_lesion(path, voxel_mm):
    """A lesion mask in MNI space as its share of the voxels of the study grid: float32 [H, W, D] in [0, 1].

    `voxel_mm` is 1, 2 or 4. Raises FileNotFoundError and ValueError as `read_labels`, ValueError where it is empty.
    """
    labels, grid = read_labels(path)
    lesion, shape = (labels > 0).astype(np.float32), np.array(mni.shape_of(1))
    if not lesion.any():
        raise ValueError(f"{path}: the lesion mask is empty; leave it out.")
    # Only the box around the lesion is resampled, and the voxel beside it that interpolation reaches
    place = np.linalg.inv(mni.affine_of(1)) @ grid.affine
    ends, reach = apply_affine(place, np.argwhere(lesion)), np.abs(place[:3, :3]).sum(1)
    low = np.floor(ends.min(0) - reach).clip(0, shape - 1).astype(int)
    high = np.ceil(ends.max(0) + reach + 1).clip(1, shape).astype(int)
    back, fine, box = np.linalg.inv(place), np.zeros(shape, np.float32), tuple(map(slice, low, high))
    fine[box] = ndimage.affine_transform(lesion, back[:3, :3], apply_affine(back, low), tuple(high - low), order=1)
    sides = [part for side in mni.shape_of(voxel_mm) for part in (side, voxel_mm)]
    return fine.reshape(sides).mean((1, 3, 5))


def transplant(image, brain, lesion, kind, contrast, rng):
    """A healthy head with somebody else's lesion.

    Args:
        image: float [H, W, D] on the study grid of 1, 2 or 4 mm, of any scale, stripped, without bias field.
        brain: bool. lesion: its share of each voxel, float or bool, in [0, 1]. kind: ms, which stays in white matter
            and at its border, or stroke, an old one: a cavity with a rim. contrast: t1, t2 or flair.
        rng: a numpy Generator, which draws the scanner, how severe the lesion is, and whether it changes sides.

    Returns: (the image with the lesion, float32 [H, W, D] of the same scale, unchanged outside the brain; the truth,
        bool [H, W, D]: the voxels with the largest shares, as many as the lesion's volume, in the brain and without
        CSF; but sulci within a stroke count).

    Raises ValueError for another kind or grid, where white matter and CSF can't be told apart, or nothing is left of
        the lesion.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}: take one of {', '.join(KINDS)}")
    voxel_mm = mni.CANVAS_MM[0] // image.shape[0]
    if not image.shape == brain.shape == lesion.shape == mni.shape_of(voxel_mm):
        raise ValueError(f"image: {list(image.shape)} isn't the study grid; bring scan and lesion there first.")
    image, share = image.astype(np.float32), np.asarray(lesion, np.float32)
    share = share[::-1] if rng.random() < 0.5 else share  # the middle of the grid is that of the head
    white, csf = levels_of(image, brain, contrast)
    water = np.clip(2 * (image - white) / (csf - white) - 1, 0, 1)  # what is CSF already; 0 up to grey matter
    if kind == "ms":
        share = share * (_template(voxel_mm)[1] > NEAR_WHITE[1])
    fluid = water >= 0.5
    if kind == "stroke":  # whoever outlines an old infarct counts its sulci in, but no ventricle
        fluid = ndimage.binary_opening(fluid, iterations=WIDE_MM // voxel_mm)
    mask = _whole(share)
    truth = mask & brain & ~fluid
    if not truth.any():
        raise ValueError("lesion: none of it lies where it can be in this brain; take a mask in MNI space.")
    cover = ndimage.gaussian_filter(share, EDGE_MM / voxel_mm) * (1 - water) * brain
    shares = {name: part * cover for name, part in _tissues(kind, mask, voxel_mm, rng).items()}
    shown = scanner.signals(rng, rng.choice(list(scanner.SITES.values())), contrast)
    # CSF is the other end of the scale; in FLAIR, which suppresses it more or less, no signal at all
    far, far_shown = (0, 0) if contrast == "flair" else (csf, shown["csf"])
    gain = (far - white) / (far_shown - shown["white"])
    looks = {name: white + gain * (shown[name] - shown["white"]) for name in shares}
    grain = _grain(image, brain & (_template(voxel_mm)[0] > 0.95))
    result = image + sum(part * (looks[name] + grain - image) for name, part in shares.items())
    return np.where(cover > 0, np.maximum(result, 0), image).astype(np.float32), truth


def _whole(share):
    """The voxels with the largest shares, as many as its volume; those above one half are fewer, where it's thin."""
    count = max(1, round(float(share.sum())))
    return (share >= np.partition(share, -count, axis=None)[-count]) & (share > 0)


def levels_of(image, brain, contrast):
    """The levels of a head's white matter and CSF: arguments as in `transplant`, whose ValueError it raises."""
    white_share, _, ventricles = _template(mni.CANVAS_MM[0] // image.shape[0])
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
    """{tissue: its share of the lesion [H, W, D]}, varied as the cohort's lesions are."""
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


# A test set


def make_transplants(scans, masks, kind, out, patients, seed):
    """Write a test set of `patients` half-real patients into the folder `out`, whole or not at all.

    Args: scans: rows of a scan table, healthy, one contrast, in study space. masks: a folder of lesion masks in MNI
        space (NIfTI), one a patient. kind: as in `transplant`, and the name of the set.

    Heads and masks are dealt out like cards, each pack shuffled anew when it is used up: patient i is a function of
    (seed, i), however many there are.

    Returns: the scan table of `out` (scans.csv in it, whose paths are relative): the columns of a table of one's own,
        `person` being the head, with `lesion`, the name of the mask, and `ignore`.

    Raises FileNotFoundError where files are missing; ValueError as `transplant`, naming the files.
    """
    out, files = Path(out), sorted(Path(masks).glob("*.nii*"))
    if not files:
        raise FileNotFoundError(f"{masks}: has no NIfTI files; give the folder of the masks.")
    if not len(scans) or scans.subject.duplicated().any():
        raise ValueError("scans: each healthy subject must come once; keep one contrast of the table.")
    heads, numbers = scans.to_dict("records"), tqdm(range(patients), desc=f"transplants, {kind}", unit="patient")
    with writing(out) as folder:
        folder.mkdir()
        rows = [_write(folder, heads, files, kind, seed, number) for number in numbers]
        pd.DataFrame(rows).to_csv(folder / "scans.csv", index=False)
    table = pd.read_csv(out / "scans.csv", keep_default_na=False, dtype={"subject": str, "person": str})
    return table.assign(**{role: [str(out / path) for path in table[role]] for role in ("image", "mask", "seg")})


def _write(folder, heads, files, kind, seed, number):
    """Make one patient: its row, with paths below `folder`."""
    head, file = (pack[_dealt(seed, i, number, len(pack))] for i, pack in enumerate((heads, files)))
    image, brain, _, affine = read_scan(head)
    voxel_mm = round(affine[0, 0])
    if voxel_mm not in (1, 2, 4) or not np.allclose(affine, mni.affine_of(voxel_mm), atol=1e-3):
        raise ValueError(f"{head['image']}: isn't on the study grid; bring it there (python -m essim.prepare).")
    lesion, rng = read_lesion(file, voxel_mm), np.random.default_rng([seed, KINDS.index(kind), number])
    try:
        image, truth = transplant(image, brain, lesion, kind, head["contrast"], rng)
    except ValueError as error:
        raise ValueError(f"{file} in {head['image']}: {error}") from error
    name = f"{kind}{number:04d}"
    paths = {role: f"{name}_{role}.nii.gz" for role in ("image", "mask", "seg")}
    for path, array in zip(paths.values(), (image, brain, truth), strict=True):
        save_nifti(folder / path, array, affine)
    about = {"dataset": kind, "subject": name, "split": "test", "contrast": head["contrast"]}
    known = {key: head.get(key, "") for key in ("age", "sex", "site")}
    return about | paths | known | {"person": head["subject"], "lesion": file.name, "ignore": ""}


def _dealt(seed, pack, number, count):
    """Which of `count` cards of a pack the patient of this number gets."""
    return np.random.default_rng([seed, pack, number // count]).permutation(count)[number % count]


def look_at(row, scans):
    """What was done to one head, a row of `make_transplants` made from `scans`: (before, after, truth), the slices
    [H, W] that show most of the lesion, scaled to [0, 1] alike, the truth bool."""
    healthy, _, _, _ = read_scan(scans[scans.subject == row["person"]].iloc[0])
    image, brain, truth, _ = read_scan(row)
    low, high = np.percentile(healthy[brain], (1, 99))
    place = widest_slice(truth)
    before, after = (((v - low) / (high - low) * brain)[..., place].clip(0, 1) for v in (healthy, image))
    return before, after, truth[..., place] > 0
