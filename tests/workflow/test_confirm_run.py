"""`make confirm`: only fresh patients are grown, frozen networks are used, and missing choices named in a sentence."""

import json

import confirm
import pandas as pd
import pytest
from profiles import read_profile
from steps import CHOSEN, CONFIRM
from study_folder import Study

from essim import load_scans
from essim.cohort.generate import CohortConfig


@pytest.fixture
def study(tmp_path):
    study = Study.copied(tmp_path, "confirm")
    for contrast in ("t1", "t2"):
        (tmp_path / f"models/laptop_{contrast}").mkdir(parents=True)
        for name in ("weights.safetensors", "calibration.safetensors", "config.json"):
            (tmp_path / f"models/laptop_{contrast}/{name}").touch()
    return study


def test_without_the_development_study_it_stops_with_a_sentence(study):
    done = study.run("--dry-run")
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert (
        f"{CONFIRM['development']}/{CHOSEN[0]}.csv: no such file, and `make confirm` takes its choices" in done.stdout
    )


def test_nothing_is_trained_or_calibrated(study):
    for name in CHOSEN:
        path = study.folder / CONFIRM["development"] / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert study.plan() == {"confirm_cohort": 1, "frozen_network": 2, "reconstruct": 4, "confirm": 1}


def test_nobody_of_the_development_study_is_among_the_patients():
    own, developed = (read_profile(name)["cohort"] for name in ("confirm", "pretrained"))
    assert own["seed"] != developed["seed"] and own["patients_test"] == 100
    assert not any(own[part] for part in ("train", "val", "test", "patients_val"))
    assert {k: v for k, v in own.items() if not isinstance(v, int)} == {
        k: v for k, v in developed.items() if not isinstance(v, int)
    }


def test_patients_are_grown_without_healthy_people(tmp_path, capsys):
    cohort = {"seed": 5, "voxel_mm": 4, "train": 0, "val": 0, "test": 0, "patients_val": 0, "patients_test": 1}
    assert confirm.main([str(tmp_path / "data"), json.dumps(cohort)]) == 0
    scans = load_scans(tmp_path / "data")
    assert set(scans.split) == {"test"} and len(scans) == 4 * len(CohortConfig().contrasts)
    assert pd.Series(scans.dataset.unique()).isin(["tumour", "stroke", "ms", "wmh"]).all()
    assert confirm.main([str(tmp_path / "data"), json.dumps(cohort | {"voxel_mm": 3})]) == 1
    assert capsys.readouterr().err.endswith("confirm: voxel_mm is 3: take 1, 2 or 4\n")
