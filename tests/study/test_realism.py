"""The realism check: known statistics, shares counted by hand, classifiers that must guess or must not."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from figures import drawn

from essim.cohort.mni import affine_of
from essim.figures.realism import plot_realism
from essim.study import burden, realism

SHAPE = (80, 96, 64)


def head(image, contrast="t1", mask=None):
    return realism.measure(image, np.ones(SHAPE, bool) if mask is None else mask, contrast)


def test_a_ramp_has_its_slope_everywhere():
    image = np.broadcast_to(0.01 * np.arange(80)[:, None, None], SHAPE)
    numbers = head(image)
    for name in ("gradient", "rim_gradient", "cerebrum_gradient", "cerebellum_gradient", "stem_gradient"):
        assert numbers[name] == pytest.approx(0.01, rel=0.05), name  # flatter at the volume's border
    local = 0.01 * np.sqrt(2 / 3)  # of -1, 0, 1
    assert numbers["local_sd_50"] == pytest.approx(local) and numbers["stem_local_sd"] == pytest.approx(local)
    assert numbers["symmetry"] == pytest.approx(-1)
    assert numbers["p50"] == pytest.approx(0.395) and numbers["stem_mean"] == pytest.approx(0.395)


def test_half_of_the_voxels_are_dark():
    image = (np.indices(SHAPE).sum(0) % 2).astype(np.float32)
    numbers = head(image)
    assert numbers["dark"] == pytest.approx(0.5, abs=0.001) and numbers["rim_dark"] == pytest.approx(0.5, abs=0.001)
    assert numbers["p25"] == 0 and numbers["p75"] == 1
    assert numbers["local_sd_50"] == pytest.approx(np.sqrt(13 * 14) / 27)
    assert numbers["symmetry"] == pytest.approx(-1), "an even side: black mirrors to white"


def test_a_mirrored_head_is_symmetric():
    half = np.random.default_rng(0).random((40, 96, 64))
    assert head(np.concatenate([half, half[::-1]]))["symmetry"] == pytest.approx(1)
    assert abs(head(np.random.default_rng(1).random(SHAPE))["symmetry"]) < 0.02


@pytest.mark.parametrize(("wavelength_mm", "band"), [(20, "coarse"), (10, "middle"), (5, "fine")])
def test_a_wave_has_its_power_in_its_band(wavelength_mm, band):
    place = 2 * np.arange(96)[None, :, None]
    numbers = head(np.broadcast_to(0.5 + 0.4 * np.sin(2 * np.pi * place / wavelength_mm), SHAPE))
    powers = {name: numbers[f"power_{name}"] for name in realism.BANDS}
    assert max(powers, key=powers.get) == band and powers[band] > 0.8 and sum(powers.values()) <= 1


def test_what_lies_outside_the_brain_does_not_count():
    mask = np.zeros(SHAPE, bool)
    mask[8:72, 8:88, 4:60] = True
    image = np.random.default_rng(0).random(SHAPE)
    assert head(image, mask=mask) == pytest.approx(head(np.where(mask, image, 9), mask=mask))


def test_ventricles_are_dark_in_t1_and_bright_in_t2():
    image = np.full(SHAPE, 0.6)
    voxels = realism._box(SHAPE, realism.MIDDLE)
    low = np.argwhere(voxels).min(0)
    image[low[0] : low[0] + 15][voxels[low[0] : low[0] + 15]] = 0.1  # half of the box along x
    assert head(image)["ventricles"] == pytest.approx(0.5)
    assert head(image, "t2")["ventricles"] == 0
    assert head(1 - image, "t2")["ventricles"] == pytest.approx(0.5)


def test_regions_are_where_mni_has_them():
    world = affine_of(2)[:3, 3]  # the crop to 64 slices cuts 8 below
    for name, place in {"cerebrum": (0, -20, 40), "cerebellum": (30, -64, -34), "stem": (0, -28, -30)}.items():
        index = np.rint((np.array(place) - world) / 2).astype(int)
        whole, cropped = (realism._box(shape, realism.REGIONS[name]) for shape in ((80, 96, 80), SHAPE))
        assert whole[tuple(index)] and cropped[tuple(index - [0, 0, 8])]
        assert not any(
            realism._box(SHAPE, box)[tuple(index - [0, 0, 8])] for n, box in realism.REGIONS.items() if n != name
        )


def test_the_residual_is_a_mean_by_region():
    residual = np.full(SHAPE, 0.1)
    residual[realism._box(SHAPE, realism.REGIONS["stem"])] = 0.3
    numbers = realism.measure(residual, np.ones(SHAPE, bool), "t1", residual)
    assert numbers["residual_stem"] == pytest.approx(0.3) and numbers["residual_cerebrum"] == pytest.approx(0.1)


def test_what_is_not_in_study_space_is_refused():
    with pytest.raises(ValueError, match="study grid"):
        realism.measure(np.zeros((80, 80, 64)), np.ones((80, 80, 64), bool), "t1")
    upper = np.zeros(SHAPE, bool)
    upper[:, :, 40:] = True
    with pytest.raises(ValueError, match="no brain in the cerebellum"):
        head(np.zeros(SHAPE), mask=upper)


def test_heads_are_measured_as_the_study_sees_them(tmp_path):
    shape, rng = (80, 96, 80), np.random.default_rng(0)
    mask = np.zeros(shape, np.uint8)
    mask[6:74, 6:90, 2:78] = 1
    nib.save(nib.Nifti1Image(mask, affine_of(2)), tmp_path / "mask.nii")
    nib.save(nib.Nifti1Image((100 * rng.random(shape)).astype(np.float32), affine_of(2)), tmp_path / "t1.nii")
    row = {"source": "grown", "head": 1, "contrast": "t1", "seg": "", "ignore": ""}
    row |= {"image": str(tmp_path / "t1.nii"), "mask": str(tmp_path / "mask.nii")}
    (numbers,) = realism.measure_heads(pd.DataFrame([row]), 2).to_dict("records")
    assert numbers["p50"] == pytest.approx(0.5, abs=0.01) and numbers["source"] == "grown"
    assert list(numbers) == list(realism.real_heads().columns), "the real heads' table has the same statistics"


# Comparisons


def heads(contrast="t1", source="a", **columns):
    table = pd.DataFrame(columns)
    return table.assign(source=source, head=range(len(table)), contrast=contrast)


def test_shares_are_counted_by_hand():
    grown = heads(p50=np.arange(1.0, 20), dark=np.ones(19))  # Weibull's 5 % of 19 is the lowest
    real = heads(p50=[0.5, 1, 10, 19, 19.5], dark=[1.0, 1, 1, 1, 2])
    table = realism.compare(grown, pd.concat([real, real.assign(contrast="t2")])).set_index("statistic")
    row = table.loc["p50"]
    assert (row.grown_05, row.grown_50, row.grown_95) == (1, 10, 19)
    assert (row.real_min, row.real_median, row.real_max) == (0.5, 10, 19.5)
    assert list(table.inside) == [0.6, 0.8] and set(table.contrast) == {"t1"}


def test_nine_of_ten_of_the_same_kind_lie_inside():
    rng, shares = np.random.default_rng(0), []
    for _ in range(100):
        grown, real = heads(p50=rng.normal(size=24)), heads(p50=rng.normal(size=50))
        shares.append(realism.compare(grown, real).inside[0])
    assert np.mean(shares) == pytest.approx(0.9, abs=0.015)


def draw(rng, count, shift=0.0, source="a"):
    return heads(source=source, **{f"s{i}": rng.normal(shift, 1, count) for i in range(6)})


def test_a_classifier_guesses_on_the_same_and_knows_the_shifted():
    rng, areas = np.random.default_rng(0), []
    for _ in range(3):
        areas.append(realism.classify(draw(rng, 20), draw(rng, 20), resamples=10).auroc[0])
    assert np.mean(areas) == pytest.approx(0.5, abs=0.15)
    (row,) = realism.classify(draw(rng, 20), draw(rng, 20, 2.0)).to_dict("records")
    assert row["auroc"] > 0.98 and 0.9 < row["low"] <= row["auroc"] <= row["high"] <= 1
    assert np.isnan(row["auroc_new_source"]) and (row["grown"], row["real"], row["sources"]) == (20, 20, 1)


def test_a_new_source_is_left_out_as_a_whole():
    """Each source differs from the grown heads in a statistic of its own, in which the others don't differ."""
    rng = np.random.default_rng(1)
    parts = []
    for number, source in enumerate("abc"):
        part = draw(rng, 8, source=source)
        part[f"s{number}"] += 6
        parts.append(part)
    (row,) = realism.classify(draw(rng, 24), pd.concat(parts)).to_dict("records")
    assert row["sources"] == 3 and row["auroc"] > 0.95 and row["auroc_new_source"] < 0.8


