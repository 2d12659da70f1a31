"""Signal equations against simulation, and the contrast that every radiologist knows."""

import numpy as np
import pytest

from essim.cohort import contrast, scanner


def simulate_mprage(t1, *, tr, ti, flip):
    """The longitudinal magnetisation step by step, over enough repetitions to be steady."""
    before = ti - contrast.PULSES / 2 * contrast.SPACING_MS
    after = tr - before - contrast.PULSES * contrast.SPACING_MS
    m = 1.0
    for _ in range(30):
        m = 1 - (1 + m) * np.exp(-before / t1)
        for pulse in range(contrast.PULSES):
            if pulse == contrast.PULSES // 2:
                seen = abs(m) * np.sin(np.radians(flip))
            m = 1 - (1 - m * np.cos(np.radians(flip))) * np.exp(-contrast.SPACING_MS / t1)
        m = 1 - (1 - m) * np.exp(-after / t1)
    return seen


@pytest.mark.parametrize("t1", [600, 1400, 4300])
@pytest.mark.parametrize("site", scanner.SITES.values(), ids=scanner.SITES)
def test_mprage_is_its_simulation(site, t1):
    assert contrast.mprage(t1, 1.0, **site.t1) == pytest.approx(simulate_mprage(t1, **site.t1), rel=1e-6)


@pytest.mark.parametrize("site", scanner.SITES.values(), ids=scanner.SITES)
def test_tissues_stand_in_the_order_that_is_seen(site):
    tissues = contrast.TISSUES | contrast.LESIONS
    shown = {c: {n: scanner.signal(t, site, c) for n, t in tissues.items()} for c in ("t1", "t2", "flair")}
    t1, t2, flair = shown["t1"], shown["t2"], shown["flair"]
    assert t1["csf"] < t1["cavity"] < t1["grey"] < t1["deep"] < t1["white"]
    assert 0.55 < t1["grey"] / t1["white"] < 0.85
    assert t2["dura"] < t2["white"] < t2["grey"] < t2["wmh"] < t2["oedema"] < t2["ms"] < t2["csf"]
    assert 0.2 < t2["white"] / t2["csf"] < 0.5
    assert flair["csf"] < 0.35 * flair["white"] and flair["white"] < flair["grey"] < flair["wmh"] < flair["ms"]


def test_a_persons_signals_differ_a_little_and_flow_a_lot():
    site, rng = scanner.TRAINING_SITES[0], np.random.default_rng(0)
    drawn = [scanner.signals(rng, site, "t2") for _ in range(200)]
    white, vessel = (np.array([d[name] for d in drawn]) for name in ("white", "vessel"))
    assert 0.01 < white.std() / white.mean() < 0.15
    assert vessel.min() < 0.05 * vessel.max() and all(max(d["csf"], d["grey"], d["white"]) == 1 for d in drawn)
