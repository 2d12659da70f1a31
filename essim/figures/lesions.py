"""Lesions as figures: how large they are, and which window suits each best.

In: the table of the cohort, the tables of essim.study.best_sigma. Out: a matplotlib Figure. Not in the paper.
"""

import numpy as np

from essim.figures.style import BLUE, GREY, SET_NAMES, new_figure, series_styles, set_ticks, sigma_axis

# term of the models: the lesion's column, its axis label
AXES = {
    "volume": ("volume_ml", "lesion volume (ml)"),
    "thickness": ("thickness_mm", "thickness (mm)"),
    "contrast": ("contrast", "|contrast| (SD of the surroundings)"),
}


def plot_lesion_sizes(table):
    """Histograms of the total lesion volume, one panel per patient set; `table` has `dataset` and `lesion_ml`."""
    names = [name for name in table.dataset.unique() if name != "healthy"]
    figure, axes = new_figure(1, len(names), 2.2 * len(names), 2.1, sharex=True, sharey=True)
    for axis, name in zip(axes[0], names, strict=True):
        volumes = table[table.dataset == name].lesion_ml
        median = volumes.median()
        axis.hist(volumes, np.geomspace(0.1, 300, 18), color=BLUE, edgecolor="white", linewidth=0.5)
        axis.axvline(median, color="black", linestyle="--", linewidth=1)
        axis.set(title=f"{SET_NAMES[name]}: median {median:.2g} ml", xscale="log", xlabel="lesion volume (ml)")
    axes[0, 0].set_ylabel("patients")
    axes[0, 0].yaxis.get_major_locator().set_params(integer=True)
    return figure


def plot_best_sigma(table, lines):
    """Narrow minus wide over volume, thickness and contrast, one point per lesion; last, their AUPRC at every sigma.

    Args:
        table: `essim.study.best_sigma.best_sigmas` of all sets; lesions that no sigma finds are left out. Above
            the grey line the smallest sigma is ahead of the largest; the last panel shows medians over lesions.
        lines: {term: `essim.study.best_sigma.line`}, drawn with its 95 % band.
    """
    figure, axes = new_figure(1, 4, 11.5, 2.9)
    *panels, last = axes[0]
    table = table[table.found]
    if table.empty:
        figure.suptitle("No lesion is found at any \u03c3.")
        return figure
    sigmas = {name: float(name.removeprefix("ssim ")) for name in table if name.startswith("ssim ")}
    for name, style in series_styles(table.dataset.unique()).items():
        part = table[table.dataset == name]
        points = {"color": style["color"], "marker": style["marker"], "linewidth": 0, "alpha": 0.6}
        for axis, (column, _) in zip(panels, AXES.values(), strict=True):
            axis.scatter(part[column].abs(), part.narrow_minus_wide, 14, label=SET_NAMES[name], **points)
        last.plot(list(sigmas.values()), part[list(sigmas)].div(part.auprc, axis=0).median(), **style)
    for axis, term in zip(panels, AXES, strict=True):
        _draw_fit(axis, term, lines[term].astype(float))
    set_ticks(panels[1].xaxis, (2, 5, 10, 20, 50))
    ends = f"\u03c3 = {min(sigmas.values()):g} over {max(sigmas.values()):g}"
    panels[0].set_ylabel(f"odds of the lesion's AUPRC,\n{ends} (log2)")
    sigma_axis(last)
    last.set(ylabel="share of the lesion's best AUPRC", ylim=(0, 1.03))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


def _draw_fit(axis, term, line):
    """The fitted line of one term with its band; volume and thickness are logarithms to base 2."""
    x = line[term] if term == "contrast" else 2 ** line[term]
    axis.plot(x, line.narrow_minus_wide, color="black", label="fit, 95 % band")
    axis.fill_between(x, line.low, line.high, color="black", alpha=0.12, linewidth=0)
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set(xscale="linear" if term == "contrast" else "log", xlabel=AXES[term][1])
    axis.xaxis.set_major_formatter("{x:g}")
