"""Pictures of one scored scan: an overview as a figure, and a page to leaf through it in any browser, offline.

In: volumes [H, W, D], RAS+, all on the scan's own grid, and its affine [4, 4] in mm. Out: a matplotlib Figure; HTML.
Left is left in every picture (seen from above and from behind), as in the study's figures.
"""

import cc3d
import nibabel as nib
import numpy as np
from matplotlib import patheffects

from essim.figures.pictures import PLANES, Panel, new_figure

COLUMNS = ("scan", "reconstruction", "anomaly map", "finding")
MARGIN_MM, BAR_MM = 8, 50  # around the brain; the scale bar
VIEWER_MM = 1.5  # voxels of the page, at least: finer ones would make it large and slow


def overview(image, reconstruction, anomaly, segmentation, brain, affine, *, threshold, title=""):
    """Scan, reconstruction, anomaly map and finding (outlined) in three planes through the strongest finding.

    Args:
        image, reconstruction: floats [H, W, D], in the scan's intensities. anomaly: float, 0 or more.
        segmentation, brain: bool. affine: RAS+, mm. threshold: of the segmentation, marked on the colour bar.
        title: one line above it all.

    Returns: a Figure; all panels have one scale (mm), cut to the brain.
    """
    spacing = nib.affines.voxel_sizes(affine)
    box = _box(brain, np.ceil(MARGIN_MM / spacing).astype(int))
    image, reconstruction, anomaly, segmentation, brain = (
        volume[box] for volume in (image, reconstruction, anomaly, segmentation, brain)
    )
    window = tuple(np.percentile(image[brain], (0.5, 99.5)))
    high = max(1.5 * threshold, float(anomaly.max()))
    centre = strongest(anomaly, segmentation)
    size = np.array(image.shape) * spacing  # mm
    width, heights = size[:2].max(), [size[1], size[2], size[2]]
    inch = 2.3 / width
    figure, axes = new_figure(3, 4, 4 * 2.3 + 0.4, sum(heights) * inch + 1.1, height_ratios=heights)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    for line, (plane, axis) in zip(axes, PLANES.items(), strict=True):
        cuts = [np.take(v, centre[axis], axis) for v in (image, reconstruction, anomaly, segmentation)]
        outline = cuts[-1] > 0
        panels = [Panel(cuts[0], limits=window), Panel(cuts[1], limits=window)]
        panels += [Panel(cuts[2], outline, "map", (0, high)), Panel(cuts[0], outline, limits=window)]
        for place, panel in zip(line, panels, strict=True):
            place.drawn = panel.draw(place)
            _to_scale(place, panel.image.shape, np.delete(spacing, axis), width)
            _write(place, 0.02, 0.5, "P" if plane == "sagittal" else "L")
            _write(place, 0.98, 0.5, "A" if plane == "sagittal" else "R", ha="right")
        line[0].set_ylabel(plane)
    for place, name in zip(axes[0], COLUMNS, strict=True):
        place.set_title(name)
    _scale_bar(axes[0, 0], spacing[0])
    under = {"location": "bottom", "shrink": 0.24, "anchor": (0.67, 1), "aspect": 18, "pad": 0.01}  # under the map
    bar = figure.colorbar(axes[0, 2].drawn, ax=axes, **under)
    bar.set_label(f"anomaly score (line: threshold {threshold:.3g})")
    bar.ax.axvline(threshold, color="black", linewidth=2.4)
    bar.ax.axvline(threshold, color="white", linewidth=1.2)
    figure.suptitle(title, fontsize=9)
    return figure


def strongest(anomaly, segmentation):
    """The voxel [3] to cut through: per axis the slice that shows most of the component with the largest summed score.

    Where nothing was found: the voxel of the highest score.
    """
    if not segmentation.any():
        return np.array(np.unravel_index(anomaly.argmax(), anomaly.shape))
    labels = cc3d.connected_components(segmentation.astype(np.uint8), connectivity=26)
    sums = np.bincount(labels.ravel(), weights=anomaly.ravel())
    component = labels == sums[1:].argmax() + 1
    return np.array([component.sum(others).argmax() for others in ((1, 2), (0, 2), (0, 1))])


