"""Curves, bars and tables: what is drawn where; optima are marked, labels and legends complete."""

import numpy as np
import pandas as pd
import pytest
from figures import drawn
from matplotlib.colors import to_hex

from essim.evaluation.summaries import summarise
from essim.figures.lesions import plot_lesion_sizes
from essim.figures.sigma import plot_ablation, plot_heatmap, plot_score_over_sigma
from essim.figures.speed import plot_speed
from essim.figures.style import RED, SET_NAMES
from essim.figures.summary import plot_regret, plot_spread
from essim.figures.training import plot_training_curves, plot_training_length

SIGMAS = [0.3, 0.7, 1.5, 4.0]
BEST = {"tumour": 1.5, "ms": 0.3}


@pytest.fixture
def scores():
    """Two sets, four patients in each part; AUPRC is highest at the sigma of BEST."""
    rng, rows = np.random.default_rng(0), []
    for name, best in BEST.items():
        methods = {f"ssim {s:g}": 0.5 - 0.1 * abs(s - best) for s in SIGMAS}
        methods |= {"l1": 0.2, "adaptive": 0.3, "mean": 0.25}
        for split in ("val", "test"):
            for subject in range(4):
                noise = 0.01 * rng.standard_normal()
                for method, level in methods.items():
                    values = {"auprc": level + noise, "dice": level, "best_dice": level}
                    values |= {"threshold": 0.1, "prevalence": 0.01}
                    sigma = float(method[5:]) if method.startswith("ssim") else np.nan
                    key = {"dataset": name, "subject": f"{split}{subject}", "split": split, "method": method}
                    rows.append(key | {"sigma": sigma} | values)
    return pd.DataFrame(rows)


def stars(axis):
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in axis.lines if line.get_marker() == "*"]


def test_the_main_figure_marks_each_optimum(scores):
    figure = drawn(plot_score_over_sigma(scores[scores.split == "test"], list(BEST)))
    for axis, (name, best) in zip(figure.axes, BEST.items(), strict=True):
        assert axis.get_title() == SET_NAMES[name]
        mean = scores.query("split == 'test' and dataset == @name and sigma == @best").auprc.mean()
        assert stars(axis) == [(best, pytest.approx(mean, abs=1e-12))]
        texts = {text.get_text() for text in axis.texts}
        assert texts == {f"σ = {best:g}", "l1", "paper's ensemble"}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["SSIM", "l1", "paper's ensemble"]


def test_every_score_at_its_best_has_panels_below(scores):
    test = scores[scores.split == "test"]
    figure = drawn(
        plot_score_over_sigma(test, list(BEST), columns=len(BEST), at_best=test.assign(auprc=2 * test.auprc))
    )
    above, below = figure.axes[: len(BEST)], figure.axes[len(BEST) :]
    for axis, other, name in zip(above, below, BEST, strict=True):
        assert other.get_title() == f"{SET_NAMES[name]}, each at its best"
        assert stars(other)[0] == (stars(axis)[0][0], pytest.approx(2 * stars(axis)[0][1]))


def test_labels_of_close_lines_keep_apart(scores):
    scores.loc[scores.method == "adaptive", "auprc"] = scores.loc[scores.method == "l1", "auprc"].to_numpy()
    figure = drawn(plot_score_over_sigma(scores[scores.split == "test"], list(BEST)))
    for axis in figure.axes:
        heights = [text.get_position()[1] for text in axis.texts if text.get_text() in ("l1", "paper's ensemble")]
        assert abs(heights[0] - heights[1]) >= 0.08


def test_the_ablation_marks_both_parts(scores):
    figure = drawn(plot_ablation(scores[scores.dataset == "ms"]))
    assert [x for axis in figure.axes for x, _ in stars(axis)] == [0.3] * 4  # AUPRC and Dice; test and validation
    assert [axis.get_ylabel() for axis in figure.axes] == ["AUPRC", "Dice"]


def test_the_heat_map_frames_the_best_sigma_of_every_row(scores):
    summary = summarise(scores)
    summary["sigma"] = pd.to_numeric(summary.method.str.removeprefix("ssim "), errors="coerce")
    axis = drawn(plot_heatmap(summary, list(BEST))).axes[0]
    frames = [patch for patch in axis.patches if to_hex(patch.get_edgecolor()) == RED]
    assert [frame.get_xy() for frame in frames] == [(SIGMAS.index(best), row) for row, best in enumerate(BEST.values())]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["Tumour", "MS"]


