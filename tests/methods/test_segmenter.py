"""The upper bound: lesions are drawn where the labels say, and a network learns to mark them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from entries import network, scan, stub

from essim.methods.scores import segmenter


def brains(count):
    x = torch.zeros(count, 1, 48, 40)
    x[:, :, 4:-4, 5:-5] = 0.4
    return x


def test_lesions_lie_in_the_brain_and_are_marked():
    x = brains(200)
    drawn, marked = segmenter.with_lesions(x, np.random.default_rng(0))
    assert drawn.min() >= 0 and drawn.max() <= 1 and torch.equal(drawn[x == 0], x[x == 0])
    assert not marked[x == 0].any()
    change = (drawn - x).abs()
    assert (change[marked] > 0.01).float().mean() > 0.95 and change[marked].mean() > 0.1
    assert (change[~marked] > 0.2).float().mean() < 0.01
    none = (~marked.any(-1).any(-1)).float().mean()
    assert abs(none - 1 / 5) < 0.1  # 0 to 4 of them
    assert 0.02 < marked.float().mean() < 0.4
    assert ((drawn > x) & marked).any() and ((drawn < x) & marked).any()


def test_what_is_drawn_follows_from_the_key():
    one, two, other = (segmenter.with_lesions(brains(4), np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)
    drawn, marked = segmenter.with_lesions(torch.zeros(2, 1, 16, 16), np.random.default_rng(0))
    assert not drawn.any() and not marked.any()


@pytest.mark.parametrize("knows", [1, 0, -1])
def test_the_loss_is_least_for_a_network_that_knows(knows):
    x0 = 2 * brains(20) - 1
    truth = segmenter.with_lesions((x0 + 1) / 2, segmenter.numbers((0,)))[1]
    model = stub(network("segmenter"), lambda x, t: 20.0 * knows * (2 * truth - 1))
    loss = segmenter.loss(model, x0, key=(0,), t_range=(1, 100), tone=None).item()
    assert {1: loss < 0.01, 0: 0.9 < loss < 2, -1: loss > 10}[knows]


@pytest.mark.parametrize("tone", [False, True])
def test_its_score_is_its_networks_and_lies_in_the_mask(tone):
    image, mask = scan()
    model = network("segmenter", tone=tone)
    ys = np.zeros((1, *image.shape), np.float32)
    found = segmenter.score(image, ys, mask, context=SimpleNamespace(segmenter=model))
    assert found.shape == image.shape and found.dtype == np.float32
    assert found.min() >= 0 and found.max() < 1 and (found[~mask] == 0).all() and found[mask].std() > 0
    np.testing.assert_array_equal(found, segmenter.segment(model, image, mask))


def test_a_bright_ball_scores_higher_where_brightness_is_what_was_learned():
    image, mask = scan()
    image = np.where(mask, np.float32(0.3), 0)
    image[7:10, 7:10, 3:5] = 0.9
    model = stub(network("segmenter"), lambda x, t: 4 * x)
    found = segmenter.segment(model, image, mask)
    assert found[8, 8, 4] > found[5, 5, 4] > 0
