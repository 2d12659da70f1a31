"""Data sets as downloaded: names, folders and quirks as their authors publish them, one test a data set."""

import numpy as np
import pytest
import xlwt
from trees import labels, quietly, scan, told

from essim.data.datasets import SCAN_COLUMNS, load_scans
from essim.data.subjects import find_subjects


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
    (tmp_path / "IXI.xls").write_bytes((tmp_path / "IXI.xls").read_bytes()[:900])
    table, said = told(tmp_path)
    assert "IXI.xls: cannot be read as an Excel file" in said and "its people have no age and sex" in said
    assert len(table) == 10 and set(table.age) == {""} and set(table.dataset) == {"healthy"}


def test_ixi_without_a_t2(tmp_path):
    ixi(tmp_path)
    (tmp_path / "IXI-T2/IXI012-HH-1012-T2.nii.gz").unlink()
    with pytest.warns(UserWarning, match=r"1 healthy subject\(s\) without t2 are left out there"):
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
    assert table.contrast.tolist() == 3 * ["t1", "t2", "flair"]
    assert set(table.dataset) == {"tumour"} and set(table["mask"]) == {"nonzero"} and set(table.ignore) == {""}
    assert table.image[0].endswith("BraTS2021_00000/BraTS2021_00000_t1.nii.gz")  # not t1ce
    labels(tmp_path / "BraTS2021_00001/BraTS2021_00001_seg.nii.gz", 1, 3)
    with pytest.raises(ValueError, match=r"00001_seg.nii.gz: has the label\(s\) \[3\], where only \[0, 1, 2, 4\] are"):
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
        scan(tmp_path / f"{patient}/{start}brainmask.nii.gz", dtype=np.uint8)  # on another grid
        labels(tmp_path / f"{patient}/{start}consensus_gt.nii.gz", 1)
    table = quietly(tmp_path)
    assert table.contrast.tolist() == 2 * ["t1", "t2", "flair"] and table.image[2].endswith("FLAIR.nii.gz")
    assert set(table.subject) == {"patient01", "patient02"} and set(table.dataset) == {"ms"}
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
    assert table.contrast.tolist() == 4 * ["t1", "flair"] and set(table.ignore) == {2}
    assert table.image[table.contrast == "flair"].str.endswith("/pre/FLAIR.nii.gz").all()
    t1 = table[table.contrast == "t1"]
    assert t1.subject.tolist() == ["Amsterdam_100", "Amsterdam_9", "Singapore_50", "Utrecht_0"]
    assert ["/pre/T1" in path for path in t1.image] == [True, False, True, True]
    assert set(table.site) == {"Utrecht", "Singapore", "Amsterdam"}


def test_data_sets_side_by_side(tmp_path):
    """A folder that holds what the paper uses; both BraTS releases have their own labels."""
    ixi(tmp_path / "IXI")
    brats21(tmp_path / "BraTS2021_TrainingSet")
    name = "BraTS-GLI-00006-000"
    for kind in ("t1n", "t2w"):
        scan(tmp_path / name / f"{name}-{kind}.nii.gz")
    labels(tmp_path / name / f"{name}-seg.nii.gz", 3)
    table, said = told(tmp_path)
    assert "BraTS-GLI, BraTS2021 have people in common" in said and "keep one" in said
    assert table.groupby("dataset").size().to_dict() == {"healthy": 10, "tumour": 11}
    assert [subject.layout.name for subject in find_subjects(tmp_path)[0]][::4] == ["IXI", "IXI", "BraTS23"]


def family(prefix, kinds, lesion, end=".nii.gz"):
    """The files of one BraTS subject: {path: labels, or None for an image}."""
    return {f"{prefix}/{prefix}{kind}{end}": None for kind in kinds} | {f"{prefix}/{prefix}{lesion[0]}{end}": lesion[1]}


