"""The self-test: lesions have the place and the size that it says, and are counted as it says."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from essim.cohort import mni, planting
from essim.cohort.generate import CohortConfig, grow_subject
from essim.data.volumes import preprocess
from essim.postprocess import erode_slices
from essim.prepare.registration import Placed
from essim.score import self_test as module
from essim.score.self_test import describe_test, draw_lesions, self_test
from essim.settings import Preprocessing

RECIPE = SimpleNamespace(
    contrast="t1", voxel_mm=4, preprocessing=Preprocessing(smooth=False, shape=(40, 44, 32), factor=1)
)


@pytest.fixture(scope="module")
def head():
    """A healthy head of 4 mm, placed and preprocessed, and an empty map of it."""
    grown = grow_subject(CohortConfig(train=2, voxel_mm=4), "healthy", 0)
    placed = Placed({"t1": grown["t1"].astype(np.float32)}, grown["mask"] > 0, None, mni.affine_of(4), {}, 0.9)
    no_lesion = np.zeros(placed.mask.shape, np.uint8)
    study = preprocess(placed.images["t1"], placed.mask, no_lesion, placed.affine, RECIPE.preprocessing, "scan")
    return placed, study, np.zeros(study.image.shape, np.float32)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(module, "PLANTED", 3)


@pytest.fixture
def planted(monkeypatch):
    """What is planted, in the order of planting: (look, truth)."""
    truths = []

    def spy(*arguments):
        changed, truth = planting.plant(*arguments)
        truths.append((arguments[3], truth))
        return changed, truth

    monkeypatch.setattr(module, "planting", SimpleNamespace(**{**vars(planting), "plant": spy}))
    return truths


def run(head, compare, threshold=0.5, seed=0, anomaly=None):
    placed, study, nothing = head
    anomaly = nothing if anomaly is None else anomaly
    return self_test(placed, study, anomaly, compare, RECIPE, threshold, seed, progress=False)


def everywhere(value):
    return lambda scan: (None, np.full(scan.image.shape, value, np.float32))


def test_all_or_nothing_is_found(head):
    """By a map that marks everything, and by one that marks nothing."""
    for value, share in ((1.0, 1), (0.0, 0)):
        rows = run(head, everywhere(value))
        assert [(row["look"], row["volume_ml"]) for row in rows] == [
            (look, ml) for look, sizes in module.SIZES_ML.items() for ml in sizes
        ]
        for row in rows:
            assert 0 < row["planted"] <= module.PLANTED
            assert row["found"] == share * row["planted"] and row["recovered"] == share


def test_what_differs_is_found_by_its_size(head):
    """By a map of what has changed: specks go, so that small ones are missed and large ones are not."""

    def changed(scan):
        return None, np.abs(scan.image - head[1].image)

    rows = run(head, changed, threshold=0.05)
    ms, stroke = ([row["recovered"] for row in rows if row["look"] == look] for look in ("ms", "stroke"))
    assert ms[0] == 0 and ms[-1] > 0.5 and stroke[-1] > 0.5
    assert rows == run(head, changed, threshold=0.05)


def test_lesions_lie_in_what_is_scored_and_not_marked(head, planted):
    placed, study, nothing = head
    half = nothing.copy()
    half[: study.image.shape[0] // 2] = 1  # the left of the brain is marked
    run(head, everywhere(0.0), anomaly=half)
    whole = np.zeros(placed.mask.shape, bool)
    whole[:, 2:46, 4:36] = erode_slices(study.mask)  # the crop, taken back
    assert {look for look, _ in planted} == {"ms", "stroke"}
    for _, truth in planted:
        assert truth.any() and not truth[~whole].any()
        assert not truth[: 20 + module.APART_MM // 4].any()


@pytest.mark.parametrize(("look", "ml"), [("ms", 1.0), ("stroke", 5.0)])
def test_lesions_have_their_volume_and_keep_apart(head, look, ml):
    placed, *_ = head
    places = ndimage.binary_erosion(planting.places_for(placed.images["t1"], placed.mask, look, "t1"))
    shares = list(draw_lesions(places, look, ml, range(4), seed=1))
    assert len(shares) > 1
    for share in shares:
        assert share.dtype == np.float32 and share.min() == 0 and share.max() <= 1 and not share[~places].any()
        assert not (share[:20].any() and share[20:].any())
        assert share.sum() * 0.064 == pytest.approx(ml, rel=0.35)
    for i, share in enumerate(shares):
        away = 4 * ndimage.distance_transform_edt(share == 0)
        assert all(away[other > 0].min() >= module.APART_MM for other in shares[:i])


def test_a_tenth_of_a_lesion_is_enough():
    expected = {"look": "ms", "volume_ml": 1.0, "planted": 3, "found": 2, "recovered": 0.25}
    assert module._row("ms", 1.0, np.array([0.05, 0.1, 0.6])) == expected


def test_a_seed_decides(head, planted):
    for seed in (0, 0, 1):
        run(head, everywhere(0.0), seed=seed)
    count = len(planted) // 3
    first, again, other = ([truth for _, truth in planted[i * count : (i + 1) * count]] for i in range(3))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not all((a == b).all() for a, b in zip(first, other, strict=False))


def test_a_round_is_a_small_part_of_the_brain(monkeypatch):
    monkeypatch.setattr(module, "PLANTED", 8)
    for ml in (0.05, 1.0, 5.0, 20.0):
        rounds = module._dealt(ml)
        assert [number for numbers in rounds for number in numbers] == list(range(8))
        assert all(len(numbers) == 1 or len(numbers) * ml <= module.ROUND_ML for numbers in rounds)


def test_what_cannot_be_tested_is_one_sentence(head):
    placed, study, nothing = head
    with pytest.raises(ValueError, match="no room for a lesion to be planted: too much of it is marked already"):
        run(head, everywhere(0.0), anomaly=nothing + 1)
    turned = Placed({"t1": placed.images["t1"].max() - placed.images["t1"]}, *list(vars(placed).values())[1:])
    with pytest.raises(ValueError, match="white matter and CSF don't look like t1"):
        run((turned, study, nothing), everywhere(0.0))


def test_the_rows_in_words():
    sizes = ((0.2, 0), (1.0, 6), (5.0, 8))
    rows = [{"look": "ms", "volume_ml": ml, "planted": 8, "found": found, "recovered": 0.5} for ml, found in sizes]
    assert describe_test(rows) == (
        "Self-test, planted and found: MS-like lesions, 0 of 8 (0.2 ml), 6 of 8 (1 ml), 8 of 8 (5 ml). Where nothing "
        "is marked, MS-like lesions of 1 ml or more would probably have been found; smaller or fainter ones may be "
        "there."
    )
    none = [row | {"found": 0} for row in rows]
    assert describe_test(none).endswith("Where nothing is marked, lesions of all these sizes may still be there.")
    both = describe_test([*rows, rows[-1] | {"look": "stroke"}])
    assert "; stroke-like lesions, 8 of 8 (5 ml)." in both
    assert "MS-like lesions of 1 ml or more and stroke-like lesions of 5 ml or more would" in both
