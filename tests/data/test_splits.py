"""Splits by seed: everybody in one part, each site in each part, and files that say so."""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import row
from trees import quietly, told

from essim.data.datasets import list_scans, load_scans
from essim.data.prepared import FOLDS
from essim.data.splits import FEWEST, VALIDATES, assign, person_of, validation_parts, write_splits


def people(count, dataset="healthy", sites=("a",), sessions=1):
    numbers = [(i, f"_ses-{k}" if sessions > 1 else "") for i in range(count) for k in range(sessions)]
    lines = [{"dataset": dataset, "subject": f"s{i:03d}{end}", "site": sites[i % len(sites)]} for i, end in numbers]
    return pd.DataFrame(lines)


def test_the_papers_sizes():
    for fold in range(FOLDS):
        sizes = assign(people(560), fold=fold).split.value_counts()
        assert sizes["test"] == 160 and 44 <= sizes["val"] <= 45 and sizes["train"] == 400 - sizes["val"]
    sizes = assign(people(50, "tumour")).split.value_counts()
    assert sizes.to_dict() == {"test": 40, "val": 10}


def test_folds_share_the_test_part_and_validate_on_different_people():
    tables = [assign(people(100), fold=fold).set_index("subject") for fold in range(FOLDS)]
    assert len({frozenset(t.index[t.split == "test"]) for t in tables}) == 1
    validated = [name for t in tables for name in t.index[t.split == "val"]]
    assert len(validated) == len(set(validated)) > 30
    for fold, table in enumerate(tables):
        assert set(table.fold[table.split != "test"]) == {fold} and set(table.fold[table.split == "test"]) == {""}


def test_sites_are_spread_evenly():
    table = assign(people(300, sites=("Guys", "HH", "IOP")))
    shares = table.groupby("site").split.value_counts(normalize=True).unstack()
    assert (shares.max() - shares.min() < 0.02).all()


def test_the_order_of_files_is_no_matter_and_the_seed_is():
    table = people(60)
    one, two = assign(table), assign(table.sample(frac=1, random_state=0)).sort_index()
    pd.testing.assert_frame_equal(one, two)
    assert (assign(table, seed=1).split != one.split).sum() > 10


def test_a_persons_scans_stay_together():
    table = assign(people(40, sessions=3))
    assert (table.groupby(table.subject.map(person_of)).split.nunique() == 1).all()
    assert person_of("sub-r001s001_ses-1") == "sub-r001s001"
    assert person_of("BraTS-GLI-00005-001") == "BraTS-GLI-00005"
    assert person_of("IXI012-HH-1211") == "IXI012-HH-1211" and person_of("BraTS2021_00000") == "BraTS2021_00000"


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_small_sets(count):
    assert len(assign(people(count))) == count
    parts = set(assign(people(count, "ms")).split)
    assert parts == ({"test"} if count == 1 else {"test", "val"})


def test_there_are_five_folds():
    with pytest.raises(ValueError, match="fold must be one of 0 to 4, got 5"):
        assign(people(3), fold=5)


def prepared(root):
    """Scans of 12 healthy people and 3 patients in the prepared layout, without split files."""
    lesion = np.zeros((16, 16, 8), bool)
    lesion[6:9, 6:9, 3:5] = True
    rows = []
    for i in range(15):
        healthy, place = i < 12, root / ("Train/ixi" if i < 12 else "Test/ms")
        made = row(root.parent / "in", seed=i, lesion=None if healthy else lesion, site="north", sex="f")
        for role, kind in {"image": "t2", "mask": "mask", "seg": "seg"}.items():
            if made[role]:
                target = place / kind / f"s{i}_{kind}.nii.gz"
                target.parent.mkdir(parents=True, exist_ok=True)
                made[role] = str(Path(made[role]).rename(target))
        rows.append(made | {"dataset": "healthy" if healthy else "ms", "ignore": 2})
    return pd.DataFrame(rows)


