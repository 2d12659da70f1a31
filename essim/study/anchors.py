"""What others report for the simplest scores, beside this study: is the task as hard here as on real patients?

In: the tables of 06, and the committed ones of `make real`. Out: one table, one row per source, method and set. Not in
the paper, whose own table of SSIM scores was not available; nothing here stands in for it.

`published.csv` holds Dice and AUPRC in [0, 1] by the l1 error, as cited for F. Behrendt et al., Guided Reconstruction
with Conditioned Diffusion Models for Unsupervised Anomaly Detection in Brain MRIs (arXiv 2312.04215), Table 3: by the
paper's group, on its splits and with its post-processing. Tumour is BraTS21 and ms MSLUB, both in T2; stroke is ATLAS
v2.0 and wmh WMH 2017, both in T1. `threshold` is the intensity, `DDPM` the paper's model at t = 500.
"""

from importlib import resources
from pathlib import Path

import pandas as pd

from essim.evaluation.evaluate import VALIDATION

METHODS = {"intensity": "threshold", "l1": "DDPM"}  # 06's name for it: the published name
COLUMNS = ["source", "method", "dataset", "auprc", "dice", "subjects"]


def published():
    """The published numbers: a DataFrame `source, method, dataset, auprc, dice, subjects` (NaN: not cited)."""
    with resources.files("essim.study").joinpath("published.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file).assign(source="published").reindex(columns=COLUMNS)


def found_here(volumes, decisions, cells):
    """The same methods in this study, means over its test patients: columns as in `published`.

    Args: volumes, decisions, cells: the tables `volumes_<set>`, `decisions_<set>` and `grid_<set>` of 06, of all sets.
    A VAE's Dice isn't computed there.
    """
    at = decisions[decisions.source == VALIDATION][["dataset", "subject", "method", "dice"]]
    both = volumes.merge(at, on=["dataset", "subject", "method"])
    both = both[both.method.isin(METHODS)].groupby(["dataset", "method"], sort=False)
    ours = both.agg(auprc=("auprc", "mean"), dice=("dice", "mean"), subjects=("auprc", "count")).reset_index()
    vae = cells[(cells.reconstruction == "vae") & (cells.score == "l1")]
    table = pd.concat([ours.assign(method=ours.method.map(METHODS)), vae.assign(method="VAE")], ignore_index=True)
    return table.assign(source="this study").reindex(columns=COLUMNS)


def real_patients(folder):
    """The l1 error of the networks that come with essim on half-real and real patients: columns as in `published`.

    Args: folder: the tables of `make real`; without them the table is empty. Dice is left out, since there it is at
        each patient's own best threshold. The source names the contrast, which isn't always that of the published set.
    """
    folder = Path(folder)
    if not (folder / "real_heads.csv").is_file() or not (folder / "real_transplants.csv").is_file():
        return pd.DataFrame(columns=COLUMNS)
    half = pd.read_csv(folder / "real_transplants.csv").query("patients == 'half-real'")
    real = pd.read_csv(folder / "real_heads.csv").query("dataset != 'healthy' and auprc == auprc")
    real = real.groupby(["dataset", "contrast", "method"], sort=False).agg(
        auprc=("auprc", "mean"), subjects=("auprc", "count")
    )
    parts = {"half-real": half.assign(contrast="t1"), "real": real.reset_index()}
    table = pd.concat([part.assign(kind=kind) for kind, part in parts.items()], ignore_index=True)
    table = table[table.method == "l1"]
    table["source"] = table.kind + ", " + table.contrast.str.upper()
    return table.assign(method="DDPM").reindex(columns=COLUMNS)


def side_by_side(volumes, decisions, cells, folder):
    """All three tables concatenated, for the study's sets; arguments as above."""
    parts = [found_here(volumes, decisions, cells), published(), real_patients(folder)]
    table = pd.concat([part for part in parts if len(part)], ignore_index=True)
    return table[table.dataset.isin(volumes.dataset.unique())].reset_index(drop=True)
