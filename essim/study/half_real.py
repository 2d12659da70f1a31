"""Half-real patients: how well a network finds their lesions, beside grown and real patients.

In: the tables of essim.study.transplants, or any scans in study space, and a model folder. Out: one row per patient and
method, means with intervals, and both side by side for several kinds of patients or networks. Not in the paper.
"""

from pathlib import Path

import pandas as pd

from essim.evaluation.stats import mean_with_interval, paired_tests
from essim.study.promise import find_anomalies, judge
from essim.study.real_heads import LEVELS, SHOWN

SCORES = ["auprc", "best_dice", "prevalence"]
ABOUT = ["patients", "dataset"]


def measure_transplants(scans, folder, sigmas):
    """How well the network of a model folder finds the lesions of `make_transplants`, or of any patients.

    Args: scans: a scan table of patients, of the network's contrast, in study space, with unique subjects; it may
        include healthy controls. folder, sigmas: as in `essim.study.promise.find_anomalies`, whose errors it raises.

    Returns: a DataFrame, one row per patient and method (those of `find_anomalies`): dataset, subject,
        person and lesion ("" where the table has no such column), prevalence (lesion voxels / brain voxels, AUPRC's
        chance level), and the columns of `essim.study.promise.judge`: auprc, best_dice, marked ...
    """
    rows, named = [], scans.assign(source=scans.dataset, head=scans.subject)
    for found in find_anomalies(named, folder, sigmas):
        about = {key: found.row.get(key, "") for key in ("dataset", "subject", "person", "lesion")}
        about["prevalence"] = found.scan.seg[found.scan.mask & ~found.scan.ignored].mean()
        rows += [about | row for row in judge(found)]
    return pd.DataFrame(rows).drop(columns=["source", "head"]).fillna({"person": "", "lesion": ""})


def summarise_transplants(scores):
    """Means over lesions with their intervals (`mean_with_interval`): dataset, method, auprc, best_dice, prevalence.

    Patients of `measure_transplants` who share a lesion are averaged first: together they count as one observation.
    `subjects` counts the lesions; where none is known, every patient counts.
    """
    return mean_with_interval(each_lesion(scores), ["dataset", "method"], SCORES)


def each_lesion(scores):
    """The means of SCORES of `measure_transplants` over the patients who share a lesion: dataset, method, subject (the
    lesion's name, or the patient's where none is known), and SCORES."""
    whose = scores.lesion.where(scores.lesion != "", scores.subject).rename("subject")
    return scores.groupby(["dataset", "method", whose], sort=False)[SCORES].mean().reset_index()


# Side by side


def beside_grown(scores, reference, sets):
    """Several kinds of patients side by side: LEVELS, and the best window of each set.

    Args: scores: as from `measure_transplants`, with `patients`, their kind. reference: the folder of the tables main
        and ablation of a study on grown patients. sets: those of its sets that are comparable.

    Returns: a DataFrame, one row per kind, set and method (SHOWN): patients, dataset, method, sigma (NaN but for the
        window), auprc and best_dice with `_low` and `_high`, prevalence (mean), subjects.
    """
    grown = [pd.read_csv(Path(reference) / f"{name}.csv") for name in ("main", "ablation")]
    grown = [grown[0][grown[0].method.isin(LEVELS)], grown[1][grown[1].method.str.startswith("ssim ")]]
    grown = pd.concat(grown).query("dataset in @sets").assign(patients="grown")
    own = {kind: summarise_transplants(part) for kind, part in scores.groupby("patients", sort=False)}
    table = pd.concat([grown, *(part.assign(patients=kind) for kind, part in own.items())], ignore_index=True)
    windows = table[table.method.str.startswith("ssim ")]
    best = windows.loc[windows.groupby(ABOUT, sort=False).auprc.idxmax()]
    best = best.assign(sigma=best.method.str.removeprefix("ssim ").astype(float), method="ssim best")
    names = [f"{score}{end}" for score in ("auprc", "best_dice") for end in ("", "_low", "_high")]
    table = pd.concat([table[table.method.isin(LEVELS)].assign(sigma=float("nan")), best])
    table = table[[*ABOUT, "method", "sigma", *names, "prevalence", "subjects"]]
    ranks = {"patients": ["grown", *own], "method": SHOWN}
    order = {column: table[column].map(names.index) for column, names in ranks.items()}
    places = table.assign(**order).sort_values(["dataset", *order]).index
    return table.loc[places].reset_index(drop=True)


def by_training(scores):
    """Two networks on the same scans.

    Args: scores: as from `measure_transplants`, for LEVELS, with `patients`, their kind, and `network`, of which there
        are two.

    Returns: means over lesions, one row per kind, set, network and method, with auprc, best_dice and marked, each with
        `_low` and `_high`; and, for patients with lesions, the second network's AUPRC minus the first's, paired, with
        the columns of `paired_tests`.
    """
    scores = scores[scores.method.isin(LEVELS)]
    scores = scores.assign(subject=scores.lesion.where(scores.lesion != "", scores.subject))
    keys, columns = [*ABOUT, "network", "method"], ["auprc", "best_dice", "marked"]
    each = scores.groupby([*keys, "subject"], sort=False)[columns].mean().reset_index()
    gains, (first, second) = [], each.network.unique()
    for (kind, method), part in each.dropna(subset="auprc").groupby(["patients", "method"], sort=False):
        pairs = paired_tests(part.assign(method=part.network, split="test"), second, [first])
        gains.append(pairs.drop(columns="method").assign(patients=kind, scored=method))
    return mean_with_interval(each, keys, columns), pd.concat(gains, ignore_index=True)


def say_training(gains):
    """Sentences about the second table of `by_training`."""
    sentences = []
    for (kind, dataset), part in gains.groupby(ABOUT, sort=False):
        texts = [f"{row.scored} {row.gain:+.2f}" + _ends(row) for row in part.itertuples()]
        about = f"{kind} {dataset} (n = {part.subjects.max()})"
        sentences.append(f"{about}, AUPRC gained by training on real heads: {'; '.join(texts)}.")
    return sentences


def _ends(row):
    return "" if pd.isna(row.gain_low) else f" [{row.gain_low:+.2f}, {row.gain_high:+.2f}]"
