"""How many lesions a patient has, and how large: grown patients beside real ones.

In: lesion masks in study space, and the quantiles of real patients. Out: tables. Not in the paper.

`real_lesions.csv` holds quantiles over patients only, measured by workflow/measure_real.py. Its sources: `ms`, the
consensus lesions of 28 patients (the Ljubljana MS database, CC BY; Lesjak et al., Neuroinformatics 16:51, 2018), and
`stroke`, 131 chronic strokes (LESYMAP, Apache-2; Pustina et al., Neuropsychologia 115:154, 2018).
"""

from importlib import resources

import numpy as np
import pandas as pd

from essim.postprocess import connected_components

SMALLEST_ML = 0.008  # 8 mm3: one voxel of 2 mm
STATISTICS = ("lesions", "total_ml", "largest_ml", "median_ml")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def measure_lesions(seg, voxel_mm):
    """The lesions of one patient.

    Args: seg: bool [H, W, D], with sides of `voxel_mm` (mm).

    Returns: a dict of `lesions`, the number of components (26 neighbours) of 8 mm3 or more, and the volume in ml of all
    of them (`total_ml`), of the largest and of the median one: `largest_ml`, `median_ml`, NaN where there is none.
    """
    labels, _ = connected_components(seg)
    volumes = np.bincount(labels.ravel())[1:] * voxel_mm**3 / 1000
    volumes = volumes[volumes >= SMALLEST_ML - 1e-9]
    numbers = {"lesions": len(volumes), "total_ml": float(volumes.sum())}
    largest, median = (volumes.max(), np.median(volumes)) if len(volumes) else (np.nan, np.nan)
    return numbers | {"largest_ml": float(largest), "median_ml": float(median)}


def quantiles(patients):
    """The quantiles of STATISTICS over patients, set by set.

    Args: patients: a DataFrame, one row per patient, with `dataset` and the numbers of `measure_lesions`.

    Returns: a DataFrame, one row per set and statistic: dataset, statistic, q05, q25, q50, q75, q95, patients.
    """
    rows = []
    for dataset, part in patients.groupby("dataset", sort=False):
        for name in STATISTICS:
            row = {"dataset": dataset, "statistic": name}
            row |= {f"q{100 * q:02.0f}": part[name].quantile(q) for q in QUANTILES}
            rows.append(row | {"patients": len(part)})
    return pd.DataFrame(rows)


def real_lesions(voxel_mm):
    """The `quantiles` of real patients whose masks were resampled to the study grid of 1, 2 or 4 mm."""
    with resources.files("essim.study").joinpath("real_lesions.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file)
    return table[table.voxel_mm == voxel_mm].drop(columns="voxel_mm").reset_index(drop=True)


def compare_lesions(patients, voxel_mm):
    """The `quantiles` of real and of grown patients (on the study grid of `voxel_mm`) in one table.

    Returns: one row per set, statistic and kind of patient (`real`, `grown`), for the sets that both have; the columns
    of `quantiles`, with `kind` after `statistic`.
    """
    ours, theirs = quantiles(patients), real_lesions(voxel_mm)
    shared = set(ours.dataset) & set(theirs.dataset)
    table = pd.concat([theirs.assign(kind="real"), ours.assign(kind="grown")])
    table = table[table.dataset.isin(shared)]
    table.insert(2, "kind", table.pop("kind"))
    table["statistic"] = pd.Categorical(table.statistic, STATISTICS)
    return table.sort_values(["dataset", "statistic", "kind"], ascending=[True, True, False]).reset_index(drop=True)
