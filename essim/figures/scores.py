"""Curves, bars and tables as figures: one function a figure.

In: score tables (essim.evaluation.scoring). Out: a matplotlib Figure; `essim.runs.provenance.save_figure` writes it. Colours tell apart
for colour-blind readers, and lines, markers and hatches do so without colour.
"""

import itertools

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

from essim.evaluation.stats import mean_with_interval
from essim.figures.pictures import BLUE, BROWN, GREEN, GREY, NAMES, ORANGE, PURPLE, RED, SKY, new_figure

SCORES = {"auprc": "AUPRC", "dice": "Dice"}
# method: its label, colour, line and marker
STYLES = {
    "ssim": ("SSIM", BLUE, "-", "o"),
    "l1": ("l1", RED, "--", "s"),
    "adaptive": ("ensemble", GREEN, "-.", "D"),
    "calibrated": ("calibrated (ours)", SKY, (0, (6, 1, 1, 1)), "P"),
    "mean": ("mean", PURPLE, ":", "^"),
    "min": ("minimum", BROWN, (0, (5, 1)), "v"),
    "intensity": ("intensity", GREY, (0, (1, 1)), "x"),
}


def lesion_sizes(table):
    """Histograms of the total lesion volume, one panel a patient set; `table` has `dataset` and `lesion_ml`."""
    names = [name for name in table.dataset.unique() if name != "healthy"]
    figure, axes = new_figure(1, len(names), 2.2 * len(names), 2.1, sharex=True, sharey=True)
    bins = np.geomspace(0.1, 300, 18)
    for axis, name in zip(axes[0], names, strict=True):
        volumes = table[table.dataset == name].lesion_ml
        axis.hist(volumes, bins, color=BLUE, edgecolor="white", linewidth=0.5)
        axis.axvline(volumes.median(), color="black", linestyle="--", linewidth=1)
        axis.set(title=f"{NAMES[name]}: median {volumes.median():.2g} ml", xscale="log", xlabel="lesion volume (ml)")
    axes[0, 0].set_ylabel("patients")
    axes[0, 0].yaxis.get_major_locator().set_params(integer=True)
    return figure


def training_curves(logs):
    """Training and validation loss over the steps: {title: log of `essim.train.loop.train`}."""
    figure, axes = new_figure(1, len(logs), 3.4 * len(logs), 2.6, sharey=True)
    for axis, (title, log) in zip(axes[0], logs.items(), strict=True):
        axis.plot(log.step, log.train_loss, color=ORANGE, linestyle="--", label="training")
        axis.plot(log.step, log.val_loss, color=BLUE, label="validation")
        best = log.loc[log.val_loss.idxmin()]
        axis.plot(best.step, best.val_loss, "*", color="black", markersize=9, label="best, kept")
        axis.set(title=title, xlabel="training step", yscale="log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:.2g}")
        axis.tick_params(axis="y", which="minor", labelsize=7)
    axes[0, 0].set_ylabel("l1 loss")
    axes[0, -1].legend()
    return figure


def training_length(table):
    """AUPRC over training steps, a panel a pathology; last, the error of healthy brain (`study.training_length`)."""
    names, steps = table.dataset.unique(), table.step.unique()
    figure, axes = new_figure(1, len(names) + 1, 2.1 * (len(names) + 1), 2.5)
    *panels, last = axes[0]
    for axis, name in zip(panels, names, strict=True):
        for method, line in table[table.dataset == name].groupby("method", sort=False):
            label, colour, style, marker = STYLES[method]
            axis.plot(line.step, line.auprc, color=colour, linestyle=style, marker=marker, label=label)
        axis.set_title(NAMES[name])
    styles = itertools.cycle(zip((ORANGE, GREEN, RED, PURPLE, BLUE), "s^Dvo", strict=True))
    looks = dict(zip(names, styles, strict=False))
    for name, line in table.drop_duplicates(["dataset", "step"]).groupby("dataset", sort=False):
        colour, marker = looks[name]
        last.plot(line.step, line.error, color=colour, marker=marker, label=NAMES[name])
    last.set(title="Error of healthy brain", ylabel="mean |x \N{MINUS SIGN} y|")
    for axis in axes[0]:
        axis.set(xscale="log", xlabel="training step", ylim=(0, None))
        axis.set_xticks(steps, [f"{step}" for step in steps])
        axis.set_xticks([], minor=True)
    panels[0].set_ylabel("AUPRC (validation)")
    panels[0].legend()
    last.legend()
    return figure


