"""One set of patients under every score and every threshold: the tables that 06_evaluate shows.

In: folders of reconstructions (patients, and healthy scans of the same contrast) and a scorer (as in `scoring`).
Out: tidy tables of the test part: one row per volume, decision (a volume cut at a threshold) or lesion. Test maps are
made when needed and never kept, so that hundreds of test volumes take no more memory than a few; the maps of the
validation part, on which thresholds are fitted, are kept.

A threshold is always named after its source:
    healthy 1%   1 % of the brain voxels of healthy validation scans lie above it; needs no lesions
    validation   the best Dice over the pooled voxels of the labelled validation part (the paper, section 3)
    oracle       the same on the test part itself: an upper bound, never a result
"""

import threading
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from essim.evaluation.cases import FEW, case_rows, for_each, read_case, rows_of
from essim.evaluation.detection import detect, lesions, matched, operating_points, surface_distances
from essim.evaluation.healthy import healthy_thresholds
from essim.evaluation.metrics import Pooled, average_precision, best_dice, dice, precision_at
from essim.evaluation.scoring import clean_maps, fitted_thresholds, labelled_validation, validation_auprc
from essim.evaluation.sites import scan_level
from essim.postprocess import connected_components, remove_small

VALIDATION, ORACLE = "validation", "oracle"
RECALLS = np.linspace(0.02, 1, 50)
SHARES_MARKED = np.geomspace(1e-5, 0.1, 20)  # of all voxels, at the thresholds of the FROC curve


@dataclass
class Evaluation:
    """The test part of one set, table by table; dataset, subject and method are columns of each."""

    volumes: pd.DataFrame  # auprc, best_dice (at any threshold: an upper bound), prevalence
    precision: pd.DataFrame  # recall, precision
    decisions: pd.DataFrame  # as from `decide`
    lesions: pd.DataFrame  # as from `essim.evaluation.detection.lesions`; source of the threshold, found
    operating: pd.DataFrame  # threshold, lesions, found, false_positives: the FROC curve's counts
    pooled: pd.DataFrame  # auprc, bound, prevalence over the voxels of all volumes (`Pooled`); no subject
    thresholds: dict  # {method: {source: threshold}}


def source_of(share):
    """The name of the threshold that leaves this share of healthy voxels above it: `healthy 1%`."""
    return f"healthy {100 * share:g}%"


def evaluate(folder, healthy, scorer, shares):
    """Evaluate one set in full: an `Evaluation`.

    Args: folder: the reconstructed patients. healthy: the reconstructed healthy scans, whose validation part gives the
        thresholds that need no lesions. scorer: as in `scoring`. shares: of healthy voxels above a threshold.

    Raises ValueError where the set has no validation or no test cases.
    """
    fitted = fitted_thresholds(labelled_validation(folder, lambda case: clean_maps(case, scorer)))
    promised, pools = healthy_thresholds(healthy, scorer, shares), pool(folder, scorer)
    cuts = {method: voxels.marking(SHARES_MARKED) for method, voxels in pools.items()}
    thresholds = {
        method: {source_of(share): threshold for share, threshold in promised[method].items()}
        | {VALIDATION: fitted[method], ORACLE: voxels.best_dice()[1]}
        for method, voxels in pools.items()
    }

    def judge(case):
        return list(_tables_of(case, clean_maps(case, scorer), thresholds, cuts))

    pieces = [piece for case in for_each(folder, "test", judge, "evaluate") for piece in case]
    tables = {name: pd.concat([rows for n, rows in pieces if n == name], ignore_index=True) for name in dict(pieces)}
    dataset = tables["volumes"].dataset[0]
    rows = [(dataset, name, *voxels.average_precision(), voxels.prevalence()) for name, voxels in pools.items()]
    pooled = pd.DataFrame(rows, columns=["dataset", "method", "auprc", "bound", "prevalence"])
    return Evaluation(pooled=pooled, thresholds=thresholds, **tables)


def pool(folder, scorer):
    """All voxels of the test part, pooled: {method: `Pooled`}."""
    rows, lock = case_rows(folder, "test"), threading.Lock()
    if not rows:
        raise ValueError(f"{folder}: has no test cases; there is nothing to evaluate.")
    pools = {method: Pooled() for method in scorer(read_case(folder, rows[0]))}

    def add(case):
        for method, anomaly in clean_maps(case, scorer).items():
            with lock:
                pools[method].add(anomaly, case.seg, case.scored)

    for_each(folder, "test", add, "pool")
    return pools


