"""Figures of the calibrated ensemble: what is drawn where."""

import numpy as np
import pandas as pd
import pytest
from figures import drawn
from matplotlib.patches import Rectangle

from essim.figures.calibration import plot_candidates, plot_healthy_levels, plot_on_each_set, plot_promises


def test_levels_have_one_column_per_sigma_and_one_scale_per_row():
    rows = {"T1": np.full((3, 20, 24), 0.5), "T2": np.full((3, 20, 24), 0.1)}
    figure = drawn(plot_healthy_levels(rows, [0.3, 0.7, 1.1]))
    panels = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in panels[:3]] == ["\u03c3 = 0.3", "\u03c3 = 0.7", "\u03c3 = 1.1"]
    assert [axis.images[0].get_clim()[1] for axis in panels] == pytest.approx([0.5] * 3 + [0.1] * 3)


def test_the_best_candidate_is_framed():
    rows = [("l1", "mean z", 0.3), ("l1", "max z", 0.2), ("SSIM", "mean z", 0.4), ("SSIM", "max z", 0.6)]
    table = pd.concat([pd.DataFrame(rows, columns=["channels", "rule", "auprc"]).assign(dataset=d) for d in "ab"])
    axis = drawn(plot_candidates(table)).axes[0]
    (box,) = [patch for patch in axis.patches if isinstance(patch, Rectangle)]
    assert (box.get_x(), box.get_y()) == (0.5, 0.5)
    assert [text.get_text() for text in axis.texts] == [".300", ".200", ".400", ".600"]


def test_methods_stand_beside_each_other_on_every_set():
    names = ["l1", "best single", "calibrated"]
    table = pd.DataFrame([{"dataset": d, "method": m} for d in ("tumour", "ms") for m in names])
    table = table.assign(auprc=0.4, auprc_low=0.3, auprc_high=0.6)
    figure = drawn(plot_on_each_set(table))
    assert [axis.get_title() for axis in figure.axes] == ["Tumour", "MS"]
    words = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert words == ["l1", "best single", "calibrated ensemble"]


def test_two_columns_stand_side_by_side_the_first_hollow():
    table = pd.DataFrame({"dataset": "ms", "method": ["l1", "calibrated"]})
    for score, value in (("protocol", 0.2), ("at_best", 0.4)):
        table = table.assign(**{score: value, f"{score}_low": value - 0.1, f"{score}_high": value + 0.1})
    figure = drawn(plot_on_each_set(table, {"protocol": "protocol", "at_best": "at its best"}))
    points = [box.lines[0] for box in figure.axes[0].containers]
    assert [line.get_ydata().item() for line in points] == [0.2, 0.4, 0.2, 0.4]
    assert [line.get_markerfacecolor() == "white" for line in points] == [True, False, True, False]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["protocol", "at its best"]


def test_promises_are_drawn_beside_what_was_marked():
    rows = [
        {"contrast": c, "group": g, "method": m, "promised": q, "marked": 2 * q}
        for c in ("t1", "t2") for g in ("known scanners", "patients") for m in ("l1", "calibrated") for q in (0.01, 0.1)
    ]  # fmt: skip
    figure = drawn(plot_promises(pd.DataFrame(rows * 4)))
    assert [axis.get_title() for axis in figure.axes][:2] == ["T1, known scanners", "T1, patients"]
    for axis in figure.axes:
        diagonal, *methods = axis.lines[:1] + [box.lines[0] for box in axis.containers]
        assert diagonal.get_xydata().tolist() == [[0.01, 0.01], [0.1, 0.1]]
        assert [line.get_xydata().tolist() for line in methods] == [[[0.01, 0.02], [0.1, 0.2]]] * 2
