"""The page over many scored scans, to be opened from disk in any browser.

In: the records of essim.score.batch. Out: index.html, beside the folders of the scans. Failures come first, then
scans with doubts, then all others in the order of the table.
"""

from html import escape
from urllib.parse import quote

from essim.figures.style import ORANGE
from essim.runs.files import writing
from essim.score.native import describe

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Scored scans</title><style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em; color: #222 }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(30em, 100%), 1fr)); gap: 1.2em }}
figure {{ margin: 0; padding: .6em; border: 1px solid #ccc; border-radius: 6px; overflow-wrap: anywhere }}
figure.doubtful {{ border: 2px solid {orange} }} figure p {{ margin: .4em 0 0 }}
img {{ width: 100%; background: black }} td {{ padding: .2em 1.2em .2em 0; vertical-align: top }}
</style></head><body>
<h1>Scored scans</h1>
<p>{counts} All numbers: <a href="findings.csv">findings.csv</a>. Not for diagnosis.</p>
{failed}
<main>
{figures}
</main></body></html>
"""


def write_index(path, records):
    """Write the page.

    Args:
        records: dicts with `name` (of the scan's folder), `scan`, `error`, and where that is "" what finding.json says
            of `doubts` (a text), `contrast`, `brain_ml` and what `describe` takes.
    """
    failed = [record for record in records if record["error"]]
    scored = sorted((record for record in records if not record["error"]), key=lambda record: not record["doubts"])
    doubtful = sum(bool(record["doubts"]) for record in scored)
    counts = f"{len(scored)} of {len(records)} scans are scored, {doubtful} of them with doubts (first)."
    lines = "".join(f"<tr><td>{escape(r['name'])}</td><td>{escape(r['error'])}</td></tr>\n" for r in failed)
    table = f"<h2>Not scored</h2>\n<table>\n{lines}</table>" if failed else ""
    figures = "\n".join(map(_figure, scored))
    with writing(path) as temporary:
        temporary.write_text(PAGE.format(counts=counts, failed=table, figures=figures, orange=ORANGE), "utf-8")


def _figure(record):
    name, folder = escape(record["name"]), quote(record["name"])
    doubts = f"<p><b>Beware:</b> {escape(record['doubts'])}</p>" if record["doubts"] else ""
    facts = f"{record['contrast'].upper()}, brain {record['brain_ml']:.0f} ml: {describe(record)}"
    picture = f"<img loading='lazy' alt='Overview of {name}' src='{folder}/overview.png'>"
    return (
        f"<figure{' class=doubtful' if doubts else ''}><a href='{folder}/viewer.html'>{picture}</a>"
        f"<figcaption><a href='{folder}/viewer.html'><b>{name}</b></a><br>{escape(facts)}{doubts}</figcaption></figure>"
    )
