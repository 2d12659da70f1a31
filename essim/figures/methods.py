"""The field's methods as figures: the grid of reconstructors and scores, and detection beside cost (10).

In: tables of essim.study.methods. Out: a matplotlib Figure. Not in the paper.
"""

import numpy as np
from matplotlib.lines import Line2D

from essim.figures.style import GREY, RED, SET_NAMES, draw_table, error_bars, new_figure, set_ticks


def plot_grid(table, datasets):
    """Mean AUPRC of every reconstructor (rows) under every score (columns), one panel per set; framed: the set's best,
    of which the colours are shares.

    `table`: from `methods.grid`. Pairs that were not tried are left white.
    """
    rows, columns = table.reconstructor.unique(), table.method.unique()
    size = 0.42 * len(columns) + 1.6, (0.28 * len(rows) + 1.5) * len(datasets)
    figure, axes = new_figure(len(datasets), 1, *size)
    for axis, name in zip(axes[:, 0], datasets, strict=True):
        wide = table[table.dataset == name].pivot(index="reconstructor", columns="method", values="auprc")
        wide = wide.loc[rows].reindex(columns=columns)
        best = np.unravel_index(np.nanargmax(wide), wide.shape)
        draw_table(axis, wide / wide.max(axis=None), wide, [best])
        axis.set_title(SET_NAMES[name])
        for text in axis.texts:
            text.set_visible(text.get_text() != "nan")
    return figure


def plot_trade(table):
    """Detection beside cost, the cheapest first: seconds per volume, and the gain over the DDPM's l1.

    `table`: from `methods.trade`. Hollow: with l1; filled: with the score that is named, in colour where no cheaper
    method has a higher mean. After the name, the slices that its network was trained on.
    """
    hollow = (table.method == "l1") & table.name.duplicated(keep=False)
    best = table[~hollow].sort_values("seconds", ignore_index=True)
    ahead = best.auprc > best.auprc.cummax().shift(fill_value=-1)
    figure, axes = new_figure(1, 2, 7.6, 0.25 * len(best) + 1.1, sharey=True, width_ratios=(0.5, 1))
    costs, gains = axes[0]
    gains.axvline(0, color="black", linewidth=0.8)
    for place, (row, front) in enumerate(zip(best.itertuples(), ahead, strict=True)):
        colour = RED if front else GREY
        costs.plot(row.seconds, place, "o", color=colour, markersize=5)
        for part, line, face, height in (
            (best, colour, colour, place - 0.1),
            (table[hollow], GREY, "white", place + 0.22),
        ):
            one = part[part.name == row.name]
            look = {"fmt": "o", "color": line, "markerfacecolor": face, "markersize": 5, "linewidth": 1}
            gains.errorbar(one.gain, [height] * len(one), xerr=error_bars(one, "gain"), **look)
    costs.set(xscale="log", xlabel="seconds per volume,\none core", yticks=range(len(best)))
    set_ticks(costs.xaxis, [0.1, 1, 10])
    costs.set(yticklabels=[_label(row) for row in best.itertuples()], ylim=(len(best) - 0.5, -0.5))
    gains.set_xlabel("gain in AUPRC over the DDPM's l1,\nmean over patients of all sets")
    looks = [
        ("with l1", GREY, "white"),
        ("with the score named", GREY, GREY),
        ("no cheaper one has a higher mean", RED, RED),
    ]
    dots = {"marker": "o", "linestyle": "", "markersize": 5}
    handles = [Line2D([], [], label=label, color=line, markerfacecolor=face, **dots) for label, line, face in looks]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _label(row):
    score = "" if row.method == row.name else f", {row.method}"
    slices = f" ({row.training_slices / 1000:.0f},000 slices)" if row.training_slices else ""
    return f"{row.name}{score}{slices}"
