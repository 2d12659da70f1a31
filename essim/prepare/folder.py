"""A source of raw scans to a folder of scans in study space (python -m essim.prepare).

In: any source that `essim.load_scans` knows (data sets as downloaded, a CSV of your own); it is only read. Out, in the
layout of the paper's preprocessed data, so that `essim.load_scans(OUT)` reads it:

    Train/ixi/{t1,t2,flair,mask}, Test/<set>/{t1,t2,flair,mask,seg}, splits    the scans in study space
    subjects/<set>/<subject>.json                                  what was done, written when a subject is finished
    qc.html, qc/<set>/<subject>.png                                look at these before anything else
    failed.csv                                                     which subjects failed and why, if any
    prepare.json                                                   provenance and counts, written last

Called again, it does what is missing or has changed. Paper: section 3 (data).
"""

import csv
import hashlib
import json
import time
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from essim.data.checks import find_problems
from essim.data.datasets import list_scans
from essim.data.dicom import files_of
from essim.data.prepared import KINDS, SPLITS, by_contrast, is_prepared, path_of
from essim.data.splits import write_splits
from essim.data.volumes import LESION, read_labels, save_nifti
from essim.prepare import align, qc, registration
from essim.runs.files import remove, write_json, writing
from essim.runs.provenance import provenance
from essim.runs.workers import work_off

LESION_OFF = 0.1  # a lesion of 2 ml or more that changes more in volume, relative to the head, is doubtful
TRUSTED = 0.9  # a note with less trust is a doubt
DECISIVE = [f"data/{module}" for module in ("dicom", "grids", "headers", "intensities", "volumes")]
DECISIVE += [f"prepare/{module}" for module in ("align", "brain", "registration")]
DIED = "the process that worked on it died, often for lack of memory; run the same command with fewer --jobs"


@dataclass(frozen=True)
class Job:
    """One subject: {contrast: path} and the other files of the scan table, and the settings."""

    dataset: str
    subject: str
    images: dict
    mask: str
    seg: str
    ignore: int | str
    template: str | None
    voxel_mm: float

    def record(self):
        return f"subjects/{self.dataset}/{self.subject}.json"

    def digest(self):
        """A digest of everything that decides the result: settings, code, and the files' names, sizes and times."""
        decisive = asdict(self) | {"code": _code()}
        for path in (*self.images.values(), self.mask, self.seg, self.template):
            for file in files_of(path) if path else []:
                decisive[f"file {file}"] = [file.stat().st_size, file.stat().st_mtime_ns]
        return _digest_of(decisive)


def prepare(source, out, *, template=None, voxel_mm=1, jobs=1):
    """Bring all scans of a source to study space, in the folder `out`; skip what is already up to date.

    Args:
        source: whatever `essim.load_scans` takes. out: a new or empty folder, or that of an earlier call.
        template: path of a template (see `registration.load_template`), None for MNI152.
        voxel_mm: side of a voxel. jobs: how many subjects at once, each on one core.

    Returns: (records, failures): a dict for each finished subject, and (dataset, subject, reason) for each that failed
        and is left out of the split files.

    Raises:
        FileNotFoundError, ValueError: the source or template is missing or damaged; out lies in the source, or
            the source in out. FileExistsError: out holds something else.
    """
    source, out = Path(source), Path(out)
    if is_prepared(source):
        raise ValueError(f"{source}: is in study space already; use it as it is.")
    scans, labels = list_scans(source)
    _check_out(source, out, scans)
    registration.load_template(template, voxel_mm)  # raises its errors before any work is done
    problems = _problems(find_problems(scans, labels, each=False, other_grids=True), scans)
    work = _jobs(scans, template, voxel_mm)
    digests = {key: job.digest() for key, job in work.items()}
    todo = [job for key, job in work.items() if key not in problems and not _finished(out, job, digests[key])]
    state = _digest_of([sorted(map(str, digests.items())), sorted(problems.values())])
    as_before = not todo and _read_json(out / "prepare.json").get("state") == state
    if not as_before:
        remove(out / "prepare.json")
        write_json(out / "source.json", {"source": str(source.resolve())})
        problems |= _place_all(out, todo, len(work), jobs)
    records = [_read_json(out / job.record()) for key, job in work.items() if key not in problems]
    failures = [(*key, reason) for key, reason in sorted(problems.items())]
    if not as_before:
        _write_tables(out, scans, work, failures)
        qc.page(out / "qc.html", "Scans in study space", records, failures)
        summary = provenance({"source": str(source), "template": template, "voxel_mm": voxel_mm})
        summary |= {"subjects": len(records), "doubtful": sum(bool(record["doubtful"]) for record in records)}
        write_json(out / "prepare.json", summary | {"failed": len(failures), "state": state})
    return records, failures


def _place_all(out, todo, total, workers):
    """Bring the subjects of the jobs `todo` to study space; {(dataset, subject): reason} for those that fail."""
    failures = {}
    with tqdm(total=total, initial=total - len(todo), desc="prepare", unit="subject") as bar:
        for job, reason in work_off(partial(_prepare_subject, out), todo, workers, died=DIED):
            failures |= {(job.dataset, job.subject): reason} if reason else {}
            bar.update()
    return failures


def _check_out(source, out, scans):
    """Refuse an output folder that overlaps with the source, or that holds something else."""
    target, origin = out.resolve(), source.resolve()
    if origin.is_dir() and (target.is_relative_to(origin) or origin.is_relative_to(target)):
        raise ValueError(f"{out}: lies in the source {source}, or the source in it; give a separate folder.")
    for path in scans.image:
        scan = Path(path).resolve()
        if scan.is_relative_to(target) or (scan.is_dir() and target.is_relative_to(scan)):
            raise ValueError(f"{out}: holds scans of the source ({path}); give a separate folder.")
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out}: is a file; give a new folder.")
    if out.is_dir() and any(out.iterdir()) and _read_json(out / "source.json").get("source") != str(origin):
        raise FileExistsError(f"{out}: holds something other than the scans of {source}; give a new folder.")


