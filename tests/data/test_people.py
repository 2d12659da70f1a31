"""participants.tsv as people write it: ages, sexes and groups arrive, or are counted as missing."""

import pytest
from trees import bids, participants, told

from essim.data.datasets import load_scans
from essim.data.people import read_ages, read_sexes, says_healthy
from essim.data.tables import read_table

PLAIN = "participant_id\tage\tsex\n"


@pytest.mark.parametrize(
    ("text", "years"),
    [
        *(
            ("45", 45),
            ("45Y", 45),
            ("045Y", 45),
            ("45 y", 45),
            ("45.5", 45.5),
            ("45,5", 45.5),
            ("540M", 45),
            ("89+", 89),
        ),
        *((">89", 89), ("89 or older", 89), ("60-64", 62), ("18–38", 28), ("20 to 30", 25), ("45 years old", 45)),
        *(("45yrs", 45), ("6 months", 0.5), ("0", 0), ("23.0", 23), ("~70", 70)),
        *((text, "") for text in ("n/a", "", "-", "nan", "-1", "999", "old", "1975-03-02", "1975", "x45", "45 kg")),
    ],
)
def test_ages(text, years):
    ages, sentences = read_ages([text])
    assert ages == [years]
    said = " ".join(sentences)
    assert ("cannot be read" in said) == (years == "" and text not in ("n/a", "", "-", "nan"))
    assert ("count as their middle" in said) == (text in ("60-64", "18–38", "20 to 30"))


def test_sexes():
    assert read_sexes(["M", "female", " Male ", "w", "1", "2.0", "n/a", "other"]) == (list("mfmfmf") + ["", ""], [])
    assert read_sexes(["0", "1"]) == (["", ""], ["2 sex(es) cannot be read (`0`, `1`)"])  # which is which?
    assert read_sexes(["0", "1"], "Sex (0=M, 1=F)") == (["m", "f"], [])
    assert read_sexes(["1", "2"], "gender [female=1, male=2]") == (["f", "m"], [])
    assert read_sexes(["u"])[1] == ["1 sex(es) cannot be read (`u`)"]


def test_words_for_healthy_people():
    controls = "control CONTROLS HC HC1 Healthy healthy_control cn|healthy volunteer|Cognitively normal|control group"
    for text in [
        *controls.split("|")[0].split(),
        *controls.split("|")[1:],
        "HealthyControl",
        "no disease",
        "Nondemented",
    ]:
        assert says_healthy(text) is True, text
    ill = (
        "patient|non-control|control patient|HS|NL|normal pressure hydrocephalus|not healthy|1|unhealthy|sibling|stroke"
    )
    assert [says_healthy(text) for text in ill.split("|")] == [False] * 11
    assert [says_healthy(text) for text in ("", "n/a", "-", "unknown")] == [None] * 4


# {what: (text; encoding; ages and sexes of sub-01 to sub-03; what is said beside who is healthy)}
TABLES = {
    "plain": (PLAIN + "sub-01\t23\tM\nsub-02\tn/a\tF\nsub-03\t45Y\tn/a\n", "utf-8", "23m f 45.", ""),
    "mark": ("\ufeff" + PLAIN + "sub-01\t23\tM\n", "utf-8", "23m . .", "2 of 3 subject(s) aren't listed"),
    "bare ids": (PLAIN + "01\t23\tM\n02\t30\tF\n3\t40\tF\n", "utf-8", "23m 30f 40f", ""),
    "S01": (PLAIN + "S01\t23\tM\nsub02\t30\tF\nSUB-03\t40\tF\n", "utf-8", "23m 30f 40f", ""),
    "session in the id": (PLAIN + "sub-01_ses-1\t23\tM\n02\t30\tF\n03\t4\tF\n", "utf-8", "23m 30f 4f", ""),
    "89+": (
        PLAIN + "sub-01\t89+\tM\nsub-02\t-\t-\nsub-03\t18-38\tF\n",
        "utf-8",
        "89m . 28f",
        "1 age range(s) count as their middle (`18-38`)",
    ),
    "capitals": ("participant_id\tAge\tGender\n01\t23\tM\n02\t1\tF\n03\t2\tF", "utf-8", "23m 1f 2f", ""),
    "other titles": ("Subject ID\tAge (years)\tSex\n01\t23\tM\n02\t1\tF\n03\t2\tF", "utf-8", "23m 1f 2f", ""),
    "age at scan": ("participant_id\tage_at_onset\tage_at_scan\n1\t9\t23\n2\t\t1\n3\t\t2", "utf-8", "23. 1. 2.", ""),
    "months": ("participant_id\tage_months\n1\t276\n2\t12\n3\t24", "utf-8", "23. 1. 2.", ""),
    "commas": (PLAIN.replace("\t", ",") + "sub-01,23,M\nsub-02, 30, F\nsub-03,,\n", "utf-8", "23m 30f .", ""),
    "semicolons": (PLAIN.replace("\t", ";") + "sub-01;23,5;M\nsub-02;30;F\nsub-03;;\n", "utf-8", "23.5m 30f .", ""),
    "blanks": (PLAIN + "sub-01\t23\tM\nsub-02  30  F\nsub-03 \t 4 \t F \n", "utf-8", "23m 30f 4f", ""),
    "Latin-1": (PLAIN[:-1] + "\tn\n1\t23\tM\tMüller\n2\t1\tF\t\n3\t1\tF\t", "latin-1", "23m 1f 1f", ""),
    "UTF-16": (PLAIN + "sub-01\t23\tM\nsub-02\t1\tF\nsub-03\t1\tF\n", "utf-16", "23m 1f 1f", ""),
    "UTF-16, no mark": (PLAIN + "sub-01\t23\tM\n2\t1\tF\n3\t1\tF\n", "utf-16-le", "23m 1f 1f", ""),
    "CRLF": (PLAIN.strip() + "\r\n1\t23\tM\r\n2\t1\tF\r\n3\t1\tF\r\n\r\n", "utf-8", "23m 1f 1f", ""),
    "old Mac": (PLAIN.strip() + "\r1\t23\tM\r2\t1\tF\r3\t1\tF", "utf-8", "23m 1f 1f", ""),
    "too many cells": (PLAIN + "1\t23\tM\n2\t30\tF\tx\ty\n3\t1\tF\n", "utf-8", "23m . 1f", "more cells than there are"),
    "unclosed quote": (PLAIN[:-1] + '\tn\n1\t23\tM\t"6\n2\t30\tF\t\n3\t1\tF\t"7"\n', "utf-8", "23m 30f 1f", ""),
    "two id columns": (
        "participant_id\t" + PLAIN + "sub-01\tX\t23\tM\n2\tY\t1\tF\n3\tZ\t1\tF\n",
        "utf-8",
        "23m 1f 1f",
        "",
    ),
    "ages nobody reads": (
        PLAIN + "1\told\tM\n2\t999\tF\n3\t1\tF\n",
        "utf-8",
        "m f 1f",
        "2 age(s) cannot be read (`old`, `999`)",
    ),
    "sexes nobody reads": (
        PLAIN + "1\t1\t0\n2\t1\t1\n3\t1\t1\n",
        "utf-8",
        "1. 1. 1.",
        "3 sex(es) cannot be read (`0`, `1`)",
    ),
    "empty": ("", "utf-8", ". . .", "participants.tsv: is empty"),
    "header only": (PLAIN, "utf-8", ". . .", "3 of 3 subject(s) aren't listed"),
    "Excel's sep": ("sep=;\n" + PLAIN.replace("\t", ";") + "1;23;M\n2;1;F\n3;1;F\n", "utf-8", "23m 1f 1f", ""),
}


