"""The realism check: how far do grown heads differ from real ones?

In: scans in study space, as the study preprocesses them, and the measured statistics of real heads. Out: tables of
statistics, where real heads lie among the grown ones, and how well a classifier tells them apart. Not in the paper.

`real_heads.csv` holds numbers only, measured by workflow/measure_real.py. Its sources: `healthy24`, 24 people without
gross lesions, T1, one scanner (OpenNeuro ds002748, CC0; Bezmaternykh et al., Neural Plasticity 2021, 8846097), and
`ms`, one patient with 50 ml of lesions, T1, T2 and FLAIR (the Ljubljana MS database, CC BY; Lesjak et al.,
Neuroinformatics 16:51, 2018), whose lesions count as brain here. Both went through essim.prepare, with its bias
correction.
"""

from concurrent.futures import ThreadPoolExecutor
from importlib import resources

import numpy as np
import pandas as pd
import torch
from scipy import ndimage

from essim.cohort.mni import CANVAS_MM, CORNER_MM
from essim.data.intensities import fill_outside
from essim.data.volumes import load_scan
from essim.models import load_model
from essim.postprocess import erode_slices
from essim.reconstruct import noise_seed, reconstruct_volume
from essim.settings import Preprocessing

KEYS = ("source", "head", "contrast")  # of a row; all other columns are statistics
PERCENTILES = (5, 10, 25, 50, 75, 90, 95)
DARK = 0.02
BANDS = {"coarse": (1 / 32, 1 / 16), "middle": (1 / 16, 1 / 8), "fine": (1 / 8, np.inf)}  # cycles per mm
REGIONS = {  # boxes in MNI space, mm, well inside each region: (from, to) along x, y, z
    "cerebrum": ((-80, 80), (-113, 79), (0, 85)),
    "cerebellum": ((-50, 50), (-90, -44), (-60, -22)),
    "stem": ((-10, 10), (-38, -18), (-50, -12)),
}
MIDDLE = ((-30, 30), (-45, 30), (0, 30))  # around the lateral ventricles
INTERVAL = (5, 50, 95)  # percentiles of the grown heads
FEWEST = 5  # heads of each kind that a classifier needs
NETWORK = {"t": 500, "draws": 4}


def measure(image, mask, contrast, residual=None):
    """The statistics of one head.

    Args:
        image: float32 [H, W, D] in [0, 1] between the 1st and 99th percentile of the brain, on the study grid or its
            centre crop (80 x 96 x 80 or x 64 voxels of 2 mm). mask: bool, the brain. contrast: t1, t2 or flair.
        residual: |scan - reconstruction| by one fixed network, float [H, W, D]; None leaves it out.

    Returns: {name: float}, all inside the mask eroded by `erode_slices`, except those of the rim:
        p05 ... p95            percentiles of the image
        dark                   share of voxels below 0.02
        gradient               median length of the gradient, per voxel
        local_sd_50, _90       percentiles of the standard deviation in windows of 3 x 3 x 3 voxels
        power_coarse, _middle, _fine    shares of the power of the mean-free volume at wavelengths of 32 to 16, 16 to 8
                               and below 8 mm; the rest is longer
        rim_50, rim_dark, rim_gradient, rim_local_sd    medians and the dark share of the voxels that erosion removes
        <region>_mean, _gradient, _local_sd    means over boxes in the cerebrum, the cerebellum and the brain stem
        ventricles             share of voxels around the ventricles that look like CSF: nearer to black than to the
                               median; in T2, nearer to white
        symmetry               correlation with the mirror image, left for right
        residual_<region>      mean residual

    Raises ValueError where the array isn't on the study grid, or a region holds no brain.
    """
    inside = erode_slices(mask)
    regions = regions_of(inside)
    middle, rim = inside & _box(mask.shape, MIDDLE), mask & ~inside
    for name, voxels in (regions | {"middle": middle, "rim": rim}).items():
        if not voxels.any():
            raise ValueError(f"mask: there is no brain in the {name}; bring the scan to study space (essim.prepare).")
    filled = fill_outside(image.astype(np.float64), mask)  # so that the brain's rim has no edge towards 0
    gradient, local_sd = np.sqrt(sum(g**2 for g in np.gradient(filled))), _local_sd(filled)
    brain = filled[inside]
    numbers = {f"p{p:02d}": np.percentile(brain, p) for p in PERCENTILES}
    numbers |= {"dark": (brain < DARK).mean(), "gradient": np.median(gradient[inside])}
    numbers |= {f"local_sd_{p}": np.percentile(local_sd[inside], p) for p in (50, 90)}
    numbers |= {f"power_{band}": share for band, share in _power(filled, inside).items()}
    numbers |= {"rim_50": np.median(filled[rim]), "rim_dark": (filled[rim] < DARK).mean()}
    numbers |= {"rim_gradient": np.median(gradient[rim]), "rim_local_sd": np.median(local_sd[rim])}
    for name, voxels in regions.items():
        for kind, volume in (("mean", filled), ("gradient", gradient), ("local_sd", local_sd)):
            numbers[f"{name}_{kind}"] = volume[voxels].mean()
        if residual is not None:
            numbers[f"residual_{name}"] = residual[voxels].mean(dtype=float)
    median, csf = numbers["p50"], filled[middle]
    numbers["ventricles"] = (csf > (1 + median) / 2 if contrast == "t2" else csf < median / 2).mean()
    both = inside & inside[::-1]
    numbers["symmetry"] = np.corrcoef(filled[both], filled[::-1][both])[0, 1]
    return {name: float(value) for name, value in numbers.items()}


