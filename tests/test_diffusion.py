"""The diffusion process: closed forms, inverses, oracles."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from essim.diffusion import GaussianDiffusion, make_betas
from essim.noise import gaussian_noise, simplex_noise
from essim.unet import UNet


class Perfect(nn.Module):
    """An oracle that knows the answer."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x, t):
        return self.answer


class Shrink(nn.Module):
    """A stand-in for a network: something of x_t and t, image by image."""

    def forward(self, x, t):
        return 0.8 * x - (t / 4000).reshape(-1, 1, 1, 1)


def slices(n=3, seed=0):
    return torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(seed))


def cosine_abar(t, timesteps=1000):
    def f(s):
        return math.cos((s / timesteps + 0.008) / 1.008 * math.pi / 2) ** 2

    return f(t) / f(0)


@pytest.mark.parametrize("timesteps", [1000, 100])
def test_cosine_schedule_is_the_closed_form(timesteps):
    abar = GaussianDiffusion(None, timesteps).alphas_cumprod
    assert abar.shape == (timesteps,)
    expected = np.array([cosine_abar(t, timesteps) for t in range(1, timesteps + 1)])
    # beta is clamped to 0.999, which only touches the very last step
    np.testing.assert_allclose(abar[:-1].numpy(), expected[:-1], atol=1e-7, rtol=1e-5)
    assert abar[-1].item() == pytest.approx(abar[-2].item() * 0.001, rel=1e-4)
    assert make_betas("cosine", timesteps)[-1] == 0.999
    assert make_betas("cosine", timesteps)[-2] < 0.999


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_few_steps_leave_something_of_the_image(schedule):
    betas = make_betas(schedule, 10)
    assert ((betas > 0) & (betas < 1)).all()


def test_linear_schedule_is_the_closed_form():
    diffusion = GaussianDiffusion(None, schedule="linear")
    betas = 1e-4 + (0.02 - 1e-4) * np.arange(1000) / 999
    np.testing.assert_allclose(diffusion.betas.numpy(), betas, rtol=1e-5)
    np.testing.assert_allclose(diffusion.alphas_cumprod.numpy(), np.exp(np.log1p(-betas).cumsum()), rtol=1e-5)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_signal_only_ever_falls(schedule):
    abar = GaussianDiffusion(None, schedule=schedule).alphas_cumprod
    assert (abar[1:] < abar[:-1]).all()
    assert abar[0] > 0.999
    assert 0 < abar[-1] < 1e-4


def test_q_sample_is_the_formula():
    diffusion = GaussianDiffusion(None)
    x0, noise = 2 * slices() - 1, simplex_noise((3, 1, 16, 16), seed=0)
    t = torch.tensor([1, 500, 1000])
    for i, step in enumerate((1, 500)):
        abar = cosine_abar(step)
        expected = math.sqrt(abar) * x0[i] + math.sqrt(1 - abar) * noise[i]
        assert torch.allclose(diffusion.q_sample(x0, t, noise)[i], expected, atol=1e-5)
    assert torch.allclose(diffusion.q_sample(x0, t, noise)[2], noise[2], atol=1e-3)  # nothing of the image is left


def test_the_tone_reaches_the_network():
    """Loss, estimate and reconstruction each depend on the given tone, and none can do without it."""
    torch.manual_seed(0)
    diffusion = GaussianDiffusion(UNet(8, (1, 2), 1, 8, patch=2, tones=4))
    for weights in diffusion.parameters():  # many start at 0
        weights.data += 0.2 * torch.randn(weights.shape)
    x, t = slices(), torch.tensor([500] * 3)
    noise, dark, bright = simplex_noise(x.shape, seed=0), torch.zeros(3, 4), torch.ones(3, 4)
    ways = {
        "p_losses": lambda **tone: diffusion.p_losses(2 * x - 1, t, noise, **tone),
        "predict_start": lambda **tone: diffusion.predict_start(noise, t, **tone),
        "reconstruct": lambda **tone: diffusion.reconstruct(x, seed=0, **tone),
    }
    assert diffusion.tones == 4 and GaussianDiffusion(Shrink()).tones == 0
    for name, way in ways.items():
        assert (way(tone=dark) - way(tone=bright)).abs().max() > 1e-3, name
        with pytest.raises(ValueError, match="needs a `tone`"):
            way()


