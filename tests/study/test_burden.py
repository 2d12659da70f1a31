"""Lesions counted and measured: masks drawn by hand, quantiles of few patients."""

import numpy as np
import pandas as pd
import pytest

from essim.study import burden


def test_lesions_by_hand():
    seg = np.zeros((20, 20, 20), bool)
    seg[1:3, 1:3, 1:3] = True  # 8 voxels
    seg[3, 3, 3] = True  # touches it by a corner
    seg[10:13, 10:13, 10:13] = True  # 27
    seg[17, 17, 17] = True
    expected = {"lesions": 2, "total_ml": 0.036, "largest_ml": 0.027, "median_ml": 0.018}
    assert burden.measure_lesions(seg, 1) == pytest.approx(expected), "a voxel of 1 mm is a speck"
    assert burden.measure_lesions(seg, 2)["lesions"] == 3, "one of 2 mm is a lesion"
    assert burden.measure_lesions(seg, 2)["median_ml"] == pytest.approx(0.072)


def test_nobody_has_no_largest_lesion():
    numbers = burden.measure_lesions(np.zeros((5, 5, 5), bool), 2)
    assert (numbers["lesions"], numbers["total_ml"]) == (0, 0)
    assert np.isnan(numbers["largest_ml"]) and np.isnan(numbers["median_ml"])


def patients(dataset, counts):
    numbers = dict.fromkeys(burden.STATISTICS, 1.0)
    return pd.DataFrame([{"dataset": dataset} | numbers | {"lesions": count} for count in counts])


def test_quantiles_are_over_patients():
    row = burden.quantiles(patients("ms", range(101))).set_index("statistic").loc["lesions"]
    assert [row[q] for q in ("q05", "q25", "q50", "q75", "q95")] == [5, 25, 50, 75, 95] and row.patients == 101


def test_only_sets_that_both_have_are_compared():
    grown = pd.concat([patients("stroke", [1, 2]), patients("tumour", [1])])
    table = burden.compare_lesions(grown, 2)
    assert set(table.dataset) == {"stroke"} and list(table.kind) == ["real", "grown"] * 4
    assert list(dict.fromkeys(table.statistic)) == list(burden.STATISTICS)