def regions_of(mask):
    """The parts of a brain mask [H, W, D] on the study grid inside the boxes of REGIONS: {name: bool}."""
    return {name: mask & _box(mask.shape, box) for name, box in REGIONS.items()}


def _box(shape, box):
    """The voxels, of a volume centred in the study's box, whose centres lie in `box` (mm): bool [H, W, D]."""
    side = CANVAS_MM[0] / shape[0]
    if side != CANVAS_MM[1] / shape[1]:
        raise ValueError(f"image: {list(shape)} isn't on the study grid; bring the scan there (essim.prepare).")
    inside = np.ones(shape, bool)
    for axis, (low, high) in enumerate(box):
        middle = CORNER_MM[axis] + CANVAS_MM[axis] / 2
        place = middle + side * (np.arange(shape[axis]) - (shape[axis] - 1) / 2)
        inside &= np.expand_dims((place >= low) & (place <= high), [a for a in range(3) if a != axis])
    return inside


def _local_sd(volume):
    """Standard deviation in the 3 x 3 x 3 voxels around each voxel."""
    mean, square = ndimage.uniform_filter(volume, 3), ndimage.uniform_filter(volume**2, 3)
    return np.sqrt(np.maximum(square - mean**2, 0))


def _power(volume, inside):
    """Share of the power in each of BANDS, radially, of the volume minus its mean inside, 0 outside."""
    power = np.abs(np.fft.fftn(np.where(inside, volume - volume[inside].mean(), 0))) ** 2
    axes = [np.fft.fftfreq(n, CANVAS_MM[0] / volume.shape[0]) for n in volume.shape]
    radius = np.sqrt(sum(f**2 for f in np.meshgrid(*axes, indexing="ij", sparse=True)))
    total = max(power.sum(), np.finfo(float).tiny)
    return {name: power[(radius >= low) & (radius < high)].sum() / total for name, (low, high) in BANDS.items()}


