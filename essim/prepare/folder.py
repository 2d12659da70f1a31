"""Raw scans to study space: python -m essim.prepare SOURCE OUT

In: any source that `essim.load_scans` knows (data sets as downloaded, a CSV of one's own); it is only read. Out, in the
layout of the paper's preprocessed data, so that `essim.load_scans(OUT)` reads it:

    Train/ixi/{t1,t2,mask}, Test/<set>/{t1,t2,mask,seg}, splits    the scans in study space
    subjects/<set>/<subject>.json                                  what was done, written when a subject is finished
    qc.html, qc/<set>/<subject>.png                                look at these before anything else
    failed.csv                                                     who failed and why, if anybody
    prepare.json                                                   provenance and counts, written last

Called again, it does what is missing or has changed. Paper: section 3 (data).
"""

import argparse
import csv
import hashlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from essim.data.checks import find_problems
from essim.data.datasets import COLUMNS, is_prepared, list_scans
from essim.data.splits import write_splits
from essim.data.volumes import LESION, read_labels, save_nifti
from essim.prepare import align, brain, qc, registration
from essim.runs.files import remove, write_json, writing
from essim.runs.provenance import provenance
from essim.runs.workers import work_off

KINDS = ("t1", "t2", "mask", "seg")
LESION_OFF = 0.1  # a lesion of 2 ml or more whose volume changed by more than its head's is doubtful
DIED = "the process that worked on it died, often for want of memory; run the same command with fewer --jobs"


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

    def place_of(self, kind):
        """The path of one of KINDS below the output folder."""
        folder = "Train/ixi" if self.dataset == "healthy" else f"Test/{self.dataset}"
        return f"{folder}/{kind}/{self.subject}_{kind}.nii.gz"

    def record(self):
        return f"subjects/{self.dataset}/{self.subject}.json"

    def digest(self):
        """Of everything that decides the result: settings, code, and name, size and time of the files."""
        known = asdict(self) | {"code": _code()}
        for path in (*self.images.values(), self.mask, self.seg, self.template):
            if path and Path(path).is_file():
                known[f"file {path}"] = [Path(path).stat().st_size, Path(path).stat().st_mtime_ns]
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def prepare(source, out, *, template=None, voxel_mm=1, jobs=1):
    """Bring all scans of a source to study space, in the folder `out`; skip what is there and up to date.

    Args:
        source: whatever `essim.load_scans` takes. out: a new or empty folder, or that of an earlier call.
        template: path of a template (see `registration.load_template`), None for MNI152.
        voxel_mm: side of a voxel. jobs: how many subjects at once, each on one core.

    Returns: (records, failures): a dict for each subject that is there, and (dataset, subject, reason) for each that
        failed and is left out of the split files.

    Raises:
        FileNotFoundError, ValueError: the source or template is missing or damaged; out and source lie in each other.
        FileExistsError: out holds something else.
    """
    source, out = Path(source), Path(out)
    if is_prepared(source):
        raise ValueError(f"{source}: is in study space already; use it as it is.")
    scans, labels = list_scans(source)
    _check_out(source, out, scans)
    registration.load_template(template, voxel_mm)  # its errors before any work
    problems = _problems(find_problems(scans, labels, each=False), scans)
    work = _jobs(scans, template, voxel_mm)
    digests = {key: job.digest() for key, job in work.items()}
    todo = [job for key, job in work.items() if key not in problems and not _finished(out, job, digests[key])]
    state = hashlib.sha256(json.dumps([sorted(map(str, digests.items())), sorted(problems.values())]).encode())
    if not todo and _read_json(out / "prepare.json").get("state") == state.hexdigest():
        return [_read_json(out / job.record()) for key, job in work.items() if key not in problems], [
            (*key, reason) for key, reason in sorted(problems.items())
        ]
    remove(out / "prepare.json")
    write_json(out / "source.json", {"source": str(source.resolve())})
    failures = dict(problems)
    with tqdm(total=len(work), initial=len(work) - len(todo), desc="prepare", unit="subject") as bar:
        for job, reason in work_off(partial(_prepare_subject, out), todo, jobs, died=DIED):
            if reason:
                failures[job.dataset, job.subject] = reason
            bar.update()
    done = {key: job for key, job in work.items() if key not in failures}
    records = [_read_json(out / job.record()) for job in done.values()]
    failures = [(*key, reason) for key, reason in sorted(failures.items())]
    _write_tables(out, scans, done, failures)
    qc.page(out / "qc.html", "Scans in study space", records, failures)
    settings = {"source": str(source), "template": template, "voxel_mm": voxel_mm}
    counts = {"subjects": len(records), "doubtful": sum(bool(r["doubtful"]) for r in records), "failed": len(failures)}
    write_json(out / "prepare.json", provenance(settings) | counts | {"state": state.hexdigest()})
    return records, failures


