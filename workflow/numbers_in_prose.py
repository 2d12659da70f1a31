"""Numbers in prose, each bound to the table that it comes from: `make numbers` updates them.

    numbers_in_prose.py [--check]

A number in README.md, docs/, models/ or a notebook's text is a link to its table; the link's title says which cell it
is: `[0.106](results/reference/laptop/tables/main.csv "method=l1; dataset=ms; auprc")`. Rows are chosen by
column=value, and exactly one must remain; the last part names its column. The number keeps its decimals, and stays a
percentage if it is one. Clicking it leads to the table.

In: the Markdown files and notebooks of PROSE. Out: the same with today's numbers; with --check nothing is written, and
each number that differs is reported.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
PROSE = ("README.md", "*.md", "docs/*.md", "models/*.md", "notebooks/*.md", "notebooks/**/*.ipynb")
TRACED = re.compile(r'\[(?P<shown>[^][]+)\]\((?P<table>[^()\s]+\.csv) "(?P<cell>[^"]+)"\)')
NUMBER = re.compile(r"(?P<sign>[+-]?)(?P<whole>[\d,]*\d)(?:\.(?P<decimals>\d+))?(?P<percent> ?%)?")


def files():
    """The files that may hold traced numbers, sorted."""
    return sorted({path for pattern in PROSE for path in ROOT.glob(pattern)})


def value_of(table, cell):
    """The number in a cell of a CSV file, which `cell` describes as `column=value; ...; column`.

    Raises ValueError, in one sentence, where there is no such file, column or row, or more than one row.
    """
    if not table.is_file():
        raise ValueError(f"{table}: no such table; correct the link's address.")
    rows, *conditions, column = pd.read_csv(table, dtype=str, keep_default_na=False), *map(str.strip, cell.split(";"))
    for condition in conditions:
        name, _, wanted = condition.partition("=")
        if name not in rows:
            raise ValueError(f"{table}: no column `{name}`; there are {', '.join(rows.columns)}.")
        rows = rows[rows[name] == wanted]
    if column not in rows:
        raise ValueError(f"{table}: no column `{column}`; there are {', '.join(rows.columns)}.")
    if len(rows) != 1:
        raise ValueError(f"{table}: {len(rows)} rows have `{cell}`; one is needed.")
    return float(rows[column].iloc[0])


def written(value, like):
    """A number in the form of another's text: with as many decimals, and with a sign or a percentage if it has one.

    Raises ValueError if the text isn't a number.
    """
    form = NUMBER.fullmatch(like.replace("\N{MINUS SIGN}", "-"))
    if not form:
        raise ValueError(f"`{like}` is not a number; a traced link shows one, and nothing else.")
    value = value * 100 if form["percent"] else value
    decimals, sign = len(form["decimals"] or ""), "+" if form["sign"] else ""
    if not sign:  # no minus before a zero; where signs are shown, an interval's end just below 0 keeps its own
        value = round(value, decimals)
    return f"{value + 0.0:{sign},.{decimals}f}{form['percent'] or ''}".replace("-", "\N{MINUS SIGN}")


def renew(text, folder):
    """(text with today's numbers, sentences about what has changed); links are relative to `folder`."""
    changes = []

    def number(link):
        today = written(value_of(folder / link["table"], link["cell"]), link["shown"])
        if today != link["shown"].replace("-", "\N{MINUS SIGN}"):
            changes.append(f"{link['shown']} is {today} now ({link['table']}: {link['cell']})")
        return f'[{today}]({link["table"]} "{link["cell"]}")'

    return TRACED.sub(number, text), changes


def renew_file(path):
    """(the file's whole new text, sentences): a notebook's Markdown cells only."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return renew(text, path.parent)
    notebook, changes = json.loads(text), []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            source, own = renew("".join(cell["source"]), path.parent)
            cell["source"], changes = source.splitlines(keepends=True), changes + own
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n" if changes else text, changes


def main():
    parser = argparse.ArgumentParser(description="Update the numbers in the prose from the reference's tables.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a number differs")
    check = parser.parse_args().check
    differ = 0
    for path in files():
        text, changes = renew_file(path)
        for change in changes:
            print(f"{path.relative_to(ROOT)}: {change}")
        differ += len(changes)
        if changes and not check:
            path.write_text(text, encoding="utf-8")
    print(f"{differ} numbers differ." if check else f"{differ} numbers were updated.")
    return bool(check and differ)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ValueError as error:
        sys.exit(f"numbers: {error}")
