"""Where numba can keep nothing the kernels are compiled all the same."""

import os
import subprocess
import sys
from types import FunctionType, SimpleNamespace

import pytest

from essim.kernels import compiling

SCRIPT = """
import numpy as np, torch, essim
from essim import postprocess
from essim.kernels import dispatch
assert dispatch.load_kernel("cpu") and dispatch.load_kernel("median")
x, y = torch.rand(2, 1, 1, 8, 8, 8)
maps = [essim.ensemble_map(x, y, backend=backend) for backend in ("cpu", "torch")]
assert torch.allclose(*maps, atol=1e-4)
volume = np.random.rand(7, 7, 7).astype("f4")
assert (postprocess.median_inside(volume, volume > 0.3) == postprocess.median_by_partition(volume, volume > 0.3)).all()
"""


def test_without_any_folder_for_the_cache():
    """A read-only package and no home: numba's own search ends without a place, as here."""
    nowhere = os.environ | {"NUMBA_CACHE_LOCATOR_CLASSES": "ZipCacheLocator"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=nowhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("essim compiles its CPU kernel") == 1


def test_a_cache_that_cannot_be_written_any_more(tmp_path, monkeypatch):
    """It was writable when the function was made, and is full, or read-only, when it is compiled."""

    def full(*_):
        raise OSError(28, "No space left on device")

    kernel = compiling.compiled(lambda x: x + 1)
    monkeypatch.setattr(kernel._cache._impl.locator, "ensure_cache_path", full, raising=True)
    assert kernel(1) == 2


def twice(x):
    return 2 * x


def test_a_change_in_any_kernels_source_compiles_anew(monkeypatch):
    """A kernel is made of several files, and numba looks at the one that the function lies in."""
    found = []
    for version in "1121":
        monkeypatch.setattr(compiling, "version", lambda version=version: version)
        kernel = compiling.compiled(twice)
        assert kernel(1) == 2
        found.append(sum(kernel.stats.cache_hits.values()))
    assert found == [0, 1, 0, 1]


def test_what_could_not_be_saved_is_compiled_again(monkeypatch):
    """The disk is full after the index has been written, when there is machine code of an older version."""

    def full(*_):
        raise OSError(28, "No space left on device")

    versions = {"old": lambda x: x + 1, "new": lambda x: x + 2}
    for version, expected in (("old", 2), ("new", 3), ("new", 3)):
        function = FunctionType(versions[version].__code__, globals(), "plus")
        function.__qualname__ = "plus"
        monkeypatch.setattr(compiling, "version", lambda version=version: version)
        kernel = compiling.compiled(function)
        if version == "new":
            monkeypatch.setattr(kernel._cache._cache_file, "_save_data", full)
        assert kernel(1) == expected


def test_no_folder_at_all_leaves_out_the_cache(monkeypatch):
    asked = []

    def njit(function, **options):
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return SimpleNamespace(plain=function)

    monkeypatch.setattr(compiling.numba, "njit", njit)
    assert compiling.compiled(len, error_model="numpy").plain is len
    assert asked[-1] == {"nogil": True, "error_model": "numpy"}


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(compiling.numba.config, "CACHE_DIR", str(tmp_path / "numba"))
