"""The built-in cohort: what a subject promises, and what the folder promises."""

import csv
import hashlib
import json
import os

import nibabel
import numpy as np
import pytest

from essim.cohort import anatomy, lesions, mni, scanner
from essim.cohort import generate as cohort
from essim.cohort.generate import CohortConfig, describe, generate, grow_subject
from essim.data.prepared import SPLIT_COLUMNS
from essim.runs.files import writing

SMALL = CohortConfig(voxel_mm=4, train=3, val=1, test=4, patients_val=1, patients_test=1)
SCORED = {"tumour": "t2", "stroke": "t1", "ms": "t2", "wmh": "t1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("cohort")
    generate(SMALL, out)
    return out


def _digests(out):
    return {
        str(f.relative_to(out)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(out.rglob("*"))
        if f.is_file()
    }


@pytest.mark.parametrize("dataset", cohort.SETS)
def test_a_subject_is_the_same_in_any_order(dataset):
    alone = grow_subject(SMALL, dataset, 1)
    grow_subject(SMALL, "healthy", 0)
    again = grow_subject(SMALL, dataset, 1)
    for key in ("t1", "t2", "mask", "seg"):
        assert np.array_equal(alone[key], again[key])
    assert not np.array_equal(alone["t1"], grow_subject(SMALL, dataset, 0)["t1"])
    other = CohortConfig(**{**vars(SMALL), "seed": 1})
    assert not np.array_equal(alone["t1"], grow_subject(other, dataset, 1)["t1"])


@pytest.mark.parametrize("dataset", cohort.SETS)
def test_a_subject_is_well_formed(dataset):
    made = grow_subject(CohortConfig(), dataset, 0)
    mask = made["mask"] > 0
    assert made["t1"].shape == made["t2"].shape == mask.shape == (80, 96, 80)
    assert 1600 < mask.sum() * 0.008 < 2300  # ml, of a head brought to the template's size
    assert mask.sum() - mask[1:-1, 1:-1, 1:-1].sum() < 300  # the canvas cuts little but the neck
    for contrast in ("t1", "t2"):
        image = made[contrast]
        assert image.dtype == np.int16
        assert not image[~mask].any() and image[mask].min() >= 1 and image.max() < 10000
    determinant = anatomy.jacobian(made["displacement"], 2)
    assert 0.05 < determinant.min() < 1 < determinant.max() < 6
    if dataset == "healthy":
        assert made["seg"] is None
        return
    seg = made["seg"] > 0
    low, high = lesions.SIZES_ML[dataset][2:]
    assert 0.99 * low <= seg.sum() * 0.008 <= 1.01 * high
    assert not (seg & ~mask).any()


def test_domain_shift_can_be_turned_off():
    training, other = ({s.name for s in sites} for sites in (scanner.TRAINING_SITES, scanner.OTHER_SITES))
    config = CohortConfig()
    sites = [describe(config, "healthy", i)["site"] for i in range(88)]
    assert set(sites[:72]) == training
    assert sum(site in other for site in sites[72:]) == 4
    assert {describe(config, k, i)["site"] for k in lesions.PATHOLOGIES for i in range(22)} == other
    same = CohortConfig(domain_shift=False)
    assert {describe(same, d, i)["site"] for d in cohort.SETS for i in range(22)} == training
    assert not np.array_equal(
        grow_subject(SMALL, "ms", 0)["t1"],
        grow_subject(CohortConfig(**{**vars(SMALL), "domain_shift": False}), "ms", 0)["t1"],
    )


def test_contrasts_are_those_that_are_asked_for(tmp_path):
    config = CohortConfig(
        voxel_mm=4, train=1, val=0, test=0, patients_val=0, patients_test=1, contrasts=["t1", "flair"]
    )
    generate(config, tmp_path)
    assert {path.parent.name for path in tmp_path.rglob("ms0000_*.nii.gz")} == {"t1", "flair", "mask", "seg"}
    same, more = (
        grow_subject(CohortConfig(**vars(config) | {"contrasts": c}), "ms", 0) for c in (("t1",), ("t1", "t2"))
    )
    assert np.array_equal(same["t1"], more["t1"]) and "t2" not in same
    for wrong in (["t2"], ["t1", "pd"], []):
        with pytest.raises(ValueError, match="contrasts is .*: take t1"):
            CohortConfig(contrasts=wrong)


def test_those_who_are_trained_on_lend_no_brain_to_others(monkeypatch):
    people, asked = [(f"{i}.nii.gz", "mask") for i in range(7)], []
    monkeypatch.setattr(cohort.tissues, "find_anatomies", lambda folder: people)
    monkeypatch.setattr(cohort.tissues, "load_anatomy", lambda t1, *_: asked.append(t1) or mni.load_maps(4))
    config = CohortConfig(voxel_mm=4, train=5, val=2, test=1, patients_val=0, patients_test=2, anatomies="somewhere")
    grown = [grow_subject(config, "healthy", index) for index in range(8)] + [grow_subject(config, "ms", 1)]
    assert not set(asked[:5]) & set(asked[5:]) and set(asked[5:]) == {"2.nii.gz", "5.nii.gz"}
    assert asked[:5] == [f"{i}.nii.gz" for i in (0, 1, 3, 4, 6)]
    template = grow_subject(CohortConfig(**vars(config) | {"anatomies": ""}), "healthy", 0)
    assert np.array_equal(template["t1"], grown[0]["t1"])  # the template's maps stood in
    people[:] = people[:1]  # of one person everybody must have the brain
    grow_subject(config, "healthy", 0), grow_subject(config, "healthy", 5)
    assert asked[-2:] == ["0.nii.gz"] * 2


def test_a_cohort_knows_whose_brains_it_has(monkeypatch):
    monkeypatch.setattr(cohort.tissues, "find_anatomies", lambda folder: [(folder, "mask")])
    monkeypatch.setattr(cohort.tissues, "digest_of", lambda t1, mask: t1.split("/")[-1])
    there, moved, other = (cohort.recipe_of(CohortConfig(anatomies=f)) for f in ("a/anna", "b/anna", "a/bert"))
    assert there == moved and there != other and there != cohort.recipe_of(CohortConfig())


def test_layout_and_split_files(folder):
    rows = {}
    for table in (folder / "splits").glob("*.csv"):
        with open(table, newline="") as stream:
            rows[table.stem] = list(csv.DictReader(stream))
            assert tuple(rows[table.stem][0]) == SPLIT_COLUMNS
    counts = {name: len(r) for name, r in rows.items()}
    patients = {f"{k}_{s}": 1 for k in lesions.PATHOLOGIES for s in ("val", "test")}
    folds = {f"IXI_train_fold{fold}": 3 for fold in range(4)} | {f"IXI_val_fold{fold}": 1 for fold in range(4)}
    assert counts == {"IXI_test": 4, **folds, **patients}
    validated = [rows[f"IXI_val_fold{fold}"][0]["img_name"] for fold in range(4)]
    assert validated == [f"healthy000{index}_t1.nii.gz" for index in (3, 2, 1, 0)]
    for name, group in rows.items():
        for row in group:
            assert row["label"] == ("0" if name.startswith("IXI") else "1")
            paths = [row["img_path"], row["img_path"].replace("t1", "t2"), row["mask_path"]]
            for path in paths + ([row["seg_path"]] if row["label"] == "1" else []):
                image = nibabel.load(folder / path.lstrip("/"))
                assert image.shape == (40, 48, 40)
                assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
                np.testing.assert_allclose(image.affine, mni.affine_of(4))
            assert (row["seg_path"] == "") == (row["label"] == "0")
    listed = json.loads((folder / "cohort.json").read_text())["files"]
    found = {k: v for k, v in _digests(folder).items() if k.endswith(".nii.gz")}
    assert listed == found


def test_files_hold_the_subject(folder):
    made = grow_subject(SMALL, "stroke", 0)
    for kind, path in cohort.paths_of(SMALL, made).items():
        assert np.array_equal(np.asarray(nibabel.load(folder / path).dataobj), made[kind])


def test_interrupted_run_goes_on_where_it_was(folder, tmp_path, monkeypatch):
    made, real = [], cohort.grow_subject

    def stopping(config, dataset, index, cache):
        if len(made) == 5 and not os.environ.get("GO_ON"):
            raise KeyboardInterrupt
        made.append((dataset, index))
        return real(config, dataset, index, cache)

    monkeypatch.setattr(cohort, "grow_subject", stopping)
    with pytest.raises(KeyboardInterrupt):
        generate(SMALL, tmp_path)
    assert (tmp_path / "recipe.json").exists() and not (tmp_path / "cohort.json").exists()
    (tmp_path / "Test/wmh/t1").mkdir(parents=True, exist_ok=True)
    (tmp_path / "Test/wmh/t1/.0123456789ab.wmh0001_t1.nii.gz").write_bytes(b"half")
    monkeypatch.setenv("GO_ON", "1")
    generate(SMALL, tmp_path)
    assert len(made) == len(set(made)) == 16
    assert _digests(tmp_path) == _digests(folder)
    generate(SMALL, tmp_path)  # nothing to do
    (tmp_path / "Test/ms/seg/ms0001_seg.nii.gz").unlink()
    generate(SMALL, tmp_path)  # one subject to do
    assert made[16:] == [("ms", 1)]
    assert _digests(tmp_path) == _digests(folder)


def test_processes_write_the_same_bytes_and_another_recipe_starts_afresh(folder, tmp_path):
    config = CohortConfig(voxel_mm=4, train=1, val=0, test=0, patients_val=1, patients_test=0)
    generate(CohortConfig(**{**vars(config), "seed": 5}), tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "cohort.json").unlink()  # as Snakemake does with an output that is out of date
    generate(config, tmp_path, workers=2)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    ours, theirs = _digests(tmp_path), _digests(folder)
    images = [name for name in ours if name.endswith(".nii.gz")]
    assert len(images) == 3 + 4 * 4
    assert all(ours[name] == theirs[name] for name in images if "healthy" not in name)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_subject_that_cannot_be_written_ends_the_run(tmp_path, workers):
    (tmp_path / "Test").write_text("in the way of the patients' folders")
    config = CohortConfig(voxel_mm=4, train=0, val=0, test=0, patients_val=1, patients_test=0)
    with pytest.raises(OSError, match="Test"):
        generate(config, tmp_path, workers=workers)
    assert not (tmp_path / "cohort.json").exists()


def test_a_process_that_dies_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(cohort, "work_off", lambda write, todo, workers, died: [(todo[0], died)])
    with pytest.raises(RuntimeError, match="healthy 0: its process died, .*; use fewer workers"):
        generate(SMALL, tmp_path, workers=2)
    assert not (tmp_path / "cohort.json").exists()


def test_scans_of_another_origin_are_not_removed(tmp_path):
    theirs = tmp_path / "Train" / "ixi" / "t1" / "mine.nii.gz"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"real data")
    with pytest.raises(FileExistsError, match="ixi"):
        generate(SMALL, tmp_path)
    assert theirs.read_bytes() == b"real data"
    assert not (tmp_path / "recipe.json").exists()


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"voxel_mm": 3}, "voxel_mm"),
        ({"train": -1}, "train"),
        ({"seed": 0.5}, "seed"),
        ({"patients_val": True}, "patients_val"),
    ],
)
def test_bad_parameters_are_named(bad, word):
    with pytest.raises(ValueError, match=word):
        CohortConfig(**bad)


def test_unknown_sets_and_subjects_are_named():
    with pytest.raises(ValueError, match="glioma"):
        describe(SMALL, "glioma", 0)
    with pytest.raises(IndexError, match="ms has 2"):
        grow_subject(SMALL, "ms", 2)


@pytest.mark.parametrize("folder_target", [False, True])
def test_writing_is_all_or_nothing(tmp_path, folder_target):
    path = tmp_path / "deep" / "thing.csv"

    def put(at, text):
        if folder_target:
            at.mkdir()
            at = at / "inner"
        at.write_text(text)

    def read():
        return ((path / "inner") if folder_target else path).read_text()

    for text in ("one", "two"):  # new, then in the place of an old one
        with writing(path) as temporary:
            assert temporary.parent == path.parent and temporary.name.endswith(".csv")
            put(temporary, text)
        assert read() == text
    with pytest.raises(OSError, match="full"):
        with writing(path) as temporary:
            put(temporary, "three")
            raise OSError("disk full")
    with pytest.raises(FileNotFoundError, match="thing.csv"):
        with writing(path):
            pass
    assert read() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["thing.csv"]
