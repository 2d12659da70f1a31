"""Figures: what is drawn where. Slices stand upright, optima are marked, labels and legends are complete."""

import numpy as np
import pandas as pd
import pytest
from figures import drawn
from matplotlib.colors import to_hex

from essim.evaluation.scoring import summarise
from essim.figures import pictures
from essim.figures import scores as plots

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


# Pictures


def test_reconstructions_stand_beside_the_scan_and_their_differences_behind():
    x, seg = np.full((6, 8), 0.5), np.zeros((6, 8), bool)
    seg[2:4, 3:6] = True
    rows = {"healthy": [x, seg & False, x - 0.1, x + 0.2], "ms": [x, seg, x, x - 0.3]}
    figure = drawn(pictures.reconstructions(rows, ["blurred", "VAE"]))
    axes = np.array(figure.axes[:10]).reshape(2, 5)
    titles = ["input x", "blurred", "VAE", "|x \N{MINUS SIGN} blurred|", "|x \N{MINUS SIGN} VAE|"]
    assert [axis.get_title() for axis in axes[0]] == titles
    assert [line[0].get_ylabel() for line in axes] == ["Healthy", "MS"]
    shown = [[axis.images[0].get_array().mean() for axis in line] for line in axes]
    np.testing.assert_allclose(shown, [[0.5, 0.4, 0.7, 0.1, 0.2], [0.5, 0.5, 0.2, 0, 0.3]], atol=1e-12)
    outlined = [[bool(axis.collections) for axis in line] for line in axes]
    assert outlined == [[False] * 5, [True, False, False, True, True]]


def test_slices_stand_upright():
    image = np.zeros((4, 6))
    image[3, 5] = 1  # right, front
    figure, axes = pictures.slice_grid([[pictures.Panel(image)]], ["T1"], ["one"])
    drawn(figure)
    (picture,) = axes[0, 0].images
    assert picture.origin == "lower"  # the front is on top
    assert picture.get_array()[5, 3] == 1 and picture.get_array().shape == (6, 4)  # the right is on the right
    assert axes[0, 0].get_title() == "T1" and axes[0, 0].get_ylabel() == "one"


def test_scans_are_grey_and_maps_are_not_and_both_start_at_0():
    image = np.linspace(0, 2, 24).reshape(4, 6)
    panels = [pictures.Panel(image), pictures.Panel(image, kind="map", limits=(0, 0.5))]
    _, axes = pictures.slice_grid([panels], "ab", [""])
    scan, anomaly = (axis.images[0] for axis in axes[0])
    assert (scan.get_cmap().name, anomaly.get_cmap().name) == ("gray", "cividis")
    assert scan.get_clim()[0] == 0 and 1.9 < scan.get_clim()[1] <= 2
    assert anomaly.get_clim() == (0, 0.5)


def test_an_empty_outline_and_an_empty_image_are_drawn():
    nothing = np.zeros((5, 5))
    drawn(pictures.kernel_maps({"a": nothing, "b": nothing}, nothing > 0))


def test_an_arrow_leads_from_step_to_step():
    panel = pictures.Panel(np.eye(4))
    figure = drawn(pictures.method([("scan", panel), "noise", ("noised", panel), ("truth", panel)]))
    assert [axis.get_title() for axis in figure.axes] == ["scan", "", "noised", "truth"]
    assert [bool(axis.images) for axis in figure.axes] == [True, False, True, True]
    assert "noise" in [text.get_text() for text in figure.axes[1].texts]


def test_a_crop_keeps_the_lesion_and_its_margin():
    seg = np.zeros((20, 30), bool)
    seg[5:8, 27:29] = True
    assert pictures.around(seg, margin=2) == (slice(3, 10), slice(25, 31))
    assert seg[pictures.around(seg, margin=2)].sum() == seg.sum()
    assert pictures.around(np.zeros((3, 3), bool), margin=2) == (slice(None), slice(None))


def test_every_picture_can_be_drawn():
    rng = np.random.default_rng(0)
    image, seg = rng.random((10, 12)), rng.random((10, 12)) > 0.8
    cohort = pictures.cohort({"healthy": [(image, image, seg & False)] * 2, "ms": [(image, image, seg)] * 2})
    assert [axis.get_ylabel() for axis in drawn(cohort).axes[::4]] == ["Healthy", "MS"]
    drawn(pictures.forward_process({"gaussian": [image] * 3, "simplex": [image] * 3}, [1, 500, 1000]))
    figure = drawn(pictures.reconstruction([(image, image, seg)] * 2, ["a", "b"]))
    assert figure.axes[-1].get_ylabel() == "|x \N{MINUS SIGN} y| (intensity)"  # the colour bar has its unit
    stack = rng.random((3, 10, 12))
    drawn(pictures.ensemble_weights(stack, stack / stack.sum(0), [0.3, 0.5, 0.7], seg))
    columns = ["input", "reconstruction", "l1", "truth"]
    drawn(pictures.qualitative({"wmh": [image, image, image, seg], "ms": [image, image, image, seg]}, columns))


# Curves


def test_the_main_figure_marks_each_optimum(scores):
    figure = drawn(plots.score_over_sigma(scores[scores.split == "test"], list(BEST)))
    for axis, (name, best) in zip(figure.axes, BEST.items(), strict=True):
        assert axis.get_title() == pictures.NAMES[name]
        mean = scores.query("split == 'test' and dataset == @name and sigma == @best").auprc.mean()
        assert stars(axis) == [(best, pytest.approx(mean, abs=1e-12))]
        texts = {text.get_text() for text in axis.texts}
        assert texts == {f"σ = {best:g}", "l1", "ensemble"}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["SSIM", "l1", "ensemble"]


