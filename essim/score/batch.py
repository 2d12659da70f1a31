"""Many scans: a table in, a folder of results for each scan out, with a page and a table of what was found in all.

In: a CSV, a TSV or an Excel file, one scan per line, with the columns `scan` and, as far as they are needed, `mask`,
`contrast` and `model`; paths are relative to the table. Out, in one folder:

    <name>/            what `score_scan` writes, named after the scan
    index.html         a picture, the volumes and the doubts of each scan, with links to the pages; failures first
    findings.csv       a line per scan: its numbers, or why it failed; provenance in findings.csv.json

Called again, it scores the scans that are missing or whose files or settings have changed.
"""

import json
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from essim.data.tables import is_gap, read_table
from essim.runs.provenance import provenance, write_table
from essim.runs.workers import work_off
from essim.score.index import write_index
from essim.score.recipe import name_of
from essim.score.scan import FILES, SEGMENTATION, plan_scan, score_scan

COLUMNS = ("scan", "mask", "contrast", "model")
TABLE = "findings.csv"
WAITING = "not scored yet"
DIED = "the process that worked on it died, often for lack of memory; run the same command with fewer --jobs."


def score_table(table, out, *, jobs=1, **choices):
    """Score the scans of a table, each as `score_scan` does; one that fails doesn't stop the others.

    Args:
        table: path of the table. out: a new or empty folder, or that of an earlier call, to resume it.
        jobs: how many scans at once, each on one core.
        choices: `model` and the other arguments of `score_scan`, for all scans; a cell of the table overrides them.

    Returns: a DataFrame, one row per scan, as in findings.csv: `name`, `scan`, what finding.json says in numbers and
        words (NaN where it failed), `doubts`, and `error`, "" or a sentence.

    Raises FileNotFoundError, ValueError: the table is missing or not a table of scans. FileExistsError: `out` holds
        something else.
    """
    table, out = Path(table), Path(out)
    rows = read_rows(table, choices)
    if out.exists() and not (out.is_dir() and ((out / TABLE).is_file() or not any(out.iterdir()))):
        raise FileExistsError(f"{out}: holds something other than the results of a table; give another folder.")
    errors = {row["name"]: "" if _is_scored(out, row) else WAITING for row in rows}
    todo = [row for row in rows if errors[row["name"]]]
    record = provenance({"table": str(table), **choices}, [table])
    _summarise(out, rows, errors, record)  # marks the folder as this table's
    try:
        with tqdm(total=len(rows), initial=len(rows) - len(todo), desc="score", unit="scan") as bar:
            for row, error in work_off(partial(_score_row, out), todo, jobs, died=DIED):
                errors[row["name"]] = error
                bar.update()
    finally:
        found = _summarise(out, rows, errors, record)
    return found


def read_rows(table, choices):
    """The scans of a table: dicts of `name` (of its folder, unique), `scan` (path), and its own `choices`."""
    if not table.is_file():
        raise FileNotFoundError(f"{table}: no such file; give a table with the columns {', '.join(COLUMNS)}.")
    names, lines, odd = read_table(table)
    names = [name.casefold() for name in names]
    if odd or "scan" not in names or not lines:
        reason = f"line {odd[0]} has too many cells" if odd else "it lists no scans in a column `scan`"
        raise ValueError(f"{table}: {reason}; the columns are {', '.join(COLUMNS)}, one scan per line.")
    rows = []
    for number, line in enumerate(lines, 1):
        cells = {name: cell for name, cell in zip(names, line, strict=True) if name in COLUMNS and not is_gap(cell)}
        if "scan" not in cells:
            raise ValueError(f"{table}: scan {number} has no path in the column `scan`; complete the table.")
        for column in {"scan", "mask", "model"} & {*cells}:
            if cells[column].casefold() != "nonzero":
                cells[column] = str(table.parent / Path(cells[column]).expanduser())
        own = {column: cells[column] for column in ("mask", "model") if column in cells}
        own |= {"contrast": cells["contrast"].casefold()} if "contrast" in cells else {}
        rows.append({"scan": cells["scan"], "choices": {"model": None} | choices | own})
    return [row | {"name": name} for row, name in zip(rows, _names([row["scan"] for row in rows], table), strict=True)]


def _names(scans, table):
    """A name for each scan: its own; if several share it, preceded by the folders that tell them apart."""
    parts = [(*Path(scan).resolve().parts[1:-1], name_of(scan)) for scan in scans]
    names = ["_".join(part[-1:]) for part in parts]
    for depth in range(2, max(map(len, parts)) + 1):
        twice = {name for name in names if names.count(name) > 1}
        names = ["_".join(part[-depth:]) if name in twice else name for name, part in zip(names, parts, strict=True)]
    twice = [scan for scan, name in zip(scans, names, strict=True) if names.count(name) > 1]
    if twice:
        raise ValueError(f"{table}: lists {twice[0]} more than once; leave one line.")
    return names


# One scan


def _is_scored(out, row):
    """Whether the folder of a scan holds its whole result: same settings, same files, same version of essim."""
    folder = out / row["name"]
    try:
        finding = json.loads((folder / "finding.json").read_text(encoding="utf-8"))
        was, files = finding["provenance"], FILES | ({SEGMENTATION} if finding["segmentation_written"] else set())
        plan = plan_scan(row["scan"], **row["choices"])
        now = json.loads(json.dumps(provenance(plan.settings, plan.inputs), default=str))
    except (OSError, ValueError, KeyError):  # missing, damaged, or an error that the worker will report
        return False
    same = all(was.get(key) == now[key] for key in ("parameters", "inputs"))
    same = same and was.get("versions", {}).get("essim") == now["versions"]["essim"]
    return same and all((folder / name).is_file() for name in files)


def _score_row(out, row):
    """Score one scan in a process of its own; "" or the reason why it failed."""
    torch.set_num_threads(1)
    try:
        score_scan(row["scan"], out=out / row["name"], **row["choices"], progress=False)
        return ""
    except Exception as error:  # one scan's: the others go on
        strerror = getattr(error, "strerror", None)
        text = f"{error.filename}: {strerror}." if strerror else str(error)
        return " ".join(text.split()) or type(error).__name__


# All of them


def _summarise(out, rows, errors, record):
    """Write the table and the page; returns the table."""
    records = [_record(out, row, errors[row["name"]]) for row in rows]
    found = pd.DataFrame(records)
    found = found[[*(column for column in found if column not in ("doubts", "error")), "doubts", "error"]]
    write_table(found, out / TABLE, record)
    write_index(out / "index.html", records)
    return found


def _record(out, row, error):
    """A scan's row of the table."""
    record = {"name": row["name"], "scan": row["scan"], "doubts": "", "error": error}
    if error:
        return record
    finding = json.loads((out / row["name"] / "finding.json").read_text(encoding="utf-8"))
    numbers = {key: value for key, value in finding.items() if not isinstance(value, list | dict)}
    numbers |= {f"check_{name}": number for name, number in finding["checks"].items()}
    return record | numbers | {"doubts": " ".join(doubt["means"] for doubt in finding["doubts"])}
