"""Slices as other scanners would show them: each change is what it says, monotone, black where it was black."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from essim.tone import TONES, tone_of
from essim.train import augment, randomise
from essim.train.randomise import Change

CHANGES = [randomise.draw((0, i)) for i in range(40)]


@pytest.fixture
def slices():
    """Smooth slices [3, 1, 40, 48] in [0, 1], black around an ellipse."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).random((3, 1, 40, 48)), (0, 0, 2, 2))
    u, v = np.meshgrid(np.linspace(-1, 1, 40), np.linspace(-1, 1, 48), indexing="ij")
    smooth = (noise - noise.min()) / np.ptp(noise) * (u**2 + v**2 < 0.7)
    return torch.tensor(smooth, dtype=torch.float32)


def one(slices, **change):
    return randomise.apply(slices[:1], [Change(**change)])


def test_nothing_is_nothing(slices):
    torch.testing.assert_close(randomise.apply(slices, [Change()] * 3), slices, atol=1e-6, rtol=0)


def test_a_tone_curve_is_monotone_and_ends_at_1():
    x = torch.linspace(0, 1, 4001).expand(40, -1)
    curves = randomise.retone(x, CHANGES)
    assert (curves.diff(dim=1) >= -1e-6).all() and (curves[:, 0] == 0).all()
    torch.testing.assert_close(curves[:, -1], torch.ones(40), atol=1e-6, rtol=0)
    pedestals = torch.tensor([change.pedestal for change in CHANGES])
    assert ((curves[:, 20] - pedestals)[pedestals > 0.05].abs() < 0.2).all()  # just above 0: on the pedestal
    plain = [replace(change, pedestal=0.0) for change in CHANGES]
    torch.testing.assert_close(
        curves[:, 40:], (pedestals[:, None] + (1 - pedestals[:, None]) * randomise.retone(x, plain))[:, 40:]
    )


def test_gamma_and_slopes():
    x = torch.linspace(0, 1, 257)[None]
    torch.testing.assert_close(randomise.retone(x, [Change(gamma=1.5)]), x**1.5, atol=1e-6, rtol=0)
    curve = randomise.retone(x, [Change(slopes=(2.0, 1.0, 1.0, 1.0, 1.0))])[0]
    assert curve[51].item() == pytest.approx(2 / 6, abs=0.01) and curve[102].item() == pytest.approx(3 / 6, abs=0.01)


def test_the_tone_of_a_volume_follows_the_curve_of_its_slices():
    volume = np.random.default_rng(0).random((20, 16, 12), np.float32).clip(0.01) ** 2
    tone = torch.from_numpy(tone_of(volume, volume > 0))
    flat = torch.from_numpy(volume.transpose(2, 0, 1).copy())[:, None]
    for change in CHANGES[:10]:
        plain = replace(change, bias_sd=0.0, gain=0.0, amount=0.0, noise=0.0)
        bent = randomise.apply(flat, [plain] * 12)[:, 0].numpy().transpose(1, 2, 0)
        expected = randomise.retone(tone[None], [change])[0].numpy()
        np.testing.assert_allclose(tone_of(bent, volume > 0), expected, atol=1e-6)
        assert abs(expected - tone.numpy()).max() > 0.01


def test_the_tone_follows_the_gamma_of_an_augmentation():
    tones = torch.linspace(0, 1, TONES).expand(2, -1)
    found = augment.retone(tones, [augment.Change(gamma=1.2), augment.Change()])
    torch.testing.assert_close(found, torch.stack([tones[0] ** 1.2, tones[1]]))


@pytest.mark.parametrize("changes", [CHANGES[:3], CHANGES[3:6]])
def test_black_stays_black_and_nothing_leaves_0_to_1(slices, changes):
    loud = [replace(change, noise=0.5) for change in changes]
    found = randomise.apply(slices, loud)
    assert (found[slices == 0] == 0).all() and 0 <= found.min() and found.max() <= 1
    assert torch.isfinite(found).all() and (found != slices).any()


