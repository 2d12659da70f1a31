"""The U-Net: shapes, the paper's structure, how it starts, that everything in it is used."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from essim.unet import Attention, Double, GroupNorm, ResidualBlock, UNet, time_embedding


def tiny(**changes):
    torch.manual_seed(0)
    return UNet(**{"channels": 8, "multipliers": (1, 2), "blocks": 1, "head_channels": 8, "patch": 2} | changes)


def trained(network, steps=3):
    """The network after a few steps towards a target that depends on the time."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    x, t = torch.randn(4, 1, 16, 16), torch.tensor([1, 300, 600, 1000])
    for _ in range(steps):
        loss = (network(x, t) - (t / 1000).reshape(-1, 1, 1, 1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, (16, 24)),
        ({"patch": 1}, (8, 10)),
        ({"patch": 4}, (16, 8)),
        ({"multipliers": (1,)}, (6, 10)),
        ({"multipliers": (1, 2, 2), "blocks": 2, "patch": 1}, (16, 12)),
        ({"channels": 16, "head_channels": 16}, (8, 8)),
    ],
)
def test_output_has_the_shape_of_the_input(changes, size):
    network = tiny(**changes)
    for n in (1, 3):
        x = torch.randn(n, 1, *size)
        assert network(x, torch.full((n,), 7)).shape == x.shape


def test_starts_at_zero():
    x = torch.randn(2, 1, 16, 16)
    assert (tiny()(x, torch.tensor([1, 1000])) == 0).all()


def test_residual_block_and_attention_start_as_the_identity():
    torch.manual_seed(0)
    x = torch.randn(2, 16, 6, 6)
    assert torch.equal(ResidualBlock(16, 16, 32)(x, torch.randn(2, 32)), x)
    assert torch.equal(Attention(16, 8)(x), x)


@pytest.mark.parametrize("size", [(15, 16), (16, 18), (16, 10)])
def test_indivisible_sizes_are_refused_in_a_sentence(size):
    with pytest.raises(ValueError, match=r"divisible by 4, got \[1, 1, \d+, \d+\]; set the preprocessing `shape`"):
        tiny()(torch.randn(1, 1, *size), torch.tensor([5]))


def test_wrong_channels_are_refused():
    for shape in ((1, 2, 16, 16), (1, 16, 16)):
        with pytest.raises(ValueError, match=r"input must be \[N, 1, H, W\]"):
            tiny()(torch.randn(*shape), torch.tensor([5]))


def test_head_channels_must_divide():
    with pytest.raises(ValueError, match="head_channels=24 must divide the 16 channels"):
        tiny(head_channels=24)


def test_the_defaults_are_the_papers_network():
    with torch.device("meta"):
        network = UNet()
    assert (network.channels, network.patch) == (128, 1)
    assert network.stem.in_channels == 1
    attentions = [name for name, module in network.named_modules() if isinstance(module, Attention)]
    assert attentions == ["middle.1"]  # at the bottleneck only
    assert network.middle[1].heads == 256 // 64
    down = [m for m in network.down if isinstance(m, ResidualBlock)]
    up = [m for m in network.up if isinstance(m, ResidualBlock)]
    assert len(down) == 3 * 3
    assert len(up) == 3 * (3 + 1)
    assert [m.conv2.out_channels for m in down] == [128] * 3 + [256] * 6
    assert [m.conv2.out_channels for m in up] == [256] * 8 + [128] * 4
    halvings = [m for m in network.down if isinstance(m, nn.Conv2d)]
    assert [m.stride for m in halvings] == [(2, 2)] * 2
    assert all(m.num_groups == 32 for m in network.modules() if isinstance(m, nn.GroupNorm))
    assert 25e6 < sum(p.numel() for p in network.parameters()) < 40e6


def test_gradient_reaches_every_parameter():
    """Zero-initialised layers hide what is below them in the first step, not after it."""
    network = trained(tiny(), steps=3)
    x, t = torch.randn(2, 1, 16, 16), torch.tensor([10, 900])
    network.zero_grad()
    (network(x, t) - 1).square().mean().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_skip_connections_join_the_two_sides():
    """Each block on the way up gets, besides the output from below, that of its counterpart on the way down."""
    network, down, up = tiny(), [], []
    for layer in (network.stem, *network.down):
        layer.register_forward_hook(lambda layer, args, out: down.append(out))
    for layer in network.up:
        if isinstance(layer, ResidualBlock):
            layer.register_forward_hook(lambda layer, args, out: up.append(args[0]))
    network(torch.randn(1, 1, 16, 16), torch.tensor([5]))
    assert len(up) == len(down) == 4  # stem, block, halving, block
    for partner, seen in zip(reversed(down), up, strict=True):
        assert partner.abs().max() > 0
        assert torch.equal(seen[:, -partner.shape[1] :], partner)


def test_time_matters_once_trained():
    network = trained(tiny(), steps=10)
    x = torch.randn(1, 1, 16, 16)
    early, late = (network(x, torch.tensor([t])) for t in (1, 1000))
    assert (early - late).abs().max() > 1e-3


def test_a_network_that_is_told_the_tone_starts_as_the_one_that_is_not():
    plain, told = trained(tiny()), tiny(tones=5)
    left = told.load_state_dict(plain.state_dict(), strict=False)
    assert left.missing_keys == ["tone.weight"] and not left.unexpected_keys
    x, t, tone = torch.randn(2, 1, 16, 16), torch.tensor([1, 900]), torch.rand(2, 5)
    before = plain(x, t)
    assert before.abs().max() > 1e-2 and torch.equal(told(x, t, tone), before)
    drawn = tiny(tones=5).state_dict()
    assert all(torch.equal(value, drawn[name]) for name, value in tiny().state_dict().items())


