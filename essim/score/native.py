"""Native space: a scored scan back on its own grid; freed of specks, measured, saved.

In: volumes in study space and the transform that placed the scan. Out: volumes [H, W, D], RAS+, on the scan's grid;
what they hold, in ml; NIfTI files with exactly the scan's shape and affine. Paper: section 3 (post-processing).
"""

import contextlib
import math

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from essim import postprocess
from essim.data.volumes import read_nifti
from essim.prepare import align
from essim.score.regions import PARTS, parts_of

OTHER_UNITS = (1, 3)  # NIfTI's codes for metres and microns: the affine of a map is in its scan's unit
LISTED = 30  # at most so many findings, the strongest


class Back:
    """The way from study space to the scan's own grid: through the inverse of the placement."""

    def __init__(self, image, affine, transform):
        self.grid, self.inverse = align.to_sitk(image, affine), transform.GetInverse()

    def bring(self, volume, affine):
        """A volume [h, w, d] with its affine, on the scan's grid [H, W, D]: floats linear, labels nearest."""
        labels = volume.dtype in (bool, np.uint8)
        volume = align.to_sitk(volume.astype(np.uint8 if labels else np.float32), affine)
        interpolation = sitk.sitkNearestNeighbor if labels else sitk.sitkLinear
        return align.from_sitk(sitk.Resample(volume, self.grid, self.inverse, interpolation, 0.0))[0]


def bring_back(scan, placed, study, healthy, anomaly, threshold, standard):
    """The volumes of a scored scan on its own grid.

    Args:
        scan: its path. placed, study: as `registration.Placed` and preprocessed, as `volumes.Scan`.
        healthy, anomaly: float32 on the grid of `study`: the reconstruction in [0, 1], the post-processed map.
        standard: whether it was placed on MNI152, where essim knows the parts of the brain.

    Returns: ({name: [H, W, D]}, affine [4, 4]): float32 `image`; `reconstruction`, stretched between the 1st and 99th
        percentile of the scan in the brain, but without bias field and no finer than the model's voxels; `anomaly`;
        bool `segmentation`; `brain`; `scored`, the part of the brain that has a score; uint8 `part`, as in `parts_of`,
        if `standard`.

    Raises ValueError if no voxel of the brain has a score.
    """
    image, affine = read_nifti(scan, finite=False)
    image = np.nan_to_num(image.astype(np.float32), posinf=0, neginf=0)
    back = Back(image, affine, placed.transform)
    brain = back.bring(placed.mask, placed.affine) > 0
    scored = back.bring(postprocess.erode_slices(study.mask), study.affine) > 0
    if not scored.any():
        raise ValueError(f"{scan}: no brain is left to score once placed, cropped and eroded; look at the scan's mask.")
    volumes = {"image": image, "brain": brain, "scored": scored, "anomaly": back.bring(anomaly, study.affine)}
    volumes["segmentation"] = without_specks(volumes["anomaly"] > threshold, affine, study.affine)
    if standard:
        volumes["part"] = back.bring(parts_of(placed.mask.shape, placed.affine), placed.affine)
    in_view, (low, high) = back.bring(study.mask, study.affine) > 0, np.percentile(image[brain], (1, 99))
    healthy = np.where(in_view, low + (high - low) * back.bring(healthy, study.affine), 0)
    return volumes | {"reconstruction": healthy.astype(np.float32)}, affine


def without_specks(binary, affine, study_affine):
    """Drop components smaller than the study keeps; compared by volume, as the scan's voxels have another size."""
    voxels = postprocess.MIN_VOXELS * align.voxel_ml(study_affine) / align.voxel_ml(affine)
    return postprocess.remove_small(binary, max(1, math.ceil(voxels - 1e-6)))


def measure_finding(volumes, affine, to_study):
    """What was found: components, volumes in ml from the scan's own voxels, scores (their mean is over what was
    scored), and `findings`, the LISTED components with the highest summed score, each a dict: volume_ml, place (a part
    of the brain) and mni_mm [3], both only with volumes["part"], voxel [3] (RAS+) of its highest score, peak.

    to_study: a sitk.Transform from points of the scan to points of study space.
    """
    segmentation, anomaly, part = volumes["segmentation"], volumes["anomaly"], volumes.get("part")
    labels, components = postprocess.connected_components(segmentation)
    counts, sums = (np.bincount(labels.ravel(), weights)[1:] for weights in (None, anomaly.ravel()))
    voxels = {"volume_ml": segmentation.sum(), "largest_ml": counts.max(initial=0)}
    voxels |= {"brain_ml": volumes["brain"].sum(), "scored_ml": volumes["scored"].sum()}
    ml = {name: round(float(count * align.voxel_ml(affine)), 3) for name, count in voxels.items()}
    scores = {"mean_score": float(anomaly[volumes["scored"]].mean()), "max_score": float(anomaly.max())}
    findings, boxes = [], ndimage.find_objects(labels)
    for i in np.argsort(-sums, kind="stable")[:LISTED].tolist():
        inside = labels[boxes[i]] == i + 1
        peak = np.argwhere(inside)[anomaly[boxes[i]][inside].argmax()] + [side.start for side in boxes[i]]
        finding = {"volume_ml": round(float(counts[i] * align.voxel_ml(affine)), 3)}
        if part is not None:
            mni_mm = to_study.TransformPoint((align.LPS @ affine @ [*peak, 1])[:3].tolist()) * np.array([-1, -1, 1])
            place = PARTS[np.bincount(part[boxes[i]][inside], minlength=len(PARTS) + 1)[1:].argmax()]
            finding |= {"place": place, "mni_mm": mni_mm.round(1).tolist()}
        findings.append(finding | {"voxel": peak.tolist(), "peak": float(anomaly[tuple(peak)])})
    return {"components": components} | ml | scores | {"findings": findings}


def save_like(path, array, source):
    """Write an RAS+ array as NIfTI with the orientation and geometry of the scan `source`, but nothing else of it."""
    stored = nib.io_orientation(source.affine)
    array = array.astype(np.uint8) if array.dtype == bool else array
    array = nib.apply_orientation(array, nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), stored))
    image = nib.Nifti1Image(array, source.affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    if isinstance(source, nib.Nifti1Pair):  # both forms: viewers differ in which one they use
        image.set_sform(*source.get_sform(coded=True))
        with contextlib.suppress(ValueError):  # a quaternion longer than 1: the sform says it all
            image.set_qform(*source.get_qform(coded=True))
        if source.header["xyzt_units"] % 8 in OTHER_UNITS:
            image.header["xyzt_units"] = source.header["xyzt_units"]
    nib.save(image, path)


def describe(finding):
    """What was found, in a sentence."""
    count, threshold = finding["components"], f"above the threshold of {finding['threshold']:.3g}"
    if not finding["segmentation_written"]:
        return "no segmentation: the scan is too unlike what the model knows (the doubts say how; --force writes one)."
    if not count:
        return f"nothing {threshold}."
    places = "one place" if count == 1 else f"{count} places"
    largest = "" if count == 1 else f", the largest {finding['largest_ml']:.1f} ml"
    usual = f", against about {finding['share']:.0%} in healthy brains" if finding.get("share") else ""
    part = f"{finding['volume_ml'] / finding['scored_ml']:.1%} of the scored part of this brain{usual}"
    return f"{places} {threshold}, {finding['volume_ml']:.1f} ml in all{largest}: {part}."
