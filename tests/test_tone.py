"""The tone of a volume: quantiles that follow every monotone curve; a reconstruction in the tone of its image."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from essim.diffusion import GaussianDiffusion
from essim.reconstruct import reconstruct_volume, tone_for
from essim.tone import TONES, match_tone, tone_of
from essim.unet import UNet


@pytest.fixture
def head():
    """A smooth volume [24, 20, 16] in [0, 1] and its mask."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).random((24, 20, 16)), 2)
    ranks = noise.ravel().argsort().argsort().reshape(noise.shape) / noise.size
    mask = np.zeros(noise.shape, bool)
    mask[3:-3, 3:-3, 2:-2] = True
    return (ranks * mask).astype(np.float32), mask


def test_quantiles_of_the_brain(head):
    image, mask = head
    tone = tone_of(image, mask)
    assert tone.shape == (TONES,) and tone.dtype == np.float32
    expected = np.quantile(image[mask], np.linspace(1 / 48, 47 / 48, 24))
    np.testing.assert_allclose(tone, expected, atol=2e-3)  # the nearest voxel's, not in between
    assert np.isin(tone, image[mask]).all()
    image[~mask] = 1  # what lies outside doesn't count
    np.testing.assert_array_equal(tone_of(image, mask), tone)


@pytest.mark.parametrize("curve", [np.sqrt, lambda x: 0.3 * (x > 0) + 0.7 * x**2, lambda x: np.round(5 * x) / 5])
def test_a_monotone_curve_takes_tone_to_tone(head, curve):
    image, mask = head
    found, expected = tone_of(curve(image).astype(np.float32), mask), curve(tone_of(image, mask))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_blur_bias_noise_and_a_lesion_hardly_move_the_tone(head):
    image, mask = head
    ramp = np.exp(np.linspace(-0.1, 0.1, 24))[:, None, None]
    noise = 0.05 * np.random.default_rng(1).standard_normal(image.shape)
    lesion = np.where(np.arange(image.size).reshape(image.shape) % 100 == 0, 1, image)
    for changed in (image * ramp, image + noise, lesion):
        assert abs(tone_of(changed.clip(0, 1), mask) - tone_of(image, mask)).max() < 0.03


def test_an_empty_mask_is_named(head):
    with pytest.raises(ValueError, match="tone_of: the mask is empty"):
        tone_of(head[0], np.zeros_like(head[1]))


def test_a_volume_is_reconstructed_in_its_own_tone(head, monkeypatch):
    image, mask = head
    network, seen = UNet(8, (1, 2), 1, 8, patch=2, tones=TONES), []
    network.register_forward_pre_hook(lambda module, args: seen.append(args[2]))
    reconstruct_volume(GaussianDiffusion(network), image, mask, t=500, draws=2, seed=[0])
    assert len(seen) == 2 and all(tone.shape == (1, TONES) for tone in seen)
    np.testing.assert_array_equal(seen[0][0].numpy(), tone_of(image, mask))
    assert tone_for(GaussianDiffusion(UNet(8, (1, 2), 1, 8, patch=2)), image, mask) is None


def test_matching_undoes_a_curve(head):
    x, mask = head
    y = (x**2 * 0.6 + 0.3 * mask).astype(np.float32)
    found = match_tone(x, y, mask)
    assert found.dtype == np.float32 and (found[~mask] == 0).all()
    assert abs(y - x)[mask].mean() > 0.1
    assert abs(found - x)[mask].max() < 0.03
    assert 0 <= found.min() and found.max() <= 1


def test_matching_leaves_a_lesion(head):
    """A fifth of the voxels of every tone are bright in x and healthy in y: they stay apart, the others match."""
    x, mask = head
    lesion = mask & (np.random.default_rng(0).random(x.shape) < 0.2)
    y = (0.5 * x + 0.2 * mask).astype(np.float32)
    found = match_tone(np.where(lesion, 1, x).astype(np.float32), y, mask)
    assert abs(found - x)[mask].mean() < 0.08
    without = match_tone(x, y, mask)
    assert abs(without - x)[mask].mean() < 0.01


def test_matching_is_monotone_whatever_it_is_given():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 8, 8, 8), np.float32)  # unrelated
    y[:4] = 0.5  # ties, in many bins
    found = match_tone(x, y, np.ones(x.shape, bool))
    rising = found.ravel()[np.argsort(y, axis=None, kind="stable")]
    assert (np.diff(rising) >= -1e-6).all() and len(np.unique(found[:4])) == 1


@pytest.mark.parametrize("voxels", [0, 1, 2, 31])
def test_matching_of_few_voxels(voxels):
    x, y = np.random.default_rng(0).random((2, 8, 8, 8), np.float32)
    mask = np.zeros(x.shape, bool)
    mask.ravel()[:voxels] = True
    found = match_tone(x, y, mask)
    assert np.isfinite(found).all() and np.count_nonzero(found) <= voxels


def test_too_few_bins(head):
    with pytest.raises(ValueError, match="bins must be at least 2, got 1"):
        match_tone(head[0], head[0], head[1], bins=1)


def test_tone_goes_to_the_device_of_the_network(head):
    diffusion = GaussianDiffusion(UNet(8, (1, 2), 1, 8, patch=2, tones=TONES))
    tone = tone_for(diffusion, *head)
    assert tone.device == diffusion.betas.device and tone.dtype == torch.float32
