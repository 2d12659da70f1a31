"""Every reconstructor's shape, range, mask and seed; then what each must do according to its paper."""

import numpy as np
import pytest
import torch
from entries import ALIKE, ENTRIES, network, scan, slices, stub

from essim.methods import chain
from essim.methods.reconstructors import autoddpm, cddpm, dae, ddim, ddpm, mddpm, pddpm, thor
from essim.reconstruct import reconstruct_volume

each = pytest.mark.parametrize("name", ENTRIES)


@each
@pytest.mark.parametrize("tone", [False, True])
def test_draws_of_the_scans_shape_in_range_and_within_the_mask(name, tone):
    entry, (image, mask) = ENTRIES[name], scan()
    model, before = network(entry.NETWORK, tone=tone), image.copy()
    ys = entry.reconstruct(model, image, mask, draws=max(2, entry.DRAWS), seed=[0, 7])
    assert ys.shape == (max(2, entry.DRAWS), *image.shape) and ys.dtype == np.float32
    assert ys.min() >= 0 and ys.max() <= 1 and (ys[:, ~mask] == 0).all()
    assert ys[:, mask].std() > 0.01 and abs(ys[0] - image)[mask].max() > 0.01
    np.testing.assert_array_equal(image, before)


@each
def test_a_draw_follows_from_the_seed_alone(name):
    entry, (image, mask) = ENTRIES[name], scan()
    model = network(entry.NETWORK)
    ys = entry.reconstruct(model, image, mask, draws=2, seed=[3, 1])
    torch.manual_seed(99)
    np.random.seed(99)
    np.testing.assert_array_equal(entry.reconstruct(model, image, mask, draws=2, seed=(3, 1)), ys)
    np.testing.assert_array_equal(entry.reconstruct(model, image, mask, draws=1, seed=[3, 1]), ys[:1])
    others = [ys[1], entry.reconstruct(model, image, mask, draws=1, seed=4)[0]]
    assert [np.array_equal(other, ys[0]) for other in others] == [name in ALIKE] * 2


@each
def test_no_draws_is_one_sentence(name):
    entry, (image, mask) = ENTRIES[name], scan()
    with pytest.raises(ValueError, match="^reconstruct: draws must be at least 1, got 0.$"):
        entry.reconstruct(network(entry.NETWORK), image, mask, draws=0, seed=0)


# One by one


def test_ddpm_the_mean_of_the_draws_is_the_studys_reconstruction():
    model, (image, mask) = network("ddpm", tone=True), scan()
    ys = ddpm.reconstruct(model, image, mask, draws=3, seed=[5, 6])
    expected = reconstruct_volume(model, image, mask, t=50, draws=3, seed=[5, 6])
    np.testing.assert_allclose(ys.mean(0), expected, atol=1e-6)


def test_ddim_draws_nothing_on_its_way_back_and_one_step_is_the_prediction(monkeypatch):
    model, x, drawn = network("ddpm"), slices(), []
    sample = model.sample_noise
    monkeypatch.setattr(model, "sample_noise", lambda shape, seed: drawn.append(seed) or sample(shape, seed))
    several = chain.walk_back(model, x, [50, 40, 20], None, eta=0, seed=2)
    assert drawn == [2]
    one = chain.walk_back(model, x, [50], None, eta=0, seed=2)
    noised = model.q_sample(2 * x - 1, torch.tensor([50]), sample(x.shape, 2))
    assert torch.equal(one, (model.predict_start(noised, torch.tensor([50])) + 1) / 2)
    assert not torch.equal(one, several)
    monkeypatch.setattr(ddim, "STEPS", 1)
    image, mask = scan()
    np.testing.assert_array_equal(*(m.reconstruct(model, image, mask, draws=1, seed=0) for m in (ddim, ddpm)))


def test_anoddpm_draws_at_every_step(monkeypatch):
    model, x, drawn = network("ddpm"), slices(), []
    sample = model.sample_noise
    monkeypatch.setattr(model, "sample_noise", lambda shape, seed: drawn.append(seed) or sample(shape, seed))
    chain.walk_back(model, x, [25, 20, 10], None, eta=1, seed=2)
    assert len(set(drawn)) == 3


