"""The augmentations are TorchIO's, in two dimensions and for a batch; each slice's are its own."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import torchio as tio
from scipy import ndimage

from essim.train import augment
from essim.train.augment import POWERS, Change


@pytest.fixture
def slices():
    """Smooth slices [3, 1, 40, 48] in [0, 1] with an empty border, as scans have."""
    noise = np.random.default_rng(0).random((3, 1, 40, 48))
    smooth = ndimage.gaussian_filter(noise, (0, 0, 1.5, 1.5))
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    smooth[:, :, [*range(8), *range(-8, 0)]] = 0
    smooth[..., [*range(8), *range(-8, 0)]] = 0
    return torch.tensor(smooth, dtype=torch.float32)


def one(slices, **change):
    return augment.apply(slices[:1], [Change(**change)])[0]


def theirs(transform, slices):
    """What TorchIO makes of the first slice, as a volume of one slice."""
    return transform(slices[0][..., None])[..., 0].clamp(0, 1)


def test_nothing_is_nothing(slices):
    assert torch.equal(augment.apply(slices, [Change()] * 3), slices)


@pytest.mark.parametrize("gamma", [0.75, 1.3])
def test_gamma(slices, gamma):
    torch.testing.assert_close(one(slices, gamma=gamma), theirs(tio.Gamma(gamma), slices))


@pytest.mark.parametrize("blur", [(1.3, 0.4), (0.0, 2.0), (0.7, 0.0)])
def test_blur(slices, blur):
    torch.testing.assert_close(one(slices, blur=blur), theirs(tio.Blur((*blur, 0)), slices), atol=1e-3, rtol=0)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("ghosts", [4, 7, 10])
def test_ghosting(slices, ghosts, axis):
    expected = theirs(tio.Ghosting(num_ghosts=ghosts, axis=axis, intensity=0.7, restore=0.02), slices)
    assert (expected - slices[0]).abs().max() > 0.01
    torch.testing.assert_close(one(slices, ghosts=ghosts, axis=axis, dimmed=0.7), expected, atol=1e-5, rtol=0)


def test_bias_is_the_exponential_of_a_polynomial(slices):
    bias = np.zeros(len(POWERS))
    bias[POWERS.index((1, 0))], bias[POWERS.index((0, 2))] = 0.3, -0.4
    u, v = np.meshgrid(np.linspace(-1, 1, 40), np.linspace(-1, 1, 48), indexing="ij")
    expected = (slices[0] * torch.tensor(np.exp(0.3 * u - 0.4 * v**2), dtype=torch.float32)).clamp(0, 1)
    torch.testing.assert_close(one(slices, bias=tuple(bias)), expected)


def test_a_batch_is_its_slices_one_by_one(slices):
    changes = [augment.draw((0, i), 1) for i in range(40)]
    batch = slices[torch.arange(40) % 3]
    whole = augment.apply(batch, changes)
    for i in range(40):
        torch.testing.assert_close(augment.apply(batch[i : i + 1], changes[i : i + 1])[0], whole[i], atol=1e-6, rtol=0)
    assert whole.shape == batch.shape and whole.dtype == torch.float32
    assert 0 <= whole.min() and whole.max() <= 1
    assert torch.equal(batch, slices[torch.arange(40) % 3])  # the input is left as it was


@pytest.mark.parametrize("shape", [(15, 16), (16, 15), (7, 9)])
def test_odd_sizes(shape):
    slices = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(0))
    found = augment.apply(slices, [Change(blur=(1, 1)), Change(ghosts=4, axis=1, dimmed=1.0)])
    assert found.shape == slices.shape and torch.isfinite(found).all()


def test_how_often_and_how_much():
    changes, plain = [augment.draw((1, i), 1) for i in range(2000)], Change()
    names = [field.name for field in fields(Change)]
    happened = {name: np.mean([getattr(c, name) != getattr(plain, name) for c in changes]) for name in names}
    for name, chance in {"gamma": 0.5, "bias": 0.25, "blur": 0.25, "ghosts": 0.5}.items():
        assert happened[name] == pytest.approx(chance, abs=0.04)
    gammas = np.log([c.gamma for c in changes])
    assert -0.3 <= gammas.min() < -0.29 and 0.29 < gammas.max() <= 0.3
    assert {c.ghosts for c in changes} == {0, *range(4, 11)} and {c.axis for c in changes} == {0, 1}
    assert all(0.5 <= c.dimmed <= 1 for c in changes if c.ghosts)
    assert 1.95 < max(max(c.blur) for c in changes) <= 2
    assert 0.49 < max(max(c.bias) for c in changes) <= 0.5


@pytest.mark.parametrize("pixel_mm", [1, 2])
def test_the_blur_is_as_wide_in_mm_whatever_the_pixels(pixel_mm):
    """TorchIO's 0 to 2 mm: 0 to 2 pixels of 1 mm, 0 to 1 pixel of 2 mm; nothing else hangs on the pixels."""
    changes = [augment.draw((1, i), pixel_mm) for i in range(2000)]
    widths = np.array([change.blur for change in changes if any(change.blur)]) * pixel_mm
    assert 1.95 < widths.max() <= 2 and widths.mean() == pytest.approx(1, abs=0.06)
    finer = [augment.draw((1, i), 0.5) for i in range(2000)]
    assert [replace(c, blur=(0, 0)) for c in changes] == [replace(c, blur=(0, 0)) for c in finer]


def test_a_slices_change_follows_from_its_key():
    assert augment.draw((3, 5), 2) == augment.draw((3, 5), 2) != augment.draw((3, 6), 2)
    np.random.seed(0)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert augment.draw((3, 5), 2) == augment.draw((3, 5), 2)
    assert torch.equal(torch.get_rng_state(), before)
