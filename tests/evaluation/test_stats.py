"""Intervals and paired tests: independent implementations, brute force, simulation, edge cases."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from essim.evaluation.stats import MARGIN, age_group, holm, interval, mean_with_interval, paired_tests

NEITHER = "no clear difference"

# Intervals


def bca(values, resamples, seed):
    """Efron's BCa interval of the mean at 95 %, from the textbook's formulas."""
    rng = np.random.default_rng(seed)
    means = np.sort(rng.choice(values, (resamples, len(values))).mean(1))
    bias = stats.norm.ppf((means < values.mean()).mean() + (means == values.mean()).mean() / 2)
    without = np.array([np.delete(values, i).mean() for i in range(len(values))])
    away = without.mean() - without
    acceleration = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    z = bias + stats.norm.ppf([0.025, 0.975])
    return np.quantile(means, stats.norm.cdf(bias + z / (1 - acceleration * z)))


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_the_interval_is_bca(seed):
    values = np.random.default_rng(seed).lognormal(size=12 + seed)
    low, high = interval(values, resamples=20_000)
    expected = bca(values, 20_000, seed + 100)
    width = high - low
    np.testing.assert_allclose((low, high), expected, atol=0.03 * width)  # the bootstrap's own noise
    plain = np.quantile(np.random.default_rng(0).choice(values, (20_000, len(values))).mean(1), [0.025, 0.975])
    assert high - plain[1] > 0.05 * width, "moved towards the long tail"


def test_the_interval_holds_the_mean_of_skewed_scores_about_as_often_as_it_says():
    rng, truth, hits = np.random.default_rng(0), np.exp(0.5), 0
    for _ in range(400):
        low, high = interval(rng.lognormal(size=25), resamples=400)
        hits += low <= truth <= high
    # 25 values are few for so long a tail: BCa covers 86 % here instead of 95 %; sampling error 0.017
    assert 0.81 < hits / 400 < 0.97


def test_a_higher_level_is_wider_and_a_seed_is_repeatable():
    values = np.random.default_rng(1).random(16)
    low, high = interval(values)
    assert interval(values, level=0.99)[0] < low < values.mean() < high < interval(values, level=0.99)[1]
    assert interval(values) == (low, high) != interval(values, seed=1)


def test_intervals_of_what_says_little():
    assert interval([0.3] * 5) == (0.3, 0.3)
    assert interval([0.1 + 0.2, 0.3, 0.3]) == pytest.approx((0.3, 0.3), abs=1e-15)
    assert interval([0, 0, 0]) == (0, 0)
    for few in ([], [1], [1, 2], [1, 2, np.nan]):
        assert np.isnan(interval(few)).all()
    assert np.isfinite(interval([0, 0, 1])).all()
    assert interval([1, 2, np.nan, 4, np.nan]) == interval([1, 2, 4])


def test_means_with_intervals():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"method": ["b"] * 6 + ["a"] * 6, "sigma": [np.nan] * 6 + [0.3] * 6})
    frame["auprc"], frame["dice"] = rng.random((2, 12))
    frame.loc[2, "dice"] = np.nan
    table = mean_with_interval(frame, ["method", "sigma"], ["auprc", "dice"])
    scores = [f"{score}{end}" for score in ("auprc", "dice") for end in ("", "_low", "_high")]
    assert list(table.columns) == ["method", "sigma", *scores, "subjects"]
    assert list(table.method) == ["b", "a"] and list(table.subjects) == [6, 6]
    assert table.auprc[0] == frame.auprc[:6].mean() and table.dice[0] == frame.dice[:6].mean()
    assert (table.dice_low[0], table.dice_high[0]) == interval(frame.dice[:6])
    assert (table.auprc_low < table.auprc).all() and (table.auprc < table.auprc_high).all()
    empty = mean_with_interval(frame.assign(dice=np.nan), ["method"], ["dice"])
    assert empty[["dice", "dice_low", "dice_high"]].isna().all(axis=None) and list(empty.subjects) == [6, 6]


# Paired tests


def long(dataset="ms", split="test", **methods):
    """The table of `score_set` from {method: scores}."""
    rows = [
        {"dataset": dataset, "subject": f"s{i}", "split": split, "method": method, "auprc": value}
        for method, values in methods.items()
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def flips(gains):
    """p of the mean under every choice of signs, two-sided."""
    every = np.array([*itertools.product((1, -1), repeat=len(gains))])
    return np.mean(np.abs(every @ gains) >= abs(sum(gains)) - 1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_permutation_test_tries_every_sign(seed):
    rng = np.random.default_rng(seed)
    gains = rng.normal(0.5, 1, 8).round(1 if seed % 2 else 8)  # rounded: ties, zeros
    row = paired_tests(long(a=gains, b=np.zeros(8)), "a", ["b"]).iloc[0]
    assert row.p_permutation == pytest.approx(flips(gains), abs=1e-12)


def test_many_subjects_take_random_signs():
    gains = np.random.default_rng(0).normal(0.4, 1, 16)
    table = paired_tests(long(a=gains, b=np.zeros(16)), "a", ["b"])
    assert table.p_permutation.item() == pytest.approx(flips(gains), abs=4 * np.sqrt(0.25 / 10_000))
    assert table.equals(paired_tests(long(a=gains, b=np.zeros(16)), "a", ["b"])), "always the same"
    assert paired_tests(long(a=np.ones(16), b=np.zeros(16)), "a", ["b"]).p_permutation.item() == 2 / 10_001


def test_wilcoxon_by_hand():
    # ranks 1, 2, 3, 4, 5; only the smallest is a loss. Rank sums of the losses up to 1: {}, {1} of 32 sign patterns
    row = paired_tests(long(a=[-0.1, 0.2, 0.3, 0.4, 0.5], b=[0] * 5), "a", ["b"]).iloc[0]
    assert row.p_wilcoxon == pytest.approx(2 * 2 / 32)
    assert row.rank_biserial == pytest.approx((14 - 1) / 15)
    assert (row.better, row.subjects) == (0.8, 5)
    gains = np.array([-0.1, 0.2, 0.3, 0.4, 0.5])
    assert row.gain == pytest.approx(0.26) and row.effect == pytest.approx(gains.mean() / gains.std(ddof=1))
    assert (row.gain_low, row.gain_high) == interval(gains)


@pytest.mark.parametrize("count", [9, 16])
def test_wilcoxon_is_scipys(count):
    rng = np.random.default_rng(count)
    for gains in (rng.normal(0.3, 1, count), rng.normal(0.3, 1, count).round(1) * (rng.random(count) > 0.2)):
        row = paired_tests(long(a=gains, b=np.zeros(count)), "a", ["b"]).iloc[0]
        assert row.p_wilcoxon == pytest.approx(stats.wilcoxon(gains, zero_method="pratt").pvalue, abs=1e-12)


def test_zeros_are_ranked_and_then_left_out():
    row = paired_tests(long(a=[0, -0.1, 0.2, 0.3], b=[0] * 4), "a", ["b"]).iloc[0]
    assert row.rank_biserial == pytest.approx((3 + 4 - 2) / 9)  # the zero has rank 1
    # of the 8 sign patterns of ranks 2, 3, 4 (in halves, for the zero has none): sums of losses {0, 2, 3, ...}
    assert row.p_wilcoxon == pytest.approx(2 * 2 / 8)


def test_holm_by_hand():
    rng = np.random.default_rng(3)
    base = rng.random(10)
    others = {f"o{i}": base - shift - 0.1 * rng.standard_normal(10) for i, shift in enumerate((0.2, 0.1, 0.03, 0.0))}
    two = pd.concat([long(a=base, **others), long("wmh", a=base, **others)])
    table = paired_tests(two, "a", list(others))
    assert list(table.dataset) == ["ms"] * 4 + ["wmh"] * 4 and list(table.other) == [*others] * 2
    for test in ("p_wilcoxon", "p_permutation"):
        p = table[test].to_numpy()
        order, highest, expected = np.argsort(p, kind="stable"), 0, np.empty(8)
        for place, which in enumerate(order):
            highest = max(highest, min(1, p[which] * (8 - place)))
            expected[which] = highest
        np.testing.assert_allclose(table[f"{test}_holm"], expected)
        np.testing.assert_array_equal(table[f"{test}_holm"], multipletests(p, method="holm")[1])
    assert holm([0.5, 0.2, 0.2]).tolist() == pytest.approx([0.6, 0.6, 0.6])
    alone = paired_tests(long(a=base, **others), "a", list(others))
    assert (alone.p_permutation_holm <= table.p_permutation_holm[:4]).all() and not alone.equals(table[:4])


def test_the_verdict():
    rng = np.random.default_rng(0)
    base = rng.random(12)
    methods = {"worse": base - 0.3, "better": base + 0.3, "like": base + 0.2 * rng.standard_normal(12)}
    table = paired_tests(long(a=base, **methods), "a", ["worse", "better", "like"])
    assert list(table.verdict) == ["better", "worse", "no clear difference"]
    assert list(table.better[:2]) == [1, 0] and list(table.rank_biserial[:2]) == [1, -1]
    assert table.effect[:2].isna().all(), "equal differences have no spread to measure by"


def test_no_clear_difference_is_not_equivalence():
    """Equivalence needs the interval to lie within the margin; few patients can't show it."""
    rng = np.random.default_rng(0)
    base, noise = rng.random(24), rng.standard_normal(24)
    noise -= noise.mean()
    methods = {"near": base + 0.02 * noise, "far": base + 0.2 * noise, "shifted": base + 0.015 + 0.05 * noise}
    table = paired_tests(long(a=base, **methods), "a", list(methods)).set_index("other")
    assert table.verdict.to_dict() == {"near": "equivalent", "far": NEITHER, "shifted": NEITHER}
    assert -MARGIN < table.gain_low.near < 0 < table.gain_high.near < MARGIN
    assert table.gain_low.shifted < -MARGIN, "a mean within the margin isn't enough"
    small = paired_tests(long(a=base, b=base + 0.01), "a", ["b"]).iloc[0]
    assert small.verdict == "worse", "small, but sure"


