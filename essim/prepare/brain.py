"""One scan in its own space: where its brain is, and its intensities without the bias field.

In: paths of a scan, of its brain mask, of its lesions. Out: SimpleITK images: the scan, the mask, the corrected scan.
Paper: section 3 (data): skull-stripped, N4 bias-corrected.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from essim.data.volumes import IGNORED, LESION, fill_borders, read_labels, read_nifti, save_nifti
from essim.prepare.align import blocks, from_sitk, sample_label, to_sitk

HERE = np.eye(4)  # the matrix of two images that lie in one space
BIAS_MM = 8  # voxels on which N4 works; the field that it seeks is far smoother
BIAS_STEPS = [50, 50, 50]  # of N4, from coarse to fine; with a fourth, finer grid it takes large lesions for bias
KEPT_MM = 16  # around the brain: what is kept of a scan


@contextmanager
def naming(path, step):
    """What SimpleITK raises in several lines, as a sentence that names the file."""
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).strip().splitlines()[-1].split())
        raise ValueError(f"{path}: {step} fails ({reason}); look at the scan and its mask.") from error


def read_image(path):
    """A scan, float32; voxels that are not finite stay so until the brain mask is known.

    Raises FileNotFoundError, ValueError: as in `read_nifti`; or no voxel is above 0.
    """
    data, affine = read_nifti(path, finite=False)
    if not (np.isfinite(data) & (data > 0)).any():
        raise ValueError(f"{path}: has no voxel above 0; fetch the scan again or leave it out.")
    return to_sitk(data.astype(np.float32), affine)


def read_mask(path):
    """A brain mask, uint8 on the file's grid: 1 where it is above 0. Raises ValueError if it is so nowhere."""
    data, affine = read_labels(path)
    if not (data > 0).any():
        raise ValueError(f"{path}: the brain mask is empty; make it again or leave the scan out.")
    return to_sitk(data > 0, affine)


def read_lesions(path, ignore):
    """Lesions, uint8 on the file's grid: LESION for every label above 0, IGNORED for the label `ignore` ("": none)."""
    data, affine = read_labels(path)
    label = np.where(data > 0, LESION, 0).astype(np.uint8)
    if ignore != "":
        label[data == float(ignore)] = IGNORED
    return to_sitk(label, affine)


def finite(image):
    """The image with 0 for negative values, NaN and infinity."""
    values, affine = from_sitk(image)
    return to_sitk(np.nan_to_num(values, nan=0, posinf=0, neginf=0).clip(0), affine)


def space_of(label, scans, otherwise):
    """The contrast on whose grid a label map lies; `otherwise` where it lies on none."""

    def fits(scan):
        same = label.GetSize() == scan.GetSize()
        return same and np.allclose(from_sitk(label[:1, :1, :1])[1], from_sitk(scan[:1, :1, :1])[1], atol=1e-2)

    return next((contrast for contrast in (otherwise, *scans) if fits(scans[contrast])), otherwise)


def find_brain(images, scans, anchor, mask):
    """Where the brain is: (the contrast in whose space it was drawn, uint8 image on that scan's grid).

    Args:
        images, scans: {contrast: path}, {contrast: image}. anchor: the contrast to take where there is a choice.
        mask: path of the mask; "nonzero": what is not 0 (holes filled); "": what HD-BET finds.

    Raises FileNotFoundError, ValueError, with a sentence that names the file.
    """
    if mask == "":
        return anchor, _strip(images[anchor], scans[anchor])
    if mask == "nonzero":
        return anchor, sitk.BinaryFillhole(finite(scans[anchor]) != 0)
    drawn = read_mask(mask)
    home = space_of(drawn, scans, anchor)
    brain = sample_label(drawn, scans[home], HERE)
    if not sitk.GetArrayViewFromImage(brain).any():
        raise ValueError(f"{mask}: the brain mask lies beside {images[home]}; give the mask of this scan.")
    return home, brain


def _strip(path, image):
    """The brain of a scan with its skull by HD-BET, on a copy of the scan."""
    command = shutil.which("hd-bet") or shutil.which("hd-bet", path=str(Path(sys.executable).parent))
    if command is None:
        raise ValueError(
            f"{path}: has no brain mask and HD-BET is not installed; give a mask, strip the scan with a tool of your "
            "choice, or run `pip install hd-bet`."
        )
    import torch  # HD-BET needs it too

    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        save_nifti(f"{folder}/scan.nii.gz", *from_sitk(finite(image)))
        options = ["-i", f"{folder}/scan.nii.gz", "-o", f"{folder}/brain.nii.gz", "-device", device]
        options += ["--disable_tta", "--save_bet_mask", "--no_bet_image"]
        with _turn() if device == "cuda" else nullcontext():
            done = subprocess.run([command, *options], capture_output=True, text=True, check=False)
        mask = Path(folder) / "brain_bet.nii.gz"
        if done.returncode or not mask.is_file():
            reason = " ".join((done.stderr.strip() or "it wrote no mask").splitlines()[-1].split())
            raise ValueError(f"{path}: HD-BET fails ({reason}); run `hd-bet` on it by hand, or give a mask.")
        return sample_label(read_mask(mask), image, HERE)


@contextmanager
def _turn():
    """Processes take turns: a GPU's memory holds one HD-BET."""
    with open(Path(tempfile.gettempdir()) / f"essim-hd-bet-{os.getuid()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # freed however the process ends
        yield


def correct(path, scan, brain):
    """The scan without its bias field (N4), float32, cut around its brain, 0 for negative values.

    Raises ValueError if there is nothing to correct inside the brain, or NaN.
    """
    scan, brain = _around(scan, brain)
    inside = sitk.GetArrayViewFromImage(brain) > 0
    if not inside.any():
        raise ValueError(f"{path}: does not show the brain of its mask; are they one person's?")
    values = fill_borders(sitk.GetArrayFromImage(scan), inside, path)
    if np.ptp(values[inside]) == 0 or values[inside].max() <= 0:
        raise ValueError(f"{path}: is constant inside the brain mask; is the mask this scan's?")
    scan = finite(scan)
    share = blocks(sitk.Cast(brain, sitk.sitkFloat32), BIAS_MM)
    mean = blocks(sitk.Mask(scan, brain), BIAS_MM) / sitk.Maximum(share, 1e-3)  # of the brain's voxels only
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(BIAS_STEPS)
    with naming(path, "bias correction"):
        n4.Execute(mean, sitk.And(share > 0.5, mean > 0))
    field = n4.GetLogBiasFieldAsImage(mean)  # smooth enough to be interpolated; goes on as it is beyond its border
    onto = (sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32, True)
    return scan / sitk.Exp(sitk.Resample(field, scan, *onto))


def _around(scan, brain):
    """Both cut to the box of the brain and 16 mm around."""
    filled = np.argwhere(from_sitk(brain)[0] > 0)
    if not len(filled):
        return scan, brain
    margin = np.ceil(KEPT_MM / np.array(scan.GetSpacing())).astype(int)
    low, high = np.maximum(filled.min(0) - margin, 0), np.minimum(filled.max(0) + margin + 1, scan.GetSize())
    size, start = [[int(n) for n in numbers] for numbers in (high - low, low)]
    return sitk.RegionOfInterest(scan, size, start), sitk.RegionOfInterest(brain, size, start)
