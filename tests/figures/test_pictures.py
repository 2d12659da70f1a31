"""Pictures: slices stand upright, lesions are outlined, marks and colours are explained, strips follow a slider."""

import time
from io import BytesIO

import numpy as np
from figures import drawn
from ipywidgets import IntSlider
from PIL import Image

from essim.figures import pictures, teaching
from essim.figures.pictures import Panel
from essim.figures.style import ORANGE


def test_reconstructions_stand_beside_the_scan_and_their_differences_behind():
    x, seg = np.full((6, 8), 0.5), np.zeros((6, 8), bool)
    seg[2:4, 3:6] = True
    rows = {"healthy": [x, seg & False, x - 0.1, x + 0.2], "ms": [x, seg, x, x - 0.3]}
    figure = drawn(pictures.show_reconstructions(rows, ["blurred", "VAE"]))
    axes = np.array(figure.axes[:10]).reshape(2, 5)
    titles = ["input x", "blurred", "VAE", "|x \N{MINUS SIGN} blurred|", "|x \N{MINUS SIGN} VAE|"]
    assert [axis.get_title() for axis in axes[0]] == titles
    assert [line[0].get_ylabel() for line in axes] == ["Healthy", "MS"]
    shown = [[axis.images[0].get_array().mean() for axis in line] for line in axes]
    np.testing.assert_allclose(shown, [[0.5, 0.4, 0.7, 0.1, 0.2], [0.5, 0.5, 0.2, 0, 0.3]], atol=1e-12)
    outlined = [[bool(axis.collections) for axis in line] for line in axes]
    assert outlined == [[False] * 5, [True, False, False, True, True]]


def test_slices_stand_upright():
    image = np.zeros((4, 6))
    image[3, 5] = 1  # right, front
    figure, axes = pictures.slice_grid([[pictures.Panel(image)]], ["T1"], ["one"])
    drawn(figure)
    (picture,) = axes[0, 0].images
    assert picture.origin == "lower"  # the front is on top
    assert picture.get_array()[5, 3] == 1 and picture.get_array().shape == (6, 4)  # the right is on the right
    assert axes[0, 0].get_title() == "T1" and axes[0, 0].get_ylabel() == "one"


def test_scans_are_grey_and_maps_are_not_and_both_start_at_0():
    image = np.linspace(0, 2, 24).reshape(4, 6)
    panels = [pictures.Panel(image), pictures.Panel(image, kind="map", limits=(0, 0.5))]
    _, axes = pictures.slice_grid([panels], "ab", [""])
    scan, anomaly = (axis.images[0] for axis in axes[0])
    assert (scan.get_cmap().name, anomaly.get_cmap().name) == ("gray", "cividis")
    assert scan.get_clim()[0] == 0 and 1.9 < scan.get_clim()[1] <= 2
    assert anomaly.get_clim() == (0, 0.5)


def test_an_empty_outline_and_an_empty_image_are_drawn():
    nothing = np.zeros((5, 5))
    drawn(pictures.show_kernel_maps({"a": nothing, "b": nothing}, nothing > 0))


def test_a_crop_keeps_the_lesion_and_its_margin():
    seg = np.zeros((20, 30), bool)
    seg[5:8, 27:29] = True
    assert pictures.box_around(seg, margin=2) == (slice(3, 10), slice(25, 31))
    assert seg[pictures.box_around(seg, margin=2)].sum() == seg.sum()
    assert pictures.box_around(np.zeros((3, 3), bool), margin=2) == (slice(None), slice(None))


def test_every_picture_can_be_drawn():
    rng = np.random.default_rng(0)
    image, seg = rng.random((10, 12)), rng.random((10, 12)) > 0.8
    cohort = pictures.show_cohort({"healthy": [(image, image, seg & False)] * 2, "ms": [(image, image, seg)] * 2})
    assert [axis.get_ylabel() for axis in drawn(cohort).axes[::4]] == ["Healthy", "MS"]
    drawn(pictures.show_forward_process({"gaussian": [image] * 3, "simplex": [image] * 3}, [1, 500, 1000]))
    figure = drawn(pictures.show_reconstruction([(image, image, seg)] * 2, ["a", "b"]))
    assert figure.axes[-1].get_ylabel() == "|x \N{MINUS SIGN} y| (intensity)"  # the colour bar has its unit
    stack = rng.random((3, 10, 12))
    drawn(pictures.show_ensemble_weights(stack, stack / stack.sum(0), [0.3, 0.5, 0.7], seg))
    columns = ["input", "reconstruction", "l1", "truth"]
    figure = drawn(pictures.show_examples({name: [image, image, image, seg] for name in ("wmh", "ms")}, columns))
    assert [axis.get_title() for axis in figure.axes[:4]] == ["input", "reconstruction", "l1", "ground truth"]


def test_the_gallery_tells_found_missed_and_false_apart():
    image, seg, marked = np.zeros((4, 4)), np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    seg[0, :2] = marked[0, 1:3] = True
    figure = drawn(pictures.show_gallery([(image, image, {"l1": image}, marked, seg)], ["best"]))
    shown = figure.axes[-1].images[-1].get_array()
    assert shown[:, 0].tolist() == [2, 1, 3, None]  # missed, found, false; the rest shows the scan
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["found", "missed", "false"]


def test_a_strip_has_the_panels_colours():
    image, seg = np.zeros((6, 4)), np.zeros((6, 4), bool)
    image[0, 3], seg[3:5, 1:3] = 1, True  # left, in front
    marks = pictures.hits_and_misses(seg, np.roll(seg, 1, 0))
    panels = (Panel(image, limits=(0, 1)), Panel(image, seg, limits=(0, 1)), Panel(image, limits=(0, 1), marks=marks))
    picture = np.array(Image.open(BytesIO(teaching.strip(*panels))))
    zoom, gap = teaching.ZOOM, teaching.GAP
    assert picture.shape == (4 * zoom, (3 * 6 + 2 * gap) * zoom, 3)
    assert (picture[0, 0] == 255).all() and not picture[-1, 0].any(), "the front is up"
    orange = [int(ORANGE[i : i + 2], 16) for i in (1, 3, 5)]
    second = picture[:, (6 + gap) * zoom :][:, : 6 * zoom]
    assert np.abs(second - np.array(orange)).sum(2).min() <= 3
    assert set(np.unique(marks)) == {0, 1, 2, 3}


def test_a_picture_follows_its_slider_without_delay():
    panel = Panel(np.random.default_rng(0).random((80, 96)), np.eye(80, 96, dtype=bool), "map")
    box = teaching.follow(lambda t: teaching.strip(panel, Panel(panel.image + t)), t=IntSlider(1, 0, 9))
    slider, picture = box.children
    before, start = picture.value, time.process_time()
    slider.value = 5
    assert time.process_time() - start < 0.2
    assert picture.value != before and slider.description == "t"


def test_marks_are_explained():
    seg = np.eye(12, dtype=bool)
    figure = pictures.show_marks([[Panel(seg * 1.0, marks=pictures.hits_and_misses(seg, seg))]], ["a"], ["b"])
    assert [text.get_text() for text in drawn(figure).legends[0].get_texts()] == ["found", "missed", "false"]
