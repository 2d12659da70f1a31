"""The ablations as figures: one panel per pathology, validation part beside test part, the study's value marked.

In: tables of essim.study.selection. Out: a matplotlib Figure. Filled markers with intervals are the test part, open
ones the validation part, on which choices are made. Paper: section 3 (the choices of the study).
"""

import itertools

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from essim.evaluation.summaries import SCORE_NAMES
from essim.figures.style import BLUE, GREY, SET_NAMES, error_bars, method_styles, new_figure

MARKED = {"color": GREY, "linestyle": (0, (1, 1)), "linewidth": 1.2, "zorder": 0}  # the study's value
LINES = {"test": "-", "val": "--"}


def plot_over_values(table, study, axis_label, *, log=False, score="auprc", dots=None):
    """The score over a number, one panel per pathology.

    Values that are words stand at the left end if they come before the numbers in the table, else at the right. A
    method with a single value is a level across the panel.

    Args: table: `essim.study.selection.means`. study: the study's value, as in the table. log: logarithmic axes.
        dots: rows dataset, value, method, <score>, drawn as small points (the runs behind a mean).
    """
    datasets, styles, levels = _contents(table)
    place = _places(table.value[~table.method.isin(levels)].unique(), log)
    table = table.assign(x=table.value.map(place), number=pd.to_numeric(table.value, errors="coerce"))
    figure, axes = new_figure(1, len(datasets), 2.5 * len(datasets), 3)
    for axis, name in zip(axes[0], datasets, strict=True):
        axis.axvline(place[study], **MARKED)
        rows = table[table.dataset == name]
        for (method, split), part in rows.groupby(["method", "split"], sort=False):
            if method in levels:
                axis.axhline(part[score].item(), color=styles[method].colour, linestyle=LINES[split])
            else:
                _draw_part(axis, part.sort_values("x"), score, styles[method], split, rows.number.nunique())
        for point in () if dots is None else dots[dots.dataset == name].itertuples():
            axis.plot(place[point.value], getattr(point, score), ".", color=styles[point.method].colour, alpha=0.5)
        axis.set(title=SET_NAMES[name], xlabel=axis_label, xscale="log" if log else "linear")
        axis.set_ylim(0, 1.06 * axis.get_ylim()[1])  # no marker is cut at the top
        axis.set_xticks(list(place.values()), list(place), rotation=90 if len(place) > 6 else 0, fontsize=8)
        axis.set_xticks([], minor=True)
    axes[0, 0].set_ylabel(SCORE_NAMES[score])
    _legend(figure, styles)
    return figure


def plot_over_categories(tables, study):
    """The scores of values that are words, one panel per pathology and score; a method with a single value is a level.

    Args: tables: {score: `essim.study.selection.means` of it}, one row of panels each. study: the study's value.
    """
    first = next(iter(tables.values()))
    datasets, styles, levels = _contents(first)
    methods = [method for method in styles if method not in levels]
    values = list(first[first.method.isin(methods)].value.unique())
    height = (0.6 + (0.16 + 0.11 * len(methods)) * len(values)) * len(tables) + 0.5
    figure, axes = new_figure(len(tables), len(datasets), 2.2 * len(datasets) + 1.6, height, sharey=True)
    shifts = dict(zip(methods, np.linspace(-0.3, 0.3, len(methods)) if len(methods) > 1 else [0.0], strict=True))
    for (row, (score, table)), (column, name) in itertools.product(enumerate(tables.items()), enumerate(datasets)):
        axis = axes[row, column]
        axis.axhline(values.index(study), **MARKED)
        for (method, split), part in table[table.dataset == name].groupby(["method", "split"], sort=False):
            if method in levels:
                axis.axvline(part[score].item(), color=styles[method].colour, linestyle=LINES[split])
            else:
                bars = {"xerr": error_bars(part, score)} if split == "test" else {"markerfacecolor": "white"}
                y = part.value.map(values.index) + shifts[method]
                axis.errorbar(part[score], y, **bars, elinewidth=1, **styles[method].points)
        axis.set(xlabel=SCORE_NAMES[score], xlim=(0, None), yticks=range(len(values)), yticklabels=values)
        axis.xaxis.set_major_formatter("{x:g}")
    for axis, name in zip(axes[0], datasets, strict=True):
        axis.set_title(SET_NAMES[name])
    axes[0, 0].set_ylim(len(values) - 0.5, -0.5)
    _legend(figure, styles)
    return figure


def plot_gains(table):
    """What the validation part's choice changes on the test part, one panel per pathology.

    `table`: `essim.study.selection.choice`, for several choices.
    """
    datasets = list(table.dataset.unique())
    names = table.choice + ": " + table.chosen + " (" + table.method + ", " + table.score.map(SCORE_NAMES) + ")"
    places = {name: place for place, name in enumerate(names.unique())}
    table = table.assign(y=names.map(places))
    figure, axes = new_figure(1, len(datasets), 1.8 * len(datasets) + 3.2, 0.24 * len(places) + 0.9, sharey=True)
    for axis, name in zip(axes[0], datasets, strict=True):
        part = table[table.dataset == name]
        kept, changed = part[part.study == part.chosen], part[part.study != part.chosen]
        bars = error_bars(changed, "gain")
        axis.errorbar(changed.gain, changed.y, xerr=bars, color=BLUE, marker="o", linestyle="", capsize=2)
        axis.plot(kept.gain, kept.y, "o", color=GREY, markerfacecolor="white")
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(title=SET_NAMES[name], xlabel="gain on the test part", yticks=range(len(places)), yticklabels=places)
        axis.xaxis.set_major_formatter("{x:g}")
    axes[0, 0].set_ylim(len(places) - 0.5, -0.5)
    return figure


def _contents(table):
    """The datasets of a table, its methods' styles, and the methods with one value, which the choice doesn't affect."""
    counts = table.groupby("method").value.nunique()
    return list(table.dataset.unique()), method_styles(table.method.unique()), set(counts.index[counts == 1])


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


def _draw_part(axis, part, score, style, split, numbers):
    """One method on one part: points, joined if all `numbers` numeric values were tried on it; words stay separate."""
    look = style.points | {"markerfacecolor": style.colour if split == "test" else "white", "zorder": 3}
    axis.plot(part.x, part[score], **look)
    curve = part[part.number.notna()]
    if len(curve) == numbers:
        axis.plot(curve.x, curve[score], color=style.colour, linestyle=LINES[split])
        if split == "test":
            band = curve[f"{score}_low"], curve[f"{score}_high"]
            axis.fill_between(curve.x, *band, color=style.colour, alpha=0.12)
    if split == "test":
        alone = part[part.number.isna()] if len(curve) == numbers else part
        axis.errorbar(alone.x, alone[score], error_bars(alone, score), color=style.colour, linestyle="", capsize=2)


def _legend(figure, styles):
    handles = [Line2D([], [], color=style.colour, marker=style.marker, label=style.label) for style in styles.values()]
    handles += [
        Line2D([], [], color="black", marker="o", label="test"),
        Line2D([], [], color="black", marker="o", markerfacecolor="white", linestyle="--", label="validation"),
        Line2D([], [], label="the study's value", **MARKED),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handlelength=3)
