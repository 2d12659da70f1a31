"""Numbers in prose are those of their tables; one that is changed by hand is caught."""

import json
import re

import numbers_in_prose as numbers
import pytest

TABLE = "method,dataset,auprc\nl1,ms,0.10649\nl1,stroke,-0.2\n"
LINK = '[{}](t.csv "method=l1; dataset={}; auprc")'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)
    return tmp_path


@pytest.mark.parametrize("path", numbers.files(), ids=lambda path: str(path.relative_to(numbers.ROOT)))
def test_every_traced_number_is_that_of_its_table(path):
    assert numbers.renew_file(path)[1] == [], "make numbers"


@pytest.mark.parametrize(
    ("shown", "today"),
    [("0.1", "0.1"), ("0.107", "0.106"), ("+0.2", "+0.1"), ("8 %", "11 %"), ("10.6%", "10.6%"), ("-0.11", "+0.11")],
)
def test_a_number_keeps_its_form(folder, shown, today):
    text, changes = numbers.renew(f"l1 has {LINK.format(shown, 'ms')}.", folder)
    assert text == f"l1 has {LINK.format(today, 'ms')}."
    assert len(changes) == (shown != today)


def test_a_minus_is_a_minus(folder):
    text, changes = numbers.renew(LINK.format("-0.20", "stroke"), folder)
    assert text == LINK.format("\N{MINUS SIGN}0.20", "stroke") and not changes


def test_only_prose_of_a_notebook_is_renewed(folder):
    link = LINK.format("0.2", "ms")
    cells = [{"cell_type": kind, "source": [link + "\n", "more"]} for kind in ("markdown", "code")]
    (folder / "n.ipynb").write_text(json.dumps({"cells": cells}))
    text, changes = numbers.renew_file(folder / "n.ipynb")
    prose, code = json.loads(text)["cells"]
    assert prose["source"] == [LINK.format("0.1", "ms") + "\n", "more"] and code == cells[1] and len(changes) == 1


@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        ('[1](u.csv "auprc")', "u.csv: no such table; correct the link's address."),
        ('[1](t.csv "methods=l1; auprc")', "t.csv: no column `methods`; there are method, dataset, auprc."),
        ('[1](t.csv "method=l1; auroc")', "t.csv: no column `auroc`; there are method, dataset, auprc."),
        ('[1](t.csv "method=l1; auprc")', "t.csv: 2 rows have `method=l1; auprc`; one is needed."),
        ('[many](t.csv "method=l1; dataset=ms; auprc")', "`many` is not a number"),
    ],
)
def test_a_wrong_trace_is_one_sentence(folder, link, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        numbers.renew(link, folder)


@pytest.mark.parametrize(
    ("value", "like", "shown"),
    [
        (-0.004, "+0.00", "\N{MINUS SIGN}0.00"),
        (0.004, "+0.01", "+0.00"),
        (-0.0, "+0.00", "+0.00"),
        (-0.004, "0.10", "0.00"),
    ],
)
def test_an_interval_that_ends_just_below_0_says_so(value, like, shown):
    assert numbers.written(value, like) == shown
