"""The site's pages of the scores: one for each method, one for each patient set, one for each patient.

In: tables/{at_best_scores,at_best,main}.csv of a study, as notebooks 05_at_its_best and 99_figures write them, and its
reconstructions. Out: a `Page` of each. Test patients only.
"""

import re
from html import escape

import pandas as pd
from site_pages import Page, html_table
from site_patients import patient_name, patient_pages

from essim.evaluation.at_best import COLUMNS
from essim.evaluation.stats import mean_with_interval
from essim.figures.style import SET_NAMES

# Titles of the methods' pages, and what they are. A single window is called `ssim <sigma>`.
METHODS = {
    "intensity": ("Intensity", "How bright the scan itself is (how dark in T1): no network, and the baseline to beat."),
    "blur": ("Blur", "|x − blur(x)|, the scan against a blurred copy of itself: no network either."),
    "l1": ("l1", "|x − y|, the absolute difference between scan and reconstruction, the most widely used score."),
    "l1 smoothed": ("smoothed l1", "|x − y| under a Gaussian of one voxel, and no other post-processing: a control."),
    "ssim default": ("SSIM, usual window", "1 − SSIM with the usual window, the one nearest to σ = 1.5 voxels."),
    "ssim best": ("SSIM, best window", "1 − SSIM with the window that scores highest on each set's validation part."),
    "mean": ("Mean of SSIM", "1 − the plain mean of the SSIM maps over all windows of the ensemble."),
    "min": ("Minimum of SSIM", "1 − the smallest SSIM over all windows: each voxel at its least similar scale."),
    "adaptive": (
        "The paper's ensemble",
        "1 − SSIM over all windows, weighted voxel by voxel: the less similar, the more weight.",
    ),
    "l1 calibrated": (
        "Calibrated l1",
        "|x − y| in standard deviations of what healthy scans show at that place: the calibrated ensemble's control.",
    ),
    "calibrated": (
        "Calibrated ensemble",
        "Ours, not the paper's: l1 and the windows' differences in standard deviations of what healthy scans show at "
        "that place.",
    ),
}
SMOOTHINGS = {"gauss": "a Gaussian of σ = {}", "median": "a median over {} voxels"}  # called `gauss <sigma>` in tables
OTHERS = {"dice": ("Dice, protocol", 3), "false_positives": ("false positives per scan", 1)}  # main table; decimals


def score_pages(results, site, grown):
    """A page for each method, each set and each patient; none without tables/at_best_scores.csv.

    `grown` says whether patients may be shown: only those of the grown cohort may, since they aren't real people.
    """
    path = results / "tables/at_best_scores.csv"
    if not path.is_file():
        return []
    scores = pd.read_csv(path, dtype={"subject": str})
    scores = scores[scores.split == "test"]
    means = mean_with_interval(scores, ["dataset", "method"], list(COLUMNS))
    post = pd.read_csv(results / "tables/at_best.csv", index_col="method").post.to_dict()
    main = pd.read_csv(results / "tables/main.csv")
    pages = [_method_page(method, means, post.get(method, ""), main) for method in means.method.unique()]
    patients = patient_pages(results, scores, site, _method_link) if grown else []
    linked = {page.name for page in patients}
    pages += [_set_page(name, part, site, grown, linked) for name, part in scores.groupby("dataset", sort=False)]
    return pages + patients


def _method_page(method, means, post, main):
    """What a method is, its scores on every set, and all methods side by side."""
    sigma = method.removeprefix("ssim ") if method not in METHODS and method.startswith("ssim ") else ""
    single = "Single window", "1 − SSIM with one window, whatever the size of a lesion."
    title, said = single if sigma else METHODS.get(method, (method, ""))
    kind, _, size = post.partition(" ")
    post = SMOOTHINGS.get(kind, post).format(size)
    source, of = ("single windows", f"σ = {sigma}") if sigma else (method, "")
    page = Page(_name(method), title, "", said, "methods", source, of)
    own = f" Its own post-processing, chosen on the validation parts: <em>{escape(post)}</em>." if post else ""
    page.main = f"""<main><p class="ran">Methods</p>
<h1>{escape(page.full_title)}</h1>
<p>{escape(said)}{own} In tables: <code>{escape(method)}</code>.</p>
<h2>On every set</h2>
<p>Means over the test patients with 95 % intervals, and the place among all methods by AUPRC.</p>
{_table(_on_every_set(method, means, main))}
<h2>Among the others</h2>
<p>Mean AUPRC, {" / ".join(COLUMNS.values())}.</p>
{_table(_among_others(method, means))}</main>"""
    return page


