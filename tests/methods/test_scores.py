"""Every score: its map's shape, range and mask, that a lesion stands out in it, and what its paper says of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from profiles import read_profile
from torch import nn

from essim import calibrated_map, ensemble_map, ssim_map
from essim.calibration import Calibration, calibrated_l1
from essim.diffusion import GaussianDiffusion
from essim.methods import registry
from essim.methods.context import Context, anomaly_map, is_alone, pair
from essim.methods.scores import andi, mahalanobis
from essim.ssim import SIGMAS, factors, local_moments
from essim.study.teaching import ssim_factors

SHAPE = (24, 24, 16)
SCORES = registry.scores()


class Oracle(nn.Module):
    """A network that knows the slices."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x, t):
        return self.answer.expand(len(x), -1, -1, -1)


def slices_of(volume, mask):
    """[N, 1, H, W] in [-1, 1] of those slices that have brain."""
    return 2 * torch.from_numpy(volume.transpose(2, 0, 1)[mask.any((0, 1))])[:, None] - 1


@pytest.fixture(scope="module")
def scene():
    """A scan with a bright ball, three healthy draws that differ a little, the mask, the ball, and a context."""
    rng = np.random.default_rng(0)
    axes = np.meshgrid(*((np.arange(n) - (n - 1) / 2) for n in SHAPE), indexing="ij")
    mask = sum((axis / n) ** 2 for axis, n in zip(axes, SHAPE, strict=True)) < 0.45**2
    ball = sum((axis - 2) ** 2 for axis in axes) < 3**2
    healthy = ((0.4 + 0.1 * np.sin(axes[0]) + 0.02 * rng.standard_normal(SHAPE)) * mask).astype(np.float32)
    x = np.where(ball, 0.9, healthy + 0.02 * rng.standard_normal(SHAPE) * mask).clip(0, 1).astype(np.float32)
    ys = np.stack([(healthy + 0.01 * rng.standard_normal(SHAPE) * mask).astype(np.float32) for _ in range(3)])
    ones = torch.ones(1 + len(SIGMAS), *(side // 2 for side in SHAPE))
    calibration = Calibration(SIGMAS, SHAPE, 0.01 * ones, 0.05 * ones, 0.02, 2)
    diffusion = GaussianDiffusion(Oracle(slices_of(healthy, mask)))
    segmenter = GaussianDiffusion(Oracle(8 * slices_of(ball.astype(np.float32), mask)))
    context = {"calibration": calibration, "diffusion": diffusion, "steps": (160, 390), "segmenter": segmenter}
    return x, ys.clip(0, 1), mask, ball, Context(**context)


def map_of(name, scene, **changes):
    x, ys, mask, _, context = scene
    return anomaly_map(SCORES[name], x, ys, mask, context=replace(context, **changes))


@pytest.mark.parametrize("name", SCORES)
def test_every_score_shows_a_planted_lesion(name, scene):
    _, _, mask, ball, _ = scene
    anomaly = map_of(name, scene)
    assert anomaly.shape == SHAPE and anomaly.dtype == np.float32
    assert np.isfinite(anomaly).all() and anomaly.min() >= 0 and not anomaly[~mask].any()
    assert anomaly[ball].mean() > 2 * anomaly[mask & ~ball].mean()
    assert np.array_equal(anomaly, map_of(name, scene)), "what is random is fixed by the seed"


@pytest.mark.parametrize("name", sorted({*SCORES} - {name for name in SCORES if is_alone(SCORES[name])}))
def test_a_perfect_reconstruction_shows_nothing(name, scene):
    x, ys, mask, _, context = scene
    same = np.repeat(x[None], len(ys), axis=0)
    assert anomaly_map(SCORES[name], x, same, mask, context=context).max() < 1e-5


def test_every_score_is_in_the_profile():
    assert set(read_profile("paper")["methods"]["scores"]) == set(SCORES)


@pytest.mark.parametrize("name", [name for name, module in SCORES.items() if module.DRAWS > 1])
def test_one_draw_is_not_enough_for_a_spread(name, scene):
    x, ys, mask, _, context = scene
    with pytest.raises(ValueError, match=f"{name}: needs 2 draws or more, got 1; set `draws` to 2"):
        anomaly_map(SCORES[name], x, ys[:1], mask, context=context)


@pytest.mark.parametrize("name", [name for name, module in SCORES.items() if module.NEEDS])
def test_what_a_score_needs_is_named(name, scene):
    x, ys, mask, _, _ = scene
    needs = " and ".join(SCORES[name].NEEDS)
    with pytest.raises(ValueError, match=f"{name}: needs {needs}, which the context doesn't have; give it, or leave"):
        anomaly_map(SCORES[name], x, ys, mask, context=Context())


def test_volumes_that_do_not_fit_are_one_sentence(scene):
    x, ys, mask, _, context = scene
    with pytest.raises(ValueError, match=r"l1: x, ys and mask must be .*, got \[24, 24, 16\], \[24, 24, 16\] and"):
        anomaly_map(SCORES["l1"], x, ys[0], mask, context=context)


def test_an_unknown_score_is_one_sentence():
    with pytest.raises(ValueError, match="there is no 'l3'; take one of adaptive, "):
        registry.pick(SCORES, "l3")


# What must hold for each


def test_l2_is_l1_squared(scene):
    np.testing.assert_allclose(map_of("l2", scene), map_of("l1", scene) ** 2, rtol=1e-5)


def test_fusions_lie_where_they_must(scene):
    l1, ssim = map_of("l1", scene), map_of("ssim", scene) / 2
    product, mean, most = (map_of(f"l1_ssim_{name}", scene) for name in ("product", "mean", "max"))
    assert (product <= np.minimum(l1, ssim) + 1e-6).all() and (np.minimum(l1, ssim) <= mean + 1e-6).all()
    assert (mean <= most + 1e-6).all() and np.array_equal(most, np.maximum(l1, ssim))
    np.testing.assert_allclose(map_of("ssim_l1", scene), 0.84 * 2 * ssim + 0.16 * l1, atol=1e-6)


def test_the_ensembles_are_the_studys(scene):
    x, ys, mask, _, context = scene
    volumes = pair(x, ys)
    for name, own in (
        ("adaptive", ensemble_map(*volumes)),
        ("calibrated", calibrated_map(*volumes, context.calibration)),
        ("l1_calibrated", calibrated_l1(*volumes, context.calibration)),
    ):
        np.testing.assert_array_equal(map_of(name, scene), own[0, 0].numpy() * mask)
    assert np.abs(map_of("adaptive", scene, sigmas=(1.1,)) - map_of("adaptive", scene)).max() > 0.01


def test_ssims_parts_are_those_of_its_definition(scene):
    x, y = pair(*scene[:2])
    data_range = max(volume.max().item() - volume.min().item() for volume in (x, y))
    u, v = factors(local_moments(x, y, 1.5), torch.tensor([data_range]))
    np.testing.assert_allclose((1 - 2 * u) * (1 - 2 * v), ssim_map(x, y, sigma=1.5), atol=1e-5)
    parts = {name: part[0, 0].numpy() for name, part in ssim_factors(x, y, 1.5, data_range).items()}
    mask = scene[2]
    np.testing.assert_allclose(map_of("contrast", scene), (1 - parts["contrast"]) * mask, atol=1e-5)
    np.testing.assert_allclose(
        map_of("structure", scene), (1 - parts["contrast"] * parts["structure"]) * mask, atol=1e-4
    )


def test_structure_and_contrast_do_not_see_brightness(scene):
    x, _, _, _, context = scene
    everywhere = np.ones(SHAPE, bool)
    for name, seen in (("structure", False), ("contrast", False), ("ssim", True)):
        brighter = anomaly_map(SCORES[name], x, x[None] + np.float32(0.1), everywhere, context=context)
        assert (brighter.max() > 1e-3) == seen


def test_mahalanobis_without_covariance_is_the_euclidean_distance():
    """One draw has no covariance; with lambda = 1 what is left of P is the unit matrix, and the distance is l2."""
    difference = np.random.default_rng(0).standard_normal(9)
    np.testing.assert_allclose(mahalanobis.shares(difference, np.zeros((1, 9)), 1.0), np.abs(difference))


@pytest.mark.parametrize("draws", [2, 5, 12])
def test_mahalanobis_is_its_formula(draws):
    rng = np.random.default_rng(draws)
    ys, difference = rng.standard_normal((draws, 7)), rng.standard_normal(7)
    inverse = np.linalg.inv(np.cov(ys, rowvar=False) + 0.3 * np.eye(7))
    expected = difference * (inverse @ difference)
    found = mahalanobis.shares(difference, ys - ys.mean(0), 0.3)
    np.testing.assert_allclose(found, np.sqrt(np.clip(expected, 0, None)), atol=1e-10)


def test_mahalanobis_counts_less_where_draws_disagree(scene):
    x, ys, mask, _, context = scene
    half = np.zeros(SHAPE, bool)
    half[: SHAPE[0] // 2] = True
    along = half * (x - ys.mean(0))
    unsure = ys + np.stack([-3 * along, 0 * along, 3 * along])  # the mean stays as it is
    before, after = (anomaly_map(mahalanobis, x, draws, mask, context=context) for draws in (ys, unsure))
    assert after[half & mask].sum() < 0.5 * before[half & mask].sum()


def test_andi_is_0_where_the_prediction_is_perfect(scene):
    x, ys, mask, _, _ = scene
    perfect = GaussianDiffusion(Oracle(slices_of(x, mask)))
    assert not map_of("andi", scene, diffusion=perfect).any()
    once = GaussianDiffusion(Fits(slices_of(x, mask), at=390))
    assert not map_of("andi", scene, diffusion=once).any(), "one step that fits is enough"
    assert map_of("andi", scene, diffusion=once, steps=(160,)).any()


class Fits(nn.Module):
    """An oracle at one noising step, 0 at the others."""

    def __init__(self, answer, at):
        super().__init__()
        self.answer, self.at = answer, at

    def forward(self, x, t):
        return self.answer * (t == self.at).reshape(-1, 1, 1, 1)


def test_andi_compares_the_means_of_the_reverse_steps():
    diffusion, steps = GaussianDiffusion(Oracle(torch.full((1, 1, 8, 8), 0.2))), (1, 160, 390)
    x0 = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    squares = []
    for step, stream in zip(steps, (3, 4, 5), strict=True):
        abar, beta = diffusion.alphas_cumprod[step - 1], diffusion.betas[step - 1]
        before = diffusion.alphas_cumprod[step - 2] if step > 1 else torch.tensor(1.0)
        x_t = diffusion.q_sample(x0, torch.tensor([step, step]), diffusion.sample_noise(x0.shape, seed=stream))

        def mean(start, x_t=x_t, abar=abar, beta=beta, before=before):  # of q(x_s | x_t, x_0), Ho et al., equation 7
            noised = (1 - beta).sqrt() * (1 - before) / (1 - abar) * x_t
            return noised + before.sqrt() * beta / (1 - abar) * start

        squares.append((mean(x0) - mean(diffusion.predict_start(x_t, torch.tensor([step, step])))) ** 2)
    expected = torch.stack(squares).prod(0) ** (1 / 3)
    found = andi.deviation(diffusion, x0, steps, (3, 4, 5))
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-9)
