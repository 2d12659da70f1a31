"""Grown heads beside real ones, statistic by statistic.

In: the tables of essim.study.realism. Out: a matplotlib Figure. Not in the paper.
"""

import numpy as np

from essim.figures.style import GREY, new_figure, series_styles

EDGE = 1.5  # widths of the grown interval beyond its ends: values further out are drawn there, as arrows
CONTRASTS = {"t1": "T1", "t2": "T2", "flair": "FLAIR"}


def plot_realism(table, real):
    """Where the real heads lie among the grown ones: one panel per contrast, one line per statistic.

    Args:
        table: `essim.study.realism.compare`. Every statistic is drawn in widths of the grown heads' 5 to 95 % interval,
            which is shaded: their 5th percentile lies at 0, the 95th at 1. Where both are equal, nothing is drawn.
        real: the real heads' statistics, one point per head, one colour and marker per source.
    """
    contrasts, styles = list(dict.fromkeys(table.contrast)), series_styles(real.source.unique())
    lines = max(table.contrast.value_counts())
    figure, axes = new_figure(1, len(contrasts), 2 + 3.6 * len(contrasts), 1.4 + 0.17 * lines, sharey=True)
    for axis, contrast in zip(axes[0], contrasts, strict=True):
        part = table[table.contrast == contrast].set_index("statistic")
        heads, place = real[real.contrast == contrast], np.arange(len(part))
        width = (part.grown_95 - part.grown_05).where(part.grown_95 > part.grown_05)
        axis.axvspan(0, 1, color=GREY, alpha=0.25, linewidth=0, label="grown, 5 to 95 %")
        axis.plot(
            (part.grown_50 - part.grown_05) / width, place, "|", color="black", markersize=7, label="grown, median"
        )
        for source, style in styles.items():
            scaled = (heads.loc[heads.source == source, part.index] - part.grown_05) / width
            row, values = np.tile(place, len(scaled)), scaled.to_numpy().ravel()
            shown, colour = values.clip(-EDGE, 1 + EDGE), {"color": style["color"], "linewidth": 0, "alpha": 0.6}
            for marker, which in ((style["marker"], shown == values), ("<", values < shown), (">", values > shown)):
                axis.scatter(shown[which], row[which], 14, marker=marker, **colour)
        title = f"{CONTRASTS[contrast]}: {100 * part.inside.mean():.0f} % of the real values inside"
        axis.set(title=title, xlim=(-EDGE - 0.15, 1 + EDGE + 0.15), xlabel="widths of the grown heads' interval")
        axis.set_yticks(place, [name.replace("_", " ") for name in part.index], fontsize=8)
        axis.grid(axis="y", color=GREY, alpha=0.25, linewidth=0.5)
    axes[0, 0].invert_yaxis()
    for source, style in styles.items():
        axes[0, 0].scatter([], [], 14, marker=style["marker"], color=style["color"], label=f"real, {source}")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
