"""Which lesions are found: hand-counted cases, the matching written independently, a blur that finds nothing."""

import numpy as np
import pytest
import SimpleITK as sitk
from lesion_volumes import EVERYTHING, NOTHING, SHAPE, TWO, blobs, cubes, same
from scipy import ndimage

from essim.evaluation.detection import (
    detect,
    matched,
)
from essim.postprocess import connected_components


def counts(prediction, seg, scored=None):
    """(lesions, found, predicted, false positives), (sensitivity, precision, F1)."""
    found = detect(prediction, seg, np.ones(seg.shape, bool) if scored is None else scored)
    integers = tuple(found[key] for key in ("lesions", "found", "predicted", "false_positives"))
    return integers, tuple(found[key] for key in ("sensitivity", "precision", "f1"))


# Hand-counted


def test_nothing_to_find_and_nothing_predicted_is_right():
    whole, shares = counts(NOTHING, NOTHING)
    assert whole == (0, 0, 0, 0)
    same(shares, (np.nan, np.nan, 1))


def test_nothing_to_find_and_something_predicted():
    whole, shares = counts(TWO, NOTHING)
    assert whole == (0, 0, 2, 2)
    same(shares, (np.nan, 0, 0))


def test_nothing_predicted():
    whole, shares = counts(NOTHING, TWO)
    assert whole == (2, 0, 0, 0)
    same(shares, (0, np.nan, 0))


def test_all_lesion_and_all_predicted():
    assert counts(EVERYTHING, EVERYTHING) == ((1, 1, 1, 0), (1, 1, 1))
    assert counts(EVERYTHING, TWO) == ((2, 0, 1, 1), (0, 0, 0)), "marking everything locates nothing"


def test_a_tenth_of_either_is_enough():
    """|both| / |either| of a cube of 8 voxels: with 1 of them 1/8; within 80 voxels 1/10, within 81 less."""
    assert counts(cubes((3, 3, 3), side=1), TWO) == ((2, 1, 1, 0), (0.5, 1, pytest.approx(2 / 3)))
    assert counts(cubes((4, 4, 4), side=1), TWO)[0] == (2, 0, 1, 1), "touching by a corner is not enough"
    lesion, around = cubes((2, 2, 2)), np.zeros(SHAPE, bool)
    around[2:6, 2:6, 2:7] = True  # 4 x 4 x 5 = 80
    assert counts(around, lesion)[0] == (1, 1, 1, 0)
    around[6, 2, 2] = True
    assert counts(around, lesion)[0] == (1, 0, 1, 1)


def test_a_prediction_that_bridges_two_lesions_finds_one():
    bridge = TWO.copy()
    bridge[2:12, 2, 2] = True
    assert counts(bridge, TWO) == ((2, 1, 1, 0), (0.5, 1, pytest.approx(2 / 3)))


def test_two_parts_in_one_lesion_find_one():
    lesion = cubes((2, 2, 2), side=4)  # 64 voxels
    parts = cubes((2, 2, 2), (4, 4, 4), (14, 14, 12))
    assert counts(parts, lesion)[0] == (1, 1, 2, 1), "the first two touch by a corner: one component"
    apart = cubes((2, 2, 2)) | cubes((5, 2, 2), side=1) | cubes((14, 14, 12))
    assert counts(apart, lesion) == ((1, 1, 3, 2), (1, pytest.approx(1 / 3), pytest.approx(0.5)))


def test_the_better_partner_comes_first():
    """One component overlaps two lesions, another the first only: matched so that the larger overlap counts."""
    seg = cubes((2, 2, 2), side=3) | cubes((2, 6, 2), side=3)
    prediction = cubes((2, 6, 2), side=3)
    prediction[2:5, 4:6, 2:5] = True  # the second lesion, and a third of the first
    prediction[2:5, 2, 2:5] = True
    labels, _ = connected_components(seg)
    parts, _ = connected_components(prediction)
    whole, other = parts[3, 6, 3], parts[3, 2, 3]
    assert whole != other and matched(labels, parts) == {labels[3, 6, 3]: whole, labels[3, 2, 3]: other}


