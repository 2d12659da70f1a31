"""One set of patients under every score and every threshold: the tables that 06_evaluate reads aloud.

In: folders of reconstructions (patients, and healthy scans of the same contrast) and a scorer (essim.evaluation.scoring). Out: tidy
tables of the test part: one row a volume, a decision (a volume cut at a threshold) or a lesion. Its maps are made when
they are needed and never kept, so that hundreds of test volumes take no more memory than a few; those of a validation
part, on which thresholds are fitted, are kept.

A threshold is always called by its source:
    healthy 1%   above it lie 1 % of the brain voxels of healthy validation scans; needs no lesion
    validation   the best Dice over the pooled voxels of the labelled validation part (the paper, section 3)
    oracle       the same on the test part itself: an upper bound that nobody reaches, never a result
"""

import threading
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import ndimage

from essim.evaluation.cases import case_rows, read_case
from essim.evaluation.detection import detect, lesions, operating_points, surface_distances
from essim.evaluation.metrics import Pooled, average_precision, best_dice, dice, precision_at
from essim.evaluation.scoring import (
    clean_maps,
    fitted_thresholds,
    for_each,
    healthy_thresholds,
    labelled_validation,
    validation_rows,
)
from essim.postprocess import remove_small

VALIDATION, ORACLE = "validation", "oracle"
RECALLS = np.linspace(0.02, 1, 50)
SHARES_MARKED = np.geomspace(1e-5, 0.1, 20)  # of all voxels, at the thresholds of the FROC curve


@dataclass
class Evaluation:
    """The test part of one set, table by table (long; a method is a row, not a column).

    volumes: dataset, subject, method, auprc, best_dice (of any threshold: an upper bound), prevalence.
    precision: dataset, subject, method, recall, precision.
    decisions: as from `decide`.
    lesions: dataset, subject, label, voxels, volume_ml, thickness_mm, contrast, method, source, found.
    operating: dataset, subject, method, threshold, lesions, found, false_positives: the FROC curve's counts.
    pooled: dataset, method, auprc, bound, prevalence: all volumes' voxels as one (`Pooled`).
    thresholds: {method: {source: threshold}}.
    """

    volumes: pd.DataFrame
    precision: pd.DataFrame
    decisions: pd.DataFrame
    lesions: pd.DataFrame
    operating: pd.DataFrame
    pooled: pd.DataFrame
    thresholds: dict


def source_of(share):
    """What the threshold is called that leaves this share of healthy voxels above it: `healthy 1%`."""
    return f"healthy {100 * share:g}%"


def evaluate(folder, healthy, scorer, shares):
    """Everything about one set: an `Evaluation`.

    Args: folder: the reconstructed patients. healthy: the reconstructed healthy scans, whose validation part gives the
        thresholds that need no lesion. scorer: as in essim.evaluation.scoring. shares: of healthy voxels above a threshold.

    Raises:
        ValueError: the set has no validation or no test cases.
        FileNotFoundError: as `read_case`.
    """
    fitted = fitted_thresholds(labelled_validation(folder, scorer))
    empty = healthy_thresholds(healthy, scorer, shares)
    together, cuts = pool(folder, scorer)
    thresholds = {
        name: {source_of(share): value for share, value in empty[name].items()}
        | {VALIDATION: fitted[name], ORACLE: together[name].best_dice()[1]}
        for name in together
    }

    def judge(row):
        case = read_case(folder, row)
        return _judge(case, clean_maps(case, scorer), thresholds, cuts)

    parts = for_each(judge, case_rows(folder, "test"), "evaluate")
    tables = {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in parts[0]}
    dataset = tables["volumes"].dataset.iloc[0]
    pooled = [
        {"dataset": dataset, "method": name}
        | dict(zip(("auprc", "bound"), voxels.average_precision(), strict=True))
        | {"prevalence": voxels.prevalence()}
        for name, voxels in together.items()
    ]
    return Evaluation(pooled=pd.DataFrame(pooled), thresholds=thresholds, **tables)


def pool(folder, scorer):
    """The test part as one: ({method: `Pooled`}, {method: thresholds that mark SHARES_MARKED of them})."""
    rows, together, lock = case_rows(folder, "test"), {}, threading.Lock()
    if not rows:
        raise ValueError(f"{folder}: has no test cases; there is nothing to evaluate.")

    def add(row):
        case = read_case(folder, row)
        for name, anomaly in clean_maps(case, scorer).items():
            with lock:
                together.setdefault(name, Pooled()).add(anomaly, case.seg, case.scored)

    for_each(add, rows, "pool")
    names = list(clean_maps(read_case(folder, rows[0]), scorer))  # in the scorer's order, whoever came first
    return {name: together[name] for name in names}, {name: together[name].marking(SHARES_MARKED) for name in names}


def decide(folder, scorer, thresholds):
    """Every scan of the test part cut at every threshold, small components removed.

    Args: thresholds: {method: {source: threshold}}; methods without an entry are left out.

    Returns: a DataFrame, one row a scan, method and source, with the columns
        dataset, subject, method, source, threshold,
        dice             1 where nothing is to be found and nothing is
        lesions, found, predicted, false_positives, sensitivity, precision, f1    of `essim.evaluation.detection.detect`
        distance_mm, hausdorff95_mm    of `essim.evaluation.detection.surface_distances`; at the source `validation` only, for
                         they take longer than all the rest of a decision
        false_ml         volume marked outside lesions
    """

    def judge(row):
        case = read_case(folder, row)
        maps = {name: anomaly for name, anomaly in clean_maps(case, scorer).items() if name in thresholds}
        return [record for name in maps for record, _ in _decide(case, name, maps[name], thresholds[name])]

    rows = for_each(judge, case_rows(folder, "test"), "decide")
    return pd.DataFrame([record for case in rows for record in case])


