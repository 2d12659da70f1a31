"""One static site: teaching path, study and ablations as they ran, figures, tables and scores, and the documentation.

    website.py PROFILE [RESULTS [SITE]] [--data SCANS]      SITE is RESULTS/site if not given

In: RESULTS with executed notebooks, tables and figures, the teaching path's among them (`make site` runs it). Out: a
folder of HTML pages with one style, their pictures beside them. It opens from disk and loads nothing from elsewhere.
"""

import argparse
import re
import shutil
import sys
from html import escape
from itertools import groupby
from pathlib import Path

from fragments import fragment, plain, prose, read_executed
from PIL import Image
from plan import results_of
from report import figure, overview, read_study, run_of
from site_documents import document_pages
from site_links import Links
from site_pages import Page, bar, first_rows, pictures_beside, style, with_contents, write
from site_scores import score_pages
from site_search import write_search

from essim.runs.files import writing

ROOT = Path(__file__).resolve().parents[1]
OVERVIEW = "the_method_in_ten_cells"  # the whole method; opens the path
PARTS = {
    "walkthrough": "The teaching path",
    "study": "The study",
    "ablations": "Ablations",
    "real": "Real heads",
    "results": "Results",
    "methods": "Methods",
    "sets": "Patient sets",
    "patients": "Patients",
    "documentation": "Documentation",
}
CLAIM = re.compile(r"\*\*What you will see[.:]\*\*\s+(.+?[.?!])(?=\s+[A-Z*]|\s*$)", re.DOTALL)  # its first sentence
CARD = 520, 300  # pixels of a card's picture, at most
ROWS = 30  # shown per table
SCORES = '<p><a href="index.html#methods">Method by method</a> · <a href="index.html#sets">Set by set</a></p>\n'


def website(profile, results, site):
    """Write the site of RESULTS into the empty folder `site`.

    Raises ValueError, in one sentence, where the profile is unknown, or a notebook, table or figure is missing.
    """
    study = read_study(results)
    grown = "01_cohort" in study  # or the scans are someone's own
    pages = [notebook_page(*run) for run in executed(results, study)]
    figures, scores = gallery(results, site), score_pages(results, site, grown)
    report = f"<h1>The report</h1>\n<p>Profile {escape(profile)}.</p>\n{SCORES if scores else ''}"
    report = f"<main>{report}{overview(profile, results, study)}</main>"
    claim = "Main table, main figures, what the data are, and provenance."
    pages.append(Page("report", "The report", report, claim, "results", "docs/report"))  # quotes docs/cohort.md
    claim = "To view, and to download as PDF or CSV."
    pages.append(Page("figures", "All figures and tables", figures, claim, "results", "figures"))
    pages += [*scores, *document_pages()]
    links = Links(site, pages, profile if grown else "")
    for page in pages:
        page.main = links.mend(page, pictures_beside(page.main, site / "images", page.name))
    if cited := links.cited_page():
        pages.insert(1 + next(i for i, page in enumerate(pages) if page.name == "figures"), cited)
    (site / "style.css").write_text(style(), encoding="utf-8")
    shutil.copyfile(ROOT / "workflow/site.js", site / "site.js")
    write_search(site, pages)
    write(site, "index", "essim", index(pages, site))
    for before, page, after in zip([None, *pages], pages, [*pages[1:], None], strict=False):
        write(site, page.name, page.full_title, page.main, bar(before, after))


def executed(results, study):
    """(part, page's name, notebook) of every run in reading order; `study` is from `read_study`."""
    lessons = (ROOT / "notebooks/walkthrough").glob("*.ipynb")
    for lesson in sorted(lessons, key=lambda path: (path.stem != OVERVIEW, path.stem)):
        path = results / "notebooks/walkthrough" / lesson.name
        if not path.is_file():
            raise ValueError(f"{path}: no such file; `make site` runs it once {path.stem}.ran beside it is deleted.")
        yield "walkthrough", f"walkthrough-{path.stem}", read_executed(path)
    yield from (("study", name, notebook) for name, notebook in study.items())
    for path in sorted((results / "ablations/notebooks").glob("[!.]*.ipynb")):
        yield "ablations", f"ablations-{path.stem}", read_executed(path)
    for path in sorted((results.parent / "real/notebooks").glob("1[12]_*.ipynb")):  # where `make real` ran, too
        yield "real", f"real-{path.stem}", read_executed(path)


