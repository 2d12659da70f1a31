"""What the teaching notebooks share: people of the cohort, the formulas taken apart."""

import numpy as np
import torch
from torch import nn

from essim import ssim
from essim.noise import gaussian_noise, simplex_noise
from essim.study import teaching


class Knows(nn.Module):
    """A network that knows the answer and records its inputs: {t: x_t}."""

    def __init__(self, x):
        super().__init__()
        self.x, self.seen = x, {}

    def forward(self, x_t, t):
        self.seen[int(t[0])] = x_t
        return 2 * self.x - 1


def test_a_patient_is_the_same_every_time_and_not_one_of_the_training(diffusion):
    one, again = teaching.scan("stroke", 1, "t1"), teaching.case("stroke", 1, "t1", diffusion)
    assert one.image.shape == (80, 96, 64) and one.image.dtype == np.float32
    assert (one.image == again.image).all() and (one.seg == again.seg).all() and one.seg.any()
    assert not again.reconstruction[~again.mask].any() and again.spacing_mm == (2, 2, 2)
    assert not teaching.scan("healthy", 0, "t2").seg.any()
    assert teaching.PEOPLE.seed not in (0, 1, 2)


def test_a_walk_of_one_step_is_the_reconstruction(diffusion):
    x = torch.rand(2, 1, 16, 16)
    once = teaching.walk_back(diffusion, x, [500], seed=3)
    assert torch.allclose(once, diffusion.reconstruct(x, t=500, seed=3), atol=1e-6)


def test_a_walk_with_a_network_that_knows_the_answer_finds_it_and_has_each_steps_noise_on_the_way(diffusion):
    x = torch.full((1, 1, 200, 200), 0.5)
    diffusion.noise, diffusion.model = "gaussian", Knows(x)
    assert torch.allclose(teaching.walk_back(diffusion, x, range(800, 0, -200), seed=0), x, atol=1e-6)
    assert list(diffusion.model.seen) == [800, 600, 400, 200]
    for t, x_t in diffusion.model.seen.items():
        assert abs(x_t.std() / (1 - diffusion.alphas_cumprod[t - 1]).sqrt() - 1) < 0.02


def test_luminance_contrast_and_structure_make_ssim():
    x, y = torch.rand(2, 1, 1, 20, 18, 16).unbind()
    product = torch.stack(list(teaching.ssim_factors(x, y, 1.2).values())).prod(0)
    assert torch.allclose(product, ssim.ssim_map(x.double(), y.double(), sigma=1.2, data_range=1.0), atol=1e-9)


def test_the_spectrum_of_gaussian_noise_is_flat_and_that_of_simplex_noise_falls():
    shape = (100, 1, 80, 96)
    wavelengths, power = teaching.spectrum(gaussian_noise(shape, seed=0)[:, 0].numpy())
    assert (np.diff(wavelengths) < 0).all() and np.allclose(power, 1, atol=0.15)
    _, power = teaching.spectrum(simplex_noise(shape, seed=0)[:, 0].numpy())
    assert power[0] > 100 * power[-1]


def test_tuning_gains_where_it_was_tuned_and_nothing_elsewhere():
    chance = np.random.default_rng(0).normal(size=(200, 16, 50))
    found = np.concatenate([teaching.tune_and_check(gains, 50, rounds=5) for gains in chance])
    assert (found[:, 0] > 0).all() and abs(found[:, 1].mean()) < 0.1 < found[:, 0].mean() / 5
    useful = np.ones((16, 50))
    assert np.allclose(teaching.tune_and_check(useful, 10), 1)
    assert not teaching.tune_and_check(-useful, 10).any(), "nothing at all is tried as well"
