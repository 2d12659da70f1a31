"""Figures of the ablations: a panel a pathology, the validation part beside the test part, the study's value marked.

In: tables of essim.study.choices. Out: a matplotlib Figure; `essim.runs.provenance.save_figure` writes it. Filled markers with
intervals are the test part, open ones the validation part, on which choices are made.
"""

import itertools

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from essim.figures.pictures import BLUE, BROWN, GREY, NAMES, ORANGE, PURPLE, new_figure
from essim.figures.scores import SCORES, STYLES

MARKED = {"color": GREY, "linestyle": (0, (1, 1)), "linewidth": 1.2, "zorder": 0}  # the study's value


def _looks(methods):
    """{method: (label, colour, marker)}; single windows are told apart."""
    windows = itertools.cycle(((BLUE, "o"), (ORANGE, "^"), (PURPLE, "v")))
    looks = {}
    for method in methods:
        if method.startswith("ssim "):
            looks[method] = (f"SSIM, \u03c3 = {method.split()[1]}", *next(windows))
        elif method in STYLES:
            text, colour, _, marker = STYLES[method]
            looks[method] = (text, colour, marker)
        else:
            looks[method] = (method, BROWN, "P")
    return looks


def _legend(figure, looks, marked):
    handles = [Line2D([], [], color=c, marker=m, label=text) for text, c, m in looks.values()]
    handles += [
        Line2D([], [], color="black", marker="o", label="test"),
        Line2D([], [], color="black", marker="o", markerfacecolor="white", linestyle="--", label="validation"),
        Line2D([], [], label=marked, **MARKED),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handlelength=3)


def _bars(part, score):
    """Lengths of the interval to both sides, 0 where there is none."""
    return np.nan_to_num([part[score] - part[f"{score}_low"], part[f"{score}_high"] - part[score]]).clip(min=0)


def _levels(table):
    """The methods that the choice doesn't touch: they have one value only."""
    counts = table.groupby("method").value.nunique()
    return set(counts.index[counts == 1])


def _places(values, log):
    """Where on the axis each value stands: {value: x}; words a step beyond the numbers."""
    numbers = pd.to_numeric(pd.Series(values), errors="coerce")
    known = numbers.notna()
    x = np.sort(np.log(numbers[known]) if log else numbers[known])
    step = np.diff(x).min() if len(x) > 1 else 1.0
    first, last = known.idxmax(), known[::-1].idxmax()
    place = {values[i]: np.log(n) if log else n for i, n in numbers[known].items()}
    place |= {word: x[0] - step * (first - i) for i, word in enumerate(values[:first])}
    place |= {word: x[-1] + step * i for i, word in enumerate(values[last + 1 :], 1)}
    return {value: float(np.exp(at) if log else at) for value, at in sorted(place.items(), key=lambda item: item[1])}


def over_values(table, study, axis_label, *, log=False, score="auprc", dots=None):
    """The score over a number, a panel a pathology.

    Values that aren't numbers stand at the left end if they come before the numbers in the table, else at the right.
    A method with one value only is a level across the panel.

    Args: table: `essim.study.choices.means`. study: the study's value, as the table calls it. log: a logarithmic axis. dots:
        rows dataset, value, method, <score> that are drawn as small points (runs that a mean is made of).
    """
    datasets, looks = list(table.dataset.unique()), _looks(table.method.unique())
    numbers = pd.to_numeric(table.value, errors="coerce")
    levels = _levels(table)
    place = _places(table.value[~table.method.isin(levels)].unique(), log)
    figure, axes = new_figure(1, len(datasets), 2.5 * len(datasets), 3)
    for axis, name in zip(axes[0], datasets, strict=True):
        axis.axvline(place[study], **MARKED)
        rows = table.assign(x=table.value.map(place), number=numbers)[table.dataset == name]
        for (method, split), part in rows.groupby(["method", "split"], sort=False):
            _, colour, marker = looks[method]
            face, line = (colour, "-") if split == "test" else ("white", "--")
            if method in levels:
                axis.axhline(part[score].item(), color=colour, linestyle=line)
                continue
            part = part.sort_values("x")
            curve = part[part.number.notna()]
            whole = len(curve) == rows.number.nunique()  # else only what was chosen was tried here
            if whole:
                axis.plot(curve.x, curve[score], color=colour, linestyle=line)
                if split == "test":
                    axis.fill_between(curve.x, curve[f"{score}_low"], curve[f"{score}_high"], color=colour, alpha=0.12)
            look = {"color": colour, "marker": marker, "markerfacecolor": face, "linestyle": "", "zorder": 3}
            axis.plot(part.x, part[score], **look)
            alone = part[part.number.isna() | (not whole)]
            if split == "test":
                axis.errorbar(alone.x, alone[score], yerr=_bars(alone, score), color=colour, linestyle="", capsize=2)
        for point in () if dots is None else dots[dots.dataset == name].itertuples():
            axis.plot(place[point.value], getattr(point, score), ".", color=looks[point.method][1], alpha=0.5)
        axis.set(title=NAMES[name], xlabel=axis_label, xscale="log" if log else "linear")
        axis.set_ylim(0, 1.06 * axis.get_ylim()[1])  # no marker is cut at the top
        axis.set_xticks(list(place.values()), list(place), rotation=90 if len(place) > 6 else 0, fontsize=8)
        axis.set_xticks([], minor=True)
    axes[0, 0].set_ylabel(SCORES[score])
    _legend(figure, looks, "the study's value")
    return figure


