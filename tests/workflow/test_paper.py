"""The paper's protocol on its own kind of data: a miniature of the authors' folder, from split files to the summary."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from plan import place_of
from study_folder import Study

from essim.cohort.generate import CohortConfig, grow_subject

SEX = "SEX_ID (1=m, 2=f)"
SMALL = CohortConfig(voxel_mm=2, train=3, val=2, test=1, patients_val=1, patients_test=1)


def write(path, array, affine):
    """A volume at 1 mm, of a head of half the size: each voxel of 2 mm is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([0.5, 0.5, 0.5, 1]) @ affine), path)


@pytest.fixture(scope="module")
def authors(tmp_path_factory):
    """Five healthy people in two folds, one tested; a validation and a test patient of WMH, with ignored voxels."""
    root = tmp_path_factory.mktemp("download") / "authors data"
    lines = []
    for index in range(8):
        dataset, number = ("healthy", index) if index < 6 else ("wmh", index - 6)
        made = grow_subject(SMALL, dataset, number)
        name, place = (f"IXI{index:03d}-HH-1{index:03d}", "Train/ixi") if index < 6 else (f"{index}", "Test/WMH")
        line = {"img_name": f"{name}_t1.nii.gz", "age": made["age"], "label": int(index > 5), SEX: 1}
        roles = {"img": "t1", "mask": "mask", "seg": "seg"}
        line |= {f"{role}_path": f"/{place}/{kind}/{name}_{kind}.nii.gz" for role, kind in roles.items()}
        write(root / line["img_path"][1:], made["t1"], made["affine"])
        write(root / line["mask_path"][1:], made["mask"], made["affine"])
        if dataset == "wmh":
            made["seg"][30:34, 50:54, 40:44] = 2
            write(root / line["seg_path"][1:], made["seg"], made["affine"])
        else:
            line["seg_path"] = ""
        lines.append(line)
    parts = {"IXI_train_fold0": [0, 1, 2], "IXI_train_fold1": [2, 3, 4]}
    parts |= {"IXI_val_fold0": [3, 4], "IXI_val_fold1": [0, 1], "IXI_test": [5], "WMH_val": [6], "WMH_test": [7]}
    for name, members in parts.items():
        (root / "splits").mkdir(exist_ok=True)
        pd.DataFrame([lines[i] for i in members]).to_csv(root / f"splits/{name}.csv")
    return root


@pytest.fixture
def study(tmp_path):
    """The paper's profile with a network that is trained in a second."""
    study = Study.copied(tmp_path, "paper")
    training = {"epochs": 10, "batch": 4, "lr": 0.01, "patch": 2}  # few steps, which have to show
    training |= {"channels": 8, "multipliers": [1, 2], "blocks": 1, "head_channels": 8}
    study.change_profile({"training": training, "autoencoder": {"steps": 2, "batch": 4, "channels": 8}})
    study.change_profile({"sigmas": [0.3, 1.1], "ablation_sigmas": [0.3, 1.1]})
    return study


def test_from_the_authors_folder_to_the_summary_over_folds(study, authors):
    before = {path: path.stat().st_mtime_ns for path in authors.rglob("*")}
    home = place_of("results/paper", authors)
    rest = [f"{home}/fold0/tables/{name}.csv" for name in ("calibrated", "best_sigma", "tests")]  # once is enough
    wanted = [f"{home}/tables/main_spread.csv", *rest]
    done = study.run(*wanted, config=[f"source={authors}"])
    assert done.returncode == 0, done.stdout[-5000:]
    assert study.plan(*wanted, config=[f"source={authors}"]) == {}
    results = study.folder / home
    summary = pd.read_csv(results / "tables/main_spread.csv")
    assert set(summary.dataset) == {"wmh"} and "between_seeds" not in summary
    folds = [pd.read_csv(results / f"fold{fold}/tables/main.csv").set_index("method").auprc for fold in (0, 1)]
    assert folds[0]["intensity"] == folds[1]["intensity"]  # the same patients
    assert folds[0]["l1"] != folds[1]["l1"]  # networks trained on other people
    l1 = summary.set_index(["score", "method"]).loc[("auprc", "l1")]
    assert l1["mean"] == pytest.approx((folds[0]["l1"] + folds[1]["l1"]) / 2)
    assert l1.between_folds == pytest.approx(abs(folds[0]["l1"] - folds[1]["l1"]) / 2**0.5)
    case = results / "fold0/reconstructions/wmh/7"
    image, seg = (nib.load(case / f"{part}.nii.gz") for part in ("image", "seg"))
    assert image.shape == (96, 96, 50)
    assert np.allclose(image.header.get_zooms(), 2)
    assert set(np.unique(seg.get_fdata())) == {0, 1, 2}  # lesion and ignored voxels
    models = [json.loads((results / f"fold{fold}/models/t1/config.json").read_text()) for fold in (0, 1)]
    assert all(model["voxel_mm"] == 1 and model["preprocessing"]["factor"] == 2 for model in models)
    assert len(list((results / "cache").glob("*.npz"))) == 6 + 2  # each scan is preprocessed once for both folds
    assert before == {path: path.stat().st_mtime_ns for path in authors.rglob("*")}  # nothing was written there


