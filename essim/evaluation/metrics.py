"""How well an anomaly map finds a lesion, voxel by voxel: AUPRC, Dice, thresholds.

In: scores and labels of one shape (arrays or tensors), optionally the mask of voxels that count. Out: numbers.
Paper: section 3 (metrics). A voxel is positive where score > threshold; lesion prevalence is AUPRC's chance level.
One volume is judged exactly; `Pooled` judges any number of them together, in fixed memory. Lesion by lesion:
essim.evaluation.detection.
"""

import warnings

import numpy as np

from essim.kernels.dispatch import load_kernel

_SIGN = 1 << 31  # of a float32


def _voxels(score, label, mask):
    """Flat float scores and bool labels of the voxels that count; ValueError for what can't be judged."""
    score, label = _array(score, "score"), _array(label, "label")
    mask = np.ones(score.shape, bool) if mask is None else _array(mask, "mask")
    if not score.shape == label.shape == mask.shape:
        shapes = [list(values.shape) for values in (score, label, mask)]
        raise ValueError(f"metrics: score, label and mask must have one shape, got {shapes}.")
    if mask.dtype.kind == "f" and np.isnan(mask).any():
        raise ValueError("metrics: the mask has NaN voxels; make it 0 or 1.")
    keep = mask if mask.dtype == bool else mask > 0
    score, label = score[keep], label[keep]
    if score.dtype.kind != "f":  # integers have no next lower value
        score = score.astype(float)
    if not np.isfinite(score).all():
        raise ValueError("metrics: the score has NaN or infinite voxels; check the anomaly map.")
    if label.dtype != bool and not np.isin(label, (0, 1)).all():
        raise ValueError("metrics: the label must be 0 or 1 in every voxel that counts; pass `label > 0`, or a mask.")
    return score, label.astype(bool, copy=False)


def _array(values, name):
    """A tensor, array or list as a numpy array of numbers."""
    if hasattr(values, "detach"):  # a tensor; numpy has no bfloat16
        values = values.detach().cpu()
        values = values.float() if "bfloat16" in str(values.dtype) else values
    if np.ma.is_masked(values):
        raise ValueError(f"metrics: the {name} is a masked array; pass its data, and its valid voxels as the mask.")
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"metrics: the {name} must have real numbers, got {values.dtype}.")
    return values


def _keys(score):
    """Unsigned integers that sort as the floats do: the bits, inverted below 0."""
    bits = (score.astype(np.float32) + np.float32(0)).view(np.uint32)  # + 0 turns -0 into 0
    return np.where(bits >> 31, ~bits, bits | np.uint32(_SIGN))


def _floats(keys):
    """The float32s of `_keys`."""
    return np.where(keys >> 31, keys ^ np.uint32(_SIGN), ~keys).view(np.float32)


def _sorted(score, label):
    """Flat voxels by their score, the lowest first: (score, label)."""
    if score.dtype != np.float32:
        order = np.argsort(score)
        return score[order], label[order]
    keys = _keys(score).astype(np.uint64) << np.uint64(1) | label
    kernel = load_kernel("ranking")
    keys = kernel.sort(keys) if kernel else np.sort(keys)
    return _floats((keys >> np.uint64(1)).astype(np.uint32)), (keys & np.uint64(1)).astype(bool)


def _at_least(score, wanted):
    """How many of the flat scores are as high as each of `wanted`, which are in ascending order: int [K]."""
    kernel = load_kernel("ranking") if score.dtype == np.float32 else None
    return kernel.at_least(score, wanted) if kernel else len(score) - np.searchsorted(np.sort(score), wanted)


def _ranked(score, label):
    """(thresholds, hits, marked) of flat voxels, from the highest distinct score down.

    `marked[i]` voxels, `hits[i]` of them positive, lie above `thresholds[i]`: the next lower score, or just below the
    lowest.
    """
    ranked, label = (values[::-1] for values in _sorted(score, label))
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # the last voxel of each distinct score
    thresholds = np.append(ranked[last][1:], np.nextafter(ranked[-1], -np.inf))
    return thresholds, np.cumsum(label)[last], last + 1


def _best(thresholds, hits, marked):
    """(Dice, threshold) of the best of the `_ranked` thresholds; a tie goes to the highest."""
    overlap = 2 * hits / (marked + hits[-1])
    best = int(np.argmax(overlap))
    return float(overlap[best]), float(thresholds[best])


def average_precision(score, label, mask=None):
    """Area under the precision-recall curve (AUPRC, scikit-learn's step-wise sum), a float in [0, 1].

    NaN, with a warning, where no voxel is positive: precision and recall are meaningless there.

    >>> import essim
    >>> essim.average_precision([0.9, 0.8, 0.3, 0.1], [True, False, True, False])
    0.8333333333333333
    """
    score, label = _voxels(score, label, mask)
    if not label.any():
        warnings.warn("average_precision: no positive voxel inside the mask; the result is NaN.", stacklevel=2)
        return float("nan")
    # the precision at every positive voxel's own score
    positive = np.sort(score[label])
    hits = len(positive) - np.searchsorted(positive, positive)
    return float((hits / _at_least(score, positive)).mean())


def precision_at(score, label, recalls, mask=None):
    """The precision at which each recall in (0, 1] is first reached, from the highest score down: an array; NaN without
    positive voxels."""
    score, label = _voxels(score, label, mask)
    if not label.any():
        return np.full(len(recalls), np.nan)
    _, hits, marked = _ranked(score, label)
    first = np.searchsorted(hits, np.asarray(recalls) * hits[-1] - 1e-9)
    return hits[first] / marked[first]


