"""Every case of a set under every score, judged at thresholds from the set's own labelled validation part.

In: a folder of reconstructions (essim.evaluation.cases) and a *scorer*, a function from a `Case` to its anomaly maps,
{method: tensor [1, 1, H, W, D]}; it is all that differs between the notebooks that compare scores.
Out: tables, one row per case and method, or their means. Paper: section 3 (post-processing, metrics).
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from essim.evaluation.cases import FEW, for_each, rows_of
from essim.evaluation.metrics import average_precision, best_dice, dice, fit_threshold
from essim.evaluation.stats import mean_with_interval
from essim.postprocess import erode_slices, postprocess, remove_small
from essim.reconstruct import noise_seed, reconstruct_volume


def clean_maps(case, scorer):
    """The scorer's maps of one case, post-processed: {method: float32 [H, W, D]}."""
    return {method: postprocess(anomaly[0, 0].numpy(), case.mask) for method, anomaly in scorer(case).items()}


def score_set(folder, scorer):
    """Score all cases of a folder: fit each method's threshold on the validation part, then judge every case.

    Returns: a DataFrame, one row per case and method, with the columns
        dataset, subject, split, method,
        auprc        average precision inside the brain
        dice         at `threshold`, small components removed
        best_dice    at any threshold: an upper bound, not a result
        threshold    best pooled Dice on the validation part, before small components are removed
        prevalence   lesion voxels / brain voxels, AUPRC's chance level
    """

    def judge(case, method, anomaly, threshold):
        yield {
            "method": method,
            "auprc": average_precision(anomaly, case.seg, case.scored),
            "dice": dice(remove_small(anomaly > threshold), case.seg, case.scored),
            "best_dice": best_dice(anomaly, case.seg, case.scored)[0],
            "threshold": threshold,
            "prevalence": case.seg[case.scored].mean(),
        }

    return judge_set(folder, lambda case: clean_maps(case, scorer), judge)


def judge_set(folder, maps_of, judge):
    """All cases of a folder, each map with the threshold that fits the validation part best.

    Args: maps_of: a function from a case to its cleaned maps {method: [H, W, D]}. judge: a function (case, method, map,
        threshold) that yields records.

    Returns: a DataFrame, one row per record, the validation part first: dataset, subject, split, then the record's.
    """
    validation = labelled_validation(folder, maps_of)
    thresholds = fitted_thresholds(validation)

    def records(case, maps):
        for method, anomaly in maps.items():
            for record in judge(case, method, anomaly, thresholds[method]):
                yield case.name | {"split": case.split} | record

    rows = pd.DataFrame([record for case, maps in validation for record in records(case, maps)])
    test = rows_of(folder, "test", lambda case: records(case, maps_of(case)), "score test")
    return pd.concat([rows, test], ignore_index=True)


def labelled_validation(folder, work, first=None):
    """[(case, work(case))] for the validation part, on which choices are made, or its `first` few; ValueError where it
    is empty."""
    pairs = for_each(folder, "val", lambda case: (case, work(case)), "score val", first)
    if not pairs:
        raise ValueError(f"{folder}: has no validation cases; thresholds need a labelled validation part.")
    return pairs


def fitted_thresholds(validation):
    """{method: threshold of best pooled Dice} over the cases and maps of `labelled_validation`."""
    cases, maps = zip(*validation, strict=True)
    segs, masks = [case.seg for case in cases], [case.scored for case in cases]
    return {method: fit_threshold([own[method] for own in maps], segs, masks) for method in maps[0]}


def validation_auprc(folder, scorer, first=None):
    """Each method's mean AUPRC on the labelled validation part (or its `first` few), on which choices are made: a
    Series."""

    def judge(case):
        maps = clean_maps(case, scorer)
        return {method: average_precision(anomaly, case.seg, case.scored) for method, anomaly in maps.items()}

    return pd.DataFrame([scores for _, scores in labelled_validation(folder, judge, first)]).mean()


def training_length(folder, networks, scorer, *, t, draws, seed):
    """How well a network trained for fewer steps would have scored, on the first FEW of the validation part.

    Args: networks: {training step: the `GaussianDiffusion` after it}; the last one's reconstructions are already in the
        folder. t, draws, seed: as in `reconstruct_set`.

    Returns: a DataFrame `dataset, step, method, auprc, error`, means over the cases with their intervals (`_low`,
        `_high`); `error` is the mean |x - y| of healthy brain.
    """

    def judge(case):
        noise = noise_seed(seed, case.subject)
        for step, diffusion in networks.items():
            y = case.reconstruction
            if step < max(networks):
                y = reconstruct_volume(diffusion, case.image, case.mask, t=t, draws=draws, seed=noise)
            error = np.abs(case.image - y)[case.tissue].mean()
            for method, anomaly in clean_maps(replace(case, reconstruction=y), scorer).items():
                auprc = average_precision(anomaly, case.seg, case.scored)
                yield {"step": step, "method": method, "auprc": auprc, "error": error}

    table = rows_of(folder, "val", judge, "training length", FEW)
    return mean_with_interval(table, ["dataset", "step", "method"], ["auprc", "error"])


def map_levels(folder, scorer):
    """The level of each raw map in healthy brain and in lesions, a DataFrame `dataset, method, healthy, lesion`.

    Means over the validation part with their intervals, without the rim of the brain, which post-processing cuts off.
    """

    def judge(case):
        core = erode_slices(case.mask)
        healthy, lesion = core & case.tissue, core & case.scored & case.seg
        for method, anomaly in scorer(case).items():
            values = anomaly[0, 0].numpy()
            level = values[lesion].mean() if lesion.any() else np.nan
            yield {"method": method, "healthy": values[healthy].mean(), "lesion": level}

    table = rows_of(folder, "val", judge, "levels")
    return mean_with_interval(table, ["dataset", "method"], ["healthy", "lesion"])