def test_autoddpm_leaves_what_is_outside_its_mask(monkeypatch):
    model, (image, mask) = network("ddpm"), scan()
    monkeypatch.setattr(autoddpm, "looks_ill", lambda x, y: torch.arange(16).expand(x.shape) < 8)
    y = autoddpm.reconstruct(model, image, mask, draws=1, seed=0)[0]
    np.testing.assert_array_equal(y[:, 8:], image[:, 8:])
    assert (y != image)[:, :8][mask[:, :8]].mean() > 0.9


def test_autoddpm_what_differs_looks_ill_and_a_pixel_around():
    x = slices()
    y = x + 0.01 * torch.rand(x.shape, generator=torch.Generator().manual_seed(3))
    y[0, 0, 6:10, 6:10] = 1 - x[0, 0, 6:10, 6:10]
    ill = autoddpm.looks_ill(x, y)
    assert ill[0, 0, 6:10, 6:10].float().mean() > 0.7 and ill[0].float().mean() < 0.4
    assert not autoddpm.looks_ill(x, x).any() and not autoddpm.looks_ill(0 * x, 0 * x).any()


def test_thor_is_drawn_towards_the_scan_where_nothing_looks_ill(monkeypatch):
    model, (image, mask) = network("ddpm"), scan()
    monkeypatch.setattr(thor, "guidance", lambda x, y: torch.zeros_like(x))
    y = thor.reconstruct(model, image, mask, draws=1, seed=0)
    last = chain.steps_from(model, thor.SHARE, thor.STEPS)[-1]
    monkeypatch.setattr(ddpm, "SHARE", last / model.timesteps)
    np.testing.assert_allclose(y, ddpm.reconstruct(model, image, mask, draws=1, seed=0), atol=1e-6)


def test_thor_guidance_is_1_where_a_slice_differs_most_and_0_where_nothing_does():
    x = slices()
    y = x.clone()
    y[0, 0, 5:8, 5:8] = 1 - x[0, 0, 5:8, 5:8]
    guidance = thor.guidance(x, y)
    assert guidance.min() == 0 and guidance[0].max() == 1 and (guidance[1:] == 0).all()


def test_pddpm_gives_back_the_context_unchanged():
    model, x = network("pddpm"), slices()
    patches = pddpm.patches(x)
    assert patches.shape == (4, 1, 16, 16) and (patches.sum(0) == 1).all()
    assert (pddpm.patches(torch.zeros(1, 1, 5, 7)).sum(0) == 1).all()
    x_t, _ = chain.noised(model, x, 50, 0)
    for patch in patches:
        y = pddpm.repaint(model, x, x_t, patch, 50, None)
        outside = ~patch.expand(x.shape)
        assert torch.equal(y[outside], x[outside]) and (y != x)[~outside].float().mean() > 0.9


def test_pddpm_learns_within_the_patch_and_sees_the_rest():
    seen, x0 = [], 2 * slices(40) - 1
    model = stub(network("pddpm"), lambda x_t, t: seen.append(x_t) or x_t)
    loss = pddpm.loss(model, x0, key=(0, 1), t_range=(50, 50), tone=None)
    changed = seen[0] != x0
    assert ((changed.sum((1, 2, 3)) > 60) & (changed.sum((1, 2, 3)) <= 64)).all()  # a quarter; noise may be 0
    assert loss == pytest.approx((seen[0] - x0).abs().sum().item() / (40 * 64), rel=1e-5)
    assert len({tuple(one.nonzero()[0].tolist()) for one in changed}) >= 4  # every patch has its turn


