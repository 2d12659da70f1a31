"""How well a binary map finds lesions, one by one: sensitivity, false positives, F1, FROC, surface distances.

In: a prediction (or an anomaly map and thresholds), the lesions `seg` and the voxels that count, `scored`, [H, W, D]
each. Out: counts for one scan, or tables of them. Voxel by voxel: essim.evaluation.metrics. Not in the paper.

Lesions and predicted components (26-neighbourhood) are matched one to one, largest overlap first: a lesion is found if
it has a partner whose overlap with it, |both| / |either| (IoU), is OVERLAP or more; a predicted component without a
partner is a false positive. A minimum overlap and one-to-one matching are what Metrics Reloaded recommends (Maier-Hein,
Reinke et al., Nature Methods 21:195, 2024, arXiv 2206.01653); 0.1, for lesions to be located rather than outlined, is
nnDetection's (Baumgartner et al., arXiv 2106.00817). It also means that a partner is at most ten times as large as its
lesion. Where one touching voxel is enough (as in the WMH challenge: Kuijf et al., IEEE TMI 38:2556, 2019), a blur that
marks half of the brain in one piece finds everything without a false positive. Voxels that don't count are removed
before components are formed.
"""

import numpy as np
import pandas as pd
import surface_distance
from scipy import ndimage

from essim.postprocess import connected_components, remove_small

SIZES = {"< 0.1 ml": 0.1, "0.1 to 1 ml": 1.0, "1 to 10 ml": 10.0, "> 10 ml": np.inf}  # of a lesion: upper bounds in ml
OVERLAP = 0.1  # least |both| / |either| of a lesion and its partner
BLOATED = 10  # times the lesions' volume: a prediction larger than that has not located them
SHELL = (2, 3)  # voxels from a lesion, where its surroundings are measured: the voxel next to it may be partly lesion


def size_of(volume_ml):
    """The size bin (a key of SIZES) of each lesion volume in ml: an ordered pandas.Categorical."""
    return pd.cut(volume_ml, [0, *SIZES.values()], right=False, labels=list(SIZES))


def detect(prediction, seg, scored):
    """How many of one scan's lesions a binary prediction finds. All are bool [H, W, D]; ValueError if shapes differ.

    Returns: a dict of
        lesions, found, predicted, false_positives    counts; the last two are of components of the prediction
        sensitivity    found / lesions; NaN without lesions (1 in the WMH challenge)
        precision      found / predicted; NaN without a prediction (1 in the challenge)
        f1             their harmonic mean; 1 where there is no lesion and no prediction, 0 where only one of them is
                       missing (as in the challenge)
        bloated        1.0 where more than BLOATED times the lesions' volume is predicted, else 0.0; NaN without lesions

    A mean over subjects leaves NaN out: mean sensitivity is over patients with lesions, mean F1 over everyone.
    """
    if not prediction.shape == seg.shape == scored.shape:
        shapes = [list(a.shape) for a in (prediction, seg, scored)]
        raise ValueError(f"detect: prediction, seg and scored must have one shape, got {shapes}.")
    marked, lesion = prediction & scored, seg & scored
    counts = _detect(marked, *connected_components(lesion))
    return counts | {"bloated": float(marked.sum() > BLOATED * lesion.sum()) if counts["lesions"] else np.nan}


def _detect(prediction, labels, lesions):
    parts, predicted = connected_components(prediction)
    found = len(matched(labels, parts))
    sensitivity = found / lesions if lesions else np.nan
    precision = found / predicted if predicted else np.nan
    counts = {"lesions": lesions, "found": found, "predicted": predicted, "false_positives": predicted - found}
    f1 = 2 * sensitivity * precision / (sensitivity + precision) if found else float(not lesions and not predicted)
    return counts | {"sensitivity": sensitivity, "precision": precision, "f1": f1}


def matched(labels, parts):
    """The lesions that are found: {label of a lesion: label of its partner}.

    Args: labels, parts: int [H, W, D], lesions and predicted components numbered 1, 2, ...; 0 is background.
    """
    both, count = (labels > 0) & (parts > 0), int(parts.max(initial=0)) + 1
    pairs, shared = np.unique(labels[both].astype(np.int64) * count + parts[both], return_counts=True)
    lesions, predicted = np.divmod(pairs, count)
    sizes, extents = np.bincount(labels[labels > 0]), np.bincount(parts[parts > 0])
    overlap = shared / (sizes[lesions] + extents[predicted] - shared)
    partners = {}
    for i in np.argsort(-overlap, kind="stable"):
        if overlap[i] >= OVERLAP and lesions[i] not in partners and predicted[i] not in partners.values():
            partners[int(lesions[i])] = int(predicted[i])
    return partners


