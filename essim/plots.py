"""The figures of the study: one style, one function a figure.

In: arrays (slices [H, W] of RAS+ volumes, x to the right, y to the front) and score tables. Out: a matplotlib Figure;
`essim.provenance.save_figure` writes it. Colours tell apart for colour-blind readers, and lines and markers do so
without colour.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from sklearn.metrics import precision_recall_curve

# seaborn's "colorblind" palette, written out: importing seaborn would cost every notebook half a second
BLUE, ORANGE, GREEN, RED, PURPLE, BROWN, GREY = "#0173b2 #de8f05 #029e73 #d55e00 #cc78bc #ca9161 #949494".split()
NAMES = {"healthy": "Healthy", "tumour": "Tumour", "stroke": "Stroke", "ms": "MS", "wmh": "WMH"}
SCORES = {"auprc": "AUPRC", "dice": "Dice"}
# method: its label, colour, line and marker
STYLES = {
    "ssim": ("SSIM", BLUE, "-", "o"),
    "l1": ("l1", RED, "--", "s"),
    "adaptive": ("ensemble", GREEN, "-.", "D"),
    "mean": ("mean", PURPLE, ":", "^"),
    "min": ("minimum", BROWN, (0, (5, 1)), "v"),
    "intensity": ("intensity", GREY, (0, (1, 1)), "x"),
}
plt.rcParams.update(
    {"font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 8, "legend.frameon": False}
    | {"axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42, "ps.fonttype": 42}
    | {"image.cmap": "cividis", "lines.linewidth": 1.6, "lines.markersize": 4, "figure.dpi": 100}
)


def new_figure(rows, columns, width, height, **options):
    """A figure of rows x columns axes, kept out of pyplot's hands: a notebook shows it where it is asked for."""
    options = {"squeeze": False, "layout": "constrained"} | options
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), **options)
    plt.close(figure)
    return figure, axes


# Pictures of slices


@dataclass
class Panel:
    """One slice to show: `image` [H, W], an `outline` (bool [H, W]) over it, a `kind`, and its (low, high) values."""

    image: np.ndarray
    outline: np.ndarray | None = None
    kind: str = "scan"  # scan, truth: grey; map: cividis
    limits: tuple | None = None

    def draw(self, axis):
        low, high = self.limits or (0, max(np.percentile(self.image, 99.5), 1e-6))
        cmap = "cividis" if self.kind == "map" else "gray"
        drawn = axis.imshow(self.image.T, cmap=cmap, vmin=low, vmax=high, origin="lower", interpolation="nearest")
        if self.outline is not None and self.outline.any():
            axis.contour(self.outline.T.astype(float), [0.5], colors=[ORANGE], linewidths=0.8)
        return drawn


def slice_grid(rows, columns, names, size=1.45):
    """Panels in a grid, one list of panels a row; `columns` are titles, `names` stand left of the rows."""
    shape = rows[0][0].image.shape
    width, height = size * len(columns) + 0.3, size * len(rows) * shape[1] / shape[0] + 0.3
    figure, axes = new_figure(len(rows), len(columns), width, height)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
    for line, panels, name in zip(axes, rows, names, strict=True):
        for axis, panel in zip(line, panels, strict=True):
            axis.drawn = panel.draw(axis)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(name)
    for axis, title in zip(axes[0], columns, strict=True):
        axis.set_title(title)
    return figure, axes


def cohort(rows):
    """Scans of every set: {dataset: [(t1, t2, lesion or None), ...]}, slices [H, W], as many for each set."""
    panels = [[Panel(image, seg) for *images, seg in people for image in images] for people in rows.values()]
    people = len(next(iter(rows.values())))
    return slice_grid(panels, ["T1", "T2"] * people, [NAMES[name] for name in rows], 1.3)[0]


def forward_process(rows, times):
    """Noised slices in [-1, 1]: {kind of noise: one slice for each of `times`}."""
    panels = [[Panel(image, limits=(-1.4, 1.4)) for image in images] for images in rows.values()]
    return slice_grid(panels, [f"t = {t}" for t in times], [f"{name} noise" for name in rows])[0]


def reconstruction(rows, names):
    """Input, reconstruction, difference and truth: one (image, reconstruction, lesion) a row, slices [H, W]."""
    panels = []
    for x, y, seg in rows:
        difference = Panel(abs(x - y), kind="map", limits=(0, 0.5))
        panels.append([Panel(x, limits=(0, 1)), Panel(y, limits=(0, 1)), difference, Panel(seg, limits=(0, 1))])
    figure, axes = slice_grid(panels, ["input x", "reconstruction y", "|x \N{MINUS SIGN} y|", "truth"], names)
    bar = figure.colorbar(axes[0, 2].drawn, ax=axes[:, 2], location="bottom", shrink=0.9, aspect=12, pad=0.01)
    bar.set_label("intensity")
    return figure


def kernel_maps(maps, outline):
    """Anomaly maps of one slice side by side, {title: [H, W]}, each from 0 to its own 99.5th percentile."""
    return slice_grid([[Panel(m, outline, "map") for m in maps.values()]], list(maps), [""])[0]