def test_cddpm_the_condition_reaches_the_network():
    model, x = network("cddpm"), 2 * slices(2) - 1
    x_t, t = torch.zeros(2, 1, 16, 16), torch.tensor([50, 50])
    assert not torch.equal(*model.model(x_t, t, (x, None)))
    torch.testing.assert_close(*model.model(x_t, t, (x[:1].expand(2, -1, -1, -1), None)))
    cddpm.loss(model, x, key=(0, 1), t_range=(50, 50), tone=None).backward()
    assert all(weight.grad.abs().max() > 1e-6 for weight in model.model.encoder.parameters() if weight.ndim > 1)


def test_mddpm_damages_rectangles_and_nothing_else():
    rng, x0 = np.random.default_rng(0), 2 * torch.rand(400, 1, 40, 40) - 1
    holes = mddpm.holes(x0.shape, rng)
    assert (holes.any(-1).any(-1)[:, 0].float().mean() - 5 / 6).abs() < 0.08  # 0 to 5 of them
    assert holes.sum((2, 3)).max() <= 5 * 8**2
    damaged = mddpm.damaged(x0, np.random.default_rng(1))
    changed = damaged != x0
    empty = ((damaged == -1) == changed).all((1, 2, 3)) & changed.any((1, 2, 3))
    assert 0.3 < empty.float().mean() < 0.55 and changed.float().mean() < 0.1
    assert damaged.min() >= -1 and damaged.max() <= 1


def test_mddpm_frequencies_are_low_or_high():
    wave = 0.3 * torch.cos(2 * torch.pi * torch.arange(40) / 40).expand(50, 1, 40, 40)
    kept = mddpm.some_frequencies(wave, np.random.default_rng(0))
    low = torch.tensor([torch.allclose(one, two, atol=1e-5) for one, two in zip(kept, wave, strict=True)])
    assert 10 < low.sum() < 40 and (kept[~low] < -0.99).all()


def test_mddpm_a_scan_is_noised_whole():
    model, (image, mask) = network("mddpm"), scan()
    ys = [entry.reconstruct(model, image, mask, draws=1, seed=0) for entry in (mddpm, ddpm)]
    np.testing.assert_array_equal(*ys)


def test_dae_noise_is_coarse_and_of_the_stated_scale():
    noise = dae.coarse_noise((300, 1, 80, 96), np.random.default_rng(0))
    assert noise.shape == (300, 1, 80, 96) and noise.dtype == torch.float32
    spread = noise.std((0, 1))
    assert 0.1 < spread.mean() < 0.2 and noise.mean().abs() < 0.01
    steps = noise.diff(dim=2).abs().flatten(1).quantile(0.5, dim=1)
    assert (steps < 0.04).all()  # from pixel to pixel: an eighth of what cells differ by
    few = dae.coarse_noise((2, 1, 16, 8), np.random.default_rng(0))
    assert not torch.equal(*few)


def test_dae_cells_have_standard_deviation_one_fifth(monkeypatch):
    monkeypatch.setattr(dae, "CELL", 1)
    assert dae.coarse_noise((200, 1, 16, 16), np.random.default_rng(0)).std() == pytest.approx(0.2, rel=0.02)


def test_dae_takes_away_noise_that_lies_in_the_brain():
    seen, x0 = [], 2 * slices(30) - 1
    model = stub(network("dae"), lambda x, t: seen.append((x, t)) or x)
    loss = dae.loss(model, x0, key=(0,), t_range=(1, 100), tone=None)
    noise, brain = (seen[0][0] - x0) / 2, x0 > -1
    assert (noise[~brain] == 0).all() and 0.1 < noise[brain].std() < 0.2 and (seen[0][1] == 1).all()
    assert loss == pytest.approx(noise.square().mean().item(), rel=1e-5)
    perfect = stub(network("dae"), lambda x, t: x0)
    assert dae.loss(perfect, x0, key=(0,), t_range=(1, 100), tone=None) == 0


def test_dae_gives_a_scan_to_its_network_as_it_is():
    image, mask = scan()
    y = dae.reconstruct(stub(network("dae"), lambda x, t: x), image, mask, draws=1, seed=0)
    np.testing.assert_allclose(y[0], image, atol=1e-6)
