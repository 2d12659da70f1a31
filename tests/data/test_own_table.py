"""The scan table from a CSV or TSV of one's own."""

import pandas as pd
import pytest
import xlwt
from prepared import volume
from trees import quietly, told

from essim.data.datasets import SCAN_COLUMNS, load_scans


def own_table(folder, **columns):
    for i in range(3):
        volume(folder / f"käse und brot/{i}.nii.gz")
        volume(folder / f"seg{i}.nii.gz")
    lines = {"dataset": "epilepsy", "subject": ["a", "b", "c"], "contrast": "t1"}
    lines |= {"image": [f"käse und brot/{i}.nii.gz" for i in range(3)], "seg": [f"seg{i}.nii.gz" for i in range(3)]}
    return pd.DataFrame(lines | columns)


@pytest.mark.parametrize(("name", "comma"), [("scans.csv", ","), ("scans.tsv", "\t"), ("scans.csv", ";")])
def test_a_table_of_ones_own(tmp_path, name, comma):
    table = own_table(tmp_path, sex=["F", "male", ""], ignore=["", "3", ""], extra="x")
    table.to_csv(tmp_path / name, sep=comma, index=False)
    found = load_scans(tmp_path / name)
    assert list(found.columns) == SCAN_COLUMNS
    assert found.image[0] == str(tmp_path / "käse und brot/0.nii.gz")
    assert found["mask"].tolist() == ["", "", ""] and found.sex.tolist() == ["f", "m", ""]
    assert found.ignore.tolist() == ["", 3, ""]
    assert sorted(found.split) == ["test", "test", "val"]


def test_labels_as_pandas_writes_them_beside_gaps(tmp_path):
    own_table(tmp_path, ignore=[None, 2.0, 0]).to_csv(tmp_path / "scans.csv", index=False)
    assert ",2.0\n" in (tmp_path / "scans.csv").read_text()
    assert load_scans(tmp_path / "scans.csv").ignore.tolist() == ["", 2, 0]


def test_a_table_without_lines(tmp_path):
    own_table(tmp_path)[:0].to_csv(tmp_path / "scans.csv", index=False)
    assert load_scans(tmp_path / "scans.csv").empty


def test_its_own_splits_stay(tmp_path):
    own_table(tmp_path, split=["test", "val", "test"]).to_csv(tmp_path / "scans.csv", index=False)
    assert load_scans(tmp_path / "scans.csv").split.tolist() == ["test", "val", "test"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"contrast": "t1w"}, "contrast `t1w` is not one of t1, t2, flair; correct"),
        ({"subject": ["a", "", "c"]}, "`subject` is missing or has gaps"),
        ({"split": ["test", "", "val"]}, "`split` has gaps"),
        ({"split": ["test", "val", "Test"]}, r"scans.csv: split `Test` of c is not one of train, val, test; correct"),
        ({"split": "training"}, "split `training` of a is not one"),
        ({"ignore": ["", "2.5", ""]}, r"scans.csv: ignore `2.5` of b is not a label, a whole number; correct"),
        ({"ignore": ["", "", "x"]}, "ignore `x` of c is not a label"),
        ({"ignore": "-1"}, "ignore `-1` of a is not a label"),
        ({"image": "nowhere.nii.gz"}, "nowhere.nii.gz: is missing"),
        ({"subject": "a"}, "a: appears twice in epilepsy"),
        ({"seg": ["seg0.nii.gz", "", "seg2.nii.gz"]}, "1.nii.gz: is a patient's scan without a lesion mask"),
        ({"subject": ["a_ses-1", "a_ses-2", "b"], "split": ["val", "test", "test"]}, "a: is in two splits"),
        ({"person": ["p", "p", "q"], "split": ["val", "test", "test"]}, "p: is in two splits"),
        (
            {"subject": "a", "contrast": ["t1", "t2", "t1"], "person": ["p", "q", "p"]},
            "subject `a` of .* is two people",
        ),
        ({"dataset": "ms/new"}, "dataset `ms/new` can't be the name of a folder"),
        ({"dataset": ".hidden"}, "dataset `.hidden` can't be the name of a folder"),
        ({"dataset": "ms\\new"}, r"can't be the name of a folder"),
        ({"dataset": "IXI"}, "dataset `IXI` stands for healthy people; call their set `healthy`"),
        ({"dataset": "Controls"}, "dataset `Controls` stands for healthy people"),
        ({"dataset": "Healthy"}, "a is healthy and has a lesion mask; empty its `seg`"),
        ({"image": ["n/a", "x", "y"]}, "image `` of a is not a path"),
        ({"Image": "x"}, "has two columns `image`"),
    ],
)
def test_a_table_with_errors(tmp_path, changes, said):
    own_table(tmp_path, **changes).to_csv(tmp_path / "scans.csv", index=False)
    with pytest.raises(ValueError, match=said):
        load_scans(tmp_path / "scans.csv")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x81\x00", b'dataset,subject\n"a,b\n'])
