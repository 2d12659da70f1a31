"""Pictures of the teaching path: strips of slices that follow a slider, and curves.

In: panels of slices [H, W] (essim.figures.pictures), drawn in milliseconds; numbers. Out: a PNG, a widget, a matplotlib
Figure. Not in the paper.
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

from essim.figures.pictures import MARKS
from essim.figures.style import ORANGE, new_figure

ZOOM = 4  # pixels per voxel
GAP = 2  # voxels between two panels
LINE = 22  # height of the line of titles, in pixels
FONT = ImageFont.truetype(findfont("DejaVu Sans"), 14)  # comes with matplotlib; has Greek letters


def strip(*panels, titles=()):
    """Panels of equal height side by side, in their colours, with titles above: the bytes of a PNG, for `follow`.

    matplotlib takes a tenth of a second or more for this: too slow for a slider.
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
    """A picture that follows its sliders: `look` takes their values by name and returns a `strip`.

    Like `ipywidgets.interact`, but without an Output widget: with one, nbclient sometimes waits forever.
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
    """One panel as RGB in [0, 1], front up, ZOOM pixels per voxel."""
    low, high = panel.value_range
    colours = matplotlib.colormaps[panel.cmap](np.clip((panel.image - low) / (high - low), 0, 1))[:, :, :3]
    if panel.marks is not None:
        for mark, colour in enumerate(MARKS.values(), 1):
            colours[panel.marks == mark] = to_rgb(colour)
    colours = colours.repeat(ZOOM, 0).repeat(ZOOM, 1)
    if panel.outline is not None:
        lesion = panel.outline.repeat(ZOOM, 0).repeat(ZOOM, 1)
        colours[lesion & ~binary_erosion(lesion)] = to_rgb("white" if panel.kind == "map" else ORANGE)
    return colours.transpose(1, 0, 2)[::-1]


def plot_curves(panels, *, level=None, sharey=True, **settings):
    """Lines, one panel per title: {title: {label: (x, y, format, colour)}}, format and colour as in matplotlib.

    `level` is a horizontal line in every panel; `sharey`: whether they share a vertical scale; `settings` are those of
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
    for axis in axes[0]:  # after all is drawn: their limits are shared
        axis.set(**settings)
        if "xticks" in settings:
            axis.set_xticks([], minor=True)
        if sharey:
            axis.label_outer()
    figure.legend(labels.values(), labels, loc="outside right center")
    return figure
