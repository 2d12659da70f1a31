"""From raw scans to study space: finished subjects stay, failures are reported, and the source is not touched."""

import csv
import hashlib
import json
import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers import brain, save

from essim.cohort.generate import CohortConfig, grow_subject
from essim.data.datasets import list_scans, load_scans
from essim.data.volumes import read_nifti
from essim.prepare import align, qc, registration
from essim.prepare import folder as module
from essim.prepare.__main__ import main
from essim.prepare.folder import prepare
from essim.runs.workers import work_off

COLUMNS = ("dataset", "subject", "split", "contrast", "image", "mask", "seg", "ignore")


def person(folder, name, contrasts=("t1", "t2"), dataset="tumour", split="test", seed=0):
    """The lines of one subject in a user's table, with the files."""
    image, mask = brain(seed=seed)
    lesion = np.zeros(mask.shape, np.uint8)
    lesion[6:9, 6:9, 3:5] = 1
    volumes = {contrast: image for contrast in contrasts} | {"mask": mask.astype(np.uint8)}
    volumes |= {} if dataset == "healthy" else {"seg": lesion}
    for kind, volume in volumes.items():
        save(folder / f"{name}_{kind}.nii.gz", volume)
    seg = "" if dataset == "healthy" else f"{name}_seg.nii.gz"
    return [(dataset, name, split, c, f"{name}_{c}.nii.gz", f"{name}_mask.nii.gz", seg, "") for c in contrasts]


