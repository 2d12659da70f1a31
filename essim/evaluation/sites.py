"""The influence of the scanner: patients against healthy controls of their own site, and results site by site.

In: tables of `essim.evaluation.evaluate`, and the site of every subject. Out: how well the level of a whole scan tells
patients from healthy controls, and means by site. Not in the paper, which judges voxels only.

A patient's scan that stands out because of its scanner says nothing about lesions, so people are compared only within
a site.
"""

import numpy as np
import pandas as pd

from essim.evaluation.stats import mean_with_interval

HIGHEST = 0.001  # of the brain's voxels: about 1.5 ml


def scan_level(anomaly, scored):
    """The level of a whole scan: the mean of the highest 1 in 1,000 voxels (at least one) of its anomaly map.

    Args: anomaly: float [H, W, D]. scored: bool [H, W, D], the voxels that count; NaN if there are none.
    """
    values = anomaly[scored]
    if not values.size:
        return float("nan")
    count = max(1, round(HIGHEST * values.size))
    return float(np.partition(values, -count)[-count:].mean(dtype=float))


def auroc_within_sites(patients, healthy, *, resamples=2000, seed=0):
    """How often a patient's scan has a higher level than a healthy one of the same site; ties count half.

    Args: DataFrames of one row per scan with the columns site ("" where it isn't known: left out) and level.

    Returns: a dict
        auroc, auroc_low, auroc_high    over all pairs within a site, and the middle 95 % over bootstraps of the people
            of each site; NaN where no site has both
        patients, healthy    how many of each have someone to be compared with at their site
    """
    pairs = []  # of every site: [patients, healthy], 1 where the patient's level is higher
    for site, own in patients[patients.site != ""].dropna(subset="level").groupby("site"):
        others = healthy[healthy.site == site].level.dropna().to_numpy()
        if len(others):
            gaps = own.level.to_numpy()[:, None] - others
            pairs.append(np.where(gaps > 0, 1.0, np.where(gaps == 0, 0.5, 0.0)))
    names = ("auroc", "auroc_low", "auroc_high")
    counts = {"patients": sum(len(p) for p in pairs), "healthy": sum(p.shape[1] for p in pairs)}
    if not pairs:
        return dict.fromkeys(names, np.nan) | counts
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(resamples):
        again = [p[rng.integers(len(p), size=len(p))][:, rng.integers(p.shape[1], size=p.shape[1])] for p in pairs]
        drawn.append(_mean(again))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return dict(zip(names, (_mean(pairs), float(low), float(high)), strict=True)) | counts


def _mean(pairs):
    return float(sum(p.sum() for p in pairs) / sum(p.size for p in pairs))


def auroc_table(patients, healthy):
    """`auroc_within_sites` for every set and method: columns dataset, contrast, method, then its results.

    Args: patients: one row per scan and method, with dataset, contrast, site, method, level. healthy: the same without
        dataset; methods that it lacks are left out.
    """
    rows = []
    for (dataset, contrast, method), own in patients.groupby(["dataset", "contrast", "method"], sort=False):
        others = healthy[(healthy.contrast == contrast) & (healthy.method == method)]
        if len(others):
            key = {"dataset": dataset, "contrast": contrast, "method": method}
            rows.append(key | auroc_within_sites(own, others))
    return pd.DataFrame(rows)


def by_site(volumes, scores):
    """Means over the patients of each site, with intervals: `volumes` has dataset, site, method and the scores."""
    order = volumes.sort_values(["dataset", "site"], kind="stable")
    return mean_with_interval(order, ["dataset", "site", "method"], scores)
