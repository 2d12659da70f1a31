"""Real heads as figures: how they lie in study space, and what is marked in healthy controls (11).

In: slices and tables of essim.study.real_heads. Out: a matplotlib Figure. Not in the paper.
"""

import numpy as np
import pandas as pd

from essim.figures.pictures import Panel, bare_figure
from essim.figures.style import SKY, method_styles, new_figure

PEOPLE = 5  # in a row of the contact sheet
PROMISE = {"color": "black", "linewidth": 0.8, "linestyle": ":"}


def show_placement(slices, brain, overlaps):
    """A contact sheet: each scan's axial and sagittal slice with the outline of the template's brain.

    `slices`: {name: ([H, W], [W, D])}, values up to 1 or so; `brain`: the same two slices of the template's
    brain, bool; `overlaps`: one per scan, shown in its title.
    """
    lines, shapes = -(-len(slices) // PEOPLE), [outline.shape for outline in brain]
    widths = [shape[0] for shape in shapes] * PEOPLE
    size = sum(widths) * 0.0135 + 0.1, lines * (max(shape[1] for shape in shapes) * 0.0135 + 0.22)
    figure, axes = bare_figure(lines, 2 * PEOPLE, *size, width_ratios=widths)
    for place, ((name, cuts), overlap) in enumerate(zip(slices.items(), overlaps, strict=True)):
        line, column = divmod(place, PEOPLE)
        for axis, image, outline in zip(axes[line, 2 * column : 2 * column + 2], cuts, brain, strict=True):
            Panel(image, limits=(0, 1)).draw(axis)
            axis.contour(outline.T.astype(float), [0.5], colors=[SKY], linewidths=0.7)
        axes[line, 2 * column].set_title(f"{name} {overlap:.2f}".replace(" 0.", " ."), loc="left", fontsize=7)
    for axis in axes.flat[2 * len(slices) :]:
        axis.set_axis_off()
    return figure


def plot_marked_in_healthy(table, regions, promised):
    """What each method marks in healthy controls, over age and by region.

    `table`: one row per healthy scan and method, with age, split, method, and shares: marked, and one for each of
    `regions`; people whose anatomy the networks know (split not `test`) are hollow. Dotted: the promised share.
    """
    styles = method_styles(table.method.unique())
    figure, axes = new_figure(1, 2, 8.2, 3.1, sharey=True, width_ratios=(1.2, 1))
    over_age, by_region = axes[0]
    rng = np.random.default_rng(0)
    for place, (method, style) in enumerate(styles.items()):
        for split, rows in table[table.method == method].groupby("split"):
            look = style.points | ({} if split == "test" else {"markerfacecolor": "none"})
            over_age.plot(pd.to_numeric(rows.age, errors="coerce"), 100 * rows.marked, **look)
            for column, region in enumerate(("marked", *regions)):
                at = column + 0.26 * (place - (len(styles) - 1) / 2) + rng.uniform(-0.07, 0.07, len(rows))
                by_region.plot(at, 100 * rows[region], **look | {"markersize": 3})
        over_age.plot([], [], label=style.label, **style.points)
    over_age.plot(
        [], [], linestyle="", marker="o", color="black", markerfacecolor="none", label="anatomy known to the networks"
    )
    for axis in axes[0]:
        axis.axhline(100 * promised, **PROMISE)
    over_age.set(xlabel="age (years)", ylabel="marked (%)", yscale="symlog")
    over_age.set_yscale("symlog", linthresh=1)
    over_age.set_yticks([0, 0.5, 1, 2, 5, 10, 20], ["0", "0.5", "1", "2", "5", "10", "20"])
    over_age.set_ylim(-0.05, None)
    by_region.set_xticks(range(1 + len(regions)), ["all", *regions])
    figure.legend(*over_age.get_legend_handles_labels(), loc="outside lower center", ncols=len(styles) + 1)
    return figure
