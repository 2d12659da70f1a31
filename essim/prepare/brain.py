"""One scan in its own space: where its brain is, and its intensities without the bias field.

In: paths of a scan, of its brain mask, of its lesions. Out: SimpleITK images: the scan, the mask, the corrected scan.
Paper: section 3 (data): skull-stripped, N4 bias-corrected.
"""

from contextlib import contextmanager

import numpy as np
import SimpleITK as sitk

from essim.data.grids import WAY_OUT, check_brain, check_head, conflict, same_grid
from essim.data.intensities import foreground, lift
from essim.data.volumes import IGNORED, LESION, fill_borders, read_labels, read_volume
from essim.prepare.align import HERE, blocks, from_sitk, sample_label, to_sitk, voxel_ml
from essim.prepare.strip import strip

BIAS_MM = 8  # size of the voxels on which N4 works; the bias field is far smoother
BIAS_STEPS = [50, 50, 50]  # of N4, from coarse to fine; on a fourth, finer grid it mistakes large lesions for bias
KEPT_MM = 16  # a scan is cropped to the brain and this far around it
SHOWN = 0.05  # of the 99th percentile: brighter voxels are tissue
ON_SCAN = 0.5  # a mask on another grid isn't this scan's if a smaller share of it lies on the scan


@contextmanager
def naming(path, step):
    """Turn SimpleITK's errors of several lines into a sentence that names the file."""
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).strip().splitlines()[-1].split())
        raise ValueError(f"{path}: {step} fails ({reason}); look at the scan and its mask.") from error


def read_image(path):
    """(A scan, float32, with any voxels that are not finite; its `Grid`).

    Raises FileNotFoundError, ValueError: as in `read_volume`; it is constant, or doesn't show a whole head.
    """
    data, grid = read_volume(path, finite=False)
    values = data[np.isfinite(data)]
    if not values.size or values.min() == values.max():
        raise ValueError(f"{path}: is constant; fetch the scan again or leave it out.")
    check_head(grid)
    return to_sitk(data.astype(np.float32), grid.affine), grid


def read_mask(path):
    """(A brain mask, uint8: 1 where it is above 0; its `Grid`). Raises ValueError if it is empty."""
    data, grid = read_labels(path)
    if not (data > 0).any():
        raise ValueError(f"{path}: the brain mask is empty; make it again or leave the scan out.")
    return to_sitk(data > 0, grid.affine), grid


def read_lesions(path, ignore):
    """(Lesions, uint8: LESION for every label above 0, IGNORED for the label `ignore` ("": none); their `Grid`)."""
    data, grid = read_labels(path)
    label = np.where(data > 0, LESION, 0).astype(np.uint8)
    if ignore != "":
        label[data == float(ignore)] = IGNORED
    return to_sitk(label, grid.affine), grid


def lifted(image, brain=None):
    """The scan shifted so that its brain is above 0 and the rest 0 or more; without `brain`, its place is guessed."""
    values, affine = from_sitk(image)
    inside = foreground(values) if brain is None else from_sitk(brain)[0] > 0
    return to_sitk(lift(values, inside), affine)


def home_of(grid, grids, otherwise):
    """The contrast on whose grid a label map lies; `otherwise` if it lies on none of them, but in the same space.

    Raises ValueError if its place can't be right (see `essim.data.grids`).
    """
    for contrast in (otherwise, *grids):
        if same_grid(grid, grids[contrast]):
            return contrast
    for scan in grids.values():
        if reason := conflict(grid, scan):
            raise ValueError(f"{grid.path}: does not fit {scan.path}: {reason}; {WAY_OUT}.")
    return otherwise