def spread(table, datasets):
    """AUPRC of every method, a panel a pathology, a point a run: colour and height say the seed, the marker the fold.

    `table`: all runs' `seed, fold, dataset, method, auprc, auprc_low, auprc_high`. Bands: interval over subjects.
    """
    figure, axes = new_figure(1, len(datasets), 2.1 * len(datasets) + 1.8, 2.6, sharey=True)
    methods, seeds, folds = (list(table[column].unique()) for column in ("method", "seed", "fold"))
    colours = dict(zip(seeds, itertools.cycle((BLUE, ORANGE, GREEN, RED, PURPLE, BROWN)), strict=False))
    markers = dict(zip(folds, itertools.cycle("osD^v"), strict=False))
    heights = dict(zip(seeds, np.linspace(-0.4, 0.4, len(seeds) + 2)[1:-1], strict=True))
    for axis, name in zip(axes[0], datasets, strict=True):
        part = table[table.dataset == name]
        mean = part.groupby("method")[["auprc_low", "auprc_high"]].mean().loc[methods]
        band = axis.barh(methods, mean.auprc_high - mean.auprc_low, 0.7, mean.auprc_low, color=GREY, alpha=0.3)
        for run in part.itertuples():
            place = methods.index(run.method) + heights[run.seed]
            axis.plot(run.auprc, place, markers[run.fold], color=colours[run.seed], alpha=0.8)
        axis.set(title=NAMES[name], xlabel="AUPRC", xlim=(0, None))
        axis.xaxis.set_major_formatter("{x:g}")
    axes[0, 0].invert_yaxis()
    band.set_label("interval over\npatients (mean\nof the runs)")
    looks = {f"seed {seed}": ("o", colour) for seed, colour in colours.items() if len(seeds) > 1}
    looks |= {f"fold {fold}": (marker, "black") for fold, marker in markers.items() if len(folds) > 1}
    handles = [Line2D([], [], linestyle="", marker=m, color=c, label=name) for name, (m, c) in looks.items()]
    figure.legend(handles=[*handles, band], loc="outside right center")
    return figure


def residual(table):
    """Mean |x - y| inside against outside the lesions, one line a patient; `table` as from `essim.evaluation.cases.residuals`."""
    figure, axes = new_figure(1, 1, 2.8, 2.6)
    for row in table.itertuples():
        axes[0, 0].plot([0, 1], [row.outside, row.inside], "o-", color=BLUE, linewidth=0.7, alpha=0.7)
    axes[0, 0].set(xticks=[0, 1], xlim=(-0.3, 1.3), ylabel="mean |x \N{MINUS SIGN} y| (intensity)")
    axes[0, 0].set(xticklabels=["healthy\nbrain", "lesion"], ylim=(0, None))
    return figure


def _curve(axis, scores, score, label=None, colour=BLUE, line="-", marker="o"):
    """Means over subjects of the single-sigma rows with their intervals; returns the means by sigma."""
    table = mean_with_interval(scores.dropna(subset="sigma").sort_values("sigma"), ["sigma"], [score])
    mean, low, high = (table[f"{score}{end}"].set_axis(table.sigma) for end in ("", "_low", "_high"))
    axis.plot(mean.index, mean, color=colour, linestyle=line, marker=marker, label=label)
    axis.fill_between(mean.index, low, high, color=colour, alpha=0.15, linewidth=0)
    return mean


def _sigma_axis(axis):
    ticks = (0.3, 0.5, 1, 2, 4)
    axis.set(xscale="log", xlabel="SSIM window \u03c3 (voxels)")
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_xticks([], minor=True)


