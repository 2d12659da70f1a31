"""Every lesion at every sigma, narrow minus wide: scikit-learn, planted answers, models written out by hand."""

import numpy as np
import pandas as pd
import pytest
from helpers import read_cases, write_cases
from scipy import stats
from sklearn.metrics import average_precision_score

from essim.ensemble import ensemble_map
from essim.evaluation.scoring import clean_maps
from essim.figures.lesions import AXES, plot_best_sigma
from essim.study.best_sigma import (
    FOUND,
    MODELS,
    best_sigmas,
    fit_model,
    fit_models,
    in_words,
    lesion_precision,
    line,
    model_terms,
)


@pytest.mark.parametrize("values", [3, 1000])  # many ties, hardly any
def test_a_lesion_against_healthy_brain_is_as_in_scikit_learn(values):
    rng = np.random.default_rng(values)
    labels = rng.choice(4, (9, 8, 7), p=[0.8, 0.1, 0.08, 0.02]) * 2  # 2, 4, 6
    healthy = (labels == 0) & (rng.random(labels.shape) < 0.8)
    anomaly = (rng.integers(0, values, labels.shape) + labels).astype(np.float32)
    found = lesion_precision(anomaly, labels, healthy)
    assert sorted(found) == [2, 4, 6]
    for label, value in found.items():
        counted = healthy | (labels == label)
        expected = average_precision_score(labels[counted] == label, anomaly[counted])
        assert value == pytest.approx(expected, abs=1e-12)


def test_a_lesion_by_hand():
    anomaly, labels = np.array([4.0, 3, 2, 1, 9]), np.array([1, 0, 1, 0, 2])
    # ranked: hit, miss, hit, miss; the other lesion, highest of all, is left out
    assert lesion_precision(anomaly, labels, labels == 0) == {1: pytest.approx((1 + 2 / 3) / 2), 2: 1}
    assert lesion_precision(anomaly, 0 * labels, labels == 0) == {}


SIGMAS = [1.5, 0.5]


@pytest.fixture
def folder(tmp_path):
    """Two test cases: two lesions and a speck, and a case without a lesion."""
    rng = np.random.default_rng(0)
    seg = np.zeros((20, 20, 16), bool)
    seg[3:8, 3:8, 3:8] = seg[12:16, 12:16, 8:12] = True
    seg[17, 3, 12] = True
    mask = np.ones(seg.shape, bool)
    image = rng.random(seg.shape).astype(np.float32)
    healthy = image + 0.05 * rng.standard_normal(seg.shape).astype(np.float32)
    healthy[3:8, 3:8, 3:8] = 0.2
    cases = {"a": ("test", image, healthy, mask, seg), "b": ("test", image, healthy, mask, 0 * seg)}
    return write_cases(tmp_path / "cases", cases)


def test_the_best_sigma_has_the_highest_auprc(folder):
    table = best_sigmas(folder, SIGMAS)
    assert list(table.voxels) == [125, 64], "no speck"
    assert list(table.subject) == ["a", "a"] and list(table.dataset) == ["ms", "ms"]
    case = next(read_cases(folder))

    def scorer(case):
        x, y, mask = case.tensors()
        return {f"ssim {s:g}": ensemble_map(x, y, sigmas=[s], mask=mask) for s in SIGMAS}

    healthy, maps = ~case.seg, clean_maps(case, scorer)
    one = np.zeros_like(case.seg)
    one[3:8, 3:8, 3:8] = True
    for name, anomaly in maps.items():
        counted = healthy | one
        assert table[name][0] == pytest.approx(average_precision_score(one[counted], anomaly[counted]))
    scores = table[["ssim 0.5", "ssim 1.5"]]
    assert (table.auprc == scores.max(axis=1)).all()
    assert list(table.best_sigma) == [0.5 if a >= b else 1.5 for a, b in scores.to_numpy()]
    assert table.prevalence[0] == 125 / (125 + healthy.sum())
    seen = scores.clip(lower=table.prevalence, axis=0)
    odds = np.log2(seen / (1 - seen))
    np.testing.assert_allclose(table.narrow_minus_wide, odds["ssim 0.5"] - odds["ssim 1.5"])
    odds = table.auprc / (1 - table.auprc) / (table.prevalence / (1 - table.prevalence))
    assert list(table.found) == list(odds >= FOUND)
    assert list(table.volume_ml) == [1.0, 0.512]  # voxels of 8 microlitres


def test_a_set_without_lesions_gives_an_empty_table(folder):
    (folder / "scans.csv").write_text("dataset,subject,split\nms,b,test\n")
    table = best_sigmas(folder, SIGMAS)
    assert len(table) == 0 and {"best_sigma", "found", "ssim 0.5"} <= set(table.columns)
    assert len(model_terms(table)) == 0


# Models


def lesion_table(seed=0, subjects=30, slope=0.5, pathology=0.0):
    """Five lesions per subject; the gap grows with volume by `slope`; one of two sets is shifted by `pathology`."""
    rng = np.random.default_rng(seed)
    count = 5 * subjects
    subject = np.repeat(np.arange(subjects), 5)
    shared = 0.3 * rng.standard_normal(subjects)[subject]  # what lesions of one subject have in common
    volume, thickness = rng.normal(0, 2, count), rng.normal(2, 0.7, count)
    gap = slope * volume + pathology * (subject % 2) + shared + 0.3 * rng.standard_normal(count)
    return pd.DataFrame(
        {"dataset": np.where(subject % 2, "wmh", "ms"), "subject": [f"s{i // 2}" for i in subject]}
        | {"volume_ml": 2**volume, "thickness_mm": 2**thickness, "contrast": rng.normal(0, 2, count)}
        | {"narrow_minus_wide": gap, "auprc": 0.5, "ssim 0.5": 0.5, "ssim 1.5": 0.2, "found": True}
    )


