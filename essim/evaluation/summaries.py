"""Score tables summed up: means over patients, regret over pathologies, the spread over several runs of the study.

In: tables as from `essim.evaluation.scoring.score_set`. Out: tables with one row per set, method or run, and a mean
with its interval as text. Regret is the study's own measure of what not knowing the pathology costs.
"""

import numpy as np
import pandas as pd

from essim.evaluation.detection import size_of
from essim.evaluation.stats import interval, mean_with_interval

SCORE_NAMES = {"auprc": "AUPRC", "dice": "Dice"}
MEAN = "{:.3f} ({:.3f} to {:.3f})"  # how `with_interval` writes a mean, ...
GAIN = "{:+.3f}, {:+.3f} to {:+.3f}"  # ... a difference, ...
GAIN_IN_BRACKETS = "{:+.3f} [{:+.3f}, {:+.3f}]"  # ... and several differences in one sentence


def with_interval(row, score, form=MEAN):
    """A mean with its interval as text, from a row's `<score>`, `<score>_low` and `<score>_high`; the mean alone where
    too few subjects give no interval."""
    if pd.isna(row[f"{score}_low"]):
        return form[: form.index("}") + 1].format(row[score])
    return form.format(row[score], row[f"{score}_low"], row[f"{score}_high"])


def summarise(scores, split="test"):
    """Means over the subjects of one split: one row per dataset and method, in order of appearance.

    Returns: dataset, method, then auprc, dice and best_dice, each with `_low` and `_high` (see `stats.interval`),
        subjects, threshold, prevalence.
    """
    part, names = scores[scores.split == split], ["dataset", "method"]
    table = mean_with_interval(part, names, ["auprc", "dice", "best_dice"])
    return table.merge(part.groupby(names)[["threshold", "prevalence"]].mean().reset_index(), on=names)


def sensitivity_by_size(lesions):
    """The share of a patient's lesions that is found, by size.

    Args: lesions: of one method at one threshold, as in an `Evaluation`.

    Returns: a DataFrame size, lesions, sensitivity (the mean over patients with lesions of that size), sensitivity_low,
        sensitivity_high.
    """
    rows = []
    for size, part in lesions.groupby(size_of(lesions.volume_ml), observed=True):
        shares = part.groupby("subject").found.mean()
        low, high = interval(shares)
        row = {"size": size, "lesions": len(part), "sensitivity": shares.mean()}
        rows.append(row | {"sensitivity_low": low, "sensitivity_high": high})
    return pd.DataFrame(rows)


def typical(scores, method):
    """The row of a typical test patient: the one with the median AUPRC by one method, among those who have an AUPRC."""
    part = scores[(scores.split == "test") & (scores.method == method)].dropna(subset="auprc")
    part = part.sort_values(["auprc", "subject"])
    return part.iloc[len(part) // 2]


def regret(scores, singles, score="auprc", split="test", resamples=2000, seed=0):
    """How much a method loses by not knowing the pathology.

    Args: scores: of all sets and methods (`score_set`). singles: the names of the single-window methods.

    Returns: one row per method, the lowest regret first: `regret`, the mean over datasets of (best single - method) /
        best single, from the mean scores of a split. Negative: better than the best single window, which is chosen with
        hindsight, set by set. `regret_low`, `regret_high`: the middle 95 % over bootstraps of each set's subjects, each
        of which chooses the best single window again.
    """
    rng, methods = np.random.default_rng(seed), list(scores.method.unique())
    part = scores[scores.split == split]
    lost = []  # [1 + resamples, methods] for each set; the first row is the set itself
    for _, group in part.groupby("dataset", sort=False):
        wide = group.pivot(index="subject", columns="method", values=score)[methods]
        draws = rng.integers(len(wide), size=(resamples, len(wide)))
        means = np.concatenate([wide.mean().to_numpy()[None], np.nanmean(wide.to_numpy()[draws], axis=1)])
        best = means[:, [methods.index(name) for name in singles]].max(axis=1, keepdims=True)
        best[best <= 0] = np.nan  # a set where no window finds anything says nothing
        lost.append((best - means) / best)
    shares = np.nanmean(lost, axis=0)
    low, high = np.nanquantile(shares[1:], [0.025, 0.975], axis=0) if resamples else (np.nan, np.nan)
    table = pd.DataFrame({"method": methods, "regret": shares[0], "regret_low": low, "regret_high": high})
    return table.sort_values("regret").reset_index(drop=True)


def spread(table, by, scores):
    """How much several runs of the study differ, with the patients' share of the spread separate from the training's.

    Args: table: the tables of the runs, concatenated: `seed` and `fold` of the run, the columns `by`, which name a row,
        the scores, and `<score>_low` and `_high`, the interval over subjects, where the runs have it.

    Returns: one row per score and name, with the columns by, score,
        mean              over the runs
        between_subjects  the mean over the runs of half the interval over subjects, where there is one
        between_seeds     standard deviation over seeds of the means over folds, where there are several seeds
        between_folds     standard deviation over folds of the means over seeds, where there are several folds
    """

    def groups(frame, *names):
        return frame.groupby([*by, *names], sort=False, dropna=False)  # sigma is NaN where there is no window

    parts = []
    for score in scores:
        part = groups(table)[[score]].mean().set_axis(["mean"], axis=1)
        if f"{score}_low" in table:
            ends = groups(table)[[f"{score}_low", f"{score}_high"]].mean()
            part["between_subjects"] = ends.diff(axis=1).iloc[:, 1] / 2
        for run in ("seed", "fold"):
            if table[run].nunique() > 1:
                part[f"between_{run}s"] = groups(groups(table, run)[score].mean()).std()
        parts.append(part.assign(score=score).set_index("score", append=True).reset_index())
    return pd.concat(parts, ignore_index=True)
