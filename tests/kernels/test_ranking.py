"""The sort of scores with their labels is numpy's, and judges the same without its kernel."""

import numpy as np
import pytest

from essim.evaluation import metrics
from essim.kernels import ranking


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
@pytest.mark.parametrize("highest", [1, 2**11, 2**22, 2**33])
def test_sorted_as_by_numpy(n, highest):
    keys = np.random.default_rng(n).integers(highest, size=n, dtype=np.uint64)
    before = keys.copy()
    np.testing.assert_array_equal(ranking.sort(keys), np.sort(keys))
    np.testing.assert_array_equal(keys, before)


def test_the_same_numbers_without_numba(monkeypatch):
    rng = np.random.default_rng(0)
    score, label = rng.standard_normal(5000).astype(np.float32).round(2), rng.random(5000) < 0.1
    with_kernel = metrics.average_precision(score, label), metrics.best_dice(score, label)
    monkeypatch.setattr(metrics, "load_kernel", lambda name: None)
    assert (metrics.average_precision(score, label), metrics.best_dice(score, label)) == with_kernel
