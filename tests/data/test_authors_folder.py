"""The scan table of the data that come with the paper: their names, their split files, their quirks."""

import numpy as np
import pandas as pd
import pytest
from helpers import save
from prepared import SEX, entry

from essim.data.datasets import load_scans
from essim.data.volumes import read_scan


def authors_folder(root, splits):
    """A miniature of the data that come with the paper: their names, their split files, their quirks."""
    healthy = [
        entry(root, f"IXI{i:03d}-HH-{1200 + i}", "Train/ixi", False, contrasts=("t1", "t2") if i != 2 else ("t1",))
        for i in range(6)
    ]
    for line in healthy:
        line["img_name"] += "_t1.nii.gz"
        del line["site"], line["seg_path"]
    (root / splits).mkdir(parents=True)

    def write(name, *lines):
        pd.DataFrame(lines).to_csv(root / splits / name)  # with the unnamed first column

    for fold in range(5):
        write(f"IXI_train_fold{fold}.csv", *healthy[:3])
        write(f"IXI_val_fold{fold}.csv", healthy[3 + fold % 2])
    write("IXI_test.csv", healthy[5])
    for name, labels in {"Brats21": 4, "MSLUB": 1, "ATLAS_v2": 1, "WMH": 2}.items():
        for part in ("val", "test"):
            patient = f"{name}_{part}"
            line = entry(root, patient, f"Test/{name}", True, **{"Scanner Brand": "GE"})
            seg = np.ones((2, 2, 2), np.uint8)
            seg[0] = labels
            save(root / f"Test/{name}/seg/{patient}_seg.nii.gz", seg)
            line["img_name"] += "" if name == "Brats21" else "_t1.nii.gz"
            del line["site"], line[SEX]
            write(f"{name}_{part}.csv", line)
    return healthy


@pytest.mark.parametrize("splits", ["splits", "Data/splits"])
def test_the_authors_folder(tmp_path, splits):
    root = tmp_path / "data"
    authors_folder(root, splits)
    with pytest.warns(UserWarning, match=r"1 healthy subject\(s\) without t2 are left out there"):
        table = load_scans(root, fold=3)
    assert set(table.dataset) == {"healthy", "tumour", "ms", "stroke", "wmh"}
    assert table[table.dataset == "healthy"].groupby(["split", "contrast"]).size().to_dict() == {
        ("train", "t1"): 3,
        ("train", "t2"): 2,
        ("val", "t1"): 1,
        ("val", "t2"): 1,
        ("test", "t1"): 1,
        ("test", "t2"): 1,
    }
    assert set(table[table.split == "train"].fold) == {3}
    assert table[table.split == "val"].subject.iloc[0] == "IXI004-HH-1204"
    wmh, tumour = table[table.dataset == "wmh"].iloc[0], table[table.dataset == "tumour"].iloc[0]
    assert (wmh.ignore, tumour.ignore) == (2, "")  # label 2 is another pathology there, and oedema here
    assert tumour.subject == "Brats21_val" and tumour.site == "GE"
    assert load_scans_labels(wmh) == (4, 4)
    assert load_scans_labels(tumour) == (8, 0)


def load_scans_labels(row):
    """(lesion voxels, ignored voxels) of a row, as volumes.read_scan sees them."""
    seg = read_scan(row)[2]
    return (seg == 1).sum(), (seg == 2).sum()


def test_their_list_of_t2_scans(tmp_path):
    root = tmp_path / "data"
    healthy = authors_folder(root, "splits")
    names = [line["img_name"].replace("_t1", "_t2") for line in healthy if "IXI003" not in line["img_name"]]
    pd.DataFrame(names).to_csv(root / "splits" / "avail_t2.csv")
    with pytest.warns(UserWarning, match=r"2 healthy subject\(s\) without t2"):
        table = load_scans(root)
    assert table[(table.contrast == "t2") & (table.dataset == "healthy")].subject.str[:6].tolist() == [
        "IXI000",
        "IXI001",
        "IXI005",
    ]
    assert (table[table.dataset != "healthy"].contrast == "t2").sum() == 8


@pytest.mark.filterwarnings("ignore:.*without t2 are left out")
def test_sets_of_ones_own_keep_their_names(tmp_path):
    """What essim.prepare wrote from a set that somebody called WMH is no folder of the authors."""
    root = tmp_path / "data"
    authors_folder(root, "splits")
    (root / "source.json").write_text("{}")
    for name in ("Brats21", "MSLUB", "ATLAS_v2", "WMH"):
        for part in ("val", "test"):
            save(root / f"Test/{name}/seg/{name}_{part}_seg.nii.gz", np.full((2, 2, 2), 1, np.uint8))
    table = load_scans(root)
    assert set(table.dataset) == {"healthy", "Brats21", "MSLUB", "ATLAS_v2", "WMH"}
    assert set(table.ignore[table.dataset == "WMH"]) == {2}