@pytest.mark.parametrize("count", [3, 16])  # all signs are tried, or a sample of them
def test_no_difference_at_all(count):
    same = np.linspace(0.3, 0.1, count)
    row = paired_tests(long(a=same, b=same), "a", ["b"]).iloc[0]
    assert (row.gain, row.p_wilcoxon, row.p_permutation, row.rank_biserial, row.better) == (0, 1, 1, 0, 0)
    assert (row.gain_low, row.gain_high, row.verdict) == (0, 0, "equivalent") and np.isnan(row.effect)


def test_one_subject_says_nothing():
    row = paired_tests(long(a=[0.9], b=[0.1]), "a", ["b"]).iloc[0]
    assert (row.p_wilcoxon, row.p_permutation, row.subjects, row.verdict) == (1, 1, 1, "no clear difference")
    assert np.isnan([row.gain_low, row.gain_high, row.effect]).all()


def test_only_test_patients_with_both_scores_count():
    scores = long(a=[0.5, 0.6, 0.7, np.nan], b=[0.1, 0.3, 0.2, 0.2])
    scores = scores[~((scores.method == "b") & (scores.subject == "s2"))]
    scores = pd.concat([scores, long(split="val", a=[9.0] * 5, b=[0.0] * 5)])
    row = paired_tests(scores, "a", ["b"]).iloc[0]
    assert row.subjects == 2 and row.gain == pytest.approx((0.4 + 0.3) / 2)
    with pytest.raises(ValueError, match="no test patient has both 'a' and 'c'"):
        paired_tests(scores, "a", ["b", "c"])


@pytest.mark.parametrize("ages", [[39.9, 40, 59.9, 60, np.nan], ["39.9", "40", "59.9", "60", ""]])
def test_ages_are_known_or_not(ages):
    groups = age_group(pd.Series([*ages, "90+"]))
    assert groups[:4].tolist() == ["< 40", "40 to 59", "40 to 59", "60 +"] and groups[4:].isna().all()
    assert list(groups.cat.categories) == ["< 40", "40 to 59", "60 +"]
