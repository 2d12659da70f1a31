"""The field's methods as figures: the grid of reconstructors and scores, and detection over cost (10).

In: tables of essim.study.methods. Out: a matplotlib Figure. Not in the paper.
"""

import itertools

import numpy as np
from matplotlib.lines import Line2D

from essim.figures.style import COLOURS, GREY, SET_NAMES, SKY, draw_table, error_bars, new_figure

MARKERS = "osD^vPX*<>ph"


def plot_grid(table, datasets):
    """Mean AUPRC of every reconstructor (rows) under every score (columns), one panel per set; framed: the set's best.

    `table`: from `methods.grid`. Pairs that were not tried are left white.
    """
    rows, columns = table.reconstructor.unique(), table.method.unique()
    size = 0.42 * len(columns) + 1.6, (0.28 * len(rows) + 1.5) * len(datasets)
    figure, axes = new_figure(len(datasets), 1, *size, sharex=True)
    for axis, name in zip(axes[:, 0], datasets, strict=True):
        wide = table[table.dataset == name].pivot(index="reconstructor", columns="method", values="auprc")
        wide = wide.loc[rows].reindex(columns=columns)
        best = np.unravel_index(np.nanargmax(wide), wide.shape)
        cells = draw_table(axis, wide / wide.max(axis=None), wide, [best])
        axis.set_title(SET_NAMES[name])
        for text in axis.texts:
            text.set_visible(text.get_text() != "nan")
    figure.colorbar(cells, ax=axes, label="share of the set's best", pad=0.01)
    return figure


def plot_trade(table):
    """Detection over cost: AUPRC over the seconds per volume, and over the minutes of training.

    `table`: from `methods.trade`. Each colour and marker is a reconstructor, or a score that needs none; hollow: with
    l1, filled: with the score that suits it best.
    """
    figure, axes = new_figure(1, 2, 8.5, 3.4, sharey=True)
    names = table.name.unique()
    looks = dict(zip(names, zip(itertools.cycle([*COLOURS, GREY, SKY]), itertools.cycle(MARKERS)), strict=False))
    for axis, cost in zip(axes[0], ("seconds", "training_minutes"), strict=True):
        for row in table.itertuples():
            colour, marker = looks[row.name]
            face = "white" if row.method == "l1" else colour
            one = table.loc[[row.Index]]
            axis.errorbar(
                *(one[cost], one.auprc, error_bars(one, "auprc")),
                **{"color": colour, "marker": marker, "markerfacecolor": face, "linestyle": "", "linewidth": 0.9},
            )
    axes[0, 0].set(
        xscale="log", xlabel="seconds per volume, one core", ylabel="AUPRC, mean over patients", ylim=(0, None)
    )
    axes[0, 1].set(xlabel="minutes of training, fastest pace", xlim=(-0.03 * table.training_minutes.max() - 0.1, None))
    handles = []
    for name, (colour, marker) in looks.items():
        other = [method for method in table[table.name == name].method if method not in ("l1", name)]
        label = f"{name}: {', '.join(other)}" if other else name
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="", label=label))
    handles.append(Line2D([], [], color="black", marker="o", markerfacecolor="white", linestyle="", label="with l1"))
    figure.legend(handles=handles, loc="outside right center")
    return figure