def ablation(scores):
    """One set: AUPRC and Dice over sigma, test and validation part, with l1 as a horizontal line."""
    figure, axes = new_figure(1, 2, 7, 2.9)
    looks = {"test": (BLUE, "-", "o", ":"), "val": (ORANGE, "--", "s", "-.")}
    for axis, (score, label) in zip(axes[0], SCORES.items(), strict=True):
        for split, (colour, line, marker, flat) in looks.items():
            part, title = scores[scores.split == split], {"test": "test", "val": "validation"}[split]
            mean = _curve(axis, part, score, f"SSIM, {title}", colour, line, marker)
            axis.plot(mean.idxmax(), mean.max(), "*", color="black", markersize=9, zorder=3)
            l1 = part[part.method == "l1"][score].mean()
            axis.axhline(l1, color=colour, linestyle=flat, linewidth=1, label=f"l1, {title}")
        axis.set(ylabel=label, ylim=(0, None))
        _sigma_axis(axis)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    star = Line2D([], [], color="black", marker="*", markersize=9, linestyle="")
    figure.legend([*handles, star], [*labels, "best \u03c3"], loc="outside lower center", ncols=5)
    return figure


def score_over_sigma(scores, datasets, score="auprc", lines=("l1", "adaptive", "calibrated")):
    """The main figure: a panel a pathology, SSIM over sigma with its optimum, l1 and the ensemble as lines.

    `scores`: test rows of all methods; of `lines` those that are there are drawn. Bands and bars at the right end: 95 %
    intervals over subjects (essim.evaluation.stats).
    """
    lines = [method for method in lines if method in set(scores.method)]
    figure, axes = new_figure(1, len(datasets), 3.3 * len(datasets), 2.9)
    for axis, name in zip(axes[0], datasets, strict=True):
        part = scores[scores.dataset == name]
        mean = _curve(axis, part, score)
        axis.plot(mean.idxmax(), mean.max(), "*", color="black", markersize=9, zorder=3)
        side = {mean.index.min(): "left", mean.index.max(): "right"}.get(mean.idxmax(), "center")
        text = f"\u03c3 = {mean.idxmax():g}"
        levels = mean_with_interval(part[part.method.isin(lines)], ["method"], [score]).set_index("method")
        levels = levels.rename(columns=lambda column: column.replace(score, "mean")).sort_values("mean")
        end, lowest = mean.index.max(), -1
        top = 1.12 * max(axis.get_ylim()[1], levels[["mean", "mean_high"]].max(axis=None))
        under_a_line = (levels["mean"] - mean.max()).between(0, 0.12 * top).any()  # then there is room below only
        away = (0, -15 if under_a_line else 7)
        axis.annotate(text, (mean.idxmax(), mean.max()), away, textcoords="offset points", ha=side)
        for place, (method, level) in enumerate(levels.iterrows()):
            label, colour, line, marker = STYLES[method]
            axis.axhline(level["mean"], color=colour, linestyle=line)
            x, error = end * 1.13 ** (1 + place), [[level["mean"] - level.mean_low], [level.mean_high - level["mean"]]]
            axis.errorbar(x, level["mean"], np.nan_to_num(error), color=colour, marker=marker, capsize=2)
            lowest = max(level["mean"] / top, lowest + 0.09)  # of labels: the next one stands clear above
            axis.text(1.02, lowest, label, color=colour, va="center", transform=axis.transAxes)
        axis.set(title=NAMES[name], ylim=(0, top))
        _sigma_axis(axis)
    axes[0, 0].set_ylabel(SCORES[score])
    looks = [dict(zip(("label", "color", "linestyle", "marker"), STYLES[m], strict=True)) for m in ("ssim", *lines)]
    figure.legend(handles=[Line2D([], [], **look) for look in looks], loc="outside lower center", ncols=len(looks))
    return figure


def heatmap(summary, datasets, score="auprc"):
    """Sigma x pathology: numbers are scores, colours are relative to the row's best, which is framed."""
    import seaborn as sns

    singles = summary.dropna(subset="sigma")
    table = singles.pivot(index="dataset", columns="sigma", values=score).loc[list(datasets)]
    figure, axes = new_figure(1, 1, 0.62 * table.shape[1] + 1.8, 0.48 * len(table) + 1.1)
    relative = table.div(table.max(axis=1), axis=0)
    labels = {"yticklabels": [NAMES[name] for name in table.index], "xticklabels": [f"{s:g}" for s in table.columns]}
    bar = {"label": "share of the row's best", "pad": 0.02}
    sns.heatmap(relative, annot=table, fmt=".3f", cmap="cividis", ax=axes[0, 0], cbar_kws=bar, vmin=0, vmax=1, **labels)
    for row, column in enumerate(table.to_numpy().argmax(1)):
        frame = plt.Rectangle((column, row), 1, 1, fill=False, edgecolor=RED, linewidth=2.5, clip_on=False)
        axes[0, 0].add_patch(frame)
    axes[0, 0].set(xlabel="SSIM window \u03c3 (voxels)", ylabel="", title=f"{SCORES[score]} (framed: best \u03c3)")
    axes[0, 0].tick_params(rotation=0, length=0)
    return figure


