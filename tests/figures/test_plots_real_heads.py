"""Figures of real heads: what is drawn where."""

import numpy as np
import pandas as pd
import pytest
from figures import drawn

from essim.figures.real_heads import PEOPLE, plot_marked_in_healthy, show_placement
from essim.figures.sigma import plot_score_over_sigma


@pytest.mark.parametrize("count", [1, PEOPLE, PEOPLE + 2])
def test_every_scan_has_two_panels_with_an_outline(count):
    brain = np.zeros((20, 24), bool), np.zeros((24, 18), bool)
    for outline in brain:
        outline[4:12, 4:12] = True
    slices = {f"scan {i}": tuple(outline.astype(float) for outline in brain) for i in range(count)}
    figure = drawn(show_placement(slices, brain, [0.9] * count))
    panels = [axis for axis in figure.axes if axis.images]
    assert len(panels) == 2 * count and all(axis.collections for axis in panels)
    assert [axis.get_title(loc="left") for axis in panels[::2]] == [f"scan {i} .90" for i in range(count)]


def test_people_stand_over_their_age_and_the_promise_is_a_line():
    rows = [
        {"age": age, "split": split, "method": method, "marked": 0.02, "stem": 0.2}
        for age, split in ((30, "train"), (50, "test"), ("", "test"))
        for method in ("l1", "calibrated")
    ]
    figure = drawn(plot_marked_in_healthy(pd.DataFrame(rows), ["stem"], 0.01))
    over_age, by_region = figure.axes
    points = [line.get_xydata() for line in over_age.lines if line.get_marker() == "s" and len(line.get_xdata())]
    assert sorted(xy for part in points for xy in part[~np.isnan(part[:, 0])].tolist()) == [[30, 2], [50, 2]]
    assert [line for axis in figure.axes for line in axis.lines if list(line.get_ydata()) == [1, 1]]
    assert [text.get_text() for text in by_region.get_xticklabels()] == ["all", "stem"]
    assert by_region.get_ylim()[1] > 20


def test_many_panels_of_the_score_over_sigma_stand_in_rows():
    rows = [{"method": f"ssim {sigma}", "sigma": sigma, "auprc": 0.1 * sigma} for sigma in (1, 2)]
    rows += [{"method": "l1", "auprc": 0.4}]
    names = [f"person {i}" for i in range(4)]
    scores = pd.concat([pd.DataFrame(rows).assign(dataset=name, subject=name) for name in names])
    figure = drawn(plot_score_over_sigma(scores, names, columns=3))
    assert [axis.get_title() for axis in figure.axes if axis.axison] == names
    assert len({round(axis.get_position().y0, 2) for axis in figure.axes if axis.axison}) == 2
