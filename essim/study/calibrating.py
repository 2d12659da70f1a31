"""What the settings of the calibration contribute, and whether its thresholds keep their promise.

In: reconstructed healthy scans and patients, {contrast: folder} and {set: folder}. Out: calibrations by setting and the
AUPRC of each; the share of each test scan above a threshold that promises a share. 07_calibrated_ensemble shows them.
Not in the paper.
"""

from dataclasses import replace

import pandas as pd

from essim.calibration import calibrated_map, from_moments
from essim.evaluation.cases import FEW, case_rows
from essim.evaluation.healthy import healthy_moments, marked_shares
from essim.evaluation.scoring import validation_auprc
from essim.evaluation.stats import age_group, mean_with_interval

FACTOR = 1.5  # a promise is kept if the whole interval lies within this factor of the promised share
PATIENTS = {"patients": 0, "patients, far from lesions": 20}  # mm around lesions that don't count


def calibrations_by_setting(folder, sigmas, scan_counts, smoothings):
    """Calibrations from fewer healthy scans, or smoothed by less or more: {(setting, value): `Calibration`}.

    ("misplaced", 0) is the study's own; ("healthy scans", n) is from the first n, 0 means uncalibrated differences;
    ("smoothing", width in voxels of half the grid).
    """
    scans, levels, shape = healthy_moments(folder, sigmas)
    scans, levels = [*scans.values()], [*levels.values()]
    whole = from_moments(sum(scans), levels, sigmas, shape)
    by_setting = {("misplaced", 0): whole}
    by_setting["healthy scans", 0] = replace(whole, mean=0 * whole.mean, sd=1 + 0 * whole.sd)
    for n in [n for n in scan_counts if n <= len(scans)]:
        by_setting["healthy scans", n] = from_moments(sum(scans[:n]), levels[:n], sigmas, shape)
    for width in smoothings:
        by_setting["smoothing", width] = from_moments(sum(scans), levels, sigmas, shape, width)
    return by_setting


def maps_by_setting(case, by_setting, shifts):
    """The map of each of `calibrations_by_setting`, and of a scan that is misplaced by some voxels.

    ("misplaced", n): n voxels too far to the front (+) or back (-) when it is compared.
    """
    x, y, mask = case.tensors()
    maps = {key: calibrated_map(x, y, calibration, mask=mask) for key, calibration in by_setting.items()}
    for n in [sign * shift for shift in shifts for sign in (-1, 1)]:
        moved = calibrated_map(x.roll(n, 3), y.roll(n, 3), by_setting["misplaced", 0], mask=mask.roll(n, 3))
        maps["misplaced", n] = moved.roll(-n, 3)
    return maps


def score_settings(folders, calibrations, shifts):
    """Mean AUPRC on the first FEW validation patients of every set: columns setting, value, the sets, and their mean.

    Args: folders: {set: folder}. calibrations: {set: its `calibrations_by_setting`}. shifts: voxels.
    """

    def scorer(case):
        return maps_by_setting(case, calibrations[case.dataset], shifts)

    table = pd.DataFrame({name: validation_auprc(folder, scorer, FEW) for name, folder in folders.items()})
    table.index = pd.MultiIndex.from_tuples(table.index, names=["setting", "value"])
    return table.sort_index().assign(mean=table.mean(axis=1)).reset_index()


def marked_by_group(people, folders, contrasts, scorers, thresholds):
    """The share of test scans above thresholds that promise a share: as `marked_shares`, with contrast and group.

    Groups: healthy scans from scanners that the thresholds were set on, and from others; patients, and their tissue far
    from any lesion.

    Args: people: {contrast: folder of healthy scans}. folders, contrasts: {set: its folder}, {set: its contrast}.
        scorers, thresholds: {contrast: as for `marked_shares`}.
    """
    tables = []
    for contrast, folder in people.items():
        sites = {row["site"] for row in case_rows(folder, "val")}
        table = marked_shares(folder, scorers[contrast], thresholds[contrast])
        group = table.site.isin(sites).map({True: "known scanners", False: "other scanners"})
        tables.append(table.assign(contrast=contrast, group=group))
    for name, folder in folders.items():
        contrast = contrasts[name]
        for group, margin_mm in PATIENTS.items():
            table = marked_shares(folder, scorers[contrast], thresholds[contrast], margin_mm)
            tables.append(table.assign(contrast=contrast, group=group))
    return pd.concat(tables, ignore_index=True).sort_values(["contrast", "group"], kind="stable")


def shares_kept(marked):
    """The mean share of `marked_by_group` and its interval, for every group, and for healthy scans by site and age.

    Returns: columns by (group, site, age), contrast, who, method, promised, marked, marked_low, marked_high, subjects.
    """
    marked = marked.assign(years=age_group(marked.age)).sort_values(["contrast", "group", "years"], kind="stable")
    patient = marked.group.isin(PATIENTS)
    views = {"group": marked.group, "site": marked.site, "age": marked.years.astype(str)}
    parts = [marked.assign(by=by, who=who)[~patient | (by == "group")] for by, who in views.items()]
    return mean_with_interval(pd.concat(parts), ["by", "contrast", "who", "method", "promised"], ["marked"])


def sentences(kept, methods):
    """How well promises are kept: one sentence per contrast and group of `shares_kept`, the methods side by side."""
    texts = []
    for (contrast, group), part in kept[kept.by == "group"].groupby(["contrast", "who"], sort=False):
        told = "; ".join(_how_kept(method, part[part.method == method]) for method in methods)
        texts.append(f"{contrast.upper()}, {group}, share marked / share promised: {told}.")
    return texts


def _how_kept(method, rows):
    """One method's part of a sentence: the ratios, and the shares at which the whole interval lies within FACTOR."""
    inside = (rows.marked_low >= rows.promised / FACTOR) & (rows.marked_high <= rows.promised * FACTOR)
    shares = ", ".join(f"{share:.1%}" for share in rows.promised[inside]) or "no share"
    ratios = rows.marked / rows.promised
    return f"{method} {ratios.min():.2f} to {ratios.max():.2f}, whole interval within a factor of {FACTOR} at {shares}"
