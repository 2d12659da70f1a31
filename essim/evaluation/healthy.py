"""What is learned from healthy scans alone: a calibration, and thresholds that need no lesions.

In: folders of reconstructed healthy scans of one contrast that the network was not trained on; where there are enough,
some are the yardstick and others set thresholds (`essim.data.splits.validation_parts`). Out: a `Calibration`
(essim.calibration), one without each scan, thresholds that promise a share of marked voxels, and a table of how well
the promise is kept. Not in the paper.
"""

import numpy as np
import pandas as pd
from scipy import ndimage

from essim.calibration import differences, from_moments, level_of, moments
from essim.data.looks import look_of, range_of
from essim.evaluation.cases import case_rows, for_each, rows_of
from essim.evaluation.metrics import healthy_threshold
from essim.evaluation.scoring import clean_maps
from essim.ssim import check_pair


def fit_calibration(folder, sigmas):
    """The calibration from the yardstick scans of a folder of healthy ones, and one without each of them.

    A scan stands out less under a calibration that has seen it. Where few scans serve every purpose, and thresholds are
    then learned from the same ones, each scan has to be scored with the calibration that leaves it out.

    Returns: (`Calibration`, {subject: `Calibration` without it}). Errors are those of `healthy_moments`.
    """
    scans, levels, shape = healthy_moments(folder, sigmas)
    total, without = sum(scans.values()), {}
    for subject, own in scans.items():
        others = [level for name, level in levels.items() if name != subject]
        without[subject] = from_moments(total - own, others, sigmas, shape)
    return from_moments(total, [*levels.values()], sigmas, shape), without


def healthy_moments(folder, sigmas):
    """What each yardstick scan of a folder contributes to a calibration.

    Returns: ({subject: moments of its differences in units of its level}, {subject: level}, their grid [H, W, D]).

    Raises ValueError for fewer than 2 scans, or scans that are not all on one grid.
    """

    def measure_scan(case):
        x, y, _ = case.tensors()
        data_range = check_pair(x, y, sigmas, None)
        level = level_of(x, y, data_range).item() or 1.0  # a perfect reconstruction: nothing to divide by
        maps = differences(x, y, sigmas, data_range)[:, 0, 0] / level
        return case.subject, case.mask.shape, moments(maps, case.mask), level

    count = len(case_rows(folder, "yardstick"))
    if count < 2:
        raise ValueError(f"{folder}: has {count} healthy validation scan(s); a calibration needs 2 or more.")
    subjects, shapes, scans, levels = zip(*for_each(folder, "yardstick", measure_scan, "calibrate"), strict=True)
    if len({*shapes}) > 1:
        raise ValueError(f"{folder}: has scans on grids of {sorted({*shapes})}; a calibration needs one grid for all.")
    return dict(zip(subjects, scans, strict=True)), dict(zip(subjects, levels, strict=True)), shapes[0]


def healthy_thresholds(folder, scorer, shares):
    """Each method's thresholds from healthy scans: {method: {share: threshold}}.

    That share of the brain voxels, pooled over all healthy scans that set thresholds, lies above the threshold, after
    post-processing.
    """
    masks, maps = zip(
        *for_each(folder, "thresholds", lambda c: (c.scored, clean_maps(c, scorer)), "healthy scans"), strict=True
    )
    return {
        method: {share: healthy_threshold([scan[method] for scan in maps], masks, share) for share in shares}
        for method in maps[0]
    }


def healthy_looks(folder):
    """How the healthy validation scans of a folder look, and how far they are from their reconstructions.

    Returns: {"residual": mean |x - y| of their tissue, in [0, 1]; "tone", "texture": ranges, as `looks.range_of`}.
    """

    def look(case):
        residual = np.abs(case.image - case.reconstruction)[case.tissue].mean(dtype=float)
        return residual, look_of(case.image, case.mask)

    residuals, looks = zip(*for_each(folder, "val", look, "looks"), strict=True)
    return {"residual": float(np.mean(residuals))} | range_of(looks)


def marked_shares(folder, scorer, thresholds, margin_mm=0):
    """How much of every scan of the test part lies above thresholds that promise a share; lesions are left out.

    Args: thresholds: as from `healthy_thresholds`. margin_mm: tissue this close to a lesion is left out as well.

    Returns: a DataFrame, one row per scan, method and share, with the columns dataset, subject, site, sex, age, method,
        promised and marked (shares of the brain's voxels, after post-processing).
    """

    def judge(case):
        tissue = case.tissue
        if case.seg.any():
            tissue = tissue & (ndimage.distance_transform_edt(~case.seg, sampling=case.spacing_mm) > margin_mm)
        for method, anomaly in clean_maps(case, scorer).items():
            values = anomaly[tissue]
            for share, threshold in thresholds[method].items():
                yield {"method": method, "promised": share, "marked": (values > threshold).mean()}

    people = pd.DataFrame(case_rows(folder, "test"))[["dataset", "subject", "site", "sex", "age"]]
    return people.merge(rows_of(folder, "test", judge, "marked"), on=["dataset", "subject"])
