"""Kernels that start with their libraries imported: forks of one process, the server, that has imported them.

To import torch, scipy, pandas and the like takes some 3 seconds of processor time, and a study starts 40 kernels; what
runs each of their notebooks is such a fork too.

    start()                                           a server for this process and those it starts; Linux only
    warm_kernels.py -m ipykernel_launcher -f FILE     a kernel of that server; without one, an ordinary kernel
    warm_kernels.py -m workflow.run_notebook WORDS    so too any other module that `python -m` would run

The server imports nothing of essim, so it serves any clone. For each kernel it forks a keeper, which forks the kernel
and sees to it that the kernel, and all that it has started, ends with the process that asked for it.
"""

import atexit
import contextlib
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import weakref

NAME = "ESSIM_KERNELS"  # in the environment: the server's address
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # what libraries read when they start
STARTED_WITH = frozenset(os.environ)
# glibc: memory that was freed stays with the process. New pages for every array cost as much as the arithmetic on it.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 25), "MALLOC_TRIM_THRESHOLD_": str(1 << 32), "MALLOC_ARENA_MAX": "1"}
LEFT_OUT = ("essim", "workflow", "ipywidgets")  # these widgets look for their kernel when they are imported


def start():
    """Start a server that ends with this process, however this one ends, and tell further processes of it.

    It imports nothing before the first kernel is asked for. Keep what is returned: the server lives no longer. Where
    there can be none, or is one already, None.
    """
    import subprocess

    if sys.platform != "linux" or NAME in os.environ:  # macOS's own libraries don't survive a fork
        return None
    name = f"essim-{os.getpid()}-{os.urandom(8).hex()}"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"\0{name}")  # no file: nothing stays behind
        listener.listen(100)
        file = listener.fileno()
        # In a session of its own: Ctrl-C is for this process. OpenBLAS starts its threads when it is loaded.
        environment = os.environ | MEMORY | {"OPENBLAS_NUM_THREADS": "1"}
        how = {"start_new_session": True, "env": environment, "pass_fds": [file]}
        quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        server = subprocess.Popen([sys.executable, __file__, str(file)], **how, **quiet)
        os.environ[NAME] = name
        return server


def ask(arguments):
    """Have a kernel forked and stand in for it: pass on signals, end as it ends. Returns if there is no server."""
    if NAME not in os.environ:
        return
    path = [os.getcwd(), *sys.path[1:]]  # what `python -m` would have
    parent = int(is_kernel(arguments) and os.environ.get("JPY_PARENT_PID") or os.getppid())
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(f"\0{os.environ[NAME]}")
        if user_of(connection) != os.getuid():
            return
        words = json.dumps({"arguments": arguments, "path": path, "environment": dict(os.environ)})
        socket.send_fds(connection, [words.encode()], [0, 1, 2])
        group = connection.recv(16)  # the first kernels wait here for the server's imports
        if not group:
            return
    except OSError:
        return

    def pass_on(number, _):
        with contextlib.suppress(OSError):  # it has just ended
            connection.send(bytes([number]))

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    while not select.select([connection], [], [], 0.5)[0]:
        if os.getppid() != parent:
            sys.exit(1)
    code = b""
    with contextlib.suppress(ConnectionResetError):  # it has ended without reading a signal
        code = connection.recv(8)
    if not code:  # somebody has ended the keeper
        with contextlib.suppress(OSError):
            os.killpg(int(group), signal.SIGKILL)
    code = int(code or -signal.SIGKILL)
    sys.exit(code if code >= 0 else 128 - code)


def is_kernel(arguments):
    """Whether a notebook's kernel is asked for, not another module."""
    return arguments[1] == "ipykernel_launcher"


