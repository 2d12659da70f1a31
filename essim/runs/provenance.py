"""Provenance: a record beside every table and figure of what produced it.

In: the parameters of a run and the files it read. Out: a dict of parameters, revision, versions, device, hashes and
time, written as JSON next to each result (`main.csv` -> `main.csv.json`; `grid.pdf`, `grid.png` -> `grid.json`).
Results themselves carry no date, so that a second run gives the same bytes.
"""

import hashlib
import io
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from PIL import Image

from essim.runs.files import write_json, writing

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("essim", "torch", "numpy", "scipy", "pandas", "nibabel", "nilearn", "SimpleITK", "torchio", "scikit-learn")


def provenance(parameters, inputs=()):
    """Describe this run, as a dict: `parameters` (a dict or a model of essim.runs.params) and the `inputs` it read.

    A folder among the inputs is hashed as the sorted list of its files' names and contents; FileNotFoundError names an
    input that is missing.
    """
    if hasattr(parameters, "model_dump"):
        parameters = parameters.model_dump(mode="json")
    return {
        "parameters": parameters,
        "seed": _find_seed(parameters),
        **_revision(),
        "versions": _versions(),
        "device": _device(),
        "inputs": {_name(Path(path)): _sha256(Path(path)) for path in inputs},
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_table(frame, path, provenance):
    """Write a data frame as CSV, without its index, and the provenance beside it."""
    path = Path(path)
    with writing(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")
    write_json(path.with_name(path.name + ".json"), provenance)


def save_figure(figure, path, provenance, dpi=200):
    """Write a matplotlib figure as `<path>.pdf` and `<path>.png`, without dates, and the provenance beside it.

    Returns: the `Picture`, which a notebook shows where this call ends a cell.
    """
    path = Path(path)
    undated = {"pdf": {"CreationDate": None, "ModDate": None}, "png": {"Software": None}}
    box = _lay_out(figure, dpi)
    for kind, fields in undated.items():
        with writing(path.with_suffix(f".{kind}")) as temporary:
            figure.savefig(temporary, format=kind, dpi=dpi, bbox_inches=box, metadata=fields)
    write_json(path.with_suffix(".json"), provenance)
    return Picture(path.with_suffix(".png"))


@dataclass(frozen=True)
class Picture:
    """A saved figure as a notebook shows it: at half of its resolution, without drawing it again."""

    path: Path

    def _repr_png_(self):
        with Image.open(self.path) as image, io.BytesIO() as file:
            image.reduce(2).save(file, "png")
            return file.getvalue()


def _lay_out(figure, dpi):
    """Settle where everything lies, once for all formats, which takes as long as drawing; the box around it."""
    shown, figure.dpi = figure.dpi, dpi
    try:
        if engine := figure.get_layout_engine():
            engine.execute(figure)
        figure.set_layout_engine("none")
        return figure.get_tightbbox().padded(0.1)  # inches, as matplotlib's own "tight"
    finally:
        figure.dpi = shown


def _find_seed(parameters):
    """The run's seed, at the top or one level down."""
    nested = (value for value in parameters.values() if isinstance(value, dict))
    return parameters.get("seed", next((value["seed"] for value in nested if "seed" in value), None))


def _revision():
    """Git revision of the source tree and whether it was changed since; nulls outside a clone of essim."""

    def git(*words):
        return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        # A source tree unpacked inside another project must not claim that project's revision.
        if Path(git("rev-parse", "--show-toplevel")).resolve() != ROOT:
            return {"revision": None, "dirty": None}
        return {"revision": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"revision": None, "dirty": None}


def _versions():
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _device():
    """The accelerator's name if torch is in use and sees one, else the processor's."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name()}"
    return f"cpu: {_processor()}"


def _processor():
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _name(path):
    """A path relative to the repository's root, if it lies below it: the same on every machine."""
    path = path.resolve().relative_to(ROOT) if path.resolve().is_relative_to(ROOT) else path
    return path.as_posix()


def _sha256(path):
    if not path.is_dir():
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{file.relative_to(path).as_posix()} {_sha256(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