def test_the_plan_counts_before_hours_are_spent(study, authors):
    done = study.run("--dry-run", config=[f"source={authors}"])
    assert done.returncode == 0, done.stdout
    for line in (
        "authors data, prepared already",
        "  healthy t1: 3 train, 2 val, 1 test",
        "  wmh t1: 1 val, 1 test",
        "  1 seed(s) x 2 fold(s) x 1 training(s) of 10 epochs in batches of 4",
    ):
        assert line in done.stdout
    assert study.plan(config=[f"source={authors}"]) == {
        **{"train": 2, "baselines": 2, "healthy": 2, "reconstruct": 2},
        **{
            "ablation": 2,
            "at_its_best": 2,
            "ensembling": 2,
            "evaluate": 2,
            "across_sets": 2,
            "best_sigma": 2,
            "figures": 2,
        },
        "calibrated_ensemble": 2,
        "spread": 1,
    }


def test_raw_scans_are_prepared_first(study, authors, tmp_path):
    """A user's table: healthy people, and patients of two sets, one of them without healthy scans of its contrast."""
    raw = tmp_path / "raw"
    for path in [*authors.glob("Train/ixi/*/*"), *authors.glob("Test/WMH/*/*")]:
        small = nib.load(path)
        (raw / path.parent.name).mkdir(parents=True, exist_ok=True)
        grown = nib.Nifti1Image(small.dataobj, np.diag([2, 2, 2, 1]) @ small.affine)  # as large as it was, at 2 mm
        nib.save(grown, raw / path.parent.name / path.name)
    files = [sorted((raw / kind).glob("IXI*"))[:3] for kind in ("t1", "mask")]
    pairs = enumerate(zip(*files, strict=True))
    rows = [{"dataset": "healthy", "subject": f"h{i}", "contrast": "t1", "image": a, "mask": b} for i, (a, b) in pairs]
    for i in (6, 7):
        roles = {"image": "t1", "mask": "mask", "seg": "seg"}
        paths = {role: raw / f"{kind}/{i}_{kind}.nii.gz" for role, kind in roles.items()}
        rows += [{"dataset": "epilepsy", "subject": f"p{i}", "contrast": "t1", "ignore": 2} | paths]
    rows += [{"dataset": "ms", "subject": "m", "contrast": "t2", "ignore": 2} | paths]
    table = tmp_path / "my scans.csv"
    pd.DataFrame(rows).to_csv(table, index=False)

    study.profile = "smoke"  # at 4 mm
    source = f"source={table}"
    plan = study.plan(config=[source])
    assert plan["prepare"] == 1 and plan["train"] == plan["reconstruct"] == 1  # ms has no healthy scans to train on
    stamp = f"{place_of('data/smoke', table)}/prepare.json"
    done = study.run(stamp, config=[source])
    assert done.returncode == 0, done.stdout[-3000:]
    counts = json.loads((study.folder / stamp).read_text())
    assert counts["subjects"] == 3 + 2 + 1 and counts["failed"] == 0
    assert "prepare" not in study.plan(config=[source])
    (raw / "t1/IXI000-HH-1000_t1.nii.gz").touch()
    assert study.plan(config=[source])["prepare"] == 1  # another scan under the same name


@pytest.mark.parametrize(
    ("source", "said"),
    [("nowhere", "nowhere: no such folder or table; correct the path."), ("workflow", "no scan of a known data set")],
)
def test_a_wrong_source_is_one_sentence(study, source, said):
    done = study.run("--dry-run", config=[f"source={source}"])
    assert done.returncode != 0
    assert said in done.stdout and "Traceback" not in done.stdout
