"""The scan table of a folder in the prepared layout; what is wrong is in one report."""

import warnings

import numpy as np
import pytest
from helpers import save
from prepared import SEX, entry, split

from essim.data.datasets import SCAN_COLUMNS, load_scans
from essim.data.volumes import read_scan


@pytest.fixture
def root(tmp_path):
    """Two training, one validation, one test subject; a set with one patient in each part."""
    root = tmp_path / "data"
    root.mkdir()
    healthy = "Train/ixi"
    lines = [entry(root, f"h{i}", healthy, False, **{SEX: 1 + i % 2}) for i in range(4)]
    split(root, "IXI_train_fold0.csv", *lines[:2])
    split(root, "IXI_val_fold0.csv", lines[2])
    split(root, "IXI_train_fold1.csv", lines[2], lines[1])
    split(root, "IXI_val_fold1.csv", lines[0])
    split(root, "IXI_test.csv", lines[3])
    for part in ("val", "test"):
        split(root, f"ms_{part}.csv", entry(root, f"p_{part}", "Test/ms", True))
    return root


def test_one_row_a_scan(root):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = load_scans(root)
    assert list(table.columns) == SCAN_COLUMNS
    assert len(table) == 2 * 6
    assert table.groupby(["dataset", "split", "contrast"]).size().to_dict() == {
        ("healthy", "train", "t1"): 2,
        ("healthy", "train", "t2"): 2,
        ("healthy", "val", "t1"): 1,
        ("healthy", "val", "t2"): 1,
        ("healthy", "test", "t1"): 1,
        ("healthy", "test", "t2"): 1,
        ("ms", "val", "t1"): 1,
        ("ms", "val", "t2"): 1,
        ("ms", "test", "t1"): 1,
        ("ms", "test", "t2"): 1,
    }
    one = table[(table.subject == "p_test") & (table.contrast == "t2")].iloc[0].to_dict()
    place = root / "Test" / "ms"
    assert one == {
        "dataset": "ms",
        "subject": "p_test",
        "split": "test",
        "fold": "",
        "contrast": "t2",
        "image": str(place / "t2" / "p_test_t2.nii.gz"),  # the leading slash means the data folder
        "mask": str(place / "mask" / "p_test_mask.nii.gz"),
        "seg": str(place / "seg" / "p_test_seg.nii.gz"),
        "age": 40.5,
        "sex": "m",
        "site": "Guys",
        "ignore": 2,
    }
    assert (table[table.dataset == "healthy"].seg == "").all()


