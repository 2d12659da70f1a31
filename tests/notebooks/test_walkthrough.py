"""The teaching path runs by itself: pictures, sliders and solutions are there, and what its first cells claim is so."""

import ast
from pathlib import Path

import nbclient
import nbformat
import pytest

from workflow.run_notebook import Kernel

FOLDER = Path(__file__).resolve().parents[2] / "notebooks/walkthrough"
PNG, WIDGET = "image/png", "application/vnd.jupyter.widget-view+json"
# notebook: its smoke parameters, how many pictures and sliders, and what must hold for the claims of its first cell
LESSONS = {
    "1_healthy_and_ill": (
        {"healthy": 2, "index": 0},
        8,
        2,
        """
        assert best["tumour"][0] > 0.4 and best["stroke"][0] > 0.4, "found in part"
        assert best["ms"][0] < 0.3 and best["wmh"][0] < 0.05, "hardly, and not at all"
        assert (in_both.T2 > in_both.T1).all()
        """,
    ),
    "2_noise_and_denoising": (
        {"model": "models/laptop_t2", "draws": 4, "every": 400},
        11,
        2,
        """
        assert np.allclose(walked["mean, walked"], walked["mean, formula"], atol=0.03)
        assert np.allclose(walked["std, walked"], walked["std, formula"], atol=0.03)
        for name in cuts:
            assert visible[name, "gaussian"][499] > 3
            assert outside[name][-1] > 2 * outside[name][0], "with more noise the healthy brain goes"
            assert ranked[name][1] > 1.5 * ranked[name][-1], "too much noise fails for both"
            one, short, long, mean = (walks.loc[(name, way)] for way in ways)
            assert one.lesion < short.lesion < long.lesion, "walks remove more"
            assert mean.healthy < one.healthy < short.healthy < long.healthy, "but err more"
            assert min(one.AUPRC, mean.AUPRC) > 1.1 * max(short.AUPRC, long.AUPRC) and one.seconds < long.seconds
        gauss, simplex = ([visible[name, kind][499] for name in ("tumour", "MS")] for kind in KINDS)
        assert simplex[0] < 0.75 * gauss[0] and simplex[1] > 1.1 * gauss[1] > 3, "simplex hides what is large"
        assert ranked["MS"][0] < 0.3 * ranked["MS"][1], "too little fails for plaques"
        assert 0.5 * ranked["tumour"][1] < ranked["tumour"][0] < ranked["tumour"][1], "less so for a tumour"
        one, mean = (walks.AUPRC[:, way] for way in ("one prediction", "the mean of 9"))
        assert mean["MS"] > 1.2 * one["MS"] and one["tumour"] < mean["tumour"] < 1.1 * one["tumour"]
        assert inside["MS"][0] < 0.3 * inside["MS"][-1], "small lesions come back"
        assert by_draws["lesion"][-1] > 0.9 * by_draws["lesion"][0], "no draw restores the lesion"
        assert by_draws["healthy brain"][-1] < by_draws["healthy brain"][0]
        assert abs(halfway["cosine"] - 500) < 10 and halfway["linear"] < 300
        assert blocks.gaussian[16] < 0.1 < 0.4 < blocks.simplex[16]
        """,
    ),
    "3_what_ssim_sees": (
        {"model": "models/laptop_t2", "draws": 4},
        9,
        1,
        """
        assert np.allclose(blind.l1, 0.1) and blind.SSIM.max() - blind.SSIM.min() > 0.5
        assert apart < 1e-3
        for factor in where.values():
            luminance, _, structure = (level["lesion"] / level["healthy brain"] for level in factor.values())
            assert luminance > 1.3 * structure, "luminance tells, structure differs everywhere"
        assert ratio["tumour"][4.0] > ratio["tumour"][0.7], "larger windows forget the noise"
        luminance, *others = list(by_factor["tumour"].values())[:3]
        guessing = {name: scores["guessing"] for name, scores in by_factor.items()}
        assert luminance > 0.4 and luminance > 2 * max(others) and min(others) > 2 * guessing["tumour"]
        assert max(list(by_factor["MS"].values())[:3]) < 3 * guessing["MS"]
        narrow, wide, wider = (auprc["tumour"][sigma] for sigma in (0.3, 1.5, 4.0))
        assert narrow < 0.6 * wide and wide < 0.8 * wider, "as it is, wide windows win"
        narrowest, between, widest = (cleaned["tumour"][sigma] for sigma in (0.3, 1.0, 4.0))
        assert widest > narrowest > 0.85 * widest, "cleaned, the narrowest nearly catches up"
        assert narrowest - narrow > 4 * (between - auprc["tumour"][1.0]), "which gains most"
        assert between < 0.8 * narrowest and between == min(cleaned["tumour"].values()), "and those between come last"
        assert max(*auprc["MS"].values(), *cleaned["MS"].values()) < 0.15, "no width finds the plaques, nor does l1"
        assert len({max(sigmas, key=scores["MS"].get) for scores in (auprc, cleaned)}) == 2, "each has its best width"
        assert auprc["tumour"]["l1"] < 0.95 * wider, "as it is, l1 does less well than the widest"
        assert cleaned["tumour"]["l1"] > 1.1 * widest, "cleaned, better than any"
        assert max(wrong["textbook"]) > 1 > 0.01 > max(wrong["ours"])
        assert max(wrong["textbook", "far"]) > 1 > 0.01 > max(wrong["ours", "far"])
        assert seen[0] > 10 * seen[-1] and unlike(whole).max() > 1.9 > inverse.max() > 1.5
        """,
    ),
    "4_one_kernel_does_not_fit_all": (
        {"t1": "models/laptop_t1", "t2": "models/laptop_t2", "people": [0, 3], "draws": 4},
        10,
        3,
        """
        assert best.max() > 5 * best.min(), "no window suits all"
        assert (ratio > 2).mean() < 0.1 and ratio.max() < np.exp(2), "hardly any weight is twice another"
        for axis in axes[0]:
            assert np.isclose(sum(bar.get_height() for bar in axis.patches), 1), "none lies outside"
        extreme = ensemble.ensemble_weights(torch.tensor([-1.0] + [1.0] * 7)[:, None])[0].item()
        assert np.isclose(axes[0, 0].lines[-1].get_xdata()[0], extreme)
        assert gap.mean() < 0.2 * mean.std(), "the map is nearly the mean's"
        assert apart < 1e-3
        window = means[singles].max(axis=1)
        best_of = auprc[singles].max(axis=1)
        for name in ("tumour", "ms"):
            assert means.calibrated[name] > window[name]
        assert (auprc.calibrated > best_of)["ms"].all()
        assert abs(means.calibrated["stroke"] / window["stroke"] - 1) < 0.1, "about as much"
        assert means.calibrated["ms"] > 1.5 * window["ms"] and auprc.loc["wmh"].max(axis=None) < 0.05
        assert means.index[means.l1 > window].tolist() == ["tumour"]
        given = lost.set_index("method").regret
        assert given.calibrated < 0 < given[singles].min() < given.adaptive < given[singles].max()
        assert (given[["ssim 0.3", "ssim 0.5", "ssim 0.7"]] < given.adaptive).all(), "the narrowest give away less"
        assert sharper["largest weight"].is_monotonic_increasing and sharper.AUPRC.iloc[-1] < sharper.AUPRC[1]
        place = places.groupby("dataset").mean()
        part = (place.flat - place.adaptive) / (place.calibrated - place.adaptive)
        assert part["tumour"] > 0.6 and 0 < part["ms"] < 0.6, "without the place"
        assert (real.loc["calibrated"] > real.loc["l1"]).all()
        assert (real[real.index.str.startswith("ssim")].max() < real.loc["l1"]).all(), "no window reaches l1"
        """,
    ),
    "5_reading_the_numbers": (
        {"model": "models/laptop_t1", "validation": 1, "test": 6, "healthy": 1, "tries": 10},
        7,
        1,
        """
        assert np.allclose(guess, prevalence, rtol=0.2) and (auprc > prevalence).all()
        assert table.pooled.idxmax() == "oracle", "the best where it was chosen"
        assert table.Dice["healthy"] > table.Dice["oracle"], "and not in the mean over patients"
        assert (table.pooled > 1.2 * table.Dice).all(), "the large strokes rule pooled voxels"
        assert np.ptp(intervals[0]) > 1.1 * np.ptp(intervals[1]), "half the patients, a wider interval"
        assert tuned > 0.01 and fresh < 0.3 * tuned, "the gain is a delusion"
        assert thinned["AUPRC, a tenth"] > thinned["AUPRC, whole"]
        assert abs(thinned["AUROC, a tenth"] - thinned["AUROC, whole"]) < 0.02
        assert abs(halved.share[2] - 0.5) < 0.05
        """,
    ),
}


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def run(notebook, folder, monkeypatch):
    """Execute it in an empty folder, which must stay empty."""
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parents[1]))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    where = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=where, kernel_manager_class=Kernel).execute()
    assert not list(folder.iterdir()), "nothing is left behind"


