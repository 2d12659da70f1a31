"""How well an anomaly map finds a lesion: AUPRC, Dice, thresholds.

In: scores and labels of one shape (arrays or tensors), optionally the mask of voxels that count. Out: numbers.
Paper: section 3 (metrics). A voxel is positive where score > threshold; lesion prevalence is AUPRC's chance level.
"""

import warnings

import numpy as np
from sklearn.metrics import average_precision_score


def _voxels(score, label, mask):
    """Flat float scores and bool labels of the voxels that count."""
    score, label = np.asarray(score), np.asarray(label)
    if score.shape != label.shape or (mask is not None and np.shape(mask) != score.shape):
        shapes = [list(score.shape), list(label.shape)] + ([] if mask is None else [list(np.shape(mask))])
        raise ValueError(f"metrics: score, label and mask must have one shape, got {shapes}.")
    keep = np.ones(score.shape, bool) if mask is None else np.asarray(mask).astype(bool)
    score = score[keep]
    if score.dtype.kind != "f":  # an unsigned score would wrap where the sweep negates it
        score = score.astype(float)
    if not np.isfinite(score).all():
        raise ValueError("metrics: the score has NaN or infinite voxels; check the anomaly map.")
    return score, label[keep].astype(bool)


def average_precision(score, label, mask=None):
    """Area under the precision-recall curve (AUPRC, the step-wise sum of scikit-learn), a float in [0, 1].

    NaN, with a warning, where no voxel is positive: precision and recall have no meaning there.
    """
    score, label = _voxels(score, label, mask)
    if not label.any():
        warnings.warn("average_precision: no positive voxel inside the mask; the result is NaN.", stacklevel=2)
        return float("nan")
    return float(average_precision_score(label, score))


def dice(prediction, label, mask=None):
    """Dice overlap 2 |P and L| / (|P| + |L|) of two binary volumes, a float in [0, 1]; 1 where both are empty."""
    prediction, label = _voxels(prediction, label, mask)
    prediction = prediction.astype(bool)
    total = prediction.sum() + label.sum()
    return float(2 * (prediction & label).sum() / total) if total else 1.0


def best_dice(score, label, mask=None):
    """The best Dice that any threshold reaches, by an exact sweep over every distinct score.

    Returns: (dice, threshold), positive where score > threshold. On test data this is an upper bound, not a result.
    A tie goes to the highest threshold. Without positive voxels: (1.0, the largest score): nothing marked is right.
    """
    score, label = _voxels(score, label, mask)
    if not label.any():
        return 1.0, float(score.max()) if score.size else 0.0
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    hits = np.cumsum(label[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # the last voxel of each distinct score
    overlap = 2 * hits[last] / (last + 1 + hits[-1])
    best = int(np.argmax(overlap))
    # positive down to ranked[last[best]]: the threshold is the next lower score, or just below the lowest
    end = last[best]
    below = ranked[end + 1] if end + 1 < len(ranked) else np.nextafter(ranked[end], -np.inf)
    return float(overlap[best]), float(below)


def healthy_threshold(scores, masks, share):
    """The threshold above which a share of the voxels of healthy volumes lies, all inside their masks pooled."""
    pooled = [_voxels(score, mask, mask)[0] for score, mask in zip(scores, masks, strict=True)]
    if not pooled:
        raise ValueError("healthy_threshold: no volumes; it needs healthy scans that the network has not seen.")
    return float(np.quantile(np.concatenate(pooled), 1 - share))


def fit_threshold(scores, labels, masks):
    """The threshold with the best Dice over the pooled voxels of several volumes (the paper's, on validation parts).

    Args: lists of volumes, of any shapes that agree item by item. Returns: the threshold (positive above it).
    """
    pooled = [_voxels(*volume) for volume in zip(scores, labels, masks, strict=True)]
    if not pooled:
        raise ValueError("fit_threshold: no volumes; a threshold needs a labelled validation part.")
    score, label = (np.concatenate(part) for part in zip(*pooled, strict=True))
    return best_dice(score, label)[1]