@pytest.mark.parametrize(("text", "encoding", "people", "said"), TABLES.values(), ids=TABLES)
def test_participants_as_people_write_them(tmp_path, text, encoding, people, said):
    for i in (1, 2, 3):
        bids(tmp_path, f"sub-0{i}", "T1w")
    (tmp_path / "participants.tsv").write_bytes(text.encode(encoding))
    scans, sentences = told(tmp_path)
    rows = zip(scans.age, scans.sex, strict=True)
    assert " ".join(f"{age}{sex}" if sex else f"{age}." for age, sex in rows) == people
    assert set(scans.dataset) == {"healthy"} and "nothing says who is healthy" in sentences
    assert (said in sentences) if said else "participants.tsv:" not in sentences


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x81\x00", b"PK\3\4" + bytes(99), b"age\tsex\n1\tM\n", bytes(99)])
def test_a_damaged_table_makes_nobody_healthy(tmp_path, content):
    """Nor does it stop a study that doesn't need it."""
    bids(tmp_path, "sub-01", "T1w")
    (tmp_path / "participants.tsv").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"no scan is left: 1 .*participants.tsv (cannot be read|has no column)"
    ) as error:
        load_scans(tmp_path)
    assert "\n" not in str(error.value)
    (tmp_path / "participants.tsv").unlink()
    bids(tmp_path / "ill", "sub-02", "T1w", "label-lesion_mask")
    (tmp_path / "ill/participants.tsv").write_bytes(content)
    scans, said = told(tmp_path)
    assert scans.subject.tolist() == ["sub-02"] and "ill/participants.tsv: " in said and "have no age and sex" in said


def test_a_line_that_cannot_be_read_makes_nobody_healthy(tmp_path):
    """A doubled tab shifts the group out of its column."""
    for i in (1, 2):
        bids(tmp_path, f"sub-0{i}", "T1w")
    participants(tmp_path, "sub-01\t23\tM\tcontrol", "sub-02\t30\t\tF\tpatient")
    scans, said = told(tmp_path)
    assert scans.subject.tolist() == ["sub-01"] and "1 line(s) have more cells than there are columns (line 3)" in said


def test_names_that_match_two_lines_are_nobodys(tmp_path):
    for subject in ("sub-01", "sub-S01", "sub-2", "sub-02"):
        bids(tmp_path, subject, "T1w")
    participants(tmp_path, "S01\t30", "01\t40", "002\t50", columns="participant_id\tage")
    people = told(tmp_path)[0].set_index("subject").age
    assert people.to_dict() == {"sub-01": 40, "sub-S01": 30, "sub-2": "", "sub-02": ""}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('a,b\n"x, y",2\n', [["x, y", "2"]]),
        ('a,b\n"x\ny",2\n', [["x\ny", "2"]]),  # a cell of two lines
        ('a\tb\n"x\t1\ny\t2\nz"\t3\n', [["x", "1"], ["y", "2"], ["z", "3"]]),  # two inches, no cell of three lines
        ("a,b,,\n1,2,,\n,,,\n", [["1", "2"]]),
        ("\n\na|b\n1|2\n", [["1", "2"]]),
        ("a b\n1 2\n", [["1", "2"]]),
        ("a\u00a0,\u200bb\n\u00a01,2\n", [["1", "2"]]),
    ],
)
def test_cells_of_tables(tmp_path, text, lines):
    (tmp_path / "table").write_text(text, encoding="utf-8")
    assert read_table(tmp_path / "table") == (["a", "b"], lines, [])
