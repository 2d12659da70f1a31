"""Doubts about a scored scan: none for a healthy head, and a sentence with a number for each odd one."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scored import THRESHOLD, run

from essim.cohort import mni
from essim.cohort.generate import CohortConfig, grow_subject
from essim.data.looks import look_of, range_of, strangeness
from essim.data.volumes import Scan
from essim.prepare import registration
from essim.score import scan as score
from essim.score.doubts import RULES, doubts, measure
from essim.score.native import measure_finding
from essim.score.regions import PARTS, parts_of

MM, ABOUT = 2, {"threshold": THRESHOLD, "share": 0.01}


@pytest.fixture(scope="module")
def head():
    """A healthy head, 2 mm: {contrast: image in [0, 1], mask: bool}."""
    grown = grow_subject(CohortConfig(seed=5, voxel_mm=MM, contrasts=["t1", "t2", "flair"]), "healthy", 0)
    mask = grown["mask"] > 0
    return {"mask": mask} | {c: _scaled(grown[c], mask) for c in ("t1", "t2", "flair")}


@pytest.fixture(scope="module")
def template():
    return registration.load_template(None, MM)


def _scaled(image, mask):
    low, high = np.percentile(image[mask], (1, 99))
    return (((image - low) / (high - low)).clip(0, 1) * mask).astype(np.float32)


def numbers_of(head, template, contrast="t1", **odd):
    """`measure` of the head, placed where it lies and reconstructed almost exactly; `odd` replaces image, mask, own
    (image and affine of the scan itself), healthy or marked."""
    image, mask = odd.get("image", head[contrast]), odd.get("mask", head["mask"])
    affine = mni.affine_of(MM)
    own, own_affine = odd.get("own", (1000 * image, affine))
    own_brain = mask if own.shape == mask.shape else np.ones(own.shape, bool)
    dice = 2 * (mask & template.brain).sum() / (mask.sum() + template.brain.sum())
    to_scan = {contrast: sitk.AffineTransform(3)}
    placed = registration.Placed({contrast: image}, mask, None, affine, to_scan, float(dice))
    nothing = np.zeros(mask.shape, bool)
    study = Scan(image * mask, mask, nothing, nothing, affine)
    usual = range_of([look_of(head[contrast], head["mask"])])
    recipe = SimpleNamespace(contrast=contrast, residual=0.05, **usual)
    healthy = odd.get("healthy", (study.image - 0.05).clip(0, 1))
    anomaly = np.where(odd.get("marked", nothing), 1, 0).astype(np.float32)
    volumes = {"image": own, "brain": own_brain}
    return measure(volumes, own_affine, placed, template, study, healthy, anomaly, recipe, ABOUT)


def named(numbers):
    return {doubt["name"]: doubt["stops"] for doubt in doubts(numbers)}


@pytest.mark.parametrize("contrast", ["t1", "t2", "flair"])
def test_nothing_speaks_against_a_healthy_head(head, template, contrast):
    numbers = numbers_of(head, template, contrast)
    assert named(numbers) == {} and numbers["looks_like"] == contrast.upper()
    assert {*RULES} <= {*numbers} and numbers["residual"] == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(("shown", "said"), [("t1", "t2"), ("t1", "flair"), ("t2", "t1"), ("flair", "t1")])
def test_the_wrong_contrast(head, template, shown, said):
    numbers = numbers_of(head, template, said, image=head[shown])
    assert named(numbers)["contrast"] and numbers["looks_like"] == shown.upper()
    (doubt,) = (doubt for doubt in doubts(numbers) if doubt["name"] == "contrast")
    assert doubt["means"].endswith(f"look like {shown.upper()}, not like {said.upper()}.") and doubt["number"] < 0


def test_a_head_upside_down(head, template):
    """Turned about the axis from left to right, and not turned back by the registration."""
    turned = {name: volume[:, ::-1, ::-1] for name, volume in head.items()}
    found = named(numbers_of(head, template, image=turned["t1"], mask=turned["mask"]))
    assert {"overlap", "contrast"} <= {*found} and any(found.values())


def test_computed_tomography(head, template):
    own = np.where(head["mask"], 35, -1000).astype(np.float32)
    assert named(numbers_of(head, template, own=(own, mni.affine_of(MM))))["air"]


def test_the_head_of_a_monkey(head, template):
    """A registration with scaling brings it to size; its own voxels give it away."""
    affine = nib.affines.from_matvec(0.42 * np.diag([MM] * 3), [0, 0, 0])
    numbers = numbers_of(head, template, own=(1000 * head["t1"], affine))
    assert named(numbers)["brain_ml"] and 50 < numbers["brain_ml"] < 150
    assert next(doubt for doubt in doubts(numbers) if doubt["name"] == "brain_ml")["usual"] == "900 to 2200"


def test_masks_too_wide_and_too_tight(head, template):
    wide, tight = (change(head["mask"], iterations=8) for change in (ndimage.binary_dilation, ndimage.binary_erosion))
    image = np.where(head["mask"], head["t1"], 0.3).astype(np.float32)
    assert "mask_beyond" in named(numbers_of(head, template, image=image, mask=wide))
    assert named(numbers_of(head, template, mask=tight))["mask_missing"]


def test_a_field_of_view_that_ends_in_the_brain(head, template):
    affine = mni.affine_of(MM)
    own = (1000 * head["t1"][:, :, 24:], affine @ nib.affines.from_matvec(np.eye(3), [0, 0, 24]))
    numbers = numbers_of(head, template, own=own)
    assert 0.05 < numbers["cut"] < 0.5 and "cut" in named(numbers)


def test_thick_slices(head, template):
    affine = nib.affines.from_matvec(np.diag([1, 1, 6.5]), [0, 0, 0])
    found = doubts(numbers_of(head, template, own=(np.ones((200, 200, 30)), affine)))
    (thick,) = (doubt for doubt in found if doubt["name"] == "voxel_mm")
    assert (thick["number"], thick["stops"]) == (6.5, False) and thick["means"].startswith("Voxels are 6.5 mm long")


def test_another_scanner(head, template):
    """Tissues brighter than in any healthy scan, noise, and a reconstruction far away."""
    gamma = head["t1"] ** 0.3
    noisy = (head["t1"] + np.random.default_rng(0).normal(0, 0.2, head["t1"].shape)).clip(0, 1).astype(np.float32)
    assert "tone" in named(numbers_of(head, template, image=gamma))
    assert "texture" in named(numbers_of(head, template, image=noisy * head["mask"]))
    far = (head["t1"] - 0.15).clip(0, 1)
    assert named(numbers_of(head, template, healthy=far)).keys() == {"residual"}


def test_what_is_marked_by_part(head, template):
    parts = parts_of(head["mask"].shape, mni.affine_of(MM))
    left = head["mask"] & (parts == 1 + PARTS.index("left cerebellum"))
    numbers = numbers_of(head, template, marked=left)
    (doubt,) = doubts(numbers)
    assert doubt["name"] == "marked_part" and doubt["stops"] and numbers["by_part"]["left cerebellum"] == 1
    said = "100% of the left cerebellum is marked, 0% on the other side; the threshold promises 1% in healthy brains."
    assert doubt["means"] == said
    assert named(numbers_of(head, template, marked=head["mask"]))["marked"]


def test_another_template_has_no_known_tissues(head, template):
    """What needs them isn't measured and raises no doubt, and findings have no place."""
    own = registration.Template(template.image, template.shape, template.affine, template.brain, standard=False)
    numbers = numbers_of(head, own, "t1", image=head["t2"], marked=head["mask"] & (head["t1"] > 0.9))
    assert numbers["contrast"] is numbers["marked_part"] is None and numbers["by_part"] == {}
    assert "contrast" not in named(numbers) and "tone" in named(numbers) and {*RULES} <= {*numbers}
    volumes = {"segmentation": head["mask"], "brain": head["mask"], "scored": head["mask"], "anomaly": head["t1"]}
    (finding,) = measure_finding(volumes, mni.affine_of(MM), sitk.AffineTransform(3))["findings"]
    assert finding.keys() == {"volume_ml", "voxel", "peak"}


