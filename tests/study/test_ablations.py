"""One choice changed: what is tried, and how it is scored."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import slab, write_cases

from essim.ensemble import ensemble_map, l1_map
from essim.evaluation.cases import Case
from essim.evaluation.scoring import score_set
from essim.postprocess import NO_EROSION
from essim.reconstruct import noise_seed, reconstruct_volume
from essim.study import ablations
from essim.study.ablations import (
    SPECKS,
    label,
    learned,
    over_draws,
    over_factors,
    over_steps,
    post_processing,
    score_variants,
    slicewise_map,
    window_sets,
)

SHAPE = (16, 14, 12)


@pytest.fixture
def case():
    image = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    mask = np.ones(SHAPE, bool)
    return Case("ms", "a", "val", image, np.zeros_like(image), mask, slab(3), mask, (2.0, 2.0, 2.0))


def scorer(case):
    x, y, _ = case.tensors()
    return {"l1": l1_map(x, y)}


# --- t


def models(folder, *ranges):
    for number, t_range in enumerate(ranges):
        (folder / f"t{number + 1}").mkdir()
        training = {"t_range": t_range, "timesteps": 1000}
        (folder / f"t{number + 1}/config.json").write_text(json.dumps({"training": training}))
    return [folder / f"t{number + 1}" for number in range(len(ranges))]


def test_steps_that_a_network_has_not_learned_are_left_out(tmp_path):
    two = models(tmp_path, [100, 700], [300, 900])
    known, sentence = learned(two, [[200], [300], [250, 500], [700], [701]])
    assert known == [[300], [700]]
    assert sentence.endswith("on t from 300 to 700; left out: t = 200; 250, 500; 701.") and str(two[1]) in sentence


def test_a_network_without_a_range_has_learned_every_step(tmp_path):
    assert learned(models(tmp_path, None), [[1], [1000]]) == ([[1], [1000]], "")


def test_no_step_that_is_learned_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="trained on t from 400 to 600, which covers none of `steps`; choose"):
        learned(models(tmp_path, [400, 600]), [[399], [500, 601]])


def test_over_steps_reconstructs_as_the_study_does(case, diffusion):
    variants = over_steps({"ms": diffusion}, scorer, [[500], [250, 500, 750]], predictions=3, seed=7)
    found = {label(value): anomaly for value, _, anomaly in variants(case)}
    for t, draws in (([500], 3), ([250, 500, 750], 1)):
        y = reconstruct_volume(diffusion, case.image, case.mask, t=t, draws=draws, seed=noise_seed(7, "a"))
        assert torch.equal(found[label(t)], scorer(replace(case, reconstruction=y))["l1"])


def test_predictions_must_be_shared_evenly(diffusion):
    with pytest.raises(ValueError, match="predictions must be a multiple of 3 to be shared by t = 250, 500, 750"):
        over_steps({"ms": diffusion}, scorer, [[250, 500, 750]], predictions=4, seed=0)


# --- noise draws


def test_the_first_n_draws_are_averaged(case, diffusion):
    """The score is x - y, from which the mean of the draws can be recovered."""

    def difference(case):
        x, y, _ = case.tensors()
        return {"raw": x - y}

    variants = list(over_draws({"ms": diffusion}, difference, [1, 2, 4], t=[500], seed=0)(case))
    maps = {label(value): anomaly for value, _, anomaly in variants}
    draws = [maps[f"draw {n}"] for n in (1, 2, 3, 4)]
    for n in (1, 2, 4):
        torch.testing.assert_close(maps[f"{n}"], torch.stack(draws[:n]).mean(0), rtol=0, atol=1e-6)
    assert (draws[0] - draws[1]).abs().max() > 1e-3, "another draw has different noise"


def test_single_draws_are_for_the_validation_part(case, diffusion):
    variants = over_draws({"ms": diffusion}, scorer, [1, 2], t=[500], seed=0)
    assert [value for value, _, _ in variants(replace(case, split="test"))] == [1, 2]


# --- windows


def test_window_sets():
    sets = window_sets([0.3, 0.5, 0.7], [1, 2, 3, 5], [0.7, 1.5])
    assert sets == {
        "3 windows": [0.3, 0.5, 0.7],
        "1 window": [0.5],
        "2 windows": [0.3, 0.7],
        "5 windows": [0.3, 0.4, 0.5, 0.6, 0.7],
        "up to \u03c3 = 1.5": [0.3, 0.9, 1.5],
    }


def test_flat_windows_score_slice_by_slice():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(1, 1, *SHAPE, generator=generator) for _ in range(2))
    y[..., 3] *= 0.1  # a slice whose range differs from the volume's
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[..., :4, :, :] = False
    options = {"sigmas": [0.5, 1.1], "temperature": 0.7}
    found = slicewise_map(x, y, mask=mask, **options)
    span = max((x.max() - x.min()).item(), (y.max() - y.min()).item())
    for z in range(SHAPE[2]):
        one = ensemble_map(x[..., z], y[..., z], mask=mask[..., z], data_range=span, **options)
        torch.testing.assert_close(found[..., z], one, rtol=0, atol=1e-6)
    volume = ensemble_map(x, y, mask=mask, **options)
    assert (found - volume).abs().max() > 0.01, "two dimensions are not three"


# --- resolution


def test_a_factor_of_one_changes_nothing(case):
    ((value, method, anomaly),) = over_factors(scorer, [1])(case)
    assert (value, method) == (1, "l1") and torch.equal(anomaly, scorer(case)["l1"])


def test_a_coarser_grid_costs_what_the_lesion_shares_with_its_neighbours(folder):
    """Slabs of 3, 4 and 5 voxels in pairs: an even one loses nothing, an odd one is half of its last pair."""

    def truth(case):
        return {"truth": torch.from_numpy(case.seg).float()[None, None]}

    options = {"order": NO_EROSION, "post": "none"}
    table = score_variants([folder], over_factors(truth, [1, 2]), **options).set_index(["subject", "value"]).auprc
    assert (table[:, "1"] == 1).all() and table["007", "2"] == 1
    for subject, width in (("b", 3), ("c", 5)):  # recall of the whole pairs at precision 1, then the mixed pair
        whole = (width - 1) / width
        assert table[subject, "2"] == pytest.approx(whole + (1 - whole) * width / (width + 1))


# --- scores


def test_variants_have_the_studys_score(folder):
    def variants(case):
        for gain in (1, 2.5):
            yield gain, "l1", scorer(case)["l1"] * gain

    table = score_variants([folder], variants)
    assert list(table.columns) == ["dataset", "subject", "split", "value", "method", "auprc"]
    wide = table.pivot(index="subject", columns="value", values="auprc")
    assert list(wide) == ["1", "2.5"]
    expected = score_set(folder, scorer).set_index("subject").auprc
    for value in wide:  # a gain preserves the order of the voxels
        pd.testing.assert_series_equal(wide[value], expected, check_names=False, check_like=True)


def test_post_processing_is_that_of_the_study(folder):
    table = post_processing([folder], scorer)
    kept = table[table.value == "as scored"].set_index("subject")
    expected = score_set(folder, scorer).set_index("subject")
    for score in ("auprc", "dice", "best_dice"):
        pd.testing.assert_series_equal(kept[score], expected[score], check_like=True)


def test_what_a_step_takes_away_comes_back_without_it(tmp_path):
    seg, mask = slab(2, shape=(52, 50, 6)), np.ones((52, 50, 6), bool)  # the erosion takes all of the lesion
    x, y = np.ones(seg.shape, np.float32), np.where(seg, 0, 1).astype(np.float32)
    cases = {"a": ("val", x, y, mask, seg), "b": ("test", x, y, mask, seg)}
    table = post_processing([write_cases(tmp_path / "cases", cases)], scorer).set_index(["subject", "value"]).auprc
    for subject in "ab":
        assert table[subject, "no erosion"] == table[subject, "no erosion, no median"] == 1
        assert table[subject, "as scored"] == table[subject, "no median"] == pytest.approx(seg.mean(), abs=1e-9)


def test_small_components_cost_dice(tmp_path, monkeypatch):
    """A median would remove a speck, so it is drawn after it: the study removes it, the other value keeps it."""
    zero, speck = np.zeros(SHAPE, np.float32), slab(4)
    speck[1, 1, 1:8] = True  # 7 voxels
    cases = {s: (split, zero, zero, np.ones(SHAPE, bool), slab(4)) for s, split in (("a", "val"), ("b", "test"))}
    folder = write_cases(tmp_path / "cases", cases)
    monkeypatch.setattr(ablations, "postprocess", lambda anomaly, mask, **_: speck.astype(np.float32))
    dice = post_processing([folder], scorer).groupby("value").dice.mean()
    lesion = 4 * 14 * 12
    assert dice["as scored"] == 1 and dice[SPECKS] == pytest.approx(2 * lesion / (2 * lesion + 7))
