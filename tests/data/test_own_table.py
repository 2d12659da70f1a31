"""The scan table from a CSV or TSV of one's own."""

import pandas as pd
import pytest
from prepared import volume

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
        ({"contrast": "t1w"}, "contrast `t1w` is neither t1 nor t2"),
        ({"subject": ["a", "", "c"]}, "`subject` is missing or has gaps"),
        ({"split": ["test", "", "val"]}, "`split` has gaps"),
        ({"split": ["test", "val", "Test"]}, r"scans.csv: split `Test` of c is none of train, val, test; correct"),
        ({"split": "training"}, "split `training` of a is none"),
        ({"ignore": ["", "2.5", ""]}, r"scans.csv: ignore `2.5` of b is no label, a whole number; correct the table"),
        ({"ignore": ["", "", "nan"]}, "ignore `nan` of c is no label"),
        ({"ignore": "-1"}, "ignore `-1` of a is no label"),
        ({"image": "nowhere.nii.gz"}, "nowhere.nii.gz: is missing"),
        ({"subject": "a"}, "a: comes twice in epilepsy"),
        ({"seg": ["seg0.nii.gz", "", "seg2.nii.gz"]}, "1.nii.gz: is a patient's scan without a lesion mask"),
        ({"subject": ["a_ses-1", "a_ses-2", "b"], "split": ["val", "test", "test"]}, "a: is in two splits"),
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
