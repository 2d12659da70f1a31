"""Does a mask belong to a scan, and does the scan show a head? One rule for every entry point: tables, prepare, score.

In: `Grid`s, as `essim.data.headers` reads them. Out: whether two are the same, and if not, why the mask must not be
used; a sentence for a scan that shows no head. The trap is a mask of the scan's shape with another affine: it was drawn
on the scan, voxel by voxel, and a tool has kept the wrong affine, or none; resampling it would misplace it.
"""

from dataclasses import replace

import nibabel as nib
import numpy as np

from essim.data.headers import HEAD_MM

OFF = 0.1  # voxels by which the corners of one grid may differ in two headers
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SHOWN_MM, SLICES = 50, 10  # less, along any axis, is only a part of a head
BRAIN_ML = (150, 3000)  # from a preterm baby's to a mask that is too large
WAY_OUT = "if it was drawn on this scan, give both the same header; if not, resample it to the scan (nearest neighbour)"


def same_grid(one, other):
    """Whether two grids hold the same voxels, to a tenth of a voxel."""
    if one.shape != other.shape:
        return False
    side = nib.affines.voxel_sizes(one.affine).min()
    return bool(np.abs(one.corners() - other.corners()).max() <= OFF * side)


def conflict(mask, scan):
    """Why the mask's position can't be trusted, as part of a sentence; "" where it can.

    A mask on another grid of the same space is no conflict: it can be resampled.
    """
    if same_grid(mask, scan):
        return ""
    for name, grid in (("mask", mask), ("scan", scan)):
        if not grid.stated:
            return f"the {name}'s header doesn't say where it lies (qform and sform codes are 0)"
    if mask.shape != scan.shape:
        return ""
    for name, one, other in (("scan", scan, mask), ("mask", mask, scan)):
        if one.other is not None and same_grid(replace(one, affine=one.other), other):
            return f"sform and qform of the {name} disagree, and the other file has the qform's affine"
    if same_grid(_mirrored(mask), scan):
        return "its affine is the scan's with left and right, front and back exchanged"
    sides = [nib.affines.voxel_sizes(grid.affine) for grid in (mask, scan)]
    for lost, kept, name in ((*sides, "mask"), (*sides[::-1], "scan")):
        if (np.isclose(lost, 1, atol=1e-4) & ~np.isclose(kept, 1, rtol=0.01)).any():
            return f"the {name}'s affine seems to have lost the size of its voxels"
    if _at_a_default(mask) != _at_a_default(scan):
        return f"the {'mask' if _at_a_default(mask) else 'scan'}'s affine seems to have lost its origin"
    return ""


def _mirrored(grid):
    """The grid as if its affine had been written in LPS and read in RAS+, or the reverse."""
    affine = LPS @ grid.affine
    to_ras = nib.orientations.inv_ornt_aff(nib.io_orientation(affine), grid.shape)
    return replace(grid, affine=affine @ to_ras)


def _at_a_default(grid):
    """Whether the world's origin is exactly a corner or the centre, as in affines that a tool made up."""
    last = np.array(grid.shape) - 1
    origin = nib.affines.apply_affine(np.linalg.inv(grid.affine), [0, 0, 0])
    at = (np.isclose(origin, end, atol=0.01) for end in (0 * last, last / 2, last))
    at_zero, at_centre, at_last = at
    return bool((at_zero | at_last).all() or at_centre.all())


def misfit(mask, scan):
    """Why a mask isn't on its scan's grid, as it must be, as the end of a sentence; "" if it is."""
    if same_grid(mask, scan):
        return ""
    reason = conflict(mask, scan)
    if reason:
        return f"does not fit {scan.path}: {reason}; {WAY_OUT}"
    shapes = f"shape {list(mask.shape)} against {list(scan.shape)}, or another affine"
    return f"does not fit {scan.path} ({shapes}); bring both to one grid with nearest-neighbour resampling"


def check_head(grid):
    """Raise ValueError, in a sentence, for a scan whose field of view can't hold a head."""
    sides = grid.sides_mm()
    size = f"{' x '.join(f'{side:.3g}' for side in sides)} mm"
    if not HEAD_MM[0] <= max(sides) <= HEAD_MM[1]:
        raise ValueError(f"{grid.path}: is {size}, impossible for a head; correct affine or xyzt_units.")
    if min(sides) < SHOWN_MM or min(grid.shape) < SLICES:
        shape = " x ".join(map(str, grid.shape))
        raise ValueError(
            f"{grid.path}: shows only a part of a head ({shape} voxels, {size}); give a scan of the whole brain."
        )


def check_brain(path, ml):
    """Raise ValueError, in a sentence that names the mask, for a brain of an impossible size."""
    if not BRAIN_ML[0] <= ml <= BRAIN_ML[1]:
        usual = f"{BRAIN_ML[0]} to {BRAIN_ML[1]} ml"
        text = f"{path}: the brain mask holds {ml:.3g} ml, impossible for a brain ({usual})"
        raise ValueError(f"{text}; correct the mask or its affine.")