def dice(prediction, label, mask=None):
    """Dice overlap 2 |P and L| / (|P| + |L|) of two binary volumes, a float in [0, 1]; 1 where both are empty."""
    prediction, label = _voxels(prediction, label, mask)
    prediction = prediction.astype(bool)
    total = prediction.sum() + label.sum()
    return float(2 * (prediction & label).sum() / total) if total else 1.0


def best_dice(score, label, mask=None):
    """The best Dice that any threshold reaches, by an exact sweep over every distinct score.

    Returns: (dice, threshold), positive where score > threshold. On test data this is an upper bound, not a result.
    A tie goes to the highest threshold. Without positive voxels, marking nothing is right: (1.0, the largest score).

    >>> import essim
    >>> essim.best_dice([0.9, 0.8, 0.3, 0.1], [True, False, True, False])
    (0.8, 0.1)
    """
    score, label = _voxels(score, label, mask)
    if not label.any():
        return 1.0, float(score.max()) if score.size else 0.0
    return _best(*_ranked(score, label))


def healthy_threshold(scores, masks, share):
    """The threshold with a given share of healthy voxels above it, pooled over all volumes inside their masks."""
    pooled = [
        _voxels(score, np.zeros(np.shape(score), bool), mask)[0] for score, mask in zip(scores, masks, strict=True)
    ]
    if not pooled:
        raise ValueError("healthy_threshold: no volumes; give healthy scans that the network was not trained on.")
    return float(np.quantile(np.concatenate(pooled), 1 - share))


def fit_threshold(scores, labels, masks):
    """The threshold with the best Dice over the pooled voxels of several volumes (the paper's, on validation parts).

    Args: lists of volumes, whose shapes agree item by item; None in `masks`: all voxels count.
    Returns: the threshold (positive above it).

    >>> import essim
    >>> essim.fit_threshold([[0.9, 0.2], [0.4, 0.1]], [[True, False], [True, False]], [None, None])
    0.2
    """
    pooled = [_voxels(*volume) for volume in zip(scores, labels, masks, strict=True)]
    if not pooled:
        raise ValueError("fit_threshold: no volumes; a threshold needs a labelled validation part.")
    score, label = (np.concatenate(part) for part in zip(*pooled, strict=True))
    return best_dice(score, label)[1]


class Pooled:
    """The voxels of any number of volumes judged as one, without keeping them: a histogram over the score.

    A bin holds the scores that agree in the leading 20 of their 32 bits, which are within 0.05 % of each other (2^-11);
    0 has a bin of its own. Counts above a bin's edge are exact, and so is Dice at every edge; only thresholds inside a
    bin aren't tried. AUPRC comes with a bound on its binning error. It takes 16 MB, however much is added.
    """

    _SHIFT, _BINS = 12, 1 << 20
    _ZERO = _SIGN >> _SHIFT

    def __init__(self):
        self.voxels, self.positives = (np.zeros(self._BINS, np.int64) for _ in range(2))

    def add(self, score, label, mask=None):
        """Count the voxels of one more volume; ValueError as in `average_precision`."""
        score, label = _voxels(score, label, mask)
        bins = _keys(score) >> self._SHIFT
        self.voxels += np.bincount(bins, minlength=self._BINS)
        self.positives += np.bincount(bins[label], minlength=self._BINS)

    def prevalence(self):
        """Positive voxels / voxels: the AUPRC of guessing; NaN before any are added."""
        return float(self.positives.sum() / self.voxels.sum()) if self.voxels.any() else float("nan")

    def marking(self, shares):
        """For each share in (0, 1), a threshold with about that share of all voxels above it, at most one per bin."""
        thresholds, _, marked = self._ranked()
        chosen = np.unique(np.searchsorted(marked, np.asarray(shares) * marked[-1]).clip(0, len(marked) - 1))
        return thresholds[chosen]

    def average_precision(self):
        """(AUPRC, bound): the exact value lies within `bound` of it; (NaN, NaN) without positive voxels."""
        if not self.positives.any():
            return float("nan"), float("nan")
        _, hits, marked = self._ranked()
        positives, misses, tied = np.diff(hits, prepend=0), marked - hits, hits / marked
        # at worst, a bin's negatives all lie above its positives; at best, below
        worst = (hits - positives + 1) / (hits - positives + 1 + misses)
        best = hits / np.maximum(marked - np.diff(misses, prepend=0), 1)
        zero = self._bins() == self._ZERO  # truly tied
        worst[zero], best[zero] = tied[zero], tied[zero]
        low, value, high = (float((positives * precision).sum() / hits[-1]) for precision in (worst, tied, best))
        return value, max(high - value, value - low)

    def best_dice(self):
        """(Dice, threshold) of the best edge, positive where score > threshold; ties, no positives: see `best_dice`."""
        if not self.positives.any():
            return 1.0, float(_below((self._bins()[:1] + 1) << self._SHIFT).max(initial=0))
        return _best(*self._ranked())

    def _bins(self):
        """The bins that hold voxels, highest first."""
        return np.flatnonzero(self.voxels)[::-1]

    def _ranked(self):
        """As `_ranked`, bin by bin."""
        bins = self._bins()
        return _below(bins << self._SHIFT), np.cumsum(self.positives[bins]), np.cumsum(self.voxels[bins])


def _below(key):
    """The largest float32 that sorts below an integer of `_keys`; below 0 the next one, not -0."""
    key = np.asarray(key, np.int64) - 1
    return _floats(np.where(key == _SIGN - 1, key - 1, key).astype(np.uint32))