def notebook_page(part, name, notebook):
    """The page of a run: its headings, then the notebook; code is shown in the teaching path, folded away elsewhere."""
    html, headings = fragment(notebook, name, folded=part != "walkthrough", below=0)
    of, time = run_of(name.removeprefix(f"{part}-"), notebook)
    claim = CLAIM.search(notebook.cells[0].source)
    claim = claim[1][0].upper() + claim[1][1:] if claim else ""
    ran = " · ".join(filter(None, (PARTS[part], of, time)))
    source = notebook.metadata.get("papermill", {}).get("input_path") or f"notebooks/{name}.ipynb"
    title = plain(headings[0][2]) if headings else name
    return Page(name, title, with_contents(ran, html, headings), claim, part, source, of, time)


def gallery(results, site):
    """Every figure and the first rows of every table of a study and its ablations; their files are copied to `site`."""
    shown = {"figures": "", "tables": ""}
    for kind in shown:
        (site / kind).mkdir(parents=True)
    for folder, before in ((results, ""), (results / "ablations", "ablations-")):
        for path in sorted(folder.glob("figures/[!.]*.png")):
            name = f"figures/{before}{path.stem}"
            for kind in (".png", ".pdf"):
                shutil.copyfile(path.with_suffix(kind), site / f"{name}{kind}")
            html, link = figure(path, path.stem, f"{name}.png"), f'{before}{path.stem} (<a href="{name}.pdf">PDF</a>)'
            shown["figures"] += html.replace(f">{path.stem}<", f">{link}<")
        for path in sorted(folder.glob("tables/[!.]*.csv")):
            copy = shutil.copyfile(path, site / f"tables/{before}{path.name}")
            shown["tables"] += first_rows(copy, f"tables/{copy.name}", f"table-{copy.stem}", ROWS)
    sections = (f'<section id="{kind}"><h2>All {kind}</h2>\n{html}</section>' for kind, html in shown.items())
    links = '<p><a href="#figures">Figures</a> · <a href="#tables">Tables</a></p>'
    return f"<main><h1>All figures and tables</h1>\n{links}\n{''.join(sections)}</main>"


def index(pages, site):
    """Title, a paragraph, links to the parts, and a card per source: picture, title, what it shows, its runs."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    about = next(paragraph for paragraph in readme.split("\n\n") if paragraph[0] not in "#![<")
    parts = {part: [*group] for part, group in groupby(pages, lambda page: page.part)}
    links = " · ".join(f'<a href="#{part}">{PARTS[part]}</a>' for part in parts)
    html = f"<main><h1>essim</h1>\n{prose(about, 'about')}\n<p>{links}</p>\n"
    for part, group in parts.items():
        cards = [card(list(runs), site) for _, runs in groupby(group, lambda page: page.source)]
        html += f'<section id="{part}"><h2>{PARTS[part]}</h2>\n<div class="cards">\n{"".join(cards)}</div></section>\n'
    return f"{html}</main>"


def card(runs, site):
    """The card of one source, which may have run several times."""
    first = runs[0]
    home, picture = f"{first.name}.html", ""
    found = [site / name for name in re.findall(r'src="((?:images|figures|files)/[^"]*\.png)"', first.main)]
    if found and first.part != "documentation":
        small = thumbnail(found, site / f"images/card-{first.name}.png")
        picture = f'<a class="picture" href="{home}" tabindex="-1" aria-hidden="true"><img src="{small}" alt=""></a>\n'
    if len(runs) > 1:
        said = " · ".join(f'<a href="{run.name}.html">{escape(run.of)}</a>' for run in runs)
    else:
        said = escape(first.time)
    return (
        f'<article class="card">{picture}<h3><a href="{home}">{escape(first.title)}</a></h3>\n'
        f"{prose(first.claim, 'claim')}<small>{said}</small></article>\n"
    )


def thumbnail(paths, card):
    """Make a small copy of the picture that has the most in it, for the card of a page; returns its address."""
    best = max(paths, key=lambda path: path.stat().st_size)
    with Image.open(best) as image:
        small = image.convert("RGB")
    small.thumbnail(CARD, Image.Resampling.LANCZOS)
    small.save(card, optimize=True)
    return f"images/{card.name}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile")
    parser.add_argument("results", type=Path, nargs="?", help="default: those of the profile, and of --data")
    parser.add_argument("site", type=Path, nargs="?")
    parser.add_argument("--data", default="", help="the scans that the study ran on; default: the built-in cohort")
    arguments = parser.parse_args()
    try:
        results = arguments.results or results_of(arguments.profile, arguments.data)
        site = arguments.site or results / "site"
        with writing(site) as temporary:
            website(arguments.profile, results, temporary)
    except ValueError as error:
        sys.exit(str(error))
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    print(f"{site / 'index.html'}: {size / 1e6:.0f} MB in all; open it in any browser.")


if __name__ == "__main__":
    main()