def test_a_table_that_is_none(tmp_path, content):
    (tmp_path / "scans.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"scans\.csv: ") as caught:
        load_scans(tmp_path / "scans.csv")
    assert "\n" not in str(caught.value)


HEAD = "dataset,subject,contrast,image,mask,seg,age,sex"
LINES = "healthy,001,t1,s1.nii.gz,m.nii.gz,,45Y,M", "patients,002,t1,s2.nii.gz,m.nii.gz,s2_seg.nii.gz,n/a,F"
TEXT = "\n".join((HEAD, *LINES, ""))
PLAIN = [["healthy", "001", 45, "m", False], ["patients", "002", "", "f", True]]
# {how: (text; encoding; what is another than PLAIN: {row: {column: value}})}
WRITTEN = {
    "plain": (TEXT, "utf-8", {}),
    "Excel's CSV UTF-8": ("\ufeff" + TEXT.replace("\n", "\r\n"), "utf-8", {}),
    "mark and quoted titles": ("\ufeff" + TEXT.replace("dataset", '"dataset"'), "utf-8", {}),
    "semicolons": (TEXT.replace(",", ";"), "utf-8", {}),
    "German Excel": ("\ufeff" + TEXT.replace(",", ";").replace("45Y", "45,5"), "utf-8", {0: {2: 45.5}}),
    "Excel's Unicode text": (TEXT.replace(",", "\t"), "utf-16", {}),
    "UTF-16 without a mark": (TEXT, "utf-16-le", {}),
    "Latin-1": (TEXT.replace("001", "Jäger"), "latin-1", {0: {1: "Jäger"}}),
    "blanks after commas": (TEXT.replace(",", ", "), "utf-8", {}),
    "blanks before commas": (TEXT.replace(",", " ,"), "utf-8", {}),
    "no-break spaces": (TEXT.replace(",001", ",\u00a0001"), "utf-8", {}),
    "capital titles": (TEXT.replace(HEAD, HEAD.title()), "utf-8", {}),
    "capital values": (TEXT.replace("healthy", "Healthy").replace("t1", "T1"), "utf-8", {}),
    "empty lines at the end": (TEXT + ",,,,,,,\n\n \n", "utf-8", {}),
    "nan": (TEXT.replace("gz,,", "gz,nan,"), "utf-8", {}),
    "NA": (TEXT.replace("gz,,", "gz,NA,"), "utf-8", {}),
    "n/a": (TEXT.replace("gz,,", "gz,n/a,"), "utf-8", {}),
    "None": (TEXT.replace("gz,,", "gz,None,"), "utf-8", {}),
    "Nonzero": (TEXT.replace("m.nii.gz", "Nonzero"), "utf-8", {}),
    "backslashes": (TEXT.replace("s1.nii", ".\\\\s1.nii"), "utf-8", {}),
    "in quotes": (TEXT.replace("001", '"001"'), "utf-8", {}),
    "old Mac": (TEXT.replace("\n", "\r"), "utf-8", {}),
    "sep=": ("sep=,\n" + TEXT, "utf-8", {}),
    "a name like a gap": (TEXT.replace("001", "NA"), "utf-8", {0: {1: "NA"}}),
    "a set with a blank": (TEXT.replace("patients", "my set"), "utf-8", {1: {0: "my set"}}),
}


def scans_of(folder):
    for i in (1, 2):
        volume(folder / f"s{i}.nii.gz")
        volume(folder / f"s{i}_seg.nii.gz")
    volume(folder / "m.nii.gz")
    return folder / "t.csv"


@pytest.mark.parametrize(("text", "encoding", "changes"), WRITTEN.values(), ids=WRITTEN)
def test_tables_as_people_write_them(tmp_path, text, encoding, changes):
    path = scans_of(tmp_path)
    path.write_bytes(text.replace("\\\\", "\\").encode(encoding))
    found = quietly(path)
    expected = [[changes.get(i, {}).get(j, cell) for j, cell in enumerate(row)] for i, row in enumerate(PLAIN)]
    assert found.assign(seg=found.seg != "")[["dataset", "subject", "age", "sex", "seg"]].values.tolist() == expected


def test_an_excel_file_by_another_name(tmp_path):
    book = xlwt.Workbook()
    sheet = book.add_sheet("Sheet1")
    for i, line in enumerate((HEAD, *LINES)):
        for j, cell in enumerate(line.split(",")):
            sheet.write(i, j, cell)
    path = scans_of(tmp_path)
    book.save(str(path))
    assert quietly(path).age.tolist() == [45, ""]
    path.write_bytes(b"PK\3\4" + bytes(200))
    with pytest.raises(ValueError, match=r"t.csv: cannot be read as an Excel file \(.*\); save the table as CSV"):
        load_scans(path)


@pytest.mark.parametrize("line", [1, 2])
def test_a_cell_too_many(tmp_path, line):
    """An unquoted comma would shift all that follows."""
    path = scans_of(tmp_path)
    lines = TEXT.split("\n")
    path.write_text("\n".join([*lines[:line], lines[line].replace("t1,", "t1,x, "), *lines[line + 1 :]]))
    with pytest.raises(ValueError, match=rf"t.csv: line {line + 1} has more cells than the table has columns \(8\)"):
        load_scans(path)


def test_what_cannot_be_read_is_counted(tmp_path):
    path = scans_of(tmp_path)
    path.write_text(TEXT.replace("45Y", "grown-up").replace(",F\n", ",0\n"))
    found, said = told(path)
    assert "1 age(s) cannot be read (`grown-up`)" in said and "1 sex(es) cannot be read (`0`)" in said
    assert found.age.tolist() == ["", ""] and found.sex.tolist() == ["m", ""]


def test_a_person_is_healthy_and_ill(tmp_path):
    path = scans_of(tmp_path)
    path.write_text("\n".join([f"{HEAD},person", *(f"{line},anna" for line in LINES)]))
    assert "1 person(s) are healthy in one scan and patients in another, such as anna" in told(path)[1]


def test_paths_below_home(tmp_path, monkeypatch):
    path = scans_of(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    path.write_text(TEXT.replace("s1.nii", "~/s1.nii"))
    assert quietly(path).image[0] == str(tmp_path / "s1.nii.gz")