def test_findings_have_a_place(head):
    """Two balls in known places, the stronger first; voxels of the scan, and mm of MNI space."""
    world, score, affine = mni.world_of(MM), np.zeros(head["mask"].shape, np.float32), mni.affine_of(MM)
    for place, height in (((-31, -62, -42), 1.0), ((41, 20, 30), 3.0)):
        away = np.sqrt(((world - np.array(place)[:, None, None, None]) ** 2).sum(0))
        score += height * (away < 5) * (2 - away / 5)
    volumes = dict.fromkeys(("brain", "scored"), head["mask"]) | {"anomaly": score, "segmentation": score > 0}
    volumes["part"] = parts_of(head["mask"].shape, affine)
    found = measure_finding(volumes, affine, sitk.TranslationTransform(3, [2.0, 0, 0]))
    assert [finding["place"] for finding in found["findings"]] == ["right cerebrum", "left cerebellum"]
    first = found["findings"][0]
    np.testing.assert_allclose(affine[:3, :3] @ first["voxel"] + affine[:3, 3], (41, 20, 30))
    assert first["mni_mm"] == [39, 20, 30], "2 mm along LPS are to the left"
    assert first["peak"] == pytest.approx(6) and first["volume_ml"] == pytest.approx(0.65, abs=0.01)
    assert (found["components"], found["volume_ml"]) == (2, pytest.approx(2 * first["volume_ml"], rel=0.1))