def test_a_blur_in_one_piece_finds_nothing():
    """Many small lesions and a smooth map over half of the brain: every lesion touched, and none located."""
    rng = np.random.default_rng(0)
    seg = np.zeros((40, 40, 30), bool)
    for corner in rng.integers(4, 25, (12, 3)):
        seg[tuple(slice(c, c + 2) for c in corner)] = True
    blur = ndimage.gaussian_filter(seg.astype(float), 6)
    prediction = blur > np.quantile(blur, 0.5)
    score = detect(prediction, seg, np.ones(seg.shape, bool))
    touched = len(np.unique(connected_components(seg)[0][seg & prediction]))
    assert touched == score["lesions"] > 5 and score["predicted"] == 1
    assert (score["found"], score["f1"], score["bloated"]) == (0, 0, 1)


def test_more_than_ten_times_the_lesions_is_said():
    block = np.zeros(SHAPE, bool)
    block[:8, :10, :2] = True  # 160 voxels; TWO has 16
    everything = np.ones(SHAPE, bool)
    assert detect(block, TWO, everything)["bloated"] == 0
    block[8, 0, 0] = True
    assert detect(block, TWO, everything)["bloated"] == 1
    assert detect(NOTHING, TWO, everything)["bloated"] == 0 and np.isnan(detect(block, NOTHING, everything)["bloated"])


def test_what_does_not_count_is_neither_found_nor_false():
    scored = EVERYTHING.copy()
    scored[9:] = False
    outside = cubes((14, 14, 12))
    assert counts(outside, TWO, scored)[0] == (1, 0, 0, 0)
    assert counts(outside | TWO, TWO, scored) == ((1, 1, 1, 0), (1, 1, 1))
    torn = EVERYTHING.copy()
    torn[5] = False  # an ignored plane cuts a component in two, as in the challenge
    assert counts(cubes((3, 3, 3), side=5), NOTHING, torn)[0] == (0, 0, 2, 2)


def test_components_touch_by_corners():
    assert counts(NOTHING, cubes((2, 2, 2), (4, 4, 4)))[0][0] == 1
    assert counts(NOTHING, cubes((2, 2, 2), (5, 4, 4)))[0][0] == 2


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="one shape, got"):
        detect(NOTHING, NOTHING, NOTHING[1:])


# The rule, written independently


def labelled(volume):
    image = sitk.GetImageFromArray(volume.astype(np.uint8))
    return sitk.GetArrayFromImage(sitk.ConnectedComponent(image, True))


def one_by_one(prediction, seg):
    """(recall, F1): of all pairs of components, the best is taken out again and again, until none is good enough."""
    truth, parts = labelled(seg), labelled(prediction)
    lesions, predicted, found = set(np.unique(truth)) - {0}, set(np.unique(parts)) - {0}, 0
    count = len(lesions) + len(predicted)
    overlap = {}
    for pair in ((a, b) for a in lesions for b in predicted):
        a, b = truth == pair[0], parts == pair[1]
        overlap[pair] = (a & b).sum() / (a | b).sum()
    while overlap and max(overlap.values()) >= 0.1:
        best = max(overlap, key=overlap.get)
        overlap = {pair: value for pair, value in overlap.items() if pair[0] != best[0] and pair[1] != best[1]}
        found += 1
    return found / len(lesions), 2 * found / count


@pytest.mark.parametrize("seed", range(8))
def test_the_rule(seed):
    rng = np.random.default_rng(seed)
    seg = blobs(rng, 0.03)
    prediction = blobs(rng, 0.05) | (np.roll(seg, 1, axis=0) & (rng.random(SHAPE) > 0.6))
    ours = detect(prediction, seg, EVERYTHING)
    assert 0 < ours["found"] < ours["lesions"] and 0 < ours["false_positives"] < ours["predicted"]
    same((ours["sensitivity"], ours["f1"]), one_by_one(prediction, seg))
