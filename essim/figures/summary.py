"""The study summed up as figures: each method's regret, and how far its runs differ.

In: the tables of essim.evaluation.summaries. Out: a matplotlib Figure. Regret is the study's measure, not the paper's.
"""

import itertools

import numpy as np
from matplotlib.lines import Line2D

from essim.figures.style import COLOURS, GREY, SET_NAMES, error_bars, method_styles, new_figure

OVER_WINDOWS = ("mean", "min")


def plot_regret(table):
    """Regret bars, the best method on top; `table` has `method` (l1, `ssim <sigma>`, strategies) and `regret`."""
    figure, axes = new_figure(1, 1, 5.5, 0.24 * len(table) + 0.8)
    axis, table = axes[0, 0], table.sort_values("regret", ascending=False)
    styles = [method_styles([method])[method] for method in table.method]  # one by one: all windows look the same
    labels = [
        f"{s.label} of windows" if m in OVER_WINDOWS else s.label for m, s in zip(table.method, styles, strict=True)
    ]
    look = {"color": [style.colour for style in styles], "hatch": [style.hatch for style in styles]}
    look |= {"edgecolor": "white", "ecolor": "black", "error_kw": {"linewidth": 0.8}}
    bars = axis.barh(labels, table.regret, xerr=error_bars(table, "regret"), **look)
    axis.bar_label(bars, [f"{value:+.2f}" for value in table.regret], padding=3, fontsize=8)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(xlabel="regret (share of the best single \u03c3's AUPRC)")
    axis.margins(x=0.12)
    return figure


def plot_spread(table, datasets):
    """AUPRC of every method, one panel per pathology, one point per run: colour and height by seed, marker by fold.

    `table`: all runs' `seed, fold, dataset, method, auprc, auprc_low, auprc_high`. Bands: interval over subjects.
    """
    figure, axes = new_figure(1, len(datasets), 2.1 * len(datasets) + 1.8, 2.6, sharey=True)
    methods, seeds, folds = (list(table[column].unique()) for column in ("method", "seed", "fold"))
    colours = dict(zip(seeds, itertools.cycle(COLOURS), strict=False))
    markers = dict(zip(folds, itertools.cycle("osD^v"), strict=False))
    heights = dict(zip(seeds, np.linspace(-0.4, 0.4, len(seeds) + 2)[1:-1], strict=True))
    for axis, name in zip(axes[0], datasets, strict=True):
        part = table[table.dataset == name]
        mean = part.groupby("method")[["auprc_low", "auprc_high"]].mean().loc[methods]
        band = axis.barh(methods, mean.auprc_high - mean.auprc_low, 0.7, mean.auprc_low, color=GREY, alpha=0.3)
        for run in part.itertuples():
            place = methods.index(run.method) + heights[run.seed]
            axis.plot(run.auprc, place, markers[run.fold], color=colours[run.seed], alpha=0.8)
        axis.set(title=SET_NAMES[name], xlabel="AUPRC", xlim=(0, None))
        axis.xaxis.set_major_formatter("{x:g}")
    axes[0, 0].invert_yaxis()
    band.set_label("interval over\npatients (mean\nover runs)")
    keys = [(f"seed {seed}", "o", colour) for seed, colour in colours.items() if len(seeds) > 1]
    keys += [(f"fold {fold}", marker, "black") for fold, marker in markers.items() if len(folds) > 1]
    handles = [Line2D([], [], linestyle="", marker=marker, color=colour, label=key) for key, marker, colour in keys]
    figure.legend(handles=[*handles, band], loc="outside right center")
    return figure
