"""The graph: what runs again and what doesn't, on a stand-in of the study (stand_in.py)."""

import json
import os
import re
import subprocess

import nbformat
import pytest
from profiles import read_profile
from stand_in import edit


def test_a_second_run_does_nothing(finished):
    assert finished.plan() == {}


JUDGED = {"evaluate": 2, "across_sets": 1, "figures": 1}
CALIBRATED = {"ensembling": 1, "calibrated_ensemble": 1} | JUDGED
AT_BEST = {"at_its_best": 1}
LATER = {"ablation": 2, "best_sigma": 1} | CALIBRATED
NETWORK = {"train": 2, "healthy": 2, "reconstruct": 2} | AT_BEST | LATER
EVERY = {"baselines": 2} | NETWORK  # of one seed and fold


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (("ablation_sigmas",), [0.3, 4.0], LATER),
        (("healthy_shares",), [0.1], {"healthy": 2} | AT_BEST | CALIBRATED),
        (("calibrated", "smoothings"), [3.0], {"calibrated_ensemble": 1}),
        (("temperature",), 2.0, {"healthy": 2} | AT_BEST | CALIBRATED),
        (("windows",), [0.7], AT_BEST | {"calibrated_ensemble": 1, "across_sets": 1, "figures": 1}),
        (("reconstruction", "draws"), 3, {"healthy": 2, "reconstruct": 2} | AT_BEST | LATER),
        (("training", "lr"), 0.01, NETWORK),
        (("autoencoder", "lr"), 0.01, {"baselines": 2} | JUDGED),
        (("cohort", "seed"), 9, {"cohort": 1} | EVERY),
    ],
)
def test_a_changed_parameter_reruns_what_depends_on_it(study, place, value, expected):
    section, *key = place
    before = read_profile("smoke")[section]
    assert (before[key[0]] if key else before) != value
    study.change_profile({section: {key[0]: value} if key else value})
    assert study.plan() == expected


def test_a_changed_module_reruns_what_uses_it(study):
    for module, expected in {
        "figures/sigma": {"figures": 1},
        "study/realism": {},
        "ssim": {"healthy": 2} | AT_BEST | LATER,
        "evaluation/at_best": AT_BEST | {"calibrated_ensemble": 1, "across_sets": 1, "figures": 1},
        "train/autoencoder": {"baselines": 2} | JUDGED,
        "unet": EVERY,
    }.items():
        path = study.folder / f"essim/{module}.py"
        before, times = path.read_text(), os.stat(path)
        path.write_text(before + "\nchanged = True\n")
        assert study.plan() == expected, module
        path.write_text(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_only_the_code_of_a_notebook_counts(study):
    path = study.folder / "notebooks/02_train.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells[0].source = "Better prose."
    notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="saved by hand\n")]
    nbformat.write(notebook, path)
    assert study.plan() == {}
    notebook.cells[-1].source += "\nchanged = True"
    nbformat.write(notebook, path)
    assert study.plan() == NETWORK


def written(study, config):
    """Where the steps of a run would write: {folder under results/}."""
    done = study.run("--dry-run", "--quiet", "host", config=config)
    return set(re.findall(r"^ +log: results/(.*)/notebooks/", done.stdout, re.MULTILINE))


def test_another_seed_uses_the_same_cohort(finished):
    assert finished.plan(config=["seeds=[1]"]) == EVERY
    assert written(finished, ["seeds=[1]"]) == {"smoke-seed1"}


def test_a_seed_that_is_added_runs_alone_and_there_is_a_summary(study):
    seeds = ["seeds=[0,1]"]
    before = {path: path.stat().st_mtime_ns for path in study.folder.glob("results/smoke/**/*.*")}
    assert study.plan(config=seeds) == EVERY | {"spread": 1}
    done = study.run(config=seeds)
    assert done.returncode == 0, done.stdout
    assert "  2 seed(s) x 1 fold(s) x 2 training(s) of 8 epochs" in done.stdout
    assert (study.folder / "results/smoke/tables/spread.md").exists()
    assert before == {path: path.stat().st_mtime_ns for path in before}
    for config in (seeds, ["seeds=[1]"], []):
        assert study.plan(config=config) == {}


