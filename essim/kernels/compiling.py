"""numba's compiler with its cache where one can be written, without it elsewhere.

In: a function that numba can compile. Out: the compiled function. numba keeps machine code beside the source or in the
user's cache folder; a read-only package without a home folder, or a full disk, must cost seconds, not the result.
"""

import contextlib
import functools
import hashlib
from pathlib import Path

import numba
from numba.core.caching import IndexDataCacheFile

HERE = Path(__file__).parent


@functools.cache
def version():
    """What changes when the source of any kernel does, or SSIM's constants: a digest."""
    files = [HERE.parent / "ssim.py", *sorted(HERE.glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def compiled(function, **options):
    """`numba.njit` with `nogil` and, if possible, a cache; it takes the same options. Use it as a decorator."""
    try:
        kernel = numba.njit(function, nogil=True, cache=True, **options)
    except RuntimeError:  # there is no folder that could hold the cache
        return numba.njit(function, nogil=True, **options)
    cache = kernel._cache
    # numba looks at the function's own file alone. In the name, since an index is written before what it names.
    name = f"{cache._impl.filename_base}-{version()}"
    cache._cache_file = IndexDataCacheFile(cache.cache_path, name, source_stamp=None)
    save = cache.save_overload

    def save_if_possible(*arguments):
        with contextlib.suppress(OSError):  # the folder has become read-only, or the disk is full
            save(*arguments)

    cache.save_overload = save_if_possible
    return kernel
