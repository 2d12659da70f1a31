"""A folder of DICOM files, read as the one volume that it holds.

In: the path of any file or folder. Out: that file, or for a folder a NIfTI file made by dcm2niix in a temporary folder,
which is gone afterwards; the DICOM files are only read.
"""

import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

MAGIC = slice(128, 132), b"DICM"  # of a DICOM file: where, and what
# What dcm2niix says where it writes a volume all the same, but with misplaced slices
INCOMPLETE = re.compile(r"^(?:Warning: )?(Missing images.*|Interslice distance varies.*)$", re.MULTILINE)


@contextmanager
def as_file(path):
    """Yield the path of a file unchanged, or for a folder that of a NIfTI file which lasts as long as the block.

    Raises ValueError, in a sentence, for a folder that does not hold exactly one complete series of DICOM files, or
    where dcm2niix is missing.
    """
    path = Path(path)
    if not path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="essim-dicom-") as folder:
        yield _convert(path, Path(folder))


def files_of(path):
    """The files that a path stands for: itself, or all that lie below a folder; none where there is nothing."""
    path = Path(path)
    return [file for file in (sorted(path.rglob("*")) if path.is_dir() else [path]) if file.is_file()]


def is_dicom(path):
    """Whether this is a file in DICOM's format."""
    path, (place, magic) = Path(path), MAGIC
    if not path.is_file():
        return False
    with open(path, "rb") as stream:
        return stream.read(place.stop)[place] == magic


def _convert(path, folder):
    """The NIfTI file, in `folder`, of the one series in the folder `path`."""
    command = [_find_program(path), "-b", "n", "-z", "n", "-f", "%s_%d", "-o", folder, path]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    volumes, said = sorted(folder.glob("*.nii")), done.stdout + done.stderr
    if len(volumes) > 1:
        listed = ", ".join(volume.stem for volume in volumes)
        raise ValueError(
            f"{path}: holds {len(volumes)} series of DICOM files ({listed}); give a folder with one of them."
        )
    if incomplete := INCOMPLETE.search(said):
        reason = incomplete[1].strip(". ")
        raise ValueError(f"{path}: is not a complete series of DICOM files ({reason}); export it again.")
    if "Unable to find any DICOM" in said:
        raise ValueError(f"{path}: is a folder without DICOM files; give one NIfTI file or the folder of one series.")
    if done.returncode or not volumes:
        reason = " ".join((said.strip() or "it wrote no volume").splitlines()[-1].split())
        raise ValueError(f"{path}: dcm2niix fails ({reason}); convert the series by hand.")
    return volumes[0]


def _find_program(path):
    """The program dcm2niix: that of the Python package, or one on the PATH."""
    try:
        from dcm2niix import bin as program
    except ImportError:
        program = shutil.which("dcm2niix")
    if program is None:
        raise ValueError(
            f"{path}: is a folder, and DICOM files can't be read without dcm2niix: "
            'run `pip install "essim[dicom]"`, or give one NIfTI file.'
        )
    return program
