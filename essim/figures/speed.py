"""The benchmark of the score as a figure: essim beside other libraries.

In: the table of benchmarks/ssim.py. Out: a matplotlib Figure. Not in the paper.
"""

import itertools

import numpy as np

from essim.figures.style import BLUE, BROWN, GREEN, GREY, ORANGE, PURPLE, RED, SKY, new_figure


def plot_speed(table):
    """Milliseconds over volume size, one line per contender, both axes logarithmic."""
    figure, axes = new_figure(1, 1, 5.5, 3.6)
    table = table.dropna(subset="milliseconds")  # peers that weren't installed
    voxels = table["size"].map(lambda size: np.prod([int(side) for side in size.split("x")]))
    looks = itertools.cycle(zip((GREEN, BLUE, SKY, ORANGE, PURPLE, BROWN, RED, GREY), "DoPvsX^p", strict=True))
    for name, line in table.assign(voxels=voxels).groupby("contender", sort=False):
        colour, marker = ("black", "") if name == "floor" else next(looks)
        style = ":" if name == "floor" else "-" if name.startswith("essim") else "--"
        axes[0, 0].plot(line.voxels, line.milliseconds, color=colour, marker=marker, linestyle=style, label=name)
    axes[0, 0].set(xscale="log", yscale="log", xlabel="voxels", ylabel="milliseconds for one anomaly map")
    figure.legend(loc="outside right center")
    return figure