def shows(cell, kind):
    return any(kind in output.get("data", {}) for output in cell.outputs)


def parameters(cell):
    """The names that a cell of plain literals assigns."""
    assert cell.metadata.tags == ["parameters"]
    return {line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse(cell.source).body}


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_runs_and_keeps_its_promise(name, tmp_path, monkeypatch):
    smoke, pictures, sliders, claims = LESSONS[name]
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", 4)
    first, *cells = code_cells(notebook)
    assert set(parameters(first)) == set(smoke)
    first.source = "\n".join(f"{key} = {value!r}" for key, value in smoke.items())
    notebook.cells.append(nbformat.v4.new_code_cell("if True:" + claims))
    run(notebook, tmp_path, monkeypatch)
    assert sum(shows(cell, PNG) for cell in cells) == pictures
    assert sum(shows(cell, WIDGET) for cell in cells) == sliders


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_opens_with_its_aim_and_ends_with_two_exercises(name):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", 4)
    assert "**Afterwards you can say**" in notebook.cells[0].source
    solved = [i for i, cell in enumerate(notebook.cells) if "solution" in cell.metadata.get("tags", [])]
    assert len(solved) == 2 and solved[-1] == len(notebook.cells) - 1
    for number, i in enumerate(solved, 1):
        assert f"**{number}.**" in notebook.cells[i - 1].source, "the exercise stands before its solution"
        assert notebook.cells[i].metadata.jupyter == {"source_hidden": True, "outputs_hidden": True}, "folded away"


@pytest.mark.parametrize("model", ["", "models/laptop_t2"], ids=["trains", "trained"])
def test_ten_cells_run(tmp_path, monkeypatch, model):
    notebook = nbformat.read(FOLDER / "the_method_in_ten_cells.ipynb", 4)
    first, *cells = code_cells(notebook)
    assert set(parameters(first)) == {"model", "subjects", "epochs"}
    assert len(cells) == 10, "it promises ten cells"
    first.source = f"model, subjects, epochs = {model!r}, 2, 4"
    run(notebook, tmp_path, monkeypatch)
    assert sum(shows(cell, PNG) for cell in cells) == 7, "a picture after every step"
    assert any(shows(cell, WIDGET) for cell in cells), "the slider"
