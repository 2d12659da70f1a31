"""Metrics: hand-counted cases, scikit-learn, brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from essim.evaluation.metrics import Pooled, average_precision, best_dice, dice, fit_threshold, precision_at

# few distinct values: many ties
SCORES = st.lists(st.integers(0, 5), min_size=1, max_size=24)


def brute_force(score, label):
    """The best Dice over every threshold that can matter: below each distinct score, and above all."""
    values = np.unique(score)
    thresholds = np.concatenate([[values[0] - 1], (values[1:] + values[:-1]) / 2, [values[-1]]])
    return max(dice(score > t, label) for t in thresholds)


def draw(seed, size, values=6, prevalence=0.2):
    rng = np.random.default_rng(seed)
    label = rng.random(size) < prevalence
    label.flat[0] = True
    return (rng.integers(0, values, size) + 2 * label * (rng.random(size) < 0.5)).astype(np.float32), label


def test_average_precision_by_hand():
    # ranked: hit, miss, hit, miss; precision at the hits 1/1 and 2/3, each adds recall 1/2
    assert average_precision(np.array([4.0, 3, 2, 1]), np.array([1, 0, 1, 0])) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    # a tie of one hit and one miss: precision 1/2 where both come in, then 2/3
    assert average_precision(np.array([2.0, 2, 1]), np.array([1, 0, 1])) == pytest.approx(0.5 * 0.5 + 0.5 * 2 / 3)
    # an uninformative score: the prevalence
    assert average_precision(np.zeros(10), np.arange(10) < 3) == pytest.approx(0.3)
    assert average_precision(np.arange(10.0), np.arange(10) > 6) == 1


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_scikit_learns(seed):
    score, label = draw(seed, (6, 7, 8), values=40)
    mask = np.random.default_rng(seed).random(score.shape) < 0.7
    expected = average_precision_score(label[mask], score[mask])
    assert average_precision(score, label, mask) == pytest.approx(expected, abs=1e-12)
    tensors = [torch.from_numpy(a) for a in (score, label, mask)]
    assert average_precision(*tensors) == pytest.approx(expected, abs=1e-12)
    # what lies outside the mask doesn't count
    assert average_precision(np.where(mask, score, 1e6), label, mask) == pytest.approx(expected, abs=1e-12)
    assert average_precision(score, label) != pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_precision_is_read_where_a_recall_is_first_reached(kind):
    # ranked: hit, miss, hit, miss, hit; recalls 1/3, 2/3, 1 at 1, 3 and 5 marked voxels
    score, label = np.array([5, 4, 3, 2, 1], kind), np.array([1, 0, 1, 0, 1])
    assert precision_at(score, label, [0.1, 1 / 3, 0.34, 2 / 3, 1]) == pytest.approx([1, 1, 2 / 3, 2 / 3, 3 / 5])
    assert precision_at(score - 3, label, [0.5], label < 2) == pytest.approx([2 / 3])  # zero and negative scores
    assert np.isnan(precision_at(score, 0 * label, [0.5, 1])).all()
    assert precision_at(np.ones(4, kind), np.array([1, 0, 0, 0]), [0.5]) == pytest.approx([0.25])


@settings(max_examples=60, deadline=None)
@given(SCORES, st.data())
def test_float32_and_float64_rank_alike(values, data):
    score = np.array(values) / 4 - 0.5
    label = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    label[0] = True
    both = [score.astype(np.float32), score.astype(np.float64)]
    assert average_precision(both[0], label) == average_precision(both[1], label)
    assert best_dice(both[0], label)[0] == best_dice(both[1], label)[0]
    assert average_precision(both[0], label) == pytest.approx(average_precision_score(label, score), abs=1e-12)


def test_dice_by_hand():
    prediction, label = np.array([1, 1, 0, 0, 1], bool), np.array([1, 0, 1, 0, 1], bool)
    assert dice(prediction, label) == pytest.approx(2 * 2 / (3 + 3))
    assert dice(prediction, label, np.array([1, 1, 1, 1, 0], bool)) == pytest.approx(2 * 1 / (2 + 2))
    assert dice(prediction, label) == pytest.approx(f1_score(label, prediction))
    assert dice(np.zeros(4, bool), np.zeros(4, bool)) == 1
    assert dice(np.zeros(4, bool), np.array([0, 1, 0, 0], bool)) == 0
    assert dice(np.array([0, 1, 0, 0], bool), np.zeros(4, bool)) == 0


@given(SCORES, st.data())
@settings(max_examples=80, deadline=None, derandomize=True)
def test_best_dice_is_brute_force(score, data):
    label = np.array(data.draw(st.lists(st.booleans(), min_size=len(score), max_size=len(score))))
    score = np.array(score, np.float32)
    found, threshold = best_dice(score, label)
    assert found == pytest.approx(brute_force(score, label), abs=1e-12)
    assert dice(score > threshold, label) == pytest.approx(found, abs=1e-12)  # the threshold does what it says


def test_best_dice_by_hand():
    score, label = np.array([5.0, 4, 3, 2, 1]), np.array([1, 0, 1, 0, 0])
    # best is the top three: 2 * 2 / (3 + 2)
    assert best_dice(score, label) == (pytest.approx(0.8), 2.0)
    assert best_dice(np.array([3.0, 2, 1]), np.array([1, 0, 0])) == (1.0, 2.0)
    # two thresholds tie at 2/3 (top 1: 2/3; top 4: 4/6): the higher one
    assert best_dice(np.array([4.0, 3, 2, 1]), np.array([1, 0, 0, 1])) == (pytest.approx(2 / 3), 3.0)
    # everything must be marked: the threshold lies below the lowest score, just
    value, threshold = best_dice(np.array([1.0, 1, 1], np.float32), np.ones(3))
    assert value == 1
    assert threshold < 1
    assert threshold == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, bool, np.float16, np.float64])
def test_scores_of_any_type(dtype):
    score, label = draw(5, 200, values=2)
    score = (score > 1).astype(dtype) if dtype is bool else score.astype(dtype)
    reference = score.astype(np.float64)
    assert best_dice(score, label)[0] == pytest.approx(best_dice(reference, label)[0], abs=1e-12)
    assert average_precision(score, label) == pytest.approx(average_precision(reference, label), abs=1e-12)


def test_mask_is_respected_by_best_dice():
    score, label = draw(1, (5, 6, 7))
    mask = np.zeros(score.shape, bool)
    mask[1:4] = True
    assert best_dice(score, label, mask) == best_dice(score[1:4], label[1:4])
    assert best_dice(*(torch.from_numpy(a) for a in (score, label, mask))) == best_dice(score, label, mask)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_fit_threshold_pools_all_voxels(seed):
    volumes = [draw(seed + i, shape) for i, shape in enumerate([(3, 4, 2), (2, 3, 3), (5, 1, 2)])]
    masks = [np.random.default_rng(seed + i).random(s.shape) < 0.8 for i, (s, _) in enumerate(volumes)]
    threshold = fit_threshold([s for s, _ in volumes], [label for _, label in volumes], masks)
    score = np.concatenate([s[m] for (s, _), m in zip(volumes, masks, strict=True)])
    label = np.concatenate([v[m] for (_, v), m in zip(volumes, masks, strict=True)])
    best = brute_force(score, label) if label.any() else 1
    assert dice(score > threshold, label) == pytest.approx(best, abs=1e-12)


def test_fit_threshold_is_not_the_mean_of_the_volumes_own():
    one, two = np.array([4.0, 3, 2, 1]), np.array([40.0, 30, 20, 10])
    labels = [np.array([1, 0, 0, 0]), np.array([1, 1, 1, 0])]
    # apart: 3 and 10; pooled ranking 40+ 30+ 20+ 10- 4+ 3- 2- 1-: best are the top five
    assert [best_dice(s, v)[1] for s, v in zip((one, two), labels, strict=True)] == [3, 10]
    assert fit_threshold([one, two], labels, [None, None]) == 3


def test_no_positive_voxel():
    score, label = np.array([3.0, 1, 2]), np.zeros(3)
    with pytest.warns(UserWarning, match="no positive voxel"):
        assert np.isnan(average_precision(score, label))
    assert best_dice(score, label) == (1.0, 3.0)
    assert best_dice(-score, label) == (1.0, -1.0)
    assert fit_threshold([score], [label], [None]) == 3.0
    # positives outside the mask don't count
    with pytest.warns(UserWarning, match="no positive voxel"):
        assert np.isnan(average_precision(score, [1, 0, 0], [0, 1, 1]))
    assert best_dice(np.zeros(0), np.zeros(0)) == (1.0, 0.0)


def test_errors():
    score, label = np.arange(4.0), np.array([0, 1, 0, 1])
    for bad in (np.nan, np.inf, -np.inf):
        broken = score.copy()
        broken[0] = bad
        for metric in (average_precision, best_dice):
            with pytest.raises(ValueError, match="NaN or infinite"):
                metric(broken, label)
        # outside the mask it does no harm
        assert best_dice(broken, label, np.array([0, 1, 1, 1])) == best_dice(score[1:], label[1:])
    with pytest.raises(ValueError, match="must have one shape"):
        average_precision(score, label[:3])
    with pytest.raises(ValueError, match=r"must have one shape, got \[\[4\], \[4\], \[2\]\]"):
        best_dice(score, label, np.ones(2))
    with pytest.raises(ValueError, match="no volumes"):
        fit_threshold([], [], [])


def pooled(volumes):
    result = Pooled()
    for score, label, mask in volumes:
        result.add(score, label, mask)
    return result


def test_pooled_is_the_exact_figure_where_no_two_scores_share_a_bin():
    """Scores that are 1 % apart, negative ones and zeros among them; three volumes with their masks."""
    rng = np.random.default_rng(0)
    volumes = []
    for seed in range(3):
        score, label = draw(seed, (6, 7, 8), values=40)
        score = np.where(score > 20, 1.01**score, 20 - score).astype(np.float32)
        volumes.append((score, label, rng.random(score.shape) < 0.7))
    score, label = (np.concatenate([v[i][v[2]] for v in volumes]) for i in (0, 1))
    ours = pooled(volumes)
    assert ours.prevalence() == pytest.approx(label.mean())
    assert ours.average_precision()[0] == pytest.approx(average_precision_score(label, score), abs=1e-12)
    value, threshold = ours.best_dice()
    assert value == pytest.approx(best_dice(score, label)[0], abs=1e-12)
    assert dice(score > threshold, label) == pytest.approx(value, abs=1e-12)
    for threshold, hits, marked in zip(*ours._ranked(), strict=True):
        assert (hits, marked) == ((label & (score > threshold)).sum(), (score > threshold).sum())


def test_pooled_says_how_far_off_it_may_be():
    rng = np.random.default_rng(1)
    label = rng.random(200_000) < 0.02
    score = (rng.gamma(2, 0.05, label.size) + 0.1 * label * rng.random(label.size)).astype(np.float32)
    score[: len(score) // 5] = 0  # the brain's rim
    value, bound = pooled([(score, label, None)]).average_precision()
    exact = average_precision(score, label)
    assert abs(value - exact) <= bound < 0.005
    fine, coarse = best_dice(score, label)[0], pooled([(score, label, None)]).best_dice()[0]
    assert coarse <= fine < coarse + 0.001


def test_pooled_hides_nothing_that_its_bound_doesnt_say():
    """All voxels in one bin: whatever their order, the bound covers it."""
    score = np.float32(1) + np.arange(8, dtype=np.float32) * 2**-20
    for label in (np.arange(8) > 5, np.arange(8) < 2):
        value, bound = pooled([(score, label, None)]).average_precision()
        assert abs(value - average_precision(score, label)) <= bound
        assert bound > 0.1


def test_pooled_without_lesions_and_without_voxels():
    nothing = pooled([(np.array([0.1, 0.5], np.float32), np.zeros(2, bool), None)])
    assert np.isnan(nothing.average_precision()).all()
    value, threshold = nothing.best_dice()
    assert value == 1 and threshold >= 0.5
    assert np.isnan(Pooled().prevalence()) and np.isnan(Pooled().average_precision()[0])


@settings(max_examples=60, deadline=None)
@given(SCORES, st.data())
def test_pooled_thresholds_mark_what_they_say(values, data):
    score = np.array(values, np.float32) - 2
    label = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    value, threshold = pooled([(score, label, None)]).best_dice()
    assert value == pytest.approx(brute_force(score, label))
    assert dice(score > threshold, label) == pytest.approx(value)
