"""Scores, labels and masks as people hand them over: the right number or one sentence, never 1.0 in silence."""

import numpy as np
import pytest
import torch

import essim

RNG = np.random.default_rng(0)
SCORE = RNG.random((8, 8, 8)).astype(np.float32)
LABEL = RNG.random((8, 8, 8)) > 0.8
MASK = np.arange(512).reshape(8, 8, 8) % 3 > 0
METRICS = {
    "average_precision": essim.average_precision,
    "best_dice": essim.best_dice,
    "fit_threshold": lambda score, label, mask=None: essim.fit_threshold([score], [label], [mask]),
}


@pytest.fixture(params=METRICS)
def metric(request):
    return METRICS[request.param]


@pytest.mark.parametrize(
    "as_given",
    [
        lambda a: a.tolist(),
        lambda a: a.astype(a.dtype.newbyteorder(">")),
        lambda a: torch.tensor(a),
        lambda a: torch.tensor(a, dtype=torch.float32, requires_grad=True),
        lambda a: np.ma.array(a),
        lambda a: a.astype(np.longdouble),
    ],
    ids=["lists", "big-endian", "tensors", "with gradients", "masked arrays without a mask", "longdouble"],
)
def test_what_is_taken(metric, as_given):
    expected = metric(SCORE, LABEL, MASK)
    assert metric(as_given(SCORE), as_given(LABEL), as_given(MASK)) == pytest.approx(expected, rel=1e-6)


def test_maps_of_half_precision_are_judged(metric):
    for kind in (torch.bfloat16, torch.float16):
        rounded = torch.tensor(SCORE).to(kind)
        assert metric(rounded, LABEL) == pytest.approx(metric(rounded.float(), LABEL), rel=1e-6)
    x, y = torch.rand(2, 1, 1, 16, 16, 16).bfloat16()
    assert 0 < essim.average_precision(essim.ensemble_map(x, y), x.float() > 0.9) <= 1


@pytest.mark.parametrize("mask", [255 * MASK.astype(np.uint8), 0.001 * MASK, np.where(MASK, 2, -1)])
def test_a_mask_is_what_is_above_zero(metric, mask):
    assert metric(SCORE, LABEL, mask) == metric(SCORE, LABEL, MASK)


@pytest.mark.parametrize(
    "label",
    [
        np.where(LABEL, 0.9, 0.0),
        np.where(LABEL, 0.9, 1e-6),
        np.where(LABEL, 0.8, 0.2),
        np.where(LABEL, 1, -1),
        255 * LABEL.astype(np.uint8),
        np.where(LABEL, np.nan, 0),
        SCORE,
    ],
    ids=["soft", "interpolated", "linear edge", "-1", "255", "NaN", "swapped"],
)
def test_labels_that_are_neither_0_nor_1(metric, label):
    with pytest.raises(ValueError, match="the label must be 0 or 1 in every voxel that counts; pass `label > 0`"):
        metric(SCORE, label)


def test_labels_outside_the_mask_may_be_anything(metric):
    assert metric(SCORE, np.where(MASK, LABEL, -1), MASK) == metric(SCORE, LABEL, MASK)
    assert metric(np.where(MASK, SCORE, np.nan), LABEL, MASK) == metric(SCORE, LABEL, MASK)


def test_words_gaps_and_shapes(metric):
    for label in (np.where(LABEL, "1", "0"), LABEL.astype(str), np.full(LABEL.shape, None)):
        with pytest.raises(ValueError, match="the label must have real numbers, got"):
            metric(SCORE, label)
    with pytest.raises(ValueError, match="the score is a masked array; pass its data, and its valid voxels"):
        metric(np.ma.array(SCORE, mask=~LABEL), LABEL)
    with pytest.raises(ValueError, match="the mask has NaN voxels; make it 0 or 1"):
        metric(SCORE, LABEL, np.where(MASK, 1, np.nan))
    with pytest.raises(ValueError, match="must have one shape"):
        metric(SCORE, LABEL[None])
