"""Scanners moved away from the training scanners, as figures: every score against the amount, and the law (13).

In: tables of essim.study.shift_law. Out: a matplotlib Figure. Not in the paper.
"""

from matplotlib.lines import Line2D

from essim.figures.style import (
    BLUE,
    BROWN,
    GREY,
    METHOD_STYLES,
    ORANGE,
    PURPLE,
    RED,
    SET_NAMES,
    MethodStyle,
    error_bars,
    new_figure,
    series_styles,
)

SMOOTHED = MethodStyle("smoothed l1", RED, "-", "D")
FACTORS = {
    "luminance": MethodStyle("SSIM's luminance", ORANGE, (0, (3, 1, 1, 1)), "^"),
    "structure": MethodStyle("its contrast and structure", PURPLE, ":", "v"),
}
DRAWN = ("l1", "ssim best", "adaptive", "calibrated")
REAL = {"color": GREY, "linestyle": "--", "linewidth": 1.0, "zorder": 0}
KINDS = ("x", "o", "s", "^", "v", "D", "P", "*")


def plot_shifts(table, ends, places):
    """AUPRC against the amount of change: one row per set, one column per axis; 0 is the training scanner.

    Args: table: `shift_law.means` of one network. ends: {axis: what 1 means}. places: {set: {axis: amount}}, where the
        reconstruction is as far off as in real patients. l1 is shown under the protocol and smoothed.
    """
    datasets = list(table.dataset.unique())
    median, smooth = table[table.post == "median"], table[table.post == "smooth"]
    lines = [(METHOD_STYLES[name], median[median.method == name]) for name in DRAWN]
    lines += [(style, median[median.method == name]) for name, style in FACTORS.items()]
    lines.insert(1, (SMOOTHED, smooth[smooth.method == "l1"]))
    figure, axes = new_figure(len(datasets), len(ends), 1.75 * len(ends) + 0.5, 2.3 * len(datasets) + 0.6, sharey="row")
    for row, name in zip(axes, datasets, strict=True):
        for axis, (moved, end) in zip(row, ends.items(), strict=True):
            for style, part in lines:
                own = part[(part.dataset == name) & part.axis.isin(["", moved])].sort_values("amount")
                axis.plot(own.amount, own.auprc, **style.curve)
            if moved in places.get(name, {}):
                axis.axvline(places[name][moved], **REAL)
            axis.set(title=moved, xlabel=end, xlim=(-0.05, 1.05))
            axis.set_xticks([0, 0.5, 1], ["0", "", "1"])
        row[0].set(ylabel=f"{SET_NAMES[name]}: AUPRC", ylim=(0, None))
    handles = [Line2D([], [], label=style.label, **style.curve) for style, _ in lines]
    handles.append(Line2D([], [], label="as far off as real patients", **REAL))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handlelength=2.6)
    return figure


def plot_law(points, real, crossings):
    """The best window's gain over l1 against the residual in healthy tissue: one row per set, one column per network.

    Args: points: `shift_law.points` of one method and post. real: {set: rows of `shift_law.real_places`}, drawn in the
        first network's panel; a star is a patient. crossings: {(set, network): residual at which a fitted line crosses
        a gain of 0}.
    """
    datasets, networks = list(points.dataset.unique()), list(points.network.unique())
    names = [name for name in points.axis.unique() if name]
    looks = {name: look | {"linestyle": ""} for name, look in series_styles(names).items()}
    looks = {name: looks[name] | {"marker": mark} for name, mark in zip(names, KINDS[1:], strict=False)}
    looks = {"": {"color": "black", "marker": KINDS[0], "linestyle": "", "markersize": 7}} | looks
    size = 3.1 * len(networks) + 0.4, 2.5 * len(datasets) + 0.6
    figure, axes = new_figure(len(datasets), len(networks), *size, sharey="row", sharex="col")
    for row, name in zip(axes, datasets, strict=True):
        for axis, network in zip(row, networks, strict=True):
            own = points[(points.dataset == name) & (points.network == network)]
            for moved, part in own.groupby("axis", sort=False):
                axis.plot(part.residual, part.gain, **looks[moved])
            axis.axhline(0, color="black", linewidth=0.8)
            if (name, network) in crossings:
                axis.axvline(crossings[name, network], color=BLUE, linewidth=0.9, linestyle=":")
            for scan in real[name].itertuples() if network == networks[0] and name in real else ():
                axis.axvline(scan.residual, **REAL)
                axis.plot(scan.residual, scan.gain, "*", color=BROWN, markersize=11)
            axis.set(title=f"{SET_NAMES[name]}, network {network}", xlabel="residual (healthy controls: 1)")
        row[0].set_ylabel("best window \N{MINUS SIGN} l1, AUPRC")
    handles = [Line2D([], [], label=moved or "the training scanner", **look) for moved, look in looks.items()]
    handles.append(Line2D([], [], label="where a linear fit crosses 0", color=BLUE, linewidth=0.9, linestyle=":"))
    handles.append(Line2D([], [], label="real scan", color=BROWN, marker="*", markersize=9, **_line(REAL)))
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


def plot_changes(axes_table):
    """How each axis changes a gain over l1, one panel per set: rows of `shift_law.along_axes`, one network and post."""
    datasets, methods = list(axes_table.dataset.unique()), list(axes_table.method.unique())
    names = list(axes_table.axis.unique())
    figure, axes = new_figure(1, len(datasets), 3.2 * len(datasets) + 1.2, 0.42 * len(names) + 1.1, sharey=True)
    for axis, name in zip(axes[0], datasets, strict=True):
        for place, method in enumerate(methods):
            part = axes_table[(axes_table.dataset == name) & (axes_table.method == method)]
            y = part.axis.map(names.index) + 0.22 * (place - (len(methods) - 1) / 2)
            axis.errorbar(part.change, y, xerr=error_bars(part, "change"), elinewidth=1, **METHOD_STYLES[method].points)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(title=SET_NAMES[name], xlabel="change in gain over l1", yticks=range(len(names)), yticklabels=names)
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    handles = [Line2D([], [], label=METHOD_STYLES[m].label, **METHOD_STYLES[m].points) for m in methods]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _line(look):
    return {key: look[key] for key in ("linestyle", "linewidth")}