def marked_shares(folder, scorer, thresholds, margin=0):
    """How much of every scan of the test part lies above thresholds that promise a share; lesions are left out.

    Args:
        thresholds: {method: {share: threshold}}, as from `essim.evaluation.scoring.healthy_thresholds`.
        margin: mm; what lies up to so far from a lesion is left out as well.

    Returns: a DataFrame, one row a scan, method and share, with the columns dataset, subject, site, sex, age, method,
        promised and marked (shares of the brain's voxels, after post-processing).
    """

    def judge(row):
        case = read_case(folder, row)
        who = {name: row[name] for name in ("dataset", "subject", "site", "sex", "age")}
        tissue = case.scored & ~case.seg
        if case.seg.any():
            tissue &= ndimage.distance_transform_edt(~case.seg, sampling=case.spacing) > margin
        for method, anomaly in clean_maps(case, scorer).items():
            values = anomaly[tissue]
            for share, threshold in thresholds[method].items():
                yield who | {"method": method, "promised": share, "marked": (values > threshold).mean()}

    rows = for_each(lambda row: list(judge(row)), case_rows(folder, "test"), "marked")
    return pd.DataFrame([record for several in rows for record in several])


def _decide(case, method, anomaly, thresholds):
    """(one row of `decide`, what is marked) for each threshold."""
    name = {"dataset": case.dataset, "subject": case.subject, "method": method}
    for source, threshold in thresholds.items():
        prediction = remove_small(anomaly > threshold) & case.scored
        found = detect(prediction, case.seg, case.scored)
        near = surface_distances(prediction, case.seg, case.spacing) if source == VALIDATION else {}
        false_ml = (prediction & ~case.seg).sum() * np.prod(case.spacing) / 1000
        record = {"source": source, "threshold": threshold, "dice": dice(prediction, case.seg, case.scored)}
        yield name | record | found | near | {"false_ml": false_ml}, prediction


def _judge(case, maps, thresholds, cuts):
    """The rows of one case, {table: DataFrame}."""
    name = {"dataset": case.dataset, "subject": case.subject}
    every, labels = lesions(case.seg, case.image, case.scored, case.spacing)
    rows = {"volumes": [], "precision": [], "decisions": [], "lesions": [], "operating": []}
    for method, anomaly in maps.items():
        key = name | {"method": method}
        auprc = average_precision(anomaly, case.seg, case.scored)
        best, prevalence = best_dice(anomaly, case.seg, case.scored)[0], case.seg[case.scored].mean()
        rows["volumes"].append(key | {"auprc": auprc, "best_dice": best, "prevalence": prevalence})
        precision = precision_at(anomaly, case.seg, RECALLS, case.scored)
        rows["precision"] += [key | {"recall": r, "precision": p} for r, p in zip(RECALLS, precision, strict=True)]
        for record, prediction in _decide(case, method, anomaly, thresholds[method]):
            rows["decisions"].append(record)
            hit = every.label.isin(np.unique(labels[prediction]))
            rows["lesions"].append(every.assign(**name, method=method, source=record["source"], found=hit))
        rows["operating"].append(operating_points(anomaly, case.seg, case.scored, cuts[method]).assign(**key))
    whole = ("lesions", "operating")
    return {table: pd.concat(part) if table in whole else pd.DataFrame(part) for table, part in rows.items()}


def validation_auprc(folder, scorer):
    """Each method's mean AUPRC on the labelled validation part, a Series: where a choice may be made."""

    def judge(row):
        case = read_case(folder, row)
        maps = clean_maps(case, scorer)
        return {method: average_precision(anomaly, case.seg, case.scored) for method, anomaly in maps.items()}

    return pd.DataFrame(for_each(judge, validation_rows(folder), "score val")).mean()


def grid(folder, remakes, scorer, single, sigmas):
    """Every reconstruction under every score.

    Args: remakes: {name: a function from a case to its reconstruction [H, W, D]}. scorer: as in essim.evaluation.scoring. single: a
        function (case, sigma) -> one map, whose sigma is chosen on the validation part, for each reconstruction anew.

    Returns: a DataFrame of the test part, one row a scan, reconstruction and score: dataset, subject, reconstruction,
        score (the scorer's, and `ssim best`), sigma (of `ssim best`), auprc.
    """
    parts = [_one_reconstruction(folder, *pair, scorer, single, sigmas) for pair in remakes.items()]
    return pd.concat(parts, ignore_index=True)


def _one_reconstruction(folder, name, remake, scorer, single, sigmas):
    """The rows of `grid` for one way to reconstruct."""

    def remade(case):
        return replace(case, reconstruction=remake(case))

    def singles(case):
        case = remade(case)
        return {sigma: single(case, sigma) for sigma in sigmas}

    best = validation_auprc(folder, singles).idxmax()

    def scores(case):
        return scorer(case) | {"ssim best": single(case, best)}

    def judge(row):
        case = remade(read_case(folder, row))
        key = {"dataset": case.dataset, "subject": case.subject, "reconstruction": name}
        for score, anomaly in clean_maps(case, scores).items():
            auprc = average_precision(anomaly, case.seg, case.scored)
            yield key | {"score": score, "sigma": best if score == "ssim best" else np.nan, "auprc": auprc}

    rows = for_each(lambda row: list(judge(row)), case_rows(folder, "test"), name)
    return pd.DataFrame([record for several in rows for record in several])