def serve(listener):
    """Fork a keeper for every kernel that is asked for. Returns in each kernel, with what was asked, and at the end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    imported = False
    while 0 not in select.select([0, listener], [], [])[0]:  # it says only that the process that started this is gone
        if not imported:
            import_libraries()
            if not can_be_forked():
                break
            gc.freeze()  # collecting garbage in a fork would copy all that has been imported: a second a kernel
            for finalizer in weakref.finalize._registry:
                finalizer.atexit = False  # at the end of a fork, torch would tidy up what is this process's
            imported = True
        connection = listener.accept()[0]
        if user_of(connection) == os.getuid() and os.fork() == 0:
            listener.close()
            return keep(connection)
        connection.close()
    return None


def user_of(connection):
    """Whose process is at the other end: an abstract address is open to all users of a machine, a kernel does whatever
    it is told, and is told the whole environment."""
    return struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]


def import_libraries():
    """Import the libraries of essim's modules and of run_notebook.py; a kernel says itself what is wrong with one."""
    import ast
    from pathlib import Path

    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # as in a kernel
    statements = {"import ipykernel.kernelapp", "import ipykernel.debugger", "import threadpoolctl"}
    sys.modules["rfc3987_syntax"] = None  # as in run_notebook.py
    root = Path(__file__).resolve().parents[1]
    for path in [root / "workflow/run_notebook.py", *root.glob("essim/**/*.py")]:
        nodes = ast.parse(path.read_text(encoding="utf-8")).body
        statements |= {ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)}
    for statement in sorted(statements):
        if select.select([0], [], [], 0)[0]:
            sys.exit()
        if not any(name in statement for name in LEFT_OUT):
            with contextlib.suppress(Exception):
                exec(statement, {})
    before = set(os.environ)
    with contextlib.suppress(Exception):
        rehearse()
    for name in set(os.environ) - before:  # what libraries set when they are first used
        del os.environ[name]


def rehearse():
    """Do for all kernels what takes seconds the first time, to import the rest of torch, numba and matplotlib."""
    import io

    import numba
    import torch
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    torch.optim.Adam([torch.zeros(1)])
    numba.njit(lambda x: x + 1)(1.0)
    with rc_context({"pdf.fonttype": 42}):
        figure = Figure(layout="constrained")
        figure.subplots().set(xscale="log", title="$x$")
        for kind in ("pdf", "png"):
            figure.savefig(io.BytesIO(), format=kind, bbox_inches="tight")


def can_be_forked():
    """Only the thread that forks lives on in a fork; and a GPU that was in use before can't be used in one."""
    files = [os.path.realpath(f"/proc/self/fd/{file}") for file in os.listdir("/proc/self/fd")]
    return len(os.listdir("/proc/self/task")) == 1 and not any(file.startswith("/dev/nvidia") for file in files)


def keep(connection):
    """Fork a kernel. Returns in the kernel; the keeper ends with the kernel, or with the process that asked for it."""
    words, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    os.setsid()  # one group: the keeper, the kernel and what it starts

    def tell(*_):
        process, status = os.waitpid(-1, os.WNOHANG)
        if process:
            with contextlib.suppress(OSError):
                connection.send(str(os.waitstatus_to_exitcode(status)).encode())
            os.killpg(0, signal.SIGKILL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, tell)
    connection.send(str(os.getpid()).encode())
    if os.fork() == 0:
        connection.close()
        for target, file in enumerate(files):
            os.dup2(file, target)
            os.close(file)
        return json.loads(words)
    with contextlib.suppress(OSError):
        while number := connection.recv(1):
            os.killpg(0, number[0])
    os.killpg(0, signal.SIGKILL)


def be(arguments, path, environment):
    """Be the kernel, as if Python had been started anew; ends the process."""
    import importlib
    import runpy
    import threading

    import numpy
    import threadpoolctl
    import torch

    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The server's own streams were opened on other files: what they know of those doesn't hold of these.
    sys.stdout = open(1, "w", encoding=sys.stdout.encoding, closefd=False)
    sys.stderr = open(2, "w", 1, encoding=sys.stderr.encoding, errors="backslashreplace", closefd=False)
    set_by_libraries = {name: os.environ[name] for name in os.environ.keys() - STARTED_WITH}
    os.environ.clear()
    os.environ.update(set_by_libraries | environment)
    os.chdir(path[0])
    sys.path[:] = path
    importlib.invalidate_caches()
    numpy.random.seed()  # not the same numbers in all kernels
    threads = int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
    threadpoolctl.threadpool_limits(threads)
    torch.set_num_threads(threads)
    _, module, *words = arguments
    if is_kernel(arguments):  # its parent is the keeper: it ends when its parent is gone
        words.append(f"--IPKernelApp.parent_handle={os.getppid()}")
    sys.argv = [module, *words]
    status = None
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code
    if isinstance(status, str):
        print(status, file=sys.stderr)
    threading._shutdown()  # waits for them, as Python does
    atexit._run_exitfuncs()
    sys.stdout.flush(), sys.stderr.flush()
    # at once: to take leave of every library takes as long as all else that a kernel does by itself
    os._exit(1 if isinstance(status, str) else status or 0)


def main(arguments):
    if arguments[0] != "-m":
        asked = serve(socket.socket(fileno=int(arguments[0])))
        if asked:
            be(**asked)
        os._exit(0)  # at once, without taking leave of every library
    else:
        ask(arguments)
        os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