def test_the_parts_of_the_brain():
    """Where an atlas has them: MNI coordinates in mm."""
    parts = parts_of(mni.shape_of(2), mni.affine_of(2))
    places = {
        "left cerebrum": [(-40, 20, 30), (-50, -20, -20), (-10, -95, 5), (-12, -20, 8)],
        "right cerebrum": [(40, -60, 40), (30, 30, -15), (20, -70, 0), (35, -45, -10)],
        "left cerebellum": [(-30, -60, -40), (-8, -55, -20)],
        "right cerebellum": [(30, -70, -35), (40, -60, -35)],
        "brain stem": [(2, -30, -30), (4, -40, -55), (4, -25, -15)],
    }
    for name, points in places.items():
        for point in points:
            voxel = np.rint((np.array(point) - mni.affine_of(2)[:3, 3]) / 2).astype(int)
            assert PARTS[parts[tuple(voxel)] - 1] == name, point


def test_how_strange_a_look_is():
    usual = {"tone": [[0.1, 0.5], [0.2, 0.6]], "texture": [[-2.0], [-1.0]]}
    assert strangeness({"tone": [0.15, 0.55], "texture": [-1.5]}, usual) == {"tone": 0, "texture": 0}
    far = strangeness({"tone": [0.05, 0.9], "texture": [-4.0]}, usual)
    assert far == {"tone": pytest.approx(0.3), "texture": pytest.approx(2)}
    flat = look_of(np.ones((9, 9, 2), np.float32), np.ones((9, 9, 2), bool))  # thin as a sheet, and constant
    assert flat["tone"] == [1] * 19 and np.isfinite(flat["texture"]).all()


def test_no_segmentation_of_a_scan_too_unlike(
    scan, model, tmp_path, healer, known_place, no_pictures, monkeypatch, capsys
):
    """Overlap of .41: the map is written, the segmentation only on request, and the reason is given."""
    place = registration.place

    def doubtful(*arguments, **options):
        placed = place(*arguments, **options)
        placed.dice = 0.41
        return placed

    monkeypatch.setattr(registration, "place", doubtful)
    out = tmp_path / "out"
    assert run(scan, model, out, "--force") == 0 and (out / "segmentation.nii.gz").is_file()
    assert run(scan, model, out) == 0
    said = capsys.readouterr().out
    assert "Beware: Brain and template overlap by only 0.41" in said and "no segmentation" in said
    assert not (out / "segmentation.nii.gz").exists() and (out / "anomaly.nii.gz").is_file()
    finding = json.loads((out / "finding.json").read_text("utf-8"))
    assert finding["segmentation_written"] is False and finding["doubts"][0]["stops"]
    assert finding["checks"]["overlap"] == 0.41


@pytest.mark.parametrize("reason", ["", "white matter and CSF don't look like t1"])
def test_a_self_test_stands_in_the_finding_or_why_it_could_not_be_done(
    scan, model, tmp_path, healer, known_place, no_pictures, monkeypatch, capsys, reason
):
    rows = [{"look": "ms", "volume_ml": 1.0, "planted": 8, "found": 7, "recovered": 0.5}]

    def tested(placed, study, anomaly, compare, *_):
        np.testing.assert_array_equal(compare(study)[1], anomaly)
        if reason:
            raise ValueError(f"image: {reason}.")
        return rows

    monkeypatch.setattr(score, "self_test", tested)
    assert run(scan, model, tmp_path / "out", "--self-test") == 0
    finding, said = json.loads((tmp_path / "out/finding.json").read_text("utf-8")), capsys.readouterr().out
    if reason:
        assert "self_test" not in finding and f"could not be done: image: {reason}." in said
    else:
        assert finding["self_test"] == rows and "Self-test, planted and found: MS-like lesions, 7 of 8 (1 ml)." in said
    assert finding["provenance"]["parameters"]["self_test"] is True


def test_the_table_of_the_documentation():
    text = (Path(__file__).parents[2] / "docs/own-scan.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]* \| [^|]*) \|$", text, re.MULTILINE))

    def ends(low, high):
        return f"{low:g} or more" if high == np.inf else f"{low:g} to {high:g}"

    assert rows == {name: f"{ends(*rule.usual)} | {ends(*rule.bearable)}" for name, rule in RULES.items()}
