"""Run one notebook: papermill, with readable progress, one sentence when it fails, and no orphaned processes.

    python -m workflow.run_notebook NOTEBOOK EXECUTED --parameters '{"contrast": "t1"}' [--threads 1] [--set workers=2]

What the notebook prints, warnings and progress bars included, comes out line by line under the executed notebook's
name, so that two jobs side by side can be told apart. Returns 0 only if every cell ran.
"""

import argparse
import contextlib
import json
import logging
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

# jsonschema tries to import a checker of internationalised addresses that compiles a grammar for two seconds; it isn't
# needed here, and jsonschema does without.
sys.modules["rfc3987_syntax"] = None

import papermill
import psutil
import zmq
from jupyter_client import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from workflow.warm_kernels import MEMORY, NAME, THREADS

ROOT = Path(__file__).resolve().parents[1]
SECONDS_BETWEEN_PROGRESS = 10
STARTS = 3  # kernels that start at the same time can race for a port


class Kernel(AsyncKernelManager):
    """A notebook's kernel; a fork, where there is a server of warm kernels and this is the kernel that it knows."""

    def format_kernel_cmd(self, extra_arguments=None):
        python, *words = super().format_kernel_cmd(extra_arguments)
        warm = NAME in os.environ and words[:2] == ["-m", "ipykernel_launcher"]
        return [python, *([str(ROOT / "workflow/warm_kernels.py")] if warm else []), *words]

    async def shutdown_kernel(self, now=False, restart=False):
        """End it at once, without exit handlers: asked to end, a kernel now and then waits seconds for its threads."""
        await super().shutdown_kernel(now=True, restart=restart)


class Relay:
    """A stream that prints whole lines under a name, and of a progress bar one line every few seconds."""

    def __init__(self, name):
        self.name, self.line, self.shown = name, "", 0.0

    def write(self, text):
        *lines, self.line = (self.line + re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)).split("\n")
        for line in lines:
            self.show(line)
        bar = "\r" in self.line
        self.line = self.line.rsplit("\r")[-1]
        if bar and time.monotonic() - self.shown > SECONDS_BETWEEN_PROGRESS:
            self.show(self.line)
            self.shown = time.monotonic()

    def show(self, line):
        line = line.rsplit("\r")[-1].rstrip()
        if line:
            print(f"{self.name} | {line}", flush=True)

    def flush(self):
        pass


def stop():
    """End this job: interrupt the notebook, so that it can tidy up, then end its kernel and all of its workers."""
    children = psutil.Process().children(recursive=True)
    for number in (signal.SIGINT, signal.SIGKILL):
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(number)
        psutil.wait_procs(children, timeout=1)
    os._exit(130)


def follow(parent):
    """End this job when Snakemake is gone, perhaps by kill -9: nothing else would."""
    while os.getppid() == parent:
        time.sleep(0.5)
    stop()


def execute(notebook, executed, parameters):
    """Run the notebook; None if all went well, else what went wrong."""
    name = executed.stem
    for start in range(1, STARTS + 1):
        try:
            result = papermill.execute_notebook(
                notebook,
                executed,
                parameters,
                kernel_name="python3",
                kernel_manager_class=Kernel,
                cwd=ROOT,
                progress_bar=False,
                start_timeout=120,
                extra_arguments=["--log-level=ERROR"],
                stdout_file=Relay(name),
                stderr_file=Relay(name),
            )
        except PapermillExecutionError as error:
            said = f"{error.evalue.strip()} ".lstrip()
            return f"{said}({error.ename} in cell {error.exec_count}; see {executed})"
        except DeadKernelError:
            return f"the kernel died, most often because the memory ran out; see {executed}"
        except (RuntimeError, zmq.ZMQError) as error:  # the kernel did not start
            if start == STARTS:
                return f"no kernel started in {STARTS} attempts ({error})"
            time.sleep(start)
        except (OSError, ValueError) as error:
            return f"{error} ({type(error).__name__})"
        else:
            unfinished = [c for c in result.cells if c.cell_type == "code" and c.source and not c.execution_count]
            return f"the notebook ended before its last cell; see {executed}" if unfinished else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("executed", type=Path)
    parser.add_argument("--parameters", type=json.loads, default={}, help="JSON")
    parser.add_argument("--set", dest="more", action="append", default=[], metavar="NAME=JSON", help="another value")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    for word in arguments.more:
        name, _, value = word.partition("=")
        arguments.parameters[name] = json.loads(value)

    os.environ.update(MEMORY | dict.fromkeys(THREADS, str(arguments.threads)))
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not one of the user's own
    logging.getLogger("papermill").setLevel(logging.ERROR)  # parameters are checked by the notebook itself
    sys.stdout.reconfigure(errors="replace")  # a bar's blocks on a terminal that lacks such characters

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop())
    threading.Thread(target=follow, args=(os.getppid(),), daemon=True).start()

    arguments.executed.parent.mkdir(parents=True, exist_ok=True)
    problem = execute(arguments.notebook, arguments.executed, arguments.parameters)
    if problem:
        print(f"{arguments.executed.stem} | stopped: {problem}", file=sys.stderr, flush=True)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
