"""The notebooks' defaults are a profile's; each reads like a lesson.

That every notebook of the study runs is shown by the smoke run of the graph (test_workflow.py, test_smoke.py), and by
test_walkthrough.py for the teaching path.
"""

import ast
import re
import statistics
from pathlib import Path

import nbformat
import pytest
from plan import make_plan
from profiles import read_profile
from steps import steps_of

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
STEPS = [path for path in NOTEBOOKS if path.parent.name != "walkthrough"]
ABLATIONS = [path for path in STEPS if path.parent.name == "ablations"]


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def literals(cell):
    """{name: value} of a cell of plain assignments."""
    return {line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse(cell.source).body}


@pytest.mark.parametrize("path", STEPS, ids=[path.stem for path in STEPS])
def test_the_defaults_are_a_profile(path):
    """The laptop's; those of ablations, moved scanners and methods are `pretrained`'s, as `make` has it."""
    step = "10_one_method_ddpm" if path.stem == "10_one_method" else path.stem
    trained = path.stem in ("10_methods", "10_one_method", "10_seeds", "13_when_ssim_overtakes_l1")
    profile = read_profile("pretrained" if path in ABLATIONS or trained else "laptop")
    known = {"data": profile["data"], "results": profile["results"], "datasets": list(profile["sets"])}
    known |= {name: profile[name] for name in ("preprocessing", "temperature", "windows")}
    curve = path.stem in ("04_kernel_ablation", "08_best_sigma")
    known |= {"sigmas": profile["ablation_sigmas" if curve else "sigmas"]}
    (seed,) = profile["seeds"]
    known |= {"training": {"seed": seed} | profile["training"], "seed": seed}
    known |= {"autoencoder": {"seed": seed} | profile["autoencoder"], "network": profile["networks"]}
    known |= profile["reconstruction"] | (profile["cohort"] if path.stem == "01_cohort" else {})
    known |= profile["ablations"] | {"ablations": [other.stem for other in ABLATIONS if other.stem[0] < "g"]}
    known |= {"cache": f"{profile['results']}/cache", "shares": profile["healthy_shares"]}
    known |= profile["calibrated"] if path.stem == "07_calibrated_ensemble" else {}
    known |= {"runs": [{"seed": 0, "fold": 0, "results": profile["results"]}]}
    known["runs"] += [{"seed": s, "fold": 0, "results": f"{profile['results']}-seed{s}"} for s in (1, 2)]  # SEEDS=0,1,2
    known |= steps_of(make_plan({"profile": "real"}))[None].get(path.stem, {})
    steps = steps_of(make_plan({"profile": "pretrained", "seeds": [0, 1, 2]})) if trained else {}
    known |= {name: value for part in (None, "") if trained for name, value in steps[part].get(step, {}).items()}
    known |= steps_of(make_plan({"profile": "confirm"}))[""].get(path.stem, {})
    values = literals(code_cells(nbformat.read(path, 4))[0])
    if path.stem == "03_baselines":
        known["datasets"] = [name for name, contrast in profile["sets"].items() if contrast == values["contrast"]]
    free = {"workers", "contrast", "dataset", "fold"}  # one value each of what the graph goes through
    assert {name: value for name, value in values.items() if name not in free} == {
        name: known[name] for name in values if name not in free
    }
    if path.stem == "03_reconstruct":
        assert values["contrast"] == profile["sets"][values["dataset"]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_reads_like_a_lesson(path):
    cells = nbformat.read(path, 4).cells
    assert cells[0].cell_type == "markdown" and "**What you will see" in cells[0].source, "a claim comes first"
    if path in STEPS:
        assert "**Needs**" in cells[0].source and "**Writes**" in cells[0].source
    lengths = [len(cell.source.splitlines()) for cell in cells if cell.cell_type == "code"]
    assert statistics.median(lengths) <= 8
    ends = [cell.source.splitlines()[-1] for cell in cells if "save_figure(figure" in cell.source]
    assert all(line.startswith("save_figure(") for line in ends), "what is saved is shown"
    for cell in cells:  # a result in prose would stay when the numbers change
        if cell.cell_type == "markdown":
            assert not re.search(r"(AUPRC|Dice|regret) (of|is|was|reaches) (about )?0?\.\d", cell.source)