def test_the_yardstick_is_how_well_sites_are_told_apart():
    rng = np.random.default_rng(0)
    real = draw(rng, 8)
    alike = pd.concat([draw(rng, 40, source=site) for site in "ab"])
    assert realism.classify(alike, real, resamples=10).auroc_one_site[0] == pytest.approx(0.5, abs=0.2)
    apart = pd.concat([draw(rng, 20, shift, site) for site, shift in (("a", 0), ("b", 3))])
    assert realism.classify(apart, real, resamples=10).auroc_one_site[0] > 0.98
    few = pd.concat([draw(rng, 20, source="a"), draw(rng, realism.FEWEST - 1, 3.0, "b")])
    assert np.isnan(realism.classify(few, real, resamples=10).auroc_one_site[0])


def test_too_few_heads_are_not_classified():
    rng = np.random.default_rng(0)
    (row,) = realism.classify(draw(rng, 20), draw(rng, realism.FEWEST - 1)).to_dict("records")
    assert np.isnan(row["auroc"]) and row["real"] == realism.FEWEST - 1


def test_the_same_seed_gives_the_same_interval():
    rng = np.random.default_rng(0)
    grown, real = draw(rng, 12), draw(rng, 12, 0.7)
    pd.testing.assert_frame_equal(realism.classify(grown, real), realism.classify(grown, real))


