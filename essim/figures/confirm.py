"""The confirmatory run as a figure: every declared claim on every set, beside the development study's result.

In: the tables of essim.study.confirm. Out: a matplotlib Figure.
"""

from math import ceil

from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from essim.figures.style import BLUE, GREY, SET_NAMES, error_bars, new_figure

COLUMNS = 3  # of panels


def plot_confirm(table, development):
    """Differences in AUPRC, one panel per claim, one row per set; filled: fresh patients, hollow: the development set.

    Args: table: from `confirm.family`. development: claim, dataset, gain, gain_low, gain_high, for the claims that have
        them. At the right of each row, the verdict.
    """
    claims, names = list(table.claim.unique()), list(table.dataset.unique())
    columns = min(COLUMNS, len(claims))
    rows = ceil(len(claims) / columns)
    figure, axes = new_figure(rows, columns, 3.4 * columns + 0.6, (0.45 * len(names) + 1) * rows + 0.5, sharey=True)
    heights = {name: -place for place, name in enumerate(names)}
    for axis in axes.flat[len(claims) :]:
        axis.set_axis_off()
    for axis, claim in zip(axes.flat, claims, strict=False):
        part = table[table.claim == claim]
        place = part.dataset.map(heights)
        axis.barh(place, 2 * part.margin, left=-part.margin, color="black", alpha=0.1)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.hlines(place, part.family_low, part.family_high, color=BLUE, linewidth=0.8)
        axis.errorbar(part.gain, place, xerr=error_bars(part, "gain"), fmt="o", color=BLUE, elinewidth=2.5)
        before = development[(development.claim == claim) & development.dataset.isin(names)]
        look = {"fmt": "o", "color": GREY, "markerfacecolor": "white", "elinewidth": 1}
        axis.errorbar(before.gain, before.dataset.map(heights) - 0.25, xerr=error_bars(before, "gain"), **look)
        axis.set(title=claim.replace(" is ahead of ", "\nis ahead of "), xlabel="difference in AUPRC")
        axis.xaxis.set_major_locator(MaxNLocator(3))  # their labels are wide
        for row, height in zip(part.itertuples(), place, strict=True):
            axis.text(1.02, height, row.verdict, transform=axis.get_yaxis_transform(), va="center")
    axes[0, 0].set_yticks([*heights.values()], [SET_NAMES[name] for name in names])
    axes[0, 0].set_ylim(0.5 - len(names), 0.5)
    handles = [
        Line2D([], [], color=BLUE, marker="o", linewidth=2.5, label="fresh patients, 95 % interval"),
        Line2D([], [], color=BLUE, linewidth=0.8, label="interval for all rows at once"),
        Line2D([], [], color=GREY, marker="o", markerfacecolor="white", label="development set"),
        Patch(color="black", alpha=0.1, label="counts as no difference"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure
