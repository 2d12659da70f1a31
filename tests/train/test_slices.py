"""The slices that a training sees: each volume once an epoch, the same whatever was served before."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import AS_IT_IS, healthy_scans, row

from essim.data.splits import validation_parts
from essim.data.volumes import load_scan
from essim.settings import Preprocessing
from essim.tone import tone_of
from essim.train.slices import HealthySlices, load_healthy


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return healthy_scans(tmp_path_factory.mktemp("healthy"))


@pytest.fixture(scope="module")
def slices(scans):
    return HealthySlices(scans[scans.split == "train"], AS_IT_IS, "train")


def test_every_epoch_serves_each_volume_once(slices):
    seen = set()
    for epoch in range(30):
        picks = slices.epoch(0, epoch)
        assert sorted(volume for volume, _ in picks) == list(range(6))
        assert all(z in slices.filled[volume] for volume, z in picks)
        seen |= set(picks)
    assert len(seen) > 0.8 * sum(len(f) for f in slices.filled)  # and in time each slice
    assert slices.epoch(0, 0) != slices.epoch(0, 1)
    assert slices.epoch(0, 0) != slices.epoch(1, 0)
    assert slices.epoch(0, 3) == slices.epoch(0, 3)


def test_batches_walk_through_the_epochs_without_a_gap(slices):
    """Six volumes in batches of four: steps 0 to 2 are epochs 0 and 1."""
    picks = slices.epoch(7, 0) + slices.epoch(7, 1)
    expected = torch.stack([torch.from_numpy(slices.volumes[v][z])[None] for v, z in picks])
    assert torch.equal(torch.cat([slices.batch(7, range(4 * step, 4 * step + 4))[0] for step in range(3)]), expected)
    assert torch.equal(slices.batch(7, range(12))[0], expected)  # longer than an epoch


def test_slices_are_axial(slices, scans):
    first = load_scan(scans.iloc[0], AS_IT_IS)
    volume, z = next(pick for pick in slices.epoch(0, 0) if pick[0] == 0)
    np.testing.assert_array_equal(slices.volumes[volume][z], first.image[:, :, z])
    assert [z for z in range(8) if first.mask[:, :, z].any()] == slices.filled[0].tolist()


def test_batches_are_functions_of_seed_and_step(slices):
    ahead = [slices.batch(0, range(4 * step, 4 * step + 4))[0] for step in range(4)]
    before = torch.get_rng_state()
    for step in (3, 0, 2, 1):
        np.random.seed(step)
        assert torch.equal(slices.batch(0, range(4 * step, 4 * step + 4))[0], ahead[step])
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(slices.batch(1, range(4))[0], ahead[0])


def test_each_slice_comes_with_the_tone_of_its_volume(slices, scans):
    loaded = [load_scan(row, AS_IT_IS) for row in scans[scans.split == "train"].to_dict("records")]
    tones = torch.from_numpy(np.stack([tone_of(scan.image, scan.mask) for scan in loaded]))
    assert len(torch.unique(tones, dim=0)) == 6
    picks = slices.epoch(7, 0) + slices.epoch(7, 1)
    assert torch.equal(slices.batch(7, range(3, 12))[1], tones[[volume for volume, _ in picks[3:]]])
    assert torch.equal(slices.spread(6)[1][[0, -1]], tones[[0, 5]])


def test_validation_slices_are_fixed_and_spread(slices):
    found = slices.spread(10)[0]
    assert found.shape == (10, 1, 16, 16)
    assert torch.equal(found, slices.spread(10)[0])
    total = sum(len(f) for f in slices.filled)
    assert len(slices.spread(1000)[0]) == total  # no more than there are
    assert torch.equal(slices.spread(1000)[0][0, 0], torch.from_numpy(slices.volumes[0][slices.filled[0][0]]))
    assert torch.equal(slices.spread(1000)[0][-1, 0], torch.from_numpy(slices.volumes[5][slices.filled[5][-1]]))


@pytest.mark.parametrize("factor", [1, 2])
def test_the_size_of_a_pixel_and_of_the_scans_voxels(scans, factor):
    """The scans have voxels of 2 mm."""
    coarse = Preprocessing(smooth=False, shape=(16, 16, 8), factor=factor)
    slices = HealthySlices(scans[scans.split == "val"], coarse, "val")
    assert slices.pixel_mm == pytest.approx(2 * factor) and slices.voxel_mm == pytest.approx(2)


def test_a_training_sees_only_the_validation_people_who_may_choose_its_step(tmp_path):
    split = ["train"] * 2 + ["val"] * 12
    table = pd.DataFrame([row(tmp_path, seed=i, dataset="healthy", split=part) for i, part in enumerate(split)])
    train, val = load_healthy(table, "t2", AS_IT_IS)
    assert (len(train), len(val)) == (2, 4)
    mine = table[validation_parts(table) == "step"]
    np.testing.assert_array_equal(val.volumes[0].transpose(1, 2, 0), load_scan(mine.iloc[0], AS_IT_IS).image)
