"""The contrast in a scan's name, and where its results go by default."""

import json

import pytest
from scored import run

from essim.score.__main__ import main
from essim.score.recipe import contrast_in, name_of


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        *(
            ("T1.nii.gz", "t1"),
            ("anna-T2w.mgz", "t2"),
            ("ben_t2_FLAIR.nii", "flair"),
            ("IXI012-HH-1211-T1.nii.gz", "t1"),
        ),
        *(
            ("sub-01_T1w.nii.gz", "t1"),
            ("sub-01_t1.nii.gz", "t1"),
            ("sub-01_desc-lesionfilled_T1w.nii.gz", None),
            ("t1_to_t2.nii.gz", None),
        ),
        *(
            ("t1_gd.nii.gz", None),
            ("t1ce.nii.gz", None),
            ("scan.nii.gz", None),
            ("dwi_t2.nii.gz", None),
            ("t10.nii", None),
        ),
    ],
)
def test_the_contrast_in_a_name(name, contrast, tmp_path):
    assert contrast_in(tmp_path / name) == contrast


@pytest.mark.parametrize("name", ["a.b.nii.gz", "a.b.mgz", "a.b.IMG", "a.b/"])
def test_the_name_of_a_scan(name):
    assert name_of(name) == "a.b"


def test_results_go_to_the_working_folder(scan, model, tmp_path, monkeypatch, healer, known_place, no_pictures, capsys):
    """Named after the scan; another scan of that name doesn't lose its result."""
    monkeypatch.chdir(tmp_path)
    words = ["--mask", str(scan / "mask.nii.gz"), "--model", str(model)]
    for _ in range(2):
        assert main([str(scan / "scan.nii.gz"), *words]) == 0
    said = capsys.readouterr().out
    assert "taken for t1, as the model says" in said and "essim_scan: open viewer.html" in said
    assert (tmp_path / "essim_scan/finding.json").is_file()
    (tmp_path / "scan.nii.gz").write_bytes((scan / "scan.nii.gz").read_bytes())
    assert main(["scan.nii.gz", *words]) == 1
    assert "name another folder with --out" in capsys.readouterr().err


def test_what_a_model_promises_is_said(scan, copied, tmp_path, healer, known_place, no_pictures):
    scoring = json.loads((copied / "scoring.json").read_text())
    (copied / "scoring.json").write_text(json.dumps(scoring | {"promise": "From 9 scans."}))
    for name, options, promise in (("a", (), "From 9 scans."), ("b", ("--threshold", "1"), None)):
        assert run(scan, copied, tmp_path / name, *options) == 0
        assert json.loads((tmp_path / name / "finding.json").read_text("utf-8")).get("promise") == promise
