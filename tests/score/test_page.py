"""The page of a scan: every voxel where it belongs, every number shown, nothing loaded, nothing unescaped."""

import json
import re

import nibabel as nib
import numpy as np
import pytest
from fragments import loads
from pages import Page, browse
from scored import TILT, unpacked

from essim.score import page

AFFINE = TILT @ nib.affines.from_matvec(np.diag([2.5, 2, 4]), [-80, -90, -70])
LEFT_FRONT_TOP = np.array([-35.0, 30, 20])  # mm: left, in front and above the middle
THRESHOLD, PEAK = 2.0, 5.0
EVIL = "<script>alert('&')</script>{{voxels}}"
DOUBT = {
    "name": "overlap",
    "number": 0.41,
    "usual": "0.8 to 0.95",
    "means": "It may be misplaced.",
    "do": "Look at it.",
}
FINDING = {
    "threshold": THRESHOLD,
    "contrast": "flair",
    "strategy": "calibrated",
    "share": 0.01,
    "volume_ml": 4.2,
    "brain_mask": "the user",
    "doubts": [DOUBT | {"stops": False}, DOUBT | {"name": "stopping one", "stops": True}],
    "self_test": [{"look": "ms", "volume_ml": 0.3, "planted": 8, "found": 5, "recovered": 0.43}],
    "segmentation_written": False,
}
SAMPLE = """<script>const wait = setInterval(() => { // where is the map yellow? and then a key
  if (!find("here").textContent.endsWith("mm")) return
  clearInterval(wait)
  const spots = {}
  for (const canvas of document.querySelectorAll("canvas[data-name=anomaly]")) {
    const { width, height } = canvas, data = canvas.getContext("2d").getImageData(0, 0, width, height).data
    let [x, y, all] = [0, 0, 0]
    for (let k = 0; k < width * height; k++) if (data[4 * k] > data[4 * k + 2] + 30) {
      x += k % width
      y += Math.floor(k / width)
      all++
    }
    spots[canvas.dataset.plane] = [x / all / width, y / all / height]
  }
  document.querySelector("canvas[data-plane=coronal]").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }))
  draw()
  const seen = document.body.appendChild(document.createElement("pre"))
  seen.id = "seen"
  seen.textContent = JSON.stringify([spots, find("here").textContent, find("level").textContent])
}, 100)</script>"""


@pytest.fixture(scope="module")
def head():
    """An oblique head of 2.5 x 2 x 4 mm voxels: its image rises to the right, twice as much to the front, four times
    upwards; its map is a ball of 14 mm, left, in front and above, in which one voxel is the peak."""
    shape = (64, 90, 35)
    mm = np.moveaxis(nib.affines.apply_affine(AFFINE, np.moveaxis(np.indices(shape), 0, -1)), -1, 0)
    brain = (mm**2).sum(0) < 60**2
    ball = ((mm - LEFT_FRONT_TOP[:, None, None, None]) ** 2).sum(0) < 14**2
    image = (mm[0] + 2 * mm[1] + 4 * mm[2] + 1000).astype(np.float32)
    volumes = {"image": image, "reconstruction": image - 60, "anomaly": np.where(ball, 3.5, 0.5).astype(np.float32)}
    volumes |= {"brain": brain, "scored": brain & (mm[2] > -30)}
    volumes["anomaly"][~volumes["scored"]] = 0
    voxel = np.linalg.solve(AFFINE, [*LEFT_FRONT_TOP, 1])[:3].round().astype(int)
    volumes["anomaly"][tuple(voxel)] = PEAK
    place = {"volume_ml": 4.2, "place": EVIL, "mni_mm": [-35, 30, 20.4], "peak": PEAK, "voxel": voxel.tolist()}
    return volumes, FINDING | {"findings": [place]}


