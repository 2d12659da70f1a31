"""Snakemake for many calls: forks of one process that has imported it, which takes longer than planning a study.

run(words, folder, environment)        what `python -m snakemake` would do there: its exit status and what it said
"""

import functools
import gc
import json
import os
import subprocess
import sys
import tempfile


def run(words, folder, environment):
    """Standard output and errors come together."""
    if sys.platform != "linux":  # macOS's own libraries don't survive a fork
        how = {"cwd": folder, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.run([sys.executable, "-m", "snakemake", *words], **how, text=True, check=False)
    forks = server()
    forks.stdin.write(json.dumps({"words": words, "folder": str(folder), "environment": environment}) + "\n")
    forks.stdin.flush()
    status, said = json.loads(forks.stdout.readline())
    return subprocess.CompletedProcess(words, status, said)


@functools.cache
def server():
    """The process that forks; it ends with this one, at the end of its input."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, __file__], env=own, **pipes, text=True)


def serve():
    """Fork for every line of the input, and answer it with a line."""
    import smart_open  # noqa: F401 (Snakemake imports it when it opens the first file)
    from snakemake import cli

    cli.get_argument_parser()  # has the plug-ins imported as well
    gc.freeze()  # collecting garbage in a fork would copy all that has been imported
    for line in sys.stdin:
        with tempfile.TemporaryFile() as said:
            child = os.fork()
            if child == 0:
                be(cli, said.fileno(), **json.loads(line))
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            said.seek(0)
            print(json.dumps([status, said.read().decode()]), flush=True)


def be(cli, said, words, folder, environment):
    """Be Snakemake, as if Python had been started anew; ends the process."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = folder  # instead of that of this file
    sys.argv = ["snakemake", *words]
    sys.exit(cli.main())


if __name__ == "__main__":
    serve()
