"""The house is in order: notebooks, versions, imports, and nothing of the machine it was written on."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml

import essim
from essim import params

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
STEPS = [path for path in NOTEBOOKS if path.parent.name != "walkthrough"]
MODULES = sorted((ROOT / "essim").rglob("*.py"))
CELL_LINES = 15

# A module imports from the layers above it only.
LAYERS = [
    {"augment", "files", "grids", "kernels/median", "layouts", "metrics", "mni", "noise", "optim", "settings", "ssim"}
    | {"stats", "unet", "workers"},
    {"align", "anatomy", "baselines", "diffusion", "kernels/cpu", "kernels/cuda", "pictures", "postprocess"}
    | {"provenance", "splits", "volumes"},
    {"brain", "checkpoints", "checks", "detection", "models", "slices", "viewer"},
    {"datasets", "registration"},
    {"autoencoder", "cases", "ensemble", "finding", "lesions", "qc", "scanner", "train"},
    {"cohort", "plots", "plots_lesions", "plots_teaching", "prepare", "study"},
    {"ablations", "calibration", "evaluation", "params", "plots_ablations", "plots_evaluation", "teaching"},
    {"best_sigma", "candidates", "choices", "plots_calibration", "score"},
]
COHORT = {"anatomy", "cohort", "lesions", "mni", "scanner"}  # the cohort knows nothing of the method
QUIET = {"files", "params", "pictures", "plots", "plots_ablations", "plots_calibration", "plots_evaluation"}
QUIET |= {"plots_lesions", "provenance", "settings"}


def step(path):
    """What the graph and the parameters call a notebook."""
    return path.relative_to(ROOT / "notebooks").with_suffix("").as_posix()


def named(paths):
    return pytest.mark.parametrize("path", paths, ids=[path.stem for path in paths])


def code_cells(path):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def tracked_texts():
    """Every text file of the repository, as git would commit it, or as it lies there where there is no git."""
    command = ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    names = listed.stdout.splitlines() or [p.as_posix() for p in MODULES + NOTEBOOKS]
    for name in names:
        path = ROOT / name
        if path.is_file() and path.suffix not in {".png", ".pdf", ".safetensors", ".npz", ".gz"}:
            yield path, path.read_text(encoding="utf-8")


# Notebooks


def test_all_notebooks_of_the_study_are_there():
    assert {step(path) for path in STEPS} == set(params.MODELS)


@named(NOTEBOOKS)
def test_notebooks_are_stored_without_outputs(path):
    for cell in code_cells(path):
        assert not cell.outputs and cell.execution_count is None


def test_notebooks_are_stored_as_make_strip_leaves_them():
    command = [sys.executable, "-m", "nbstripout", "--keep-id", "--verify", *NOTEBOOKS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run `make strip`: {done.stdout}"


@named(NOTEBOOKS)
def test_cells_are_short(path):
    for cell in code_cells(path):
        lines = len(cell.source.splitlines())
        assert lines <= CELL_LINES, f"{path.name}: {lines} lines from `{cell.source.splitlines()[0]}`"


@named(STEPS)
def test_one_cell_of_plain_literals_holds_the_parameters(path):
    cells = code_cells(path)
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == cells[:1], "the first code cell, and no other, is tagged `parameters`"
    values = {}
    for statement in ast.parse(tagged[0].source).body:
        assert isinstance(statement, ast.Assign) and len(statement.targets) == 1
        values[statement.targets[0].id] = ast.literal_eval(statement.value)
    params.check(step(path), values)  # the defaults are valid, none is missing, none is unknown
    assert f'start("{step(path)}", globals())' in cells[1].source, "the second code cell validates"


# Versions


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def plain(name):
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[]", name)[0]).lower()


def test_every_version_is_pinned():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {}
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line), line  # no address, no +cpu
        pins[plain(line)] = line.split("==")[1]
    assert not [name for name in pins if name.startswith(("nvidia", "cuda", "triton"))]
    project = pyproject()
    wanted = sum(project["optional-dependencies"].values(), project["dependencies"])
    assert {plain(name) for name in wanted} <= set(pins)
    for requirement in wanted:
        lowest = requirement.split(">=")[1]
        numbers = [[int(part) for part in re.findall(r"\d+", text)] for text in (pins[plain(requirement)], lowest)]
        assert numbers[0] >= numbers[1], requirement


def test_conda_gets_the_same_environment():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *packages, pip = environment["dependencies"]
    assert pip == {"pip": ["-c constraints.txt", "-e .[dev]"]}
    assert f"python{pyproject()['requires-python']}" in packages
    assert "pip" in packages
    assert environment["name"] == pyproject()["name"]


def test_one_version_number():
    assert essim.__version__ == pyproject()["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == essim.__version__


# Text


def test_nothing_of_a_machine_is_left():
    wrong = re.compile(r"(?<![\w.<])/(home|Users|root|work|mnt|scratch|opt)/\w|index-url[= ]+https?:|file:" + "//")
    for path, text in tracked_texts():
        for number, line in enumerate(text.splitlines(), 1):
            assert not wrong.search(line), f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"


@named(MODULES)
def test_every_module_says_what_it_is(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    called = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    assert "print" not in called


# Imports


def public_names():
    """{public name: module} of `essim/__init__.py`."""
    return dict(essim._HOME)


def imports(source):
    """The modules of essim that a text of Python uses, itself or by way of a public name."""
    found, public = set(), public_names()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "essim":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("essim."):
            inside = "/".join(node.module.split(".")[1:])
            found |= {f"{inside}/{alias.name}" for alias in node.names} if inside == "kernels" else {inside}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("essim.")}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "essim":
            found.add(node.attr)
    return {public.get(name, name) for name in found} - {"__version__"}


def test_imports_go_one_way():
    layer = {name: number for number, names in enumerate(LAYERS) for name in names}
    for path in MODULES:
        if path.stem == "__init__":
            continue
        module = path.relative_to(ROOT / "essim").with_suffix("").as_posix()
        assert module in layer, f"{module}: which layer is it in?"
        for name in imports(path.read_text()):
            assert layer[name] < layer[module], f"{module} imports {name}"
            if module in COHORT:
                assert name in COHORT | {"files"}, f"{module} imports {name}"


@named(STEPS)
def test_the_graph_knows_what_a_notebook_uses(path):
    graph = "ablations.smk" if step(path).startswith("ablations/") else "Snakefile"
    text = (ROOT / "workflow" / graph).read_text()
    listed = set(re.search(rf'"{step(path)}": "([a-z_/ ]*)",', text)[1].split())
    assert all((ROOT / f"essim/{name}.py").is_file() for name in listed)
    waiting, used = imports("\n".join(cell.source for cell in code_cells(path))) - QUIET, set()
    while waiting:
        name = waiting.pop()
        used.add(name)
        waiting |= imports((ROOT / f"essim/{name}.py").read_text()) - QUIET - used
    assert used == listed - QUIET, f"workflow/{graph}, MODULES"


def test_the_public_names_are_there():
    for name in (
        *("SIGMAS", "ssim_map", "ssim_maps", "ensemble_map", "simplex_noise", "UNet", "GaussianDiffusion"),
        *("load_scans", "average_precision", "best_dice", "fit_threshold"),
    ):
        assert name in essim.__all__ and hasattr(essim, name)


def test_the_readme_quotes_the_reference():
    """Mean AUPRC over the sets, as 07 has it: the README's numbers are those of the committed tables."""
    table = pd.read_csv(ROOT / "results/reference/laptop/tables/calibrated.csv").groupby("method").auprc.mean()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    quoted = re.search(r"0\.(\d+), where l1 has 0\.(\d+) and the paper's ensemble 0\.(\d+)\.", readme)
    means = [table[method] for method in ("calibrated", "l1", "adaptive")]
    assert [f"0.{digits}" for digits in quoted.groups()] == [f"{mean:.3f}" for mean in means]
