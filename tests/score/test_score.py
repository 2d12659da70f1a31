"""Your own scan: the map lies where the lesion is, on the scan's own grid, and is written completely or not at all."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import nbclient
import nbformat
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scored import THRESHOLD, TILT, read, run, unpacked

from essim import calibration
from essim.cohort import mni
from essim.data import volumes
from essim.prepare import align
from essim.score import native, page, viewer
from essim.score import scan as score
from essim.score.__main__ import main
from workflow.run_notebook import Kernel

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted({*score.FILES, score.SEGMENTATION})


def centre_mm(folder, name):
    image = nib.load(folder / f"{name}.nii.gz")
    return nib.affines.apply_affine(image.affine, np.argwhere(np.asarray(image.dataobj) > 0).mean(0))


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def check_pictures(out):
    """The page has three volumes in it; the overview is a picture."""
    facts, volumes = unpacked((out / "viewer.html").read_text("utf-8"))
    assert facts["names"] == ["image", "reconstruction", "anomaly"] and volumes.std((1, 2, 3)).all()
    shown = plt.imread(out / "overview.png")
    assert min(shown.shape[:2]) > 800 and shown[..., :3].std() > 0.1


# Where things lie


def test_the_map_lies_where_the_lesion_is(scan, model, tmp_path, healer, capsys):
    """The whole way, including the registration."""
    out = tmp_path / "où ça"
    assert run(scan, model, out) == 0
    lesion, found = read(scan, "seg") > 0, read(out, "segmentation") > 0
    assert dice(found, lesion) > 0.75
    assert np.linalg.norm(centre_mm(out, "segmentation") - centre_mm(scan, "seg")) < 3, "mm"
    anomaly, brain = read(out, "anomaly"), read(scan, "mask") > 0
    assert anomaly[lesion].mean() > 10 * anomaly[brain & ~lesion].mean()
    result = json.loads((out / "finding.json").read_text("utf-8"))
    assert result["checks"]["overlap"] > 0.9 and result["brain_mask"] == str(scan / "mask.nii.gz")
    assert result["brain_ml"] == pytest.approx(brain.sum() * 0.045, rel=0.03)
    assert 0.5 * result["brain_ml"] < result["scored_ml"] < result["brain_ml"]
    said = capsys.readouterr().out
    check_pictures(out)
    assert f"{result['volume_ml']:.1f} ml" in said and "Not for diagnosis." in said
    assert said.count("Beware") == 1 and "Voxels are 5.0 mm long" in said


def test_the_files(scan, model, tmp_path, healer, known_place, no_pictures):
    assert run(scan, model, tmp_path / "out") == 0
    out, original = tmp_path / "out", nib.load(scan / "scan.nii.gz")
    assert sorted(path.name for path in out.iterdir()) == NAMES
    assert list(tmp_path.iterdir()) == [out], "nothing is left behind"
    kinds = {"anomaly": np.float32, "segmentation": np.uint8, "reconstruction": np.float32}
    for name, kind in kinds.items():
        image = nib.load(out / f"{name}.nii.gz")
        assert image.get_data_dtype() == kind and image.shape == original.shape
        np.testing.assert_array_equal(image.affine, original.affine)
        np.testing.assert_array_equal(image.get_qform(), original.get_qform())
        assert (image.header["sform_code"], image.header["qform_code"]) == (2, 1)
    lesion, values = read(scan, "seg") > 0, read(scan, "scan")
    healthy, found, anomaly = (read(out, name) for name in ("reconstruction", "segmentation", "anomaly"))
    assert dice(found > 0, lesion) > 0.7
    specks = (anomaly > THRESHOLD) & (found == 0)
    assert (anomaly[found > 0] > THRESHOLD).all() and specks.sum() < 8 * 64 / 45 * 40
    assert healthy[lesion].mean() < 0.6 * values[lesion].mean(), "the lesion is gone"
    elsewhere = (read(scan, "mask") > 0) & ~lesion & (healthy > 0)
    assert np.corrcoef(healthy[elsewhere], values[elsewhere])[0, 1] > 0.9, "the rest, in the scan's intensities"
    assert 0.9 < np.median(healthy[elsewhere] / values[elsewhere]) < 1.1
    result = json.loads((out / "finding.json").read_text("utf-8"))
    assert result["volume_ml"] == pytest.approx(found.sum() * 0.045, abs=1e-3)
    assert result["components"] == 1 and result["largest_ml"] == result["volume_ml"]
    assert (result["threshold"], result["share"], result["contrast"]) == (THRESHOLD, 0.01, "t1")
    assert result["max_score"] == pytest.approx(anomaly.max())
    inputs = result["provenance"]["inputs"]
    assert {str(scan / "scan.nii.gz"), str(scan / "mask.nii.gz"), str(model / "weights.safetensors")} <= set(inputs)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "LAS", "SLA"])
def test_back_to_any_orientation(tmp_path, axes):
    """A ball in study space comes to its place in the world, however the scan is stored; left-handed ones too."""
    there = np.array([12.0, -31, 18])
    ball = np.exp(-np.sum((mni.world_of(4) - there[:, None, None, None]) ** 2, 0) / 200).astype(np.float32)
    stored = nib.Nifti1Image(
        np.zeros((60, 70, 40), np.int16),
        TILT @ np.array([[3.0, 0, 0, -90], [0, 3, 0, -120], [0, 0, 5, -90], [0, 0, 0, 1]]),
    )
    ornt = nib.orientations.ornt_transform(nib.io_orientation(stored.affine), nib.orientations.axcodes2ornt(axes))
    nib.save(stored.as_reoriented(ornt), tmp_path / "scan.nii")
    source = nib.load(tmp_path / "scan.nii")
    assert "".join(nib.aff2axcodes(source.affine)) == axes
    matrix = align.LPS @ TILT @ align.LPS
    to_scan = sitk.AffineTransform(matrix[:3, :3].ravel().tolist(), matrix[:3, 3].tolist())
    back = native.Back(*volumes.read_nifti(tmp_path / "scan.nii"), to_scan)
    native.save_like(tmp_path / "ball.nii.gz", back.bring(ball, mni.affine_of(4)), source)
    image = nib.load(tmp_path / "ball.nii.gz")
    assert image.shape == source.shape
    np.testing.assert_array_equal(image.affine, source.affine)
    data = image.get_fdata()
    weights = data / data.sum()
    mean = [np.sum(weights * axis) for axis in np.indices(data.shape)]
    found, expected = nib.affines.apply_affine(image.affine, mean), nib.affines.apply_affine(TILT, there)
    np.testing.assert_allclose(found, expected, atol=0.3)


def test_headers_are_the_files_own(tmp_path):
    """Of an int16 scan with slope, display window and a 4th axis, the maps keep the geometry only."""
    affine = np.diag([-2.0, 2, 3, 1])
    source = nib.Nifti1Image(np.ones((4, 5, 6, 1), np.int16), affine)
    source.header.set_slope_inter(0.01, 5)
    source.header["cal_max"], source.header["descrip"] = 4000, b"somebody"
    source.set_qform(affine, code=1)
    source.set_sform(None, code=0)
    nib.save(source, tmp_path / "scan.nii.gz")
    array = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    native.save_like(tmp_path / "map.nii.gz", array, nib.load(tmp_path / "scan.nii.gz"))
    image = nib.load(tmp_path / "map.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), array[::-1])
    np.testing.assert_allclose(image.affine, affine)
    assert (image.header["cal_max"], bytes(image.header["descrip"]).strip(b"\0")) == (0, b"")
    assert (image.header["qform_code"], image.header["sform_code"]) == (1, 0)


def test_specks_are_told_by_their_volume():
    binary = np.zeros((20, 20, 20), bool)
    binary[2, 2, 2:9], binary[10:14, 10, 10:12] = True, True  # 7 and 8 voxels
    one, two = np.eye(4), np.diag([2.0, 2, 2, 1])
    assert native.without_specks(binary, two, two).sum() == 8, "as in the study, where the grids are the same"
    assert not native.without_specks(binary, one, two).any(), "8 mm3 are less than 64"
    assert native.without_specks(binary, two, one).sum() == 15


def test_the_notebook_runs(model, tmp_path, monkeypatch):
    """On the patient that it grows; it asserts itself that the map lies over the scan, and nothing is kept."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    notebook = nbformat.read(ROOT / "notebooks/walkthrough/your_own_scan.ipynb", 4)
    parameters, *cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert parameters.source.count('model = "models/anatomies_t2"') == 1
    given = {"models/anatomies_t2": str(model), 'scan = ""': 'scan = "grown"'}
    for own, other in given.items():
        parameters.source = parameters.source.replace(own, other)
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=120, resources=where, kernel_manager_class=Kernel).execute()
    shown = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in shown), "the overview"
    assert any("id=&quot;voxels&quot;" in output.get("data", {}).get("text/html", "") for output in shown), "the page"
    assert any("recall" in output.get("text", "") for output in shown), "the truth"
    assert not list(tmp_path.iterdir())


