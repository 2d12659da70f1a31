"""Pictures of the teaching notebooks: strips that follow a slider, and their curves.

In: slices [H, W] and panels (essim.figures.pictures). Out: a matplotlib Figure; a widget; strips are drawn in milliseconds.
"""

from io import BytesIO

import ipywidgets
import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.font_manager import findfont
from PIL import Image as Pixels
from PIL import ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from essim.figures.pictures import BLUE, GREEN, GREY, MARKS, ORANGE, RED, new_figure

STYLES = [{"color": c, "marker": m, "markevery": 5} for c, m in zip((ORANGE, GREEN, RED, BLUE), "s^Dv", strict=True)]
ZOOM = 4  # pixels a voxel
GAP = 2  # voxels between two panels
LINE = 22  # pixels of a line of titles
FONT = ImageFont.truetype(findfont("DejaVu Sans"), 14)  # matplotlib brings it; it has Greek


def strip(*panels, titles=()):
    """Panels of one height side by side, in their colours, titles above them: the bytes of a PNG, for `follow`.

    matplotlib takes a tenth of a second and more for the same: too slow behind a slider.
    """
    pictures = [_colours(panel) for panel in panels]
    gap = np.ones((len(pictures[0]), GAP * ZOOM, 3))
    joined = np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)
    image = Pixels.new("RGB", (joined.shape[1], joined.shape[0] + (LINE if titles else 0)), "white")
    image.paste(Pixels.fromarray((255 * joined).astype(np.uint8)), (0, image.height - len(joined)))
    for i, (title, picture) in enumerate(zip(titles, pictures, strict=bool(titles))):
        centre = (i + 0.5) * picture.shape[1] + i * GAP * ZOOM
        ImageDraw.Draw(image).text((centre, LINE / 2), title, "black", FONT, "mm")
    stream = BytesIO()
    image.save(stream, "png", compress_level=1)
    return stream.getvalue()


def follow(look, **controls):
    """A picture that follows its sliders: `look` takes their values by name and gives a `strip`.

    As `ipywidgets.interact`, but without an Output widget: with one, nbclient waits for ever now and then.
    """
    picture = ipywidgets.Image()

    def draw(_=None):
        picture.value = look(**{name: control.value for name, control in controls.items()})

    for name, control in controls.items():
        control.description = name
        control.observe(draw, "value")
    draw()
    return ipywidgets.VBox([*controls.values(), picture])


def _colours(panel):
    """One panel as RGB in [0, 1], front up, ZOOM pixels a voxel."""
    low, high = panel.limits or (0, max(np.percentile(panel.image, 99.5), 1e-6))
    colours = matplotlib.colormaps["cividis" if panel.kind == "map" else "gray"]
    picture = colours(np.clip((panel.image - low) / (high - low), 0, 1))[:, :, :3]
    if panel.marks is not None:
        for mark, colour in enumerate(MARKS.values(), 1):
            picture[panel.marks == mark] = to_rgb(colour)
    picture = picture.repeat(ZOOM, 0).repeat(ZOOM, 1)
    if panel.outline is not None:
        large = panel.outline.repeat(ZOOM, 0).repeat(ZOOM, 1)
        picture[large & ~binary_erosion(large)] = to_rgb("white" if panel.kind == "map" else ORANGE)
    return picture.transpose(1, 0, 2)[::-1]


def curves(panels, *, level=None, sharey=True, **settings):
    """Lines, one panel a title: {title: {label: (x, y, format, colour)}}, a label's format and colour as in matplotlib.

    `level` is a horizontal line in every panel, `sharey` whether they have one vertical scale; `settings` are those of
    every axis (xlabel, yscale, ylim ...).
    """
    figure, axes = new_figure(1, len(panels), 2.7 * len(panels) + 1.6, 2.5, sharey=sharey)
    labels = {}
    for axis, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for label, (x, y, look, colour) in lines.items():
            labels[label] = axis.plot(x, y, look, color=colour)[0]
        if level is not None:
            axis.axhline(level, color="black", linewidth=0.8)
        axis.set(title=title)
    for axis in axes[0]:  # once all is drawn: their limits are shared
        axis.set(**settings)
        if "xticks" in settings:
            axis.set_xticks([], minor=True)
        if sharey:
            axis.label_outer()
    figure.legend(labels.values(), labels, loc="outside right center")
    return figure


def bars(panels, **settings):
    """Bars side by side, one panel a title: {title: {group: {label: height}}}; groups stand along the axis."""
    figure, axes = new_figure(1, len(panels), 3.2 * len(panels), 2.4, sharey=True)
    for axis, (title, groups) in zip(axes[0], panels.items(), strict=True):
        labels = list(next(iter(groups.values())))
        for place, (label, colour) in enumerate(zip(labels, (ORANGE, GREY, BLUE), strict=False)):
            heights = [group[label] for group in groups.values()]
            axis.bar(np.arange(len(groups)) + 0.4 * place - 0.2, heights, 0.36, color=colour, label=label)
        axis.set(title=title, xticks=range(len(groups)), xticklabels=list(groups), **settings)
    axes[0, 0].legend()
    return figure


