"""The evaluation as figures: curves with intervals, patients as lines, thresholds, false alarms.

In: the tables of essim.evaluation. Out: a matplotlib Figure. Bands and bars are 95 % bootstrap intervals over patients
(essim.evaluation.stats).
"""

import numpy as np

from essim.evaluation.detection import froc
from essim.evaluation.stats import age_group, interval, mean_with_interval
from essim.evaluation.summaries import sensitivity_by_size
from essim.figures.style import GREY, SET_NAMES, draw_table, error_bars, method_styles, new_figure, ordered_styles


def plot_detection_curves(precision, operating, lesions, prevalence):
    """One set, three panels: precision over recall, FROC, lesions found by size.

    Args: tables of an `Evaluation`; `lesions` at one threshold. Precision is a mean over patients; the FROC pools the
        lesions of all patients. prevalence: the precision of guessing.
    """
    figure, axes = new_figure(1, 3, 9.6, 3.2)
    left, middle, right = axes[0]
    styles = ordered_styles(precision.method)
    shifts = 0.09 * (np.arange(len(styles)) - (len(styles) - 1) / 2)
    for shift, (method, style) in zip(shifts, styles.items(), strict=True):
        look = {"color": style.colour, "linestyle": style.line}
        curve = mean_with_interval(precision[precision.method == method], ["recall"], ["precision"])
        left.plot(curve.recall, curve.precision, label=style.label, **look)
        band = curve.recall, curve.precision_low, curve.precision_high
        left.fill_between(*band, color=style.colour, alpha=0.12, linewidth=0)
        curve = froc(operating[operating.method == method])
        middle.plot(curve.false_positives, curve.sensitivity, **look)
        sizes = sensitivity_by_size(lesions[lesions.method == method])
        bars = error_bars(sizes, "sensitivity")
        right.errorbar(np.arange(len(sizes)) + shift, sizes.sensitivity, bars, linewidth=1, **style.points)
    left.axhline(prevalence, color="black", linewidth=0.8, label="chance (prevalence)")
    left.set(xlabel="recall", ylabel="precision (mean over patients)", xlim=(0, 1), ylim=(0, 1.02))
    middle.set(xlabel="false positives per scan", ylabel="lesions found", xscale="symlog", ylim=(-0.02, 1.02))
    middle.set_xlim(0, None)
    middle.xaxis.set_major_formatter("{x:g}")
    right.set(ylabel="lesions found, validation threshold", ylim=(-0.04, 1.04), xlim=(-0.5, len(sizes) - 0.5))
    right.set_xlabel("lesion volume (ml)")
    right.set_xticks(
        range(len(sizes)), sizes["size"].str.removesuffix(" ml") + "\n(n = " + sizes.lesions.astype(str) + ")"
    )
    for axis, title in zip(axes[0], ("Precision over recall", "FROC", "By lesion size"), strict=True):
        axis.set_title(title)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(styles) + 1)
    return figure


def plot_patients(volumes):
    """Every patient as a line over the methods, the mean with its interval beside it; one panel per set.

    `volumes`: as in an `Evaluation`, of one or more sets. Dashed: the prevalence, AUPRC's chance level.
    """
    names, styles = volumes.dataset.unique(), ordered_styles(volumes.method)
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    figure, axes = new_figure(rows, columns, 0.75 * len(styles) * columns + 0.7, 2.6 * rows, sharex=True, sharey=True)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, names, strict=False):
        part = volumes[volumes.dataset == name].sort_values("subject")
        means = mean_with_interval(part, ["method"], ["auprc"]).set_index("method")
        axis.axhline(part.prevalence.mean(), color="black", linestyle="--", linewidth=0.8)
        lines = part.pivot(index="method", columns="subject", values="auprc").loc[list(styles)]
        axis.plot(range(len(styles)), lines, color=GREY, linewidth=0.6, alpha=0.6, marker=".", markersize=3)
        for place, (method, style) in enumerate(styles.items()):
            mean, look = means.loc[[method]], {"capsize": 3, "markersize": 6, "markeredgecolor": "black", "zorder": 3}
            axis.errorbar(place + 0.18, mean.auprc, error_bars(mean, "auprc"), **style.points, **look)
        axis.set_xticks(range(len(styles)), [style.label for style in styles.values()], rotation=35, ha="right")
        axis.set(title=SET_NAMES[name], ylim=(0, 1.02))
    for axis in axes[:, 0]:
        axis.set_ylabel("AUPRC")
    return figure


