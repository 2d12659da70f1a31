"""Figures of the field's methods: what stands where, with untried cells and methods that need no training."""

import numpy as np
import pandas as pd
from figures import drawn

from essim.figures.methods import plot_grid, plot_trade
from essim.figures.style import GREY, RED


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


def test_detection_beside_cost():
    rows = [("blur", "l1", 0.1, 0.01, 0), ("ddpm", "l1", 0.3, 1.2, 5000), ("ddpm", "adaptive", 0.4, 1.3, 5000)]
    rows.append(("andi", "andi", 0.39, 2.0, 5000))
    table = pd.DataFrame(rows, columns=["name", "method", "auprc", "seconds", "training_slices"])
    table = table.assign(gain=table.auprc - 0.3, gain_low=table.auprc - 0.35, gain_high=np.nan)
    figure = drawn(plot_trade(table))
    costs, gains = figure.axes
    labels = [text.get_text() for text in costs.get_yticklabels()]
    assert labels == ["blur, l1", "ddpm, adaptive (5,000 slices)", "andi (5,000 slices)"], "the cheapest first"
    assert [line.get_xdata()[0] for line in costs.lines] == [0.01, 1.3, 2.0]
    assert [line.get_color() for line in costs.lines] == [RED, RED, GREY], "andi is dearer than the better ddpm"
    faces = [bar.lines[0].get_markerfacecolor() for bar in gains.containers if len(bar.lines[0].get_xdata())]
    assert faces == [RED, RED, "white", GREY], "l1 is hollow beside a better score"