@pytest.fixture(scope="module")
def written(head, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "viewer.html"
    volumes, finding = head
    page.write_page(path, volumes, AFFINE, finding, f"{EVIL}.nii.gz")
    return path


def test_every_voxel_lies_where_it_is_in_the_scanner(head, written):
    """The image's intensities encode where it is: left for right, or any other turn, would change them."""
    facts, (image, reconstruction, anomaly) = unpacked(written.read_text("utf-8"))
    x, y, z = np.moveaxis(facts["low_mm"] + facts["voxel_mm"] * np.moveaxis(np.indices(image.shape), 0, -1), -1, 0)
    low, high = np.percentile(head[0]["image"][head[0]["brain"]], (0.5, 99.5))
    inside = (x**2 + y**2 + z**2 < 50**2) & (image > 0) & (image < 255)
    assert inside.sum() > 50_000
    ramp = x + 2 * y + 4 * z + 1000
    step, darker = (high - low) / 255, inside & (reconstruction > 0)
    assert np.abs(low + step * image - ramp)[inside].max() < 0.51 * step
    assert np.abs(low + step * reconstruction - (ramp - 60))[darker].max() < 0.51 * step
    assert (anomaly[(z < -33) | (x**2 + y**2 + z**2 > 64**2)] == 0).all(), "not scored"
    assert (anomaly[(x**2 + y**2 + z**2 < 55**2) & (z > -26)] > 0).all()


def test_scores_and_volumes_are_the_scans(head, written):
    facts, (*_, anomaly) = unpacked(written.read_text("utf-8"))
    scores = facts["highest"] * ((np.maximum(anomaly, 1) - 1.0) / 254) ** 2
    assert facts["highest"] == PEAK and facts["threshold"] == THRESHOLD
    ml = (head[0]["anomaly"] > THRESHOLD).sum() * abs(np.linalg.det(AFFINE[:3, :3])) / 1000
    assert (scores > THRESHOLD).sum() * facts["voxel_mm"] ** 3 / 1000 == pytest.approx(ml, rel=0.08)
    marked = np.argwhere(scores > THRESHOLD).mean(0)
    at_mm = np.array(facts["low_mm"]) + facts["voxel_mm"] * np.array([marked, facts["start"]])
    np.testing.assert_allclose(at_mm, [LEFT_FRONT_TOP] * 2, atol=2.5)
    assert f"data-at='{json.dumps(facts['start'])}'" in written.read_text("utf-8"), "the finding's button leads there"


def test_everything_is_said_escaped_and_nothing_loaded(written):
    html = written.read_text("utf-8")
    assert not loads(html) and html.count("<script") == 3 and "alert('" not in html and "http" not in html
    said = " ".join(Page(html).text.split())
    assert said.count(EVIL) == 3, "title, heading, place"  # as text, and its braces are left alone
    for words in (
        *("FLAIR", "calibrated map", "threshold 2", "exceeded by 1% of the voxels of healthy brains"),
        *("4.2 ml found", "brain mask: the user", "Not for diagnosis.", "It may be misplaced."),
        *("overlap: 0.41 (usual: 0.8 to 0.95).", "0.41 (usual: 0.8 to 0.95; stops the segmentation)."),
        *("Look at it.", page.NOT_WRITTEN, "5 of 8", "43%", "MNI -35, 30, 20 mm", "4.20 ml", "5.00"),
    ):
        assert words in said, words
    assert said.index("overlap: ") < said.index("stopping one"), "in the order in which they come"
    assert len(re.findall("<li class=stops>", html)) == 1


def test_what_is_not_known_is_not_said(head):
    volumes = {name: volume for name, volume in head[0].items() if name != "reconstruction"}
    html = page.page_of(volumes, AFFINE, {"threshold": 20.0}, "a head")
    facts, (_, anomaly) = unpacked(html)
    assert facts["names"] == ["image", "anomaly"] and facts["highest"] == 30, "the threshold has room above it"
    assert facts["start"] == list(np.unravel_index(anomaly.argmax(), anomaly.shape)), "starts at the highest score"
    for words in ("Beware", "Self-test", "Findings", "healthy brains", "brain mask"):
        assert words not in html, words
    assert "<p>None.</p>" in page.page_of(volumes, AFFINE, {"threshold": 20.0, "findings": []}, "a head")


def test_a_fine_scan_makes_no_large_page():
    """Noise, which can't be compressed, in a brain of 1400 ml in voxels of 1 mm."""
    draw = np.random.default_rng(0)
    brain = (((np.indices((150, 180, 140)).T - [75, 90, 70]) / [68, 84, 62]) ** 2).sum(-1).T < 1
    noise = draw.integers(0, 4000, brain.shape).astype(np.float32)
    volumes = {
        "image": noise,
        "reconstruction": noise * brain,
        "anomaly": noise * brain,
        "brain": brain,
        "scored": brain,
    }
    html = page.page_of(volumes, np.eye(4), {"threshold": 3000.0}, "a head")
    assert len(html) < 4.5e6


def test_left_is_left_in_the_browser(written, tmp_path):
    """Opened from disk: no console message, no network request; the finding is drawn left, in front, above."""
    (tmp_path / "page.html").write_text(written.read_text("utf-8") + SAMPLE, encoding="utf-8")
    said, asked, dom = browse(tmp_path / "page.html", tmp_path)
    assert not said and not asked
    spots, here, level = json.loads(re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)[1])
    for plane, (left, low) in {"axial": (True, False), "coronal": (True, False), "sagittal": (False, False)}.items():
        x, y = spots[plane]
        assert (x < 0.45) == left and (y > 0.5) == low, f"{plane}: {x:.2f} of the width, {y:.2f} of the height"
    x_mm = float(re.search(r"x ([\u22120-9]+),", here)[1].replace("\u2212", "-"))
    assert abs(x_mm - LEFT_FRONT_TOP[0] + 2) < 2.6, "one voxel to the left of the finding, after the key"
    assert re.fullmatch(r"2: \d+\.\d ml above", level)
