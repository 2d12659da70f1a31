"""What a calibrated ensemble could be built from, and how each way scores: the search behind `essim.calibrated_map`.

In: reconstructed patients and healthy scans (essim.evaluation.cases). Out: a table of AUPRC, one row per patient and
candidate. A candidate is a choice of *channels*, each compared with healthy scans voxel by voxel, and of a *rule* that
combines them into one map. 07_calibrated_ensemble chooses on validation parts only; essim.calibration implements its
choice. Not in the paper.
"""

from dataclasses import dataclass

import numpy as np
import torch

from essim.calibration import distribution, moments, refine
from essim.evaluation.cases import FEW, for_each, rows_of
from essim.evaluation.metrics import average_precision
from essim.postprocess import erode_slices, postprocess
from essim.ssim import check_pair, combined, factors, in_range, local_moments

# What is compared, in parts of equal weight: each is one map, or one for every sigma.
CHANNELS = {
    "l1": ["l1"],
    "SSIM": ["ssim"],
    "l1 + SSIM": ["l1", "ssim"],
    "structure": ["structure"],
    "l1 + structure": ["l1", "structure"],
    "luminance + structure": ["luminance", "structure"],
}
RULES = ("mean z", "max z", "log-sum-exp z", "decorrelated z", "Mahalanobis z", "Fisher (mean -log p)", "max -log p")
RIDGE = 0.2  # of the correlations, which few scans estimate poorly
TAIL = np.geomspace(1, 1e-5, 61)  # upper tails whose z is kept


@dataclass(frozen=True)
class Healthy:
    """M maps of healthy scans: `mean`, `sd` float32 [M, h, w, d] on half their grid; `brain` bool [h, w, d], where most
    scans have any. With each scan left out in turn and compared with the rest: the `correlation` [M, M] of
    the z, and `tails` [M, len(TAIL)], the z exceeded with the probabilities of TAIL.
    """

    mean: torch.Tensor
    sd: torch.Tensor
    brain: torch.Tensor
    correlation: np.ndarray
    tails: np.ndarray

    def z(self, values, inside):
        """As `standardise`, with this mean and sd."""
        return standardise(values, inside, self.mean, self.sd)


def standardise(values, inside, mean, sd):
    """The values [M, n] of the voxels inside a bool [H, W, D], in standard deviations from the mean: float32 [M, n]."""
    places = torch.arange(mean[0].numel()).reshape(mean.shape[1:])  # of the half grid
    own = refine(places, 2, inside.shape)[inside]
    mean, sd = (half.flatten(1).index_select(1, own) for half in (mean, sd))
    return ((values - mean) / sd).numpy()


def parts(sigmas):
    """Where the maps of `all_maps` are: |x - y|, then for each sigma 1 - SSIM, |blur(x - y)| and sqrt(V_q)."""
    count, names = len(sigmas), ("ssim", "luminance", "structure")
    return {"l1": slice(0, 1)} | {name: slice(1 + i * count, 1 + (i + 1) * count) for i, name in enumerate(names)}


def all_maps(case, sigmas):
    """Every map that a channel may be: float32 [1 + 3 K, H, W, D], as `parts` has them."""
    x, y, _ = case.tensors()
    data_range = check_pair(x, y, sigmas, None)
    local = [local_moments(x, y, sigma) for sigma in sigmas]
    ssim = [combined(*factors(own, data_range)) for own in local]
    luminance = [in_range(mu_q, data_range).abs() for _, _, mu_q, _ in local]
    structure = [in_range(var_q.sqrt(), data_range) for _, _, _, var_q in local]
    return torch.stack([in_range(x - y, data_range).abs(), *ssim, *luminance, *structure])[:, 0, 0]


def look_at_healthy(folder, sigmas):
    """`Healthy` from the yardstick scans of a folder of healthy ones."""

    def read(case):
        # every fourth voxel is enough for correlation and tails
        maps, some = all_maps(case, sigmas), erode_slices(case.mask) & (np.indices(case.mask.shape).sum(0) % 4 == 0)
        return maps[:, some], some, moments(maps, case.mask)

    scans = for_each(folder, "yardstick", read, "healthy")
    total = sum(own for *_, own in scans)
    left_out = [standardise(*scan, *distribution(total - own)) for *scan, own in scans]
    z, brain = np.concatenate(left_out, axis=1), total[0] > len(scans) / 2
    return Healthy(*distribution(total), brain, np.corrcoef(z), np.quantile(z, 1 - TAIL, axis=1).T)


def combine(values, weights, rule, correlation):
    """One value [n] from those of several maps [M, n], by one of RULES; `weights` [M] add up to 1.

    The values are the maps' z, or their `minus_log_p` where `takes_p(rule)`.
    """
    if rule == "log-sum-exp z":
        return np.log(weights @ np.exp(values.clip(max=60)))
    if rule in ("decorrelated z", "Mahalanobis z"):
        inverse = np.linalg.inv((1 - RIDGE) * correlation + RIDGE * np.eye(len(values))).astype(np.float32)
        if rule == "decorrelated z":  # the sharpest test of a shift that all maps share
            return inverse.sum(0) @ values
        above = values.clip(min=0)
        return (above * (inverse @ above)).sum(0)
    return values.max(0) if rule.startswith("max") else weights @ values


def takes_p(rule):
    """Whether a rule combines probabilities."""
    return "log p" in rule


def minus_log_p(z, tail):
    """-log of the share of healthy voxels above z, extrapolated beyond the last of TAIL."""
    level = -np.log(TAIL)
    slope = (level[-1] - level[-7]) / max(tail[-1] - tail[-7], 1e-6)
    return np.interp(z, tail, level) + slope * (z - tail[-1]).clip(min=0)


def best_of(table):
    """The candidate (channels, rule) with the highest AUPRC, averaged over patients, then over sets."""
    return table.groupby(["channels", "rule", "dataset"]).auprc.mean().groupby(level=[0, 1]).mean().idxmax()


def scores(folder, healthy, sigmas, candidates, split="val"):
    """AUPRC of candidates (pairs of CHANNELS and RULES), one row per patient and candidate.

    Returns: a DataFrame dataset, subject, channels, rule, auprc.

    On the validation part, only the first FEW are used.
    """
    place = parts(sigmas)

    def judge(case):
        core, anomaly = erode_slices(case.mask), np.zeros_like(case.image)
        z = healthy.z(all_maps(case, sigmas)[:, core], core)
        if any(takes_p(rule) for _, rule in candidates):
            surprise = np.stack([minus_log_p(values, tail) for values, tail in zip(z, healthy.tails, strict=True)])
        for channels, rule in candidates:
            chosen = [np.arange(len(z))[place[part]] for part in CHANNELS[channels]]
            weights = np.concatenate([np.full(len(c), 1 / len(c) / len(chosen), np.float32) for c in chosen])
            c = np.concatenate(chosen)
            values = (surprise if takes_p(rule) else z)[c]
            one = combine(values, weights, rule, healthy.correlation[np.ix_(c, c)])
            anomaly[core] = one - one.min()  # the rim, which is cut off, stays 0
            auprc = average_precision(postprocess(anomaly, case.mask), case.seg, case.scored)
            yield {"channels": channels, "rule": rule, "auprc": auprc}

    return rows_of(folder, split, judge, f"candidates, {split}", FEW if split == "val" else None)
