"""Parallel jobs, in processes that may die.

In: a function, a list of jobs. Out: each job with its result, as they end.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool


def work_off(function, jobs, workers, *, died):
    """Yield (job, function(job)) in the order in which they end, `workers` at a time, each on one thread.

    If a process dies (for lack of memory, say), the jobs in progress, its own and the others', are tried again, one by
    one; a job whose process dies again yields (job, died). On Ctrl-C the jobs in progress are finished, then
    KeyboardInterrupt is raised. Function and jobs must be picklable.
    """
    waiting, workers = deque(jobs), max(1, min(workers, len(jobs)))
    while waiting:
        suspects = yield from _until_one_dies(function, waiting, workers)
        for job in suspects:
            if workers == 1:
                yield job, died
            else:
                yield from work_off(function, [job], 1, died=died)


def _until_one_dies(function, waiting, workers):
    """Work off `waiting`; when a process dies, return the jobs that were in progress."""
    suspects, running, broken = [], {}, False
    # Spawn: forking a process with threads hangs now and then, and macOS spawns anyway.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start) as pool:
        while running or (waiting and not broken):
            while waiting and not broken and len(running) < workers:
                try:
                    future = pool.submit(function, waiting[0])
                except BrokenProcessPool:  # an idle process died: this job was never started
                    broken = True
                else:
                    running[future] = waiting.popleft()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    suspects.append(job)
                    broken = True
                    continue
                yield job, result
    return suspects


def _start():
    """Use one thread; leave Ctrl-C to the parent; end when the parent is killed."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
