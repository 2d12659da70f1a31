"""Would a lesion have been found? Lesions of known size, planted in the scan, and the share of them that is marked.

In: a placed scan, its anomaly map, and the way from a preprocessed scan to such a map. Out: a row per look and size,
and what they say in words. Not in the paper.

The lesions look as the cohort's do, by relaxation times and the signal equation (`essim.cohort.planting`), on the scale
of the scan's own white matter and CSF; they lie in tissue where nothing is marked, inside the eroded brain that has a
score. Real lesions may be fainter, more diffuse, or in the rim that has none: the share found here is an upper bound
rather than an estimate.
"""

from itertools import takewhile

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from essim import postprocess
from essim.cohort import planting
from essim.data.volumes import preprocess

SIZES_ML = {"ms": (0.05, 0.2, 1.0, 5.0), "stroke": (1.0, 5.0, 20.0)}
PLANTED = 8  # of each look and size
ROUND_ML = 20.0  # planted at once, 1 to 2 % of a brain: more would shift the scan's own level and tone
APART_MM = 8  # from a planted lesion to the next, and to what is marked already: beyond a window's reach
FOUND = 0.1  # a lesion counts as found if this share of it is marked
SEEN = 0.75  # a size would have been found if this share of its lesions is
NAMES = {"ms": "MS-like lesions", "stroke": "stroke-like lesions"}


def self_test(placed, study, anomaly, compare, recipe, threshold, seed, progress=True):
    """Plant lesions of SIZES_ML in a scan, a few at a time, and see how much of them is marked.

    Args:
        placed, study: the scan as `registration.Placed` and preprocessed, as `volumes.Scan` (`scan.to_study_space`).
        anomaly: float32 on the grid of `study`, its post-processed map.
        compare: a function from a `volumes.Scan` to (reconstruction, post-processed map), the one that made `anomaly`.
        recipe, threshold: those that the scan is scored with.
        seed: an int, 0 or above; together with look, size and number it determines a lesion. Number i has the same look
            (scanner, severity) at every size.
        progress: False shows no progress bar.

    Returns: a list of dicts, {"look": ms or stroke, "volume_ml": of one lesion, "planted": how many, at most PLANTED,
        "found": how many of them are marked by FOUND or more, "recovered": mean share of a lesion that is marked, 0 to
        1}. A size for which there is no room has no row.

    Raises ValueError where the scan isn't on the study grid, its white matter and CSF can't be told apart, or all of
        it is marked already: one sentence.
    """
    image, brain = placed.images[recipe.contrast], placed.mask
    scored, marked = (
        _on_grid_of(placed, v, study.affine) for v in (postprocess.erode_slices(study.mask), anomaly > threshold)
    )
    free = scored & ~ndimage.binary_dilation(marked, iterations=APART_MM // planting.voxel_of(image))
    rounds = [(look, ml, numbers) for look, sizes in SIZES_ML.items() for ml in sizes for numbers in _dealt(ml)]
    places = {look: free & planting.places_for(image, brain, look, recipe.contrast) for look in SIZES_ML}
    shares = {}
    for look, ml, numbers in tqdm(rounds, desc="self-test", unit="round", disable=not progress):
        changed, truths = image, []
        for number, share in zip(numbers, draw_lesions(places[look], look, ml, numbers, seed), strict=False):
            rng = np.random.default_rng([seed, planting.KINDS.index(look), number])
            changed, truth = planting.plant(changed, brain, share, look, recipe.contrast, rng)
            truths.append(truth)
        if truths:
            arrays = changed, brain, np.zeros(brain.shape, np.uint8), placed.affine
            _, anomaly = compare(preprocess(*arrays, recipe.preprocessing, "scan"))
            binary = _on_grid_of(placed, postprocess.remove_small(anomaly > threshold), study.affine)
            shares.setdefault((look, ml), []).extend(float(binary[truth].mean()) for truth in truths)
    if not shares:
        raise ValueError("the scan has no room for a lesion to be planted: too much of it is marked already.")
    return [_row(*key, np.array(found)) for key, found in shares.items()]


def draw_lesions(places, look, ml, numbers, seed):
    """Lesions of `ml` in `places` (bool [H, W, D]), well apart from each other, none across the middle of the head, as
    many as `numbers` or as fit: their shares of each voxel, float32 [H, W, D], one after the other."""
    voxel_mm, radius = planting.voxel_of(places), planting.radius_of(ml)
    rng = np.random.default_rng([seed, planting.KINDS.index(look), SIZES_ML[look].index(ml), numbers[0]])
    middle, places = len(places) // 2, places.copy()
    places[middle - 1 : middle + 1] = False
    # Half a radius from where it can't be: closer, it would be flat
    centres = places & (ndimage.distance_transform_edt(places) * voxel_mm > radius / 2)
    if look == "ms":
        centres &= planting.white_matter(voxel_mm) > 0.5
    for _ in numbers:
        if not centres.any():
            return
        index = np.argwhere(centres)
        centre = index[rng.integers(len(index))]
        side = slice(middle) if centre[0] < middle else slice(middle, None)
        own = np.zeros_like(places)
        own[side] = places[side]
        yield planting.draw_ovoid(centre, ml, own, rng)
        away = voxel_mm * np.linalg.norm(index - centre, axis=1)
        centres[tuple(index[away < 2 * planting.STRETCH * radius + APART_MM].T)] = False


def describe_test(rows):
    """What the rows of `self_test` say, and what it means where nothing is marked: two sentences."""
    told = []
    for look, name in NAMES.items():
        counts = ", ".join(f"{r['found']} of {r['planted']} ({r['volume_ml']:g} ml)" for r in rows if r["look"] == look)
        told += [f"{name}, {counts}"] if counts else []
    return f"Self-test, planted and found: {'; '.join(told)}. {meaning_of(rows)}"


def meaning_of(rows):
    """What the rows of `self_test` mean where nothing is marked: a sentence."""
    shown = []
    for look, name in NAMES.items():
        own = [row for row in rows if row["look"] == look]  # from small to large
        seen = list(takewhile(lambda row: row["found"] >= SEEN * row["planted"], reversed(own)))
        shown += [f"{name} of {seen[-1]['volume_ml']:g} ml or more"] if seen else []
    would = f"{' and '.join(shown)} would probably have been found; smaller or fainter ones may be there"
    return f"Where nothing is marked, {would if shown else 'lesions of all these sizes may still be there'}."


def _row(look, ml, shares):
    found = {"planted": len(shares), "found": int((shares >= FOUND).sum()), "recovered": round(float(shares.mean()), 3)}
    return {"look": look, "volume_ml": ml} | found


def _dealt(ml):
    """The numbers of the lesions of a size, round by round."""
    at_once = int(np.clip(ROUND_ML // ml, 1, PLANTED))
    return [range(first, min(first + at_once, PLANTED)) for first in range(0, PLANTED, at_once)]


def _on_grid_of(placed, binary, affine):
    """A bool map with its affine, resampled by nearest neighbour to the grid of `placed`."""
    matrix = np.linalg.inv(affine) @ placed.affine
    near = ndimage.affine_transform(binary.astype(np.uint8), matrix[:3, :3], matrix[:3, 3], placed.mask.shape, order=0)
    return near > 0