def ensemble_weights(similarity, weights, sigmas, outline):
    """SSIM maps (above) and their weights (below) for every sigma: both [K, H, W], cropped around a lesion."""
    top = [Panel(s, outline, "map", (similarity.min(), 1)) for s in similarity]
    bottom = [Panel(w, outline, "map", (weights.min(), weights.max())) for w in weights]
    figure, axes = slice_grid([top, bottom], [f"\u03c3 = {s:g}" for s in sigmas], ["SSIM", "weight"], 1.2)
    for line, label in zip(axes, ("SSIM", "weight"), strict=True):
        figure.colorbar(line[-1].drawn, ax=line, shrink=0.9, aspect=12, pad=0.01).set_label(label)
    return figure


def qualitative(examples, columns):
    """One patient of every set: {dataset: slices, one for each of `columns`}; a title `truth` is shown as a mask."""

    def panel(title, image, outline):
        if title in ("input", "reconstruction", "truth"):
            return Panel(image, kind="truth" if title == "truth" else "scan", limits=(0, 1))
        return Panel(image, outline, "map")

    rows = [
        [panel(title, image, images[-1] > 0) for title, image in zip(columns, images, strict=True)]
        for images in examples.values()
    ]
    return slice_grid(rows, columns, [NAMES[name] for name in examples], 1.3)[0]


# Curves, bars and tables


def lesion_sizes(table):
    """Histograms of the total lesion volume, one panel a patient set; `table` has `dataset` and `lesion_ml`."""
    names = list(dict.fromkeys(table.dataset))
    figure, axes = new_figure(1, len(names), 2.2 * len(names), 2.1, sharex=True, sharey=True)
    bins = np.geomspace(0.1, 300, 18)
    for axis, name in zip(axes[0], names, strict=True):
        volumes = table[table.dataset == name].lesion_ml
        axis.hist(volumes, bins, color=BLUE, edgecolor="white", linewidth=0.5)
        axis.axvline(volumes.median(), color="black", linestyle="--", linewidth=1)
        axis.set(title=f"{NAMES[name]}: median {volumes.median():.2g} ml", xscale="log", xlabel="lesion volume (ml)")
    axes[0, 0].set_ylabel("patients")
    return figure


def training_curves(logs):
    """Training and validation loss over the steps: {title: log of `essim.train.train`}."""
    figure, axes = new_figure(1, len(logs), 3.4 * len(logs), 2.6, sharey=True)
    for axis, (title, log) in zip(axes[0], logs.items(), strict=True):
        axis.plot(log.step, log.train_loss, color=ORANGE, linestyle="--", label="training (augmented slices)")
        axis.plot(log.step, log.val_loss, color=BLUE, label="validation (averaged weights)")
        best = log.loc[log.val_loss.idxmin()]
        axis.plot(best.step, best.val_loss, "*", color="black", markersize=9, label="kept")
        axis.set(title=title, xlabel="training step", yscale="log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:.2g}")
        axis.tick_params(axis="y", which="minor", labelsize=7)
    axes[0, 0].set_ylabel("l1 loss")
    axes[0, -1].legend()
    return figure


def residual(table):
    """Mean |x - y| inside against outside the lesions, one line a patient; `table` as from `essim.study.residuals`."""
    figure, axes = new_figure(1, 1, 2.8, 2.6)
    for row in table.itertuples():
        axes[0, 0].plot([0, 1], [row.outside, row.inside], "o-", color=BLUE, linewidth=0.7, alpha=0.7)
    axes[0, 0].set(xticks=[0, 1], xlim=(-0.3, 1.3), ylabel="mean |x \N{MINUS SIGN} y| (intensity)")
    axes[0, 0].set(xticklabels=["healthy\nbrain", "lesion"], ylim=(0, None))
    return figure


def _curve(axis, scores, score, label=None, colour=BLUE, line="-", marker="o"):
    """Mean and standard error over subjects of the single-sigma rows; returns the means by sigma."""
    groups = scores.dropna(subset="sigma").groupby("sigma")[score]
    mean, error = groups.mean(), groups.sem().fillna(0)
    axis.plot(mean.index, mean, color=colour, linestyle=line, marker=marker, label=label)
    axis.fill_between(mean.index, mean - error, mean + error, color=colour, alpha=0.15, linewidth=0)
    return mean


def ablation(scores):
    """One set: AUPRC and Dice over sigma, test and validation part, with l1 as a horizontal line."""
    figure, axes = new_figure(1, 2, 7, 2.9)
    looks = {"test": (BLUE, "-", "o"), "val": (ORANGE, "--", "s")}
    for axis, (score, label) in zip(axes[0], SCORES.items(), strict=True):
        for split, (colour, line, marker) in looks.items():
            part, title = scores[scores.split == split], {"test": "test", "val": "validation"}[split]
            mean = _curve(axis, part, score, f"SSIM, {title}", colour, line, marker)
            axis.plot(mean.idxmax(), mean.max(), "*", color="black", markersize=9, zorder=3)
            l1 = part[part.method == "l1"][score].mean()
            axis.axhline(l1, color=colour, linestyle=":", label=f"l1, {title}")
        axis.set(xlabel="SSIM window \u03c3 (voxels)", ylabel=label, ylim=(0, None))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    star = Line2D([], [], color="black", marker="*", markersize=9, linestyle="")
    figure.legend([*handles, star], [*labels, "best \u03c3"], loc="outside lower center", ncols=5)
    return figure