def test_only_lesions_that_are_found_and_have_a_contrast_are_used():
    table = lesion_table()
    table.loc[0, "found"], table.loc[1, "contrast"] = False, np.nan
    frame = model_terms(table)
    assert list(frame.index) == list(range(2, 150))
    assert frame.group.nunique() == 30, "subjects of the same name differ between sets"
    np.testing.assert_allclose(frame.volume, np.log2(table.volume_ml[2:]))
    assert (frame.narrow_minus_wide == table.narrow_minus_wide[2:]).all()
    assert (frame.contrast == table.contrast[2:].abs()).all()


def test_the_model_is_least_squares_with_clustered_errors():
    frame = model_terms(lesion_table())
    design = np.column_stack([np.ones(len(frame)), frame.volume])
    inverse = np.linalg.inv(design.T @ design)
    slopes = inverse @ design.T @ frame.narrow_minus_wide
    residual = frame.narrow_minus_wide.to_numpy() - design @ slopes
    sums = [design[frame.group == g].T @ residual[frame.group == g] for g in frame.group.unique()]
    n, k, g = len(frame), 2, len(sums)
    errors = np.sqrt(np.diag(inverse @ sum(np.outer(s, s) for s in sums) @ inverse) * g / (g - 1) * (n - 1) / (n - k))
    row = fit_models(frame).set_index("model").loc["volume"]
    assert row.slope == pytest.approx(slopes[1])
    half = stats.t.ppf(0.975, g - 1) * errors[1]
    assert (row.low, row.high) == pytest.approx((slopes[1] - half, slopes[1] + half))
    assert row.r_squared == pytest.approx(1 - residual.var() / np.var(frame.narrow_minus_wide))
    fitted = line(frame, "volume", points=3)
    assert fitted.narrow_minus_wide.iloc[-1] == pytest.approx(slopes[0] + slopes[1] * frame.volume.max())
    assert (fitted.low < fitted.narrow_minus_wide).all() and (fitted.narrow_minus_wide < fitted.high).all()


def test_what_was_planted_is_found():
    table = fit_models(model_terms(lesion_table(slope=0.5)))
    assert list(dict.fromkeys(table.model)) == list(MODELS)
    row = table.set_index(["model", "term"]).loc[("all three, pathology", "volume")]
    assert row.low < 0.5 < row.high and row.p < 1e-6
    assert table.p[table.term == "pathology"].iloc[-1] > 0.05
    assert (table.lesions == 150).all() and (table.subjects == 30).all()
    assert any("clearly not zero" in text for text in in_words(table))
    assert "no longer shows" in in_words(table)[-1]
    shifted = fit_models(model_terms(lesion_table(slope=0, pathology=1)))
    assert shifted.p.iloc[-1] < 1e-6 and shifted.slope[shifted.term == "pathology"].isna().all()
    assert "still matters" in in_words(shifted)[-1]
    assert "possibly zero" in in_words(shifted)[0]


@pytest.mark.parametrize(
    "table",
    [
        lesion_table(subjects=2),
        lesion_table().assign(narrow_minus_wide=0.3),
        lesion_table()[:0],
    ],
    ids=["two subjects", "all alike", "nothing"],
)
def test_too_little_gives_no_fit(table):
    frame = model_terms(table)
    assert fit_model(frame, "volume") is None
    assert fit_models(frame)[["slope", "low", "high", "p", "r_squared"]].isna().all(axis=None)
    assert len(line(frame, "volume")) == 0
    assert len(in_words(fit_models(frame))) == 1


def test_one_set_has_no_pathology_to_compare():
    table = lesion_table()
    found = fit_models(model_terms(table[table.dataset == "ms"])).set_index("model")
    assert found.slope["volume"] > 0 and np.isnan(found.r_squared["pathology"])


# The figure


def test_no_lesion_is_a_figure_that_says_so():
    table = lesion_table().assign(found=False)
    frame = model_terms(table)
    figure = plot_best_sigma(table, {term: line(frame, term) for term in AXES})
    figure.draw_without_rendering()
    assert figure.get_suptitle() == "No lesion is found at any \u03c3."


@pytest.mark.parametrize("subjects", [30, 2], ids=["fitted", "too few"])
def test_every_found_lesion_is_a_point(subjects):
    table = lesion_table(subjects=subjects)
    table.loc[0, "found"] = False
    frame = model_terms(table)
    figure = plot_best_sigma(table, {term: line(frame, term) for term in AXES})
    figure.draw_without_rendering()
    *panels, last = figure.axes
    for axis in panels:
        points = [part for part in axis.collections if type(part).__name__ == "PathCollection"]
        assert sum(len(part.get_offsets()) for part in points) == 5 * subjects - 1
    drawn = panels[0].lines[0].get_xydata()
    assert len(drawn) == (50 if subjects == 30 else 0)
    if subjects == 30:
        volume, gap = line(frame, "volume")[["volume", "narrow_minus_wide"]].iloc[0]
        np.testing.assert_allclose(drawn[0], [2**volume, gap])
    np.testing.assert_allclose(last.lines[0].get_xydata(), [[0.5, 1], [1.5, 0.4]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["MS", "WMH", "fit, 95 % band"]
