"""The evaluation as figures: curves with intervals, patients as lines, thresholds, false alarms; a function a figure.

In: the tables of essim.evaluation. Out: a matplotlib Figure; `essim.runs.provenance.save_figure` writes it. Bands and bars
are 95 % bootstrap intervals over patients (essim.evaluation.stats).
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from essim.evaluation.detection import froc, size_of
from essim.evaluation.stats import age_group, interval, mean_with_interval
from essim.figures.pictures import BLUE, BROWN, GREEN, GREY, NAMES, ORANGE, RED, SKY, new_figure

# method: its label, colour, line and marker
LOOKS = {
    "intensity": ("intensity", GREY, (0, (1, 1)), "x"),
    "blur": ("|x \N{MINUS SIGN} blur(x)|", BROWN, (0, (5, 1)), "v"),
    "l1": ("l1", RED, "--", "s"),
    "ssim default": ("SSIM, usual \u03c3", ORANGE, (0, (3, 1, 1, 1)), "^"),
    "ssim best": ("SSIM, best \u03c3", BLUE, "-", "o"),
    "adaptive": ("ensemble", GREEN, "-.", "D"),
    "calibrated": ("calibrated (ours)", SKY, (0, (6, 1, 1, 1)), "P"),
}


def detection_curves(precision, operating, lesions, prevalence):
    """One set, three panels: precision over recall, FROC, lesions found by size.

    Args: tables of an `Evaluation`; `lesions` at one threshold. Precision is a mean over patients, the FROC pools the
        lesions of all. prevalence: the precision of guessing.
    """
    figure, axes = new_figure(1, 3, 9.6, 3.2)
    left, middle, right = axes[0]
    methods = [method for method in LOOKS if method in set(precision.method)]
    for method in methods:
        label, colour, line, marker = LOOKS[method]
        curve = mean_with_interval(precision[precision.method == method], ["recall"], ["precision"])
        left.plot(curve.recall, curve.precision, color=colour, linestyle=line, label=label)
        band = {"color": colour, "alpha": 0.12, "linewidth": 0}
        left.fill_between(curve.recall, curve.precision_low, curve.precision_high, **band)
        curve = froc(operating[operating.method == method])
        middle.plot(curve.false_positives, curve.sensitivity, color=colour, linestyle=line)
        by_size = size_table(lesions[lesions.method == method])
        places = np.arange(len(by_size)) + 0.09 * (methods.index(method) - (len(methods) - 1) / 2)
        errors = abs(by_size[["low", "high"]].to_numpy().T - by_size.sensitivity.to_numpy())
        right.errorbar(places, by_size.sensitivity, errors, color=colour, marker=marker, linestyle="", linewidth=1)
    words = [f"{size}\n(n = {count})" for size, count in zip(by_size["size"], by_size.lesions, strict=True)]
    left.axhline(prevalence, color="black", linewidth=0.8, label="chance (prevalence)")
    left.set(xlabel="recall", ylabel="precision (mean of patients)", xlim=(0, 1), ylim=(0, 1.02))
    middle.set(xlabel="false positives a scan", ylabel="lesions found", xscale="symlog", ylim=(-0.02, 1.02))
    middle.set_xlim(0, None)
    middle.xaxis.set_major_formatter("{x:g}")
    right.set(ylabel="lesions found, validation threshold", ylim=(-0.04, 1.04), xlim=(-0.5, len(words) - 0.5))
    right.set_xticks(range(len(words)), words)
    for axis, title in zip(axes[0], ("Precision over recall", "FROC", "By lesion size"), strict=True):
        axis.set_title(title)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(methods) + 1)
    return figure


def size_table(lesions):
    """The share of a patient's lesions that is found, by their size: a DataFrame size, lesions, sensitivity (the mean
    over the patients who have such lesions), low, high."""
    rows = []
    for size, part in lesions.groupby(size_of(lesions.volume_ml), observed=True):
        shares = part.groupby("subject").found.mean()
        low, high = interval(shares)
        rows.append({"size": size, "lesions": len(part), "sensitivity": shares.mean(), "low": low, "high": high})
    return pd.DataFrame(rows)


def strips(volumes):
    """Every patient as a line over the methods, their mean with its interval beside it; a panel a set.

    `volumes`: as in an `Evaluation`, of one or more sets. Dashed: the prevalence, AUPRC's chance level.
    """
    names = volumes.dataset.unique()
    methods = [method for method in LOOKS if method in set(volumes.method)]
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    figure, axes = new_figure(rows, columns, 0.75 * len(methods) * columns + 0.7, 2.6 * rows, sharex=True, sharey=True)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, names, strict=False):
        wide = volumes[volumes.dataset == name].pivot(index="subject", columns="method", values="auprc")[methods]
        axis.axhline(volumes.prevalence[volumes.dataset == name].mean(), color="black", linestyle="--", linewidth=0.8)
        axis.plot(range(len(methods)), wide.T, color=GREY, linewidth=0.6, alpha=0.6, marker=".", markersize=3)
        for place, method in enumerate(methods):
            _, colour, _, marker = LOOKS[method]
            mean, (low, high) = wide[method].mean(), interval(wide[method])
            look = {"color": colour, "marker": marker, "capsize": 3, "markersize": 6, "zorder": 3}
            axis.errorbar(place + 0.18, mean, [[mean - low], [high - mean]], markeredgecolor="black", **look)
        axis.set_xticks(range(len(methods)), [LOOKS[m][0] for m in methods], rotation=35, ha="right")
        axis.set(title=NAMES[name], ylim=(0, 1.02))
    for axis in axes[:, 0]:
        axis.set_ylabel("AUPRC")
    return figure


def thresholds(decisions, methods=("l1", "adaptive")):
    """Dice by where the threshold comes from, a panel a set; the oracle is drawn hollow: it is no result."""
    names, sources = decisions.dataset.unique(), list(decisions.source.unique())
    figure, axes = new_figure(1, len(names), 2.2 * len(names) + 0.5, 2.9, sharey=True)
    for axis, name in zip(axes[0], names, strict=True):
        table = mean_with_interval(decisions[decisions.dataset == name], ["method", "source"], ["dice"])
        for shift, method in zip(np.linspace(-0.1, 0.1, len(methods)), methods, strict=True):
            label, colour, _, marker = LOOKS[method]
            part = table[table.method == method].set_index("source").loc[sources]
            errors = abs(part[["dice_low", "dice_high"]].to_numpy().T - part.dice.to_numpy())
            for place, source in enumerate(sources):
                face = "white" if source == "oracle" else colour
                look = {"color": colour, "marker": marker, "markerfacecolor": face, "capsize": 3, "markersize": 6}
                text = label if source == "validation" else None
                axis.errorbar(place + shift, part.dice[source], errors[:, [place]], label=text, linestyle="", **look)
        axis.set_xticks(range(len(sources)), sources, rotation=35, ha="right")
        axis.set(title=NAMES[name], ylim=(0, 1), xlim=(-0.5, len(sources) - 0.5))
    axes[0, 0].set_ylabel("Dice")
    axes[0, -1].legend()
    return figure


def transfer(table, method):
    """Dice on each set (rows) at the threshold of each other one (columns); framed: its own. `table`: dataset, source,
    dice."""
    wide = table.pivot(index="dataset", columns="source", values="dice")
    wide = wide.loc[table.dataset.unique(), table.source.unique()]
    figure, axes = new_figure(1, 1, 0.95 * wide.shape[1] + 1.6, 0.5 * len(wide) + 1.3)
    drawn = coloured_cells(axes[0, 0], wide.div(wide.max(axis=1), axis=0), wide)
    for row, name in enumerate(wide.index):
        if name in wide.columns:
            frame(axes[0, 0], row, list(wide.columns).index(name))
    axes[0, 0].set(title=f"Dice of {LOOKS[method][0]} at a threshold from elsewhere", xlabel="threshold from")
    figure.colorbar(drawn, ax=axes, label="share of the row's best", pad=0.02)
    return figure


def grid(table):
    """AUPRC of every reconstruction (rows) under every score (columns), a panel a set; framed: the set's best."""
    names = table.dataset.unique()
    figure, axes = new_figure(1, len(names), 3.1 * len(names) + 0.9, 2.6, sharey=True)
    for axis, name in zip(axes[0], names, strict=True):
        part = table[table.dataset == name]
        wide = part.pivot(index="reconstruction", columns="score", values="auprc")
        wide = wide.loc[table.reconstruction.unique(), table.score.unique()]
        drawn = coloured_cells(axis, wide / wide.max(axis=None), wide)
        frame(axis, *np.unravel_index(np.argmax(wide), wide.shape))
        axis.set_title(NAMES[name])
    figure.colorbar(drawn, ax=axes, label="share of the set's best", pad=0.01)
    return figure


