"""Pictures of the teaching notebooks: strips that follow a slider, and what a threshold marks.

In: slices [H, W] and panels (essim.pictures). Out: a matplotlib Figure; a widget; strips are drawn in milliseconds.
"""

from io import BytesIO

import ipywidgets
import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from PIL import Image as Pixels
from scipy.ndimage import binary_erosion

from essim.pictures import BLUE, GREEN, MARKS, ORANGE, RED, slice_grid

STYLES = [{"color": c, "marker": m, "markevery": 5} for c, m in zip((ORANGE, GREEN, RED, BLUE), "s^Dv", strict=True)]
ZOOM = 4  # pixels a voxel
GAP = 2  # voxels between two panels


def strip(*panels):
    """Panels of one height side by side, in their colours: the bytes of a PNG, for `follow`.

    matplotlib takes a tenth of a second and more for the same: too slow behind a slider.
    """
    pictures = [_colours(panel) for panel in panels]
    gap = np.ones((len(pictures[0]), GAP * ZOOM, 3))
    joined = np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)
    stream = BytesIO()
    Pixels.fromarray((255 * joined).astype(np.uint8)).save(stream, "png", compress_level=1)
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


def marked(prediction, seg):
    """What a threshold did, voxel by voxel, as the `marks` of a panel: 1 found, 2 missed, 3 marked for nothing."""
    return np.select([prediction & seg, seg, prediction], [1, 2, 3])


def marks_grid(rows, columns, names, size=1.8):
    """`pictures.slice_grid` of panels with marks, and what their colours mean."""
    figure, _ = slice_grid(rows, columns, names, size)
    handles = [Patch(color=colour, label=word) for word, colour in MARKS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure
