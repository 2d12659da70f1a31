"""The way back in several steps, against its closed forms."""

import pytest
import torch
from entries import network, slices, stub

from essim.methods import chain


def test_steps_fall_from_a_share_to_the_last():
    model = network("ddpm", timesteps=1000)
    assert chain.steps_from(model, 0.5) == [500]
    assert chain.steps_from(model, 0.5, 5) == [500, 400, 300, 200, 100]
    assert chain.steps_from(model, 0.05, 3) == [50]  # below the last there is no way
    assert chain.steps_from(network("ddpm", timesteps=2), 0.1, 4) == [1]


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_step_back_from_the_truth_is_as_noised_as_its_time_says(eta):
    model, x = network("ddpm", noise="gaussian"), slices(1).expand(2000, -1, -1, -1)
    x_t, _ = chain.noised(model, x, 60, 0)
    noise = model.sample_noise(x.shape, seed=1)
    x_s = chain.step_back(model, x_t, 60, 30, x, eta=eta, noise=noise)
    abar = model.alphas_cumprod[29]
    left = x_s - abar.sqrt() * (2 * x - 1)
    assert left.std() == pytest.approx((1 - abar).sqrt().item(), rel=0.01) and left.mean().abs() < 0.01
    again = chain.step_back(model, x_t, 60, 30, x, eta=eta, noise=-noise)
    assert torch.equal(x_s, again) == (eta == 0)


def test_eta_1_one_step_down_is_the_posterior_of_the_ddpm():
    model, y = network("ddpm"), slices(2)
    x_t, t = torch.rand(2, 1, 16, 16), 40
    found = chain.step_back(model, x_t, t, t - 1, y, eta=1, noise=torch.ones_like(y))
    beta, abar, before = model.betas[t - 1], model.alphas_cumprod[t - 1], model.alphas_cumprod[t - 2]
    mean = before.sqrt() * beta / (1 - abar) * (2 * y - 1) + (1 - beta).sqrt() * (1 - before) / (1 - abar) * x_t
    torch.testing.assert_close(found, mean + (beta * (1 - before) / (1 - abar)).sqrt(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("eta", [0, 1])
def test_a_network_that_knows_the_slice_leads_back_to_it(eta):
    x = slices()
    model = stub(network("ddpm"), lambda x_t, t: 2 * x - 1)
    torch.testing.assert_close(chain.walk_back(model, x, [50, 30, 10], None, eta=eta, seed=0), x)


def test_unlike_is_0_for_what_is_alike_and_widening_takes_the_largest():
    x = slices()
    assert chain.unlike(x, x).abs().max() < 1e-6
    assert 0.2 < chain.unlike(x, 1 - x)[:, :, 4:-4, 5:-5].mean() <= 1
    dot = torch.zeros(1, 1, 7, 7)
    dot[0, 0, 3, 3] = 1
    wide = chain.widen(dot, 3)
    assert wide.sum() == 9 and wide[0, 0, 2:5, 2:5].all()
