"""Figures of transplants: what is drawn where."""

import numpy as np
import pandas as pd
from figures import drawn

from essim.figures.transplants import plot_transplants, show_transplants


def test_a_contact_sheet_outlines_the_ground_truth_in_the_third_picture():
    truth = np.zeros((20, 24), bool)
    truth[5:9, 5:9] = True
    one = (np.full((20, 24), 0.8), np.where(truth, 0.2, 0.8), truth)
    figure = drawn(show_transplants({"ms": [one, one], "stroke": [one, one]}))
    assert [axis.get_title() for axis in figure.axes[:6]] == ["healthy", "transplant", "ground truth"] * 2
    assert [bool(axis.collections) for axis in figure.axes] == [False, False, True] * 4
    assert [figure.axes[i].get_ylabel() for i in (0, 6)] == ["MS", "Stroke"]
    shown = [axis.images[0].get_array().min() for axis in figure.axes[:3]]
    assert shown == [0.8, 0.2, 0.2]


def test_kinds_of_patients_stand_side_by_side():
    rows = [("ms", "half real", "l1", 0.3, 0.2, 0.5), ("ms", "half real", "ssim 0.9", 0.4, 0.3, 0.5)]
    rows += [("ms", "real", "l1", 0.5, np.nan, np.nan), ("stroke", "half real", "l1", 0.6, 0.5, 0.7)]
    names = "dataset patients method auprc auprc_low auprc_high".split()
    figure = drawn(plot_transplants(pd.DataFrame(rows, columns=names)))
    assert [axis.get_title() for axis in figure.axes] == ["MS", "Stroke"]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["l1", "SSIM, \u03c3 = 0.9"]
    half, real = (points.lines[0].get_xydata() for points in figure.axes[0].containers)
    assert half[0, 0] < 0 < real[0, 0] and half[:, 1].tolist() == [0.3, 0.4] and real[0, 1] == 0.5
    assert np.isnan(real[1, 1])