NEW, OLD = ("-t1n", "-t1c", "-t2w", "-t2f"), ("_t1", "_t1ce", "_t2", "_flair")
TCIA = ("_T1", "_T2", "_FLAIR")
FAMILY = {
    "GLI after treatment": (family("BraTS-GLI-02064-100", NEW, ("-seg", (1, 2, 3, 4))), "BraTS-GLI-02064-100"),
    "MEN": (family("BraTS-MEN-00000-000", NEW, ("-seg", (1, 2, 3))), "BraTS-MEN-00000-000"),
    "MET": (family("BraTS-MET-00001-000", NEW, ("-seg", (1, 2, 3))), "BraTS-MET-00001-000"),
    "PED": (family("BraTS-PED-00001-000", NEW, ("-seg", (1, 2, 3, 4))), "BraTS-PED-00001-000"),
    "SSA": (family("BraTS-SSA-00002-000", NEW, ("-seg", (1, 2, 3))), "BraTS-SSA-00002-000"),
    "2020": (family("BraTS20_Training_001", OLD, ("_seg", (1, 2, 4)), ".nii"), "BraTS20_Training_001"),
    "2020, 355": (
        family("BraTS20_Training_355", OLD, ("_flair", None), ".nii")
        | {"BraTS20_Training_355/W39_1998.09.19_Segm.nii": (1, 4)},
        "BraTS20_Training_355",
    ),
    "2019": (family("BraTS19_TCIA01_001_1", OLD, ("_seg", (1, 2, 4))), "BraTS19_TCIA01_001_1"),
    "2018": (family("Brats18_2013_0_1", OLD, ("_seg", (1, 2, 4))), "Brats18_2013_0_1"),
    "2017": (family("Brats17_CBICA_AAB_1", OLD, ("_seg", (1, 2, 4))), "Brats17_CBICA_AAB_1"),
    "UCSF": (family("UCSF-PDGM-0004", (*TCIA, "_T1c"), ("_tumor_segmentation", (1, 2, 4))), "UCSF-PDGM-0004"),
    "UPENN": (family("UPENN-GBM-00001_11", (*TCIA, "_T1GD"), ("_segm", (1, 2, 4))), "UPENN-GBM-00001_11"),
}


@pytest.mark.parametrize(("files", "name"), FAMILY.values(), ids=FAMILY)
def test_the_brats_family(tmp_path, files, name):
    for path, values in files.items():
        scan(tmp_path / "HGG" / path) if values is None else labels(tmp_path / "HGG" / path, *values)
    table = quietly(tmp_path)
    assert set(table.dataset) == {"tumour"} and set(table.subject) == {name}
    assert table.contrast.tolist() == ["t1", "t2", "flair"]
    assert not table.image.str.contains("t1c|T1c|T1GD").any()
    assert set(table["mask"]) == {"nonzero"} and (table.seg != "").all()


def test_ucsf_has_its_own_brain_masks(tmp_path):
    for kind in ("T1", "T2", "brain_segmentation"):
        scan(tmp_path / f"UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_{kind}.nii.gz")
    labels(tmp_path / "UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_tumor_segmentation.nii.gz", 1, 2, 4)
    assert quietly(tmp_path)["mask"][0].endswith("_brain_segmentation.nii.gz")


def test_a_t1_with_contrast_agent_is_no_t1(tmp_path):
    name = "BraTS-MEN-RT-0000-1"
    scan(tmp_path / f"{name}/{name}_t1c.nii.gz")
    labels(tmp_path / f"{name}/{name}_gtv.nii.gz", 1)
    with pytest.raises(ValueError, match=r"no scan is left: 1 tumour .* a T1 with contrast agent isn't taken as T1"):
        load_scans(tmp_path)
    brats21(tmp_path, 1)
    table, said = told(tmp_path)
    assert len(table) == 3 and "1 tumour subject(s) without a T1, T2 or FLAIR are left out, since" in said


def test_wmh_as_the_public_download_has_it(tmp_path):
    for place in ("Utrecht/Utrecht/0", "Singapore/Singapore/50", "GE3T/GE3T/100", "public/Amsterdam/GE3T/101"):
        scan(tmp_path / place / "pre/T1.nii.gz")
        labels(tmp_path / place / "wmh.nii.gz", 1, 2)
    table = quietly(tmp_path)
    assert table.subject.tolist() == ["Amsterdam_101", "GE3T_100", "Singapore_50", "Utrecht_0"]
    assert set(table.ignore) == {2}


def test_atlas_with_255_for_the_lesion_and_another_space_beside_it(tmp_path):
    stem = "sub-r001s001/ses-1/anat/sub-r001s001_ses-1_space"
    scan(tmp_path / f"{stem}-MNI152NLin2009aSym_T1w.nii.gz")
    labels(tmp_path / f"{stem}-MNI152NLin2009aSym_label-L_desc-T1lesion_mask.nii.gz", 255)
    scan(tmp_path / f"{stem}-orig_T1w.nii.gz")  # nobody becomes a healthy BIDS subject by it
    table, said = told(tmp_path)
    assert table.dataset.tolist() == ["stroke"] and "1 further file(s) of subjects in another space are unused" in said


def test_names_in_small_letters(tmp_path):
    scan(tmp_path / "ixi002-guys-0828-t1.nii.gz")
    assert quietly(tmp_path)[["dataset", "subject"]].values.tolist() == [["healthy", "ixi002-guys-0828"]]