def test_every_fold_is_a_study_and_there_is_a_summary(finished):
    plan = finished.plan(config=["folds=[0,1,2]"])
    assert plan == {rule: 3 * jobs for rule, jobs in EVERY.items()} | {"spread": 1}
    assert finished.plan(config=["folds=[0,1,2]", "seeds=[1]"]) == plan


def test_every_fold_of_every_seed_is_a_study(finished):
    config = ["folds=[0,1]", "seeds=[0,1]"]
    assert finished.plan(config=config) == {rule: 4 * jobs for rule, jobs in EVERY.items()} | {"spread": 1}
    parts = {"smoke/fold0", "smoke/fold1", "smoke-seed1/fold0", "smoke-seed1/fold1"}
    assert written(finished, config) == parts | {"smoke"}  # the summary


def test_with_networks_that_come_trained_a_seed_is_that_of_the_noise(study):
    for contrast in ("t1", "t2"):
        (study.folder / f"trained_{contrast}").mkdir()
        beside = [f"{kind}.{ending}" for kind in ("ae", "vae") for ending in ("safetensors", "json", "csv")]
        for name in ("weights.safetensors", *beside):
            (study.folder / f"trained_{contrast}/{name}").touch()
    config = ["seeds=[1]", "networks=trained"]
    done = study.run("--dry-run", "--quiet", "host", "--printshellcmds", config=config)
    assert "  1 seed(s) x 1 fold(s) x 2 pretrained network(s): trained" in done.stdout
    commands = re.findall(r"/notebooks/(\d\d_[a-z]+).*--parameters '(.*)'", done.stdout)
    found = [(step, json.loads(values)) for step, values in commands]
    assert [values["training"]["seed"] for step, values in found if step == "02_train"] == [0, 0]
    assert [values["autoencoder"]["seed"] for step, values in found if step == "03_baselines"] == [0, 0]
    assert [values["seed"] for step, values in found if step in ("03_healthy", "03_reconstruct")] == [1] * 4


@pytest.mark.parametrize("seeds", ["1", "[0,0]", "[-1]", "[a]", "[]"])
def test_wrong_seeds_are_one_sentence(finished, seeds):
    done = finished.run("--dry-run", config=[f"seeds={seeds}"])
    assert done.returncode != 0
    assert "seeds must be a list of whole numbers >= 0, each once, got " in done.stdout
    assert "write SEEDS=0,1,2 or seeds=[0,1,2]." in done.stdout and "Traceback" not in done.stdout


def test_on_a_cluster_it_is_the_same_graph(finished):
    here = finished.command("--dry-run", "--quiet", "host", config=["folds=[0,1]"])
    command = [word.replace("local", "slurm") for word in here if word not in ("--cores", "2")]
    where = {"cwd": finished.folder, "env": finished.environment}
    done = subprocess.run(command, **where, capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE))
    once = {"spread": "1", "all": "1", "total": str(2 * sum(EVERY.values()) + 2)}
    assert jobs == {rule: str(2 * count) for rule, count in EVERY.items()} | once
    resources = re.findall(r"rule (\w+):.*?resources: (.*?)\n", text, re.DOTALL)
    with_network = {"train", "baselines", "healthy", "reconstruct", "ensembling"}
    assert {rule for rule, line in resources if "gpu=1" in line} == with_network
    assert all("slurm_partition=your-partition" in line for _, line in resources)


@pytest.mark.parametrize("name", ["2023", "1e3", "my data", "it's # odd: yes"])
def test_a_source_may_have_any_name(finished, name):
    """As `make` hands it over."""
    done = finished.run("--dry-run", config=[f"source=@{name}"])
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert f"{name}: no such folder or table; correct the path." in done.stdout


def test_an_unknown_profile_is_one_sentence(finished):
    done = finished.run(config=["profile=lapptop"])
    assert done.returncode != 0
    assert (
        "unknown profile `lapptop`: known are confirm, gpu, laptop, networks, paper, pretrained, real, smoke"
        in done.stdout
    )
    assert "Traceback" not in done.stdout


def test_a_wrong_parameter_stops_before_anything_runs(study):
    edit(study.folder / "workflow/profiles/smoke.yaml", "lr: 0.0004", "lr: 4e-4")
    done = study.run()
    assert done.returncode != 0
    sentence = "02_train: parameter `training.lr` must be a number, got '4e-4' (a string): write it as 0.0004"
    assert sentence in done.stdout
    assert "Traceback" not in done.stdout
