"""Figures of moved scanners: what stands where, with a network or three, a set or two."""

import itertools

import numpy as np
import pandas as pd
import pytest
from figures import drawn

from essim.figures.shifts import DRAWN, FACTORS, plot_changes, plot_law, plot_shifts

ENDS = {"contrast": "1: far", "noise": "1: 6 times"}


def means(datasets=("stroke", "ms")):
    places, rng = [("", 0.0), *itertools.product(ENDS, (0.5, 1.0))], np.random.default_rng(0)
    every = itertools.product(datasets, ("median", "smooth"), places, (*DRAWN, *FACTORS))
    rows = [(name, post, *place, method, rng.random()) for name, post, place, method in every]
    return pd.DataFrame(rows, columns=["dataset", "post", "axis", "amount", "method", "auprc"])


def test_one_panel_per_set_and_axis_with_the_real_place():
    figure = drawn(plot_shifts(means(), ENDS, {"ms": {"noise": 0.25}}))
    assert [axis.get_title() for axis in figure.axes] == [*ENDS] * 2
    assert [len(axis.lines) for axis in figure.axes] == [7, 7, 7, 8], "one has the dashed line too"
    assert figure.axes[3].lines[-1].get_xdata()[0] == 0.25
    curve = figure.axes[0].lines[0]
    assert list(curve.get_xdata()) == [0, 0.5, 1], "every axis begins at the training scanner"


@pytest.mark.parametrize("networks", [("told", "untold", "matched"), ("untold",)])
def test_the_law(networks):
    rows = itertools.product(("stroke", "ms"), networks, ("", *ENDS), (1.0, 2.0))
    points = pd.DataFrame(rows, columns=["dataset", "network", "axis", "residual"]).assign(gain=0.1)
    real = {
        "ms": pd.DataFrame({"residual": [1.2], "gain": [-0.1]}),
        "stroke": pd.DataFrame(columns=["residual", "gain"]),
    }
    figure = drawn(plot_law(points, real, {("ms", networks[0]): 1.5}))
    assert len(figure.axes) == 2 * len(networks)
    stars = [[line for line in axis.lines if line.get_marker() == "*"] for axis in figure.axes]
    assert [len(found) for found in stars] == [0] * len(networks) + [1] + [0] * (len(networks) - 1)


def test_changes_axis_by_axis():
    rows = itertools.product(("stroke", "ms"), ("ssim best", "adaptive"), ENDS)
    table = pd.DataFrame(rows, columns=["dataset", "method", "axis"])
    table = table.assign(change=0.1, change_low=0.0, change_high=np.nan)
    axis = drawn(plot_changes(table)).axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == list(ENDS)
