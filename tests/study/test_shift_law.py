"""The law follows from the table: one axis along which a gain grows with the residual, one along which it doesn't."""

import numpy as np
import pandas as pd
import pytest

from essim.study import shift_law

AXES = ("contrast", "noise")


def table(slope=0.2, patients=4, noise=0.01):
    """SSIM at 0.3 gains slope * (residual - 1.6) over l1 along contrast, nothing along noise; at 2 it never does."""
    rng, rows = np.random.default_rng(0), []
    for person in range(patients):
        own = 0.3 + 0.1 * rng.random()
        for axis, amount in [("", 0.0)] + [(axis, amount) for axis in AXES for amount in (0.5, 1.0)]:
            off = 1 + amount * (axis == "contrast")
            about = {"dataset": "ms", "subject": f"p{person}", "axis": axis, "amount": amount, "network": "told"}
            about |= {"residual": off, "divergence": 1 - amount, "drift": off, "level": 0.5 - 0.1 * off}
            gains = {"l1": 0, "ssim 0.3": slope * (off - 1.6), "ssim 2": -0.2, "adaptive": 0.1, "calibrated": -0.1}
            for method, gain in gains.items():
                auprc = own + gain + noise * (method != "l1") * rng.standard_normal()
                rows += [about | {"method": method, "post": post, "auprc": auprc} for post in ("median", "smooth")]
    return pd.DataFrame(rows)


def test_the_best_window_is_one_for_all_patients():
    best = shift_law.with_best(table())
    assert set(best.method) == {"l1", "ssim best", "adaptive", "calibrated"}
    assert (best[best.method == "ssim best"].sigma == 0.3).all() and best[best.method == "l1"].sigma.isna().all()
    means = shift_law.means(best)
    assert len(means) == 5 * 2 * 4 and (means.subjects == 4).all()
    assert (means.auprc_low <= means.auprc).all()


def test_a_gain_that_follows_the_residual_is_found_with_its_crossing():
    best = shift_law.with_best(table())
    law = shift_law.law(best).set_index(["post", "method", "measure"])
    row = law.loc["median", "ssim best", "residual"]
    assert row.rho > 0.5 and row.crossing == pytest.approx(1.6, abs=0.1)
    assert row.crossing_low < row.crossing < row.crossing_high and row.scanners == 5 and row.subjects == 4
    assert row.ahead == 0.2 and (row.least, row.most) == (1, 2)
    assert law.loc[("median", "ssim best", "divergence"), "rho"] < 0
    darker = law.loc["median", "ssim best", "level"]
    assert darker.rho == -row.rho and darker.crossing == pytest.approx(0.34, abs=0.01)
    always = law.loc["median", "adaptive", "residual"]
    assert always.ahead == 1 and np.isnan(always.crossing), "ahead everywhere: it crosses nowhere"
    words = shift_law.say_law(shift_law.law(best), "told", "median")
    assert (
        len(words) == 1
        and "ahead of l1 on 20% of 5 scanners" in words[0]
        and "ahead above a residual of 1.6" in words[0]
    )
    assert "by a linear fit" not in shift_law.say_law(shift_law.law(best), "told", "median", "calibrated")[0]


def test_two_patients_have_no_interval():
    law = shift_law.law(shift_law.with_best(table(patients=2)))
    assert law.rho_low.isna().all() and law.rho.notna().all()
    assert "[" not in shift_law.say_law(law, "told", "median")[0]


def test_limits_are_axis_by_axis():
    axes = shift_law.along_axes(shift_law.with_best(table())).query("post == 'median' and method == 'ssim best'")
    change = axes.set_index("axis").change
    assert change["contrast"] == pytest.approx(0.2, abs=0.05) and abs(change["noise"]) < 0.05
    words = shift_law.say_limits(
        axes.assign(change_low=axes.change - 0.1, change_high=axes.change + 0.1), "told", "median"
    )
    both = pd.concat(
        [
            axes.assign(change_low=0.01, change_high=0.3),
            axes.assign(change=-0.1, change_low=np.nan, change_high=np.nan, dataset="stroke"),
        ]
    )
    common = shift_law.say_common(both, "told", "median")
    assert common.endswith("over l1 goes either way along contrast, noise.")
    clear = axes.assign(change_low=axes.change - 0.1, change_high=axes.change + 0.1)
    assert "over l1 clearly grows along contrast; it " in shift_law.say_common(clear, "told", "median")
    assert "grows along contrast (+0." in words[0] and "does not clearly change along noise" in words[0]


def test_what_remains():
    points = shift_law.points(shift_law.with_best(table(noise=0)))
    first = shift_law.say_remains(points, "median")[0]
    about = "ms, median: the gain of the best window over l1, on unmoved and moved scanners"
    assert first == f"{about}: told -0.12 and -0.05."


def test_an_axis_reaches_a_residual_or_does_not():
    means = shift_law.means(shift_law.with_best(table())).query("post == 'median' and method == 'l1'")
    assert shift_law.reached(means, 1.25) == {"contrast": pytest.approx(0.25)}
    assert shift_law.reached(means, 3) == {}


def test_real_places_are_scans_and_patients_have_a_gain(tmp_path):
    assert shift_law.real_places(tmp_path).empty
    about = {"dataset": "ms", "subject": "bert", "contrast": "t2", "residual": 1.2}
    methods = {"l1": 0.5, "adaptive": 0.2, "calibrated": 0.6, "ssim 0.3": 0.4, "ssim 4": 0.3}
    rows = [about | {"method": name, "auprc": auprc} for name, auprc in methods.items()]
    rows += [about | {"dataset": "healthy", "subject": "anna", "contrast": "t1", "method": "l1", "auprc": None}]
    found = pd.DataFrame(rows)
    found["sigma"] = pd.to_numeric(found.method.str.removeprefix("ssim "), errors="coerce")
    found.to_csv(tmp_path / "real_heads.csv", index=False)
    places = shift_law.real_places(tmp_path).set_index("subject")
    assert places.gain["bert"] == pytest.approx(-0.1) and np.isnan(places.gain["anna"])
    assert places.residual["bert"] == 1.2 and places.drift.isna().all()
    (sentence,) = shift_law.say_real(places.reset_index())
    assert sentence == "bert, T2: residual 1.20; the gain of the best window over l1 is -0.10."
