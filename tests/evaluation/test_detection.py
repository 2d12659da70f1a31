"""Lesion scores: hand-counted cases, the matching written independently, a blur that finds nothing, analytic shapes."""

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from scipy import ndimage

from essim.evaluation.detection import (
    SIZES,
    detect,
    froc,
    lesions,
    matched,
    operating_points,
    size_of,
    surface_distances,
)
from essim.postprocess import connected_components, remove_small

SHAPE = (20, 18, 16)
MM = (2.0, 2.0, 2.0)


def cubes(*corners, side=2, shape=SHAPE):
    """A bool volume with a cube at each corner."""
    volume = np.zeros(shape, bool)
    for x, y, z in corners:
        volume[x : x + side, y : y + side, z : z + side] = True
    return volume


def counts(prediction, seg, scored=None):
    """(lesions, found, predicted, false positives), (sensitivity, precision, F1)."""
    found = detect(prediction, seg, np.ones(seg.shape, bool) if scored is None else scored)
    integers = tuple(found[key] for key in ("lesions", "found", "predicted", "false_positives"))
    return integers, tuple(found[key] for key in ("sensitivity", "precision", "f1"))


def same(values, expected):
    np.testing.assert_allclose(values, expected, rtol=1e-12)  # NaN equals NaN


# Hand-counted

NOTHING, EVERYTHING = np.zeros(SHAPE, bool), np.ones(SHAPE, bool)
TWO = cubes((2, 2, 2), (10, 2, 2))


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


def blobs(rng, share):
    """Random blobs of many sizes, some of them single voxels."""
    noise = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 0.8)
    return (noise > np.quantile(noise, 1 - share)) | (rng.random(SHAPE) > 0.998)


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


# Lesions as rows


def test_a_lesion_in_numbers():
    seg = np.zeros((40, 40, 40), bool)
    seg[4:9, 4:25, 4:25] = True  # a plate, 5 voxels thick
    seg[30, 30, 30] = True
    rng = np.random.default_rng(0)
    image = np.where(seg, 0.2, 0.5 + 0.1 * rng.standard_normal(seg.shape)).astype(np.float32)
    table, labels = lesions(seg, image, np.ones(seg.shape, bool), (1.0, 2.0, 2.0))
    assert list(table.columns) == ["label", "voxels", "volume_ml", "thickness_mm", "contrast"]
    plate, speck = table.to_dict("records")
    assert (plate["voxels"], speck["voxels"]) == (5 * 21 * 21, 1)
    assert (labels == plate["label"]).sum() == plate["voxels"] and labels[30, 30, 30] == speck["label"]
    assert plate["volume_ml"] == pytest.approx(5 * 21 * 21 * 4 / 1000)
    assert plate["thickness_mm"] == 5 and speck["thickness_mm"] == 1
    assert plate["contrast"] == pytest.approx(-3, abs=0.2)  # 0.3 darker, in units of 0.1


def test_the_thickness_of_a_ball_is_its_diameter():
    axes = np.meshgrid(*3 * [np.arange(31) - 15], indexing="ij")
    ball = sum(a**2 for a in axes) <= 9.5**2
    table, _ = lesions(ball, np.zeros(ball.shape), np.ones(ball.shape, bool), (1.0, 1.0, 1.0))
    assert table.thickness_mm.item() == pytest.approx(19, abs=1)


def test_the_surroundings_are_healthy_brain_two_to_three_voxels_away():
    seg = cubes((8, 8, 8), side=3)
    distance = ndimage.distance_transform_edt(~seg)
    around = (distance >= 2) & (distance <= 3)
    other = cubes((13, 8, 8))  # two voxels away
    scored = EVERYTHING.copy()
    scored[:, :7] = False
    image = np.random.default_rng(1).random(SHAPE)
    image[~around] = 100
    image[seg], image[other], image[:, :7] = 7, 50, -50
    shell = image[around & scored & ~other]
    table, labels = lesions(seg | other, image, scored, MM)
    row = table[table.label == labels[9, 9, 9]].iloc[0]
    assert row.contrast == pytest.approx((7 - shell.mean()) / shell.std())


def test_no_surroundings_no_contrast():
    for seg, scored in ((TWO, TWO), (EVERYTHING, EVERYTHING)):
        table, _ = lesions(seg, np.random.default_rng(0).random(SHAPE), scored, MM)
        assert table.contrast.isna().all() and len(table)
    flat, _ = lesions(TWO, np.ones(SHAPE), EVERYTHING, MM)
    assert flat.contrast.isna().all(), "no spread to measure by"


def test_a_scan_without_lesions_has_no_rows():
    table, labels = lesions(NOTHING, np.zeros(SHAPE), EVERYTHING, MM)
    assert len(table) == 0 and not labels.any()
    one, _ = lesions(TWO, np.random.default_rng(0).random(SHAPE), EVERYTHING, MM)
    assert table.dtypes.equals(one.dtypes), "so that tables of several scans go together"


def test_a_lesion_at_the_border_ends_there():
    table, _ = lesions(cubes((0, 0, 0), side=3), np.zeros(SHAPE), EVERYTHING, MM)
    assert table.thickness_mm.item() == 6


def test_every_size_has_its_bin():
    bins = size_of(pd.Series([0.008, 0.099, 0.1, 0.99, 1, 9.9, 10, 500]))
    assert list(bins) == [name for name in SIZES for _ in range(2)]


# FROC