def test_the_bias_field_has_its_deviation_within_the_brain(slices):
    brain, rng = slices[0, 0] > 0, np.random.default_rng(0)
    dim = 0.4 * slices  # none of it is clamped
    found = one(dim, bias=tuple(rng.standard_normal(len(augment.POWERS))), bias_sd=0.1)[0, 0]
    field = torch.log(found / dim[0, 0])[brain]
    assert abs(field.mean()) < 1e-3 and field.std().item() == pytest.approx(0.1, abs=2e-3)


@pytest.mark.parametrize("sigma", [0.6, 1.2])
def test_blurred_is_the_gaussian_mean_of_the_brain_and_sharpened_the_contrary(slices, sigma):
    x, brain = slices[0, 0].numpy(), slices[0, 0].numpy() > 0
    mean = ndimage.gaussian_filter(x, sigma, mode="wrap", truncate=8)
    mean /= ndimage.gaussian_filter(brain.astype(float), sigma, mode="wrap", truncate=8).clip(0.05)
    blurred = one(slices, sigma=sigma, amount=-1.0)[0, 0].numpy()
    np.testing.assert_allclose(blurred, (mean * brain).clip(0, 1), atol=0.01)
    sharp = one(slices, sigma=sigma, amount=0.5)[0, 0].numpy()
    np.testing.assert_allclose(sharp, ((x + 0.5 * (x - mean)) * brain).clip(0, 1), atol=0.01)
    flat = (slices > 0).float() / 2  # no dark or bright rim
    torch.testing.assert_close(one(flat, sigma=sigma, amount=-1.0), flat[:1], atol=1e-5, rtol=0)


def test_noise_has_its_deviation_and_follows_from_its_seed():
    grey = torch.full((2, 1, 100, 100), 0.5)
    found = randomise.apply(grey, [Change(noise=0.05, seed=1), Change(noise=0.05, seed=2)]) - 0.5
    assert found.std().item() == pytest.approx(0.05, abs=2e-3) and abs(found.mean()) < 2e-3
    assert not torch.equal(found[0], found[1])
    torch.testing.assert_close(one(grey, noise=0.05, seed=2) - 0.5, found[1:])


@pytest.mark.parametrize("shape", [(40, 48), (15, 16), (16, 15)])
def test_a_batch_is_its_slices_one_by_one(slices, shape):
    batch = slices[torch.arange(40) % 3][..., : shape[0], : shape[1]]
    before, whole = batch.clone(), randomise.apply(batch, CHANGES)
    for i in range(40):
        alone = randomise.apply(batch[i : i + 1], CHANGES[i : i + 1])[0]
        torch.testing.assert_close(alone, whole[i], atol=1e-6, rtol=0)
    assert whole.shape == batch.shape and whole.dtype == torch.float32 and torch.equal(batch, before)


def test_a_slice_without_brain_stays_black():
    assert not randomise.apply(torch.zeros(2, 1, 8, 8), CHANGES[:2]).any()


def test_how_much():
    changes = [randomise.draw((1, i)) for i in range(2000)]
    ends = {"pedestal": (0, 0.3), "bias_sd": (0, 0.1), "sigma": (0, 1.2), "noise": (0, 0.05)}
    for name, (low, high) in ends.items():
        values = [getattr(change, name) for change in changes]
        assert low <= min(values) < 0.02 * high and 0.98 * high < max(values) <= high, name
    gammas = np.log([change.gamma for change in changes])
    assert -0.5 <= gammas.min() < -0.49 and 0.49 < gammas.max() <= 0.5
    assert np.median([change.pedestal for change in changes]) == pytest.approx(0.3 / 4, abs=0.01)
    blurred = [change.amount == -1 for change in changes]
    assert np.mean(blurred) == pytest.approx(0.5, abs=0.04)
    assert 0.68 < max(change.amount for change in changes) <= 0.7


def test_a_slices_change_follows_from_its_key():
    assert randomise.draw((3, 5)) == randomise.draw((3, 5)) != randomise.draw((3, 6))
    np.random.seed(0)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    randomise.apply(torch.rand(1, 1, 8, 8, generator=torch.Generator()), [randomise.draw((3, 5))])
    assert torch.equal(torch.get_rng_state(), before)
