"""A scored scan back in its own grid: resampled, freed of specks, measured, written.

In: volumes in study space and the transform that placed the scan. Out: volumes [H, W, D], RAS+, on the scan's grid;
what they hold, in ml; NIfTI files with exactly the scan's shape and affine.
"""

import math

import cc3d
import nibabel as nib
import numpy as np
import SimpleITK as sitk

from essim import postprocess
from essim.prepare import registration

EXTENT = 0.25  # of the scored brain; larger findings are rather a scan of another kind


class Back:
    """The way from study space to the scan's own grid: through the inverse of the placement."""

    def __init__(self, image, affine, transform):
        self.grid, self.inverse = registration.to_sitk(image, affine), transform.GetInverse()

    def bring(self, volume, affine):
        """A volume [h, w, d] with its affine, on the scan's grid [H, W, D]: floats linearly, labels the nearest."""
        labels = volume.dtype == bool
        volume = registration.to_sitk(volume.astype(np.uint8 if labels else np.float32), affine)
        how = sitk.sitkNearestNeighbor if labels else sitk.sitkLinear
        return registration.from_sitk(sitk.Resample(volume, self.grid, self.inverse, how, 0.0))[0]


def without_specks(binary, affine, study_affine):
    """Drop what is smaller than the specks of the study's grid, by volume: the scan's voxels are of another size."""
    voxels = postprocess.MIN_VOXELS * _voxel_mm3(study_affine) / _voxel_mm3(affine)
    return postprocess.remove_small(binary, max(1, math.ceil(voxels - 1e-6)))


def _voxel_mm3(affine):
    return abs(np.linalg.det(affine[:3, :3]))


def measure(segmentation, anomaly, brain, scored, affine):
    """Volumes in ml, from the scan's own voxels, and scores (their mean is over what was scored)."""
    ml = _voxel_mm3(affine) / 1000
    labels = cc3d.connected_components(segmentation.astype(np.uint8), connectivity=26)
    sizes = np.bincount(labels.ravel())[1:]
    volumes = {"volume_ml": segmentation.sum() * ml, "largest_ml": sizes.max(initial=0) * ml}
    volumes |= {"brain_ml": brain.sum() * ml, "scored_ml": scored.sum() * ml}
    scores = {"mean_score": float(anomaly[scored].mean()), "max_score": float(anomaly.max())}
    return {"components": len(sizes)} | {key: round(float(value), 3) for key, value in volumes.items()} | scores


def save_like(path, array, source):
    """Write an RAS+ array as NIfTI in the orientation, with the geometry, and nothing else, of the scan `source`."""
    stored = nib.io_orientation(source.affine)
    array = array.astype(np.uint8) if array.dtype == bool else array
    array = nib.apply_orientation(array, nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), stored))
    image = nib.Nifti1Image(array, source.affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    if isinstance(source, nib.Nifti1Pair):  # both of its forms: viewers differ in which one they believe
        image.set_sform(*source.get_sform(coded=True))
        image.set_qform(*source.get_qform(coded=True))
    nib.save(image, path)


def describe(finding):
    """What was found, in a sentence."""
    if not finding["components"]:
        return f"nothing above the threshold of {finding['threshold']:.3g}."
    places = "one place" if finding["components"] == 1 else f"{finding['components']} places"
    largest = "" if finding["components"] == 1 else f", the largest {finding['largest_ml']:.1f} ml"
    return f"{places} above the threshold of {finding['threshold']:.3g}, {finding['volume_ml']:.1f} ml in all{largest}."


def doubts(finding):
    """Why the map may mean nothing, a list of sentences; empty where placement and extent are as usual."""
    found, part = [], finding["volume_ml"] / finding["scored_ml"]
    if finding["template_overlap"] < registration.DOUBTFUL:
        dice = finding["template_overlap"]
        reason = "the scan may be misplaced or show a part of the head"
        found.append(f"Brain and template overlap by {dice:.2f} only (Dice): {reason}.")
    if part > EXTENT:
        reason = "contrast, scanner or mask may differ from what the model knows, rather than the brain"
        found.append(f"{part:.0%} of the brain is above the threshold: {reason}.")
    return found
