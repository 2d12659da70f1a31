"""Figures of the evaluation: what is drawn where, with intervals, chance levels and frames."""

import numpy as np
import pandas as pd
import pytest
from figures import drawn
from matplotlib.colors import to_hex

from essim.figures.evaluation import (
    plot_detection_curves,
    plot_false_alarms,
    plot_patients,
    plot_scores_of_reconstructions,
    plot_thresholds,
    plot_transfer,
)
from essim.figures.style import GREEN, GREY, RED

METHODS = ["l1", "adaptive"]
SETS = ["tumour", "ms"]
PATIENTS = [f"p{i}" for i in range(5)]


def patients(**columns):
    """One row per set, patient and method; `columns` are functions of a random generator."""
    rng = np.random.default_rng(0)
    rows = [{"dataset": d, "subject": s, "method": m} for d in SETS for s in PATIENTS for m in METHODS]
    return pd.DataFrame([row | {name: make(rng) for name, make in columns.items()} for row in rows])


def test_strips_show_every_patient_the_mean_and_chance():
    table = patients(auprc=lambda rng: rng.random(), prevalence=lambda rng: 0.1)
    figure = drawn(plot_patients(table))
    assert [axis.get_title() for axis in figure.axes] == ["Tumour", "MS"]
    for axis, name in zip(figure.axes, SETS, strict=True):
        wide = table[table.dataset == name].pivot(index="subject", columns="method", values="auprc")[METHODS]
        lines = [line for line in axis.lines if len(line.get_xdata()) == 2 and line.get_color() == GREY]
        assert sorted(tuple(line.get_ydata()) for line in lines) == sorted(map(tuple, wide.to_numpy()))
        means = [box.lines[0].get_ydata()[0] for box in axis.containers]
        assert means == pytest.approx(wide.mean().tolist())
        assert any(line.get_linestyle() == "--" and set(line.get_ydata()) == {0.1} for line in axis.lines)


def test_detection_curves_pool_lesions_and_name_the_chance_level():
    recalls = [0.25, 0.5, 1.0]
    rows = patients(precision=lambda rng: 0.5)[lambda t: t.dataset == "ms"]
    precision = pd.concat([rows.assign(recall=recall) for recall in recalls])
    points = [rows.assign(threshold=t, lesions=4, found=f, false_positives=n) for t, f, n in ((0.2, 3, 5), (0.4, 1, 0))]
    lesions = pd.concat([rows.assign(volume_ml=ml, found=ml > 1) for ml in (0.05, 5.0)])
    figure = drawn(plot_detection_curves(precision, pd.concat(points), lesions, 0.07))
    left, middle, right = figure.axes
    assert [tuple(line.get_xdata()) for line in left.lines[:2]] == [tuple(recalls)] * 2
    assert set(left.lines[-1].get_ydata()) == {0.07}
    assert [line.get_xydata().tolist() for line in middle.lines] == [[[5, 0.75], [0, 0.25]]] * 2
    assert [text.get_text() for text in right.get_xticklabels()] == ["< 0.1\n(n = 5)", "1 to 10\n(n = 5)"]
    assert [box.lines[0].get_ydata().tolist() for box in right.containers] == [[0, 1]] * 2
    assert "chance (prevalence)" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_oracle_is_hollow():
    sources = ["healthy 1%", "validation", "oracle"]
    table = pd.concat([patients(dice=lambda rng: rng.random()).assign(source=source) for source in sources])
    figure = drawn(plot_thresholds(table))
    for axis in figure.axes:
        faces = [box.lines[0].get_markerfacecolor() for box in axis.containers]
        assert faces == [RED, RED, "white", GREEN, GREEN, "white"]
        assert [text.get_text() for text in axis.get_xticklabels()] == sources


def frames(axis):
    return [patch.get_xy() for patch in axis.patches if to_hex(patch.get_edgecolor()) == RED]


def test_transfer_frames_a_sets_own_threshold():
    rows = [(d, s, 0.1 * (1 + i + 2 * j)) for i, d in enumerate(SETS) for j, s in enumerate([*SETS, "healthy 1%"])]
    axis, _ = drawn(plot_transfer(pd.DataFrame(rows, columns=["dataset", "source", "dice"]), "l1")).axes
    assert frames(axis) == [(-0.5, -0.5), (0.5, 0.5)]
    assert [text.get_text() for text in axis.texts] == [".100", ".300", ".500", ".200", ".400", ".600"]


def test_the_grid_frames_the_best_cell_of_every_set():
    ways, scores = ["diffusion", "ae"], ["l1", "adaptive", "ssim best"]
    names = ["dataset", "reconstruction", "score"]
    table = pd.MultiIndex.from_product([SETS, ways, scores], names=names).to_frame(index=False)
    best = table.dataset.map(dict(zip(SETS, scores, strict=False)))  # a different column in each set
    table["auprc"] = 0.1 + 0.2 * (table.reconstruction == "ae") + 0.3 * (table.score == best)
    *panels, _ = drawn(plot_scores_of_reconstructions(table)).axes
    assert [frames(axis) for axis in panels] == [[(-0.5, 0.5)], [(0.5, 0.5)]]


def test_false_alarms_stand_by_site_sex_and_age():
    rows = [
        {"site": "ab"[i % 2], "sex": "fm"[i // 2 % 2], "age": str(25 + 10 * i), "method": m, "false_ml": i}
        for i in range(6)
        for m in METHODS
    ]
    figure = drawn(plot_false_alarms(pd.DataFrame(rows)))
    ticks = [[text.get_text() for text in axis.get_xticklabels()] for axis in figure.axes]
    assert ticks == [["a", "b"], ["f", "m"], ["< 40", "40 to 59", "60 +"]]
    points = [y for line in figure.axes[0].lines if line.get_color() == RED for y in line.get_ydata()]
    assert sorted(points) == [0, 1, 2, 3, 4, 5]
