"""Pictures for checking by eye how heads lie in study space, and a page that lists them.

In: a `Placed` and its `Template`; the records of `essim.prepare`. Out: a PNG per subject, an HTML page.
"""

from html import escape
from urllib.parse import quote

import numpy as np

from essim.data.volumes import LESION
from essim.figures.pictures import PLANES, Panel
from essim.figures.style import BLUE, ORANGE, new_figure
from essim.runs.files import writing

INCH = 1 / 55  # per mm of the head

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em; color: #222 }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(24em, 1fr)); gap: 1.2em }}
figure {{ margin: 0; padding: .6em; border: 1px solid #ccc; border-radius: 6px }}
figure.doubtful {{ border: 2px solid {orange} }}
img {{ width: 100% }} td, th {{ text-align: left; padding: .2em 1.2em .2em 0; vertical-align: top }}
b.blue {{ color: {blue} }} b.orange {{ color: {orange} }}
</style></head><body>
<h1>{title}</h1>
<p>{counts} Each picture shows the scan in study space with the <b class="blue">template's brain</b> and the
<b class="orange">lesion</b>, cut where the lesion is largest, or through the middle. The blue line should follow the
brain's border on all sides, and all contrasts should show the same anatomy in the same place.</p>
{failed}
<main>
{figures}
</main></body></html>
"""


def picture(path, placed, template):
    """Write a PNG of one person: a row for each contrast; axial, coronal and sagittal slices with both outlines."""
    lesion = placed.seg == LESION if placed.seg is not None else np.zeros_like(placed.mask)
    other_axes = [(1, 2), (0, 2), (0, 1)]
    if lesion.any():
        centre = [int(lesion.sum(axes).argmax()) for axes in other_axes]
    else:
        centre = [int(np.flatnonzero(placed.mask.any(axes)).mean()) for axes in other_axes]
    inch, shape = INCH * np.linalg.norm(placed.affine[:3, 0]), placed.mask.shape
    widths, heights = zip(*(np.delete(shape, axis).tolist() for axis in PLANES.values()), strict=True)
    size = (sum(widths) * inch + 0.4, len(placed.images) * max(heights) * inch + 0.3)
    figure, axes = new_figure(len(placed.images), 3, *size, width_ratios=widths)
    figure.set_facecolor("black")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    for line, (contrast, image) in zip(axes, placed.images.items(), strict=True):
        high = np.percentile(image[placed.mask], 99.5) if placed.mask.any() else 1
        for cell, axis in zip(line, PLANES.values(), strict=True):
            brain, outline = template.brain.take(centre[axis], axis), lesion.take(centre[axis], axis)
            Panel(image.take(centre[axis], axis), outline, limits=(0, max(high, 1e-6))).draw(cell)
            if brain.any():
                cell.contour(brain.T.astype(float), [0.5], colors=[BLUE], linewidths=0.8)
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)
        line[0].set_ylabel(contrast.upper(), color="white")
    for cell, name in zip(axes[0], PLANES, strict=True):
        cell.set_title(name, color="white")
    with writing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})


def page(path, title, records, failures):
    """Write the page: subjects that failed, then doubtful ones, then all others.

    Args:
        records: dicts with `dataset, subject, picture` (relative to the page), `dice, brain_ml, lesion_ml,
            lesion_ml_study, doubtful` (a reason, or "").
        failures: (dataset, subject, reason).
    """
    failed = "".join(
        f"<tr><td>{escape(dataset)}</td><td>{escape(subject)}</td><td>{escape(reason)}</td></tr>\n"
        for dataset, subject, reason in failures
    )
    if failed:
        failed = f"<h2>Failed</h2>\n<table><tr><th>set</th><th>subject</th><th>why</th></tr>\n{failed}</table>"
    ordered = sorted(records, key=lambda record: (not record["doubtful"], record["dataset"], record["subject"]))
    doubtful = sum(bool(record["doubtful"]) for record in records)
    counts = f"{len(records)} subjects, {doubtful} of them doubtful (first), {len(failures)} failed."
    figures = "\n".join(map(_figure, ordered))
    text = PAGE.format(title=escape(title), counts=counts, failed=failed, figures=figures, blue=BLUE, orange=ORANGE)
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _figure(record):
    facts = f"overlap with the template {record['dice']:.3f}, brain {record['brain_ml']:.0f} ml"
    if record["lesion_ml"] is not None:
        facts += f", lesion {record['lesion_ml']:.1f} ml ({record['lesion_ml_study']:.1f} ml in study space)"
    facts += "".join(f"; {escape(note)}" for note in record.get("notes", []))
    warning = f"<br><b class='orange'>{escape(record['doubtful'])}</b>" if record["doubtful"] else ""
    name = escape(f"{record['dataset']} / {record['subject']}")
    return (
        f"<figure{' class=doubtful' if record['doubtful'] else ''}><img loading='lazy' alt='{name}' "
        f"src='{quote(record['picture'])}'><figcaption><b>{name}</b><br>{facts}{warning}</figcaption></figure>"
    )