def test_written_splits_are_read_again(tmp_path):
    table = prepared(tmp_path / "out")
    for fold in range(FOLDS):
        dealt = assign(table, fold=fold)
        if fold == 0:
            write_splits(dealt, tmp_path / "out")
        found = load_scans(tmp_path / "out", fold=fold)
        order = ["dataset", "subject"]
        one, two = (t[found.columns].sort_values(order).reset_index(drop=True).astype(str) for t in (dealt, found))
        pd.testing.assert_frame_equal(one, two)
    assert {path.name for path in (tmp_path / "out/splits").iterdir()} == {
        "IXI_test.csv",
        "ms_val.csv",
        "ms_test.csv",
        *(f"IXI_{part}_fold{fold}.csv" for part in ("train", "val") for fold in range(FOLDS)),
    }


def test_splits_of_ones_own_are_one_fold(tmp_path):
    parts = ["train"] * 9 + ["val", "val", "test", "val", "test", "test"]
    table = prepared(tmp_path / "out").assign(split=parts, fold="")
    write_splits(table, tmp_path / "out")
    found = load_scans(tmp_path / "out").set_index("subject")
    assert (found.split[table.subject] == table.split.tolist()).all()
    with pytest.raises(FileNotFoundError, match="IXI_train_fold1.csv"):
        load_scans(tmp_path / "out", fold=1)


def test_who_is_left_out_moves_nobody(tmp_path):
    table = prepared(tmp_path / "out")
    gone = {("healthy", "s4"), ("ms", "s13")}
    broken = assign(table)
    broken.loc[broken.subject.isin(["s4", "s13"]), ["image", "mask", "seg"]] = "elsewhere.nii.gz"
    write_splits(broken, tmp_path / "out", without=gone)
    found = load_scans(tmp_path / "out").set_index("subject")
    expected = assign(table).set_index("subject").drop(["s4", "s13"])
    assert (found.split[expected.index] == expected.split).all() and len(found) == 13


def test_patients_alone_have_empty_healthy_files(tmp_path):
    table = prepared(tmp_path / "out")
    write_splits(assign(table[table.dataset == "ms"]), tmp_path / "out")
    assert set(load_scans(tmp_path / "out").dataset) == {"ms"}


@pytest.mark.parametrize(
    ("names", "person"),
    [
        ("OAS30001_MR_d0129 OAS30001_MR_d0757 OAS30001_CT_d2430", "OAS30001"),
        ("OAS1_0001_MR1 OAS1_0001_MR2", "OAS1_0001"),
        ("002_S_0413_m12 002_S_0413_bl 002_S_0413_MR_MPRAGE_br_raw_2006 ADNI_002_S_0413", "002_S_0413"),
        ("100010_time1 100010_time2 100010-time-3", "100010"),
        ("sub-01_ses-1 sub-01_ses-preop sub-01_sess-d0129", "sub-01"),
        ("BraTS-GLI-00005-000 BraTS-GLI-00005-101", "BraTS-GLI-00005"),
        ("BraTS-PED-00001-000 BraTS-PED-00001-001", "BraTS-PED-00001"),
        ("BraTS-MEN-RT-0000-1 BraTS-MEN-RT-0000-2", "BraTS-MEN-RT-0000"),
        ("UCSF-PDGM-0429_FU003d UCSF-PDGM-0429", "UCSF-PDGM-0429"),
        ("UPENN-GBM-00001_11 UPENN-GBM-00001_21", "UPENN-GBM-00001"),
        ("P01_T1 P01-t2 P01_v3 P01_visit-4 P01_baseline P01_m06 P01_followup2 P01_post P01_week-12 P01_retest", "P01"),
        ("p7_20190101 p7_2020-02-28 p7_scan2 p7_tp1 p7_bl p7_d0129", "p7"),
        *((name, name) for name in "IXI012-HH-1211 BraTS2021_00000 BraTS20_Training_001 patient01 Utrecht_0".split()),
        *((name, name) for name in "control_m12 patient_1 anna_post site_2 s001 sub-01 007 p_20 sub-2019".split()),
    ],
)
def test_whose_scan_a_name_says(names, person):
    assert {person_of(name) for name in names.split()} == {person}


def own(folder, names, **columns):
    """A table of healthy people's scans."""
    scans = [row(folder, seed=i, dataset="healthy", subject=name) for i, name in enumerate(names)]
    table = pd.DataFrame(scans)[["dataset", "subject", "contrast", "image"]].assign(**columns)
    table.to_csv(folder / "scans.csv", index=False)
    return folder / "scans.csv"


