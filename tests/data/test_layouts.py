"""Data sets as downloaded: names, folders and quirks as their authors publish them, one test a data set."""

import warnings

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import xlwt
from helpers import AFFINE, save

from essim.data.datasets import SCAN_COLUMNS, load_scans
from essim.data.layouts import find_subjects

SHAPE = (6, 7, 5)


def scan(path, shape=SHAPE, affine=AFFINE, dtype=np.int16):
    return save(path, np.ones(shape, dtype), affine)


def labels(path, *values, shape=SHAPE, affine=AFFINE):
    """A lesion mask with one voxel of each label."""
    voxels = np.zeros(shape, np.uint8)
    voxels.ravel()[: len(values)] = values
    return save(path, voxels, affine)


def quietly(source, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_scans(source, **options)


def ixi(root, people=(("012", "HH"), ("013", "HH"), ("002", "Guys"), ("016", "Guys"), ("033", "IOP"))):
    """T1 and T2 lie in folders of their own, on different grids; a table in the old Excel format."""
    for number, site in people:
        name = f"IXI{number}-{site}-1{number}"
        scan(root / f"IXI-T1/{name}-T1.nii.gz", (5, 8, 8))
        scan(root / f"IXI-T2/{name}-T2.nii.gz", (8, 8, 4), np.diag([0.9, 0.9, 1.2, 1]))
    scan(root / "IXI-PD/IXI012-HH-1012-PD.nii.gz")
    book = xlwt.Workbook()
    sheet = book.add_sheet("Table")
    table = [
        ("IXI_ID", "SEX_ID (1=m, 2=f)", "HEIGHT", "AGE"),
        (12, 1, 175, 38.8),
        (2, 2, 164, 35.8),
        (16, 2, 170, ""),  # listed twice, once without an age
        (16, 2, 170, 55.2),
        (999, 1, 180, 20.0),
    ]
    for i, line in enumerate(table):
        for j, value in enumerate(line):
            sheet.write(i, j, value)
    book.save(str(root / "IXI.xls"))


def test_ixi(tmp_path):
    ixi(tmp_path)
    table = quietly(tmp_path)
    assert list(table.columns) == SCAN_COLUMNS
    assert set(table.dataset) == {"healthy"} and len(table) == 10
    assert table.groupby("site").size().to_dict() == {"Guys": 4, "HH": 4, "IOP": 2}
    assert (table["mask"] == "").all() and (table["seg"] == "").all()  # with skull
    people = table.drop_duplicates("subject").set_index(table.drop_duplicates("subject").subject.str[:6])
    assert people.age[["IXI012", "IXI002", "IXI016", "IXI033"]].tolist() == [38.8, 35.8, 55.2, ""]
    assert people.sex[["IXI012", "IXI002", "IXI016", "IXI033"]].tolist() == ["m", "f", "f", ""]
    assert set(table.split) == {"train", "val", "test"}


def test_ixi_with_a_damaged_table(tmp_path):
    ixi(tmp_path)
    (tmp_path / "IXI.xls").write_text("404 not found")
    with pytest.raises(ValueError, match=r"IXI.xls: cannot be read .*; fetch it again") as caught:
        load_scans(tmp_path)
    assert "\n" not in str(caught.value)


def test_ixi_without_a_t2(tmp_path):
    ixi(tmp_path)
    (tmp_path / "IXI-T2/IXI012-HH-1012-T2.nii.gz").unlink()
    with pytest.warns(UserWarning, match=r"1 healthy subject\(s\) without t2 are left out for it"):
        assert len(load_scans(tmp_path)) == 9


def brats21(root, count=3):
    for i in range(count):
        folder = root / f"BraTS2021_0000{i}"
        for kind in ("flair", "t1", "t1ce", "t2"):
            scan(folder / f"BraTS2021_0000{i}_{kind}.nii.gz")
        labels(folder / f"BraTS2021_0000{i}_seg.nii.gz", 1, 2, 4)


def test_brats21(tmp_path):
    brats21(tmp_path)
    table = quietly(tmp_path)
    assert len(table) == 6 and set(table.contrast) == {"t1", "t2"}
    assert set(table.dataset) == {"tumour"} and set(table["mask"]) == {"nonzero"} and set(table.ignore) == {""}
    assert table.image[0].endswith("BraTS2021_00000/BraTS2021_00000_t1.nii.gz")  # not t1ce
    labels(tmp_path / "BraTS2021_00001/BraTS2021_00001_seg.nii.gz", 1, 3)
    with pytest.raises(ValueError, match=r"00001_seg.nii.gz: has the label\(s\) \[3\], known are \[0, 1, 2, 4\]"):
        load_scans(tmp_path)


def test_brats23(tmp_path):
    for name in ("BraTS-GLI-00005-000", "BraTS-GLI-00005-001", "BraTS-GLI-00006-000"):
        for kind in ("t1n", "t1c", "t2w", "t2f"):
            scan(tmp_path / name / f"{name}-{kind}.nii.gz")
        labels(tmp_path / name / f"{name}-seg.nii.gz", 1, 2, 3)
    table = quietly(tmp_path)
    assert sorted(set(table.subject)) == ["BraTS-GLI-00005-000", "BraTS-GLI-00005-001", "BraTS-GLI-00006-000"]
    assert table.image[1].endswith("BraTS-GLI-00005-000-t2w.nii.gz")
    parts = table.groupby("subject").split.first()
    assert parts["BraTS-GLI-00005-000"] == parts["BraTS-GLI-00005-001"] != parts["BraTS-GLI-00006-000"]


def test_atlas(tmp_path):
    for site, number, session in ((1, 1, 1), (1, 2, 1), (27, 1, 1), (27, 1, 2)):
        person = f"sub-r{site:03d}s{number:03d}"
        folder = tmp_path / f"ATLAS_2/Training/R{site:03d}/{person}/ses-{session}/anat"
        stem = f"{person}_ses-{session}_space-MNI152NLin2009aSym"
        scan(folder / f"{stem}_T1w.nii.gz")
        labels(folder / f"{stem}_label-L_desc-T1lesion_mask.nii.gz", 1)
    hidden = "sub-r004s001_ses-1_space-MNI152NLin2009aSym"
    scan(tmp_path / f"ATLAS_2/Testing/R004/sub-r004s001/ses-1/anat/{hidden}_T1w.nii.gz")
    with pytest.warns(UserWarning, match=r"1 stroke subject\(s\) without a lesion mask are left out"):
        table = load_scans(tmp_path)
    assert len(table) == 4 and set(table.contrast) == {"t1"} and set(table.dataset) == {"stroke"}
    assert set(table.site) == {"r001", "r027"} and set(table["mask"]) == {""}  # not stripped
    two = table[table.subject.str.startswith("sub-r027s001")]
    assert len(two) == 2 and two.split.nunique() == 1  # two sessions of one person


@pytest.mark.parametrize("prefix", ["", "patient01_"])
def test_mslub(tmp_path, prefix):
    for patient in ("patient01", "patient02"):
        start = prefix.replace("patient01", patient)
        for kind in ("T1W", "T2W", "FLAIR", "T1WKS"):
            scan(tmp_path / f"{patient}/raw/{start}{kind}.nii.gz", (9, 9, 4))
        scan(tmp_path / f"{patient}/{start}brainmask.nii.gz", dtype=np.uint8)  # on another grid: that of the FLAIR
        labels(tmp_path / f"{patient}/{start}consensus_gt.nii.gz", 1)
    table = quietly(tmp_path)
    assert len(table) == 4 and set(table.subject) == {"patient01", "patient02"} and set(table.dataset) == {"ms"}
    assert table.image[1].endswith("T2W.nii.gz") and table["mask"][1].endswith("brainmask.nii.gz")
    assert table.seg[1].endswith("consensus_gt.nii.gz")


def test_wmh(tmp_path):
    places = ("training/Utrecht/0", "training/Singapore/50", "training/Amsterdam/GE3T/100", "test/Amsterdam/GE1T5/9")
    for place in places:
        for kind in ("orig/T1", "orig/3DT1", "orig/FLAIR", "pre/T1", "pre/FLAIR"):
            scan(tmp_path / place / f"{kind}.nii.gz")
        labels(tmp_path / place / "wmh.nii.gz", 1, 2)
    (tmp_path / "test/Amsterdam/GE1T5/9/pre/T1.nii.gz").unlink()
    labels(tmp_path / "additional_annotations/observer_o3/training/Utrecht/0/result.nii.gz", 1)
    table = quietly(tmp_path)
    assert table.subject.tolist() == ["Amsterdam_100", "Amsterdam_9", "Singapore_50", "Utrecht_0"]
    assert set(table.ignore) == {2} and set(table.contrast) == {"t1"}
    assert ["/pre/T1" in path for path in table.image] == [True, False, True, True]
    assert set(table.site) == {"Utrecht", "Singapore", "Amsterdam"}


def test_data_sets_side_by_side(tmp_path):
    """A folder that holds what the paper uses; both BraTS releases have their own labels."""
    ixi(tmp_path / "IXI")
    brats21(tmp_path / "BraTS2021_TrainingSet")
    name = "BraTS-GLI-00006-000"
    for kind in ("t1n", "t2w"):
        scan(tmp_path / name / f"{name}-{kind}.nii.gz")
    labels(tmp_path / name / f"{name}-seg.nii.gz", 3)
    table = quietly(tmp_path)
    assert table.groupby("dataset").size().to_dict() == {"healthy": 10, "tumour": 8}
    assert [subject.layout.name for subject in find_subjects(tmp_path)][::4] == ["IXI", "IXI", "BraTS23"]


# BIDS


def bids(root, subject, *endings, session=""):
    for ending in endings:
        stem = f"{subject}_{session}_{ending}" if session else f"{subject}_{ending}"
        path = root / subject / session / "anat" / f"{stem}.nii.gz"
        (labels(path, 1) if "lesion" in ending else scan(path))


def test_raw_bids_of_healthy_people(tmp_path):
    for i in range(4):
        bids(tmp_path, f"sub-0{i}", "T1w", "T2w", "FLAIR")
    bids(tmp_path, "sub-04", "run-1_T1w", "run-2_T1w", "T2w")
    people = {"participant_id": [f"sub-0{i}" for i in range(3)], "age": [30, "n/a", 50], "sex": ["F", "M", "n/a"]}
    table = pd.DataFrame(people)
    table.to_csv(tmp_path / "participants.tsv", sep="\t", index=False)
    with pytest.warns(UserWarning, match=r"1 further file\(s\) of healthy subjects"):
        found = load_scans(tmp_path)
    assert len(found) == 10 and set(found.dataset) == {"healthy"}
    assert found.image[8].endswith("sub-04_run-1_T1w.nii.gz")
    people = found.drop_duplicates("subject")
    assert people.age.tolist() == [30, "", 50, "", ""] and people.sex.tolist() == ["f", "m", "", "", ""]


@pytest.mark.filterwarnings("ignore:.*without t[12] are left out")
def test_bids_derivatives_with_masks_and_sessions(tmp_path):
    for session in ("ses-01", "ses-02"):
        bids(tmp_path, "sub-p1", "desc-preproc_T1w", "desc-brain_mask", "label-lesion_mask", session=session)
    bids(tmp_path, "sub-p2", "space-orig_T2w", "space-orig_desc-brain_mask", "space-orig_label-lesion_dseg")
    bids(tmp_path, "sub-c1", "desc-preproc_T1w", "desc-brain_mask")
    bids(tmp_path, "sub-x1", "desc-preproc_T1w", "desc-brain_mask")
    table = pd.DataFrame({"participant_id": ["sub-c1", "sub-x1"], "group": ["Control", "patient"]})
    table.to_csv(tmp_path / "participants.tsv", sep="\t", index=False)
    with pytest.warns(UserWarning, match=r"1 patients subject\(s\) without a lesion mask are left out"):
        found = load_scans(tmp_path)
    assert dict(zip(found.subject, found.dataset, strict=True)) == {
        "sub-c1": "healthy",
        "sub-p1_ses-01": "patients",
        "sub-p1_ses-02": "patients",
        "sub-p2": "patients",
    }
    assert found.split[found.subject.str.startswith("sub-p1")].nunique() == 1
    assert all(path.endswith("desc-brain_mask.nii.gz") for path in found["mask"])
    assert (found.seg[found.dataset == "patients"] != "").all()


def test_bids_data_sets_with_subjects_of_one_name_are_refused(tmp_path):
    """One would have the scan, the other the lesion."""
    bids(tmp_path / "controls/rawdata", "sub-01", "T1w")
    bids(tmp_path / "controls/derivatives/lesions", "sub-01", "label-lesion_mask")
    bids(tmp_path / "patients", "sub-02", "T1w", "label-lesion_mask")
    assert load_scans(tmp_path).subject.tolist() == ["sub-01", "sub-02"]
    bids(tmp_path / "patients", "sub-01", "T1w", "label-lesion_mask")
    with pytest.raises(ValueError, match=r"controls/.* and .*patients/.*: two data sets have a sub-01; give") as caught:
        load_scans(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_mask_that_fits_none_of_the_images(tmp_path):
    bids(tmp_path, "sub-01", "T1w", "T2w")
    scan(tmp_path / "sub-01/anat/sub-01_T2w.nii.gz", (9, 9, 4))
    scan(tmp_path / "sub-01/anat/sub-01_desc-brain_mask.nii.gz")
    assert len(quietly(tmp_path)) == 2  # that of the T1
    scan(tmp_path / "sub-01/anat/sub-01_desc-brain_mask.nii.gz", (5, 5, 5))
    with pytest.raises(ValueError, match=r"sub-01_desc-brain_mask.nii.gz: does not fit its image \(\[5, 5, 5\]"):
        load_scans(tmp_path)


def test_orientation_is_no_difference(tmp_path):
    """A mask stored LPS beside an image stored RAS: the same grid."""
    bids(tmp_path, "sub-01", "T1w")
    image = nib.load(tmp_path / "sub-01/anat/sub-01_T1w.nii.gz")
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt("PIL"))
    nib.save(image.as_reoriented(turn), tmp_path / "sub-01/anat/sub-01_desc-brain_mask.nii.gz")
    assert len(quietly(tmp_path)) == 1
