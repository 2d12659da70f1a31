"""Whole scans: patients against healthy controls of their own site, hand-counted."""

import numpy as np
import pandas as pd
import pytest

from essim.evaluation.sites import auroc_table, auroc_within_sites, by_site, scan_level


def people(**levels):
    """One row per level and site."""
    rows = [(site, level) for site, values in levels.items() for level in values]
    return pd.DataFrame(rows, columns=["site", "level"])


def test_the_level_of_a_scan_is_that_of_its_highest_voxels():
    scored = np.ones((10, 20, 20), bool)
    anomaly = np.zeros(scored.shape, np.float32)
    anomaly[0, 0, :8] = [1, 2, 3, 4, 5, 6, 7, 8]
    assert scan_level(anomaly, scored) == pytest.approx(np.mean([5, 6, 7, 8]))  # 4 of 4000
    scored[0, 0, 6:8] = False  # what doesn't count, doesn't count
    assert scan_level(anomaly, scored) == pytest.approx(np.mean([3, 4, 5, 6]))
    assert scan_level(anomaly, scored & (anomaly == 2)) == 2, "one voxel at least"
    assert np.isnan(scan_level(anomaly, np.zeros(scored.shape, bool)))


def test_only_people_of_one_site_are_compared():
    """Everyone at the second site has higher levels, ill or not: across sites that would look like a finding."""
    patients, healthy = people(a=[3, 1], b=[12, 11, 10]), people(a=[2], b=[12, 9], c=[0, 0, 0])
    found = auroc_within_sites(patients, healthy)
    assert found["auroc"] == pytest.approx((1 + 0 + 0.5 + 1 + 0 + 1 + 0 + 1) / 8)
    assert (found["patients"], found["healthy"]) == (5, 3)
    assert 0 <= found["auroc_low"] <= found["auroc"] <= found["auroc_high"] <= 1
    assert found == auroc_within_sites(patients, healthy), "the same people, the same interval"


def test_a_scanner_alone_gives_chance():
    rng = np.random.default_rng(0)
    gain = {"near": 0, "far": 100}
    patients, healthy = (people(**{s: g + rng.random(n) for s, g in gain.items()}) for n in (60, 50))
    patients = pd.concat([patients, people(far=100 + rng.random(200))])  # more patients where levels are high
    assert auroc_within_sites(patients, healthy)["auroc"] == pytest.approx(0.5, abs=0.06)


def test_nobody_to_compare_with():
    unknown = people(**{"": [1, 2]})
    for patients, healthy in ((people(a=[1]), people(b=[0])), (unknown, unknown)):
        found = auroc_within_sites(patients, healthy)
        assert np.isnan(found["auroc"]) and found["patients"] == found["healthy"] == 0


def test_tables_by_set_and_by_site():
    patients = people(a=[2, 3], b=[1]).assign(dataset="ms", contrast="t2", subject=list("xyz"))
    patients = pd.concat([patients.assign(method=name) for name in ("l1", "intensity")]).assign(auprc=[1, 3, 5] * 2)
    healthy = people(a=[0], b=[9]).assign(contrast="t2", method="l1")
    table = auroc_table(patients, healthy)
    assert table[["dataset", "contrast", "method", "auroc"]].values.tolist() == [["ms", "t2", "l1", 2 / 3]]
    means = by_site(patients, ["auprc"]).set_index(["site", "method"])
    assert means.loc["a", "l1"].auprc == 2 and means.loc["b", "l1"].auprc == 5 and len(means) == 4
