"""The calibrated ensemble as figures: healthy maps, what was tried, whether promised shares are kept.

In: the tables of essim.study.candidates and essim.evaluation, the maps of a `Calibration`. Out: a matplotlib Figure.
Ours, beyond the paper.
"""

import numpy as np
from matplotlib.lines import Line2D

from essim.evaluation.stats import mean_with_interval
from essim.figures.pictures import Panel, row_colour_bars, slice_grid
from essim.figures.style import SET_NAMES, draw_table, error_bars, method_styles, new_figure


def plot_healthy_levels(rows, sigmas):
    """Healthy maps over the brain, {title: slices [K, H, W]}, one column per sigma; each row has its own scale."""
    panels = [[Panel(m, kind="map", limits=(0, np.quantile(maps, 0.995))) for m in maps] for maps in rows.values()]
    figure, axes = slice_grid(panels, [f"\u03c3 = {sigma:g}" for sigma in sigmas], list(rows))
    row_colour_bars(figure, axes, ["healthy mean"] * len(rows))
    return figure


def plot_candidates(table):
    """Mean AUPRC over the sets, channels in rows, rules in columns; framed: the best.

    `table`: as from `essim.study.candidates`, one row per patient, channels and rule.
    """
    by_set = table.groupby(["channels", "rule", "dataset"], sort=False).auprc.mean()
    wide = by_set.groupby(level=["channels", "rule"], sort=False).mean().unstack("rule")
    wide = wide.loc[table.channels.unique(), table.rule.unique()]
    figure, axes = new_figure(1, 1, 0.95 * wide.shape[1] + 2.2, 0.42 * len(wide) + 1.5)
    best = np.unravel_index(np.argmax(wide), wide.shape)
    cells = draw_table(axes[0, 0], wide / wide.max(axis=None), wide, [best])
    figure.colorbar(cells, ax=axes, label="share of the best", pad=0.02)
    return figure


def plot_on_each_set(table, scores=None):
    """AUPRC on each set: `table` has dataset, method, and <score>, <score>_low, <score>_high for each score.

    Methods stand side by side. `scores`: {column: label}, one point each, filled for the last only; None: auprc.
    """
    scores = scores or {"auprc": "AUPRC"}
    shifts = np.linspace(-0.16, 0.16, len(scores)) if len(scores) > 1 else [0]
    names, styles = table.dataset.unique(), method_styles(table.method.unique())
    figure, axes = new_figure(1, len(names), 2.1 * len(names) + 0.4, 2.7)
    for axis, name in zip(axes[0], names, strict=True):
        part = table[table.dataset == name].set_index("method")
        for place, (method, style) in enumerate(styles.items()):
            mean = part.loc[[method]]
            for shift, score in zip(shifts, scores, strict=True):
                hollow = {"markerfacecolor": "white"} if score != [*scores][-1] else {}
                look = style.points | {"markersize": 6, "capsize": 3} | hollow
                axis.errorbar(place + shift, mean[score], error_bars(mean, score), **look)
        axis.set_xticks(range(len(styles)), [style.label for style in styles.values()], rotation=40, ha="right")
        top = part[[f"{score}{end}" for score in scores for end in ("", "_high")]].max(
            axis=None
        )  # two patients have no interval
        axis.set(title=SET_NAMES[name], ylim=(0, 1.08 * top), xlim=(-0.5, len(styles) - 0.5))
    axes[0, 0].set_ylabel("AUPRC")
    if len(scores) > 1:
        look, last = {"color": "black", "marker": "o", "linestyle": ""}, [*scores][-1]
        faces = {score: "black" if score == last else "white" for score in scores}
        handles = [Line2D([], [], label=scores[score], markerfacecolor=face, **look) for score, face in faces.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(scores))
    return figure


def plot_promises(table):
    """Marked over promised shares, one row per contrast, one column per group; grey: within a factor of 1.5.

    `table`: contrast, group, method, promised, marked; one row per scan. Bars are 95 % intervals over scans; a promise
    is kept where the whole bar lies in the grey.
    """
    contrasts, groups, styles = table.contrast.unique(), table.group.unique(), method_styles(table.method.unique())
    size = 2.7 * len(groups), 2.4 * len(contrasts) + 0.4
    figure, axes = new_figure(len(contrasts), len(groups), *size, sharex=True, sharey=True)
    shares = np.sort(table.promised.unique())
    for line, contrast in zip(axes, contrasts, strict=True):
        for axis, group in zip(line, groups, strict=True):
            axis.fill_between(shares, shares / 1.5, shares * 1.5, color="black", alpha=0.1, linewidth=0)
            axis.plot(shares, shares, color="black", linewidth=0.8)
            for method, part in table[(table.contrast == contrast) & (table.group == group)].groupby(
                "method", sort=False
            ):
                mean, style = mean_with_interval(part, ["promised"], ["marked"]), styles[method]
                look = {"label": style.label, "capsize": 2, "elinewidth": 0.8} | style.curve
                axis.errorbar(mean.promised, mean.marked, error_bars(mean, "marked"), **look)
            axis.set(xscale="log", yscale="log", title=f"{contrast.upper()}, {group}")
        line[0].set_ylabel("marked share")
    for axis in axes[-1]:
        axis.set_xlabel("promised share")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(styles))
    return figure