def table(folder, rows):
    with open(folder / "scans.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])
    return folder / "scans.csv"


@pytest.fixture
def source(tmp_path):
    """Three patients and two healthy people."""
    folder = tmp_path / "in"
    rows = [row for i, name in enumerate("abc") for row in person(folder, name, seed=i)]
    rows += person(folder, "h1", dataset="healthy", split="train")
    rows += person(folder, "h2", dataset="healthy", split="val")
    return table(folder, rows)


@pytest.fixture
def placed(monkeypatch):
    """Subjects are read and written in this process, without being registered; the list of those that were."""
    done = []

    def place(images, template, *, mask, seg, ignore):
        for path in images.values():
            read_nifti(path)
        volume, inside = brain()
        lesion = None if not seg else nib.load(seg).get_fdata().astype(np.uint8)
        done.append(Path(next(iter(images.values()))).name.split("_")[0])
        same = align.as_transform(np.eye(4))
        copies, transforms = dict.fromkeys(images, volume), dict.fromkeys(images, same)
        return registration.Placed(copies, inside, lesion, template.affine, transforms, 0.9)

    def work_off(function, jobs, workers, *, died):
        yield from ((job, function(job)) for job in jobs)

    def picture(path, *_):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    template = registration.Template(None, (16, 16, 8), np.diag([2.0, 2, 2, 1]), brain()[1])
    module._template.cache_clear()
    monkeypatch.setattr(registration, "place", place)
    monkeypatch.setattr(registration, "load_template", lambda path, mm: template)
    monkeypatch.setattr(module, "work_off", work_off)
    monkeypatch.setattr(qc, "picture", picture)
    yield done
    module._template.cache_clear()


def contents(folder):
    """{file: digest and time} of everything below a folder."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(f): (hashlib.sha256(f.read_bytes()).hexdigest(), f.stat().st_mtime_ns) for f in files}


def test_for_real(tmp_path):
    """The command: a stripped patient and a broken file, in a read-only folder with spaces and accents."""
    grown = grow_subject(CohortConfig(voxel_mm=4), "tumour", 0)
    folder = tmp_path / "Tumör scans"
    for kind in ("t1", "seg"):
        save(folder / f"é_{kind}.nii.gz", grown[kind], grown["affine"])
    (folder / "broken.nii.gz").write_bytes((folder / "é_t1.nii.gz").read_bytes()[:3000])
    rows = [
        ("tumour", name, "test", "t1", image, "nonzero", "é_seg.nii.gz", "")
        for name, image in (("é", "é_t1.nii.gz"), ("broken", "broken.nii.gz"))
    ]
    source, out = table(folder, rows), tmp_path / "study space"
    for path in (*folder.iterdir(), folder):
        path.chmod(0o500 if path.is_dir() else 0o400)
    before = contents(folder)
    command = [sys.executable, "-m", "essim.prepare", source, out, "--voxel", "4", "--jobs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    folder.chmod(0o700)
    assert contents(folder) == before
    assert done.returncode == 1 and "Traceback" not in done.stderr
    where = f"(see {out / 'failed.csv'}); look at {out / 'qc.html'}"
    assert done.stdout == f"prepare: 1 of 2 subjects are in study space, 1 failed {where}.\n"
    with open(out / "failed.csv", encoding="utf-8") as stream:
        (line,) = csv.DictReader(stream)
    assert line["subject"] == "broken" and "broken.nii.gz: cannot be read as NIfTI" in line["reason"]
    (scan,) = load_scans(out).to_dict("records")
    assert (scan["subject"], scan["split"], scan["contrast"]) == ("é", "test", "t1")
    volumes = [nib.load(scan[role]) for role in ("image", "mask", "seg")]
    assert [volume.shape for volume in volumes] == [(40, 48, 40)] * 3
    assert [volume.get_data_dtype() for volume in volumes] == [np.float32, np.uint8, np.uint8]
    record = json.loads((out / "subjects/tumour/é.json").read_text())
    assert record["dice"] > 0.9 and record["doubtful"] == ""
    assert record["lesion_ml"] == pytest.approx(grown["seg"].sum() * 0.064)
    assert record["lesion_ml_study"] / record["growth"] == pytest.approx(record["lesion_ml"], rel=0.1)
    assert (out / record["picture"]).stat().st_size > 10_000
    page = (out / "qc.html").read_text()
    assert "src='qc/tumour/%C3%A9.png'" in page and "1 failed" in page


def test_a_second_call_does_what_is_missing_or_changed(tmp_path, source, placed):
    out = tmp_path / "out"
    records, failures = prepare(source, out, voxel_mm=2)
    assert sorted(placed) == ["a", "b", "c", "h1", "h2"] and not failures
    first = contents(out)
    assert prepare(source, out, voxel_mm=2) == (records, failures)
    assert contents(out) == first  # nothing was written, not even the same
    placed.clear()
    (out / "Test/tumour/seg/b_seg.nii.gz").unlink()
    save(source.parent / "a_t1.nii.gz", brain(seed=9)[0])
    prepare(source, out, voxel_mm=2)
    assert sorted(placed) == ["a", "b"]
    placed.clear()
    prepare(source, out, voxel_mm=4)  # other settings
    assert len(placed) == 5
    table(source.parent, person(source.parent, "a", contrasts=("t1",)))  # the others and a T2 are gone
    prepare(source, out, voxel_mm=4)
    assert load_scans(out)[["subject", "contrast"]].values.tolist() == [["a", "t1"]]


def test_the_splits_of_the_source_are_kept(tmp_path, source, placed):
    prepare(source, tmp_path / "out")
    found = load_scans(tmp_path / "out").drop_duplicates("subject").set_index("subject").split
    assert found.to_dict() == {"a": "test", "b": "test", "c": "test", "h1": "train", "h2": "val"}


@pytest.mark.parametrize("at", ["t1", "mask", "record"])
def test_a_killed_call_goes_on(tmp_path, source, placed, monkeypatch, at):
    """Killed while a file of `b` is written: `a` is kept, `b` is done again, and nothing half-written is left."""
    out = tmp_path / "out"
    writer = "write_json" if at == "record" else "save_nifti"
    write = getattr(module, writer)

    def killed(path, *arguments):
        if path.name.endswith("b.json" if at == "record" else f"b_{at}.nii.gz"):
            raise KeyboardInterrupt
        write(path, *arguments)

    monkeypatch.setattr(module, writer, killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(source, out)
    assert placed == ["a", "b"]
    assert not (out / "prepare.json").exists()
    monkeypatch.setattr(module, writer, write)
    placed.clear()
    prepare(source, out)
    assert placed == ["b", "c", "h1", "h2"]
    assert (out / "prepare.json").exists()
    assert not [path for path in out.rglob(".*")]


def test_who_fails_is_told_and_left_out_until_repaired(tmp_path, source, placed, capsys):
    folder, out = source.parent, tmp_path / "out"
    whole = (folder / "a_t2.nii.gz").read_bytes()
    (folder / "a_t2.nii.gz").write_bytes(whole[: len(whole) // 2])  # its header is fine
    (folder / "b_seg.nii.gz").unlink()
    save(folder / "c_t1.nii.gz", np.zeros((4, 4, 4, 3), np.float32))
    assert main([str(source), str(out)]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("prepare: 2 of 5 subjects are in study space, 3 failed (see ") and shown.count("\n") == 1
    with open(out / "failed.csv", encoding="utf-8") as stream:
        reasons = {line["subject"]: line["reason"] for line in csv.DictReader(stream)}
    assert list(reasons) == ["a", "b", "c"]
    for name, file, text in (("a", "a_t2", "damaged"), ("b", "b_seg", "is missing"), ("c", "c_t1", "has 4 dimensions")):
        assert f"{file}.nii.gz" in reasons[name] and text in reasons[name] and "\n" not in reasons[name]
    assert set(load_scans(out).subject) == {"h1", "h2"}
    (folder / "a_t2.nii.gz").write_bytes(whole)
    _ = person(folder, "b"), person(folder, "c")
    assert main([str(source), str(out)]) == 0
    assert set(load_scans(out).subject) == {"a", "b", "c", "h1", "h2"}
    assert not (out / "failed.csv").exists()


def test_two_sessions_of_a_person_are_two_scans(tmp_path, placed):
    folder = tmp_path / "in"
    rows = [r for s in "12" for r in person(folder, f"sub-x_ses-{s}", contrasts=("t2",), seed=int(s))]
    prepare(table(folder, rows), tmp_path / "out")
    assert sorted(load_scans(tmp_path / "out").subject) == ["sub-x_ses-1", "sub-x_ses-2"]


@pytest.mark.filterwarnings("ignore:.*without t2")
def test_a_flair_is_written_beside_the_others_or_alone(tmp_path, placed):
    """T1 first, not in alphabetical order: its line of the table counts."""
    rows = [
        (*row, age) for row, age in zip(person(tmp_path / "in", "a", ("flair", "t1", "t2")), (1, 2, 3), strict=True)
    ]
    rows += [(*row, 4) for row in person(tmp_path / "in", "b", ("flair",))]
    with open(tmp_path / "in/scans.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([(*COLUMNS, "age"), *rows])
    records, failures = prepare(tmp_path / "in/scans.csv", tmp_path / "out")
    assert [Path(path).parent.name for path in records[0]["files"][:3]] == ["t1", "t2", "flair"] and not failures
    with pytest.warns(UserWarning, match=r"1 tumour subject\(s\) without t1 are left out there"):
        scans = load_scans(tmp_path / "out")
    assert scans.subject.str.cat(scans.contrast, " ").tolist() == ["a t1", "a t2", "a flair", "b flair"]
    assert scans.age.tolist() == [2, 2, 2, 4]
    assert scans.image[3] == str(tmp_path / "out/Test/tumour/flair/b_flair.nii.gz")


def test_a_brain_mask_in_one_line_of_a_subject(tmp_path):
    folder = tmp_path / "in"
    first, second = person(folder, "a")
    without = (*first[:5], "", *first[6:])
    scans, _ = list_scans(table(folder, [without, (*second[:7], "2")]))
    (job,) = module._jobs(scans, None, 1).values()
    assert job.mask == str(folder / "a_mask.nii.gz") and job.ignore == 2


def test_names_that_are_no_file_names(tmp_path, source, placed):
    text = source.read_text().replace("tumour,a,", "tumour,../a,")
    source.write_text(text)
    _, failures = prepare(source, tmp_path / "out")
    ((_, name, reason),) = failures
    assert name == "../a" and reason.startswith("../a: a name with a slash or a leading dot can't name a file")
    assert not list((tmp_path / "out").rglob("a_t1*"))


def test_folders_that_are_refused(tmp_path, source, placed, capsys):
    scans = tmp_path / "data"
    scans.mkdir()
    (scans / "IXI012-HH-1211-T1.nii.gz").write_bytes((source.parent / "a_t1.nii.gz").read_bytes())
    other = tmp_path / "other"
    prepare(source, other)
    capsys.readouterr()
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("")
    for given, out, text in (
        (scans, scans / "out", "lies in the source"),
        (scans, tmp_path, "or the source in it"),
        (source, source.parent, "holds scans of the source"),
        (source, full, "holds something other"),
        (scans, other, "holds something other"),
        (source, source, "is a file"),
        (tmp_path / "gone", tmp_path / "out", "no such folder or table"),
    ):
        before = contents(tmp_path)
        assert main([str(given), str(out)]) == 2
        message = capsys.readouterr().err
        assert text in message and message.startswith("prepare: ") and message.count("\n") == 1, message
        assert contents(tmp_path) == before


def test_the_page_shows_the_doubtful_first(tmp_path):
    shared = {"dataset": "ms", "picture": "qc/ms/x y.png", "brain_ml": 1400.0, "lesion_ml": 3.0, "lesion_ml_study": 3.6}
    records = [shared | {"subject": "fine", "dice": 0.96, "doubtful": ""}]
    records += [shared | {"subject": "<b>", "dice": 0.71, "doubtful": "overlaps by 0.71 only"}]
    qc.page(tmp_path / "qc.html", "Scans", records, [("ms", "lost", "t1.nii.gz: is missing")])
    text = (tmp_path / "qc.html").read_text()
    assert text.index("is missing") < text.index("&lt;b&gt;") < text.index("fine")
    assert "2 subjects, 1 of them doubtful (first), 1 failed." in text
    assert "<b> " not in text and "src='qc/ms/x%20y.png'" in text


def test_doubts(tmp_path):
    """A brain beside the template's; a lesion that was cut."""
    _, inside = brain()
    big = np.ones((16, 16, 8), np.uint8)  # 16.4 ml
    job = module.Job("ms", "x", {}, "", save(tmp_path / "seg.nii.gz", big), "", None, 2)
    same = {"t1": align.as_transform(np.eye(4))}
    half = big * (np.arange(16) < 8)[:, None, None]
    for seg, dice, doubt in ((big, 0.95, ""), (big, 0.5, "by only 0.50"), (half, 0.95, "16.4 ml, 8.2 ml are left")):
        found = module._placement_record(registration.Placed({}, inside, seg, np.diag([2.0, 2, 2, 1]), same, dice), job)
        assert (doubt in found["doubtful"]) if doubt else not found["doubtful"]


# Processes


def test_a_process_that_dies_costs_its_own_job_only():
    jobs = ["1 + 1", "__import__('os')._exit(3)", "2 + 2", "3 + 3"]
    found = dict(work_off(eval, jobs, 2, died="died"))
    assert found == {"1 + 1": 2, jobs[1]: "died", "2 + 2": 4, "3 + 3": 6}


def test_processes_that_die_between_two_jobs():
    """While the caller has the first result; no other job was running, so none is lost or blamed."""
    jobs, others, found = ["1 + 1", "2 + 2", "3 + 3"], multiprocessing.active_children(), []
    for job, result in work_off(eval, jobs, 1, died="died"):
        for process in set(multiprocessing.active_children()) - set(others) if not found else ():
            process.kill()
            process.join()
            time.sleep(1)  # until the pool knows
        found.append((job, result))
    assert found == [("1 + 1", 2), ("2 + 2", 4), ("3 + 3", 6)]


def test_a_parent_that_is_killed_takes_its_workers():
    script = "from essim.runs.workers import work_off\nif __name__ == '__main__':\n list(work_off(eval, ["
    script += "\"print(__import__('os').getpid(), flush=True) or __import__('time').sleep(60)\"], 1, died=\"\"))"
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert int(parent.stdout.readline())  # the worker is there
    parent.send_signal(signal.SIGKILL)
    parent.communicate(timeout=30)  # ends when nobody holds its output any more, the worker included


def test_what_is_in_study_space_already_is_left_alone(tmp_path):
    (tmp_path / "data/splits").mkdir(parents=True)
    with pytest.raises(ValueError, match="data: is in study space already; use it as it is"):
        prepare(tmp_path / "data", tmp_path / "out")
    assert not (tmp_path / "out").exists()
