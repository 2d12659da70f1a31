"""The whole of 06_evaluate on scores that are broken on purpose: they must land where theory says.

The score is l1, and so a reconstruction decides it: whatever |x - y| shall be is subtracted from the scan.
"""

import json
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pandas as pd
import pytest
from helpers import AS_IT_IS, slab, write_cases
from safetensors.torch import save_file

from essim import ensemble_map, l1_map
from essim.evaluation.scoring import score_set
from essim.settings import AutoencoderConfig
from essim.train.autoencoder import build_autoencoder
from essim.train.trained import AUTOENCODERS
from workflow.run_notebook import Kernel

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (16, 14, 12)
BRAIN = np.ones(SHAPE, bool)
WIDTHS = {"v0": 4, "v1": 6, "t0": 3, "t1": 5, "t2": 7, "t3": 4}  # planes that are lesion
SIGMAS = [0.3, 1.1]
TINY = AutoencoderConfig(steps=1, batch=1, channels=8, latent=2, levels=1)


def scores(seg, rng):
    """What |x - y| shall be, for each way to be broken; a slab's two values stay apart through the median."""
    noise = rng.random(SHAPE)
    return {
        "truth": 0.4 * seg,
        "inverted": np.where(seg, 0.05, 0.4) * (0.8 + 0.2 * noise),
        "random": 0.4 * noise,
    }


def write_set(folder, name):
    """A set of patients, and healthy scans whose score is noise."""
    patients, healthy = {}, {}
    for i, (subject, width) in enumerate(WIDTHS.items()):
        split, rng = "val" if subject.startswith("v") else "test", np.random.default_rng(i)
        x, seg = 0.5 + 0.2 * rng.random(SHAPE), slab(width, SHAPE)
        y = x - scores(seg, rng)[name]
        patients[subject] = (split, x.astype(np.float32), y.astype(np.float32), BRAIN, seg)
        y = x - 0.4 * rng.random(SHAPE)
        healthy[f"h{subject}"] = (split, x.astype(np.float32), y.astype(np.float32), BRAIN, np.zeros(SHAPE, bool))
    write_cases(folder / "reconstructions/ms", patients)
    write_cases(folder / "reconstructions/healthy_t2", healthy)
    scans = pd.read_csv(folder / "reconstructions/ms/scans.csv").assign(contrast="t2")
    scans.to_csv(folder / "reconstructions/ms/scans.csv", index=False)


def write_what_came_before(folder):
    """The tables of 04 and 05, and an autoencoder and a VAE that learned nothing."""

    def singles(case):
        x, y, _ = case.tensors()
        return {"l1": l1_map(x, y)} | {f"ssim {s:g}": ensemble_map(x, y, sigmas=[s]) for s in SIGMAS}

    def ensemble(case):
        x, y, _ = case.tensors()
        return {"adaptive": ensemble_map(x, y, sigmas=SIGMAS)}

    (folder / "tables").mkdir()
    ablation = score_set(folder / "reconstructions/ms", singles)
    ablation["sigma"] = pd.to_numeric(ablation.method.str.removeprefix("ssim "), errors="coerce")
    ablation.to_csv(folder / "tables/ablation_ms.csv", index=False)
    score_set(folder / "reconstructions/ms", ensemble).to_csv(folder / "tables/ensembling.csv", index=False)
    (folder / "models/t2").mkdir(parents=True)
    description = {"contrast": "t2", "autoencoder": TINY.model_dump(), "preprocessing": AS_IT_IS.model_dump()}
    for kind in AUTOENCODERS:
        save_file(build_autoencoder(TINY, kind == "vae").state_dict(), folder / f"models/t2/{kind}.safetensors")
        (folder / f"models/t2/{kind}.json").write_text(json.dumps({"kind": kind} | description))