def lesions(seg, image, scored, spacing_mm):
    """Every lesion of one scan, of any size.

    Args: image: the scan, [H, W, D]. spacing_mm: the three sides of a voxel.

    Returns: (table, labels). One row per lesion, with the columns
        label          of its voxels in `labels`, int [H, W, D]
        voxels         number of voxels
        volume_ml
        thickness_mm   diameter of the largest ball inside, to within a voxel; for a single voxel, its (shortest) side
        contrast       (mean inside - mean around) / standard deviation around, in healthy brain 2 to 3 voxels away:
                       negative where the lesion is darker; NaN where there is no healthy brain at that distance
    """
    labels, _ = connected_components(seg & scored)
    healthy = scored & ~seg
    # to the centre of the next voxel outside, half a side beyond the edge
    inside = ndimage.distance_transform_edt(np.pad(labels > 0, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    rows = []
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        lesion = labels[box] == label
        voxels, thickness = int(lesion.sum()), 2 * inside[box][lesion].max() - min(spacing_mm)
        row = {"label": label, "voxels": voxels, "volume_ml": voxels * np.prod(spacing_mm) / 1000}
        wide = tuple(slice(max(s.start - SHELL[1], 0), s.stop + SHELL[1]) for s in box)
        away = ndimage.distance_transform_edt(labels[wide] != label)
        around = image[wide][healthy[wide] & (away >= SHELL[0]) & (away <= SHELL[1])].astype(float)
        spread = around.std() if around.size else 0
        contrast = (image[box][lesion].mean(dtype=float) - around.mean()) / spread if spread else np.nan
        rows.append(row | {"thickness_mm": thickness, "contrast": contrast})
    kinds = {"label": int, "voxels": int, "volume_ml": float, "thickness_mm": float, "contrast": float}
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds), labels


def operating_points(anomaly, seg, scored, thresholds):
    """One scan's counts at every threshold, as for Dice: positive above it, small components removed.

    Returns: a DataFrame, one row per threshold, with the columns threshold, lesions, found, false_positives.
    """
    boxes = ndimage.find_objects(((anomaly > min(thresholds)) | seg).astype(np.uint8))  # nothing to count outside
    box = boxes[0] if boxes else ...
    anomaly, seg, scored = (np.ascontiguousarray(volume[box]) for volume in (anomaly, seg, scored))
    truth, rows = connected_components(seg & scored), []
    for threshold in thresholds:
        counts = _detect(remove_small(anomaly > threshold) & scored, *truth)
        rows.append({"threshold": threshold} | {key: counts[key] for key in ("lesions", "found", "false_positives")})
    return pd.DataFrame(rows)


def froc(counts, by=()):
    """The FROC curve: sensitivity over the lesions of all scans, false positives per scan.

    It may fall again: where so much is marked that lesions and the tissue between them merge, none is found.

    Args: counts: the `operating_points` of the scans at the same thresholds, concatenated. by: further columns that
        tell curves apart, such as the method.

    Returns: one row per curve and threshold, in their order of appearance: the columns `by`, threshold,
        sensitivity        lesions found / lesions of all scans; NaN where no scan has any
        false_positives    predicted components without a partner, per scan
        scans
    """
    groups = counts.groupby([*by, "threshold"], sort=False)
    total = groups[["lesions", "found"]].sum()
    sensitivity = total.found / total.lesions.where(total.lesions > 0)
    table = {"sensitivity": sensitivity, "false_positives": groups.false_positives.mean(), "scans": groups.size()}
    return pd.DataFrame(table).reset_index()


def surface_distances(prediction, seg, spacing_mm):
    """How far apart the surfaces of two bool maps [H, W, D] are, in mm, weighted by area, in both directions.

    Returns: a dict of
        distance_mm        mean distance from each point of one surface to the other surface
        hausdorff95_mm     the larger of the two directions' 95th percentiles
    Both are NaN where a map is empty, since there is no surface to measure to, and a mean over subjects leaves NaN out;
    so read them beside sensitivity, which says how often that happened.
    """
    if not (prediction.any() and seg.any()):
        return {"distance_mm": np.nan, "hausdorff95_mm": np.nan}
    surfaces = surface_distance.compute_surface_distances(seg, prediction, spacing_mm)
    distance = np.concatenate([surfaces["distances_gt_to_pred"], surfaces["distances_pred_to_gt"]])
    area = np.concatenate([surfaces["surfel_areas_gt"], surfaces["surfel_areas_pred"]])
    hausdorff = surface_distance.compute_robust_hausdorff(surfaces, 95)
    return {"distance_mm": float(np.average(distance, weights=area)), "hausdorff95_mm": float(hausdorff)}
