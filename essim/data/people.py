"""What tables say about people: age, sex, and whether somebody is healthy.

In: the cells of a table, the user's own or one beside the scans (participants.tsv, IXI.xls). Out: ages in years, sexes
(m, f), healthy, ill or unknown, and sentences about what could not be read. Paper: section 3 (data).
"""

import json
import re
from dataclasses import dataclass, field

from essim.data.tables import is_gap, read_table

OLDEST = 120  # years; above it a number is a code for something else, such as 999
UNITS = {"y": 1, "m": 12, "w": 52.18, "d": 365.25}  # in a year
SEXES = {"1": "m", "2": "f", "male": "m", "man": "m", "boy": "m", "female": "f", "woman": "f", "girl": "f", "w": "f"}
KEYS = ("participant_id", "participant", "subject_id", "subject", "sub_id", "sub", "id", "ixi_id", "bids_id")
# Columns that say who is healthy; those of PERHAPS only if one of their values says so or mentions patients.
GROUPS = re.compile(
    r"groups?|(participant|subject|patient|clinical|diagnos\w+|study|research|dx)_(group|type|status|category)"
    r"|((primary|clinical|main|current)_)?diagnos[ie]s(_\d+)?|diag|dx(_?\d|_bl|_baseline)?|(disease|health)(_status)?"
    r"|status|disorder|pathology|(is|has)_(patient|healthy|control|disease|disorder|lesions?|stroke|tumou?r|ms)"
)
PERHAPS = re.compile(r"cohort|population|(clinical_)?condition|category|classification|phenotype|type|patient|healthy")
YES, NO = {"yes", "y", "true", "1"}, {"no", "n", "false", "0"}
HEALTHY = set(
    "control controls ctrl ctrls ctl con cont hc hcs hv hvs nc ncs cn cu healthy normal normals neurotypical tdc "
    "healthycontrol healthycontrols unaffected nondemented unimpaired".split()
)
BESIDE = set(  # words that may stand beside them
    "adult adults subject subjects participant participants volunteer volunteers person people individual individuals "
    "group young old older elderly matched age sex cognitively neurologically typical typically developing "
    "aging".split()
)


@dataclass
class Person:
    """What the lines of a table say about one person. `groups` are the values about health, as written."""

    age: int | float | str = ""
    sex: str = ""
    groups: list[str] = field(default_factory=list)
    healthy: bool | None = None  # None: they say nothing


