"""The page of a scored scan: scan, reconstruction and map in three planes, what was found, and why to doubt it.

In: volumes [H, W, D], RAS+, on the scan's own grid, its affine [4, 4] in mm, and what finding.json says. Out: one HTML
file (page.html, filled in) that loads nothing, so that any browser opens it from disk.
The volumes travel as one byte per voxel, isotropic, along the scanner's axes, x fastest, zipped.
"""

import base64
import gzip
import json
import re
from html import escape
from pathlib import Path

import nibabel as nib
import numpy as np
from matplotlib import colormaps
from scipy import ndimage

from essim.score.self_test import meaning_of

TEMPLATE = Path(__file__).with_suffix(".html")
VOXEL_MM = 1.5  # at least, on the page: finer voxels would make it large and slow
MARGIN_MM = 10  # around the brain
NOT_WRITTEN = "No segmentation was written, for the reasons below. Don't rely on what the map marks."
ABOUT = {
    "contrast": str.upper,
    "strategy": "{} map".format,
    "threshold": "threshold {:.3g}".format,
    "share": "exceeded by {:.0%} of the voxels of healthy brains".format,
    "volume_ml": "{:.1f} ml found".format,
    "brain_mask": "brain mask: {}".format,
}
PLANTED = ("planted", "volume", "found", "of its volume")
FOUND = ("#", "place", "volume", "peak")  # sorted by the summed score, which grows with both volume and peak


def write_page(path, volumes, affine, finding, title):
    """Write `page_of` these arguments to a file."""
    Path(path).write_text(page_of(volumes, affine, finding, title), encoding="utf-8")


def page_of(volumes, affine, finding, title):
    """The page, as a text.

    Args:
        volumes: {name: [H, W, D]}: floats `image` and `reconstruction` (may be missing) in the scan's intensities,
            `anomaly` 0 or more; bool `brain` and `scored`, where the map is valid. affine: RAS+, mm.
        finding: as finding.json: `threshold`, and if they are known: `contrast`, `strategy`, `share`,
            `volume_ml`, `brain_mask`, `doubts`, `findings`, `self_test`, `segmentation_written`.
        title: one line, plain text.
    """
    facts, voxels = _packed(volumes, affine, finding)
    places, start = finding.get("findings", []), np.unravel_index(voxels[-1].argmax(), voxels[-1].shape)
    at_mm = [nib.affines.apply_affine(affine, place["voxel"]) for place in places]
    at = [np.rint((mm - facts["low_mm"]) / facts["voxel_mm"]).astype(int).tolist() for mm in at_mm]
    facts["start"] = [*at, [int(index) for index in start]][0]
    about = [say(finding[name]) for name, say in ABOUT.items() if finding.get(name) is not None]
    about += (
        ["{scored_ml:.0f} of {brain_ml:.0f} ml of brain scored".format(**finding)] if "scored_ml" in finding else []
    )
    packed = gzip.compress(b"".join(volume.tobytes(order="F") for volume in voxels), mtime=0)
    parts = {
        "title": escape(title),
        "about": escape(" · ".join(about)),
        "doubts": _doubts(finding),
        "self_test": _self_test(finding.get("self_test", [])),
        "findings": _findings(places, at) if "findings" in finding else "",
        "facts": json.dumps(facts).replace("<", "\\u003c"),
        "voxels": base64.b64encode(packed).decode(),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], TEMPLATE.read_text(encoding="utf-8"))


def frame(page):
    """A page as a piece of HTML that shows it within another, as in a notebook."""
    return f'<div><iframe srcdoc="{escape(page)}" style="width: 100%; height: 46rem; border: 0"></iframe></div>'


