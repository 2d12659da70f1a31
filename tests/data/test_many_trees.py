"""Many trees and tables, generated: each gives a checked table or one sentence, and no patient is healthy.

The generator knows what it means, who has a lesion mask and whom the table calls what: the result is held against it.
"""

import csv
import io
import tempfile
import warnings
from pathlib import Path

import numpy as np
from helpers import save
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import scan

from essim.data.datasets import load_scans
from essim.data.splits import person_of

many = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))

IMAGES = (
    "T1w T2w run-1_T1w run-2_T1w run-02_T2w acq-mprage_T1w ce-gd_T1w acq-postGd_T1w part-phase_T1w FLAIR rec-norm_T1w "
)
IMAGES += (
    "space-MNI152NLin6Asym_T1w desc-preproc_T1w desc-lesionfilled_T1w echo-1_T1w inv-2_T1w t1w UNIT1 desc-brain_T2w"
)
LESIONS = (
    "label-lesion_mask T1w_label-lesion_roi T1w_desc-lesion_mask lesion_mask label-tumor_mask run-2_label-stroke_mask "
)
LESIONS += (
    "lesion-manual_T1w label-lesion_dseg label-L_probseg space-MNI152NLin6Asym_label-lesion_mask FLAIR_lesion_seg"
)
OTHERS = (
    "desc-brain_mask dseg label-GM_probseg label-nonlesion_mask label-perilesional_mask roi mask label-thalamus_mask "
)
OTHERS += "run-2_desc-brain_mask space-MNI152NLin6Asym_desc-brain_mask desc-aseg_dseg mod-T1w_defacemask msk"
HEALTHY = ("control", "Control", "HC", "healthy volunteer", "CN", "Healthy control ")
ILL = ("patient", "AD", "stroke", "HS", "schizophrenia", "non-control", "MS", "2", "control patient", "Patients")
UNSAID = ("", "n/a", "NA", "nan", "-", "unknown")
IDS = ("sub-{0}", "{0}", "SUB-{0}", "sub-{0} ", "sub_{0}", "sub-{0}_ses-1")
COLUMNS = ("group", "Group", "diagnosis", "DX", "status", "participant_type", "Clinical Group")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1")
LINKS = (("derivatives/a/raw", "../.."), ("loop", "."), ("b", "sub-1"), ("x", "y"), ("sub-1/again", ".."), ("c", "c"))


