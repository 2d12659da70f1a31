"""The tone of a volume: quantiles that follow every monotone curve, and a network conditioned on them."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from essim.diffusion import GaussianDiffusion
from essim.reconstruct import reconstruct_volume, tone_for
from essim.tone import TONES, tone_of
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


def test_tone_goes_to_the_device_of_the_network(head):
    diffusion = GaussianDiffusion(UNet(8, (1, 2), 1, 8, patch=2, tones=TONES))
    tone = tone_for(diffusion, *head)
    assert tone.device == diffusion.betas.device and tone.dtype == torch.float32