def over_categories(tables, study):
    """The scores of values that are words, a panel a pathology and score; a method with one value only is a level.

    Args: tables: {score: `essim.study.choices.means` of it}, a row of panels each. study: the study's value.
    """
    first = next(iter(tables.values()))
    datasets, looks, levels = list(first.dataset.unique()), _looks(first.method.unique()), _levels(first)
    rows = [method for method in looks if method not in levels]
    values = list(first[first.method.isin(rows)].value.unique())
    height = 0.6 + (0.16 + 0.11 * len(rows)) * len(values)
    figure, axes = new_figure(len(tables), len(datasets), 2.2 * len(datasets) + 1.6, height * len(tables) + 0.5,
                              sharey=True)  # fmt: skip
    shifts = dict(zip(rows, np.linspace(-0.3, 0.3, len(rows)) if len(rows) > 1 else [0.0], strict=True))
    for (row, (score, table)), (column, name) in itertools.product(enumerate(tables.items()), enumerate(datasets)):
        axis = axes[row, column]
        axis.axhline(values.index(study), **MARKED)
        for (method, split), part in table[table.dataset == name].groupby(["method", "split"], sort=False):
            _, colour, marker = looks[method]
            if method in levels:
                axis.axvline(part[score].item(), color=colour, linestyle="-" if split == "test" else "--")
                continue
            y = part.value.map(values.index) + shifts[method]
            look = {"color": colour, "marker": marker, "linestyle": ""}
            if split == "test":
                axis.errorbar(part[score], y, xerr=_bars(part, score), **look, elinewidth=1)
            else:
                axis.errorbar(part[score], y, markerfacecolor="white", **look)
        axis.set(xlabel=SCORES[score], xlim=(0, None), yticks=range(len(values)), yticklabels=values)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_title(NAMES[name] if row == 0 else "")
    axes[0, 0].set_ylim(len(values) - 0.5, -0.5)
    _legend(figure, looks, "the study's value")
    return figure


def gains(table):
    """What the validation part's choice changes on the test part, a panel a pathology: `essim.study.choices.choice`."""
    datasets = list(table.dataset.unique())
    names = table.choice + ": " + table.chosen + " (" + table.method + ", " + table.score.map(SCORES) + ")"
    table = table.assign(name=names)
    order = list(table.name.unique())
    figure, axes = new_figure(1, len(datasets), 1.8 * len(datasets) + 3.2, 0.24 * len(order) + 0.9, sharey=True)
    for axis, name in zip(axes[0], datasets, strict=True):
        part = table[table.dataset == name]
        kept = part.study == part.chosen
        y = part.name.map(order.index)
        bars = np.nan_to_num([part.gain - part.gain_low, part.gain_high - part.gain]).clip(min=0)
        axis.errorbar(part.gain[~kept], y[~kept], xerr=bars[:, ~kept], color=BLUE, marker="o", linestyle="", capsize=2)
        axis.plot(part.gain[kept], y[kept], "o", color=GREY, markerfacecolor="white")
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(title=NAMES[name], xlabel="gain on the test part", yticks=range(len(order)), yticklabels=order)
        axis.xaxis.set_major_formatter("{x:g}")
    axes[0, 0].set_ylim(len(order) - 0.5, -0.5)
    return figure
