"""The teaching path runs by itself: pictures, sliders and solutions are there, and what its first cells claim is so."""

import ast
from pathlib import Path

import nbclient
import nbformat
import pytest

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
            assert outside[name][0] < outside[name][-1], "with more noise the healthy brain goes"
            one, long, mean = (walks.loc[(name, way)] for way in ("one prediction", "a walk of 41", "the mean of 9"))
            assert one.healthy < long.healthy and mean.AUPRC > long.AUPRC and one.seconds < long.seconds
            assert ranked[name][1] > ranked[name][-1], "too much noise fails for both"
        assert visible["tumour", "simplex"][499] < 3 < visible["MS", "simplex"][499], "simplex hides what is large"
        assert ranked["MS"][0] < 0.5 * ranked["MS"][1] and ranked["tumour"][0] > 0.9, "too little fails for plaques"
        long, mean = walks.loc[("MS", "a walk of 9")], walks.loc[("MS", "the mean of 9")]
        assert walks.loc[("MS", "one prediction")].AUPRC < long.AUPRC < mean.AUPRC
        assert inside["MS"][0] < 0.5 * inside["MS"][-1], "small lesions come back"
        assert by_draws["healthy brain"][-1] < by_draws["healthy brain"][0]
        assert abs(halfway["cosine"] - 500) < 10 and halfway["linear"] < 300
        assert blocks.gaussian[16] < 0.1 < 0.4 < blocks.simplex[16]
        """,
    ),
    "3_what_ssim_sees": (
        {"model": "models/laptop_t2", "draws": 1},
        9,
        1,
        """
        assert np.allclose(blind.l1, 0.1) and blind.SSIM.max() - blind.SSIM.min() > 0.5
        assert apart < 1e-3
        for factor in where.values():
            luminance, _, structure = (level["lesion"] / level["healthy brain"] for level in factor.values())
            assert luminance > structure, "luminance tells, structure differs everywhere"
        assert ratio["tumour"][4.0] > ratio["tumour"][0.7], "larger windows forget the noise"
        assert by_factor["tumour"]["1 \N{MINUS SIGN} luminance"] > 0.5
        assert max(list(by_factor["MS"].values())[:3]) < 0.05
        assert auprc["tumour"][0.3] < auprc["tumour"][1.5] < auprc["tumour"][4.0], "as it is, wide windows win"
        assert cleaned["tumour"][0.3] > cleaned["tumour"][1.5], "cleaned, narrow ones do"
        for scores in (*auprc.values(), *cleaned.values()):
            assert scores["l1"] > max(scores[sigma] for sigma in sigmas)
        assert max(wrong["textbook"]) > 1 > 0.01 > max(wrong["ours"])
        assert max(wrong["textbook", "far"]) > 1 > 0.01 > max(wrong["ours", "far"])
        assert seen[0] > 10 * seen[-1] and unlike(whole).max() > 1.9 > inverse.max() > 1.5
        """,
    ),
    "4_one_kernel_does_not_fit_all": (
        {"t1": "models/laptop_t1", "t2": "models/laptop_t2", "people": [3, 4], "draws": 4},
        9,
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
        assert (means.calibrated > window).all() and (means.calibrated > means.adaptive).all()
        assert (means.l1 > window).all()
        given = lost.set_index("method").regret
        assert given.calibrated < 0 < given[singles].min() < given.adaptive < given[singles].max()
        assert (given[singles] < given.adaptive).sum() > 2, "several fixed windows give away less"
        assert (given[["ssim 0.3", "ssim 3", "ssim 4"]] < given.adaptive).all(), "narrowest, and wider than its eight"
        assert sharper["largest weight"].is_monotonic_increasing and sharper.AUPRC.iloc[-1] < sharper.AUPRC[1]
        gain = (places.calibrated - places.adaptive).mean()
        assert abs((places.calibrated - places.flat).mean()) < 0.5 * gain
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
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
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
