"""The site's pages of patients: every test patient of the grown cohort in pictures and under every score.

In: a study's reconstructions/<set>, models/<contrast>/calibration.safetensors and the AUPRC of every patient
(tables/at_best_scores.csv). Out: a `Page` of each patient, with its picture. A real person is never shown.
"""

from html import escape

import numpy as np
import pandas as pd
import torch
from site_pages import Page, html_table
from tqdm import tqdm

from essim import calibrated_map, ensemble_map, l1_map, load_calibration
from essim.evaluation.at_best import COLUMNS
from essim.evaluation.cases import case_rows, read_case, widest_slice
from essim.evaluation.scoring import clean_maps
from essim.figures.pictures import Panel, slice_grid
from essim.figures.style import SET_NAMES
from essim.postprocess import connected_components

SHOWN = {  # the pictures of a patient, and their kind as a `Panel`
    **{"scan": "scan", "reconstruction": "scan", "l1": "map", "the paper's ensemble": "map"},
    **{"calibrated ensemble": "map", "ground truth": "truth"},
}
FACTS = {"age": "{} years", "sex": "sex {}", "site": "scanner {}"}  # columns of scans.csv


def patient_pages(results, scores, site, method_link):
    """A page for each scored patient whose reconstruction is still in `results`; its picture goes to `site`/images.

    Args: scores: the table of `at_best_scores.csv`, test patients only. method_link: the link to a method's page.
    """
    pages = []
    for dataset, own in scores.groupby("dataset", sort=False):
        folder = results / f"reconstructions/{dataset}"
        if not (folder / "scans.csv").is_file():
            continue
        subjects = {*own.subject}
        rows = [row for row in case_rows(folder, "test") if row["subject"] in subjects]
        for row in tqdm(rows, desc=f"pages of {dataset}", unit="patient"):
            calibration = load_calibration(results / f"models/{row['contrast']}")
            lesions, slices = _slices(read_case(folder, row), calibration)
            person = [words.format(row[column]) for column, words in FACTS.items() if row.get(column, "") != ""]
            picture = _draw(slices, patient_name(dataset, row["subject"]), site)
            facts = [row["contrast"].upper(), *person, lesions]
            pages.append(_page(dataset, row["subject"], facts, own, picture, method_link))
    return pages


def patient_name(dataset, subject):
    """The name of a patient's page."""
    return f"patient-{dataset}-{subject}"


def _slices(case, calibration):
    """(how many lesions of which volume, in words; slices for SHOWN) of a case, where the lesion is widest."""

    def scorer(case):
        x, y, _ = case.tensors()
        with torch.inference_mode():
            paper = ensemble_map(x, y, sigmas=calibration.sigmas)
            return {"l1": l1_map(x, y), "adaptive": paper, "calibrated": calibrated_map(x, y, calibration)}

    z, volume_ml = widest_slice(case.seg), case.seg.sum() * np.prod(case.spacing_mm) / 1000
    count = connected_components(case.seg)[1]
    lesions = f"{count} lesion{'s' if count != 1 else ''} of {volume_ml:.1f} ml in all"
    volumes = [case.image, case.reconstruction, *clean_maps(case, scorer).values(), case.seg]
    return lesions, [volume[:, :, z] for volume in volumes]


def _draw(slices, name, site):
    """The picture of a patient, as a file of the site; returns its address."""
    lesion = slices[-1] > 0
    panels = [
        Panel(image, lesion if kind == "map" else None, kind, None if kind == "map" else (0, 1))
        for image, kind in zip(slices, SHOWN.values(), strict=True)
    ]
    figure, _ = slice_grid([panels], SHOWN, [""], 1.7)
    (site / "images").mkdir(exist_ok=True)
    figure.savefig(site / f"images/{name}.png", dpi=130, bbox_inches="tight", pad_inches=0.03)
    return f"images/{name}.png"


def _page(dataset, subject, facts, scores, picture, method_link):
    """A patient's picture, and its AUPRC under every score with the place among the set's test patients."""
    rows = {"method": scores.method.unique()}
    for column, words in COLUMNS.items():
        wide = scores.pivot(index="method", columns="subject", values=column).loc[rows["method"]]
        places = wide.rank(axis=1, ascending=False, method="min")[subject]
        rows[f"AUPRC, {words}"] = wide[subject].to_numpy()
        rows[f"place, {words}"] = [f"{place:.0f} of {wide.shape[1]}" for place in places]
    title, words = f"{SET_NAMES[dataset]}, patient by patient", escape(", ".join(facts))
    page = Page(patient_name(dataset, subject), title, "", "Every test patient in pictures.", "patients")
    page.source, page.of = f"patients-{dataset}", subject
    rows["method"] = [method_link(method) for method in rows["method"]]
    table = html_table(pd.DataFrame(rows), escape=False, float_format="{:.3f}".format)
    page.main = f"""<main><p class="ran">Patients</p>
<h1>{escape(SET_NAMES[dataset])}: {escape(subject)}</h1>
<p>{words}. Grown, not a real person; one of <a href="set-{escape(dataset)}.html">the set's test patients</a>.</p>
<h2>Where the lesion is widest</h2>
<p>Maps after the published post-processing, from 0 to their own 99.5th percentile, with the lesion outlined.</p>
<img src="{picture}" alt="{escape("; ".join(SHOWN))}">
<h2>Under every score</h2>
<p>The place is the one among the set's test patients: 1 is the patient in whom this score does best.</p>
{table}</main>"""
    return page