def test_q_sample_and_predict_start_undo_each_other():
    diffusion = GaussianDiffusion(None)
    t = torch.arange(1, 991)  # beyond, sqrt(abar) < 0.02 amplifies the rounding
    x0 = (2 * torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0)) - 1).expand(len(t), -1, -1, -1)
    noise = gaussian_noise(x0.shape, seed=1)
    back = diffusion.predict_start_from_noise(diffusion.q_sample(x0, t, noise), t, noise)
    assert torch.allclose(back, x0, atol=1e-4, rtol=0)
    wrong = diffusion.predict_start_from_noise(diffusion.q_sample(x0, t, noise), t, -noise)
    assert (wrong - x0).abs().flatten(1).amax(1).min() > 1e-3


@pytest.mark.parametrize("objective", ["pred_x0", "pred_noise"])
def test_loss_of_a_perfect_model_is_zero(objective):
    x0, noise = 2 * slices() - 1, simplex_noise((3, 1, 16, 16), seed=0)
    t = torch.tensor([3, 400, 999])
    answer = x0 if objective == "pred_x0" else noise
    assert GaussianDiffusion(Perfect(answer), objective=objective).p_losses(x0, t, noise) == 0
    off = GaussianDiffusion(Perfect(answer + 0.25), objective=objective).p_losses(x0, t, noise)
    assert off.item() == pytest.approx(0.25, abs=1e-6)  # l1, averaged


@pytest.mark.parametrize("t", [1, 250, 500, 900])
def test_noise_oracle_gives_the_start_back(t):
    """x0 = (x_t - sqrt(1 - abar) noise) / sqrt(abar): without the division, the image would come back too dark."""
    x0, noise = 2 * slices() - 1, simplex_noise((3, 1, 16, 16), seed=0)
    steps = torch.full((3,), t)
    diffusion = GaussianDiffusion(Perfect(noise), objective="pred_noise")
    found = diffusion.predict_start(diffusion.q_sample(x0, steps, noise), steps)
    assert torch.allclose(found, x0, atol=1e-4, rtol=0)


def test_perfect_model_reconstructs_the_image():
    x = slices()
    found = GaussianDiffusion(Perfect(2 * x - 1)).reconstruct(x, draws=2, seed=0)
    assert torch.allclose(found, x, atol=1e-6, rtol=0)


@pytest.mark.parametrize("objective", ["pred_x0", "pred_noise"])
@pytest.mark.parametrize("answer", [-50.0, 50.0])
def test_reconstruction_stays_in_range(objective, answer):
    found = GaussianDiffusion(Perfect(torch.full((3, 1, 16, 16), answer)), objective=objective).reconstruct(slices())
    assert found.min() >= 0
    assert found.max() <= 1


def test_averages_over_draws_and_times():
    """t = [250, 500] with 2 draws is the mean of the four single reconstructions with the same noise."""
    diffusion, x = GaussianDiffusion(Shrink()), slices()
    streams = np.random.SeedSequence(11).generate_state(4)
    singles = []
    for t, stream in zip((250, 250, 500, 500), streams, strict=True):
        steps = torch.full((3,), t)
        noise = simplex_noise(x.shape, seed=int(stream))
        singles.append((diffusion.predict_start(diffusion.q_sample(2 * x - 1, steps, noise), steps) + 1) / 2)
    found = diffusion.reconstruct(x, t=[250, 500], draws=2, seed=11)
    assert torch.allclose(found, torch.stack(singles).mean(0), atol=1e-6, rtol=0)
    assert (found - singles[0]).abs().max() > 1e-2  # they do differ


def test_reconstruction_is_a_function_of_the_seed():
    diffusion, x = GaussianDiffusion(Shrink()), slices()
    first = diffusion.reconstruct(x, seed=1)
    torch.manual_seed(99)
    np.random.seed(99)
    assert torch.equal(first, diffusion.reconstruct(x, seed=1))
    assert not torch.equal(first, diffusion.reconstruct(x, seed=2))
    assert torch.equal(diffusion.reconstruct(x, seed=[1, 2]), diffusion.reconstruct(x, seed=[1, 2]))
    assert not torch.equal(diffusion.reconstruct(x, seed=[1, 2]), diffusion.reconstruct(x, seed=[2, 1]))
    assert not torch.equal(diffusion.reconstruct(x), diffusion.reconstruct(x))