# What can be chosen


def test_the_threshold_is_the_models_or_ones_own(scan, model, tmp_path, healer, known_place, no_pictures, capsys):
    found = {}
    for name, options in {"1%": (), "5%": ("--share", "0.05"), "own": ("--threshold", "5")}.items():
        assert run(scan, model, tmp_path / name, *options) == 0
        found[name] = json.loads((tmp_path / name / "finding.json").read_text("utf-8"))
    assert [f["threshold"] for f in found.values()] == [THRESHOLD, 0.1, 5]
    assert [f["share"] for f in found.values()] == [0.01, 0.05, None]
    assert found["5%"]["volume_ml"] > found["1%"]["volume_ml"] > 0 == found["own"]["volume_ml"]
    assert not read(tmp_path / "own", "segmentation").any()
    assert capsys.readouterr().out.count("nothing above the threshold of 5.") == 1


def test_calibrated_on_healthy_scans(scan, model, tmp_path, healer, known_place, no_pictures):
    """The other strategy has a threshold, a map and an input of its own, and still finds the lesion."""
    out = tmp_path / "out"
    assert run(scan, model, out, "--strategy", "calibrated") == 0
    result = json.loads((out / "finding.json").read_text("utf-8"))
    assert (result["strategy"], result["threshold"]) == ("calibrated", 2)
    assert str(model / calibration.FILE) in result["provenance"]["inputs"]
    assert dice(read(out, "segmentation") > 0, read(scan, "seg") > 0) > 0.7
    assert read(out, "anomaly").max() > 3, "in standard deviations; 1 - SSIM ends at 2"