def preprocessing_for(voxel_mm):
    """The `Preprocessing` that takes scans of 1, 2 or 4 mm in study space to 80 x 96 x 64 voxels of 2 mm, unsmoothed.

    Scans of 4 mm stay at 4 mm, which only serves to see that the code runs. Scans of 1 mm are subsampled, as in the
    study, without averaging: their fine power is about a third higher than that of the same heads prepared at 2 mm, as
    the committed ones are.
    """
    shape = tuple(side // voxel_mm for side in (*CANVAS_MM[:2], 128))
    return Preprocessing(smooth=False, shape=shape, factor=max(1, 2 // voxel_mm))


def measure_heads(scans, voxel_mm, networks=None):
    """`measure` every row of a table of scans in study space, with sides of `voxel_mm`.

    Args:
        scans: a DataFrame with the columns of a scan table that `load_scan` reads, `contrast`, `source` (the data set
            of a head) and `head` (which head of it).
        networks: common prefix of the model folders, "models/laptop" for models/laptop_t1 and models/laptop_t2; adds
            the residual (t = 500, 4 draws) of T1 and T2, on the CPU.

    Returns: a DataFrame, one row per scan: source, head, contrast and the statistics.
    """
    preprocessing = preprocessing_for(voxel_mm)
    models = {} if networks is None else {c: load_model(f"{networks}_{c}", "cpu") for c in ("t1", "t2")}

    def row_of(row):
        scan, residual = load_scan(row, preprocessing), None
        if model := models.get(row["contrast"]):
            seed = noise_seed(0, str(row["head"]))
            residual = np.abs(scan.image - reconstruct_volume(model, scan.image, scan.mask, seed=seed, **NETWORK))
        return {key: row[key] for key in KEYS} | measure(scan.image, scan.mask, row["contrast"], residual)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return pd.DataFrame(list(pool.map(row_of, scans.to_dict("records"))))


def real_heads():
    """The measured real heads, a DataFrame as from `measure_heads`; `head` is a number, not a name."""
    with resources.files("essim.study").joinpath("real_heads.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def compare(grown, real):
    """Where real heads lie among the grown ones.

    Args: two tables of heads (`measure_heads`). Contrasts and statistics that only one of them has are left out.

    Returns: a DataFrame, one row per contrast and statistic, with the columns
        contrast, statistic
        grown_05, grown_50, grown_95    percentiles of the grown heads, by Weibull's definition: from 19 heads on, a new
                  head of the same population lies between them with probability 0.9; the usual ones are too narrow
        real_min, real_median, real_max
        inside    share of the real heads between grown_05 and grown_95, ends included: each head counts the same, so a
                  large data set dominates; with perfect realism, 0.9 is to be expected, whatever the sources

    The mean of `inside` over a contrast's rows is the share to quote; the goal is 0.9.
    """
    rows = []
    for contrast, ours, theirs in _by_contrast(grown, real):
        for name in ours:
            low, median, high = np.percentile(ours[name], INTERVAL, method="weibull")
            row = {"contrast": contrast, "statistic": name, "grown_05": low, "grown_50": median, "grown_95": high}
            row |= {f"real_{kind}": getattr(theirs[name], kind)() for kind in ("min", "median", "max")}
            rows.append(row | {"inside": theirs[name].between(low, high).mean()})
    return pd.DataFrame(rows)


def classify(grown, real, *, seed=0, resamples=1000):
    """How well a logistic regression tells real heads from grown ones that it hasn't seen.

    Statistics are standardised, classes weighted equally, the penalty is scikit-learn's default (L2, C = 1), and every
    head is left out once.

    Args: two tables of heads (`measure_heads`); the grown heads' `source` is their site.

    Returns: a DataFrame, one row per contrast, with the columns
        contrast, grown, real, sources    numbers of heads, and of data sets of real ones
        auroc, low, high    of the left-out heads' probabilities, and the bootstrap's 95 % interval over heads of each
                            kind. 0.5: indistinguishable; the goal is 0.8 at most. NaN below FEWEST heads of a kind
        auroc_new_source    the same with a real head's whole data set left out; NaN below 3 sources
        auroc_one_site      the yardstick: how well the grown heads of one site are told from those of the others, the
                            mean over sites with at least FEWEST heads; NaN without two such sites

    Heads of one data set share a scanner and are not independent: with one source the classifier may learn that scanner
    instead of what makes a head real, and the interval, over heads, doesn't cover other scanners. So `auroc` holds for
    these data sets only; `auroc_new_source` estimates it for others, where it can. And where all real heads are from
    one scanner, `auroc_one_site` is what `auroc` would be if the grown heads were perfectly realistic.
    """
    from sklearn.metrics import roc_auc_score  # imported here: it takes a second, which measuring alone doesn't need

    rows = []
    for contrast, ours, theirs in _by_contrast(grown, real):
        source = real[real.contrast == contrast].source.to_numpy()
        row = {"contrast": contrast, "grown": len(ours), "real": len(theirs), "sources": len(set(source))}
        row |= dict.fromkeys(("auroc", "low", "high", "auroc_new_source", "auroc_one_site"), np.nan)
        if min(len(ours), len(theirs)) >= FEWEST:
            values, is_real = pd.concat([ours, theirs]).to_numpy(), np.repeat([False, True], [len(ours), len(theirs)])
            chance = _left_out(values, is_real, np.arange(len(values)))
            row["auroc"] = roc_auc_score(is_real, chance)
            wins = (chance[is_real] > chance[~is_real, None]) + 0.5 * (chance[is_real] == chance[~is_real, None])
            rng = np.random.default_rng(seed)
            picks = [[rng.integers(0, n, n) for n in wins.shape] for _ in range(resamples)]
            row["low"], row["high"] = np.percentile([wins[np.ix_(*pick)].mean() for pick in picks], (2.5, 97.5))
            if row["sources"] >= 3:
                groups = np.r_[np.arange(len(ours)), len(ours) + pd.factorize(source)[0]]
                row["auroc_new_source"] = roc_auc_score(is_real, _left_out(values, is_real, groups))
        site = grown[grown.contrast == contrast].source
        if len(sites := [name for name, heads in site.value_counts().items() if heads >= FEWEST]) > 1:
            told = [_left_out(ours.to_numpy(), site.to_numpy() == name, np.arange(len(ours))) for name in sites]
            pairs = zip(sites, told, strict=True)
            row["auroc_one_site"] = np.mean([roc_auc_score(site == name, chance) for name, chance in pairs])
        rows.append(row)
    return pd.DataFrame(rows)


def _left_out(values, is_real, groups):
    """Each row's probability of being real, from models trained without the rows of its group."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    options = {"groups": groups, "cv": LeaveOneGroupOut(), "method": "predict_proba"}
    return cross_val_predict(model, values, is_real, **options)[:, 1]


def _by_contrast(grown, real):
    """(contrast, statistics of the grown heads, of the real ones) for every contrast that both have, same columns."""
    names = [name for name in grown if name in real and name not in KEYS]
    for contrast in dict.fromkeys(grown.contrast):
        parts = [table.loc[table.contrast == contrast, names].dropna(axis=1) for table in (grown, real)]
        if len(parts[1]):
            shared = [name for name in names if name in parts[0] and name in parts[1]]
            yield contrast, parts[0][shared], parts[1][shared]