def coloured_cells(axis, colours, numbers):
    """A table as coloured cells with their numbers."""
    drawn = axis.imshow(colours, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    axis.set_xticks(range(numbers.shape[1]), [NAMES[name] for name in numbers.columns], rotation=35, ha="right")
    axis.set_yticks(range(numbers.shape[0]), [NAMES[name] for name in numbers.index])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(numbers.to_numpy()):
        ink = "black" if colours.to_numpy()[row, column] > 0.6 else "white"
        axis.text(column, row, f"{value:.3f}".removeprefix("0"), ha="center", va="center", color=ink, fontsize=8)
    return drawn


def frame(axis, row, column):
    """A frame around one of `coloured_cells`."""
    box = {"width": 1, "height": 1, "fill": False, "edgecolor": RED, "linewidth": 2.5, "clip_on": False}
    axis.add_patch(plt.Rectangle((column - 0.5, row - 0.5), **box))


def false_alarms(table, methods=("l1", "adaptive", "calibrated")):
    """What is marked in healthy scans (ml a scan), by site, sex and age: points are scans, bars their means.

    `table`: subject, contrast, site, sex, age, method, false_ml; one row a scan and method.
    """
    groups = {"site": table.site, "sex": table.sex, "age (years)": age_group(table.age)}
    figure, axes = new_figure(1, 3, 9, 2.8, sharey=True)
    rng = np.random.default_rng(0)
    for axis, (title, values) in zip(axes[0], groups.items(), strict=True):
        there = [level for level in (values.cat.categories if title.startswith("age") else sorted(values.unique()))]
        for shift, method in zip(np.linspace(-0.2, 0.2, len(methods)), methods, strict=True):
            label, colour, _, marker = LOOKS[method]
            for place, level in enumerate(there):
                ml = table.false_ml[(values == level) & (table.method == method)]
                if not len(ml):
                    continue
                spot = place + shift + rng.uniform(-0.07, 0.07, len(ml))
                axis.plot(spot, ml, marker, color=colour, alpha=0.5, markersize=3.5)
                low, high = interval(ml)
                look = {"color": "black", "marker": "_", "markersize": 12, "capsize": 3, "linewidth": 1}
                axis.errorbar(place + shift, ml.mean(), [[ml.mean() - low], [high - ml.mean()]], **look)
            axis.plot([], [], marker, color=colour, label=label)
        axis.set_xticks(range(len(there)), there)
        axis.set(title=f"by {title}", xlim=(-0.6, len(there) - 0.4))
    axes[0, 0].set(ylabel="marked in healthy scans (ml)", ylim=(0, None))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper")
    return figure
