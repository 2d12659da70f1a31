"""One page of what the benchmarks measured: every ratio with its goal and its limit, figures, tables. It loads nothing.

    python benchmarks/page.py [FOLDER [PAGE]]      results/bench and FOLDER/index.html if not given

In: the CSV files and figures of ssim.py, unet.py and training.py, each with its provenance; what isn't there is said to
be not measured. Out: one HTML file, for light and dark screens, with everything inside it.

The limit of a score is what the floor of ssim.py leaves: its arithmetic at the speed of a matrix product.
"""

import argparse
import itertools
import json
import sys
from html import escape
from pathlib import Path

import pandas as pd

from essim.runs.files import writing

sys.path.append(str(Path(__file__).resolve().parents[1] / "workflow"))
from fragments import prose  # noqa: E402 (it lies there)
from report import ROOT, figure  # noqa: E402

WHOLE = {"cpu": "essim, numba", "cuda": "essim, triton"}  # the whole volume, without a mask
SIZES = ("48x48x25", "96x96x50", "192x192x100")
TIMES_TORCHMETRICS = {("cpu", "192x192x100"): 300, ("cuda", "192x192x100"): 100}
MICROSECONDS = {"96x96x50": 40, "192x192x100": 300}  # on a GPU
TIMES_THE_FASTER_PEER = {"as called": 2, "with every advantage": 1}  # the second: settings are equal
PLACES = {"cpu": "one CPU thread", "cuda": "one GPU"}
FIGURES = {"ssim": "Time of one anomaly map over the size of the volume.", "unet": "Slices a second of the U-Net."}
TABLES = {
    "ssim": "The ensemble of SSIM maps",
    "unet": "The U-Net",
    "training": "The parts of a training step",
    "noise": "Simplex noise",
}
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>essim: how fast</title><style>
{style}{dark}</style></head><body>
<header><h1>essim: how fast</h1>
<p>Score, network and training beside other libraries, from the files in <code>{folder}</code>.</p></header>
<main>
<section id="goals"><h2>Every ratio, its goal and its limit</h2>
<p>A ratio (×) says how many times as fast as the library beside it essim is; where two are named, the faster one
counts. A score is that of the whole volume, without a mask. Its limit is what its arithmetic would take at the speed of
a matrix product on the same device. The limit of a network is not known.</p>
{goals}</section>
{sections}
</main></body></html>
"""
DARK = """:root { color-scheme: light dark }
img { background: white }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e7ea; --soft: #9aa5ae; --line: #3a434b; --paper: #15181b; --pale: #1f2428; --link: #7cc0ea }
}
"""


def page(folder):
    """The page's HTML; FileNotFoundError, in one sentence, where the folder has no table of a benchmark."""
    paths = {f"{name}_{device}": folder / f"{name}_{device}.csv" for name in TABLES for device in PLACES}
    tables = {name: pd.read_csv(path) for name, path in paths.items() if path.is_file()}
    if not tables:
        raise FileNotFoundError(f"{folder}: holds no table of a benchmark; run `make bench` first.")
    return PAGE.format(
        style=(ROOT / "workflow/page.css").read_text(encoding="utf-8"),
        dark=DARK,
        folder=escape(folder.name),
        goals=_as_html(ratios(tables), "goals"),
        sections="".join(_section(name, table, folder) for name, table in tables.items()),
    )


def ratios(tables):
    """What was measured beside its goal and its limit, a row each, as text.

    Args:
        tables: {"ssim_cpu": DataFrame, ...}, as the benchmarks wrote them; some may be missing.

    Returns: a DataFrame `what, against, where, measured, goal, limit, reached`. What has a goal and no measurement
        stands in it as not measured; what has neither is left out.
    """
    rows = []

    def add(what, against, device, measured, goal, limit=float("nan"), unit="×"):
        if pd.isna(measured) and goal is None:
            return
        share = float("nan") if goal is None else goal / measured if unit == "µs" else measured / goal
        reached = "" if pd.isna(share) else "yes" if share >= 1 else f"{share:.0%} of it"
        texts = [f"{_number(value)} {unit}" if pd.notna(value) else "–" for value in (measured, goal, limit)]
        texts[0] = "not measured" if pd.isna(measured) else texts[0]
        rows.append([what, against, PLACES[device], *texts, reached])

    for device, size in itertools.product(PLACES, SIZES):
        table, who = tables.get(f"ssim_{device}"), (WHOLE[device], "floor")
        found = [_pick(table, "times_torchmetrics", size=size, contender=name) for name in who]
        add(f"score of {size}", "torchmetrics", device, found[0], TIMES_TORCHMETRICS.get((device, size)), found[1])
        if device == "cuda":
            found = [1000 * _pick(table, "milliseconds", size=size, contender=name) for name in who]
            add(f"score of {size}", "the clock", device, found[0], MICROSECONDS.get(size), found[1], "µs")
    for device, size, what in itertools.product(PLACES, ("laptop", "paper"), ("train", "reconstruct")):
        for how, goal in TIMES_THE_FASTER_PEER.items():
            keys = {"size": size, "what": what, "how": how, "contender": "essim"}
            found = _pick(tables.get(f"unet_{device}"), "times_the_faster_peer", **keys)
            add(f"U-Net of {size}: {what}", f"diffusers and MONAI, {how}", device, found, goal)
    for device in PLACES:
        found = _pick(tables.get(f"noise_{device}"), "times_the_loop", noise="essim.simplex_noise")
        add("noise for 32 slices", "a loop over opensimplex", device, found, None)
    return pd.DataFrame(rows, columns=["what", "against", "where", "measured", "goal", "limit", "reached"])


def _pick(table, column, **keys):
    """The number in the row with these values; NaN where there is no such row."""
    if table is not None:
        for key, value in keys.items():
            table = table[table[key] == value]
    return float("nan") if table is None or table.empty else table[column].iloc[0]


def _number(value):
    return "" if pd.isna(value) else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _as_html(table, name):
    text = table.apply(lambda column: column.map(_number) if column.dtype == float else column.fillna(""))
    return prose(text.to_markdown(index=False, disable_numparse=True), name)


def _section(name, table, folder):
    """A table with its figure, if it has one, and what made it."""
    kind, device = name.rsplit("_", 1)
    record = json.loads((folder / f"{name}.csv.json").read_text(encoding="utf-8"))
    revision = f"{(record['revision'] or 'not in a repository')[:10]}{', with changes' if record['dirty'] else ''}"
    made = f"{record['device']}, {record['time'][:10]}, revision {revision}, torch {record['versions']['torch']}"
    picture = folder / f"{name}.png"
    shown = figure(picture, FIGURES[kind]) if kind in FIGURES and picture.is_file() else ""
    title = f"{TABLES[kind]} on {PLACES[device]}"
    return f'<section id="{name}"><h2>{title}</h2>\n<p>{escape(made)}</p>\n{shown}{_as_html(table, name)}</section>\n'


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("results/bench"))
    parser.add_argument("page", type=Path, nargs="?", help="default: index.html in the folder")
    given = parser.parse_args(arguments)
    try:
        html = page(given.folder)
    except FileNotFoundError as error:
        sys.exit(str(error))
    path = given.page or given.folder / "index.html"
    with writing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    print(f"{path}: {len(html.encode()) / 1e6:.1f} MB; open it in any browser.")


if __name__ == "__main__":
    main()
