"""Tables as people write them, as text: encodings, separators, quotes and blanks are sorted out here.

In: a CSV, a TSV or an Excel file, whatever it is called. Out: the names of its columns and its lines, all of it text.
Used for users' own tables and for those beside the scans (section 3, data).
"""

import csv
import io
import re
from pathlib import Path

import pandas as pd

SEPARATORS = "\t;,|"
EXCEL = (b"PK\3\4", b"\xd0\xcf\x11\xe0")  # how .xlsx and .xls begin, even if they are called .csv
GAPS = {"", "-", "--", ".", "?", "n/a", "na", "nan", "none", "null", "nil", "<na>", "#n/a", "unknown", "missing"}


def is_gap(text):
    """Whether a cell says nothing: empty, n/a, nan, a dash."""
    return str(text).strip().casefold() in GAPS


def read_table(path):
    """The cells of a table, stripped of surrounding blanks.

    Returns: (names of the columns, lines, odd): the lines without the header and without empty ones, each a list of as
        many cells as there are columns; `odd` are the numbers, from 1, of lines with more cells than columns, which
        aren't among the lines, since it isn't clear which cell belongs to which column.

    Raises ValueError where the file is empty or not a table.
    """
    content = Path(path).read_bytes()
    numbered = _read_excel(path) if content.startswith(EXCEL) else _split(_decode(content, path), path)
    numbered = [(number, [_strip(cell) for cell in cells]) for number, cells in numbered]
    numbered = [(number, cells) for number, cells in numbered if any(cells)]
    if not numbered:
        raise ValueError(f"{path}: is empty; correct the file.")
    names = _without_end(numbered[0][1], 0)
    lines, odd = [], []
    for number, cells in numbered[1:]:
        cells = _without_end(cells, len(names))
        if len(cells) == 1 < len(names) == len(cells[0].split()):  # blanks where the separator should be
            cells = cells[0].split()
        if len(cells) > len(names):
            odd.append(number)
        else:
            lines.append(cells + [""] * (len(names) - len(cells)))
    return names, lines, odd


def _decode(content, path):
    """The text of a file: UTF-8 or UTF-16, with or without a byte-order mark, else what Western Windows writes."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ("utf-16",)
    elif b"\0" in content[:2]:
        encodings = ("utf-16-be" if content[:1] == b"\0" else "utf-16-le",)
    else:
        encodings = ("utf-8-sig", "cp1252", "latin-1")
    for encoding in encodings:
        try:
            text = content.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        text = "\0"
    if "\0" in text:
        raise ValueError(f"{path}: cannot be read as a CSV or TSV (it is not text); correct the file.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _split(text, path):
    """[(line number, cells)] of a text, with the separator that splits its first line into the most cells."""
    skipped = len(text) - len(text.lstrip("\n"))
    text, separators = text[skipped:], SEPARATORS
    if said := re.match(r'"?sep=(.)"?\n', text):  # Excel's way of naming the separator
        text, separators, skipped = text[said.end() :], said[1], skipped + 1
    first = text.split("\n", 1)[0]
    separator = max(separators, key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
    if separator not in first and len(first.split()) > 1:
        return [(number + skipped, line.split()) for number, line in enumerate(text.split("\n"), 1)]
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        options = {"delimiter": separator, "quoting": quoting, "skipinitialspace": True, "strict": True}
        reader = csv.reader(io.StringIO(text), **options)
        try:
            rows = [(reader.line_num + skipped, cells) for cells in reader]
        except csv.Error as error:
            reason = error
            continue
        # A quote that is never closed swallows lines: then quotes are read as ordinary letters.
        if quoting == csv.QUOTE_NONE or not any("\n" in cell and separator in cell for _, row in rows for cell in row):
            return rows
    raise ValueError(f"{path}: cannot be read as a CSV or TSV ({reason}); correct the file.")


def _read_excel(path):
    """[(line number, cells)] of an Excel file's first sheet."""
    try:
        sheet = pd.read_excel(path, engine="calamine", header=None, dtype=str, keep_default_na=False)
    except Exception as error:  # whatever a damaged file makes the reader raise
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: cannot be read as an Excel file ({reason}); save the table as CSV.") from error
    return list(enumerate(sheet.values.tolist(), 1))


def _strip(cell):
    """A cell without blanks, quotes and invisible marks around it."""
    return str(cell).strip("\ufeff\u200b \t\n\u00a0").strip('"').strip()


def _without_end(cells, least):
    """Cells without the empty ones at the end, but at least `least` of them."""
    while len(cells) > least and not cells[-1]:
        cells = cells[:-1]
    return cells