def _tables_of(case, maps, thresholds, cuts):
    """What one case adds to the tables of an `Evaluation`: pairs (table, DataFrame)."""
    lesion_table, labels = lesions(case.seg, case.image, case.scored, case.spacing_mm)
    for method, anomaly in maps.items():
        key = case.name | {"method": method}
        auprc, (best, _) = (score(anomaly, case.seg, case.scored) for score in (average_precision, best_dice))
        scores = {"auprc": auprc, "best_dice": best, "prevalence": case.seg[case.scored].mean()}
        yield "volumes", pd.DataFrame([key | scores])
        precision = precision_at(anomaly, case.seg, RECALLS, case.scored)
        yield "precision", pd.DataFrame(key | {"recall": RECALLS, "precision": precision})
        for record, marked in _decisions(case, anomaly, thresholds[method]):
            yield "decisions", pd.DataFrame([key | record])
            found = lesion_table.label.isin(matched(labels, connected_components(marked)[0]))
            yield "lesions", lesion_table.assign(**key, source=record["source"], found=found)
        yield "operating", operating_points(anomaly, case.seg, case.scored, cuts[method]).assign(**key)


def decide(folder, scorer, thresholds):
    """Every scan of the test part cut at every threshold, small components removed.

    Args: thresholds: {method: {source: threshold}}; methods without an entry are left out.

    Returns: a DataFrame, one row per scan, method and source, with the columns
        dataset, subject, method, source, threshold,
        dice             1 where there is nothing to find and nothing is marked
        lesions, found, predicted, false_positives, sensitivity, precision, f1, bloated    of `detection.detect`
        distance_mm, hausdorff95_mm    of `detection.surface_distances`; at the source `validation` only, since they
                         take longer than the rest of a decision
        false_ml         volume marked outside lesions
        level            how high the map reaches as a whole (`sites.scan_level`), whatever the threshold
    """

    def judge(case):
        for method, anomaly in clean_maps(case, scorer).items():
            for record, _ in _decisions(case, anomaly, thresholds.get(method, {})):
                yield {"method": method} | record

    return rows_of(folder, "test", judge, "decide")


def _decisions(case, anomaly, thresholds):
    """(one row of `decide`, what is marked: bool [H, W, D]) for each threshold."""
    level = scan_level(anomaly, case.scored)
    for source, threshold in thresholds.items():
        marked = remove_small(anomaly > threshold) & case.scored
        record = {"source": source, "threshold": threshold, "dice": dice(marked, case.seg, case.scored)}
        record |= detect(marked, case.seg, case.scored)
        record |= surface_distances(marked, case.seg, case.spacing_mm) if source == VALIDATION else {}
        false_ml = (marked & ~case.seg).sum() * np.prod(case.spacing_mm) / 1000
        yield record | {"false_ml": false_ml, "level": level}, marked


def scores_of_reconstructions(folder, remakes, scorer, single, sigmas):
    """Every reconstruction under every score.

    Args: remakes: {name: a function from a case to its reconstruction [H, W, D]}. scorer: as in `scoring`.
        single: a function (case, sigma) -> one map, whose sigma is chosen on the first FEW of the validation
        part, separately for each reconstruction.

    Returns: a DataFrame of the test part, one row per scan, reconstruction and score: dataset, subject, reconstruction,
        score (the scorer's, and `ssim best`), sigma (of `ssim best`), auprc.
    """
    tables = [_scores_of(folder, name, remake, scorer, single, sigmas) for name, remake in remakes.items()]
    return pd.concat(tables, ignore_index=True)


def _scores_of(folder, name, remake, scorer, single, sigmas):
    """The rows of `scores_of_reconstructions` for one reconstruction."""

    def singles(case):
        case = replace(case, reconstruction=remake(case))
        return {sigma: single(case, sigma) for sigma in sigmas}

    best = validation_auprc(folder, singles, FEW).idxmax()

    def judge(case):
        case = replace(case, reconstruction=remake(case))
        maps = clean_maps(case, lambda case: scorer(case) | {"ssim best": single(case, best)})
        for score, anomaly in maps.items():
            sigma = best if score == "ssim best" else np.nan
            auprc = average_precision(anomaly, case.seg, case.scored)
            yield {"reconstruction": name, "score": score, "sigma": sigma, "auprc": auprc}

    return rows_of(folder, "test", judge, name)
