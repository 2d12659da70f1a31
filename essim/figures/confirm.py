"""The confirmatory run as a figure: every declared claim on every set, beside the development study's result.

In: the tables of essim.study.confirm. Out: a matplotlib Figure.
"""

from matplotlib.lines import Line2D

from essim.figures.style import BLUE, GREY, SET_NAMES, error_bars, new_figure


def plot_confirm(table, development):
    """Differences in AUPRC, one panel per claim, one row per set; filled: fresh patients, hollow: the development set.

    Args: table: from `confirm.family`. development: claim, dataset, gain, gain_low, gain_high, for the claims that have
        them. Thick bars: 95 % intervals; thin: intervals for the whole family; grey: the margin of no difference.
    """
    claims, names = list(table.claim.unique()), list(table.dataset.unique())
    figure, axes = new_figure(1, len(claims), 2.8 * len(claims) + 0.6, 0.5 * len(names) + 1.5, sharey=True)
    heights = {name: -place for place, name in enumerate(names)}
    for axis, claim in zip(axes[0], claims, strict=True):
        rows = table[table.claim == claim]
        place = rows.dataset.map(heights)
        axis.barh(place, 2 * rows.margin, left=-rows.margin, color="black", alpha=0.1)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.hlines(place, rows.family_low, rows.family_high, color=BLUE, linewidth=0.8)
        axis.errorbar(rows.gain, place, xerr=error_bars(rows, "gain"), fmt="o", color=BLUE, elinewidth=2.5)
        before = development[(development.claim == claim) & development.dataset.isin(names)]
        look = {"fmt": "o", "color": GREY, "markerfacecolor": "white", "elinewidth": 1}
        axis.errorbar(before.gain, before.dataset.map(heights) - 0.25, xerr=error_bars(before, "gain"), **look)
        axis.set(title=claim.replace(" is ahead of ", "\nis ahead of "), xlabel="difference in AUPRC")
    axes[0, 0].set_yticks([*heights.values()], [SET_NAMES[name] for name in names])
    axes[0, 0].set_ylim(0.5 - len(names), 0.5)
    handles = [
        Line2D([], [], color=BLUE, marker="o", label="fresh patients"),
        Line2D([], [], color=GREY, marker="o", markerfacecolor="white", label="development set"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure
