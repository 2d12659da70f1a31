"""Kernels that are forked: the same as others, and none that outlives the process that asked for it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
import warm_kernels
from study_folder import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a fork is safe on Linux only")

FACTS = """
import sys
warm = "torch" in sys.modules
import json, os, matplotlib, numpy, scipy.linalg, signal, threading, torch
from threadpoolctl import threadpool_info
handlers = [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
elsewhere = []
thread = threading.Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
thread.start(), thread.join()
threads = torch.get_num_threads(), elsewhere, sorted((p["internal_api"], p["num_threads"]) for p in threadpool_info())
environment = {name: value for name, value in os.environ.items() if name not in ("ESSIM_KERNELS", "JPY_PARENT_PID")}
same = sys.path, os.getcwd(), environment, matplotlib.rcParams["backend"], handlers, threads
own = numpy.random.rand()
values = torch.randn(300, 300, generator=torch.Generator().manual_seed(0))
same += ((values @ values).sum().item(), torch.linalg.svdvals(values).tolist())
loaded = [name for name in sys.modules if name.split(".")[0] == "essim"]
with open(FILE, "w") as file:
    json.dump({"warm": warm, "same": same, "own": own, "essim": loaded}, file)
"""
# With a process of its own; it has begun when there is a file, and goes on while there is one.
LONG = """
import os, subprocess, time
child = subprocess.Popen(["sleep", "100"])
with open(FILE + "_", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename(FILE + "_", FILE)
while os.path.exists(FILE):
    time.sleep(0.05)
"""


class Job:
    """A run of a notebook of one cell, which knows the name of a file, by a fork of run_notebook.py as in a study."""

    def __init__(self, folder, code, **environment):
        self.file, notebook = folder / "file", folder / "notebook.ipynb"
        self.file.unlink(missing_ok=True)
        cell = nbformat.v4.new_code_cell(code.replace("FILE", repr(str(self.file))))
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel}), notebook)
        command = [sys.executable, "workflow/warm_kernels.py", "-m", "workflow.run_notebook"]
        command += [notebook, folder / "executed.ipynb", "--threads", "2"]
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, **both)

    def end(self):
        """Its exit status and what it said."""
        said, _ = self.process.communicate(timeout=60)
        return self.process.returncode, said

    def facts(self):
        status, said = self.end()
        assert status == 0, said
        return json.loads(self.file.read_text())

    def started(self):
        """Its kernel and the kernel's own process, once both run."""
        end = time.monotonic() + 60
        while not self.file.exists():
            assert self.process.poll() is None and time.monotonic() < end, "no kernel"
            time.sleep(0.05)
        return [psutil.Process(int(number)) for number in self.file.read_text().split()]


def all_end(processes):
    return not psutil.wait_procs(processes, timeout=10)[1]


def test_a_warm_kernel_is_as_any_other(tmp_path):
    fresh = Job(tmp_path, FACTS, ESSIM_KERNELS="nobody").facts()
    warm, again = (Job(tmp_path, FACTS).facts() for _ in range(2))
    assert warm["warm"] and again["warm"] and not fresh["warm"]
    assert warm["same"] == fresh["same"] == again["same"]
    assert warm["own"] != again["own"], "unseeded numbers differ from kernel to kernel"
    assert not warm["essim"]


def test_a_warm_module_says_and_returns_what_any_other_does():
    how = {"cwd": ROOT, "capture_output": True, "text": True}
    unknown = ["rebuild", "no method", "out", "--folder", "data", "--model", "models", "--asked", "{}"]
    for words, status in ((["learn"], 2), (unknown, 1)):
        command = ["-m", "workflow.methods", *words]
        starts = ([], ["workflow/warm_kernels.py"])
        fresh, warm = (subprocess.run([sys.executable, *start, *command], **how, check=False) for start in starts)
        assert warm.returncode == fresh.returncode == status
        assert warm.stderr == fresh.stderr and warm.stderr


def test_a_module_is_no_kernel_of_the_notebook_that_it_is_started_from():
    """`!make methods` in a notebook: Jupyter's variable, which names a kernel's parent, is inherited."""
    sleeps = ["-m", "timeit", "-n", "1", "-r", "1", "__import__('time').sleep(1)"]
    inherited = os.environ | {"JPY_PARENT_PID": "1"}
    done = subprocess.run([sys.executable, "workflow/warm_kernels.py", *sleeps], cwd=ROOT, env=inherited, check=False)
    assert done.returncode == 0


def test_without_a_server_nothing_is_asked(monkeypatch):
    """On macOS there is no such socket."""
    monkeypatch.delenv(warm_kernels.NAME)
    monkeypatch.setattr(warm_kernels.socket, "socket", None)
    warm_kernels.ask(["-m", "workflow.methods"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_kernel_and_its_processes_end_with_the_job(tmp_path, number):
    job = Job(tmp_path, LONG)
    family = job.started()
    keeper = family[0].parent()
    assert "warm_kernels.py" in " ".join(keeper.cmdline())
    job.process.send_signal(number)
    assert all_end([*family, keeper])
    assert job.end()[0] == (-number if number == signal.SIGKILL else 130)


def test_what_a_notebook_leaves_running_ends_with_it(tmp_path):
    job = Job(tmp_path, "import subprocess\nopen(FILE, 'w').write(str(subprocess.Popen(['sleep', '100']).pid))")
    assert job.end()[0] == 0
    left = int(job.file.read_text())
    assert all_end([process for process in psutil.process_iter() if process.pid == left])


@pytest.mark.parametrize("who", ["kernel", "keeper"])
def test_a_kernel_that_is_killed_is_missed(tmp_path, who):
    job = Job(tmp_path, LONG)
    family = job.started()
    victim = {"kernel": family[0], "keeper": family[0].parent()}[who]
    victim.kill()
    status, said = job.end()
    assert status == 1 and "the kernel died, most often because the memory ran out" in said
    assert all_end(family)


def test_without_its_server_a_kernel_goes_on_and_the_next_one_starts(tmp_path, monkeypatch):
    monkeypatch.delenv(warm_kernels.NAME)
    server = warm_kernels.start()
    monkeypatch.setenv(warm_kernels.NAME, os.environ[warm_kernels.NAME])
    job = Job(tmp_path, LONG)
    family = job.started()
    server.kill()
    server.wait()
    job.file.unlink()
    assert job.end()[0] == 0 and all_end(family)
    assert Job(tmp_path, "'an ordinary kernel'").end()[0] == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_nobody_else_gets_a_kernel():
    child = os.fork()
    if child == 0:
        answer = b"nothing was asked"
        try:
            os.setuid(65534)
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            connection.connect(f"\0{os.environ[warm_kernels.NAME]}")
            answer = b""
            socket.send_fds(connection, [b"{}"], [0, 1, 2])
            answer = connection.recv(16)
        finally:
            os._exit(bool(answer))
    assert os.waitpid(child, 0)[1] == 0


def test_the_server_ends_with_the_process_that_started_it(monkeypatch):
    monkeypatch.delenv(warm_kernels.NAME)
    code = "import time, warm_kernels; server = warm_kernels.start(); print(server.pid, flush=True); time.sleep(100)"
    starter = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT / "workflow", stdout=subprocess.PIPE)
    server = psutil.Process(int(starter.stdout.readline()))
    starter.kill()
    starter.communicate()
    assert all_end([server])
