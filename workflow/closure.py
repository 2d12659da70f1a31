"""What decides whether a step of the study runs again: the modules that its notebook uses, and the text of its code.

In: a notebook's name, `02_train`, or a module's. Out: paths below the repository's root, a digest.
"""

import ast
import functools
import hashlib
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# These only draw, write or check: a new colour, or another check of the cohort, retrains nothing.
QUIET = {"figures", "runs", "settings", "prepare.qc", "study.realism", "study.burden"}
DRAWING = ("98_spread", "99_figures")  # notebooks whose results are figures


def code_of(notebook):
    """The code of a notebook as one text; prose and outputs don't count."""
    cells = json.loads((ROOT / f"notebooks/{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def digest_of(notebook):
    """A short digest of a notebook's code."""
    return hashlib.sha256(code_of(notebook).encode()).hexdigest()[:12]


def modules_of(notebook):
    """The modules of essim that decide what a notebook computes: sorted paths such as `essim/evaluation/cases.py`.

    Its imports, their imports, and so on, except for what only draws, writes or checks.
    """
    return _behind(imported(code_of(notebook)), QUIET - {"figures"} if notebook in DRAWING else QUIET)


def modules_behind(module):
    """The same for a module that is run separately, its own path included."""
    return _behind({module}, QUIET)


def _behind(waiting, quiet):
    used = set()
    while waiting:
        module = waiting.pop()
        if not {module.split(".")[1], module.removeprefix("essim.")} & quiet:
            used.add(module)
            waiting |= imports_of(module) - used
    return sorted(path_of(module).relative_to(ROOT).as_posix() for module in used)


@functools.cache
def imports_of(module):
    """The modules that a module itself imports; for a registry, also those of the folders beside it."""
    path = path_of(module)
    listed = path.parent.glob("*/[!_]*.py") if path.stem == "registry" else ()
    found = {".".join(file.relative_to(ROOT).with_suffix("").parts) for file in listed}
    return imported(path.read_text(encoding="utf-8")) | found


def imported(source):
    """The modules of essim, `essim.evaluation.cases`, that a text of Python imports or reaches by a public name."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "essim":
            modules |= {module_of(f"{node.module}.{alias.name}") for alias in node.names}
        elif isinstance(node, ast.Import):
            modules |= {module_of(alias.name) for alias in node.names if alias.name.startswith("essim.")}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "essim":
            modules.add(module_of(f"essim.{node.attr}"))
    return modules - {None}


def module_of(name):
    """The module that a dotted name such as `essim.data.volumes.load_scan` lies in; None for a room."""
    if path_of(name).is_file():
        return name
    parent = name.rpartition(".")[0]
    return public_names().get(name) if parent == "essim" else module_of(parent)


def path_of(module):
    return ROOT / f"{module.replace('.', '/')}.py"


@functools.cache
def public_names():
    """{public name: module}, from the package's stub."""
    tree = ast.parse((ROOT / "essim/__init__.pyi").read_text(encoding="utf-8"))
    froms = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {f"essim.{alias.name}": f"essim.{node.module}" for node in froms for alias in node.names}
