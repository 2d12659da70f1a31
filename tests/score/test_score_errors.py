"""Whatever is wrong with a scan, a mask, a model or a folder is said in one sentence, and nothing is written."""

import json

import nibabel as nib
import numpy as np
import pytest
from helpers import save
from scored import run

from essim import calibration
from essim.prepare import strip
from essim.score import recipe
from essim.score import scan as score
from essim.score.__main__ import main


def spoil(path, key=None, **changes):
    """Change or drop entries of a JSON file."""
    content = json.loads(path.read_text("utf-8")) | changes
    content.pop(key, None)
    path.write_text(json.dumps(content))


def case_missing(words, folder):
    words["scan"] = folder / "gone.nii.gz"
    return "no such file; check the path of the scan"


def case_folder(words, folder):
    words["scan"] = folder
    return "is a folder without DICOM files; give one NIfTI file"


def case_text(words, folder):
    words["scan"] = folder / "text.nii.gz"
    words["scan"].write_text("this is no scan\n" * 40)
    return "cannot be read as NIfTI"


def case_truncated(words, folder):
    content = words["scan"].read_bytes()
    words["scan"] = folder / "half.nii.gz"
    words["scan"].write_bytes(content[: len(content) // 2])
    return "it is damaged, or in another format"


def case_series(words, folder):
    words["scan"] = folder / "series.nii.gz"
    save(words["scan"], np.ones((8, 8, 8, 3), np.int16))
    return "has 4 dimensions"


def case_not_finite(words, folder):
    image = nib.load(words["scan"])
    data = np.where(nib.load(words["--mask"]).get_fdata() > 0, np.nan, image.get_fdata())
    words["scan"] = folder / "nan.nii.gz"
    save(words["scan"], data.astype(np.float32), image.affine)
    return "has NaN or infinite voxels in"


def case_mask_of_another_head(words, folder):
    words["--mask"] = folder / "mask.nii.gz"
    far = np.diag([2.0, 2, 2, 1])
    far[:3, 3] = 900
    save(words["--mask"], np.ones((8, 8, 8), np.uint8), far)
    return "give the mask of this scan"


def case_empty_mask(words, folder):
    image = nib.load(words["scan"])
    words["--mask"] = folder / "empty.nii.gz"
    save(words["--mask"], np.zeros(image.shape, np.uint8), image.affine)
    return "the brain mask is empty"


def case_missing_mask(words, folder):
    words["--mask"] = folder / "gone.nii.gz"
    return "no such file"


def case_no_mask(words, folder):
    del words["--mask"]
    return "has no brain mask and no skull stripper for t1 is installed"


def case_missing_model(words, folder):
    words["--model"] = folder / "nowhere"
    return "train the model first"


def case_no_scoring(words, folder):
    (words["--model"] / "scoring.json").unlink()
    return "it holds the thresholds, and notebook 03_healthy"


def case_damaged_scoring(words, folder):
    (words["--model"] / "scoring.json").write_text("{")
    return "cannot be read as JSON"


def case_old_scoring(words, folder):
    spoil(words["--model"] / "scoring.json", thresholds={"0.01": 0.3})
    return "lacks thresholds of adaptive, calibrated; run notebook 03_healthy"


def case_thresholds_that_are_a_number(words, folder):
    spoil(words["--model"] / "scoring.json", thresholds=0.3)
    return "lacks thresholds of adaptive, calibrated; run notebook 03_healthy"


def case_settings_of_another_type(words, folder):
    spoil(words["--model"] / "scoring.json", draws="many", t="half")
    return "`t` in config.json or scoring.json is wrong"


def case_no_calibration(words, folder):
    words["--strategy"] = "calibrated"
    (words["--model"] / calibration.FILE).unlink()
    return "no such file; notebook 03_healthy writes it"


def case_old_model(words, folder):
    spoil(words["--model"] / "config.json", "voxel_mm")
    return "lacks voxel_mm: it is of another version; train the model first"


def case_damaged_weights(words, folder):
    (words["--model"] / "weights.safetensors").write_bytes(b"1234567890")
    return "or is damaged"


def case_other_contrast(words, folder):
    words["--contrast"] = "t2"
    return "was trained on t1 scans and can't score t2"


def case_named_as_another_contrast(words, folder):
    words["scan"] = folder / "sub-01_FLAIR.nii.gz"
    words["scan"].touch()
    return f"trained on t1 scans and can't score flair; take another model, or correct the contrast of {words['scan']}"


def case_no_model_for_its_contrast(words, folder):
    del words["--model"]
    words["--contrast"] = "flair"
    return "no model for flair comes with essim (none at all); name a --model, trained on healthy flair scans."


def case_neither_model_nor_contrast(words, folder):
    del words["--model"]
    return "scan.nii.gz: its name doesn't give its contrast; give it as --contrast t1, t2 or flair"


def case_neither_scan_nor_contrast(words, folder):
    del words["--model"]
    words["scan"] = folder / "nothing.nii.gz"
    return "nothing.nii.gz: no such file or folder; correct the path."


def case_unknown_share(words, folder):
    words["--share"] = 0.2
    return "has no threshold for share 0.2, only for 0.01"


def case_missing_template(words, folder):
    words["--template"] = folder / "sri24.nii.gz"
    return "no such file"


def case_out_is_a_file(words, folder):
    words["--out"] = folder / "file"
    words["--out"].write_text("mine")
    return "is a file, not a folder"


def case_out_below_a_file(words, folder):
    (folder / "file").write_text("mine")
    words["--out"] = folder / "file/out"
    return "is a file, not a folder"


def case_out_of_others(words, folder):
    words["--out"] = folder / "theirs"
    words["--out"].mkdir()
    (words["--out"] / "finding.json").write_text("{}")
    (words["--out"] / "thesis.txt").write_text("mine")
    return "holds files that are not an earlier result of score"


CASES = [value for name, value in sorted(globals().items()) if name.startswith("case_")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=[case.__name__.removeprefix("case_") for case in CASES])
def test_one_sentence(case, scan, copied, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(strip, "STRIPPERS", {})
    monkeypatch.setattr(recipe, "pretrained", dict)  # no models
    (tmp_path / "in").mkdir()
    words = {"scan": scan / "scan.nii.gz", "--mask": scan / "mask.nii.gz", "--model": copied, "--out": tmp_path / "out"}
    expected = case(words, tmp_path / "in")
    before = sorted(path for path in tmp_path.rglob("*"))
    options = [str(part) for name, value in words.items() if name != "scan" for part in (name, value)]
    assert main([str(words["scan"]), *options]) == 1
    said = capsys.readouterr()
    assert expected in said.err and not said.out
    sentence = said.err.splitlines()[-1]
    assert sentence.endswith(".") and "Traceback" not in said.err
    assert sorted(path for path in tmp_path.rglob("*")) == before, "nothing is written, nothing is lost"


@pytest.mark.parametrize("value", [-1, 0, "nan"])
def test_thresholds_that_are_none(value, model, scan, tmp_path, capsys):
    assert run(scan, model, tmp_path / "out", "--threshold", value) == 1
    assert "threshold must be a number above 0" in capsys.readouterr().err


def test_a_read_only_place(scan, model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(score.os, "access", lambda path, mode: False)  # root may write everywhere
    assert run(scan, model, tmp_path / "results/out") == 1
    assert f"{tmp_path} is read-only; give another folder." in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_walk_names_the_scan(scan, model, tmp_path, known_place, capsys):
    """Not a temporary file of its own."""
    mask = nib.load(scan / "mask.nii.gz")
    flat = tmp_path / "flat.nii.gz"
    save(flat, np.full(mask.shape, 7.0, np.float32), mask.affine)
    options = ["--mask", str(scan / "mask.nii.gz"), "--model", str(model), "--out", str(tmp_path / "out")]
    assert main([str(flat), *options]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"{flat}: is constant")
    assert list(tmp_path.iterdir()) == [flat]
