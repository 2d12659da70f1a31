"""Coarser grids by hand."""

import torch

from essim.calibration import coarsen, refine


def test_coarsen_and_refine_by_hand():
    volume = torch.arange(4 * 4 * 5, dtype=torch.float64).reshape(4, 4, 5)
    small = coarsen(volume, 2)
    assert small.shape == (2, 2, 3)
    assert small[0, 1, 0] == volume[:2, 2:, :2].mean() and small[1, 0, 2] == volume[2:, :2, 4:].mean()
    back = refine(small[None, None], 2, volume.shape)[0, 0]
    assert back.shape == volume.shape
    assert (back[:2, 2:, :2] == small[0, 1, 0]).all() and (back[2:, :2, 4] == small[1, 0, 2]).all()


def test_several_maps_at_once():
    maps = torch.rand(3, 2, 5, 4, 6)
    assert torch.equal(coarsen(maps, 2)[1, 1], coarsen(maps[1, 1], 2))
    assert torch.equal(coarsen(maps, 1), maps) and torch.equal(refine(maps, 1, (5, 4, 6)), maps)