# The committed numbers, and the figure


def test_the_real_heads_are_whole():
    table = realism.real_heads()
    assert not table.isna().any().any() and not table.duplicated(list(realism.KEYS)).any()
    assert table["head"].dtype.kind == "i", "numbers, no names"
    assert {"t1", "t2"} <= set(table.contrast) and (table.groupby("source")["head"].min() == 1).all()
    assert 25 <= len(table.columns) - len(realism.KEYS) <= 35
    statistics = table.drop(columns=[*realism.KEYS, "symmetry"])
    assert (statistics >= 0).all(axis=None) and (statistics <= 1).all(axis=None)


def test_the_real_lesions_are_whole():
    for voxel_mm in (1, 2, 4):
        table = burden.real_lesions(voxel_mm)
        assert not table.isna().any().any() and set(table.dataset) == {"ms", "stroke"} and len(table) == 8
        order = table[["q05", "q25", "q50", "q75", "q95"]].diff(axis=1).iloc[:, 1:]
        assert (order >= 0).all(axis=None)


def test_the_figure_has_one_panel_per_contrast_and_draws_all_heads():
    rng = np.random.default_rng(0)
    grown = pd.concat([draw(rng, 20), draw(rng, 20).assign(contrast="t2")])
    real = pd.concat([draw(rng, 4), draw(rng, 2, 50, "b"), draw(rng, 1, source="b").assign(contrast="t2")])
    grown["s5"] = 1.0  # doesn't differ: has no width
    figure = drawn(plot_realism(realism.compare(grown, real), real))
    first, second = figure.axes
    points = [sum(len(c.get_offsets()) for c in axis.collections) for axis in (first, second)]
    assert points == [5 * 6, 5]
    assert first.get_title().startswith("T1") and second.get_title().startswith("T2")