def score_over_sigma(scores, datasets, score="auprc", lines=("l1", "adaptive")):
    """The main figure: a panel a pathology, SSIM over sigma with its optimum, l1 and the ensemble as lines.

    `scores`: test rows of all methods. Bands and bars at the right end: standard error over subjects.
    """
    figure, axes = new_figure(1, len(datasets), 2.5 * len(datasets), 2.8)
    for axis, name in zip(axes[0], datasets, strict=True):
        part = scores[scores.dataset == name]
        mean = _curve(axis, part, score)
        axis.plot(mean.idxmax(), mean.max(), "*", color="black", markersize=9, zorder=3)
        best = axis.annotate(f"\u03c3 = {mean.idxmax():g}", (mean.idxmax(), mean.max()), (0, 7), "data", "offset points")
        best.set(ha="center")
        end, levels = mean.index.max(), part[part.method.isin(lines)].groupby("method")[score].agg(["mean", "sem"])
        for place, (method, level) in enumerate(levels.sort_values("mean").iterrows()):
            label, colour, line, marker = STYLES[method]
            axis.axhline(level["mean"], color=colour, linestyle=line)
            x = end * (1.06 + 0.05 * place)
            axis.errorbar(x, level["mean"], np.nan_to_num(level["sem"]), color=colour, marker=marker, capsize=2)
            shift, side = ((-3, "top"), (3, "bottom"))[place % 2]
            text = axis.annotate(label, (0.04, level["mean"]), (0, shift), ("axes fraction", "data"), "offset points")
            text.set(color=colour, va=side, ha="left")
        axis.set(title=NAMES[name], xlabel="SSIM window \u03c3 (voxels)", ylim=(0, axis.get_ylim()[1] * 1.12))
    axes[0, 0].set_ylabel(SCORES[score])
    looks = [dict(zip(("label", "color", "linestyle", "marker"), STYLES[m], strict=True)) for m in ("ssim", *lines)]
    figure.legend(handles=[Line2D([], [], **look) for look in looks], loc="outside lower center", ncols=3)
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
    looks = {"ssim": (BLUE, "", "SSIM, \u03c3 = "), "l1": (RED, "//", "")}
    looks = [looks.get(method.split()[0], (GREEN, "..", "ensemble, ")) for method in table.method]
    colours, hatches, words = zip(*looks, strict=True)
    texts = [word + method.removeprefix("ssim ") for word, method in zip(words, table.method, strict=True)]
    bars = axis.barh(texts, table.regret, color=colours, edgecolor="white", hatch=hatches)
    axis.bar_label(bars, [f"{v:+.2f}" for v in table.regret], padding=3, fontsize=8)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(xlabel="regret: share of the best single \u03c3's AUPRC given away, mean over sets")
    axis.margins(x=0.12)
    return figure


def evaluation(maps, seg, mask, thresholds):
    """One patient: precision over recall (left), Dice over threshold with the fitted ones marked (right).

    `maps` {method: [H, W, D]}, `thresholds` {method: fitted on the validation part}.
    """
    figure, axes = new_figure(1, 2, 7, 2.9)
    left, right = axes[0]
    for method, anomaly in maps.items():
        label, colour, line, marker = STYLES[method.split()[0]]
        label = method.replace("ssim ", "SSIM, \u03c3 = ") if method.startswith("ssim") else label
        precision, recall, cuts = precision_recall_curve(seg[mask], anomaly[mask])
        left.plot(recall, precision, color=colour, linestyle=line, label=label)
        dice = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        cuts, fitted = cuts / anomaly.max(), thresholds[method] / anomaly.max()
        right.plot(cuts, dice[:-1], color=colour, linestyle=line)
        at = dice[:-1][min(np.searchsorted(cuts, fitted, "right"), len(cuts) - 1)]
        right.plot(fitted, at, marker=marker, color=colour, markeredgecolor="black", markersize=7, linestyle="")
    left.axhline(seg[mask].mean(), color="black", linewidth=0.8, label="chance (prevalence)")
    left.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    right.set(xlabel="threshold / highest score", ylabel="Dice", xlim=(0, 1), ylim=(0, 1.02))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def around(seg, margin):
    """Slices that crop [H, W] to the bounding box of a lesion and `margin` pixels around it."""
    found = [np.flatnonzero(np.any(seg, axis=other)) for other in (1, 0)]
    return tuple(slice(max(0, f[0] - margin), f[-1] + margin + 1) if len(f) else slice(None) for f in found)
