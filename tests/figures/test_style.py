"""The style of the figures: labels of sets, looks of methods."""

import pandas as pd

from essim.figures.style import METHOD_STYLES, SET_NAMES, error_bars, method_styles, ordered_styles, series_styles


def test_an_unknown_set_is_called_by_its_own_name():
    assert [SET_NAMES[name] for name in ("ms", "isles")] == ["MS", "isles"]


def test_single_windows_and_unknown_methods_have_styles_of_their_own():
    styles = method_styles(["l1", "ssim 0.3", "ssim best", "ssim 4", "another"])
    assert [style.label for style in styles.values()] == [
        "l1",
        "SSIM, σ = 0.3",
        "SSIM, best σ",
        "SSIM, σ = 4",
        "another",
    ]
    assert styles["l1"] is METHOD_STYLES["l1"] and styles["ssim best"] is METHOD_STYLES["ssim best"]
    assert len({(style.colour, style.marker) for style in styles.values()}) == 4, "the best window looks like the first"
    assert list(ordered_styles(["adaptive", "another", "l1"])) == ["l1", "adaptive"]


def test_methods_of_one_evaluation_are_told_apart_without_colour():
    names = ("intensity", "blur", "l1", "ssim default", "ssim best", "adaptive", "calibrated")
    for look in ("line", "marker"):
        assert len({getattr(METHOD_STYLES[name], look) for name in names}) == len(names)


def test_series_go_round():
    styles = list(series_styles(range(7)).values())
    assert styles[:2] == styles[5:] and len({style["marker"] for style in styles[:5]}) == 5


def test_no_interval_no_bar():
    table = pd.DataFrame({"dice": [0.5, 0.5], "dice_low": [0.4, None], "dice_high": [0.7, None]})
    bars = error_bars(table, "dice")
    assert bars[:, 0].round(9).tolist() == [0.1, 0.2] and pd.isna(bars[:, 1]).all()
