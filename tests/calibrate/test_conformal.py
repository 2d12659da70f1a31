"""The bound of n scans: held against simulation, and what is said of it."""

import numpy as np
import pytest

from essim.calibrate import conformal


@pytest.mark.parametrize(("scans", "rank"), [(2, 2), (8, 8), (9, 9), (12, 12), (19, 18), (29, 27), (99, 90)])
def test_the_rank(scans, rank):
    assert conformal.rank_of(scans) == rank
    assert conformal.bound_of(scans) == rank / (scans + 1)


@pytest.mark.parametrize("scans", [2, 5, 12, 24])
def test_the_next_scan_keeps_the_share_as_often_as_promised(scans):
    """Of skewed thresholds; not less often, and, since no two are equal, hardly more often."""
    draws = np.random.default_rng(scans).lognormal(0, 1, (4000, scans + 1))
    kept = np.mean([new <= conformal.conformal_threshold([*own]) for *own, new in draws])
    assert kept == pytest.approx(conformal.bound_of(scans), abs=0.025)


def test_a_scans_own_threshold_leaves_the_share():
    draw = np.random.default_rng(0)
    anomaly, mask = draw.random((20, 20, 20)), draw.random((20, 20, 20)) < 0.5
    anomaly[0] = 0.7  # ties
    for share in (0.01, 0.05, 0.35):
        own = conformal.own_threshold(anomaly, mask, share)
        assert (anomaly[mask] > own).mean() <= share < (anomaly[mask] >= own).mean()


def test_it_is_said_in_words():
    assert "a probability of 67% or more (2 of 3)" in conformal.promise_of(2)
    assert "92% or more (12 of 13); this holds only approximately" in conformal.promise_of(12, nearly=True)
