"""Every lesion as a row: volume, thickness, contrast against analytic shapes."""

import numpy as np
import pandas as pd
import pytest
from lesion_volumes import EVERYTHING, MM, NOTHING, SHAPE, TWO, cubes
from scipy import ndimage

from essim.evaluation.detection import (
    SIZES,
    lesions,
    size_of,
)


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
