"""What the teaching notebooks share: people of the cohort, the formulas taken apart, strips behind sliders."""

import time
from io import BytesIO

import numpy as np
import torch
from figures import drawn
from ipywidgets import IntSlider
from PIL import Image
from torch import nn

from essim import ssim
from essim.ensemble import ensemble_weights
from essim.figures import pictures
from essim.figures import teaching as plots_teaching
from essim.figures.pictures import ORANGE, Panel
from essim.noise import gaussian_noise, simplex_noise
from essim.study import teaching


class Knows(nn.Module):
    """A network that knows the answer, and keeps what it is shown: {t: x_t}."""

    def __init__(self, x):
        super().__init__()
        self.x, self.seen = x, {}

    def forward(self, x_t, t):
        self.seen[int(t[0])] = x_t
        return 2 * self.x - 1


def test_a_patient_is_the_same_every_time_and_none_that_the_networks_learned_from(diffusion):
    one, again = teaching.scan("stroke", 1, "t1"), teaching.case("stroke", 1, "t1", diffusion)
    assert one.image.shape == (80, 96, 64) and one.image.dtype == np.float32
    assert (one.image == again.image).all() and (one.seg == again.seg).all() and one.seg.any()
    assert not again.reconstruction[~again.mask].any() and again.spacing == (2, 2, 2)
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
    product = torch.stack(list(teaching.components(x, y, 1.2).values())).prod(0)
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


def test_a_strip_has_the_panels_colours():
    image, seg = np.zeros((6, 4)), np.zeros((6, 4), bool)
    image[0, 3], seg[3:5, 1:3] = 1, True  # left, in front
    marks = pictures.told_apart(seg, np.roll(seg, 1, 0))
    panels = (Panel(image, limits=(0, 1)), Panel(image, seg, limits=(0, 1)), Panel(image, limits=(0, 1), marks=marks))
    picture = np.array(Image.open(BytesIO(plots_teaching.strip(*panels))))
    zoom, gap = plots_teaching.ZOOM, plots_teaching.GAP
    assert picture.shape == (4 * zoom, (3 * 6 + 2 * gap) * zoom, 3)
    assert (picture[0, 0] == 255).all() and not picture[-1, 0].any(), "the front is up"
    orange = [int(ORANGE[i : i + 2], 16) for i in (1, 3, 5)]
    second = picture[:, (6 + gap) * zoom :][:, : 6 * zoom]
    assert np.abs(second - np.array(orange)).sum(2).min() <= 3
    assert set(np.unique(marks)) == {0, 1, 2, 3}


def test_a_picture_follows_its_slider_without_delay():
    panel = Panel(np.random.default_rng(0).random((80, 96)), np.eye(80, 96, dtype=bool), "map")
    box = plots_teaching.follow(lambda t: plots_teaching.strip(panel, Panel(panel.image + t)), t=IntSlider(1, 0, 9))
    slider, picture = box.children
    before, start = picture.value, time.process_time()
    slider.value = 5
    assert time.process_time() - start < 0.2
    assert picture.value != before and slider.description == "t"


def test_marks_are_explained():
    seg = np.eye(12, dtype=bool)
    figure = pictures.marks_grid([[Panel(seg * 1.0, marks=pictures.told_apart(seg, seg))]], ["a"], ["b"])
    assert [text.get_text() for text in drawn(figure).legends[0].get_texts()] == ["found", "missed", "false"]


def test_weights_are_shown_between_what_is_possible():
    similarity = torch.rand(8, 500, generator=torch.Generator().manual_seed(0)) * 2 - 1
    weights = ensemble_weights(similarity).numpy()
    figure = drawn(plots_teaching.weights(weights, weights.max(0) / weights.min(0)))
    for axis in figure.axes:
        assert np.isclose(sum(patch.get_height() for patch in axis.patches), 1), "none lies outside"
    extreme = ensemble_weights(torch.tensor([-1.0] + [1.0] * 7)[:, None])[0].item()
    assert np.isclose(figure.axes[0].lines[-1].get_xdata()[0], extreme)
