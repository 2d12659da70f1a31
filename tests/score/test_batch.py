"""A table of scans: a folder each, a page and a table over all; finished scans stay; bad ones don't stop the others."""

import json
import re
import shutil

import nibabel as nib
import pandas as pd
import pytest

from essim.score import batch
from essim.score.__main__ import main


@pytest.fixture
def here(monkeypatch):
    """Workers that are no processes of their own: they would not know of the network in place of a trained one."""
    monkeypatch.setattr(batch, "work_off", lambda function, jobs, *_, **__: ((job, function(job)) for job in jobs))


@pytest.fixture
def table(scan, copied, tmp_path):
    """The same scan in the folders of two people, and one that doesn't exist."""
    for name in ("anna", "ben"):
        (tmp_path / name).mkdir()
        for file in ("scan.nii.gz", "mask.nii.gz"):
            shutil.copy(scan / file, tmp_path / name / file)
    lines = [
        "scan;mask;contrast;notes",
        "anna/scan.nii.gz;anna/mask.nii.gz;T1;tall",
        "ben/scan.nii.gz;ben/mask.nii.gz;;",
    ]
    path = tmp_path / "scans.csv"
    path.write_text("\n".join([*lines, "gone.nii.gz;nonzero;;"]))
    return path


def call(table, out, model, *options):
    words = ["--table", table, "--out", out, "--model", model, "--strategy", "adaptive", *options]
    return main([str(word) for word in words])


def times(out):
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("*/finding.json")}


@pytest.mark.filterwarnings("ignore")
def test_many_scans(table, copied, tmp_path, here, healer, known_place, no_pictures, capsys):
    out = tmp_path / "out"
    assert call(table, out, copied) == 1, "one is missing"
    said = capsys.readouterr()
    assert (
        "gone.nii.gz: no such file; check the path of the scan." in said.err and "2 of 3 scans are scored" in said.out
    )
    assert sorted(path.name for path in out.iterdir()) == [
        *("anna_scan", "ben_scan", "findings.csv", "findings.csv.json", "index.html")
    ]
    found = pd.read_csv(out / "findings.csv", keep_default_na=False)
    assert [*found.name] == ["anna_scan", "ben_scan", "gone"]
    finding = json.loads((out / "ben_scan/finding.json").read_text("utf-8"))
    assert float(found.volume_ml[1]) == finding["volume_ml"] > 0 and found.contrast[1] == "t1"
    assert (
        found.error[2].endswith("check the path of the scan.") and not any(found.error[:2]) and not found.volume_ml[2]
    )
    page = (out / "index.html").read_text("utf-8")
    links = re.findall(r"(?:href|src)='([^']+)'", page)
    assert len(links) == 6 and all((out / link).is_file() for link in links)
    assert "2 of 3 scans are scored, 2 of them with doubts (first)" in page and page.index("gone") < page.index(
        "anna_scan"
    )

    before = times(out)
    assert call(table, out, copied) == 1
    assert times(out) == before, "nothing is scored again"
    table.write_text(table.read_text().replace("gone.nii.gz;nonzero;;", ""))
    image = nib.load(tmp_path / "ben/scan.nii.gz")
    nib.save(nib.Nifti1Image(image.get_fdata() + 1, image.affine), tmp_path / "ben/scan.nii.gz")
    assert call(table, out, copied) == 0
    after = times(out)
    assert after["anna_scan"] == before["anna_scan"] and after["ben_scan"] > before["ben_scan"], "another file"
    assert "gone" not in (out / "index.html").read_text("utf-8")
    assert call(table, out, copied, "--threshold", "0.2") == 0
    assert all(times(out)[name] > after[name] for name in after), "another setting"
    (out / "anna_scan/overview.png").unlink()
    assert call(table, out, copied, "--threshold", "0.2") == 0
    assert (out / "anna_scan/overview.png").is_file()


def test_stopped_and_gone_on(table, copied, tmp_path, healer, known_place, no_pictures, monkeypatch, capsys):
    """What was scored before Ctrl-C stays, and the page says what wasn't."""

    def stopped(function, jobs, *_, **__):
        yield jobs[0], function(jobs[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "work_off", stopped)
    assert call(table, tmp_path / "out", copied) == 130
    assert "run the same command again to continue" in capsys.readouterr().err
    assert (tmp_path / "out/index.html").read_text("utf-8").count(batch.WAITING) == 2
    assert list(times(tmp_path / "out")) == ["anna_scan"]


@pytest.mark.filterwarnings("ignore")
def test_in_processes_of_their_own(table, copied, tmp_path, capsys):
    """Real workers, on scans that fail at once."""
    table.write_text("scan,mask,model\na.nii.gz,nonzero,nowhere\nb.nii.gz,nonzero,\n")
    assert call(table, tmp_path / "out", copied) == 1
    said = capsys.readouterr().err
    assert f"a: {tmp_path / 'nowhere/config.json'}: no such file" in said
    assert "b: " in said and "b.nii.gz: no such file" in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("image,mask\na.nii,b.nii\n", "it lists no scans in a column `scan`"),
        ("scan,mask\n", "it lists no scans in a column `scan`"),
        ("scan,mask\n,b.nii\n", "scan 1 has no path in the column `scan`"),
        ("scan,mask\na.nii,b.nii,c,d\n", "line 2 has too many cells"),
        ("scan,mask\na.nii,\n./a.nii,\n", "a.nii more than once"),
    ],
)
def test_tables_that_are_none(text, sentence, tmp_path, copied, capsys):
    (tmp_path / "scans.csv").write_text(text)
    assert call(tmp_path / "scans.csv", tmp_path / "out", copied) == 1
    assert sentence in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_folder_of_others_is_left_alone(table, copied, tmp_path, capsys):
    assert call(table, tmp_path / "anna", copied) == 1
    assert "holds something other than the results of a table" in capsys.readouterr().err
    assert call(tmp_path / "nowhere.csv", tmp_path / "out", copied) == 1
    assert "no such file; give a table" in capsys.readouterr().err
