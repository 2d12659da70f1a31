"""numba's compiler with its cache where one can be written, without it elsewhere.

In: a function that numba can compile. Out: the compiled function. numba keeps machine code beside the source or in the
user's cache folder; a read-only package without a home folder, or a full disk, must cost seconds, not the result.
"""

import contextlib
import functools
from pathlib import Path

import numba


@functools.cache
def sources():
    """What changes when any kernel's source does: their names, sizes and times of change."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def compiled(function, **options):
    """`numba.njit` with `nogil` and, if possible, a cache; it takes the same options. Use it as a decorator."""
    try:
        kernel = numba.njit(function, nogil=True, cache=True, **options)
    except RuntimeError:  # there is no folder that could hold the cache
        return numba.njit(function, nogil=True, **options)
    kernel._cache._cache_file._source_stamp = sources()  # numba's own is of the function's file alone
    save = kernel._cache.save_overload

    def save_if_possible(*arguments):
        with contextlib.suppress(OSError):  # the folder has become read-only, or the disk is full
            save(*arguments)

    kernel._cache.save_overload = save_if_possible
    return kernel
