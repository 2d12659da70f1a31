"""Pictures of slices: scans, reconstructions, maps and what a threshold marks.

In: slices [H, W] of RAS+ volumes (x to the right, y to the front), as arrays or as `Panel`s. Out: a matplotlib Figure,
as seen from above. Scans are grey, maps are cividis, lesions are outlined.
"""

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from essim.figures.style import BLUE, GREEN, ORANGE, SET_NAMES, new_figure

MARKS = {"found": GREEN, "missed": BLUE, "false": ORANGE}  # 1, 2, 3 in the `marks` of a panel
PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}  # of a volume [H, W, D]: the axis that each cuts


@dataclass
class Panel:
    """One slice to show: `image` [H, W], an `outline` (bool [H, W]) over it, a `kind`, and its (low, high) values;
    `marks` (int [H, W], see MARKS) colour what a threshold found, missed and marked falsely."""

    image: np.ndarray
    outline: np.ndarray | None = None
    kind: str = "scan"  # scan, truth (ground truth): grey; map: cividis
    limits: tuple | None = None
    marks: np.ndarray | None = None

    @property
    def value_range(self):
        """(low, high): the limits, or 0 and the 99.5th percentile."""
        return self.limits or (0, max(np.percentile(self.image, 99.5), 1e-6))

    @property
    def cmap(self):
        return "cividis" if self.kind == "map" else "gray"

    def draw(self, axis):
        """Draw the slice, front up, with its marks and outline; returns the matplotlib image, for a colour bar."""
        (low, high), options = self.value_range, {"origin": "lower", "interpolation": "nearest"}
        slice_image = axis.imshow(self.image.T, cmap=self.cmap, vmin=low, vmax=high, **options)
        if self.marks is not None:
            marked, colours = np.ma.masked_equal(self.marks.T, 0), ListedColormap(list(MARKS.values()))
            axis.imshow(marked, cmap=colours, vmin=1, vmax=len(MARKS), **options)
        if self.outline is not None and self.outline.any():
            lines = [("black", 1.8), ("white", 0.8)] if self.kind == "map" else [(ORANGE, 0.8)]
            for colour, width in lines:  # white on black is visible on every colour of a map
                axis.contour(self.outline.T.astype(float), [0.5], colors=[colour], linewidths=width)
        return slice_image


def slice_grid(rows, columns, names, size=1.45):
    """Panels in a grid, one list per row: (figure, axes).

    `columns` are their titles, `names` stand left of the rows, `size` is the width of a panel in inches.
    """
    shape = rows[0][0].image.shape
    height = size * len(rows) * shape[1] / shape[0] + 0.3
    figure, axes = bare_figure(len(rows), len(columns), size * len(columns) + 0.3, height)
    for line, panels, name in zip(axes, rows, names, strict=True):
        for axis, panel in zip(line, panels, strict=True):
            panel.draw(axis)
        line[0].set_ylabel(name)
    for axis, title in zip(axes[0], columns, strict=True):
        axis.set_title(title)
    return figure, axes


def bare_figure(*shape_and_size, **options):
    """`new_figure` without ticks, frames and gaps between the axes."""
    figure, axes = new_figure(*shape_and_size, **options)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    return figure, axes


def show_cohort(rows):
    """Scans of every set: {dataset: [(t1, t2, lesion or None), ...]}, slices [H, W], equally many per set."""
    panels = [[Panel(image, seg) for *images, seg in people for image in images] for people in rows.values()]
    people = len(next(iter(rows.values())))
    return slice_grid(panels, ["T1", "T2"] * people, [SET_NAMES[name] for name in rows], 1.3)[0]


def show_forward_process(rows, times):
    """Noised slices in [-1, 1]: {kind of noise: one slice per noising step in `times`}."""
    panels = [[Panel(image, limits=(-1.4, 1.4)) for image in images] for images in rows.values()]
    return slice_grid(panels, [f"t = {t}" for t in times], [f"{name} noise" for name in rows])[0]


def show_reconstruction(rows, names):
    """Input, reconstruction, difference, ground truth: one (image, reconstruction, lesion) per row, slices [H, W]."""
    panels = []
    for x, y, seg in rows:
        difference = Panel(abs(x - y), kind="map", limits=(0, 0.5))
        panels.append([Panel(x, limits=(0, 1)), Panel(y, limits=(0, 1)), difference, Panel(seg, limits=(0, 1))])
    figure, axes = slice_grid(panels, ["input x", "reconstruction y", "|x \N{MINUS SIGN} y|", "ground truth"], names)
    _colour_bar(figure, axes, axes[0, 2], "|x \N{MINUS SIGN} y| (intensity)")
    return figure


