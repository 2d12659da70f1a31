"""Which of the conclusions drawn from grown patients also hold on half-real and on real patients.

In: summary tables of the study on grown patients, scores of half-real and real ones. Out: a table, one row per claim,
kind of patients and set, and sentences that follow from it. Not in the paper.

Each claim is a number that has to be above 0. Differences in AUPRC are paired, patient by patient, after the protocol's
own post-processing. For grown patients they come from the study's claims.csv (99_figures), in which the best window of
a set is chosen on validation patients; elsewhere it is chosen with hindsight.
"""

from pathlib import Path

import pandas as pd

from essim.evaluation.stats import paired_tests
from essim.evaluation.summaries import GAIN_IN_BRACKETS, regret, with_interval

PAIRS = {
    "the ensemble beats l1": ("adaptive", "l1"),
    "the calibrated ensemble beats l1": ("calibrated", "l1"),
    "the calibrated ensemble beats the paper's": ("calibrated", "adaptive"),
    "calibrated l1 beats l1": ("l1 calibrated", "l1"),
    "the calibrated ensemble beats calibrated l1": ("calibrated", "l1 calibrated"),
    "the ensemble beats the window that suits the set best": ("adaptive", "ssim best"),
}
APART, LESS = "no window suits all sets", "the ensemble loses less than any fixed window"
CLAIMS = (*PAIRS, APART, LESS)
VERDICTS = ("holds", "open", "the opposite", "too few patients")
ENDS = ("", "_low", "_high")
COLUMNS = ["claim", "patients", "dataset", "gain", "gain_low", "gain_high", "subjects"]
LEAST = 3  # patients for an interval


def conclusions(grown, scores):
    """Every claim on every kind of patients.

    Args: grown: the folder of the tables claims and regret of a study on grown patients. scores: {kind of patients:
        their scores}, one row per patient and method: dataset, method (l1, ssim <sigma>, adaptive, l1 calibrated,
        calibrated), subject, auprc.

    Returns: a DataFrame, one row per claim, kind and set (all sets together for the last two claims): claim, patients,
        dataset, gain with gain_low and gain_high (AUPRC, or a share of that of each set's best window; 95 % interval,
        NaN with fewer than LEAST patients), subjects, and verdict, one of VERDICTS.

    Raises FileNotFoundError where a table of the study is missing.
    """
    rows = _of_grown(Path(grown))
    for kind, table in scores.items():
        rows += _of_scores(kind, table)
    table = pd.DataFrame(rows)[COLUMNS]
    table["claim"] = pd.Categorical(table.claim, CLAIMS)
    table = table.sort_values("claim", kind="stable", ignore_index=True).astype({"claim": str})
    return table.assign(verdict=[_verdict(row) for row in table.itertuples()])


def _verdict(row):
    if pd.isna(row.gain_low):
        return "too few patients"
    return "holds" if row.gain_low > 0 else "the opposite" if row.gain_high < 0 else "open"


def _of_scores(kind, scores):
    scores = scores.assign(split="test")
    means = scores.groupby(["dataset", "method"], sort=False).auprc.mean().reset_index()
    singles = [name for name in means.method.unique() if name.startswith("ssim ")]
    best = means[means.method.isin(singles)].sort_values("auprc").groupby("dataset").method.last()
    chosen = scores[scores.method == scores.dataset.map(best)].assign(method="ssim best")
    scores, rows = pd.concat([scores, chosen]), []
    for claim, (method, other) in PAIRS.items():
        pairs = paired_tests(scores, method, [other])
        rows += [row | {"claim": claim, "patients": kind} for row in pairs.to_dict("records")]
    least = scores.groupby("dataset").subject.nunique().min()
    lost = regret(scores[scores.method != "ssim best"], singles).set_index("method")
    if least < LEAST:
        lost[["regret_low", "regret_high"]] = float("nan")
    return rows + _of_regret(kind, lost, singles, scores.subject.nunique())


def _of_regret(kind, lost, singles, subjects):
    """The rows of the two claims about all sets together, from a table of `regret` by method; the second's interval is
    as wide as the two methods' own intervals allow."""
    window, ensemble = lost.loc[lost.loc[singles].regret.idxmin()], lost.loc["adaptive"]
    about = {"patients": kind, "dataset": "all", "subjects": subjects}
    apart = {f"gain{end}": window[f"regret{end}"] for end in ENDS}
    ends = ENDS, ("", "_high", "_low")
    less = {f"gain{end}": window[f"regret{end}"] - ensemble[f"regret{other}"] for end, other in zip(*ends, strict=True)}
    return [about | {"claim": APART} | apart, about | {"claim": LESS} | less]


def _of_grown(folder):
    claims, lost = (_read(folder / f"{name}.csv") for name in ("claims", "regret"))
    claims, rows = claims[claims.column == "protocol"].set_index(["method", "other"]).sort_index(), []
    for claim, pair in PAIRS.items():
        rows += claims.loc[[pair]].assign(claim=claim, patients="grown")[COLUMNS].to_dict("records")
    singles = [name for name in lost.method if name.startswith("ssim ")]
    patients = claims.groupby("dataset").subjects.max().sum()
    return rows + _of_regret("grown", lost.set_index("method"), singles, patients)


def _read(path):
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the tables of a finished study as `reference`.")
    return pd.read_csv(path)


def say(table):
    """Sentences about the rows of `conclusions`: the verdict of each kind of patients on each claim, and which claims
    have the same verdict everywhere."""
    sentences, alike = [], []
    for claim, part in table.groupby("claim", sort=False):
        told = {kind: _told(rows) for kind, rows in part.groupby("patients", sort=False)}
        sentences.append(
            f"{claim[0].upper()}{claim[1:]}: {'; '.join(f'{kind}: {text}' for kind, text in told.items())}."
        )
        seen = [_overall(rows) for _, rows in part.groupby("patients", sort=False)]
        known = [verdict for verdict in seen if verdict != "too few patients"]
        alike += [f"{claim} ({known[0]})"] if len({*known}) == 1 and len(known) > 1 else []
    count = table.claim.nunique()
    which = f": {', '.join(alike)}" if alike else ""
    first = f"Of {count} claims, {len(alike)} have the same verdict wherever there are enough patients{which}."
    return [first, *sentences]


def _told(rows):
    """What one kind of patients says about one claim, in words."""
    texts = []
    for verdict in VERDICTS:
        part = rows[rows.verdict == verdict]
        if len(part):
            gains = ", ".join(_gain(row) for row in part.to_dict("records"))
            texts.append(f"{verdict} ({gains})")
    return ", ".join(texts)


def _gain(row):
    name = "" if row["dataset"] == "all" else f"{row['dataset']} "
    return name + with_interval(row, "gain", GAIN_IN_BRACKETS)


def _overall(rows):
    """One verdict for several sets: theirs if they agree, apart from sets that leave it open."""
    verdicts = {*rows.verdict} - {"open", "too few patients"}
    if set(rows.verdict) == {"too few patients"}:
        return "too few patients"
    return verdicts.pop() if len(verdicts) == 1 else "mixed" if verdicts else "open"
