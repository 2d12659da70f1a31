"""The graph: what runs again and what doesn't, and what a failure and a kill leave behind.

A stand-in of the study is run: the real Snakefile, profiles and modules with notebooks that only write the files they
have to, so that the graph's own behaviour is what is tested, in seconds. test_smoke.py runs the real notebooks.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
import warm_kernels
from closure import code_of, imported
from profiles import read_profile
from study_folder import Study

NOTEBOOKS = [
    *("01_cohort", "02_train", "03_baselines", "03_healthy", "03_reconstruct", "04_kernel_ablation"),
    *(
        "05_at_its_best",
        "05_ensembling",
        "06_evaluate",
        "07_calibrated_ensemble",
        "08_best_sigma",
        "09_across_sets",
        "98_spread",
    ),
    "99_figures",
]

# Writes the outputs of its step; then waits or fails, if a file of that name says so.
STAND_IN = """
import json, time
from pathlib import Path
outputs, names = json.loads(Path("outputs.json").read_text()), globals()
steps = [NOTEBOOK, *[f"{NOTEBOOK}_{names.get(key)}" for key in ("dataset", "contrast")]]
step, log = next((s, log) for s in steps if (log := f"{results}/notebooks/{s}.ipynb") in outputs)
for name in outputs[log]:
    path = Path(name) if Path(name).suffix else Path(name) / "scans.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(step)
while Path(f"slow_{step}").exists():
    time.sleep(0.1)
if Path(f"exit_{step}").exists():
    raise SystemExit(0)
if Path(f"fail_{step}").exists():
    raise ValueError("data/x.nii.gz: the volume is empty; fetch it again.")
"""


def write_notebook(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    cells.insert(0, nbformat.v4.new_markdown_cell("A stand-in."))
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A stand-in study, run to its end with two patient sets."""
    study = Study.copied(tmp_path_factory.mktemp("study"), parts=("workflow", "essim"))
    (study.folder / "essim/__init__.py").write_text('"""The stand-in needs modules, not the whole package."""')
    (study.folder / "notebooks").mkdir()
    for name in NOTEBOOKS:
        imports = f"if False:  # what the real one does\n    import {', '.join(sorted(imported(code_of(name))))}"
        sources = ("# parameters", imports, f"NOTEBOOK = {name!r}", STAND_IN)
        write_notebook(study.folder / f"notebooks/{name}.ipynb", *sources)
    study.change_profile({"sets": {"tumour": "t2", "stroke": "t1"}})

    planned = study.run("--dry-run", "--quiet", "host", config=["seeds=[0,1]"]).stdout
    jobs = re.findall(r"^ +output: (.*)\n +log: (.*)", planned, re.MULTILINE)
    outputs = {log: names.split(", ") for names, log in jobs}
    (study.folder / "outputs.json").write_text(json.dumps(outputs))

    done = study.run()
    assert done.returncode == 0, done.stdout
    return study


@pytest.fixture
def study(finished, tmp_path):
    """The finished stand-in study, a copy to change; times are kept."""
    shutil.copytree(finished.folder, tmp_path / "study")
    return Study(tmp_path / "study")


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


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
        "unet": NETWORK,
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


def test_a_failing_notebook_leaves_no_output(study):
    table = study.folder / "results/smoke/tables/evaluate_stroke.csv"
    executed = study.folder / "results/smoke/notebooks/06_evaluate_stroke.ipynb"
    table.unlink()
    (study.folder / "fail_06_evaluate_stroke").touch()
    done = study.run()
    assert done.returncode != 0
    sentence = "06_evaluate_stroke | stopped: data/x.nii.gz: the volume is empty; fetch it again. (ValueError"
    assert sentence in done.stdout
    assert "Traceback" not in done.stdout
    assert not table.exists()
    assert "the volume is empty" in executed.read_text()  # the log stays, to be read

    (study.folder / "fail_06_evaluate_stroke").unlink()
    done = study.run()
    assert done.returncode == 0, done.stdout
    assert table.exists()
    assert study.plan() == {}


def test_a_notebook_that_quits_halfway_has_failed(study):
    notebook = study.folder / "notebooks/99_figures.ipynb"
    edit(notebook, "while Path", "pass  # changed\\nwhile Path")
    content = nbformat.read(notebook, 4)
    content.cells.append(nbformat.v4.new_code_cell("never_reached = True"))
    nbformat.write(content, notebook)
    (study.folder / "exit_99_figures").touch()
    done = study.run()
    assert done.returncode != 0
    assert "ended before its last cell" in done.stdout
    assert not (study.folder / "results/smoke/tables/main.csv").exists()


def unserved(study):
    """An environment in which a run starts its own server of warm kernels."""
    return {name: value for name, value in study.environment.items() if name != warm_kernels.NAME}


def test_kill_9_and_resume(study):
    table = study.folder / "results/smoke/tables/evaluate_stroke.csv"
    before = {path: path.stat().st_mtime_ns for path in study.folder.glob("results/smoke/models/*/*")}
    table.unlink()
    (study.folder / "slow_06_evaluate_stroke").touch()
    running = subprocess.Popen(study.command(), cwd=study.folder, env=unserved(study), stdout=subprocess.DEVNULL)
    wait_for(table.exists)

    second = study.run()
    assert second.returncode != 0
    assert "another run is working on results/smoke" in second.stdout

    family = psutil.Process(running.pid).children(recursive=True)
    assert len(family) >= 2  # the job and its kernel
    assert sys.platform != "linux" or any("/warm_kernels.py" in " ".join(process.cmdline()) for process in family)
    running.send_signal(signal.SIGKILL)
    running.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    assert table.exists()  # there, but perhaps incomplete

    assert study.plan() == {"evaluate": 1, "across_sets": 1, "figures": 1}
    (study.folder / "slow_06_evaluate_stroke").unlink()
    done = study.run()
    assert done.returncode == 0, done.stdout
    assert study.plan() == {}
    assert before == {path: path.stat().st_mtime_ns for path in before} and len(before) == 26


def test_ctrl_c_ends_everything(study):
    table = study.folder / "results/smoke/tables/main.csv"
    table.unlink()
    (study.folder / "slow_99_figures").touch()
    where = {"cwd": study.folder, "env": unserved(study), "start_new_session": True}
    running = subprocess.Popen(study.command(), **where, stdout=subprocess.DEVNULL)
    wait_for(table.exists)
    family = psutil.Process(running.pid).children(recursive=True)
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(timeout=30) != 0
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    assert study.plan() == {"figures": 1}  # the table may be there, but is not taken for finished


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


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
