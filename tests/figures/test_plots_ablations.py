"""Figures of the ablations: where values stand, what is marked; every kind of table can be drawn."""

import numpy as np
import pandas as pd
import pytest
from figures import drawn

from essim.figures.ablations import plot_gains, plot_over_categories, plot_over_values
from essim.study.selection import choice, means


def scores(values, methods=("l1", "adaptive")):
    rng, rows = np.random.default_rng(0), []
    for dataset in ("tumour", "ms"):
        for split in ("val", "test"):
            for value in values:
                for method in methods:
                    for subject in range(3):
                        key = {"dataset": dataset, "subject": f"{split}{subject}", "split": split, "value": value}
                        rows.append(key | {"method": method, "auprc": rng.random(), "dice": rng.random()})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("log", [False, True])
def test_numbers_words_and_levels(log):
    once = scores(["none"], ["l1"])
    table = means(pd.concat([scores(["min", "1", "2", "8", "mean"], ["adaptive"]), once]))
    figure = drawn(plot_over_values(table, "2", "tau", log=log))
    axis = figure.axes[0]
    labels = dict(zip((text.get_text() for text in axis.get_xticklabels()), axis.get_xticks(), strict=True))
    assert list(labels) == ["min", "1", "2", "8", "mean"]
    assert list(labels.values()) == sorted(labels.values()) and labels["1"] == pytest.approx(1)
    flat = [line.get_ydata()[0] for line in axis.lines if list(line.get_xdata()) == [0, 1]]
    levels = table[(table.method == "l1") & (table.dataset == "tumour")].auprc
    assert sorted(flat) == pytest.approx(sorted(levels)), "one value only: a level, in both parts"
    upright = [line.get_xdata()[0] for line in axis.lines if list(line.get_ydata()) == [0, 1]]
    assert upright == [labels["2"]], "the study's value is marked"


def test_a_test_part_of_some_values_has_bars_and_no_curve():
    table = scores(["100", "300", "500", "900"])
    table = means(table[(table.split == "val") | table.value.isin(["300", "500", "900"])])
    axis = drawn(plot_over_values(table, "500", "t")).axes[0]
    curves = [line for line in axis.lines if line.get_linestyle() in ("-", "--") and len(line.get_xdata()) > 2]
    assert [line.get_linestyle() for line in curves] == ["--", "--"], "the validation part's, one a method"


def test_categories_have_one_row_of_panels_per_score():
    table = scores(["as scored", "no median"], ["l1", "ssim 0.3", "ssim 4"])
    tables = {score: means(table, score) for score in ("auprc", "dice")}
    figure = drawn(plot_over_categories(tables, "as scored"))
    assert [axis.get_xlabel() for axis in figure.axes] == ["AUPRC", "AUPRC", "Dice", "Dice"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["as scored", "no median"]
    low, high = figure.axes[0].get_ylim()
    assert low > high, "the study's value is on top"
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[:3] == ["l1", "SSIM, \u03c3 = 0.3", "SSIM, \u03c3 = 4"]


def test_gains():
    table = choice(scores(["1", "2"]), "draws", "1", ["l1", "adaptive"])
    axis = drawn(plot_gains(table)).axes[0]
    labels = [text.get_text() for text in axis.get_yticklabels()]
    assert len(labels) == 2 and labels[0].startswith("draws: ") and labels[0].endswith("(l1, AUPRC)")


def test_what_a_choice_does_not_affect_is_a_level_beside_categories():
    sets = scores(["8 windows", "2 windows", "up to 4"], ["adaptive"])
    table = means(pd.concat([sets, scores(["no window"], ["l1"])]))
    axis = drawn(plot_over_categories({"auprc": table}, "8 windows")).axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["8 windows", "2 windows", "up to 4"]
    upright = [line.get_xdata()[0] for line in axis.lines if list(line.get_ydata()) == [0, 1]]
    expected = table[(table.method == "l1") & (table.dataset == "tumour")].auprc
    assert sorted(upright) == pytest.approx(sorted(expected))