def bootstrap_means(values, counts, intervals):
    """What other patients would give: the means of 2000 resamples of the first n `values`, a panel each of `counts`.

    Lines are `intervals`, one (low, high) a count; ticks below are the patients.
    """
    figure, axes = new_figure(1, len(counts), 3.4 * len(counts), 2.3, sharex=True, sharey=True)
    for axis, count, ends in zip(axes[0], counts, intervals, strict=True):
        few = values[:count]
        axis.hist(np.random.default_rng(0).choice(few, (2000, count)).mean(1), 40, color=GREY)
        for end in ends:
            axis.axvline(end, color=BLUE, linestyle="--")
        axis.plot(few, np.full(count, -12), "|", color=ORANGE, markersize=9)
        title = f"{count} patients: {few.mean():.2f} ({ends[0]:.2f} to {ends[1]:.2f})"
        axis.set(title=title, xlabel="mean AUPRC", yticks=[])
    return figure


def tuning(rounds, means):
    """Gains where an idea was chosen and on fresh patients: `rounds` [n, 2] as histograms, means {ideas tried: (2)}."""
    figure, axes = new_figure(1, 2, 7, 2.5)
    looks = (("where it was tuned", ORANGE, "o-"), ("fresh patients", BLUE, "s--"))
    for column, (label, colour, look) in enumerate(looks):
        axes[0, 0].hist(rounds[:, column], 30, color=colour, alpha=0.6, label=label)
        axes[0, 1].plot(list(means), [mean[column] for mean in means.values()], look, color=colour)
    axes[0, 0].axvline(0, color="black", linewidth=0.8)
    axes[0, 1].axhline(0, color="black", linewidth=0.8)
    axes[0, 0].set(xlabel="gain in AUPRC", ylabel="random halves")
    axes[0, 1].set(xscale="log", xlabel="ideas tried", ylabel="mean gain in AUPRC")
    axes[0, 0].legend()
    return figure


def dice_curves(thresholds, dices):
    """Dice over the threshold: [thresholds, patients], a thin line each, its best a star; thick: their mean."""
    figure, axes = new_figure(1, 1, 4.6, 2.8)
    axes[0, 0].plot(thresholds, dices, color=BLUE, linewidth=0.6, alpha=0.6)
    axes[0, 0].plot(thresholds, dices.mean(1), color="black", linewidth=2.5)
    axes[0, 0].plot(thresholds[dices.argmax(0)], dices.max(0), "*", color=ORANGE, markersize=8)
    axes[0, 0].set(xlabel="threshold", ylabel="Dice", ylim=(0, 1))
    return figure


def weights(values, ratio):
    """Histograms of adaptive weights [K, n], and of the largest over the smallest of each voxel, [n].

    Black: the least and the most possible, as an SSIM lies in [-1, 1]; dashed: all alike.
    """
    figure, axes = new_figure(1, 2, 7, 2.4, sharey=True)
    most, others = np.exp(2), len(values) - 1
    panels = ((values.ravel(), "weight", 1 / len(values), (1 / (1 + others * most), most / (most + others))),)
    panels += ((ratio, "largest / smallest weight", 1, (1, most)),)
    for axis, (numbers, label, alike, ends) in zip(axes[0], panels, strict=True):
        share = np.full(numbers.size, 1 / numbers.size)
        axis.hist(numbers, np.linspace(*ends, 60), weights=share, color=BLUE)
        axis.axvline(alike, color="black", linestyle="--", linewidth=1)
        for end in ends:
            axis.axvline(end, color="black", linewidth=1.5)
        axis.set(xlabel=label, yscale="log")
    axes[0, 0].set_ylabel("share")
    return figure


def strips_of_patients(values, table):
    """One thin line a patient over the columns of `values` {name: array}; black: means, from `low` to `high`.

    `table` is indexed by those names and has `Dice`, `low`, `high`.
    """
    figure, axes = new_figure(1, 1, 4.2, 2.6)
    axes[0, 0].plot(np.array(list(values.values())), "o-", color=BLUE, linewidth=0.6, alpha=0.5)
    error = (table.Dice - table.low, table.high - table.Dice)
    axes[0, 0].errorbar(range(len(table)), table.Dice, error, fmt="D", color="black", capsize=4, zorder=3)
    axes[0, 0].set(xticks=range(len(table)), xticklabels=list(values), ylabel="Dice", ylim=(0, 1))
    axes[0, 0].margins(x=0.15)
    return figure
