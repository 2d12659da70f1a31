"""The loops that the notebooks share: score a set of reconstructions, sum the scores up.

In: a folder of reconstructions (essim.evaluation.cases) and a scorer. Out: score tables. A *scorer* maps a case to its anomaly
maps, {name: tensor [1, 1, H, W, D]}; it's the only thing that differs between the notebooks that compare scores.
Paper: section 3 (post-processing, metrics).
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from essim.evaluation.cases import case_rows, noise_seed, read_case, reconstruct_volume
from essim.evaluation.metrics import average_precision, best_dice, dice, fit_threshold, healthy_threshold
from essim.evaluation.stats import mean_with_interval
from essim.postprocess import erode_slices, postprocess, remove_small


def clean_maps(case, scorer):
    """The scorer's maps of one case, post-processed: {name: float32 [H, W, D]}."""
    return {name: postprocess(m[0, 0].numpy(), case.mask) for name, m in scorer(case).items()}


def score_set(folder, scorer):
    """Score all cases of a folder: fit each method's threshold on the val part, then judge every case.

    Returns: a DataFrame, one row for each case and method, with the columns
        dataset, subject, split, method,
        auprc        average precision inside the brain
        dice         at `threshold`, small components removed
        best_dice    of any threshold: an upper bound, not a result
        threshold    best pooled Dice on the val part, before small components are removed
        prevalence   lesion voxels / brain voxels, AUPRC's chance level
    """
    validation = labelled_validation(folder, scorer)
    thresholds = fitted_thresholds(validation)

    def judge(case, maps):
        return [_score_row(case, name, anomaly, thresholds[name]) for name, anomaly in maps.items()]

    def score(row):
        case = read_case(folder, row)
        return judge(case, clean_maps(case, scorer))

    rows = [judge(*pair) for pair in validation] + for_each(score, case_rows(folder, "test"), "score test")
    return pd.DataFrame([row for case in rows for row in case])


def validation_rows(folder):
    """The `case_rows` on which choices are made; ValueError where there are none."""
    rows = case_rows(folder, "val")
    if not rows:
        raise ValueError(f"{folder}: has no validation cases; thresholds need a labelled validation part.")
    return rows


def labelled_validation(folder, scorer):
    """The few cases that thresholds are fitted on, with their cleaned maps: a list of (case, {method: map})."""

    def clean(row):
        case = read_case(folder, row)
        return case, clean_maps(case, scorer)

    return for_each(clean, validation_rows(folder), "score val")


def fitted_thresholds(validation):
    """Each method's threshold of best pooled Dice over `labelled_validation`: {method: threshold}."""
    segs, masks = [case.seg for case, _ in validation], [case.scored for case, _ in validation]
    names = list(validation[0][1])
    return {name: fit_threshold([maps[name] for _, maps in validation], segs, masks) for name in names}


def healthy_thresholds(folder, scorer, shares):
    """Where each method's map of healthy scans ends: {method: {share: threshold}}.

    Above a threshold lies that share of the brain voxels of all healthy validation scans of a folder together, after
    post-processing.
    """

    def clean(row):
        case = read_case(folder, row)
        return case.scored, clean_maps(case, scorer)

    cases = for_each(clean, case_rows(folder, "val"), "healthy scans")
    masks = [mask for mask, _ in cases]
    return {
        name: {share: healthy_threshold([maps[name] for _, maps in cases], masks, share) for share in shares}
        for name in cases[0][1]
    }


