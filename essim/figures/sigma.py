"""The score over sigma as figures, among them the paper's main one.

In: score tables of essim.evaluation, one row per patient (or set) and method. Out: a matplotlib Figure. Bands and bars
are 95 % intervals over patients (essim.evaluation.stats). Paper: section 3 (the ablation over sigma).
"""

from matplotlib.lines import Line2D

from essim.evaluation.stats import mean_with_interval
from essim.evaluation.summaries import SCORE_NAMES
from essim.figures.style import BLUE, ORANGE, SET_NAMES, draw_frame, error_bars, method_styles, new_figure, sigma_axis

LINES = ("l1", "adaptive", "l1 calibrated", "calibrated")  # methods without a sigma
BEST = {"color": "black", "marker": "*", "markersize": 9, "linestyle": "", "zorder": 3}


def plot_ablation(scores):
    """One set: AUPRC and Dice over sigma, test and validation part, with l1 as a horizontal line."""
    figure, axes = new_figure(1, 2, 7, 2.9)
    splits = {"test": ("test", BLUE, "-", "o", ":"), "val": ("validation", ORANGE, "--", "s", "-.")}
    for axis, (score, label) in zip(axes[0], SCORE_NAMES.items(), strict=True):
        for split, (title, colour, line, marker, l1_line) in splits.items():
            part = scores[scores.split == split]
            curve = {"color": colour, "linestyle": line, "marker": marker, "label": f"SSIM, {title}"}
            draw_curve(axis, part, score, **curve)
            l1 = part[part.method == "l1"][score].mean()
            axis.axhline(l1, color=colour, linestyle=l1_line, linewidth=1, label=f"l1, {title}")
        axis.set(ylabel=label, ylim=(0, None))
        sigma_axis(axis)
    handles, _ = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles=[*handles, Line2D([], [], label="best \u03c3", **BEST)], loc="outside lower center", ncols=5)
    return figure


def draw_curve(axis, scores, score, **look):
    """Means of the single windows over patients, with intervals and a star at the best; returns the means by sigma."""
    table = mean_with_interval(scores.dropna(subset="sigma").sort_values("sigma"), ["sigma"], [score])
    mean, low, high = (table[f"{score}{end}"].set_axis(table.sigma) for end in ("", "_low", "_high"))
    axis.plot(mean.index, mean, **look)
    axis.fill_between(mean.index, low, high, color=look["color"], alpha=0.15, linewidth=0)
    axis.plot(mean.idxmax(), mean.max(), **BEST)
    return mean


def plot_score_over_sigma(scores, datasets, score="auprc", lines=LINES, columns=4, at_best=None):
    """The main figure: one panel per pathology, SSIM over sigma with its optimum; methods without a sigma as lines.

    `scores`: test rows of all methods; those of `lines` that it has are drawn, their intervals at the right end.
    `columns`: at most this many panels side by side. `at_best`: the same for every score at its best, in panels below.
    """
    lines = [method for method in lines if method in set(scores.method)]
    styles = method_styles(["ssim", *lines])
    tables = [(scores, "")] if at_best is None else [(scores, ", protocol"), (at_best, ", each at its best")]
    panels = [(table, name, SET_NAMES[name] + what) for table, what in tables for name in datasets]
    columns = min(columns, len(datasets))
    rows = -(-len(panels) // columns)
    figure, axes = new_figure(rows, columns, 3.3 * columns, 2.5 * rows + 0.4)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (table, name, title) in zip(axes.flat, panels, strict=False):
        part = table[table.dataset == name]
        mean = draw_curve(axis, part, score, **styles["ssim"].curve)
        levels = mean_with_interval(part[part.method.isin(lines)], ["method"], [score])
        levels = levels.set_index("method").sort_values(score)
        top = 1.12 * max(axis.get_ylim()[1], levels[[score, f"{score}_high"]].max(axis=None))
        under_a_line = (levels[score] - mean.max()).between(0, 0.12 * top).any()  # then there is only room below
        side = {mean.index.min(): "left", mean.index.max(): "right"}.get(mean.idxmax(), "center")
        away = {"xytext": (0, -15 if under_a_line else 7), "textcoords": "offset points", "ha": side}
        clear = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
        axis.annotate(f"\u03c3 = {mean.idxmax():g}", (mean.idxmax(), mean.max()), bbox=clear, **away)
        _draw_levels(axis, levels, score, styles, mean.index.max(), top)
        axis.set(title=title, ylim=(0, top))
        sigma_axis(axis)
    for axis in axes[:, 0]:
        axis.set_ylabel(SCORE_NAMES[score])
    handles = [Line2D([], [], label=style.label, **style.curve) for style in styles.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _draw_levels(axis, levels, score, styles, end, top):
    """Methods without a sigma as lines, from the lowest up: intervals right of the curve's `end`, then their names."""
    lowest = -1  # height of the next label, as a share of the axis: clear of the last one
    for place, method in enumerate(levels.index, 1):
        level, style = levels.loc[[method]], styles[method]
        mean = level[score].item()
        axis.axhline(mean, color=style.colour, linestyle=style.line)
        axis.errorbar(end * 1.13**place, mean, error_bars(level, score), capsize=2, **style.points)
        lowest = max(mean / top, lowest + 0.09)
        axis.text(1.02, lowest, style.label, color=style.colour, va="center", transform=axis.transAxes)


def plot_heatmap(summary, datasets, score="auprc"):
    """Sigma by pathology: numbers are scores, colours are relative to the row's best, which is framed."""
    import seaborn as sns

    singles = summary.dropna(subset="sigma")
    table = singles.pivot(index="dataset", columns="sigma", values=score).loc[list(datasets)]
    figure, axes = new_figure(1, 1, 0.62 * table.shape[1] + 1.8, 0.48 * len(table) + 1.1)
    relative = table.div(table.max(axis=1), axis=0)
    options = {"yticklabels": [SET_NAMES[name] for name in table.index], "vmin": 0, "vmax": 1, "cmap": "cividis"}
    options |= {"xticklabels": [f"{sigma:g}" for sigma in table.columns], "annot": table, "fmt": ".3f"}
    sns.heatmap(relative, ax=axes[0, 0], cbar_kws={"label": "share of the row's best", "pad": 0.02}, **options)
    for row, column in enumerate(table.to_numpy().argmax(1)):
        draw_frame(axes[0, 0], column, row)
    axes[0, 0].set(xlabel="SSIM window \u03c3 (voxels)", ylabel="", title=f"{SCORE_NAMES[score]} (framed: best \u03c3)")
    axes[0, 0].tick_params(rotation=0, length=0)
    return figure
