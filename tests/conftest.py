"""What all tests share: one thread per process, so that two test workers don't fight for two cores; some scans."""

import os
import sys

import warm_kernels

# Workers, and the processes that tests start, read these when they start; so do libraries when they are imported.
os.environ.update(warm_kernels.MEMORY | dict.fromkeys(warm_kernels.THREADS, "1"))
sys.modules["rfc3987_syntax"] = None  # as in run_notebook.py

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from helpers import Shrink, row, slab, write_cases  # noqa: E402

from essim.diffusion import GaussianDiffusion  # noqa: E402

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # its kernels run on the CPU then; Triton reads this when it is imported

KERNELS = warm_kernels.start()  # the notebooks that tests run are forks; with several workers, of one process


def pytest_collection_modifyitems(items):
    """The longest files first, so that no worker waits for them at the end."""
    long = ("test_paper", "test_smoke", "test_workflow", "test_walkthrough", "test_score", "test_score_errors")
    long += ("test_benchmarks", "test_stopping", "test_warm_kernels", "test_train_processes")
    items.sort(key=lambda item: item.path.stem not in long)


@pytest.fixture
def folder(tmp_path):
    """One validation case and two test cases; the mask is the whole volume, but for a corner."""
    cases = {}
    for name, split, width in (("007", "val", 4), ("b", "test", 3), ("c", "test", 5)):
        seg, mask = slab(width), np.ones((16, 14, 12), bool)
        mask[:4, :5, :4] = False
        image = np.random.default_rng(width).random(seg.shape).astype(np.float32) * mask
        cases[name] = (split, image, np.zeros_like(image), mask, seg)
    return write_cases(tmp_path / "cases", cases)


@pytest.fixture(scope="module")
def diffusion():
    return GaussianDiffusion(Shrink())


@pytest.fixture
def scans(tmp_path):
    lesion = np.zeros((16, 16, 8), bool)
    lesion[6:9, 6:9, 3:5] = True
    parts = ["val", "test", "test"]
    return pd.DataFrame([row(tmp_path / "in", seed=i, split=s, lesion=lesion) for i, s in enumerate(parts)])
