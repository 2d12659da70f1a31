"""The loops that the notebooks share: score a set of reconstructions, compare the scores.

In: a folder of reconstructions (essim.cases) and a scorer. Out: score tables. A *scorer* maps a case to its anomaly
maps, {name: tensor [1, 1, H, W, D]}; it's the only thing that differs between the notebooks that compare scores.
Paper: section 3 (post-processing, metrics).
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from essim.cases import case_rows, noise_seed, read_case, reconstruct_volume
from essim.metrics import average_precision, best_dice, dice, fit_threshold, healthy_threshold
from essim.postprocess import erode_slices, postprocess, remove_small

STEPS = {  # of post-processing, for the comparison without them
    "as scored": {},
    "no erosion": {"erode": False},
    "no median": {"median": False},
    "no erosion, no median": {"erode": False, "median": False},
}


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
    parts = {split: case_rows(folder, split) for split in ("val", "test")}
    if not parts["val"]:
        raise ValueError(f"{folder}: has no validation cases; thresholds need a labelled validation part.")

    def clean(row):
        case = read_case(folder, row)
        return case, clean_maps(case, scorer)

    def judge(case, maps):
        return [_score_row(case, name, anomaly, thresholds[name]) for name, anomaly in maps.items()]

    validation = for_each(clean, parts["val"], "score val")
    segs, masks = [case.seg for case, _ in validation], [case.scored for case, _ in validation]
    names = list(validation[0][1])
    thresholds = {name: fit_threshold([maps[name] for _, maps in validation], segs, masks) for name in names}
    rows = [judge(*pair) for pair in validation]
    rows += for_each(lambda row: judge(*clean(row)), parts["test"], "score test")
    return pd.DataFrame([row for case in rows for row in case])


def healthy_thresholds(folder, scorer, shares):
    """Where each method's map of healthy scans ends: {method: {share: threshold}}.

    Above a threshold lies that share of the brain voxels of all scans of a folder of healthy reconstructions together,
    after post-processing.
    """

    def clean(row):
        case = read_case(folder, row)
        return case.scored, clean_maps(case, scorer)

    cases = for_each(clean, case_rows(folder), "healthy scans")
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


def without_steps(folder, scorer, split="val"):
    """What post-processing does to each method: a DataFrame `dataset, method, steps, auprc`, means over a split."""

    def judge(row):
        case = read_case(folder, row)
        name = {"dataset": case.dataset}
        for method, anomaly in scorer(case).items():
            for steps, choice in STEPS.items():
                clean = postprocess(anomaly[0, 0].numpy(), case.mask, **choice)
                auprc = average_precision(clean, case.seg, case.scored)
                yield name | {"method": method, "steps": steps, "auprc": auprc}

    return _means(judge, case_rows(folder, split), ["dataset", "method", "steps"], "steps")


def training_length(folder, networks, scorer, *, t, draws, seed, split="val"):
    """What a shorter training would have found.

    Args: networks: {training step: the `GaussianDiffusion` after it}; what the last one makes of the cases is already
        in the folder. t, draws, seed: as in `reconstruct_set`.

    Returns: a DataFrame `dataset, step, method, auprc, error`, means over a split; `error` is the mean |x - y| of
        healthy brain.
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
    """The records that `judge` yields for each row, averaged over those that agree in `keys`."""
    records = for_each(lambda row: list(judge(row)), rows, what)
    table = pd.DataFrame([record for several in records for record in several])
    return table.groupby(keys, sort=False).mean().reset_index()


def levels(folder, scorer, split="val"):
    """How high each raw map stands in healthy brain and in lesions, a DataFrame `dataset, method, healthy, lesion`.

    Means over a split. The rim of the brain, which post-processing cuts off, is left out of both.
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
    """Mean over the subjects of one split: one row for each dataset and method, in their order of appearance."""
    part = scores[scores.split == split]
    groups = part.groupby(["dataset", "method"], sort=False)
    table = groups[["auprc", "dice", "best_dice", "threshold", "prevalence"]].mean()
    return table.assign(subjects=groups.size()).reset_index()


def typical(scores, method):
    """The row of the test patient in the middle: of median AUPRC by one method."""
    part = scores[(scores.split == "test") & (scores.method == method)].sort_values(["auprc", "subject"])
    return part.iloc[len(part) // 2]


def compare(scores, method, other, score="auprc"):
    """One method against another on the same test patients: one row a dataset.

    Returns: columns dataset, gain (mean of method - other), error (standard error of that mean), better (share of the
        patients with a gain), subjects, verdict ("no clear difference" within two standard errors of 0).
    """
    part = scores[scores.split == "test"]
    wide = part.pivot(index=["dataset", "subject"], columns="method", values=score)
    groups = (wide[method] - wide[other]).dropna().groupby("dataset")
    table = pd.DataFrame({"gain": groups.mean(), "error": groups.sem(), "better": groups.agg(lambda d: (d > 0).mean())})
    table = table.assign(subjects=groups.size(), verdict=np.where(table.gain > 0, "better", "worse"))
    table.loc[~(table.gain.abs() > 2 * table.error), "verdict"] = "no clear difference"
    return table.reindex(part.dataset.unique()).rename_axis("dataset").reset_index()


def regret(summary, singles, score="auprc"):
    """How much a method gives away for not knowing the pathology.

    Args: summary: `summarise`d scores of all sets. singles: the names of the single-sigma methods.

    Returns: one row a method: the mean over datasets of (best single - method) / best single. Negative: better than the
        best single sigma, which is chosen with hindsight, set by set.
    """
    wide = summary.pivot(index="dataset", columns="method", values=score)
    best = wide[list(singles)].max(axis=1)
    best = best.where(best > 0)  # a set where no sigma finds anything tells nothing
    lost = (-wide).add(best, axis=0).div(best, axis=0)
    return lost.mean().rename("regret").sort_values().reset_index()


def spread(table, by, scores):
    """How far apart several runs of the study lie, the patients' part of it and the training's told apart.

    Args: table: one table of the runs, one below the other: `seed` and `fold` of the run, the columns `by` which a row
        is named, `scores`, and `<score>_error`, the standard error over subjects, where the runs have it.

    Returns: one row a score and name, with the columns by, score,
        mean              over the runs
        between_subjects  the mean over the runs of the standard error over subjects, where there is one
        between_seeds     standard deviation over seeds of the means over folds, where there are several seeds
        between_folds     standard deviation over folds of the means over seeds, where there are several folds
    """

    def groups(frame, *names):
        return frame.groupby([*by, *names], sort=False, dropna=False)  # sigma is empty where there is no window

    parts = []
    for score in scores:
        part = groups(table)[[score]].mean().set_axis(["mean"], axis=1)
        if f"{score}_error" in table:
            part["between_subjects"] = groups(table)[f"{score}_error"].mean()
        for run in ("seed", "fold"):
            if table[run].nunique() > 1:
                part[f"between_{run}s"] = groups(groups(table, run)[score].mean()).std()
        parts.append(part.assign(score=score).set_index("score", append=True).reset_index())
    return pd.concat(parts, ignore_index=True)
