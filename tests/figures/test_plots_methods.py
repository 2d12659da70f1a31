"""Figures of the field's methods: what stands where, with untried cells and methods that need no training."""

import numpy as np
import pandas as pd
from figures import drawn

from essim.figures.methods import plot_grid, plot_trade


def test_one_panel_per_set_and_nothing_where_nothing_was_tried():
    rows = [("blur", "ms", "l1", 0.1), ("ddpm", "ms", "l1", 0.3), ("ddpm", "ms", "andi", 0.2)]
    rows += [(name, "wmh", method, auprc / 2) for name, _, method, auprc in rows]
    table = pd.DataFrame(rows, columns=["reconstructor", "dataset", "method", "auprc"])
    figure = drawn(plot_grid(table, ["ms", "wmh"]))
    assert [axis.get_title() for axis in figure.axes[:2]] == ["MS", "WMH"]
    texts = [text.get_text() for text in figure.axes[0].texts if text.get_visible()]
    assert sorted(texts) == [".100", ".200", ".300"]
    (frame,) = [patch for patch in figure.axes[0].patches if not patch.get_fill()]
    assert frame.get_xy() == (-0.5, 0.5), "around l1 of the second row, the best"


def test_detection_over_cost():
    rows = [("blur", "l1", 0.1, 0.01, 0.0), ("ddpm", "l1", 0.3, 1.2, 5.0), ("ddpm", "adaptive", 0.4, 1.3, 5.0)]
    rows.append(("andi", "andi", 0.2, 2.0, 5.0))
    table = pd.DataFrame(rows, columns=["name", "method", "auprc", "seconds", "training_minutes"])
    table = table.assign(auprc_low=table.auprc - 0.05, auprc_high=np.nan)
    figure = drawn(plot_trade(table))
    assert [len(axis.containers) for axis in figure.axes] == [4, 4]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["blur", "ddpm: adaptive", "andi", "with l1"]
    faces = [bar.lines[0].get_markerfacecolor() for bar in figure.axes[0].containers]
    assert [face == "white" for face in faces] == [True, True, False, False], "l1 is hollow"