def viewer(image, anomaly, brain, affine, *, threshold, title=""):
    """The anomaly map, where it exceeds the threshold, over the scan: nilearn's `StatMapView`.

    `.save_as_html(path)` writes it as one file that loads nothing from a network; in a notebook it shows itself.
    Arguments as for `overview`, but there is room for a title of some twenty letters only.
    Cut to the brain, in isotropic voxels of 1.5 mm or more along the scanner's axes.
    """
    from nilearn import plotting  # takes a second
    from nilearn.image import resample_img

    spacing = nib.affines.voxel_sizes(affine)
    box = _box(brain, np.ceil(2 * MARGIN_MM / spacing).astype(int))
    corner = affine @ nib.affines.from_matvec(np.eye(3), [part.start for part in box])
    low, high = np.percentile(image[brain], (0.5, 99.5))
    scan = np.clip((image[box] - low) / (high - low), 1e-3, 1)  # the page takes 0 for "no scan here"
    target = np.eye(3) * max(VIEWER_MM, spacing.min())

    def along_axes(volume):
        volume = nib.Nifti1Image(volume.astype(np.float32), corner)
        return resample_img(volume, target, interpolation="linear", force_resample=True, copy_header=False)

    scan, anomaly = along_axes(scan), along_axes(anomaly[box])
    peak = float(anomaly.get_fdata().max())
    return plotting.view_img(
        anomaly,
        bg_img=scan,
        threshold=min(threshold, peak),
        vmin=0,
        vmax=max(1.5 * threshold, peak),
        cmap="inferno",
        symmetric_cmap=False,
        black_bg=True,
        dim=0,
        opacity=0.7,
        title=title,
        width_view=900,
        cut_coords=_peak(anomaly),
        resampling_interpolation="nearest",
    )


def _peak(volume):
    """World position, mm, of a NIfTI volume's highest voxel."""
    data = volume.get_fdata()
    return tuple(float(x) for x in nib.affines.apply_affine(volume.affine, np.unravel_index(data.argmax(), data.shape)))


def _box(mask, margin):
    """Slices around a bool mask [H, W, D], `margin` voxels along each axis."""
    found = [np.flatnonzero(mask.any(others)) for others in ((1, 2), (0, 2), (0, 1))]
    return tuple(
        slice(max(0, int(f[0] - m)), int(min(n, f[-1] + 1 + m)))
        for f, m, n in zip(found, margin, mask.shape, strict=True)
    )


def _to_scale(place, shape, spacing, width_mm):
    """Show an image in mm, `width_mm` wide, its surroundings in the colour of nothing."""
    place.set_aspect(spacing[1] / spacing[0])
    middle, half = (shape[0] - 1) / 2, width_mm / spacing[0] / 2
    place.set(xlim=(middle - half, middle + half), ylim=(-0.5, shape[1] - 0.5), xticks=[], yticks=[])
    place.set_facecolor(place.drawn.cmap(0.0))
    place.spines[:].set_visible(False)


def _write(place, x, y, text, **options):
    """White on black, legible on everything."""
    written = place.text(x, y, text, color="white", fontsize=7, va="center", transform=place.transAxes, **options)
    written.set_path_effects([patheffects.withStroke(linewidth=1.5, foreground="black")])


def _scale_bar(place, spacing):
    left, right = place.get_xlim()
    start = left + 0.05 * (right - left)
    bottom = place.get_ylim()[1] * 0.04
    for colour, width in (("black", 3.5), ("white", 2)):
        place.plot([start, start + BAR_MM / spacing], [bottom, bottom], color=colour, linewidth=width)
    _write(place, 0.05, 0.09, f"{BAR_MM} mm")