def show_reconstructions(rows, methods):
    """A scan and its reconstructions by several methods: {name: (image, lesion, one reconstruction per method)}.

    Slices [H, W]: on the left the scan and the reconstructions, on the right where they differ; lesions are outlined.
    """
    panels = []
    for x, seg, *reconstructions in rows.values():
        scans = [Panel(x, seg, limits=(0, 1)), *(Panel(y, limits=(0, 1)) for y in reconstructions)]
        panels.append(scans + [Panel(abs(x - y), seg, "map", (0, 0.5)) for y in reconstructions])
    titles = ["input x", *methods, *(f"|x \N{MINUS SIGN} {name}|" for name in methods)]
    figure, axes = slice_grid(panels, titles, [SET_NAMES[name] for name in rows], 1.3)
    _colour_bar(figure, axes, axes[0, -1], "intensity")
    return figure


def _colour_bar(figure, axes, axis, label):
    """A colour bar of one of the axes, beside all of them."""
    shrink = min(1, 1.5 / len(axes))
    figure.colorbar(axis.images[0], ax=axes, shrink=shrink, aspect=14, pad=0.02).set_label(label)


def show_kernel_maps(maps, outline):
    """Anomaly maps of one slice side by side, {title: [H, W]}, each from 0 to its own 99.5th percentile."""
    size = 2 if len(maps) <= 4 else 1.45
    return slice_grid([[Panel(m, outline, "map") for m in maps.values()]], list(maps), [""], size)[0]


def show_ensemble_weights(similarity, weights, sigmas, outline):
    """SSIM maps (above) and their weights (below) for every sigma: both [K, H, W], cropped around a lesion."""
    top = [Panel(s, outline, "map", (similarity.min(), 1)) for s in similarity]
    bottom = [Panel(w, outline, "map", (weights.min(), weights.max())) for w in weights]
    figure, axes = slice_grid([top, bottom], [f"\u03c3 = {s:g}" for s in sigmas], ["SSIM", "weight"], 1.2)
    row_colour_bars(figure, axes, ["SSIM", "weight"])
    return figure


def row_colour_bars(figure, axes, labels):
    """A colour bar at the end of each row of a `slice_grid`, for the row's last panel."""
    for line, label in zip(axes, labels, strict=True):
        figure.colorbar(line[-1].images[0], ax=line, shrink=0.9, aspect=12, pad=0.01).set_label(label)


def show_examples(examples, columns):
    """One patient of every set: {dataset: slices, one for each of `columns`, the last the lesion}.

    The columns `input`, `reconstruction` and `truth` (the ground truth) are grey; all others are maps, with the lesion
    outlined.
    """
    kinds = {"input": "scan", "reconstruction": "scan", "truth": "truth"}
    rows = [
        [
            Panel(image, kind=kinds[title], limits=(0, 1)) if title in kinds else Panel(image, slices[-1] > 0, "map")
            for title, image in zip(columns, slices, strict=True)
        ]
        for slices in examples.values()
    ]
    titles = ["ground truth" if title == "truth" else title for title in columns]
    return slice_grid(rows, titles, [SET_NAMES[name] for name in examples], 1.3)[0]


def hits_and_misses(marked, seg):
    """What a threshold did, voxel by voxel, as the `marks` of a panel: 1 found, 2 missed, 3 falsely marked."""
    return np.select([marked & seg, seg, marked], [1, 2, 3])


def show_marks(rows, columns, names, size=1.8):
    """`slice_grid` of panels with marks, with a legend of their colours."""
    figure, _ = slice_grid(rows, columns, names, size)
    handles = [Patch(color=colour, label=word) for word, colour in MARKS.items()]
    figure.legend(handles=handles, loc="outside lower right", ncols=len(handles))
    return figure


def show_gallery(rows, names):
    """Cases, their reconstructions, maps and marks: one (image, reconstruction, {title: map}, marked, seg) per row,
    slices [H, W].

    `marked` is the last map, thresholded; found, missed and falsely marked voxels have different colours.
    """
    panels = []
    for image, reconstruction, maps, marked, seg in rows:
        scans = [Panel(image, limits=(0, 1)), Panel(reconstruction, limits=(0, 1))]
        scored = [Panel(m, seg, "map") for m in maps.values()]
        panels.append([*scans, *scored, Panel(image, limits=(0, 1), marks=hits_and_misses(marked, seg))])
    return show_marks(panels, ["input", "reconstruction", *rows[0][2], "marked"], names, 1.5)


def box_around(seg, margin):
    """Slices that crop [H, W] to the bounding box of a lesion and `margin` pixels around it; without one, all of it."""
    places = [np.flatnonzero(np.any(seg, axis=other)) for other in (1, 0)]
    return tuple(slice(max(0, at[0] - margin), at[-1] + margin + 1) if len(at) else slice(None) for at in places)