def _on_every_set(method, means, main):
    own = means[means.method == method]
    rows = {"set": own.dataset.map(_set_link), "patients": own.subjects}
    for column, words in COLUMNS.items():
        ranks = means.groupby("dataset")[column].rank(ascending=False, method="min")[own.index]
        rows[f"AUPRC, {words}"] = own.apply(_with_interval, axis=1, score=column)
        rows[f"place, {words}"] = [f"{rank:.0f} of {means.method.nunique()}" for rank in ranks]
    judged = main[main.method == method].set_index("dataset").reindex(own.dataset)
    for column, (words, decimals) in OTHERS.items():
        if column in judged and judged[column].notna().any():
            rows[words] = judged.apply(_with_interval, axis=1, score=column, decimals=decimals).to_numpy()
    return pd.DataFrame(rows)


def _among_others(method, means):
    """All methods' means on every set, `method` in bold and the others links to their pages."""
    wide = means.set_index(["method", "dataset"])[list(COLUMNS)]
    rows = []
    for other in means.method.unique():
        name = f'<b class="here">{escape(_title(other))}</b>' if other == method else _method_link(other)
        both = wide.loc[other].map("{:.3f}".format).agg(" / ".join, axis=1)
        rows.append({"method": name} | both.rename(_set_link).to_dict())
    return pd.DataFrame(rows)


def _set_page(dataset, scores, site, grown, linked):
    """A set's test patients under every score, and three of them in pictures; `linked` are the pages that there are."""
    title, count, html = SET_NAMES[dataset], scores.subject.nunique(), ""
    gallery = f"figures/gallery_{dataset}.png"
    if grown and (site / gallery).is_file():
        html += "<h2>Best, middle and worst</h2>\n<p>By AUPRC under the paper's ensemble; right, what it marks.</p>\n"
        html += f'<img src="{gallery}" alt="Three test patients: scans, maps, marks">\n'
    html += "<h2>Every patient under every score</h2>\n"
    links = (_patient_link(dataset, subject, linked) for subject in scores.subject.unique())
    html += f"<p>{' · '.join(links)}</p>\n"
    for column, words in COLUMNS.items():
        wide = scores.pivot(index="subject", columns="method", values=column)[scores.method.unique()]
        wide = wide.rename(columns=_method_link, index=lambda subject: _patient_link(dataset, subject, linked))
        html += f"<details><summary>AUPRC, {words}</summary>\n{_table(wide.reset_index())}</details>\n"
    home = f'<a href="06_evaluate_{escape(dataset)}.html">how the scores were compared</a>'
    main = (
        f'<main><p class="ran">Patient sets</p>\n<h1>{escape(title)}</h1>\n'
        f"<p>{count} test patients; {home} on them.</p>\n{html}</main>"
    )
    claim = f"{count} test patients under every score."
    return Page(f"set-{dataset}", title, main, claim, "sets", f"set-{dataset}")


def _slug(words):
    return re.sub(r"[^\w.]+", "-", words)


def _name(method):
    return f"method-{_slug(method)}"


def _title(method):
    return METHODS.get(method, (re.sub("^ssim ", "Single window, σ = ", method),))[0]


def _method_link(method):
    return f'<a href="{_name(method)}.html">{escape(_title(method))}</a>'


def _patient_link(dataset, subject, linked):
    name = patient_name(dataset, subject)
    return f'<a href="{name}.html">{escape(subject)}</a>' if name in linked else escape(subject)


def _set_link(dataset):
    return f'<a href="set-{escape(dataset)}.html">{escape(SET_NAMES[dataset])}</a>'


def _with_interval(row, score, decimals=3):
    if pd.isna(row[score]):
        return ""
    mean, low, high = (f"{row[name]:.{decimals}f}" for name in (score, f"{score}_low", f"{score}_high"))
    return f"{mean} ({low} to {high})"


def _table(table):
    return html_table(table.rename_axis(columns=None), escape=False, float_format="{:.3f}".format)
