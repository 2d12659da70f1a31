"""The house is in order: notebooks, versions, imports, and nothing of the machine it was written on."""

import ast
import doctest
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import closure
import nbformat
import pytest
import yaml

import essim
from essim.runs import params

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
STEPS = [path for path in NOTEBOOKS if path.parent.name != "walkthrough"]
MODULES = sorted((ROOT / "essim").rglob("*.py"))
CELL_LINES = 15

# Which rooms of the package a room may import from; a room is the folder, the core the files beside the folders.
ROOMS = {
    "core": {"core", "kernels"},
    "kernels": {"core"},
    "runs": {"settings"},
    "data": {"runs", "settings"},
    "cohort": {"runs", "data.prepared", "kernels.sampling"},
    "train": {"core", "data", "runs"},
    "methods": {"core", "train"},
    "evaluation": {"core", "data", "kernels.dispatch", "runs"},
    "figures": {"evaluation"},
    "study": {"core", "data", "cohort", "evaluation", "methods", "runs", "train.trained"},
    "prepare": {"data", "cohort.mni", "figures.pictures", "figures.style", "runs"},
    "score": {"core", "data", "cohort", "prepare", "figures", "runs"},
    "calibrate": {"core", "data", "evaluation", "prepare", "score", "runs"},
}


def step(path):
    """The name of a notebook in the graph and in the parameters."""
    return path.relative_to(ROOT / "notebooks").with_suffix("").as_posix()


def named(paths):
    names = [path.relative_to(ROOT).with_suffix("").as_posix() for path in paths]
    return pytest.mark.parametrize("path", paths, ids=names)


def code_cells(path):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def tracked_texts():
    """Every text file of the repository, as git would commit it, or without git, as it is."""
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


@named([path for path in MODULES if path.stem == "__init__" and path.parent.name != "essim"])
def test_every_room_says_what_comes_in_and_what_goes_out(path):
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert re.search(r"^In: ", text, re.MULTILINE) and "Out: " in text and re.search(r"^Imports: ", text, re.MULTILINE)
    assert len(ast.parse(path.read_text()).body) == 1, "a room's __init__ holds no code"
    for module in path.parent.glob("[!_]*.py"):
        assert re.search(rf"^    {module.stem}\b", text, re.MULTILINE), f"{module.stem} isn't listed"


@named(MODULES)
def test_shapes_and_units_stand_in_docstrings_not_in_annotations(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            kinds = {a.annotation and ast.unparse(a.annotation) for a in arguments}
            assert node.returns is None and kinds <= {None, "tl.constexpr"}, f"{path.name}: {node.name}"


@named(MODULES)
def test_every_module_says_what_it_is(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    called = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    assert "print" not in called


# Imports


def room_of(module):
    """`essim.data.volumes` is in `data`, `essim.ssim` in `core`."""
    return module.split(".")[1] if module.count(".") > 1 else "core"


def dotted(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_imports_between_rooms_go_one_way():
    wrong = []
    for path in MODULES:
        module = dotted(path)
        if module == "essim.__init__":
            continue
        room = room_of(module)
        for name in closure.imports_of(module):
            if room_of(name) != room and not {room_of(name), name.removeprefix("essim.")} & ROOMS[room]:
                wrong.append(f"{module} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_by_way_of_others():
    graph = {dotted(path): closure.imports_of(dotted(path)) for path in MODULES if path.stem != "__init__"}
    list(TopologicalSorter(graph).static_order())  # raises CycleError, with the circle


@named(STEPS)
def test_the_graph_finds_the_modules_of_a_notebook(path):
    found = closure.modules_of(step(path))
    assert found == sorted(found) and all((ROOT / name).is_file() for name in found)
    assert not [name for name in found if name.startswith("essim/runs/")]


def test_the_public_names_are_there():
    for name in (
        *("SIGMAS", "ssim_map", "ssim_maps", "ensemble_map", "l1_map", "simplex_noise", "UNet", "GaussianDiffusion"),
        *("calibrated_map", "load_calibration", "load_scans", "average_precision", "best_dice", "fit_threshold"),
    ):
        assert name in essim.__all__ and hasattr(essim, name)
    assert {f"essim.{name}" for name in essim.__all__} == set(closure.public_names())


@pytest.mark.parametrize("name", sorted(set(essim.__all__) - {"SIGMAS"}))
def test_the_example_of_a_public_name_runs(name):
    public = getattr(essim, name)
    scope = vars(sys.modules[public.__module__])
    examples = doctest.DocTestFinder(recurse=False).find(public, name, globs=dict(scope))
    assert [test for test in examples if test.examples], f"essim.{name}: its docstring has no example"
    runner, report = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS), []
    for test in examples:
        runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)