def test_the_same_scan_gives_the_same_map(scan, model, tmp_path, known_place, no_pictures):
    """With a real network and its noise."""
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        score.score_scan(
            scan / "scan.nii.gz", model, tmp_path / name, mask=scan / "mask.nii.gz", seed=seed, strategy="adaptive"
        )
    a, b, c = (read(tmp_path / name, "anomaly") for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_cut_through_the_strongest_finding():
    anomaly, segmentation = np.zeros((9, 9, 9), np.float32), np.zeros((9, 9, 9), bool)
    anomaly[1, 1, 1] = 5
    np.testing.assert_array_equal(viewer.strongest(anomaly, segmentation), [1, 1, 1])
    anomaly[4:7, 5, 6:8] = 2  # weaker, but larger
    anomaly[5, 5, 5] = 2
    segmentation[anomaly > 1] = True
    np.testing.assert_array_equal(viewer.strongest(anomaly, segmentation), [5, 5, 6])


# What is there already


def test_only_an_earlier_result_is_replaced(scan, model, tmp_path, healer, known_place, no_pictures, capsys):
    out = tmp_path / "out"
    assert run(scan, model, out, "--threshold", "5") == 0
    assert run(scan, model, out) == 0
    assert json.loads((out / "finding.json").read_text("utf-8"))["threshold"] == THRESHOLD
    capsys.readouterr()
    words = [out / "anomaly.nii.gz", "--mask", "nonzero", "--model", model, "--out", out]
    assert main([str(word) for word in words]) == 1, "a result is no scan to be replaced by its own score"
    assert "which would be replaced" in capsys.readouterr().err
    (out / "notes.txt").write_text("mine")
    capsys.readouterr()
    assert run(scan, model, out) == 1
    assert "not an earlier result of score" in capsys.readouterr().err
    assert (out / "notes.txt").read_text() == "mine"


def test_whole_or_not_at_all(scan, model, tmp_path, healer, known_place, no_pictures, monkeypatch):
    out = tmp_path / "out"
    assert run(scan, model, out, "--threshold", "5") == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(page, "write_page", stop)  # nearly done
    with pytest.raises(KeyboardInterrupt):
        run(scan, model, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert list(tmp_path.iterdir()) == [out]