def _check_out(source, out, scans):
    """Refuse an output folder where it would touch data, or that holds something else."""
    here, there = out.resolve(), source.resolve()
    if there.is_dir() and (here.is_relative_to(there) or there.is_relative_to(here)):
        raise ValueError(f"{out}: lies in the source {source}, or the source in it; give a folder of its own.")
    for path in scans.image:
        if Path(path).resolve().is_relative_to(here):
            raise ValueError(f"{out}: holds scans of the source ({path}); give a folder of its own.")
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out}: is a file; give a new folder.")
    if out.is_dir() and any(out.iterdir()) and _read_json(out / "source.json").get("source") != str(there):
        raise FileExistsError(f"{out}: holds something else than the scans of {source}; give a new folder.")


def _problems(found, scans):
    """{(dataset, subject): sentence} from what `find_problems` found."""
    problems = {}
    for what, (text, rows) in found.items():
        for key in scans.loc[sorted(rows), ["dataset", "subject"]].itertuples(index=False, name=None):
            problems[key] = f"{problems[key]} {what}: {text}." if key in problems else f"{what}: {text}."
    return problems


def _jobs(scans, template, voxel_mm):
    """{(dataset, subject): Job}, in the order of the table."""
    settings = {"template": str(template) if template else None, "voxel_mm": voxel_mm}
    jobs = {}
    for key, rows in scans.groupby(["dataset", "subject"], sort=False):
        rows = rows.sort_values("contrast")
        images = dict(zip(rows.contrast, rows.image, strict=True))
        given = {role: next((v for v in rows[role] if v != ""), "") for role in ("mask", "seg", "ignore")}
        given["ignore"] = given["ignore"] if given["ignore"] == "" else int(given["ignore"])
        jobs[key] = Job(*key, images=images, **given, **settings)
    return jobs


# One subject


def _finished(out, job, digest):
    record = _read_json(out / job.record())
    return record.get("digest") == digest and all((out / path).is_file() for path in record["files"])


def _prepare_subject(out, job):
    """Bring one subject to study space; None, or the reason why it failed."""
    try:
        if "/" in job.subject + job.dataset or job.subject.startswith("."):
            raise ValueError(f"{job.subject}: a name with a slash or a leading dot names no file; rename the subject.")
        start, digest = time.monotonic(), job.digest()
        remove(out / job.record())  # from here on the subject is in work
        template = _template(job.template, job.voxel_mm)
        placed = registration.place(job.images, template, mask=job.mask, seg=job.seg, ignore=job.ignore)
        volumes = dict(placed.images) | {"mask": placed.mask} | ({} if placed.seg is None else {"seg": placed.seg})
        for kind in KINDS:
            if kind in volumes:
                with writing(out / job.place_of(kind)) as temporary:
                    save_nifti(temporary, volumes[kind], placed.affine)
            else:
                remove(out / job.place_of(kind))  # of an earlier call, with other input
        drawn = f"qc/{job.dataset}/{job.subject}.png"
        qc.picture(out / drawn, placed, template)
        files = [job.place_of(kind) for kind in volumes] + [drawn]
        record = {"dataset": job.dataset, "subject": job.subject, "digest": digest, "files": files, "picture": drawn}
        record |= _measure(placed, job) | {"seconds": round(time.monotonic() - start, 1)}
        write_json(out / job.record(), record)
        return None
    except Exception as error:  # of one subject: the others go on
        return " ".join(str(error).split()) or type(error).__name__


