"""What a failure and a kill leave behind, on a stand-in of the study (stand_in.py)."""

import os
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
import warm_kernels
from stand_in import edit
from study_folder import ROOT


@pytest.fixture
def study(study):
    """The stand-in with kernels, as the study's own notebooks have."""
    shutil.copy(ROOT / "workflow/run_notebook.py", study.folder / "workflow")
    return study


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