def read_people(path):
    """The people of a table beside the scans.

    Returns: ({name as written: Person}, whether it says of anybody that they are healthy or not, sentences about what
        could not be read). Raises ValueError if the table cannot be read, or has no column that names the people.
    """
    names, lines, odd = read_table(path)
    plain = [re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_") for name in names]
    key = next((plain.index(name) for name in KEYS if name in plain), None)
    if key is None:
        raise ValueError(f"{path}: has no column that names people, such as `participant_id`; add it.")
    lines = [cells for cells in lines if not is_gap(cells[key])]
    meanings = _read_levels(path)
    sentences = [f"{len(odd)} line(s) have more cells than there are columns (line {odd[0]})"] if odd else []
    ages, sexes = [""] * len(lines), [""] * len(lines)
    if (column := _age_column(plain)) is not None:
        ages, unread = read_ages([cells[column] for cells in lines], "month" in plain[column])
        sentences += unread
    if (column := next((i for i, name in enumerate(plain) if re.match(r"(sex|gender)(_|$)", name)), None)) is not None:
        values = [_meaning(meanings, names[column], cells[column]) for cells in lines]
        sexes, unread = read_sexes(values, names[column])
        sentences += unread
    groups = {i: [_meaning(meanings, names[i], cells[i]) for cells in lines] for i in range(len(names))}
    groups = {i: values for i, values in groups.items() if _speaks_of_health(plain[i], values)}
    people = {}
    for number, cells in enumerate(lines):
        # Somebody can be listed twice: other lines fill in what the first leaves open.
        person = people.setdefault(cells[key].removesuffix(".0"), Person())
        person.age = ages[number] if person.age == "" else person.age
        person.sex = person.sex or sexes[number]
        for i, values in groups.items():
            healthy = says_healthy(values[number], plain[i])
            if healthy is not None:
                person.healthy = healthy and person.healthy is not False
                person.groups.append(values[number])
    speaks = any(person.groups for person in people.values()) or bool(groups and odd)
    return people, speaks, sentences


def says_healthy(value, column="group"):
    """Whether a value in a column about health calls somebody healthy; None where it is a gap."""
    text = value.strip().casefold()
    if is_gap(text):
        return None
    if text in YES | NO and re.match(r"(is_|has_|patient$|healthy$)", column):
        return (text in YES) == column.endswith(("healthy", "control"))
    if re.fullmatch(r"no (known )?(diagnosis|disease|disorder|pathology|lesions?|tumou?r|stroke|abnormality)", text):
        return True
    words = re.findall(r"[^\W\d_]+", re.sub(r"\bnon[- ]demented\b", "nondemented", text))
    return bool(HEALTHY & {*words}) and {*words} <= HEALTHY | BESIDE


def read_ages(texts, months=False):
    """Ages in years from what a table says: 45, 45Y, 045Y, 45,5, 89+, 540M, and the middle of 60-64.

    Returns: (ages, "" where there is none; sentences about those that could not be read, and about ranges).
    """
    ages, unread, ranges = [], [], []
    number = r"(\d+(?:[.,]\d+)?)"
    form = rf"[<>≥≤~=]*\s*{number}(?:\s*(?:-|–|to)\s*{number})?\s*\+?"
    form += r"\s*(?:([ymwd])[a-z./]*(?: old)?)?(?: (?:and|or) (?:older|over|above))?"
    for text in texts:
        match = re.fullmatch(form, text.strip().casefold())
        ends = [float(end.replace(",", ".")) for end in match.groups()[:2] if end] if match else []
        age = sum(ends) / max(len(ends), 1) / UNITS[match[3] or ("m" if months else "y")] if match else None
        if age is not None and age <= OLDEST:
            ranges += [text] if len(ends) == 2 else []
            ages.append(int(age) if age == int(age) else round(age, 2))
        else:
            unread += [] if is_gap(text) else [text]
            ages.append("")
    sentences = [f"{len(unread)} age(s) cannot be read ({_some(unread)})"] if unread else []
    return ages, sentences + ([f"{len(ranges)} age range(s) count as their middle ({_some(ranges)})"] if ranges else [])


def read_sexes(texts, title=""):
    """Sexes (m, f, "") of a column, and sentences about those that could not be read.

    1 is male and 2 female, unless its title says otherwise, as in `sex (0=m, 1=f)` or `sex (f=1, m=2)`; with a 0 and no
    such title, 0 and 1 are ambiguous.
    """
    title = title.casefold()
    codes = dict(re.findall(r"(\d)\s*[=:]\s*([mf])", title))
    codes |= {code: letter for letter, code in re.findall(r"\b([mf])[a-z]*\s*[=:]\s*(\d)", title)}
    plain = [text.strip().casefold().removesuffix(".0") for text in texts]
    if not codes and "0" in plain:
        codes = {"1": ""}
    sexes = [codes.get(text, sex_of(text)) for text in plain]
    known = {"o", "other", "d", "diverse", "x"}
    unread = [text for text, sex in zip(texts, sexes, strict=True) if not sex and not is_gap(text)]
    unread = [text for text in unread if text.strip().casefold() not in known]
    return sexes, [f"{len(unread)} sex(es) cannot be read ({_some(unread)})"] if unread else []


def sex_of(value):
    """ "m", "f" or "" from what a table says: 1 or 2, M or F, male or female."""
    text = str(value).strip().casefold().removesuffix(".0")
    return SEXES.get(text, text if text in ("m", "f") else "")


def _age_column(plain):
    """The index of the column with ages, or None: `age`, else age at the scan, in years or in months."""
    form = r"((pheno|subject|participant|patient|chronological|scan|mri)_)?age"
    form += r"(_(at|in|of|years?|yrs?|y|months?|scan\w*|mri|baseline|bl|visit|entry|study|test\w*|\d))*"
    fitting = [i for i, name in enumerate(plain) if re.fullmatch(form, name)]
    return min(fitting, key=lambda i: ("month" in plain[i], len(plain[i])), default=None)


def _speaks_of_health(column, values):
    """Whether a column says who is healthy, by its name and its values."""
    told = (says_healthy(value, column) or "patient" in value.casefold() for value in values)
    return bool(GROUPS.fullmatch(column)) or bool(PERHAPS.fullmatch(column)) and any(told)


def _read_levels(path):
    """{column: {value: what it means}} from the JSON file beside a BIDS table; {} where there is none."""
    try:
        content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8-sig"))
        levels = {name.casefold(): entry["Levels"] for name, entry in content.items() if "Levels" in entry}
        return {
            name: {str(value).casefold(): _description(meaning) for value, meaning in entry.items()}
            for name, entry in levels.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _description(meaning):
    return str(meaning.get("Description", "")) if isinstance(meaning, dict) else str(meaning)


def _meaning(meanings, column, value):
    """What a value means, if a JSON file says so and the value alone doesn't."""
    meaning = meanings.get(column.casefold(), {}).get(value.casefold(), "")
    return meaning if meaning and (value.isdigit() or says_healthy(meaning) or sex_of(meaning)) else value


def _some(values):
    """The first three different values, for a sentence."""
    different = list(dict.fromkeys(values))
    return ", ".join(f"`{value}`" for value in different[:3]) + (", ..." if len(different) > 3 else "")