def test_a_column_says_whose_scans_belong_together(tmp_path):
    names, people = [f"x{i}" for i in range(24)], [f"p{i // 2}" for i in range(24)]
    path = own(tmp_path, names, person=people)
    table = quietly(path)
    assert "person" not in table and (table.groupby(pd.Series(people)).split.nunique() == 1).all()
    scans = list_scans(path)[0]
    write_splits(scans, tmp_path / "out")  # as essim.prepare does
    for fold in range(FOLDS):
        parts = [
            {
                f"p{int(name[1:]) // 2}"
                for name in pd.read_csv(tmp_path / f"out/splits/IXI_{part}.csv").img_name.str[:-10]
            }
            for part in (f"train_fold{fold}", f"val_fold{fold}", "test")
        ]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 12


@pytest.mark.filterwarnings("ignore:.*taken for visits of 1 people")
def test_a_column_with_gaps(tmp_path):
    path = own(tmp_path, ["a1_m00", "a1_m12", "b"], person=["", "", "bertha"])
    assert list_scans(path)[0].person.tolist() == ["a1", "a1", "bertha"]


def test_visits_that_names_tell_are_said(tmp_path):
    path = own(tmp_path, [f"p{i}_m{month:02d}" for i in range(12) for month in (0, 12)])
    table, said = told(path)
    assert (table.groupby(table.subject.str.split("_").str[0]).split.nunique() == 1).all()
    assert "24 subjects are taken, by their names, as visits of 12 people (p0_m00, p0_m12: p0)" in said


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        ("P01a P01b P02", "2 subjects count as different people .* (P01a, P01b)"),
        ("P01-1 P01-2 P02-1", "2 subjects count as different people .* (P01-1, P01-2)"),
        ("p1_left p1 p2 p3", "2 subjects .* (p1_left, p1)"),
        ("p1x p1y p2x p2y p3x p3y p4x p4y", "8 subjects .* (p1x, p1y; p2x, p2y; p3x, p3y; ...)"),
        ("IXI012-HH-1211 IXI013-HH-1212 IXI014-HH-1213", ""),
        ("patient_1 patient_2 patient_3", ""),
        ("sub-01 sub-02 sub-03", ""),
        (" ".join(f"site1_{i:03d}" for i in range(20)), ""),
    ],
)
def test_names_that_differ_in_a_suffix_only(tmp_path, names, listed):
    _, said = told(own(tmp_path, names.split()))
    assert re.search(re.escape(listed).replace(r"\.\*", ".*"), said) if listed else not said


# What healthy validation scans are for


def validating(count, sites=("a", "b", "c"), sessions=1):
    return people(count, sites=sites, sessions=sessions).assign(split="val")


def test_healthy_validation_people_are_shared_out_in_three():
    """Each part has a third of every site's people, all scans of a person, and nobody of another split or set."""
    scans = pd.concat(
        [validating(36, sessions=2), people(9).assign(split="train"), people(9, "ms").assign(split="val")]
    )
    scans = scans.reset_index(drop=True)
    scans["part"] = validation_parts(scans)
    assert set(scans.part[72:]) == {""}
    val = scans[:72].assign(person=scans.subject.map(person_of))
    assert (val.groupby("person").part.nunique() == 1).all()
    counts = val.drop_duplicates("person").groupby(["part", "site"]).size().unstack()
    assert set(counts.index) == set(VALIDATES) and (counts == 4).all(axis=None)


def test_nobodys_part_depends_on_how_scans_are_listed():
    scans = validating(30)
    parts = dict(zip(scans.subject, validation_parts(scans), strict=True))
    again = scans.sample(frac=1, random_state=0)
    assert dict(zip(again.subject, validation_parts(again), strict=True)) == parts


@pytest.mark.parametrize(("count", "shared"), [(FEWEST, True), (FEWEST - 1, False), (1, False)])
def test_few_people_serve_for_all_three_and_a_sentence_says_so(count, shared):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = validation_parts(validating(count))
    said = [str(warning.message) for warning in caught]
    if shared:
        assert parts.value_counts().to_dict() == dict.fromkeys(VALIDATES, 4) and not said
    else:
        assert set(parts) == {""}
        assert said == [
            f"{count} healthy validation people are too few for three parts (12 are enough): all of them "
            "choose the network's step, calibrate the score and set its thresholds."
        ]
    assert len(validation_parts(people(3).assign(split="train"))) == 3, "nobody to share out"