def test_labels_of_close_lines_keep_apart(scores):
    scores.loc[scores.method == "adaptive", "auprc"] = scores.loc[scores.method == "l1", "auprc"].to_numpy()
    figure = drawn(plots.score_over_sigma(scores[scores.split == "test"], list(BEST)))
    for axis in figure.axes:
        heights = [text.get_position()[1] for text in axis.texts if text.get_text() in ("l1", "ensemble")]
        assert abs(heights[0] - heights[1]) >= 0.08


def test_the_ablation_marks_both_parts(scores):
    figure = drawn(plots.ablation(scores[scores.dataset == "ms"]))
    assert [x for axis in figure.axes for x, _ in stars(axis)] == [0.3] * 4  # AUPRC and Dice; test and validation
    assert [axis.get_ylabel() for axis in figure.axes] == ["AUPRC", "Dice"]


def test_the_heat_map_frames_the_best_sigma_of_every_row(scores):
    summary = summarise(scores)
    summary["sigma"] = pd.to_numeric(summary.method.str.removeprefix("ssim "), errors="coerce")
    axis = drawn(plots.heatmap(summary, list(BEST))).axes[0]
    frames = [patch for patch in axis.patches if to_hex(patch.get_edgecolor()) == pictures.RED]
    assert [frame.get_xy() for frame in frames] == [(SIGMAS.index(best), row) for row, best in enumerate(BEST.values())]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["Tumour", "MS"]


def test_regret_bars_have_the_best_on_top():
    table = pd.DataFrame({"method": ["ssim 0.3", "l1", "adaptive"], "regret": [0.2, 0.4, -0.1]})
    table = table.assign(regret_low=table.regret - 0.1, regret_high=table.regret + 0.05)
    axis = drawn(plots.regret(table)).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["l1", "SSIM, σ = 0.3", "ensemble, adaptive"]
    assert [bar.get_width() for bar in axis.patches] == [0.4, 0.2, -0.1]  # from the bottom up


def test_the_kept_step_is_the_best_validation_loss():
    log = pd.DataFrame({"step": [10, 20, 30], "train_loss": [0.5, 0.3, 0.2], "val_loss": [0.4, 0.2, 0.3]})
    figure = drawn(plots.training_curves({"T1": log, "T2": log}))
    assert [stars(axis) for axis in figure.axes] == [[(20, 0.2)]] * 2


def test_the_other_curves_can_be_drawn():
    table = pd.DataFrame({"dataset": ["ms"] * 3 + ["healthy"], "lesion_ml": [1.0, 5.0, 20.0, 0.0]})
    (axis,) = drawn(plots.lesion_sizes(table)).axes
    assert axis.get_title() == "MS: median 5 ml" and axis.get_xlabel() == "lesion volume (ml)"
    drawn(plots.residual(pd.DataFrame({"inside": [0.3, np.nan], "outside": [0.1, 0.2]})))


def test_the_spread_tells_seeds_and_folds_apart():
    keys = [(s, f, name, method) for s in (0, 3) for f in (0, 1) for name in BEST for method in ("l1", "adaptive")]
    table = pd.DataFrame(keys, columns=["seed", "fold", "dataset", "method"]).assign(auprc=0.4)
    table["auprc"] += np.arange(len(table)) / 100
    table = table.assign(auprc_low=table.auprc - 0.1, auprc_high=table.auprc + 0.1)
    figure = drawn(plots.spread(table, list(BEST)))
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
    one_fold = drawn(plots.spread(table[table.fold == 0], list(BEST)))
    assert [text.get_text() for text in one_fold.legends[0].get_texts()][:-1] == ["seed 0", "seed 3"]


def test_speed_has_a_line_for_every_contender():
    rows = [(size, name, 10.0 * i) for size in ("8x8x8", "16x16x16") for i, name in enumerate("abcdefgh", 1)]
    table = pd.DataFrame([*rows, ("8x8x8", "floor", 1.0)], columns=["size", "contender", "milliseconds"])
    (axis,) = drawn(plots.speed(table)).axes
    assert [line.get_label() for line in axis.lines] == [*"abcdefgh", "floor"]
    assert axis.lines[0].get_xdata().tolist() == [512, 4096]


def test_training_length_shows_every_set_and_the_error():
    keys = [(name, step, method) for name in BEST for step in (4, 16, 64) for method in ("l1", "adaptive")]
    table = pd.DataFrame(keys, columns=["dataset", "step", "method"]).assign(auprc=0.4, error=0.1)
    table["auprc"] += np.arange(len(table)) / 100
    *panels, last = drawn(plots.training_length(table)).axes
    assert [axis.get_title() for axis in panels] == ["Tumour", "MS"]
    for axis, name in zip(panels, BEST, strict=True):
        for line, method in zip(axis.lines, ("l1", "adaptive"), strict=True):
            part = table[(table.dataset == name) & (table.method == method)]
            assert line.get_xdata().tolist() == [4, 16, 64]
            assert line.get_ydata().tolist() == part.auprc.tolist()
    assert [line.get_ydata().tolist() for line in last.lines] == [[0.1] * 3] * 2