def for_each(work, rows, what):
    """[work(row) for row in rows], several at a time, with a progress bar over what is done."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(tqdm(pool.map(work, rows), total=len(rows), desc=what, unit="volume"))


def _score_row(case, method, anomaly, threshold):
    return {
        "dataset": case.dataset,
        "subject": case.subject,
        "split": case.split,
        "method": method,
        "auprc": average_precision(anomaly, case.seg, case.scored),
        "dice": dice(remove_small(anomaly > threshold), case.seg, case.scored),
        "best_dice": best_dice(anomaly, case.seg, case.scored)[0],
        "threshold": threshold,
        "prevalence": case.seg[case.scored].mean(),
    }


def training_length(folder, networks, scorer, *, t, draws, seed, split="val"):
    """What a shorter training would have found.

    Args: networks: {training step: the `GaussianDiffusion` after it}; what the last one makes of the cases is already
        in the folder. t, draws, seed: as in `reconstruct_set`.

    Returns: a DataFrame `dataset, step, method, auprc, error`, means over a split with their intervals (`_low`,
        `_high`); `error` is the mean |x - y| of healthy brain.
    """

    def judge(row):
        case = read_case(folder, row)
        noise = noise_seed(seed, case.subject)
        for step, diffusion in networks.items():
            y = case.reconstruction
            if step < max(networks):
                y = reconstruct_volume(diffusion, case.image, case.mask, t=t, draws=draws, seed=noise)
            name = {"dataset": case.dataset, "step": step}
            error = np.abs(case.image - y)[case.scored & ~case.seg].mean()
            for method, anomaly in clean_maps(replace(case, reconstruction=y), scorer).items():
                auprc = average_precision(anomaly, case.seg, case.scored)
                yield name | {"method": method, "auprc": auprc, "error": error}

    return _means(judge, case_rows(folder, split), ["dataset", "step", "method"], "training length")


def _means(judge, rows, keys, what):
    """The records that `judge` yields for each row, averaged over those that agree in `keys`, with intervals."""
    records = for_each(lambda row: list(judge(row)), rows, what)
    table = pd.DataFrame([record for several in records for record in several])
    return mean_with_interval(table, keys, [name for name in table if name not in keys])


def levels(folder, scorer, split="val"):
    """How high each raw map stands in healthy brain and in lesions, a DataFrame `dataset, method, healthy, lesion`.

    Means over a split with their intervals. The rim of the brain, which post-processing cuts off, is left out of both.
    """

    def judge(row):
        case = read_case(folder, row)
        core = erode_slices(case.mask) & case.scored
        healthy, lesion = core & ~case.seg, core & case.seg
        for method, anomaly in scorer(case).items():
            values = anomaly[0, 0].numpy()
            means = {"healthy": values[healthy].mean(), "lesion": values[lesion].mean() if lesion.any() else np.nan}
            yield {"dataset": case.dataset, "method": method} | means

    return _means(judge, case_rows(folder, split), ["dataset", "method"], "levels")


def summarise(scores, split="test"):
    """Means over the subjects of one split: one row for each dataset and method, in their order of appearance.

    Returns: dataset, method, then auprc, dice and best_dice, each with `_low` and `_high` (`essim.evaluation.stats.interval`),
        subjects, threshold, prevalence.
    """
    part, names = scores[scores.split == split], ["dataset", "method"]
    table = mean_with_interval(part, names, ["auprc", "dice", "best_dice"])
    return table.merge(part.groupby(names)[["threshold", "prevalence"]].mean().reset_index(), on=names)


def typical(scores, method):
    """The row of the test patient in the middle: of median AUPRC by one method, among those who have one."""
    part = scores[(scores.split == "test") & (scores.method == method)].dropna(subset="auprc")
    part = part.sort_values(["auprc", "subject"])
    return part.iloc[len(part) // 2]


def regret(scores, singles, score="auprc", split="test", resamples=2000, seed=0):
    """How much a method gives away for not knowing the pathology.

    Args: scores: all sets' and methods' (`score_set`). singles: the names of the single-sigma methods.

    Returns: one row a method, the least first: `regret`, the mean over datasets of (best single - method) / best single
        of the mean scores of a split. Negative: better than the best single sigma, which is chosen with hindsight, set
        by set. `regret_low`, `regret_high`: the middle 95 % over bootstraps of each set's subjects, in which the best
        single sigma is found anew.
    """
    rng, columns = np.random.default_rng(seed), list(scores.method.unique())
    part = scores[scores.split == split]
    lost = []  # [1 + resamples, methods] for each set; the first is the set itself
    for _, group in part.groupby("dataset", sort=False):
        wide = group.pivot(index="subject", columns="method", values=score)[columns]
        draws = rng.integers(len(wide), size=(resamples, len(wide)))
        means = np.concatenate([wide.mean().to_numpy()[None], np.nanmean(wide.to_numpy()[draws], axis=1)])
        best = means[:, [columns.index(name) for name in singles]].max(axis=1, keepdims=True)
        best[best <= 0] = np.nan  # a set where no sigma finds anything tells nothing
        lost.append((best - means) / best)
    every = np.nanmean(lost, axis=0)
    low, high = np.nanquantile(every[1:], [0.025, 0.975], axis=0) if resamples else (np.nan, np.nan)
    table = pd.DataFrame({"method": columns, "regret": every[0], "regret_low": low, "regret_high": high})
    return table.sort_values("regret").reset_index(drop=True)


def spread(table, by, scores):
    """How far apart several runs of the study lie, the patients' part of it and the training's told apart.

    Args: table: one table of the runs, one below the other: `seed` and `fold` of the run, the columns `by` which a row
        is named, `scores`, and `<score>_low` and `_high`, the interval over subjects, where the runs have it.

    Returns: one row a score and name, with the columns by, score,
        mean              over the runs
        between_subjects  the mean over the runs of half the interval over subjects, where there is one
        between_seeds     standard deviation over seeds of the means over folds, where there are several seeds
        between_folds     standard deviation over folds of the means over seeds, where there are several folds
    """

    def groups(frame, *names):
        return frame.groupby([*by, *names], sort=False, dropna=False)  # sigma is empty where there is no window

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