def plot_thresholds(decisions, methods=("l1", "adaptive")):
    """Dice by where the threshold comes from, one panel per set; the oracle, not a result, is hollow."""
    names, sources, styles = decisions.dataset.unique(), list(decisions.source.unique()), method_styles(methods)
    figure, axes = new_figure(1, len(names), 2.2 * len(names) + 1.7, 2.9, sharey=True)
    for axis, name in zip(axes[0], names, strict=True):
        means = mean_with_interval(decisions[decisions.dataset == name], ["method", "source"], ["dice"])
        means = means.set_index(["method", "source"])
        for shift, (method, style) in zip(np.linspace(-0.1, 0.1, len(styles)), styles.items(), strict=True):
            for place, source in enumerate(sources):
                mean, look = means.loc[[(method, source)]], style.points | {"capsize": 3, "markersize": 6}
                look |= {"markerfacecolor": "white"} if source == "oracle" else {}
                look |= {"label": style.label} if source == "validation" else {}
                axis.errorbar(place + shift, mean.dice, error_bars(mean, "dice"), **look)
        axis.set_xticks(range(len(sources)), sources, rotation=35, ha="right")
        axis.set(title=SET_NAMES[name], ylim=(0, 1), xlim=(-0.5, len(sources) - 0.5))
    axes[0, 0].set_ylabel("Dice")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def plot_transfer(table, method):
    """Dice on each set (rows) at the threshold of every set (columns); framed: its own.

    `table`: dataset, source, dice.
    """
    wide = table.pivot(index="dataset", columns="source", values="dice")
    wide = wide.loc[table.dataset.unique(), table.source.unique()]
    own = [(row, wide.columns.get_loc(name)) for row, name in enumerate(wide.index) if name in wide.columns]
    figure, axes = new_figure(1, 1, 0.95 * wide.shape[1] + 1.6, 0.5 * len(wide) + 1.3)
    cells = draw_table(axes[0, 0], wide.div(wide.max(axis=1), axis=0), wide, own)
    label = method_styles([method])[method].label
    axes[0, 0].set(title=f"Dice of {label} at thresholds from other sets", xlabel="threshold from")
    figure.colorbar(cells, ax=axes, label="share of the row's best", pad=0.02)
    return figure


def plot_scores_of_reconstructions(table):
    """AUPRC of every reconstruction (rows) under every score (columns), one panel per set; framed: the set's best."""
    names = table.dataset.unique()
    figure, axes = new_figure(1, len(names), 3.1 * len(names) + 0.9, 2.6, sharey=True)
    for axis, name in zip(axes[0], names, strict=True):
        wide = table[table.dataset == name].pivot(index="reconstruction", columns="score", values="auprc")
        wide = wide.loc[table.reconstruction.unique(), table.score.unique()]
        best = np.unravel_index(np.argmax(wide), wide.shape)
        cells = draw_table(axis, wide / wide.max(axis=None), wide, [best])
        axis.set_title(SET_NAMES[name])
    figure.colorbar(cells, ax=axes, label="share of the set's best", pad=0.01)
    return figure


def plot_false_alarms(table, methods=("l1", "adaptive", "calibrated")):
    """What is marked in healthy scans (ml per scan), by site, sex and age: points are scans, bars their means.

    `table`: subject, contrast, site, sex, age, method, false_ml; one row per scan and method.
    """
    figure, axes = new_figure(1, 3, 9, 2.8, sharey=True)
    rng, styles = np.random.default_rng(0), method_styles(methods)
    bars = {"color": "black", "marker": "_", "markersize": 12, "capsize": 3, "linewidth": 1}
    columns = {"site": table.site, "sex": table.sex, "age (years)": age_group(table.age)}
    for axis, (title, column) in zip(axes[0], columns.items(), strict=True):
        groups = list(column.cat.categories if title.startswith("age") else sorted(column.unique()))
        for shift, (method, style) in zip(np.linspace(-0.2, 0.2, len(styles)), styles.items(), strict=True):
            for place, group in enumerate(groups):
                ml = table.false_ml[(column == group) & (table.method == method)]
                at = place + shift + rng.uniform(-0.07, 0.07, len(ml))
                axis.plot(at, ml, **style.points | {"alpha": 0.5, "markersize": 3.5})
                low, high = interval(ml)
                axis.errorbar(place + shift, ml.mean(), [[ml.mean() - low], [high - ml.mean()]], **bars)
            axis.plot([], [], label=style.label, **style.points)
        axis.set_xticks(range(len(groups)), groups)
        axis.set(title=f"by {title}", xlim=(-0.6, len(groups) - 0.4))
    axes[0, 0].set(ylabel="marked in healthy scans (ml)", ylim=(0, None))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper")
    return figure
