"""Which modules a notebook depends on, and so what runs again when one changes."""

import json

import closure
import pytest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose notebook imports `a`, which imports `b` by way of a function, which imports `deep`."""
    texts = {
        "essim/__init__.pyi": "from runs.deep import DEEP\nfrom ssim import ssim_map\n",
        "essim/ssim.py": "def ssim_map(): pass\n",
        "essim/data/a.py": "from essim.data import b\n",
        "essim/data/b.py": "def read():\n    from essim.cohort.deep import depth\n    return depth\n",
        "essim/cohort/deep.py": "import essim.figures.style\ndepth = 1\n",
        "essim/cohort/unused.py": "",
        "essim/figures/style.py": "from essim.cohort import unused\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(closure, "ROOT", tmp_path)
    for function in (closure.imports_of, closure.public_names):
        monkeypatch.setattr(closure, function.__name__, function.__wrapped__)
    (tmp_path / "notebooks").mkdir()

    def notebook(name, *sources, prose=""):
        cells = [{"cell_type": "code", "source": source.splitlines(keepends=True)} for source in sources]
        cells.append({"cell_type": "markdown", "source": [prose]})
        (tmp_path / f"notebooks/{name}.ipynb").write_text(json.dumps({"cells": cells}))
        return name

    return notebook


def test_the_closure_goes_as_deep_as_the_imports(package):
    name = package("02_x", "from essim.data.a import b", "import essim\nessim.ssim_map()")
    deep = ["essim/cohort/deep.py", "essim/data/a.py", "essim/data/b.py", "essim/ssim.py"]
    assert closure.modules_of(name) == deep, "what only draws is left out, and what that imports"
    assert closure.modules_behind("essim.data.b") == ["essim/cohort/deep.py", "essim/data/b.py"]
    drawing = package("99_figures", "from essim.data.a import b")
    assert closure.modules_of(drawing) == sorted({*deep[:3], "essim/figures/style.py", "essim/cohort/unused.py"})


def test_a_module_that_is_imported_from_now_on_counts(package, tmp_path):
    name = package("02_x", "from essim.data.a import b")
    (tmp_path / "essim/cohort/deep.py").write_text("from essim.cohort import unused\n")
    assert "essim/cohort/unused.py" in closure.modules_of(name)


def test_only_code_changes_the_digest_of_a_notebook(package):
    before = closure.digest_of(package("02_x", "a = 1", "b = 2"))
    assert closure.digest_of(package("02_x", "a = 1", "b = 2", prose="Better.")) == before
    assert closure.digest_of(package("02_x", "a = 1", "b = 3")) != before