def find_brain(scans, grids, anchor, mask):
    """Where the brain is: (the contrast in whose space it was drawn, uint8 image on that scan's grid, `Placed.notes`,
    `Placed.drawn_by`).

    Args:
        scans, grids: {contrast: image}, {contrast: `Grid`}. anchor: the contrast to take where there is a choice.
        mask: path of the mask; "nonzero": what is not background (holes filled); "": what a stripper finds (`strip`).

    Raises FileNotFoundError, ValueError, with a sentence that names the file.
    """
    home, notes, path, drawn_by = anchor, [], mask, mask
    if mask in ("", "nonzero"):
        path = grids[anchor].path
        if mask == "":
            brain, drawn_by = strip(path, lifted(scans[anchor]), anchor)
        else:
            brain = _nonzero(scans[anchor])
    else:
        drawn, grid = read_mask(mask)
        home = home_of(grid, grids, anchor)
        brain = sample_label(drawn, scans[home], HERE)
        if not same_grid(grid, grids[home]):
            notes = [_overlap(drawn, grid, brain, scans[home], grids[home])]
    values, affine = from_sitk(brain)
    check_brain(path, float((values > 0).sum() * voxel_ml(affine)))
    return home, brain, notes, drawn_by


def _nonzero(image):
    values, affine = from_sitk(image)
    return sitk.BinaryFillhole(to_sitk(foreground(values), affine))


def _overlap(drawn, grid, brain, scan, scan_grid):
    """(A note on a brain mask that was drawn on another grid, the share of it on the scan, 0 to 1).

    Raises ValueError if that share is too small.
    """
    values, (inside, affine) = from_sitk(scan)[0], from_sitk(brain)
    inside = inside > 0
    share = min(1, inside.sum() * voxel_ml(affine) / ((from_sitk(drawn)[0] > 0).sum() * voxel_ml(grid.affine)))
    seen = lift(values, foreground(values))
    shown = float((seen[inside] > SHOWN * np.percentile(seen, 99)).mean()) if inside.any() else 0.0
    place = f"{share:.0%} of it within the scan, and {shown:.0%} of that where the scan shows tissue"
    if min(share, shown) < ON_SCAN:
        raise ValueError(
            f"{grid.path}: the brain mask does not lie on {scan_grid.path} ({place}); give the mask of this scan."
        )
    return f"the brain mask lies on another grid and was resampled (nearest neighbour): {place}", min(share, shown)


def correct(path, scan, brain):
    """The scan without its bias field (N4), float32, cropped around its brain, which is above 0.

    Raises ValueError if the brain lies outside the scan, or the scan is constant or NaN inside it.
    """
    inside = sitk.GetArrayViewFromImage(brain) > 0
    if not inside.any():
        raise ValueError(f"{path}: does not show the brain of its mask; do both belong to one person?")
    values = fill_borders(sitk.GetArrayFromImage(scan), inside, path)
    if np.ptp(values[inside]) == 0:
        raise ValueError(f"{path}: is constant inside the brain mask; does the mask belong to this scan?")
    scan, brain = _around(lifted(scan, brain), brain)
    share = blocks(sitk.Cast(brain, sitk.sitkFloat32), BIAS_MM)
    mean = blocks(sitk.Mask(scan, brain), BIAS_MM) / sitk.Maximum(share, 1e-3)  # over the brain's voxels only
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(BIAS_STEPS)
    with naming(path, "bias correction"):
        n4.Execute(mean, sitk.And(share > 0.5, mean > 0))
    field = n4.GetLogBiasFieldAsImage(mean)  # smooth enough to interpolate; beyond its border, the nearest value
    onto = (sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32, True)
    return scan / sitk.Exp(sitk.Resample(field, scan, *onto))


def _around(scan, brain):
    """Both cropped to the brain's bounding box and 16 mm around it."""
    filled = np.argwhere(from_sitk(brain)[0] > 0)
    if not len(filled):
        return scan, brain
    margin = np.ceil(KEPT_MM / np.array(scan.GetSpacing())).astype(int)
    low, high = np.maximum(filled.min(0) - margin, 0), np.minimum(filled.max(0) + margin + 1, scan.GetSize())
    size, start = [[int(n) for n in numbers] for numbers in (high - low, low)]
    return sitk.RegionOfInterest(scan, size, start), sitk.RegionOfInterest(brain, size, start)
