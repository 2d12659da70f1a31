"""One page with the whole study: executed notebooks, tables, figures, provenance. It opens from disk and loads nothing.

    report.py PROFILE [RESULTS [PAGE]] [--data SCANS]      PAGE is RESULTS/report.html if not given

In: RESULTS with the executed notebooks, the main table with its provenance, and the main figures; docs/cohort.md. Out:
one HTML file with everything inside it. Parameters are those that the notebooks were given, whatever the profile says
now.
"""

import argparse
import base64
import json
import sys
from html import escape
from importlib import metadata
from pathlib import Path

from fragments import HIGHLIGHTING, fragment, plain, prose, read_executed
from plan import results_of
from profiles import read_profile

from essim.runs.files import writing

ROOT = Path(__file__).resolve().parents[1]
FIGURES = {
    "qualitative": "One patient of every set: scan, reconstruction, anomaly maps, and the lesion outlined.",
    "score_over_sigma": "How well 1 − SSIM finds lesions, by window size; the flat lines don't depend on it.",
    "regret": "What a method loses, on average over the sets, against the best single window of each.",
}
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
{style}</style></head><body>
<header><h1>{title}</h1>
<p>{summary}.</p>
<p><a href="#results">Results</a> · <a href="#data">The data</a> · <a href="#provenance">Provenance</a> ·
<a href="#contents">The notebooks</a></p></header>
<main>
{overview}
<nav id="contents"><h2>The notebooks</h2>
<p>As they ran, in reading order; the code is folded away.</p>
<ol>
{contents}</ol></nav>
{notebooks}
</main></body></html>
"""
OVERVIEW = """<section id="results"><h2>Results</h2>
{table}
{figures}</section>
<section id="data"><h2>The data: what they are and are not</h2>
{statement}</section>
<section id="provenance"><h2>Provenance</h2>
{provenance}</section>"""


def report(profile, results):
    """The page's HTML.

    Args:
        profile: a name in workflow/profiles. results: the folder of its results.

    Raises ValueError, in one sentence, where the profile is unknown, or results are missing or unfinished.
    """
    notebooks = read_study(results)
    main = overview(profile, results, notebooks)
    contents, sections = "", ""
    for name, notebook in notebooks.items():
        html, headings = fragment(notebook, name)
        contents += _entry(name, notebook, headings)
        sections += f'<p class="run">{escape(name)} <a href="#contents">all notebooks</a></p>\n{html}'
    return PAGE.format(
        title=f"essim: the study, profile {profile}",
        summary=escape(metadata.metadata("essim")["Summary"]),
        style=(ROOT / "workflow/page.css").read_text(encoding="utf-8") + HIGHLIGHTING,
        overview=main,
        contents=contents,
        notebooks=sections,
    )


def read_study(results):
    """The executed notebooks, {name: notebook} in reading order; ValueError where the study hasn't finished."""
    paths = sorted((results / "notebooks").glob("[!.]*.ipynb"))
    needed = [results / f"tables/{name}" for name in ("main.md", "main.csv.json")]
    needed += [results / f"figures/{name}.png" for name in FIGURES]
    missing = [str(path) for path in needed if not path.is_file()]
    missing += [] if paths else [str(results / "notebooks/*.ipynb")]
    if missing:
        raise ValueError(f"{missing[0]}: no such file, so the study hasn't finished; run `make reproduce` first.")
    return {path.stem: read_executed(path) for path in paths}


def overview(profile, results, notebooks):
    """What the study found, on what and from what: sections of HTML. ValueError where the profile is unknown."""
    built_in = read_profile(profile)["data"]
    record = json.loads((results / "tables/main.csv.json").read_text(encoding="utf-8"))
    return OVERVIEW.format(
        table=prose((results / "tables/main.md").read_text(encoding="utf-8"), "table"),
        figures="".join(figure(results / f"figures/{name}.png", words) for name, words in FIGURES.items()),
        statement=_statement(notebooks, built_in),
        provenance=_provenance(record, notebooks),
    )


def run_of(name, notebook):
    """What tells this run from others of its notebook (`ms`), and how long it took in words; empty where unknown."""
    run = notebook.metadata.get("papermill", {})
    of = name.removeprefix(Path(run.get("input_path") or name).stem).strip("_")
    seconds = run.get("duration") or 0
    return of, f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s" if seconds else ""