@pytest.mark.parametrize("integer", [np.int64, np.int32])
def test_t_may_be_any_integer(integer):
    diffusion, x = GaussianDiffusion(Shrink()), slices()
    assert torch.equal(diffusion.reconstruct(x, t=integer(250), seed=0), diffusion.reconstruct(x, t=250, seed=0))
    assert torch.equal(diffusion.reconstruct(x, t=np.array([250]), seed=0), diffusion.reconstruct(x, t=250, seed=0))


@pytest.mark.parametrize("noise", ["simplex", "gaussian"])
def test_each_image_gets_its_own_noise(noise):
    diffusion = GaussianDiffusion(Shrink(), noise=noise)
    found = diffusion.reconstruct(slices(1).expand(2, -1, -1, -1), seed=0)
    assert (found[0] - found[1]).abs().max() > 1e-2


def test_one_field_for_all_images_of_a_batch():
    """As the paper's released code has it: a slice's noise doesn't depend on its place in the batch."""
    diffusion = GaussianDiffusion(Shrink(), noise="simplex_shared")
    found = diffusion.reconstruct(slices(1).expand(3, -1, -1, -1), seed=0)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    alone = GaussianDiffusion(Shrink()).reconstruct(slices(1), seed=0)  # the field is that of a batch of one
    assert torch.equal(found[:1], alone)
    assert not torch.equal(found, diffusion.reconstruct(slices(1).expand(3, -1, -1, -1), seed=1))


def test_more_noise_hides_more():
    """Less of a bright square is left as t grows."""
    diffusion = GaussianDiffusion(nn.Identity())
    diffusion.model.forward = lambda x, t: x
    x = torch.zeros(1, 1, 16, 16)
    x[..., 4:12, 4:12] = 1
    x = x.expand(32, -1, -1, -1)

    def contrast(t):
        y = diffusion.reconstruct(x, t=t, seed=0)
        return (y[..., 5:11, 5:11].mean() - y[..., :3, :].mean()).item()

    assert contrast(50) > contrast(400) + 0.1
    assert contrast(400) > contrast(800) + 0.1


def test_no_gradients_in_reconstruction_but_in_the_loss():
    torch.manual_seed(0)
    network = UNet(channels=8, multipliers=(1, 2), blocks=1, head_channels=8, patch=2)
    diffusion = GaussianDiffusion(network)
    assert not diffusion.reconstruct(slices(), t=10).requires_grad
    loss = diffusion.p_losses(2 * slices() - 1, torch.tensor([1, 2, 3]), simplex_noise((3, 1, 16, 16), seed=0))
    loss.backward()
    assert network.head[-1].weight.grad.abs().max() > 0
    assert set(diffusion.state_dict()) == {f"model.{k}" for k in network.state_dict()}  # the schedule isn't stored


def test_errors():
    diffusion, x = GaussianDiffusion(Shrink(), timesteps=100), slices()
    for t in (0, 101, -1, [50, 101], []):
        with pytest.raises(ValueError, match=r"t must lie in 1\.\.100"):
            diffusion.reconstruct(x, t=t)
    for draws in (0, -1):
        with pytest.raises(ValueError, match="draws must be at least 1"):
            diffusion.reconstruct(x, t=50, draws=draws)
    with pytest.raises(ValueError, match="schedule must be 'cosine' or 'linear', got 'sigmoid'"):
        GaussianDiffusion(None, schedule="sigmoid")
    with pytest.raises(ValueError, match="objective must be 'pred_x0' or 'pred_noise', got 'pred_v'"):
        GaussianDiffusion(None, objective="pred_v")
    with pytest.raises(
        ValueError, match=r"noise must be one of \['gaussian', 'simplex', 'simplex_shared'\], got 'perlin'"
    ):
        GaussianDiffusion(None, noise="perlin")
