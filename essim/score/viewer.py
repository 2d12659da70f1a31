"""The overview of one scored scan: a figure of its maps, cut through the strongest finding.

In: volumes [H, W, D], RAS+, all on the scan's own grid, and its affine [4, 4] in mm. Out: a matplotlib Figure.
Left is left in every picture (seen from above and from behind), as in the study's figures.
"""

import textwrap

import nibabel as nib
import numpy as np
from matplotlib import patheffects
from scipy import ndimage

from essim.figures.pictures import PLANES, Panel
from essim.figures.style import RED, new_figure
from essim.postprocess import connected_components

PANELS = ("scan", "reconstruction", "anomaly map", "finding")
MARGIN_MM, BAR_MM = 8, 50  # around the brain; the scale bar
PANEL_INCH = 2.3  # the width of a panel
TITLE_LETTERS, LETTERS = 110, 135  # per line, above and in the margin


def show_overview(volumes, affine, *, threshold, title="", beware=()):
    """Scan, reconstruction, anomaly map and finding (outlined) in three planes through the strongest finding.

    Args:
        volumes: {name: [H, W, D]}: floats `image` and `reconstruction` in the scan's intensities, `anomaly` 0 or more;
            bool `segmentation` and `brain`. affine: RAS+, mm.
        threshold: of the segmentation, marked on the colour bar. title: above it all.
        beware: sentences, in the margin below.

    Returns: a Figure; all panels share one scale (mm) and are cropped to the brain.
    """
    spacing_mm = nib.affines.voxel_sizes(affine)
    box = _box(volumes["brain"], MARGIN_MM / spacing_mm)
    volumes = {name: volume[box] for name, volume in volumes.items()}
    window = tuple(np.percentile(volumes["image"][volumes["brain"]], (0.5, 99.5)))
    high = max(1.5 * threshold, float(volumes["anomaly"].max()))
    centre = strongest(volumes["anomaly"], volumes["segmentation"])
    size_mm = np.array(volumes["image"].shape) * spacing_mm
    width, heights = size_mm[:2].max(), size_mm[[1, 2, 2]]
    height_inch = heights.sum() * PANEL_INCH / width + 1.1
    figure, axes = new_figure(3, 4, 4 * PANEL_INCH + 0.4, height_inch, height_ratios=heights)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    for line, (plane, axis) in zip(axes, PLANES.items(), strict=True):
        cut = {name: np.take(volume, centre[axis], axis) for name, volume in volumes.items()}
        image, outline = cut["image"], cut["segmentation"]
        panels = [Panel(image, limits=window), Panel(cut["reconstruction"], limits=window)]
        panels += [Panel(cut["anomaly"], outline, "map", (0, high)), Panel(image, outline, limits=window)]
        for place, panel in zip(line, panels, strict=True):
            place.drawn = panel.draw(place)
            _to_scale(place, image.shape, np.delete(spacing_mm, axis), width)
            _write(place, 0.02, 0.5, "P" if plane == "sagittal" else "L")
            _write(place, 0.98, 0.5, "A" if plane == "sagittal" else "R", ha="right")
        line[0].set_ylabel(plane)
    for place, name in zip(axes[0], PANELS, strict=True):
        place.set_title(name)
    _scale_bar(axes[0, 0], spacing_mm[0])
    under_the_map = {"location": "bottom", "shrink": 0.24, "anchor": (0.67, 1), "aspect": 18, "pad": 0.01}
    bar = figure.colorbar(axes[0, 2].drawn, ax=axes, **under_the_map)
    bar.set_label(f"anomaly score (line: threshold {threshold:.3g})")
    for colour, line_width in (("black", 2.4), ("white", 1.2)):
        bar.ax.axvline(threshold, color=colour, linewidth=line_width)
    figure.suptitle(textwrap.fill(title, TITLE_LETTERS), fontsize=9)
    if beware:
        lines = [textwrap.fill(f"Beware: {sentence}", LETTERS) for sentence in beware]
        figure.set_figheight(height_inch + 0.14 * sum(text.count("\n") + 1 for text in lines))
        figure.supxlabel("\n".join(lines), x=0.02, ha="left", fontsize=7.5, color=RED)
    return figure


def strongest(anomaly, segmentation):
    """The voxel [3] to cut through: per axis the slice that shows most of the component with the largest summed score.

    Where nothing was found: the voxel of the highest score.
    """
    if not segmentation.any():
        return np.array(np.unravel_index(anomaly.argmax(), anomaly.shape))
    labels, _ = connected_components(segmentation)
    sums = np.bincount(labels.ravel(), weights=anomaly.ravel())
    component = labels == sums[1:].argmax() + 1
    return np.array([component.sum(other_axes).argmax() for other_axes in ((1, 2), (0, 2), (0, 1))])


def _box(mask, margin):
    """Slices around a bool mask [H, W, D], `margin` voxels along each axis."""
    filled, margin = ndimage.find_objects(mask.astype(np.uint8))[0], np.ceil(margin).astype(int).tolist()
    return tuple(slice(max(0, part.start - m), part.stop + m) for part, m in zip(filled, margin, strict=True))


def _to_scale(place, shape, spacing_mm, width_mm):
    """Show an image in mm, `width_mm` wide, its surroundings in the colour of 0."""
    place.set_aspect(spacing_mm[1] / spacing_mm[0])
    middle, half = (shape[0] - 1) / 2, width_mm / spacing_mm[0] / 2
    place.set(xlim=(middle - half, middle + half), ylim=(-0.5, shape[1] - 0.5), xticks=[], yticks=[])
    place.set_facecolor(place.drawn.cmap(0.0))
    place.spines[:].set_visible(False)


def _write(place, x, y, text, **options):
    """White on black, legible on everything."""
    written = place.text(x, y, text, color="white", fontsize=7, va="center", transform=place.transAxes, **options)
    written.set_path_effects([patheffects.withStroke(linewidth=1.5, foreground="black")])


def _scale_bar(place, spacing_mm):
    left, right = place.get_xlim()
    start = left + 0.05 * (right - left)
    bottom = place.get_ylim()[1] * 0.04
    for colour, width in (("black", 3.5), ("white", 2)):
        place.plot([start, start + BAR_MM / spacing_mm], [bottom, bottom], color=colour, linewidth=width)
    _write(place, 0.05, 0.09, f"{BAR_MM} mm")