def test_regret_bars_have_the_best_on_top():
    table = pd.DataFrame({"method": ["ssim 0.3", "l1", "adaptive"], "regret": [0.2, 0.4, -0.1]})
    table = table.assign(regret_low=table.regret - 0.1, regret_high=table.regret + 0.05)
    axis = drawn(plot_regret(table)).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["l1", "SSIM, σ = 0.3", "paper's ensemble"]
    assert [bar.get_width() for bar in axis.patches] == [0.4, 0.2, -0.1]  # from the bottom up


def test_the_kept_step_is_the_best_validation_loss():
    log = pd.DataFrame({"step": [10, 20, 30], "train_loss": [0.5, 0.3, 0.2], "val_loss": [0.4, 0.2, 0.3]})
    figure = drawn(plot_training_curves({"T1": log, "T2": log}))
    assert [stars(axis) for axis in figure.axes] == [[(20, 0.2)]] * 2


def test_lesion_sizes_have_one_panel_per_patient_set():
    table = pd.DataFrame({"dataset": ["ms"] * 3 + ["healthy"], "lesion_ml": [1.0, 5.0, 20.0, 0.0]})
    (axis,) = drawn(plot_lesion_sizes(table)).axes
    assert axis.get_title() == "MS: median 5 ml" and axis.get_xlabel() == "lesion volume (ml)"


def test_the_spread_tells_seeds_and_folds_apart():
    keys = [(s, f, name, method) for s in (0, 3) for f in (0, 1) for name in BEST for method in ("l1", "adaptive")]
    table = pd.DataFrame(keys, columns=["seed", "fold", "dataset", "method"]).assign(auprc=0.4)
    table["auprc"] += np.arange(len(table)) / 100
    table = table.assign(auprc_low=table.auprc - 0.1, auprc_high=table.auprc + 0.1)
    figure = drawn(plot_spread(table, list(BEST)))
    assert [axis.get_title() for axis in figure.axes] == ["Tumour", "MS"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["l1", "adaptive"]
    for axis, name in zip(figure.axes, BEST, strict=True):
        part = table[table.dataset == name]
        assert [line.get_xdata()[0] for line in axis.lines] == part.auprc.tolist()
        assert [round(line.get_ydata()[0]) for line in axis.lines] == [0, 1] * 4
        looks = {(line.get_color(), line.get_marker()) for line in axis.lines}
        assert len(looks) == 4
        middle = part[part.method == "l1"].auprc.mean()
        band = axis.patches[0].get_bbox()
        assert (band.x0, band.x1) == pytest.approx((middle - 0.1, middle + 0.1))
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[:-1] == ["seed 0", "seed 3", "fold 0", "fold 1"] and "patients" in texts[-1]
    one_fold = drawn(plot_spread(table[table.fold == 0], list(BEST)))
    assert [text.get_text() for text in one_fold.legends[0].get_texts()][:-1] == ["seed 0", "seed 3"]


def test_speed_has_a_line_for_every_contender():
    rows = [(size, name, 10.0 * i) for size in ("8x8x8", "16x16x16") for i, name in enumerate("abcdefgh", 1)]
    table = pd.DataFrame([*rows, ("8x8x8", "floor", 1.0)], columns=["size", "contender", "milliseconds"])
    (axis,) = drawn(plot_speed(table)).axes
    assert [line.get_label() for line in axis.lines] == [*"abcdefgh", "floor"]
    assert axis.lines[0].get_xdata().tolist() == [512, 4096]


def test_training_length_shows_every_set_and_the_error():
    keys = [(name, step, method) for name in BEST for step in (4, 16, 64) for method in ("l1", "adaptive")]
    table = pd.DataFrame(keys, columns=["dataset", "step", "method"]).assign(auprc=0.4, error=0.1)
    table["auprc"] += np.arange(len(table)) / 100
    *panels, last = drawn(plot_training_length(table)).axes
    assert [axis.get_title() for axis in panels] == ["Tumour", "MS"]
    for axis, name in zip(panels, BEST, strict=True):
        for line, method in zip(axis.lines, ("l1", "adaptive"), strict=True):
            part = table[(table.dataset == name) & (table.method == method)]
            assert line.get_xdata().tolist() == [4, 16, 64]
            assert line.get_ydata().tolist() == part.auprc.tolist()
    assert [line.get_ydata().tolist() for line in last.lines] == [[0.1] * 3] * 2
    of_one_step = drawn(plot_training_length(table[table.step == 64]))  # as of pretrained networks
    assert all(axis.get_ylim()[1] > 1.05 * axis.dataLim.y1 for axis in of_one_step.axes), "markers are cut"
