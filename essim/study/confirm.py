"""The confirmatory run: frozen choices and declared claims, tested on fresh patients.

In: tables of the development study, a declaration (workflow/confirm.yaml), scores of fresh patients in two columns
(essim.evaluation.at_best). Out: a table, one row per claim and set, and sentences that follow from it. Not in the
paper.

    confirmed, the opposite, no difference, open    verdicts, as the declaration defines them
"""

from pathlib import Path

import pandas as pd
import yaml

from essim.evaluation.at_best import COLUMNS
from essim.evaluation.stats import holm, interval, paired_tests
from essim.evaluation.summaries import GAIN_IN_BRACKETS, regret, with_interval

CONFIRMED, OPPOSITE, SAME, OPEN = VERDICTS = "confirmed", "the opposite", "no difference", "open"
DECLARED = {"alpha": float, "margin": float, "share": float, "column": str, "claims": dict}
RESAMPLES = 10_000  # for the simultaneous intervals of the whole family, far out in the tails


def read_declaration(path):
    """What is declared: a dict alpha, margin, share, column, claims ({words: [method, other]}).

    Raises ValueError where a key is missing, unknown or of the wrong type.
    """
    declared = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    kinds = {key: type(value) for key, value in declared.items()} if isinstance(declared, dict) else {}
    if kinds != DECLARED or declared["column"] not in COLUMNS or not declared["claims"]:
        wanted = ", ".join(f"{key} ({kind.__name__})" for key, kind in DECLARED.items())
        raise ValueError(f"{path}: must have {wanted}, `column` one of {', '.join(COLUMNS)}, `claims` one or more.")
    return declared


def read_frozen(folder):
    """What the development study chose: (a table method, post, order; {(dataset, column): its single window}).

    Raises FileNotFoundError where its tables are missing.
    """
    choices, windows = (_read(Path(folder) / f"{name}.csv") for name in ("at_best", "at_best_windows"))
    return choices, windows.set_index(["dataset", "column"]).method.to_dict()


def _read(path):
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; finish the development study first, and keep its tables there.")
    return pd.read_csv(path)


def family(scores, declared, column):
    """Every claim on every set.

    Args: scores: test patients in two columns, as from `at_best.with_windows`. declared: as from `read_declaration`.
        column: one of at_best.COLUMNS.

    Returns: a DataFrame, one row per claim and dataset: claim, dataset, method, other, subjects, gain with gain_low and
        gain_high (95 %) and family_low and family_high (1 - alpha for all rows together, Bonferroni), margin (of no
        difference), better (share of the patients), p (permutation), p_holm (over all rows), verdict.
    """
    rows = []
    for claim, (method, other) in declared["claims"].items():
        rows += [{"claim": claim} | row for row in paired_tests(scores, method, [other], column).to_dict("records")]
    table, test = pd.DataFrame(rows), scores[scores.split == "test"]
    wide = test.pivot(index=["dataset", "subject"], columns="method", values=column)
    level, more = 1 - declared["alpha"] / len(table), []
    for row in table.itertuples():
        pair = wide.loc[row.dataset, [row.method, row.other]].dropna()
        ends = interval(pair[row.method] - pair[row.other], level=level, resamples=RESAMPLES)
        more.append([*ends, min(declared["margin"], declared["share"] * pair[row.other].mean())])
    table[["family_low", "family_high", "margin"]] = more
    table = table.rename(columns={"p_permutation": "p"})
    table["p_holm"] = holm(table.p)
    table["verdict"] = [_verdict(row, declared["alpha"]) for row in table.itertuples()]
    names = ["claim", "dataset", "method", "other", "subjects", "gain", "gain_low", "gain_high", "family_low"]
    return table[[*names, "family_high", "margin", "better", "p", "p_holm", "verdict"]]


def _verdict(row, alpha):
    if row.p_holm < alpha:
        return CONFIRMED if row.gain > 0 else OPPOSITE
    return SAME if -row.margin < row.gain_low and row.gain_high < row.margin else OPEN


def regrets(scores):
    """The regret of every method in both columns, over all sets and set by set, since sets where nothing is found weigh
    as much as others: a DataFrame column, dataset ("all" or a set), method, regret, regret_low, regret_high."""
    singles = [name for name in scores.method.unique() if name.removeprefix("ssim ")[:1].isdigit()]
    part = scores[~scores.method.isin(["ssim default", "ssim best"])]
    groups = {"all": part} | dict(list(part.groupby("dataset", sort=False)))
    tables = [
        regret(rows, singles, column).assign(column=column, dataset=name)
        for column in COLUMNS
        for name, rows in groups.items()
    ]
    return pd.concat(tables, ignore_index=True)


def say(table):
    """One sentence about all claims, then one per claim with each set's verdict, difference, interval and p."""
    counts = table.verdict.value_counts().reindex(VERDICTS, fill_value=0)
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    sentences = [f"Of {len(table)} statements (one claim on one set): {told}."]
    for claim, part in table.groupby("claim", sort=False):
        texts = []
        for verdict in VERDICTS:
            rows = part[part.verdict == verdict].to_dict("records")
            on = [f"{r['dataset']} {with_interval(r, 'gain', GAIN_IN_BRACKETS)}, p = {r['p_holm']:.2g}" for r in rows]
            texts += [f"{verdict} on {'; '.join(on)}"] if on else []
        sentences.append(f"{claim[0].upper()}{claim[1:]}: {'. '.join(_capital(text) for text in texts)}.")
    return sentences


def _capital(text):
    return text[0].upper() + text[1:]


def say_regret(lost):
    """The regret of the paper's ensemble and of the best fixed window, from `regrets`: one sentence per column."""
    sentences = []
    for column, title in COLUMNS.items():
        part = lost[(lost.column == column) & (lost.dataset == "all")].set_index("method")
        fixed = part[part.index.str.startswith("ssim ")].regret
        window, ensemble = part.loc[fixed.idxmin()], part.loc["adaptive"]
        texts = [f"{with_interval(row, 'regret', GAIN_IN_BRACKETS)}" for row in (ensemble, window)]
        sentences.append(
            f"Regret, {title}: the paper's ensemble {texts[0]}; the best fixed window ({fixed.idxmin()}) {texts[1]}."
        )
    return sentences
