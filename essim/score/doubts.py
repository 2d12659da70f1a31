"""Reasons to doubt a scored scan: numbers, each with its usual range, what it means to be outside, and what to do.

In: a scan on its own grid and in study space, its reconstruction and map, the `Recipe` of its model. Out: {name:
number}, and those outside their usual range as doubts.

A check is a `Rule`, and a line of `measure`. Healthy grown heads and public real ones, of healthy controls and of
patients, lie within `usual`. Outside `bearable`, what lies above the threshold says more about the scan than about the
brain: no segmentation is written, unless the user insists.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
import SimpleITK as sitk
from nibabel.affines import voxel_sizes
from scipy import ndimage

from essim.cohort import mni
from essim.data.looks import look_of, strangeness
from essim.prepare import align
from essim.score.regions import PARTS, parts_of

AIR = -500  # Hounsfield units; MR scans whose brain is above 0 hold no such value
AROUND_MM = 8  # tolerance around the template's brain: people differ by as much
SURE, SURE_GREY = 0.95, 0.8  # shares of white and grey matter above which a voxel of the template is pure
INSIDE_MM = 2  # this deep in the ventricles, a voxel is pure CSF
T1_STEP = 0.1  # of the brain's range: in T1, but not in FLAIR, white matter is brighter than grey by this


@dataclass(frozen=True)
class Rule:
    """The ranges (from, to) in which a number is usual, and bearable; `means`, a sentence about it, and `do`, the way
    out, both formatted with `number` and whatever else `measure` returns."""

    usual: tuple
    bearable: tuple
    means: str
    do: str


CALIBRATE = "Calibrate the model with a few healthy scans of this scanner (essim calibrate), or look only at the map."
RULES = {
    "air": Rule(
        (0, 0.01),
        (0, 0.01),
        "{number:.0%} of the voxels lie below -500, as air does in Hounsfield units: this looks like CT.",
        "Give a magnetic resonance scan.",
    ),
    "contrast": Rule(
        (0, inf),
        (-0.03, inf),
        "White matter, grey matter and ventricles look like {looks_like}, not like {said}.",
        "Check the scan's placement in the overview; if it is right, give another --contrast.",
    ),
    "brain_ml": Rule(
        (900, 2200),
        (700, 2600),
        "The brain mask holds {number:.0f} ml: the network knows adult brains, of 900 to 2,200 ml.",
        "Give the mask of this brain; neither children nor animals can be scored.",
    ),
    "overlap": Rule(
        (0.85, 1),
        (0.75, 1),
        "Brain and template overlap by only {number:.2f} (Dice): the scan may be misplaced, turned, or cut.",
        "Look at the overview; correct the scan's header or its brain mask.",
    ),
    "mask_beyond": Rule(
        (0, 0.02),
        (0, 0.1),
        "{number:.0%} of the brain mask lies where there is no brain: it may hold skull, eyes or neck.",
        "Draw the mask tighter.",
    ),
    "mask_missing": Rule(
        (0, 0.02),
        (0, 0.15),
        "{number:.0%} of the inner brain lies outside the mask and is not scored.",
        "Draw the mask wider.",
    ),
    "cut": Rule(
        (0, 0.02),
        (0, 0.25),
        "{number:.0%} of the brain lies outside the scan's field of view and is not scored.",
        "Take a scan of the whole brain, or bear in mind what is missing.",
    ),
    "voxel_mm": Rule(
        (0, 3.1),
        (0, 7),
        "Voxels are {number:.1f} mm long: anything smaller is blurred, and slices in between are interpolated.",
        "Take a scan with slices of 3 mm or less.",
    ),
    "residual": Rule(
        (0, 1.5),
        (0, 2.5),
        "Where nothing is marked, scan and reconstruction differ {number:.1f} times as much as in healthy scans.",
        CALIBRATE,
    ),
    "tone": Rule(
        (0, 0.08),
        (0, 0.2),
        "Tissues are {number:.2f} brighter or darker (on a scale of 0 to 1) than in any healthy scan the model knows.",
        CALIBRATE,
    ),
    "texture": Rule(
        (0, 0.5),
        (0, 2),
        "Detail is finer or coarser by {number:.1f} octaves than in healthy scans: noise, blur, or a resampled scan.",
        CALIBRATE,
    ),
    "marked": Rule(
        (0, 0.12),
        (0, 0.25),
        "{number:.0%} of the brain is marked: more likely another scanner, contrast or mask than a lesion.",
        CALIBRATE,
    ),
    "marked_part": Rule(
        (0, 0.1),
        (0, 0.5),
        "{number:.0%} of the {part} is marked{aside}; {promised}.",
        "Lesions are seldom alike on both sides: check whether this is one.",
    ),
}


def measure(volumes, affine, placed, template, study, healthy, anomaly, recipe, about):
    """{name of a check: its number, None if it can't be known}, and what else the sentences need.

    Args:
        volumes, affine: the scored scan on its own grid, as `native.bring_back` gives it.
        placed, template: as in `registration`; where each tissue lies is known only in MNI152.
        study: the preprocessed `Scan`. healthy, anomaly: on its grid, the
            reconstruction in [0, 1] and the post-processed map. recipe: the model's `Recipe`.
        about: a mapping with `threshold`, of the segmentation, and `share`, of healthy voxels above it, or None.
    """
    marked = anomaly > about["threshold"]
    rest = study.mask & ~marked if (study.mask & ~marked).any() else study.mask
    difference = np.abs(study.image - healthy)[rest].mean(dtype=float)
    numbers = {"air": float((volumes["image"] < AIR).mean()), "overlap": placed.dice}
    numbers |= {"brain_ml": float(volumes["brain"].sum() * align.voxel_ml(affine))}
    numbers |= {"voxel_mm": float(voxel_sizes(affine).max()), "residual": float(difference / recipe.residual)}
    numbers |= strangeness(look_of(study.image, study.mask), {"tone": recipe.tone, "texture": recipe.texture})
    numbers |= _mask_and_view(volumes["image"].shape, affine, placed, template)
    numbers |= {"marked": float(marked[study.mask].mean())} | dict.fromkeys(("contrast", "marked_part"))
    if not template.standard:
        return numbers | {"by_part": {}}
    return numbers | _contrast(study, recipe.contrast) | _marked(marked, study, about["share"])


def doubts(numbers, notes=()):
    """The doubts that follow from `measure`, those that stop the segmentation first, else as in RULES: dicts of

        name, number; usual (range), means and do: texts; stops: whether it stops the segmentation

    notes: as in `registration.Placed`, what the files leave open.
    """
    files = {"name": "files", "usual": "nothing open", "do": "Look at the overview.", "stops": False}
    found = [files | {"number": trust, "means": f"{note[0].upper()}{note[1:]}."} for note, trust in notes]
    for name, rule in RULES.items():
        number, (low, high) = numbers[name], rule.usual
        if number is not None and not low <= number <= high:
            usual = f"{low:g} or more" if high == inf else f"{low:g} to {high:g}"
            texts = {key: getattr(rule, key).format(number=number, **numbers) for key in ("means", "do")}
            stops = not rule.bearable[0] <= number <= rule.bearable[1]
            found.append({"name": name, "number": number, "usual": usual} | texts | {"stops": stops})
    return sorted(found, key=lambda doubt: not doubt["stops"])


def _marked(marked, study, share):
    """The share marked in each part, and in the part where it is highest."""
    parts = parts_of(study.mask.shape, study.affine)
    shares = {name: marked[study.mask & (parts == i)] for i, name in enumerate(PARTS, 1)}
    shares = {name: float(voxels.mean()) for name, voxels in shares.items() if voxels.size}
    part = max(shares, key=shares.get)
    other = part.replace("left", "right") if "left" in part else part.replace("right", "left")
    aside = "" if other not in shares or other == part else f", {shares[other]:.0%} on the other side"
    promised = f"the threshold promises {share:.0%} in healthy brains" if share else "the threshold promises nothing"
    return {"marked_part": shares[part], "by_part": shares, "part": part, "aside": aside, "promised": promised}


def _mask_and_view(shape, affine, placed, template):
    """How brain mask and field of view lie over the template's brain."""
    voxels = max(1, round(AROUND_MM / voxel_sizes(placed.affine)[0]))
    wide, deep = (
        change(template.brain, iterations=voxels) for change in (ndimage.binary_dilation, ndimage.binary_erosion)
    )
    seen = align.to_sitk(np.ones(shape, np.uint8), affine)
    grid, to_scan = align.to_sitk(placed.mask.astype(np.uint8), placed.affine), placed.transform
    seen = align.from_sitk(sitk.Resample(seen, grid, to_scan, sitk.sitkNearestNeighbor, 0))[0] > 0
    beyond, missing = placed.mask & ~wide, deep & seen & ~placed.mask
    return {
        "mask_beyond": float(beyond.sum() / placed.mask.sum()),
        "mask_missing": float(missing.sum() / max((deep & seen).sum(), 1)),
        "cut": float(1 - seen[template.brain].mean()),
    }


def _contrast(study, contrast):
    """By how much the tissues look like the contrast (below 0: they don't), and what they look like instead."""
    tissue, guide, _ = mni.load_maps(2)
    world = study.affine[:3, :3] @ np.indices(study.mask.shape).reshape(3, -1) + study.affine[:3, 3:]
    world = world.astype(np.float32)
    grey, white, _ = mni.sample(tissue, world, mni.MAP_CORNER, 1).reshape(3, *study.mask.shape)
    ventricle = mni.sample(guide, world, mni.MAP_CORNER + 0.5, 2)[1].reshape(study.mask.shape)
    where = (study.mask & (white > SURE), study.mask & (grey > SURE_GREY), study.mask & (ventricle < -INSIDE_MM))
    if not all(voxels.any() for voxels in where):
        return {"contrast": -1.0, "said": contrast.upper(), "looks_like": "no brain at all"}
    white, grey, csf = (float(np.median(study.image[voxels])) for voxels in where)
    margins = {"t1": min(white - grey - T1_STEP, white - csf), "t2": min(csf - white, csf - grey)}
    margins["flair"] = min(white - csf, T1_STEP - (white - grey))
    looks_like = max(margins, key=margins.get).upper()
    return {"contrast": margins[contrast], "said": contrast.upper(), "looks_like": looks_like}
