"""Pictures of slices, and the style of all figures.

In: slices [H, W] of RAS+ volumes (x to the right, y to the front). Out: a matplotlib Figure, shown as seen from above;
`essim.runs.provenance.save_figure` writes it. Scans are grey, maps are cividis, lesions are outlined.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

# seaborn's "colorblind" palette, written out: importing seaborn would cost every notebook half a second
BLUE, ORANGE, GREEN, RED, PURPLE, BROWN = "#0173b2 #de8f05 #029e73 #d55e00 #cc78bc #ca9161".split()
GREY, SKY = "#949494 #56b4e9".split()


class _Names(dict):
    """What figures call the sets; one that isn't known is called by its own name."""

    def __missing__(self, name):
        return name


NAMES = _Names({"healthy": "Healthy", "tumour": "Tumour", "stroke": "Stroke", "ms": "MS", "wmh": "WMH"})
MARKS = {"found": GREEN, "missed": BLUE, "false": ORANGE}  # 1, 2, 3 in the `marks` of a panel
PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}  # of a volume [H, W, D]: the axis that each cuts
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


@dataclass
class Panel:
    """One slice to show: `image` [H, W], an `outline` (bool [H, W]) over it, a `kind`, and its (low, high) values;
    `marks` (int [H, W], see MARKS) colour what a threshold found, missed and marked for nothing."""

    image: np.ndarray
    outline: np.ndarray | None = None
    kind: str = "scan"  # scan, truth: grey; map: cividis
    limits: tuple | None = None
    marks: np.ndarray | None = None

    def draw(self, axis):
        low, high = self.limits or (0, max(np.percentile(self.image, 99.5), 1e-6))
        cmap = "cividis" if self.kind == "map" else "gray"
        drawn = axis.imshow(self.image.T, cmap=cmap, vmin=low, vmax=high, origin="lower", interpolation="nearest")
        if self.marks is not None:
            colours = ListedColormap(list(MARKS.values()))
            shown = np.ma.masked_equal(self.marks.T, 0)
            axis.imshow(shown, cmap=colours, vmin=1, vmax=len(MARKS), origin="lower", interpolation="nearest")
        if self.outline is not None and self.outline.any():
            lines = [("black", 1.8), ("white", 0.8)] if self.kind == "map" else [(ORANGE, 0.8)]
            for colour, width in lines:  # white on black shows on every colour of a map
                axis.contour(self.outline.T.astype(float), [0.5], colors=[colour], linewidths=width)
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
    bar = figure.colorbar(axes[0, 2].drawn, ax=axes, shrink=min(1, 1.5 / len(rows)), aspect=14, pad=0.02)
    bar.set_label("|x \N{MINUS SIGN} y| (intensity)")
    return figure


def reconstructions(rows, methods):
    """A scan and what several methods make of it: {name: (image, lesion, one reconstruction a method)}, slices [H, W].

    Left the scan and the reconstructions, right where they differ from it; lesions are outlined in both.
    """
    panels = []
    for x, seg, *others in rows.values():
        line = [Panel(x, seg, limits=(0, 1)), *(Panel(y, limits=(0, 1)) for y in others)]
        panels.append(line + [Panel(abs(x - y), seg, "map", (0, 0.5)) for y in others])
    titles = ["input x", *methods, *(f"|x \N{MINUS SIGN} {name}|" for name in methods)]
    figure, axes = slice_grid(panels, titles, [NAMES[name] for name in rows], 1.3)
    bar = figure.colorbar(axes[0, -1].drawn, ax=axes, shrink=min(1, 1.5 / len(rows)), aspect=14, pad=0.02)
    bar.set_label("intensity")
    return figure


def kernel_maps(maps, outline):
    """Anomaly maps of one slice side by side, {title: [H, W]}, each from 0 to its own 99.5th percentile."""
    size = 2 if len(maps) <= 4 else 1.45
    return slice_grid([[Panel(m, outline, "map") for m in maps.values()]], list(maps), [""], size)[0]


def ensemble_weights(similarity, weights, sigmas, outline):
    """SSIM maps (above) and their weights (below) for every sigma: both [K, H, W], cropped around a lesion."""
    top = [Panel(s, outline, "map", (similarity.min(), 1)) for s in similarity]
    bottom = [Panel(w, outline, "map", (weights.min(), weights.max())) for w in weights]
    figure, axes = slice_grid([top, bottom], [f"\u03c3 = {s:g}" for s in sigmas], ["SSIM", "weight"], 1.2)
    for line, label in zip(axes, ("SSIM", "weight"), strict=True):
        figure.colorbar(line[-1].drawn, ax=line, shrink=0.9, aspect=12, pad=0.01).set_label(label)
    return figure


def method(parts, size=1.2):
    """The steps of a method in one row: a picture is (title, Panel), a text between two stands over an arrow."""
    pictures = [part for part in parts if not isinstance(part, str)]
    widths = [0.5 if isinstance(part, str) else 1 for part in parts]
    shape = pictures[0][1].image.shape
    height = size * shape[1] / shape[0] + 0.3
    figure, axes = new_figure(1, len(parts), size * sum(widths), height, width_ratios=widths)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
    for axis, part in zip(axes[0], parts, strict=True):
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        if isinstance(part, str):
            axis.text(0.5, 0.56, part, ha="center", va="bottom", transform=axis.transAxes)
            arrow = {"arrowstyle": "-|>", "color": "black"}
            axis.annotate("", (0.95, 0.5), (0.05, 0.5), "axes fraction", "axes fraction", arrowprops=arrow)
        else:
            axis.set_title(part[0])
            part[1].draw(axis)
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


def told_apart(prediction, seg):
    """What a threshold did, voxel by voxel, as the `marks` of a panel: 1 found, 2 missed, 3 marked for nothing."""
    return np.select([prediction & seg, seg, prediction], [1, 2, 3])


def marks_grid(rows, columns, names, size=1.8):
    """`slice_grid` of panels with marks, and what their colours mean."""
    figure, _ = slice_grid(rows, columns, names, size)
    handles = [Patch(color=colour, label=word) for word, colour in MARKS.items()]
    figure.legend(handles=handles, loc="outside lower right", ncols=len(handles))
    return figure


def gallery(rows, names):
    """Cases and what was made of them: one (image, reconstruction, {title: map}, marked, seg) a row, slices [H, W].

    `marked` is the binary map of the last title's map; found, missed and falsely marked voxels are told apart.
    """
    panels = []
    for image, reconstruction, maps, marked, seg in rows:
        marks = told_apart(marked, seg)
        scans = [Panel(image, limits=(0, 1)), Panel(reconstruction, limits=(0, 1))]
        scored = [Panel(m, seg, "map") for m in maps.values()]
        panels.append([*scans, *scored, Panel(image, limits=(0, 1), marks=marks)])
    titles = ["input", "reconstruction", *rows[0][2], "marked"]
    return marks_grid(panels, titles, names, 1.5)


def around(seg, margin):
    """Slices that crop [H, W] to the bounding box of a lesion and `margin` pixels around it."""
    found = [np.flatnonzero(np.any(seg, axis=other)) for other in (1, 0)]
    return tuple(slice(max(0, f[0] - margin), f[-1] + margin + 1) if len(f) else slice(None) for f in found)