def _packed(volumes, affine, finding):
    """What the page must know of its volumes, a dict, and these: uint8 [X, Y, Z], the map last and 0 where unscored.

    The map holds square roots: low scores, where the threshold lies, stay distinct beside a high one.
    """
    corners = nib.affines.apply_affine(affine, np.argwhere(volumes["brain"]))
    low_mm, high_mm = corners.min(0) - MARGIN_MM, corners.max(0) + MARGIN_MM
    voxel_mm = max(VOXEL_MM, float(nib.affines.voxel_sizes(affine).min()))
    shape = np.ceil((high_mm - low_mm) / voxel_mm).astype(int) + 1
    grid = np.linalg.inv(affine) @ nib.affines.from_matvec(np.eye(3) * voxel_mm, low_mm)

    def on_grid(name, order=1, outside=0.0):
        volume = volumes[name].astype(np.float32)
        return ndimage.affine_transform(volume, grid, output_shape=tuple(shape), order=order, cval=outside)

    low, high = np.percentile(volumes["image"][volumes["brain"]], (0.5, 99.5))
    grey = [name for name in ("image", "reconstruction") if name in volumes]
    voxels = [255 * np.clip((on_grid(name, outside=low) - low) / max(high - low, 1e-6), 0, 1) for name in grey]
    highest = float(max(1.5 * finding["threshold"], volumes["anomaly"][volumes["scored"]].max()))
    scores = 1 + 254 * np.sqrt(np.clip(on_grid("anomaly") / highest, 0, 1))
    voxels.append(np.where(on_grid("scored", order=0) > 0, scores, 0))
    facts = {"names": [*grey, "anomaly"], "shape": shape.tolist(), "voxel_mm": voxel_mm, "low_mm": low_mm.tolist()}
    facts |= {"threshold": finding["threshold"], "highest": highest}
    of_code = colormaps["cividis"]((np.arange(-1, 255) / 254) ** 2)[:, :3]  # as in the overview, linear in the score
    facts["colours"] = (255 * of_code).round().astype(int).tolist()
    return facts, [volume.round().astype(np.uint8) for volume in voxels]


def _doubts(finding):
    """A box with all doubts about the map, in their order; nothing if there are none."""
    written, lines = finding.get("segmentation_written", True), []
    for doubt in finding.get("doubts", []):
        kind, stops = (" class=stops", "; stops the segmentation") if doubt["stops"] else ("", "")
        number = f"{doubt['name']}: {doubt['number']:.3g} (usual: {doubt['usual']}{stops})."
        lines.append(f"<li{kind}><b>{escape(number)}</b> {escape(doubt['means'])} {escape(doubt['do'])}</li>")
    if not lines and written:
        return ""
    head = "Beware" if written else f"Beware. {NOT_WRITTEN}"
    return f"<section class=doubts><h2>{head}</h2><ul>{''.join(lines)}</ul></section>"


def _self_test(tests):
    """A table of how many lesions planted in this scan were found; nothing if none were planted."""
    if not tests:
        return ""
    head = "".join(f"<th>{name}</th>" for name in PLANTED)
    rows = "".join(
        f"<tr><td>{escape(test['look'])}</td><td>{test['volume_ml']:g} ml</td>"
        f"<td>{test['found']} of {test['planted']}</td><td>{test['recovered']:.0%}</td></tr>"
        for test in tests
    )
    table = f"<table><tr>{head}</tr>{rows}</table>"
    return f"<section><h2>Self-test in this scan</h2>{table}<p>{escape(meaning_of(tests))}</p></section>"


def _findings(places, at):
    """The findings as a table, each with a button that jumps to its voxel `at` [3] of the page."""
    head = "".join(f"<th>{name}</th>" for name in FOUND)
    rows = "\n".join(map(_row, places, at, range(1, len(places) + 1)))
    table = f"<div id=findings><table><tr>{head}</tr>\n{rows}</table></div>" if places else "<p>None.</p>"
    return f"<h2>Findings, by the sum of their scores</h2>{table}"


def _row(place, at, number):
    mni = ", ".join(str(round(x)) for x in place["mni_mm"]) if "mni_mm" in place else ""
    where = escape(place.get("place", "")) + (f"<small>MNI {mni} mm</small>" if mni else "")
    button = f"<button data-at='{json.dumps(at)}' aria-label='go to finding {number}'>{number}</button>"
    volume, peak = f"{place['volume_ml']:.2f} ml", f"{place['peak']:#.3g}".rstrip(".")
    return f"<tr><td>{button}</td><td>{where}</td><td>{volume}</td><td>{peak}</td></tr>"
