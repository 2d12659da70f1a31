"""The calibrated ensemble as figures: what healthy brains show, what was tried, whether promised shares are kept.

In: the tables of essim.study.candidates and essim.evaluation, the maps of a `Calibration`. Out: a matplotlib Figure;
`essim.runs.provenance.save_figure` writes it.
"""

import numpy as np

from essim.evaluation.stats import mean_with_interval
from essim.figures.evaluation import LOOKS, coloured_cells, frame
from essim.figures.pictures import NAMES, Panel, new_figure, slice_grid


def levels(rows, sigmas):
    """Healthy maps over the brain, {title: slices [K, H, W]}, one column a sigma; each row has a scale of its own."""
    panels = [[Panel(m, kind="map", limits=(0, np.quantile(maps, 0.995))) for m in maps] for maps in rows.values()]
    figure, axes = slice_grid(panels, [f"\u03c3 = {sigma:g}" for sigma in sigmas], list(rows))
    for line in axes:
        figure.colorbar(line[-1].drawn, ax=line, shrink=0.9, aspect=12, pad=0.01).set_label("healthy mean")
    return figure


def candidates(table):
    """Mean AUPRC over the sets, channels in rows, rules in columns; framed: the best. `table`: essim.study.candidates."""
    by_set = table.groupby(["channels", "rule", "dataset"], sort=False).auprc.mean()
    wide = by_set.groupby(level=["channels", "rule"], sort=False).mean().unstack("rule")
    wide = wide.loc[table.channels.unique(), table.rule.unique()]
    figure, axes = new_figure(1, 1, 0.95 * wide.shape[1] + 2.2, 0.42 * len(wide) + 1.5)
    drawn = coloured_cells(axes[0, 0], wide / wide.max(axis=None), wide)
    frame(axes[0, 0], *np.unravel_index(np.argmax(wide), wide.shape))
    figure.colorbar(drawn, ax=axes, label="share of the best", pad=0.02)
    return figure


def on_each_set(table):
    """AUPRC on each set: `table` has dataset, method, auprc, auprc_low, auprc_high; methods are columns of points."""
    names, methods = table.dataset.unique(), table.method.unique()
    figure, axes = new_figure(1, len(names), 2.1 * len(names) + 0.4, 2.7)
    for axis, name in zip(axes[0], names, strict=True):
        part = table[table.dataset == name].set_index("method").loc[methods]
        for place, (method, row) in enumerate(part.iterrows()):
            colour, marker = (LOOKS[method][1], LOOKS[method][3]) if method in LOOKS else ("black", "*")
            errors = [[row.auprc - row.auprc_low], [row.auprc_high - row.auprc]]
            axis.errorbar(place, row.auprc, errors, color=colour, marker=marker, markersize=6, capsize=3)
        words = [LOOKS[method][0] if method in LOOKS else method for method in methods]
        axis.set_xticks(range(len(methods)), words, rotation=40, ha="right")
        top = part[["auprc", "auprc_high"]].max(axis=None)  # of two patients there is no interval
        axis.set(title=NAMES[name], ylim=(0, 1.08 * top), xlim=(-0.5, len(methods) - 0.5))
    axes[0, 0].set_ylabel("AUPRC")
    return figure


def promises(table):
    """Marked over promised shares, a row a contrast, a column a group; grey: within a factor of 1.5.

    `table`: contrast, group, method, promised, marked; one row a scan. Bars are 95 % intervals over scans.
    """
    contrasts, groups = table.contrast.unique(), table.group.unique()
    size = 2.7 * len(groups), 2.4 * len(contrasts) + 0.4
    figure, axes = new_figure(len(contrasts), len(groups), *size, sharex=True, sharey=True)
    shares = np.sort(table.promised.unique())
    for line, contrast in zip(axes, contrasts, strict=True):
        for axis, group in zip(line, groups, strict=True):
            axis.fill_between(shares, shares / 1.5, shares * 1.5, color="black", alpha=0.1, linewidth=0)
            axis.plot(shares, shares, color="black", linewidth=0.8)
            part = table[(table.contrast == contrast) & (table.group == group)]
            for method in part.method.unique():
                label, colour, style, marker = LOOKS[method]
                mean = mean_with_interval(part[part.method == method], ["promised"], ["marked"])
                errors = abs(mean[["marked_low", "marked_high"]].to_numpy().T - mean.marked.to_numpy())
                look = {"color": colour, "linestyle": style, "marker": marker, "capsize": 2, "elinewidth": 0.8}
                axis.errorbar(mean.promised, mean.marked, errors, label=label, **look)
            axis.set(xscale="log", yscale="log", title=f"{contrast.upper()}, {group}")
        line[0].set_ylabel("marked share")
    for axis in axes[-1]:
        axis.set_xlabel("promised share")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=table.method.nunique())
    return figure