def test_the_tone_is_learned_and_matters():
    """The target is the tone's mean: one tone for all would be wrong by 0.29 on average."""
    network, draw = tiny(tones=5), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    x, t, levels = torch.zeros(16, 1, 8, 8), torch.full((16,), 500), torch.linspace(0, 1, 16)
    tones = levels[:, None].expand(-1, 5)
    for step in range(60):
        loss = (network(x, t, tones) - levels.view(-1, 1, 1, 1)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        if step == 2:  # before, the head or the last layers of the blocks are 0
            assert network.tone.weight.grad.abs().max() > 0
        optimizer.step()
    wrong = (network(x, t, tones[torch.randperm(16, generator=draw)]) - levels.view(-1, 1, 1, 1)).abs().mean()
    assert loss < 0.15 < wrong
    one = network(x, t, tones[3:4])  # slices of one volume
    assert torch.allclose(one, network(x, t, tones[3:4].expand(16, -1)), atol=1e-5)


@pytest.mark.parametrize("tone", [None, torch.zeros(3, 5), torch.zeros(2, 4), torch.zeros(5)])
def test_a_network_without_its_tone_says_so(tone):
    found = None if tone is None else list(tone.shape)
    with pytest.raises(ValueError, match=re.escape(f"needs a `tone` [2, 5] or [1, 5], got {found}")):
        tiny(tones=5)(torch.zeros(2, 1, 16, 16), torch.tensor([5, 5]), tone)


def test_a_tone_that_is_not_needed_is_refused():
    with pytest.raises(ValueError, match="trained without tones; leave `tone` out"):
        tiny()(torch.zeros(2, 1, 16, 16), torch.tensor([5, 5]), torch.zeros(2, 5))


def test_images_of_a_batch_are_independent():
    network = trained(tiny()).eval()
    x, t = torch.randn(3, 1, 16, 16), torch.tensor([1, 500, 1000])
    together = network(x, t)
    alone = torch.cat([network(x[i : i + 1], t[i : i + 1]) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-5, rtol=0)
    assert together.abs().max() > 1e-2


def test_one_time_is_that_of_all_images():
    network, x = trained(tiny()), torch.randn(4, 1, 16, 16)
    one = network(x, torch.tensor([300]))
    assert torch.allclose(one, network(x, torch.full((4,), 300)), atol=1e-5, rtol=0)
    assert (one - network(x, torch.tensor([900]))).abs().max() > 1e-3
    for t in (torch.tensor([1, 2]), torch.tensor(5)):  # [2] would fit the arithmetic
        with pytest.raises(
            ValueError, match=re.escape(f"t must be [4] or [1], a time for each slice or one, got {list(t.shape)}")
        ):
            network(x, t)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(4, 6), (40, 32)])  # below and above the size that torch is slow for
@pytest.mark.parametrize("rows", [1, 3])
def test_group_norm_is_scaled_and_shifted(layout, size, rows):
    torch.manual_seed(0)
    norm = GroupNorm(8, 16)
    for weight in norm.parameters():
        nn.init.normal_(weight)
    x = torch.randn(3, 16, *size).to(memory_format=layout)
    scale, shift = torch.randn(rows, 16), torch.randn(rows, 16)
    groups = x.reshape(3, 8, 2, *size)
    centred = groups - groups.mean((2, 3, 4), keepdim=True)
    normal = (centred / (centred.square().mean((2, 3, 4), keepdim=True) + norm.eps).sqrt()).reshape(x.shape)
    plain = normal * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
    assert torch.allclose(norm(x), plain, atol=1e-5)
    expected = plain * (1 + scale[..., None, None]) + shift[..., None, None]
    assert torch.allclose(norm(x, scale, shift), expected, atol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (6, 4)])
def test_doubling_is_nearest_neighbour_and_a_convolution(layout, size):
    """Computed from the smaller image it is the same, values and gradients, up to the edges."""
    torch.manual_seed(0)
    layer = Double(3, 5).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    expected = F.conv2d(F.interpolate(x, scale_factor=2.0), layer.weight, layer.bias, padding=1)
    weights = torch.randn_like(expected)
    for ours, theirs in zip(
        (layer(x), *torch.autograd.grad(layer(x), [x, *layer.parameters()], weights)),
        (expected, *torch.autograd.grad(expected, [x, *layer.parameters()], weights)),
        strict=True,
    ):
        assert ours.shape == theirs.shape and torch.allclose(ours, theirs, atol=1e-12)


def test_attention_looks_everywhere():
    torch.manual_seed(0)
    attention = Attention(8, 8)
    nn.init.normal_(attention.out.weight)
    x = torch.randn(1, 8, 6, 6)
    disturbed = x.clone()
    disturbed[..., 0, 0] += 1
    change = (attention(x) - attention(disturbed)).abs().sum(1)[0]
    assert change[5, 5] > 1e-4


def test_time_embedding():
    t = torch.tensor([0, 1, 1000])
    embedding = time_embedding(t, 8)
    assert embedding.shape == (3, 8)
    for i, frequency in enumerate((1, 1e-1, 1e-2, 1e-3)):
        assert torch.allclose(embedding[:, i], torch.cos(t * frequency), atol=1e-4)
        assert torch.allclose(embedding[:, 4 + i], torch.sin(t * frequency), atol=1e-4)
