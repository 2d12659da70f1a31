"""Which value the validation parts choose, and what that changes on the test parts.

In: a score table of essim.study.ablations, one row per patient, value and method. Out: means with intervals; one row
per method and set that compares the value chosen on the validation parts with the study's own; the same in words.
Paper: section 3 (the choices of the study).
"""

import pandas as pd

from essim.evaluation.stats import interval, mean_with_interval
from essim.evaluation.summaries import GAIN_IN_BRACKETS, SCORE_NAMES, regret, with_interval
from essim.study.ablations import label


def means(scores, score="auprc"):
    """Mean and interval over the subjects: columns dataset, split, value, method, <score>, <score>_low, _high."""
    return mean_with_interval(scores.dropna(subset=score), ["dataset", "split", "value", "method"], [score])


def chosen(scores, study, method, score="auprc"):
    """The one value for all sets with the lowest `regret` on the validation parts.

    `study` is the value that the study uses: it wins a tie.
    """
    part = scores[scores.method == method]
    values = list(dict.fromkeys([label(study), *part.value]))
    lost = regret(part.assign(method=part.value), values, score, split="val", resamples=0)
    return lost.set_index("method").regret.reindex(values).idxmin()


def choice(scores, what, study, methods, score="auprc"):
    """What the validation parts choose, and what that changes on the test parts: one row per method and set.

    Args: scores: as from `score_variants`. what: the choice's name. study: the value that the study uses.

    Returns: columns choice, score, method, study, chosen, dataset, at_study, at_chosen (means on the test part), gain,
        gain_low, gain_high (of chosen - study, patient by patient), subjects.
    """
    study, rows = label(study), []
    for method in methods:
        value = chosen(scores, study, method, score)
        part = scores[(scores.split == "test") & (scores.method == method)]
        for dataset, group in part.groupby("dataset", sort=False):
            wide = group.pivot(index="subject", columns="value", values=score)[list({study, value})].dropna()
            gain = wide[value] - wide[study]
            key = {"choice": what, "score": score, "method": method, "study": study, "chosen": value}
            numbers = {"at_study": wide[study].mean(), "at_chosen": wide[value].mean(), "gain": gain.mean()}
            numbers |= dict(zip(("gain_low", "gain_high"), interval(gain), strict=True))
            rows.append(key | {"dataset": dataset} | numbers | {"subjects": len(gain)})
    return pd.DataFrame(rows)


def sentences(choices):
    """`choice`'s table in words, one sentence per method and score."""
    texts = []
    for (score, method, study, value), part in choices.groupby(["score", "method", "study", "chosen"], sort=False):
        start = f"{method}: the validation parts choose {value}"
        if value == study:
            sets = ", ".join(f"{row.at_study:.3f} ({row.dataset})" for row in part.itertuples())
            texts.append(f"{start}, as the study does; {SCORE_NAMES[score]} on the test parts: {sets}.")
        else:
            sets = ", ".join(
                f"{with_interval(row, 'gain', GAIN_IN_BRACKETS)} ({row.dataset})" for _, row in part.iterrows()
            )
            change = f"this changes {SCORE_NAMES[score]} on the test parts by {sets}"
            texts.append(f"{start} instead of the study's {study}; {change}.")
    return texts