def _problems(by_file, scans):
    """{(dataset, subject): sentence} from what `find_problems` found."""
    problems = {}
    for what, (text, rows) in by_file.items():
        for key in scans.loc[sorted(rows), ["dataset", "subject"]].itertuples(index=False, name=None):
            problems[key] = f"{problems[key]} {what}: {text}." if key in problems else f"{what}: {text}."
    return problems


def _jobs(scans, template, voxel_mm):
    """{(dataset, subject): Job}, in the order of the table."""
    settings = {"template": str(template) if template else None, "voxel_mm": voxel_mm}
    jobs = {}
    for key, rows in scans.groupby(["dataset", "subject"], sort=False):
        rows = by_contrast(rows)
        images = dict(zip(rows.contrast, rows.image, strict=True))
        files = {role: next((entry for entry in rows[role] if entry != ""), "") for role in ("mask", "seg", "ignore")}
        files["ignore"] = files["ignore"] if files["ignore"] == "" else int(files["ignore"])
        jobs[key] = Job(*key, images=images, **files, **settings)
    return jobs


# One subject


def _finished(out, job, digest):
    record = _read_json(out / job.record())
    return record.get("digest") == digest and all((out / path).is_file() for path in record["files"])


def _prepare_subject(out, job):
    """Bring one subject to study space; None, or the reason why it failed."""
    try:
        if "/" in job.subject + job.dataset or job.subject.startswith("."):
            raise ValueError(f"{job.subject}: a name with a slash or a leading dot can't name a file; change it.")
        start, digest = time.monotonic(), job.digest()
        remove(out / job.record())  # from here on the subject is unfinished
        template = _template(job.template, job.voxel_mm)
        placed = registration.place(job.images, template, mask=job.mask, seg=job.seg, ignore=job.ignore)
        files, picture = _write_volumes(out, job, placed), f"qc/{job.dataset}/{job.subject}.png"
        qc.picture(out / picture, placed, template)
        record = {"dataset": job.dataset, "subject": job.subject, "digest": digest, "picture": picture}
        record |= {"files": [*files, picture]} | _placement_record(placed, job)
        write_json(out / job.record(), record | {"seconds": round(time.monotonic() - start, 1)})
        return None
    except Exception as error:  # one subject's: the others go on
        return " ".join(str(error).split()) or type(error).__name__


def _write_volumes(out, job, placed):
    """Write those of KINDS that exist and remove what an earlier call left of others; returns the paths below `out`."""
    volumes = dict(placed.images) | {"mask": placed.mask} | ({} if placed.seg is None else {"seg": placed.seg})
    paths = {kind: path_of(job.dataset, job.subject, kind) for kind in KINDS}
    for kind, path in paths.items():
        if kind in volumes:
            with writing(out / path) as temporary:
                save_nifti(temporary, volumes[kind], placed.affine)
        else:
            remove(out / path)
    return [paths[kind] for kind in volumes]


def _placement_record(placed, job):
    """Numbers for judging a subject's placement; `growth`: the factor on its volume from scan to study space."""
    voxel_ml = align.voxel_ml(placed.affine)
    growth = 1 / abs(np.linalg.det(align.as_matrix(placed.transform)[:3, :3]))
    record = {"dice": round(placed.dice, 4), "growth": round(growth, 4), "notes": [text for text, _ in placed.notes]}
    record |= {"brain_ml": float(placed.mask.sum() * voxel_ml / growth), "lesion_ml": None, "lesion_ml_study": None}
    doubts = [text for text, trust in placed.notes if trust < TRUSTED]
    if placed.dice < registration.DOUBTFUL:
        doubts.append(f"the brain overlaps the template's by only {placed.dice:.2f}")
    if placed.seg is not None:
        data, grid = read_labels(job.seg)
        before = float(((data > 0) & (data != job.ignore)).sum() * align.voxel_ml(grid.affine))
        after = float((placed.seg == LESION).sum() * voxel_ml)
        record |= {"lesion_ml": before, "lesion_ml_study": after}
        if before >= 2 and abs(after / growth / before - 1) > LESION_OFF:
            doubts.append(f"of the lesion's {before:.1f} ml, {after / growth:.1f} ml are left")
    return record | {"doubtful": "; ".join(doubts)}


@lru_cache(maxsize=1)
def _template(path, voxel_mm):
    return registration.load_template(path, voxel_mm)


def _write_tables(out, scans, work, failures):
    """Write the split files, without the subjects that failed, and failed.csv."""
    remove(out / SPLITS)  # those of an earlier call may name sets that are gone
    if len(failures) < len(work):
        seg = [work[key].seg for key in zip(scans.dataset, scans.subject, strict=True)]
        write_splits(scans.assign(seg=seg), out, without={failure[:2] for failure in failures})
    remove(out / "failed.csv")
    if failures:
        with writing(out / "failed.csv") as path, open(path, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([("dataset", "subject", "reason"), *failures])


def _code():
    """A digest of the modules that decide where a scan ends up."""
    package = Path(__file__).parents[1]
    return hashlib.sha256(b"".join((package / f"{module}.py").read_bytes() for module in DECISIVE)).hexdigest()


def _digest_of(content):
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read_json(path):
    """The content of a JSON file; {} where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