@pytest.fixture(scope="module", params=["truth", "inverted", "random"])
def evaluated(request, tmp_path_factory):
    """(how it is broken, {table: DataFrame}) after the notebook has run."""
    folder = tmp_path_factory.mktemp(request.param)
    write_set(folder, request.param)
    write_what_came_before(folder)
    notebook = nbformat.read(ROOT / "notebooks/06_evaluate.ipynb", 4)
    values = {"results": folder.as_posix(), "dataset": "ms", "sigmas": SIGMAS, "temperature": 1.0, "shares": [0.05]}
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
    cell.source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
        where = {"metadata": {"path": str(ROOT)}}
        nbclient.NotebookClient(notebook, timeout=300, resources=where, kernel_manager_class=Kernel).execute()
    tables = {path.stem.removesuffix("_ms"): pd.read_csv(path) for path in (folder / "tables").glob("*_ms.csv")}
    return request.param, tables


def l1_only(table):
    return table[table.method == "l1"].reset_index(drop=True)


def test_auprc_is_what_theory_says(evaluated):
    broken, tables = evaluated
    volumes = l1_only(tables["volumes"])
    prevalence = volumes.subject.map(WIDTHS) / SHAPE[0]
    assert volumes.prevalence.to_numpy() == pytest.approx(prevalence.to_numpy())
    if broken == "truth":
        assert volumes.auprc.to_numpy() == pytest.approx(1)
    elif broken == "inverted":  # every healthy voxel first: the least that a ranking can have
        for row in volumes.itertuples():
            lesion = np.arange(1, round(row.prevalence * BRAIN.sum()) + 1)
            least = (lesion / (lesion + BRAIN.sum() * (1 - row.prevalence))).mean()
            assert row.auprc == pytest.approx(least, rel=0.02)  # the median makes ties
    else:  # 125 voxels of noise in a median: neighbours agree, so that few of 2688 are independent
        assert volumes.auprc.mean() == pytest.approx(prevalence.mean(), abs=0.05)


def test_means_intervals_and_pooled_agree(evaluated):
    broken, tables = evaluated
    (row,) = l1_only(tables["evaluate"]).to_dict("records")
    volumes = l1_only(tables["volumes"])
    assert row["auprc"] == pytest.approx(volumes.auprc.mean()) and row["subjects"] == len(volumes) == 4
    assert row["auprc_low"] <= row["auprc"] <= row["auprc_high"]
    assert row["prevalence"] == pytest.approx((3 + 5 + 7 + 4) / (4 * 16))
    if broken == "truth":
        assert [row[name] for name in ("dice", "sensitivity", "f1", "distance_mm")] == [1, 1, 1, 0]
        assert row["false_positives"] == 0 and row["pooled"] == pytest.approx(1) and row["best_dice"] == 1
    if broken == "random":
        assert row["pooled"] == pytest.approx(row["prevalence"], abs=0.06)


def test_thresholds_do_what_their_source_says(evaluated):
    broken, tables = evaluated
    decisions = l1_only(tables["decisions"]).set_index("source")
    assert list(decisions.index.unique()) == ["healthy 5%", "validation", "oracle"]
    if broken == "random":  # the patients' noise is that of the healthy scans
        volume = BRAIN.sum() * 0.008 - 0.008 * 14 * 12 * decisions.loc["healthy 5%"].subject.map(WIDTHS)
        share = decisions.loc["healthy 5%"].false_ml / volume
        assert 0.005 < share.mean() < 0.1
    if broken == "inverted":  # the best that can be done is to mark all
        everything = 2 * (19 / 64) / (1 + 19 / 64)
        pooled = decisions.loc["oracle"]
        assert pooled.dice.mean() == pytest.approx(everything, abs=0.02)
    assert decisions.loc["oracle"].dice.mean() >= decisions.loc["validation"].dice.mean() - 0.02


def test_l2_equals_l1_and_the_grid_has_every_cell(evaluated):
    grid = evaluated[1]["grid"].pivot(index="reconstruction", columns="score", values="auprc")
    assert list(grid.index) == sorted(["diffusion", "ae", "vae", "blur"])
    assert grid.notna().all(axis=None) and len(grid.columns) == 6
    assert grid.l1.to_numpy() == pytest.approx(grid.l2.to_numpy(), abs=1e-6)
    assert grid.l1["diffusion"] == pytest.approx(l1_only(evaluated[1]["volumes"]).auprc.mean())
