"""The style of all figures: colours, labels of sets and methods, and how methods are drawn.

In: names of sets and methods as tables have them. Out: a style, an empty matplotlib Figure, or marks on an axis.
Importing this sets matplotlib's fonts and lines. Whatever differs in colour also differs in line, marker or hatch.
"""

import itertools
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np

# seaborn's "colorblind" palette, written out: importing seaborn would cost every notebook half a second
COLOURS = "#0173b2 #de8f05 #029e73 #d55e00 #cc78bc #ca9161".split()
BLUE, ORANGE, GREEN, RED, PURPLE, BROWN = COLOURS
GREY, SKY = "#949494 #56b4e9".split()
SIGMA_TICKS = (0.3, 0.5, 1, 2, 4)
plt.rcParams.update(
    {"font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 8, "legend.frameon": False}
    | {"axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42, "ps.fonttype": 42}
    | {"image.cmap": "cividis", "lines.linewidth": 1.6, "lines.markersize": 4, "figure.dpi": 100}
)


class _Names(dict):
    def __missing__(self, name):
        return name


# Labels of the sets; any other set is labelled with its own name.
SET_NAMES = _Names(
    {"healthy": "Healthy", "tumour": "Tumour", "stroke": "Stroke", "ms": "MS", "wmh": "WMH"}
    | {"half_real_ms": "MS, half-real", "half_real_stroke": "Stroke, half-real", "real_ms": "MS, real"}
)


@dataclass(frozen=True)
class MethodStyle:
    """How a method is drawn, in every figure."""

    label: str
    colour: str
    line: str | tuple
    marker: str
    hatch: str = ""  # of its bars

    @property
    def curve(self):
        """Options of matplotlib for a line with markers."""
        return {"color": self.colour, "linestyle": self.line, "marker": self.marker}

    @property
    def points(self):
        """The same without the line."""
        return self.curve | {"linestyle": ""}


METHOD_STYLES = {
    "intensity": MethodStyle("intensity", GREY, (0, (1, 1)), "x"),
    "blur": MethodStyle("|x \N{MINUS SIGN} blur(x)|", BROWN, (0, (5, 1)), "v"),
    "l1": MethodStyle("l1", RED, "--", "s", "//"),
    "l1 smoothed": MethodStyle("smoothed l1", RED, (0, (1, 1)), "p", "//"),
    "l1 calibrated": MethodStyle("calibrated l1", RED, "-", "*", "//"),
    "ssim": MethodStyle("SSIM", BLUE, "-", "o"),
    "ssim default": MethodStyle("SSIM, usual \u03c3", ORANGE, (0, (3, 1, 1, 1)), "^"),
    "ssim best": MethodStyle("SSIM, best \u03c3", BLUE, "-", "o"),
    "mean": MethodStyle("mean", PURPLE, ":", "^", ".."),
    "min": MethodStyle("minimum", BROWN, (0, (5, 1)), "v", ".."),
    "adaptive": MethodStyle("paper's ensemble", GREEN, "-.", "D", ".."),
    "calibrated": MethodStyle("calibrated ensemble", SKY, (0, (6, 1, 1, 1)), "P", "xx"),
}
WINDOWS = ((BLUE, "o"), (ORANGE, "^"), (PURPLE, "v"))  # single windows, in order of appearance
SERIES = ((ORANGE, "s", "-"), (GREEN, "^", "--"), (RED, "D", "-."), (PURPLE, "v", ":"), (BLUE, "o", (0, (5, 1))))


def method_styles(methods):
    """{method: `MethodStyle`}: single windows (`ssim <sigma>`) differ, an unknown method is a black star."""
    windows, styles = itertools.cycle(WINDOWS), {}
    for method in methods:
        if method in METHOD_STYLES:
            styles[method] = METHOD_STYLES[method]
        elif method.startswith("ssim "):
            colour, marker = next(windows)
            styles[method] = MethodStyle(f"SSIM, \u03c3 = {method.removeprefix('ssim ')}", colour, "-", marker)
        else:
            styles[method] = MethodStyle(method, "black", "-", "*")
    return styles


def ordered_styles(methods):
    """The styles of the methods that are in METHOD_STYLES, in its order."""
    present = set(methods)
    return {method: style for method, style in METHOD_STYLES.items() if method in present}


def series_styles(names):
    """{name: options of matplotlib for its line} for lines that are not methods: sets, patients."""
    styles = [{"color": colour, "marker": marker, "linestyle": line} for colour, marker, line in SERIES]
    return dict(zip(names, itertools.cycle(styles), strict=False))


def new_figure(rows, columns, width, height, **options):
    """A figure (inches) and its axes [rows, columns], unknown to pyplot: a notebook shows it only where asked to."""
    options = {"squeeze": False, "layout": "constrained"} | options
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), **options)
    plt.close(figure)
    return figure, axes


def error_bars(table, score):
    """Lengths of the intervals below and above the means, [2, rows]: NaN, and not drawn, where there is none."""
    return np.array([table[score] - table[f"{score}_low"], table[f"{score}_high"] - table[score]]).clip(min=0)


def set_ticks(axis, ticks):
    """Numbers at these ticks of an x or y axis, and no others."""
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def sigma_axis(axis):
    """A logarithmic horizontal axis of window sizes."""
    axis.set(xscale="log", xlabel="SSIM window \u03c3 (voxels)")
    set_ticks(axis.xaxis, SIGMA_TICKS)


def draw_table(axis, colours, numbers, framed):
    """A table of `numbers` as coloured cells: `colours` is a table in [0, 1], `framed` has (row, column) of cells."""
    cells = axis.imshow(colours, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    axis.set_xticks(
        range(numbers.shape[1]),
        [SET_NAMES[name] for name in numbers.columns],
        rotation=35,
        ha="right",
        rotation_mode="anchor",
    )
    axis.set_yticks(range(numbers.shape[0]), [SET_NAMES[name] for name in numbers.index])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(numbers.to_numpy()):
        ink = "black" if colours.to_numpy()[row, column] > 0.6 else "white"
        axis.text(column, row, f"{value:.3f}".removeprefix("0"), ha="center", va="center", color=ink, fontsize=8)
    for row, column in framed:
        draw_frame(axis, column - 0.5, row - 0.5)
    return cells


def draw_frame(axis, left, top):
    """A frame around one cell of a table."""
    axis.add_patch(plt.Rectangle((left, top), 1, 1, fill=False, edgecolor=RED, linewidth=2.5, clip_on=False))
