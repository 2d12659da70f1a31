"""Links below a source: each real folder is visited once, each real file is there once."""

import os

import pytest
from trees import bids, participants, place, quietly

from essim.data.subjects import walk


def names_of(source):
    sentences = []
    return sorted(path.relative_to(source).as_posix() for path in walk(source, sentences)), sentences


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.fixture
def tree(tmp_path):
    """Two healthy people."""
    for subject in ("sub-01", "sub-02"):
        bids(tmp_path, subject, "T1w")
    participants(tmp_path, "sub-01\t30\tF\tcontrol", "sub-02\t40\tM\tcontrol")
    return tmp_path


@pytest.mark.parametrize(
    "links",
    [
        {"derivatives/fmriprep/sourcedata/raw": "../../.."},
        {"derivatives/a/raw": "../..", "derivatives/b/raw": "../.."},
        {"derivatives/a/raw": "../..", "sourcedata/raw": ".."},
        {"loop": ".", "sub-01/loop": "..", "sub-02/anat/loop": "../.."},
        {"a/b": "../c", "c/d": "../a"},
        {"derivatives/a/sub-01": "../../sub-01"},
        {"zz": "sub-01/anat", "aa": "sub-02"},
        {"self": "self", "one": "two", "two": "one", "gone": "nowhere"},
        {f"derivatives/{i}/raw{j}": "../.." for i in range(4) for j in range(3)},
    ],
)
def test_links_that_lead_back(tree, links):
    for path, target in links.items():
        link(tree / path, target)
    table = quietly(tree)
    assert table.image.tolist() == [f"{tree}/{s}/anat/{s}_T1w.nii.gz" for s in ("sub-01", "sub-02")]
    files = [name for name in names_of(tree)[0] if name.endswith(".nii.gz")]
    assert len(files) == 2


def test_links_to_data_elsewhere(tmp_path):
    """As datalad has them: files are links into a hidden folder, folders links to other data sets."""
    bids(tmp_path / "store", "sub-01", "T1w")
    bids(tmp_path / "store", "sub-02", "T1w", "label-lesion_mask")
    source = tmp_path / "study"
    link(source / "data", tmp_path / "store/sub-02")
    link(source / "again", tmp_path / "store/sub-02")
    annexed = source / ".git/annex/objects/x.nii.gz"
    annexed.parent.mkdir(parents=True)
    os.rename(tmp_path / "store/sub-01/anat/sub-01_T1w.nii.gz", annexed)
    link(source / "sub-01/anat/sub-01_T1w.nii.gz", "../../.git/annex/objects/x.nii.gz")
    participants(source, "sub-01\t30\tF\tcontrol", "sub-02\t30\tF\tpatient")
    table = quietly(source)
    assert table[["dataset", "subject"]].values.tolist() == [["healthy", "sub-01"], ["patients", "sub-02"]]


def test_a_file_and_a_link_to_it_are_one(tree):
    link(tree / "derivatives/l/sub-01/anat/sub-01_T1w.nii.gz", "../../../../sub-01/anat/sub-01_T1w.nii.gz")
    assert quietly(tree).image[0] == f"{tree}/sub-01/anat/sub-01_T1w.nii.gz"


def test_the_source_is_a_link(tree, tmp_path_factory):
    source = tmp_path_factory.mktemp("other") / "link"
    source.symlink_to(tree)
    assert quietly(source).image[0].startswith(str(source))


def test_folders_that_cannot_be_listed_are_named(tree, monkeypatch):
    place(tree, "lost+found/sub-03/anat/sub-03_T1w.nii.gz")
    listed = os.scandir

    def refuse(path):
        if "lost" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    names, sentences = names_of(tree)
    assert len(names) == 3 and sentences == [f"{tree}/lost+found: cannot be listed (Permission denied) and is left out"]