def test_paths_may_be_relative_and_strings(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    table = load_scans("data")
    assert table.image[0] == "data/Train/ixi/t1/h0_t1.nii.gz"


def test_sex(root):
    table = load_scans(root).drop_duplicates("subject").set_index("subject")
    assert table.sex[["h0", "h1", "h2", "h3"]].tolist() == ["m", "f", "m", "f"]


def test_sex_may_be_missing_or_a_float(root):
    values = [1.0, np.nan, 2.0, "", 7]
    lines = [entry(root, f"t{i}", "Train/ixi", False, **{SEX: value}) for i, value in enumerate(values)]
    split(root, "IXI_train_fold0.csv", *lines)
    lines = [entry(root, f"v{i}", "Train/ixi", False, **{SEX: value}) for i, value in enumerate((1.0, np.nan))]
    split(root, "IXI_val_fold0.csv", *lines)
    table = load_scans(root).drop_duplicates("subject").set_index("subject")
    assert table.sex[[f"t{i}" for i in range(5)]].tolist() == ["m", "", "f", "", ""]
    assert table.sex[["v0", "v1"]].tolist() == ["m", ""]


def test_folds(root):
    zero, one = load_scans(root), load_scans(root, fold=1)
    names = [sorted(set(t[t.split == "train"].subject)) for t in (zero, one)]
    assert names == [["h0", "h1"], ["h1", "h2"]]
    assert set(one[one.split == "train"].fold) == {1}
    assert set(one[one.split == "test"].fold) == {""}


def test_a_missing_contrast_is_left_out_and_counted(root):
    (root / "Train/ixi/t2/h0_t2.nii.gz").unlink()
    (root / "Train/ixi/t2/h3_t2.nii.gz").unlink()
    (root / "Test/ms/t1/p_val_t1.nii.gz").unlink()
    with pytest.warns(UserWarning) as caught:
        table = load_scans(root)
    messages = sorted(str(w.message) for w in caught)
    assert len(messages) == 2
    assert "1 ms subject(s) without t1 are left out" in messages[0]
    assert "2 healthy subject(s) without t2 are left out" in messages[1]
    assert len(table) == 12 - 3
    assert table[table.subject == "h0"].contrast.tolist() == ["t1"]
    assert table[table.subject == "p_val"].contrast.tolist() == ["t2"]


@pytest.mark.parametrize("gone", ["IXI_train_fold0.csv", "IXI_val_fold0.csv", "IXI_test.csv", "ms_val.csv"])
def test_a_missing_split_file(root, gone):
    (root / "splits" / gone).unlink()
    with pytest.raises(FileNotFoundError, match=f"{gone}: the split file is missing; generate"):
        load_scans(root)


def test_another_fold_is_missing(root):
    with pytest.raises(FileNotFoundError, match="IXI_train_fold3.csv: the split file is missing"):
        load_scans(root, fold=3)


@pytest.mark.parametrize(
    "gone", ["Train/ixi/mask/h1_mask.nii.gz", "Test/ms/mask/p_val_mask.nii.gz", "Test/ms/seg/p_test_seg.nii.gz"]
)
def test_a_missing_mask_or_segmentation(root, gone):
    (root / gone).unlink()
    with pytest.raises(ValueError, match=rf"1 problem\(s\); strict=False leaves.*\n  .*{gone}: is missing$"):
        load_scans(root)
    with pytest.warns(UserWarning, match=r"scans with problems are left out \(2 (healthy|ms)\)"):
        table = load_scans(root, strict=False)
    assert len(table) == 10 and not table.isin([str(root / gone)]).any().any()


def test_a_subject_without_any_image(root):
    for contrast in ("t1", "t2"):
        (root / f"Train/ixi/{contrast}/h1_{contrast}.nii.gz").unlink()
    with pytest.warns(UserWarning, match="without t2"), pytest.raises(ValueError, match=r"h1_t1\.nii\.gz: is missing"):
        load_scans(root)


def test_all_problems_in_one_report(root):
    (root / "Train/ixi/mask/h1_mask.nii.gz").write_text("no mask")
    save(root / "Train/ixi/t2/h2_t2.nii.gz", np.ones((3, 2, 2), np.uint8))
    save(root / "Test/ms/seg/p_test_seg.nii.gz", np.full((2, 2, 2), 7, np.uint8))
    split(root, "ms_val.csv", entry(root, "p_val", "Test/ms", True, seg_path=""))
    split(root, "IXI_test.csv", *(entry(root, name, "Train/ixi", False) for name in ("h3", "h0")))
    save(root / "Train/ixi/mask/h3_mask.nii.gz", np.ones((2, 2, 2, 3), np.uint8))
    with pytest.raises(ValueError) as caught:
        load_scans(root)
    first, *lines = str(caught.value).splitlines()
    assert "6 problem(s)" in first
    for file, said in {
        "Train/ixi/mask/h1_mask.nii.gz": "it is damaged, or in another format: convert it",
        "Train/ixi/mask/h2_mask.nii.gz": "does not fit its image ([2, 2, 2] against [3, 2, 2], or another affine)",
        "Train/ixi/mask/h3_mask.nii.gz": "has 4 dimensions [2, 2, 2, 3], a scan must have 3; pick one volume",
        "Test/ms/seg/p_test_seg.nii.gz": "has the label(s) [7], where only [0, 1, 2] are allowed",
        "Test/ms/t1/p_val_t1.nii.gz": "is a patient's scan without a lesion mask",
        "  h0": "is in two splits of healthy (test, train)",
    }.items():
        (line,) = [line for line in lines if f"{file}: " in line]
        assert line.endswith(said)
    with pytest.warns(UserWarning, match=r"left out \(10 healthy, 4 ms\)"):
        assert load_scans(root, strict=False).empty


def test_a_grid_that_is_elsewhere(root):
    moved = np.diag([2.0, 2, 2, 1])
    moved[0, 3] = 5
    save(root / "Test/ms/seg/p_test_seg.nii.gz", np.ones((2, 2, 2), np.uint8), moved)
    with pytest.raises(ValueError, match=r"p_test_seg.nii.gz: does not fit its image .*or another affine"):
        load_scans(root)


@pytest.mark.parametrize(
    ("voxels", "said"),
    [
        (np.zeros((2, 2, 2), np.uint8), "has no lesion voxel"),
        (np.full((2, 2, 2), -1.0, np.float32), "are not labels"),
        (np.full((2, 2, 2), np.nan, np.float32), "are not labels"),
        (np.full((2, 2, 2), 300, np.int16), "are not labels"),
    ],
)
def test_lesion_masks_without_lesion_or_labels(root, voxels, said):
    save(root / "Test/ms/seg/p_test_seg.nii.gz", voxels)
    with pytest.raises(ValueError, match=f"p_test_seg.nii.gz: .*{said}"):
        load_scans(root)


def test_interpolated_masks_take_the_nearest_label(root):
    """As in data whose masks were warped with linear interpolation."""
    seg = np.zeros((2, 2, 2), np.float32)
    seg[0], seg[1, 0] = (0.4, 0.6), (1.0, 1.7)
    save(root / "Test/ms/seg/p_test_seg.nii.gz", seg)
    mask = np.full((2, 2, 2), 0.9, np.float32)
    mask[1, 1] = 0.2
    save(root / "Test/ms/mask/p_test_mask.nii.gz", mask)
    with pytest.warns(UserWarning, match=r"1 lesion mask\(s\) have fractional values, .*; they are rounded"):
        table = load_scans(root)
    _, brain, labels, _ = read_scan(table[table.subject == "p_test"].iloc[0])
    assert labels.tolist() == [[[0, 1], [0, 1]], [[1, 2], [0, 0]]]
    assert brain.tolist() == [[[True, True], [True, True]], [[True, True], [False, False]]]


def test_a_truncated_lesion_mask(root):
    path = root / "Test/ms/seg/p_test_seg.nii.gz"
    save(path, np.random.default_rng(0).integers(0, 2, (20, 20, 20)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ValueError, match="p_test_seg.nii.gz: cannot be read as NIfTI .* the file is damaged"):
        load_scans(root)


def test_no_data_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder or table; correct the path"):
        load_scans(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="has no folder `splits` and no scan of a known data set"):
        load_scans(tmp_path)


@pytest.mark.parametrize("name", ["007", "NA", "12.50"])
def test_names_stay_text(root, name):
    split(root, "IXI_test.csv", entry(root, name, "Train/ixi", False))
    table = load_scans(root)
    assert set(table[(table.dataset == "healthy") & (table.split == "test")].subject) == {name}


@pytest.mark.parametrize("name", ["h3", "h3_t1", "h3.nii.gz", "h3_t1.nii.gz", "h3.nii"])
def test_names_may_be_file_names(root, name):
    split(root, "IXI_test.csv", entry(root, "h3", "Train/ixi", False, img_name=name))
    assert set(load_scans(root).subject) == {"h0", "h1", "h2", "h3", "p_val", "p_test"}


@pytest.mark.parametrize("column", ["img_name", "img_path", "mask_path"])
def test_a_split_file_without_a_column(root, column):
    line = entry(root, "h3", "Train/ixi", False)
    del line[column]
    split(root, "IXI_test.csv", line)
    with pytest.raises(ValueError, match=f"IXI_test.csv: .*`{column}`") as caught:
        load_scans(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", ["img_path", "mask_path"])
def test_a_split_file_with_an_empty_path(root, column):
    split(root, "IXI_test.csv", entry(root, "h3", "Train/ixi", False, **{column: ""}))
    with pytest.raises(ValueError, match=f"IXI_test.csv: .*`{column}`"):
        load_scans(root)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x81\x00", b'img_name,img_path\n"a,b\n'])
def test_a_damaged_split_file(root, content):
    (root / "splits" / "IXI_test.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"IXI_test\.csv: ") as caught:
        load_scans(root)
    assert "\n" not in str(caught.value)