def _entry(name, notebook, headings):
    """A notebook's line in the contents, with its own headings folded away."""
    title = plain(headings[0][2]) if headings else name
    said = " · ".join(part for part in run_of(name, notebook) if part)
    line = f'<a href="#{escape(name)}">{escape(title)}</a> <small>{escape(said)}</small>'
    below = "".join(f'<li><a href="#{i}">{escape(plain(text))}</a></li>' for level, i, text in headings if level == 2)
    return f"<li><details><summary>{line}</summary><ul>{below}</ul></details></li>\n"


def figure(path, words, source=""):
    """A PNG as a `<figure>`: `source` is where the page finds it, empty: within the page."""
    data = path.read_bytes()
    width = int.from_bytes(data[16:20]) * 96 // 200  # as large as it was drawn; `save_figure` writes 200 dots per inch
    source = source or f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return f'<figure><img src="{source}" width="{width}" alt="{words}"><figcaption>{words}</figcaption></figure>\n'


def _given(notebook):
    """The parameters that a notebook ran with."""
    return notebook.metadata.get("papermill", {}).get("parameters", {})


def _statement(notebooks, built_in):
    """What docs/cohort.md says of the built-in cohort, or that these scans are the reader's own."""
    own = sorted({_given(notebook).get("data", built_in) for notebook in notebooks.values()} - {built_in})
    if own and "01_cohort" not in notebooks:  # a study on scans of one's own grows no cohort
        return (
            f"<p>This study ran on the scans in <code>{escape(', '.join(own))}</code>, <strong>not</strong> on the "
            "built-in cohort. What they are, and whom they represent, only their owners can say. Nothing here is "
            "for diagnosis.</p>"
        )
    about = (ROOT / "docs/cohort.md").read_text(encoding="utf-8").split("\n## ", 1)[0]
    return prose(about.partition("\n")[2], "statement")


def _provenance(record, notebooks):
    """When, from what and on what the main table was made, and all parameters that the notebooks were given."""
    revision = f"{record['revision'] or 'not in a repository'}{', with changes' if record['dirty'] else ''}"
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items() if version)
    facts = {"when": record["time"].replace("T", " ").replace("+00:00", " UTC"), "revision": revision}
    facts |= {"device": record["device"], "versions": versions}
    given = {}
    for name, notebook in notebooks.items():
        for key, value in _flat(_given(notebook)):
            given.setdefault(key, {}).setdefault(json.dumps(value, ensure_ascii=False), []).append(name)
    rows = [
        (key, value, ", ".join(names) if len(values) > 1 else "")
        for key, values in sorted(given.items())
        for value, names in values.items()
    ]
    return (
        f"<p>Of the main table; every other table and figure has a file of its own beside it.</p>{_rows(facts.items())}"
        "<details><summary>Every parameter, as the notebooks were given it</summary>"
        "<p>Notebooks are named where their values differ; otherwise all that use a parameter had the same.</p>"
        f"{_rows(rows)}</details>"
    )


def _flat(values, before=""):
    """(dotted name, value) of a dict of dicts."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def _rows(rows):
    cells = ([escape(str(value)) for value in row] for row in rows)
    body = "\n".join(f"<tr><th>{head}</th><td>{'</td><td>'.join(values)}</td></tr>" for head, *values in cells)
    return f'<div class="wide"><table class="facts">\n{body}\n</table></div>'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile")
    parser.add_argument("results", type=Path, nargs="?", help="default: those of the profile, and of --data")
    parser.add_argument("page", type=Path, nargs="?")
    parser.add_argument("--data", default="", help="the scans that the study ran on; default: the built-in cohort")
    arguments = parser.parse_args()
    try:
        results = arguments.results or results_of(arguments.profile, arguments.data)
        page = arguments.page or results / "report.html"
        html = report(arguments.profile, results)
    except ValueError as error:
        sys.exit(str(error))
    with writing(page) as temporary:
        temporary.write_text(html, encoding="utf-8")
    print(f"{page}: {len(html.encode()) / 1e6:.1f} MB; open it in any browser.")


if __name__ == "__main__":
    main()