def load(source):
    """(table or None, all that was said); whatever else than a sentence is raised fails the test."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            table, error = load_scans(source), ""
        except (ValueError, FileNotFoundError) as sentence:
            table, error = None, str(sentence)
    assert "\n" not in error or "problem(s); strict=False leaves these scans out.\n" in error
    assert error == "" or error.startswith(str(source)) and error.rstrip()[-1] in ".)"
    if table is not None:
        for path in {*table.image, *table["mask"], *table.seg} - {"", "nonzero"}:
            assert Path(path).is_file() and path.count("/again/") + path.count("/loop/") == 0
        assert not table.duplicated(["dataset", "subject", "contrast"]).any()
        assert (table.groupby(["dataset", table.subject.map(person_of)]).split.nunique() == 1).all()
        assert (table.seg[table.dataset != "healthy"] != "").all() and (
            table.seg[table.dataset == "healthy"] == ""
        ).all()
        assert all(isinstance(age, (int, float)) and 0 <= age <= 120 for age in table.age if age != "")
        assert set(table.sex) <= {"m", "f", ""}
    return table, error + " ".join(str(warning.message) for warning in caught)


PERSON = st.fixed_dictionaries(
    {
        "sessions": st.sampled_from([("",), ("1",), ("1", "2"), ("pre", "post")]),
        "images": st.lists(st.sampled_from(IMAGES.split()), min_size=1, max_size=3, unique=True),
        "lesions": st.lists(st.sampled_from(LESIONS.split()), max_size=2, unique=True) | st.just([]),
        "others": st.lists(st.sampled_from(OTHERS.split()), max_size=2, unique=True) | st.just([]),
        "unnamed": st.booleans(),  # masks don't name their session
        "place": st.sampled_from(["", "derivatives/l/"]),
        "group": st.sampled_from(HEALTHY + ILL + UNSAID),
        "age": st.sampled_from(["45", "45Y", "89+", "n/a", "60-64", "old", ""]),
    }
)
TREE = st.fixed_dictionaries(
    {
        "people": st.lists(PERSON, min_size=1, max_size=4),
        "names": st.sampled_from([tuple("1234"), ("01", "02", "03", "04"), ("S1", "S2", "P1", "MSC-04")]),
        "table": st.sampled_from(["none", "good", "good", "good", "damaged"]),
        "form": st.sampled_from(IDS),
        "column": st.sampled_from(COLUMNS),
        "encoding": st.sampled_from(ENCODINGS),
        "comma": st.sampled_from("\t\t,;"),
        "end": st.sampled_from(["\n", "\r\n"]),
        "links": st.lists(st.sampled_from(LINKS), max_size=2, unique=True),
    }
)


def grow(root, tree):
    """Write a tree; returns the names of those who are ill, and of those whom the table calls healthy."""
    ill, called = set(), set()
    lines = [f"participant_id{tree['comma']}age{tree['comma']}{tree['column']}"]
    for name, person in zip(tree["names"], tree["people"], strict=False):
        subject = f"sub-{name}"
        for session in person["sessions"]:
            folder, stem = (f"{subject}/ses-{session}", f"{subject}_ses-{session}") if session else (subject, subject)
            for ending in person["images"]:
                scan(root / folder / "anat" / f"{stem}_{ending}.nii.gz")
            if person["unnamed"]:
                folder = stem = subject
            for ending in (*person["lesions"], *person["others"]):
                scan(root / person["place"] / folder / "anat" / f"{stem}_{ending}.nii.gz", dtype=np.uint8)
        lines.append(tree["comma"].join((tree["form"].format(name), person["age"], person["group"])))
        ill |= {subject} if person["lesions"] or tree["table"] == "good" and person["group"] in ILL else set()
        called |= {subject} if tree["table"] == "good" and person["group"] in HEALTHY else set()
    text = tree["end"].join([*lines, ""]).encode(tree["encoding"])
    if tree["table"] != "none":
        (root / "participants.tsv").write_bytes(text if tree["table"] == "good" else b"\0\1\2" + text)
    for path, target in tree["links"]:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to(target)
    return ill, called


@settings(many, max_examples=120)
@given(TREE)
def test_trees(tree):
    with tempfile.TemporaryDirectory() as folder:
        ill, called = grow(Path(folder), tree)
        table, said = load(Path(folder))
        used = set() if table is None else {person_of(name) for name in table.subject}
        healthy = set() if table is None else {person_of(name) for name in table.subject[table.dataset == "healthy"]}
        assert not healthy & ill
        assert not healthy or tree["table"] != "damaged"
        assert healthy <= called or "nothing says who is healthy" in said
        assert said or used == {f"sub-{name}" for name, _ in zip(tree["names"], tree["people"], strict=False)}


ROW = st.fixed_dictionaries(
    {
        "contrast": st.sampled_from(["t1", "T1", "t2", " T2 ", "FLAIR"]),
        "ill": st.booleans(),
        "mask": st.sampled_from(["", "nonzero", "NonZero", "n/a", "m.nii"]),
        "age": st.sampled_from(
            [("45", 45), ("45Y", 45), ("89+", 89), ("n/a", ""), ("", ""), ("60-64", 62), ("old", "")]
        ),
        "sex": st.sampled_from([("M", "m"), ("female", "f"), ("n/a", ""), ("", ""), (" f ", "f"), ("?", "")]),
        "gap": st.sampled_from(["", "NA", "nan", "None", "n/a", "-"]),
        "site": st.sampled_from(["", "a, b; c", "Zürich", 'the "old" one']),
    }
)
FORM = st.fixed_dictionaries(
    {
        "rows": st.lists(ROW, max_size=5),
        "comma": st.sampled_from("\t,;"),
        "encoding": st.sampled_from(ENCODINGS),
        "end": st.sampled_from(["\n", "\r\n", "\r"]),
        "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        "title": st.sampled_from([str, str.upper, str.title]),
        "blank": st.sampled_from(["", " "]),
        "tail": st.sampled_from(["", "\n", "\n\n", " \n"]),
    }
)


@settings(many, max_examples=80)
@given(FORM)
def test_tables_of_ones_own(form):
    stream = io.StringIO()
    options = {"delimiter": form["comma"], "quoting": form["quoting"], "lineterminator": form["end"]}
    titles = "subject dataset contrast image mask seg age sex site note".split()
    lines = [[form["title"](title) for title in titles]]
    for i, row in enumerate(form["rows"]):
        seg, dataset = ("m.nii", "ill") if row["ill"] else (row["gap"], "Healthy")
        line = [
            f"{i}",
            dataset,
            row["contrast"],
            "i.nii",
            row["mask"],
            seg,
            row["age"][0],
            row["sex"][0],
            row["site"],
            "",
        ]
        lines.append([form["blank"] + cell for cell in line])
    csv.writer(stream, **options).writerows(lines)
    text = stream.getvalue() + form["tail"].replace("\n", form["end"])
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "i.nii", np.ones((3, 3, 3), np.uint8))
        save(Path(folder) / "m.nii", np.ones((3, 3, 3), np.uint8))
        (Path(folder) / "t.csv").write_bytes(text.encode(form["encoding"]))
        table, said = load(Path(folder) / "t.csv")
    assert table is not None and len(table) == len(form["rows"])
    for row, (i, found) in zip(form["rows"], table.iterrows(), strict=True):
        assert (found.subject, found.dataset) == (f"{i}", "ill" if row["ill"] else "healthy")
        assert found.contrast == row["contrast"].strip().lower() and (found.age, found.sex) == (
            row["age"][1],
            row["sex"][1],
        )
        assert found["mask"].rsplit("/", 1)[-1] == row["mask"].lower().replace("n/a", "")
        assert found.seg.rsplit("/", 1)[-1] == ("m.nii" if row["ill"] else "") and found.site == row["site"]
    assert ("cannot be read (`old`)" in said) == any(row["age"][0] == "old" for row in form["rows"])


JUNK = st.binary(max_size=60) | st.text(alphabet="ab01-_,;\t\n\r \"'|=.\ufeff\u00e4", max_size=80).map(str.encode)


@settings(many, max_examples=60)
@given(
    JUNK, st.sampled_from([b"", b"participant_id\tage\tsex\tgroup\nsub-01\t", b"PK\3\4", b"\xff\xfe", b"\xef\xbb\xbf"])
)
def test_side_tables_of_any_bytes(junk, start):
    with tempfile.TemporaryDirectory() as folder:
        for name in ("sub-01", "sub-02"):
            scan(Path(folder) / name / "anat" / f"{name}_T1w.nii.gz")
        (Path(folder) / "participants.tsv").write_bytes(start + junk)
        table, said = load(Path(folder))
    assert said and (table is None or set(table.subject) <= {"sub-01", "sub-02"})


@settings(many, max_examples=60)
@given(JUNK, st.sampled_from([b"", b"dataset,subject,contrast,image\n", b"\xff\xfe", b"sep=;\n", b"\xd0\xcf\x11\xe0"]))
def test_tables_of_any_bytes(junk, start):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "t.csv").write_bytes(start + junk)
        table, _ = load(Path(folder) / "t.csv")
    assert table is None or table.empty
