"""One static site of the whole study: walkthrough, study and ablations as they ran, all figures and tables, the report.

    website.py PROFILE [RESULTS [SITE]] [--data SCANS]      SITE is RESULTS/site if not given

In: RESULTS with executed notebooks, tables and figures, the walkthrough's among them (`make site` runs it). Out: a
folder of HTML pages with one style, their pictures beside them. It opens from disk and loads nothing from elsewhere.
"""

import argparse
import base64
import re
import shutil
import sys
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

import pandas as pd
from fragments import HIGHLIGHTING, fragment, plain, prose, read_executed
from PIL import Image
from plan import results_of
from report import figure, overview, read_study, run_of

from essim.runs.files import writing

ROOT = Path(__file__).resolve().parents[1]
OVERVIEW = "the_method_in_ten_cells"  # the whole method; opens the path
PARTS = {
    "walkthrough": "Walkthrough",
    "study": "The study",
    "ablations": "Ablations",
    "real": "Real heads",
    "results": "Results",
}
CLAIM = re.compile(r"\*\*What you will see[.:]\*\*\s+(.+?[.?!])(?=\s+[A-Z*]|\s*$)", re.DOTALL)  # its first sentence
CARD = 520, 300  # pixels of a card's picture, at most
ROWS = 8  # shown per table
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="stylesheet" href="style.css"></head><body class="site">
{bar}{main}
{bar}</body></html>
"""


@dataclass
class Page:
    """One page, NAME.html: its `main` as HTML, and what the index says of it.

    `part` is a key of PARTS. Runs of one `notebook` share a card; `of` tells them apart (`ms`), `time` is a run's.
    """

    name: str
    title: str
    main: str
    claim: str
    part: str = "results"
    notebook: str = ""
    of: str = ""
    time: str = ""

    @property
    def full_title(self):
        return f"{self.title} ({self.of})" if self.of else self.title


def website(profile, results, site):
    """Write the site of RESULTS into the empty folder `site`.

    Raises ValueError, in one sentence, where the profile is unknown, or a notebook, table or figure is missing.
    """
    study = read_study(results)
    report = f"<main><h1>The report</h1>\n<p>Profile {escape(profile)}.</p>\n{overview(profile, results, study)}</main>"
    pages = [notebook_page(*run) for run in executed(results, study)]
    pages += [
        Page("report", "The report", report, "Main table, main figures, what the data are, and provenance."),
        Page("figures", "All figures and tables", gallery(results, site), "To view, and to download as PDF or CSV."),
    ]
    for page in pages:
        page.main = mend_links(pictures_beside(page.main, site / "images", page.name), pages)
    style = "".join((ROOT / f"workflow/{name}.css").read_text(encoding="utf-8") for name in ("page", "site"))
    (site / "style.css").write_text(style + HIGHLIGHTING, encoding="utf-8")
    write(site / "index.html", "essim", index(pages, site / "images"), "")
    for before, page, after in zip([None, *pages], pages, [*pages[1:], None], strict=False):
        write(site / f"{page.name}.html", page.full_title, page.main, bar(before, after))


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
    """The page of a run: its headings, then the notebook; code is shown in the walkthrough, folded away elsewhere."""
    html, headings = fragment(notebook, name, folded=part != "walkthrough", below=0)
    of, time = run_of(name.removeprefix(f"{part}-"), notebook)
    claim = CLAIM.search(notebook.cells[0].source)
    claim = claim[1][0].upper() + claim[1][1:] if claim else ""
    ran = " · ".join(filter(None, (PARTS[part], of, time)))
    entries = "".join(f'<li><a href="#{i}">{text}</a></li>\n' for level, i, text in headings if level == 2)
    contents = f'<details class="toc"><summary>On this page</summary>\n<ol>\n{entries}</ol></details>\n'
    main = f'{contents if entries else ""}<main><p class="ran">{escape(ran)}</p>\n{html}</main>'
    source = Path(notebook.metadata.get("papermill", {}).get("input_path") or name).stem
    return Page(name, plain(headings[0][2]) if headings else name, main, claim, part, source, of, time)


def gallery(results, site):
    """Every figure and the first rows of every table of a study and its ablations; their files are copied to `site`."""
    shown = {"figures": "", "tables": ""}
    for kind in shown:
        (site / kind).mkdir(parents=True)
    for folder, before in ((results, ""), (results / "ablations", "ablations-")):
        for path in sorted(folder.glob("figures/[!.]*.png")):
            shutil.copy(path.with_suffix(".pdf"), site / f"figures/{before}{path.stem}.pdf")
            link = f'{before}{path.stem} (<a href="figures/{before}{path.stem}.pdf">PDF</a>)'
            shown["figures"] += figure(path, path.stem).replace(f">{path.stem}<", f">{link}<")
        for path in sorted(folder.glob("tables/[!.]*.csv")):
            shutil.copy(path, site / f"tables/{before}{path.name}")
            table = pd.read_csv(path)
            rows = table.head(ROWS).to_html(index=False, border=0, float_format="{:.4g}".format, na_rep="")
            shown["tables"] += (
                f"<details><summary>{before}{path.stem}</summary>\n<p>{min(ROWS, len(table))} of {len(table)} rows; "
                f'<a href="tables/{before}{path.name}">all of them</a></p>\n<div class="wide">{rows}</div></details>\n'
            )
    sections = (f'<section id="{kind}"><h2>All {kind}</h2>\n{html}</section>' for kind, html in shown.items())
    links = '<p><a href="#figures">Figures</a> · <a href="#tables">Tables</a></p>'
    return f"<main><h1>All figures and tables</h1>\n{links}\n{''.join(sections)}</main>"


def pictures_beside(html, folder, name):
    """HTML whose embedded pictures are files in `folder`, called by the page's `name` and a number."""
    folder.mkdir(exist_ok=True)

    def store(match):
        path = folder / f"{name}-{len(list(folder.glob(f'{name}-[0-9]*.png'))) + 1}.png"
        path.write_bytes(base64.b64decode(match[1]))
        return f'src="{folder.name}/{path.name}"'

    return re.sub(r'src="data:image/png;base64,([^"]*)"', store, html)


