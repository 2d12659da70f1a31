"""Transplants as figures: what was put where, and how well it is found, beside grown and real patients.

In: slices, the tables of essim.study.transplants. Out: a matplotlib Figure. Not in the paper.
"""

import numpy as np

from essim.figures.pictures import Panel, slice_grid
from essim.figures.style import SET_NAMES, error_bars, method_styles, new_figure, series_styles


def show_transplants(rows):
    """A contact sheet: {dataset: [(healthy head, the same with the lesion, ground truth), ...]}, equally many per set.

    Slices [H, W] in [0, 1], the ground truth bool; it is outlined in the third picture of each patient.
    """
    panels = [[panel for one in people for panel in _panels(*one)] for people in rows.values()]
    people = len(next(iter(rows.values())))
    titles = ["healthy", "transplant", "ground truth"] * people
    return slice_grid(panels, titles, [SET_NAMES[name] for name in rows], 1.3)[0]


def _panels(before, after, truth):
    return [Panel(before, limits=(0, 1)), Panel(after, limits=(0, 1)), Panel(after, truth, limits=(0, 1))]


def plot_transplants(table):
    """AUPRC by method, one panel per set; grown, half-real and real patients side by side.

    `table`: dataset, patients (their kind, in words), method, auprc, auprc_low, auprc_high, as `summarise_transplants`
    and `mean_with_interval` return them; bars are the intervals, where there is one.
    """
    names, methods = table.dataset.unique(), method_styles(table.method.unique())
    kinds = series_styles(table.patients.unique())
    figure, axes = new_figure(1, len(names), (0.32 * len(methods) + 1.4) * len(names) + 0.4, 3.2, sharey=True)
    for axis, name in zip(axes[0], names, strict=True):
        for shift, (kind, style) in zip(np.linspace(-0.22, 0.22, len(kinds)), kinds.items(), strict=True):
            part = table[(table.dataset == name) & (table.patients == kind)].set_index("method").reindex(methods)
            look = style | {"linestyle": "", "capsize": 2, "linewidth": 1, "label": kind}
            axis.errorbar(np.arange(len(methods)) + shift, part.auprc, error_bars(part, "auprc"), **look)
        axis.set_xticks(range(len(methods)), [style.label for style in methods.values()], rotation=45, ha="right")
        axis.set_title(SET_NAMES[name])
    axes[0, 0].set(ylabel="AUPRC", ylim=(0, None))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=len(kinds))
    return figure