def scan(seed):
    rng = np.random.default_rng(seed)
    seg = remove_small(blobs(rng, 0.02))
    anomaly = ndimage.gaussian_filter(rng.random(SHAPE) + seg * rng.random(SHAPE), 0.7).astype(np.float32)
    scored = EVERYTHING.copy()
    scored[:3] = False
    return anomaly, seg, scored


def test_operating_points_are_the_counts_at_each_threshold():
    anomaly, seg, scored = scan(0)
    cuts = np.quantile(anomaly, [0.5, 0.9, 0.99, 1])
    points = operating_points(anomaly, seg, scored, cuts)
    assert list(points.columns) == ["threshold", "lesions", "found", "false_positives"]
    assert points.found.nunique() > 2
    for row in points.itertuples():
        whole = detect(remove_small(anomaly > row.threshold), seg, scored)
        assert (row.lesions, row.found, row.false_positives) == tuple(
            whole[key] for key in ("lesions", "found", "false_positives")
        )
    assert points.iloc[-1][["found", "false_positives"]].sum() == 0, "nothing lies above the highest score"
    empty = operating_points(np.zeros(SHAPE), NOTHING, scored, [0.5])
    assert empty.iloc[0][["lesions", "found", "false_positives"]].sum() == 0


def test_the_froc_curve_pools_lesions_and_averages_scans():
    points = [
        pd.DataFrame({"threshold": [0.2, 0.1], "lesions": n, "found": found, "false_positives": false})
        for n, found, false in ((4, [1, 3], [0, 2]), (1, [0, 1], [1, 6]), (0, [0, 0], [2, 4]))
    ]
    curve = froc(pd.concat(points))
    assert list(curve.threshold) == [0.2, 0.1]
    same(curve.sensitivity, [1 / 5, 4 / 5])
    same(curve.false_positives, [1, 4])
    assert (curve.scans == 3).all()
    healthy = froc(points[2])
    assert healthy.sensitivity.isna().all() and list(healthy.false_positives) == [2, 4]
    both = froc(pd.concat([p.assign(method=m) for m in ("l1", "ssim") for p in points[:1]]), by=["method"])
    assert list(both.method) == ["l1", "l1", "ssim", "ssim"] and (both.scans == 1).all()


def test_the_froc_curve_rises_and_falls_again_where_all_is_marked():
    scans = [scan(seed) for seed in range(3)]
    cuts = np.quantile(np.concatenate([s[0].ravel() for s in scans]), np.linspace(1, 0, 9))
    curve = froc(pd.concat([operating_points(*s, cuts) for s in scans]))
    assert curve.sensitivity.iloc[0] == 0 and curve.sensitivity.max() > 0
    below = froc(pd.concat([operating_points(*s, [-1]) for s in scans]))
    assert below.sensitivity.item() == 0 and below.false_positives.item() == 1


# Surfaces


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # in the library
def test_the_distance_between_shifted_plates():
    first, second = np.zeros((2, 30, 30, 30), bool)
    first[10:12, 2:28, 2:28] = True
    second[14:16, 2:28, 2:28] = True
    assert surface_distances(first, first, (1, 1, 1)) == {"distance_mm": 0, "hausdorff95_mm": 0}
    found = surface_distances(first, second, (3, 1, 1))
    # of the faces one looks 4 voxels over to its like, the other 2 voxels to the near side: 12 mm and 6 mm
    assert found["distance_mm"] == pytest.approx(9, abs=0.5)
    assert found["hausdorff95_mm"] == pytest.approx(12, abs=1e-9)
    assert found == pytest.approx(surface_distances(second, first, (3, 1, 1)))


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_surface_distances_against_scikit_images_surface():
    """Two ellipsoids, the distance from the triangles of one to the vertices of the other."""
    from scipy.spatial import KDTree
    from skimage.measure import marching_cubes

    axes = np.meshgrid(*(np.arange(n) - n / 2 for n in (48, 40, 36)), indexing="ij")
    first = (axes[0] / 14) ** 2 + (axes[1] / 10) ** 2 + (axes[2] / 9) ** 2 < 1
    second = ((axes[0] - 9) / 10) ** 2 + ((axes[1] + 2) / 12) ** 2 + (axes[2] / 8) ** 2 < 1
    spacing = (1.0, 1.5, 2.0)

    def surface(volume):
        vertices, faces, *_ = marching_cubes(volume.astype(float), 0.5, spacing=spacing)
        corners = vertices[faces]
        sides = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        middles = corners.mean(1)
        return middles, np.linalg.norm(sides, axis=1) / 2, KDTree(np.concatenate([vertices, middles]))

    (a, area_a, tree_a), (b, area_b, tree_b) = surface(first), surface(second)
    far = [tree_b.query(a)[0], tree_a.query(b)[0]]
    mean = np.average(np.concatenate(far), weights=np.concatenate([area_a, area_b]))
    order = [np.argsort(d) for d in far]
    shares = [np.cumsum(area[o]) / area.sum() for area, o in zip((area_a, area_b), order, strict=True)]
    high = max(d[o][np.searchsorted(s, 0.95)] for d, o, s in zip(far, order, shares, strict=True))
    found = surface_distances(first, second, spacing)
    assert found["distance_mm"] == pytest.approx(mean, abs=0.5)  # a part of a voxel
    assert found["hausdorff95_mm"] == pytest.approx(high, abs=0.5)


def test_no_surface_no_distance():
    for pair in ((NOTHING, TWO), (TWO, NOTHING), (NOTHING, NOTHING)):
        assert all(np.isnan(value) for value in surface_distances(*pair, MM).values())