def regret(table):
    """Regret bars, the best method on top; `table` has `method` (l1, `ssim <sigma>`, strategies) and `regret`."""
    figure, axes = new_figure(1, 1, 5.5, 0.24 * len(table) + 0.8)
    axis, table = axes[0, 0], table.sort_values("regret", ascending=False)
    looks = {"ssim": (BLUE, "", "SSIM, \u03c3 = "), "l1": (RED, "//", ""), "calibrated": (SKY, "xx", "ours, ")}
    looks = [looks.get(method.split()[0], (GREEN, "..", "ensemble, ")) for method in table.method]
    colours, hatches, words = zip(*looks, strict=True)
    texts = [word + method.removeprefix("ssim ") for word, method in zip(words, table.method, strict=True)]
    errors = abs(table[["regret_low", "regret_high"]].to_numpy().T - table.regret.to_numpy())
    look = {"color": colours, "edgecolor": "white", "hatch": hatches, "ecolor": "black", "error_kw": {"linewidth": 0.8}}
    bars = axis.barh(texts, table.regret, xerr=errors, **look)
    axis.bar_label(bars, [f"{v:+.2f}" for v in table.regret], padding=3, fontsize=8)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(xlabel="regret (share of the best single \u03c3's AUPRC)")
    axis.margins(x=0.12)
    return figure


def speed(table):
    """Milliseconds over volume size, a line a contender, both axes logarithmic; see benchmarks/ssim.py."""
    figure, axes = new_figure(1, 1, 5.5, 3.6)
    voxels = table["size"].map(lambda size: np.prod([int(side) for side in size.split("x")]))
    looks = itertools.cycle(zip((GREEN, BLUE, SKY, ORANGE, PURPLE, BROWN, RED), "DoPvsX^", strict=True))
    for name, line in table.assign(voxels=voxels).groupby("contender", sort=False):
        colour, marker = ("black", "") if name == "floor" else next(looks)
        style = ":" if name == "floor" else "-" if name.startswith("essim") else "--"
        axes[0, 0].plot(line.voxels, line.milliseconds, color=colour, marker=marker, linestyle=style, label=name)
    axes[0, 0].set(xscale="log", yscale="log", xlabel="voxels", ylabel="milliseconds for one anomaly map")
    figure.legend(loc="outside right center")
    return figure


def unet_speed(table):
    """Slices a second, a panel for each kind of work (rows) and size (columns); see benchmarks/unet.py."""
    works, sizes = table.what.unique(), table["size"].unique()
    figure, axes = new_figure(len(works), len(sizes), 2.5 * len(sizes) + 1.9, 1.7 * len(works), sharey=True)
    colours = {"essim": GREEN, "diffusers": BLUE, "MONAI": ORANGE}
    once = table[(table.contender != "essim") | (table.how == "as called")]  # essim stands in both comparisons
    for (row, what), (column, size) in itertools.product(enumerate(works), enumerate(sizes)):
        bars, axis = once[(once.what == what) & (once["size"] == size)], axes[row, column]
        better = [how != "as called" for how in bars.how]
        words = [f"{name}, every advantage" if it else name for name, it in zip(bars.contender, better, strict=True)]
        look = {"color": bars.contender.map(colours), "hatch": ["//" * it for it in better], "edgecolor": "white"}
        drawn = axis.barh(words, bars.slices_per_second, **look)
        labels = [f"{value:.3g}" if value < 100 else f"{value:,.0f}" for value in bars.slices_per_second]
        axis.bar_label(drawn, labels, padding=3, fontsize=8)
        axis.set(title=f"{what}, {size}", xlabel="slices a second")
        axis.margins(x=0.2)
    axes[0, 0].invert_yaxis()
    return figure
