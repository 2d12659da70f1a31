"""The figure of the confirmatory run: what is drawn where."""

import pandas as pd
from figures import drawn

from essim.figures.confirm import plot_confirm


def test_fresh_patients_are_filled_and_the_development_set_hollow():
    rows = [(claim, name) for claim in ("a is ahead of b", "c is ahead of d") for name in ("ms", "wmh")]
    table = pd.DataFrame(rows, columns=["claim", "dataset"]).assign(gain=0.1, gain_low=0.05, gain_high=0.2, margin=0.01)
    table = table.assign(family_low=0.0, family_high=0.3, verdict=["confirmed", "open"] * 2)
    before = table[table.dataset == "ms"].assign(gain=0.15)
    figure = drawn(plot_confirm(table, before))
    assert [axis.get_title() for axis in figure.axes] == ["a\nis ahead of b", "c\nis ahead of d"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["MS", "WMH"]
    for axis in figure.axes:
        assert [text.get_text() for text in axis.texts] == ["confirmed", "open"]
        fresh, development = [line for line in axis.lines if line.get_marker() == "o"]
        assert fresh.get_xdata().tolist() == [0.1, 0.1] and development.get_xdata().tolist() == [0.15]
        assert development.get_markerfacecolor() == "white" != fresh.get_markerfacecolor()
