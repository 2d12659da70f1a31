"""How certain a mean over subjects is: bootstrap intervals, and paired tests corrected for their number.

In: scores, one per subject. Out: intervals, or a table of comparisons; and groups by age. The intervals don't
cover what another training run would change: `essim.evaluation.summaries.spread` does. Not in the paper.
"""

import numpy as np
import pandas as pd
from scipy import stats

PERMUTATIONS = 10_000  # up to 13 subjects there are fewer, and all are used
MARGIN = 0.02  # of AUPRC or Dice: a smaller mean difference has no practical relevance
EQUAL = 1e-12  # values that differ by no more than this share of the largest are equal but for rounding


def interval(values, *, level=0.95, resamples=2000, seed=0):
    """The bootstrap interval of the mean over subjects: (low, high), bias-corrected and accelerated (BCa).

    NaN values, of subjects without a meaningful score, are left out. With fewer than 3 left: (NaN, NaN). If all are
    equal: that value twice, since BCa is undefined without spread. The same values in the same order give the same
    interval.
    """
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    if len(values) < 3:
        return np.nan, np.nan
    if np.ptp(values) <= EQUAL * np.abs(values).max():
        return float(values.mean()), float(values.mean())
    options = {"confidence_level": level, "n_resamples": resamples, "method": "BCa"}
    low, high = stats.bootstrap((values,), np.mean, rng=np.random.default_rng(seed), **options).confidence_interval
    return float(low), float(high)


def mean_with_interval(frame, by, columns):
    """Means over subjects with their intervals: one row per group, in order of appearance.

    Args: frame: one row per subject and group. by: the columns that name a group (NaN is a name too). columns: scores.

    Returns: a DataFrame with the columns `by`; for each score `<c>`, `<c>_low`, `<c>_high`; and `subjects`, the rows
        of the group. NaN scores are left out, as in `interval`; where all are NaN, so is the mean.
    """
    rows = []
    for name, group in frame.groupby(list(by), sort=False, dropna=False):
        row = dict(zip(by, name, strict=True))
        for column in columns:
            low, high = interval(group[column])
            row |= {column: group[column].mean(), f"{column}_low": low, f"{column}_high": high}
        rows.append(row | {"subjects": len(group)})
    return pd.DataFrame(rows)


def paired_tests(scores, method, others, score="auprc"):
    """One method against each of several others on the same test patients of every set.

    Args: scores: as from `essim.evaluation.scoring.score_set`, of one or more sets. others: names of methods.

    Returns: a DataFrame, one row per dataset and other method, with the columns
        dataset, method, other, subjects
        gain, gain_low, gain_high    mean of method - other, and its 95 % interval (`interval`)
        better            share of subjects with a gain
        effect            Cohen's d_z: mean / standard deviation of the differences; NaN where they are all equal
        rank_biserial     (rank sum of the gains - that of the losses) / both: -1 to 1; what Wilcoxon's test tests
        p_wilcoxon        Wilcoxon's signed-rank test, two-sided; zero differences are ranked, then left out (Pratt)
        p_permutation     the mean gain against random signs, two-sided: all 2^n of them up to 13 subjects, else 10,000
                          (the smallest p is then 2 / 10,001)
        p_wilcoxon_holm, p_permutation_holm    corrected for all rows of this table by Holm's method
        verdict           "better" or "worse" where p_permutation_holm is below 0.05; else "equivalent" where the whole
                          interval lies within MARGIN of 0 (stricter than two one-sided tests at 5 %, which use the 90 %
                          interval; not corrected for the number of rows); else "no clear difference": nothing is shown
    A subject without one of the two scores, or with NaN, is left out. Without any difference, p = 1.

    Raises ValueError where a set has no test patient with both scores.
    """
    wide = scores[scores.split == "test"].pivot(index=["dataset", "subject"], columns="method", values=score)
    rows = []
    for dataset in scores.dataset.unique():
        for other in others:
            pair = wide.reindex(columns=[method, other]).query("dataset == @dataset").dropna()
            if not len(pair):
                raise ValueError(f"{dataset}: no test patient has both {method!r} and {other!r}; score both first.")
            row = {"dataset": dataset, "method": method, "other": other}
            rows.append(row | _compare(pair[method].to_numpy() - pair[other].to_numpy()))
    table = pd.DataFrame(rows)
    for test in ("p_wilcoxon", "p_permutation"):
        table[f"{test}_holm"] = holm(table[test])
    clear = table.p_permutation_holm < 0.05
    near = (table.gain_low > -MARGIN) & (table.gain_high < MARGIN)
    open_or_near = np.where(near, "equivalent", "no clear difference")
    table["verdict"] = np.where(clear, np.where(table.gain > 0, "better", "worse"), open_or_near)
    return table


def holm(p):
    """p-values corrected for their number by Holm's method (1979): float [n], at most 1.

    As by statsmodels, whose `multipletests` collects all of Python's garbage each time: a fifth of a second.
    """
    p, n = np.asarray(p), len(p)
    order = np.argsort(p)
    corrected = np.empty(n)
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(n, 0, -1)).clip(max=1)
    return corrected


def _compare(gains):
    """The row of one pair of methods, from the differences of their scores."""
    low, high = interval(gains)
    count, spread = len(gains), gains.std(ddof=1) if len(gains) > 1 else 0.0
    row = {"subjects": count, "gain": gains.mean(), "gain_low": low, "gain_high": high, "better": (gains > 0).mean()}
    row["effect"] = gains.mean() / spread if spread > EQUAL * np.abs(gains).max() else np.nan
    ranks = stats.rankdata(np.abs(gains)) * np.sign(gains)
    row["rank_biserial"] = ranks.sum() / np.abs(ranks).sum() if ranks.any() else 0.0
    # with few subjects, every sign of the ranks, ties or not: scipy's own exact test takes a second
    few = 2**count <= PERMUTATIONS or not gains.any()
    wilcoxon = _p_of_signs(ranks) if few else float(stats.wilcoxon(gains, zero_method="pratt").pvalue)
    return row | {"p_wilcoxon": wilcoxon, "p_permutation": _p_of_signs(gains)}


def _p_of_signs(values):
    """p of the mean of paired differences against random signs, two-sided."""
    if len(values) < 2 or not values.any():
        return 1.0
    options = {"permutation_type": "samples", "n_resamples": PERMUTATIONS, "vectorized": True}
    return float(stats.permutation_test((values,), np.mean, rng=np.random.default_rng(0), **options).pvalue)


def age_group(ages):
    """The bin of each age in years, a number or text: an ordered categorical Series; NaN where unknown."""
    years = pd.to_numeric(ages, errors="coerce")
    return pd.cut(years, [0, 40, 60, np.inf], labels=["< 40", "40 to 59", "60 +"], right=False)