def _measure(placed, job):
    """What tells whether a subject lies well in study space; `growth`: of its volume, from scan to study space."""
    voxel = abs(np.linalg.det(placed.affine[:3, :3])) / 1000
    anchor = next(iter(placed.transforms))
    growth = 1 / abs(np.linalg.det(align.as_matrix(placed.transforms[anchor])[:3, :3]))
    found = {"dice": round(placed.dice, 4), "growth": round(growth, 4)}
    found |= {"brain_ml": float(placed.mask.sum() * voxel / growth)}
    found |= {"lesion_ml": None, "lesion_ml_study": None}
    doubts = []
    if placed.dice < registration.DOUBTFUL:
        doubts.append(f"the brain overlaps the template's by {placed.dice:.2f} only")
    if placed.seg is not None:
        data, affine = read_labels(job.seg)
        before = float(((data > 0) & (data != job.ignore)).sum() * abs(np.linalg.det(affine[:3, :3])) / 1000)
        after = float((placed.seg == LESION).sum() * voxel)
        found |= {"lesion_ml": before, "lesion_ml_study": after}
        if before >= 2 and abs(after / growth / before - 1) > LESION_OFF:
            doubts.append(f"of the lesion's {before:.1f} ml, {after / growth:.1f} ml are left")
    return found | {"doubtful": "; ".join(doubts)}


@lru_cache(maxsize=1)
def _template(path, voxel_mm):
    return registration.load_template(path, voxel_mm)


# Tables


def _write_tables(out, scans, done, failures):
    rows = []
    for row in scans.to_dict("records"):
        job = done.get((row["dataset"], row["subject"]))
        if job:
            paths = {"image": job.place_of(row["contrast"]), "mask": job.place_of("mask")}
            paths["seg"] = job.place_of("seg") if job.seg else ""
            row |= {role: str(out / path) if path else "" for role, path in paths.items()}
        rows.append(row)
    remove(out / "splits")  # those of an earlier call may name sets that are gone
    if done:
        failed = {(dataset, subject) for dataset, subject, _ in failures}
        write_splits(pd.DataFrame(rows, columns=COLUMNS), out, without=failed)
    remove(out / "failed.csv")
    if failures:
        with writing(out / "failed.csv") as path, open(path, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([("dataset", "subject", "reason"), *failures])


def _code():
    modules = (align, brain, registration)
    return hashlib.sha256(b"".join(Path(module.__file__).read_bytes() for module in modules)).hexdigest()


def _read_json(path):
    """The content of a JSON file; {} where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def main(arguments=None):
    """The command line; returns the exit code: 0, 1 if a subject failed, 2 if nothing could be done, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m essim.prepare", description="Bring raw scans to study space.")
    parser.add_argument("source", metavar="SOURCE", help="a folder of data sets as downloaded, or a CSV of your scans")
    parser.add_argument("out", metavar="OUT", help="a new folder, or that of an earlier call, which goes on")
    parser.add_argument("--template", metavar="FILE", help="skull-stripped T1 template, such as SRI24's (MNI152)")
    parser.add_argument("--voxel", metavar="MM", type=float, default=1, help="side of a voxel in study space (1)")
    parser.add_argument("--jobs", metavar="N", type=int, default=os.cpu_count(), help="subjects at once (all cores)")
    given = parser.parse_args(arguments)
    if given.jobs < 1:
        parser.error("--jobs must be 1 or more")
    try:
        records, failures = prepare(
            given.source, given.out, template=given.template, voxel_mm=given.voxel, jobs=given.jobs
        )
    except (OSError, ValueError) as error:
        sys.stderr.write(f"prepare: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("prepare: stopped; the same command goes on where it was.\n")
        return 130
    doubtful = sum(bool(record["doubtful"]) for record in records)
    parts = [f"{len(records)} of {len(records) + len(failures)} subjects are in study space"]
    parts += [f"{doubtful} of them doubtful"] if doubtful else []
    parts += [f"{len(failures)} failed (see {Path(given.out) / 'failed.csv'})"] if failures else []
    sys.stdout.write(f"prepare: {', '.join(parts)}; look at {Path(given.out) / 'qc.html'}.\n")
    return 1 if failures else 0
