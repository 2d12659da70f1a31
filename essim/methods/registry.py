"""All methods: every file of reconstructors/ and scores/, by its name.

In: nothing; a name. Out: {name: module}, a module.
"""

import importlib
import pkgutil
from pathlib import Path


def reconstructors():
    """{name: module} of every reconstructor."""
    return _modules("reconstructors")


def scores():
    """{name: module} of every score."""
    return _modules("scores")


def pick(entries, name):
    """The module of a name among `reconstructors()`, `scores()` or both; ValueError if there is none."""
    if name not in entries:
        raise ValueError(f"method: there is no {name!r}; take one of {', '.join(entries)}.")
    return entries[name]


def _modules(kind):
    found = pkgutil.iter_modules([str(Path(__file__).parent / kind)])
    return {module.name: importlib.import_module(f"essim.methods.{kind}.{module.name}") for module in found}
