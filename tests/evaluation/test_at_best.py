"""Every score at its best: what is chosen, on which patients, and what is judged with it."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import pair, read_cases, write_cases

from essim.calibration import Calibration, calibrated_l1, calibrated_map
from essim.evaluation import at_best
from essim.evaluation.metrics import average_precision
from essim.postprocess import ERODE_FIRST, ERODE_LAST, POST, PROTOCOL, postprocess
from essim.ssim import SIGMAS

OWN = {"post": "gauss 1", "order": ERODE_LAST}


def tensor(array):
    return torch.from_numpy(array.astype(np.float32))[None, None]


@pytest.fixture
def folder(tmp_path):
    """Four patients with small lesions; the first two are the validation part."""
    shape, rng, cases = (26, 26, 12), np.random.default_rng(0), {}
    mask = np.zeros(shape, bool)
    mask[2:-2, 2:-2] = True
    for i in range(4):
        seg = np.zeros(shape, bool)
        seg[6 + 2 * i : 8 + 2 * i, 10:12, 4:6] = True  # 2 x 2 x 2: a median of five wipes it out
        image = rng.random(shape).astype(np.float32) * mask
        cases[f"p{i}"] = ("val" if i < 2 else "test", image, np.zeros(shape, np.float32), mask, seg)
    return write_cases(tmp_path / "ms", cases)


def scorer(case):
    """A clean point-like map, which no smoothing suits, and a noisy one, which a Gaussian suits."""
    seg = case.seg.astype(np.float32)
    return {"l1": tensor(seg + 1.2 * case.image), "clean": tensor(seg)}


def test_each_score_gets_what_suits_it_on_the_validation_part(folder):
    tried = at_best.try_smoothings(folder, scorer)
    assert set(tried.subject) == {"p0", "p1"} and set(tried.post) == set(POST) and set(tried.order) == {ERODE_FIRST}
    choices = at_best.choose(at_best.means_of(tried)).set_index("method")
    assert choices.post["clean"] == "none" and choices.post["l1"].startswith("gauss")
    assert (choices.val_at_best > choices.val_protocol).all() and choices.val_at_best["clean"] == 1
    orders = at_best.try_orders(folder, scorer, choices.reset_index())
    assert set(orders.method) == {"l1"} and set(orders.order) == {ERODE_LAST}, "without a smoothing there is no order"
    unsmoothed = pd.DataFrame([{"method": "clean", "post": "none", "order": ERODE_FIRST}])
    assert at_best.try_orders(folder, scorer, unsmoothed).empty


def test_a_choice_is_over_all_sets_with_equal_weight():
    """Ten patients of one set don't outvote one of another; a tie goes to the protocol's."""
    rows = [("ms", f"a{i}", "none", 0.5) for i in range(10)] + [("ms", f"a{i}", "gauss 1", 0.4) for i in range(10)]
    rows += [("wmh", "b", "none", 0.1), ("wmh", "b", "gauss 1", 0.3)]
    rows += [(name, subject, "median 5", 0.35) for name, subject, post, _ in rows if post == "none"]
    table = pd.DataFrame(rows, columns=["dataset", "subject", "post", "auprc"]).assign(method="l1", order=ERODE_FIRST)
    (row,) = at_best.choose(at_best.means_of(table)).to_dict("records")
    assert row["post"] == "median 5" and row["val_at_best"] == row["val_protocol"] == pytest.approx(0.35)
    table.loc[table.post == "gauss 1", "auprc"] += 0.01
    assert at_best.choose(at_best.means_of(table)).post.item() == "gauss 1"


def test_both_columns_are_judged_by_definition(folder):
    choices = pd.DataFrame([{"method": "l1"} | OWN, {"method": "clean"} | PROTOCOL])
    tried = pd.concat([at_best.try_smoothings(folder, scorer), at_best.try_orders(folder, scorer, choices)])
    both = pd.concat([at_best.validation_scores(tried, choices), at_best.score_test(folder, scorer, choices)])
    assert both.groupby("split").subject.unique().map(list).to_dict() == {"val": ["p0", "p1"], "test": ["p2", "p3"]}
    assert sorted(both.method.unique()) == ["clean", "l1", "l1 smoothed"]
    by = both.set_index(["subject", "method"])
    for case in read_cases(folder):
        noisy = scorer(case)["l1"][0, 0].numpy()

        def score(noisy=noisy, case=case, **variant):
            return average_precision(postprocess(noisy, case.mask, **variant), case.seg, case.scored)

        assert by.protocol[case.subject, "l1"] == score()
        assert by.at_best[case.subject, "l1"] == score(**OWN)
        smoothed = by.loc[case.subject, "l1 smoothed"]
        assert smoothed.protocol == smoothed.at_best == score(post="gauss 1", order=ERODE_FIRST)
    assert (by.protocol == by.at_best).xs("clean", level="method").all()


def test_windows_are_named_by_the_validation_part():
    rows = [
        ("ms", "val", "ssim 0.3", 0.5, 0.1), ("ms", "val", "ssim 1.1", 0.2, 0.4), ("ms", "val", "l1", 0.9, 0.9),
        ("ms", "test", "ssim 0.3", 0.01, 0.02), ("ms", "test", "ssim 1.1", 0.03, 0.04),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["dataset", "split", "method", "protocol", "at_best"]).assign(subject="a")
    test = at_best.with_windows(table).query("split == 'test'").set_index("method")
    assert tuple(test.loc["ssim default", ["protocol", "at_best"]]) == (0.03, 0.04), "1.1 is nearest to 1.5"
    assert tuple(test.loc["ssim best", ["protocol", "at_best"]]) == (0.01, 0.04), "each column has its own best"
    frozen = {("ms", "protocol"): "ssim 1.1", ("ms", "at_best"): "ssim 0.3"}
    test = at_best.with_windows(table, frozen).query("split == 'test'").set_index("method")
    assert tuple(test.loc["ssim best", ["protocol", "at_best"]]) == (0.03, 0.02)


def test_the_scorer_has_every_score(folder):
    maps = torch.zeros(3, 13, 13, 6), torch.ones(3, 13, 13, 6)
    calibration = Calibration((0.3, 0.7), (26, 26, 12), *maps, level=0.1, scans=2)
    options = {"sigmas": [0.3, 0.7], "temperature": 1.0, "windows": [0.3, 1.1]}
    names = ["intensity", "l1", "ssim 0.3", "ssim 1.1", "mean", "min", "adaptive", "l1 calibrated", "calibrated"]
    case = next(read_cases(folder))
    assert [*at_best.scorer_of("t2", calibration, blur=None, **options)(case)] == names
    maps = at_best.scorer_of("t2", calibration, blur=2, **options)(case)
    assert "blur" in maps and {anomaly.shape for anomaly in maps.values()} == {(1, 1, 26, 26, 12)}


def test_a_set_without_a_validation_part_is_one_sentence(tmp_path):
    x, y, _ = (volume[0, 0].numpy() for volume in pair((12, 12, 8)))
    folder = write_cases(tmp_path / "x", {"a": ("test", x, y, np.ones((12, 12, 8), bool), np.zeros((12, 12, 8), bool))})
    with pytest.raises(ValueError, match="has no validation cases; post-processing is chosen on a labelled"):
        at_best.try_smoothings(folder, scorer)


def test_calibrated_l1_on_another_grid_is_one_sentence():
    maps = torch.ones(1 + len(SIGMAS), 8, 8, 8)
    calibration, x = Calibration(SIGMAS, (16, 16, 16), maps, maps, level=0.3, scans=4), torch.rand(1, 1, 12, 16, 16)
    with pytest.raises(ValueError, match=r"the calibration is for volumes of \[16, 16, 16\], x has \[12, 16, 16\]"):
        calibrated_l1(x, x, calibration)


def test_calibrated_l1_is_the_calibrated_map_of_one_difference():
    rng = np.random.default_rng(0)
    x, y = (torch.from_numpy(rng.random((1, 1, 16, 16, 16), np.float32)) for _ in range(2))
    mean, sd = torch.full((9, 8, 8, 8), 0.1), torch.full((9, 8, 8, 8), 0.2)
    sd[1:], mean[1:] = 1e6, 0  # SSIM's differences count for nothing, l1 for half
    calibration = Calibration(SIGMAS, (16, 16, 16), mean, sd, level=0.3, scans=4)
    alone, whole = calibrated_l1(x, y, calibration), calibrated_map(x, y, calibration, backend="torch")
    torch.testing.assert_close(alone, 2 * whole, atol=1e-4, rtol=1e-4)
    assert (alone == 0).any() and (alone > 1).any()
