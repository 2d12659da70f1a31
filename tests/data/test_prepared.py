"""The prepared folder: one place for its paths and its split files."""

import csv
import subprocess
import sys

import pandas as pd
import pytest
from prepared import volume

from essim.data.prepared import (
    CONTRASTS,
    KINDS,
    SPLIT_COLUMNS,
    by_contrast,
    is_prepared,
    path_of,
    read_split,
    split_name,
    write_split,
)


def test_paths_are_those_of_the_papers_data():
    assert path_of("healthy", "IXI012", "t1") == "Train/ixi/t1/IXI012_t1.nii.gz"
    assert path_of("ms", "patient01", "seg") == "Test/ms/seg/patient01_seg.nii.gz"
    assert path_of("ms", "patient01", "flair") == "Test/ms/flair/patient01_flair.nii.gz"
    assert KINDS == ("t1", "t2", "flair", "mask", "seg")


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (("healthy", "train", 3), "IXI_train_fold3.csv"),
        (("healthy", "test", 3), "IXI_test.csv"),
        (("ms", "val", 3), "ms_val.csv"),
    ],
)
def test_names_of_split_files(part, name):
    assert split_name(*part) == name


def test_what_is_written_is_read_again(tmp_path):
    about = {"dataset": "ms", "age": 40.5, "site": "north"}
    people = [about | {"subject": "007", "sex": "f", "seg": "x"}, about | {"subject": "b", "sex": "", "seg": ""}]
    for kind in KINDS:
        volume(tmp_path / path_of("ms", "007", kind))
    write_split(tmp_path / "splits/ms_test.csv", people)
    assert is_prepared(tmp_path) and not is_prepared(tmp_path / "splits")
    with open(tmp_path / "splits/ms_test.csv", newline="") as stream:
        assert tuple(next(csv.reader(stream))) == SPLIT_COLUMNS
    first, second = read_split(tmp_path / "splits/ms_test.csv", tmp_path)
    paths = {kind: tmp_path / path_of("ms", "007", kind) for kind in KINDS}
    assert first["images"] == {contrast: paths[contrast] for contrast in CONTRASTS}
    assert (first["mask"], first["seg"]) == (str(paths["mask"]), str(paths["seg"]))
    assert (first["subject"], first["age"], first["site"]) == ("007", 40.5, "north")
    assert second["seg"] == "" and second["sex"] == "" and list(second["images"]) == ["t1"]


@pytest.mark.parametrize("named", CONTRASTS)
def test_a_split_file_may_name_any_of_the_contrasts(tmp_path, named):
    """And a subject may have one only."""
    for kind in ("flair", "mask"):
        volume(tmp_path / path_of("ms", "t1_flair", kind))
    paths = [f"/{path_of('ms', 't1_flair', kind)}" for kind in (named, "mask")]
    line = ",".join([f"t1_flair_{named}.nii.gz", *paths])
    (tmp_path / "ms_test.csv").write_text(f"img_name,img_path,mask_path\n{line}\n")
    (subject,) = read_split(tmp_path / "ms_test.csv", tmp_path)
    assert subject["subject"] == "t1_flair"
    assert subject["images"] == {"flair": tmp_path / path_of("ms", "t1_flair", "flair")}


def test_the_order_of_contrasts_is_not_that_of_the_alphabet():
    table = pd.DataFrame({"contrast": ["flair", "t2", "t1", "t2"], "age": [1, 2, 3, 4]})
    assert by_contrast(table).age.tolist() == [3, 2, 4, 1]


def test_it_is_light():
    """The built-in cohort uses it in each of its processes."""
    script = "import sys, essim.cohort.generate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