def mend_links(html, pages):
    """HTML whose links to notebooks lead to their pages; a link to what isn't on the site becomes plain text."""
    homes = {page.notebook or page.name: f"{page.name}.html" for page in reversed(pages)}  # the first run's

    def mend(match):
        address, text = match.groups()
        path, _, anchor = address.partition("#")
        if re.match(r"[a-z]+:|figures/|tables/", address) or (not path and f'id="{anchor}"' in html):
            return match[0]
        home = homes.get(Path(path).stem) if path.endswith(".ipynb") else None
        return f'<a href="{home}">{text}</a>' if home else text

    return re.sub(r'<a href="([^"]*)">(.*?)</a>', mend, html, flags=re.DOTALL)


def index(pages, images):
    """Title, a paragraph, and a card per notebook: picture, title, what it shows, its runs."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    about = next(paragraph for paragraph in readme.split("\n\n") if paragraph[0] not in "#![<")
    html = f"<main><h1>essim</h1>\n{prose(about, 'about')}\n"
    for part, group in groupby(pages, lambda page: page.part):
        cards = [card(list(runs), images) for _, runs in groupby(group, lambda page: page.notebook or page.name)]
        html += f'<section id="{part}"><h2>{PARTS[part]}</h2>\n<div class="cards">\n{"".join(cards)}</div></section>\n'
    return f"{html}</main>"


def card(runs, images):
    """The card of one notebook, which may have run several times."""
    first = runs[0]
    home, picture = f"{first.name}.html", ""
    found = [images / name for name in re.findall(rf'src="{images.name}/([^"]*)"', first.main)]
    if found:
        small = f"{images.name}/{thumbnail(found, first.name)}"
        picture = f'<a class="picture" href="{home}"><img src="{small}" alt=""></a>\n'
    if len(runs) > 1:
        said = " · ".join(f'<a href="{run.name}.html">{escape(run.of)}</a>' for run in runs)
    else:
        said = escape(first.time)
    return (
        f'<article class="card">{picture}<h3><a href="{home}">{escape(first.title)}</a></h3>\n'
        f"{prose(first.claim, 'claim')}<small>{said}</small></article>\n"
    )


def thumbnail(paths, name):
    """Make a small copy of the picture that has the most in it, for the card of a page; returns its name."""
    best = max(paths, key=lambda path: path.stat().st_size)
    with Image.open(best) as image:
        small = image.convert("RGB")
    small.thumbnail(CARD, Image.Resampling.LANCZOS)
    small.save(best.with_name(f"card-{name}.png"), optimize=True)
    return f"card-{name}.png"


def bar(before, after):
    """Links to the page before, the index and the page after."""

    def link(page, word, relation):
        if not page:
            return "<i></i>"
        return f'<a rel="{relation}" href="{page.name}.html">{word.format(escape(page.full_title))}</a>'

    links = link(before, "← {}", "prev"), '<a href="index.html">Index</a>', link(after, "{} →", "next")
    return f'<nav class="bar">{"".join(links)}</nav>\n'


def write(path, title, main, links):
    path.write_text(PAGE.format(title=escape(title), bar=links, main=main), encoding="utf-8")


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
