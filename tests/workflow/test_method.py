"""The README's picture of the method: its parts in a row."""

import sys
from pathlib import Path

import numpy as np
from figures import drawn

from essim.figures.pictures import Panel

sys.path.append(str(Path(__file__).resolve().parents[2] / "workflow"))
from method import show_method  # noqa: E402 (it lies there)


def test_an_arrow_leads_from_step_to_step():
    panel = Panel(np.eye(4))
    figure = drawn(show_method([("scan", panel), "noise", ("noised", panel), ("truth", panel)]))
    assert [axis.get_title() for axis in figure.axes] == ["scan", "", "noised", "truth"]
    assert [bool(axis.images) for axis in figure.axes] == [True, False, True, True]
    assert "noise" in [text.get_text() for text in figure.axes[1].texts]
