"""Scores are ranked as numpy ranks them, and judged the same without the kernel."""

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


@pytest.mark.parametrize("known", [1, 2, 700])
@pytest.mark.parametrize("digits", [0, 1, 7])  # many ties, some, none
@pytest.mark.parametrize("size", [1e-44, 1e-20, 1, 3e38])  # from subnormal to the largest
def test_counted_as_by_numpy(known, digits, size):
    rng = np.random.default_rng(known)
    scores = (rng.uniform(-1, 1, 2000).round(digits) * size).astype(np.float32)
    wanted = np.sort(rng.choice(scores, known))
    expected = [(scores >= value).sum() for value in wanted]
    np.testing.assert_array_equal(ranking.at_least(scores, wanted), expected)


def test_the_same_numbers_without_numba(monkeypatch):
    rng = np.random.default_rng(0)
    score, label = rng.standard_normal(5000).astype(np.float32).round(2), rng.random(5000) < 0.1
    with_kernel = metrics.average_precision(score, label), metrics.best_dice(score, label)
    monkeypatch.setattr(metrics, "load_kernel", lambda name: None)
    assert (metrics.average_precision(score, label), metrics.best_dice(score, label)) == with_kernel
