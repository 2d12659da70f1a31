"""Parameters: what is right passes and is frozen; what is wrong is named in a sentence."""

import builtins
import copy
from pathlib import Path
from types import SimpleNamespace

import pydantic
import pytest
from profiles import read_profile

from essim.runs import params

TRAIN = {
    "data": "data/x",
    "results": "results/x",
    "cache": "results/x/cache",
    "fold": 0,
    "contrast": "t1",
    "network": "",
    "preprocessing": {"smooth": False, "shape": [80, 96, 64], "factor": 1},
    "training": {"seed": 0} | read_profile("smoke")["training"],
}
RECONSTRUCT = {key: TRAIN[key] for key in ("data", "results", "cache", "contrast", "preprocessing")}
RECONSTRUCT |= {"dataset": "ms", "t": [500], "draws": 4, "seed": 0}


def changed(place, value):
    values = copy.deepcopy(TRAIN)
    inner = values
    *path, last = place.split(".")
    for key in path:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return values


def test_right_parameters_come_back_typed_and_frozen():
    p = params.check("02_train", TRAIN)
    assert p.data == Path("data/x")
    assert p.training.lr == TRAIN["training"]["lr"]
    assert tuple(p.preprocessing.shape) == (80, 96, 64)
    with pytest.raises(pydantic.ValidationError):
        p.contrast = "t2"


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        ("training.lr", "1e-3", "parameter `training.lr` must be a number, got '1e-3' (a string): write it as 0.001"),
        ("training.lr", -1, "parameter `training.lr` must be greater than 0, got -1 (an integer)"),
        ("training.lr", float("nan"), "parameter `training.lr` must be greater than 0, got nan (a number)"),
        ("training.batch", True, "parameter `training.batch` must be a whole number, got True (a boolean)"),
        ("training.batch", 3.5, "parameter `training.batch` must be a whole number, got 3.5 (a number)"),
        ("training.multipliers", "[1,2]", "parameter `training.multipliers` must be a list, got '[1,2]' (a string)"),
        ("training.augment", "yes", "parameter `training.augment` must be a boolean, got 'yes' (a string)"),
        ("training.lrr", 1, "unknown parameter `training.lrr`: did you mean `lr`?"),
        ("training.lr", None, "parameter `training.lr` is missing"),
        ("contrast", None, "parameter `contrast` is missing"),
        ("contrast", "T1", "parameter `contrast` must be 't1', 't2' or 'flair', got 'T1' (a string)"),
        ("contast", "t1", "unknown parameter `contast`: did you mean `contrast`?"),
        ("data", Path("x"), "parameter `data` must be a plain number, string, list or dict"),
    ],
)
def test_wrong_parameters_are_named(place, value, sentence):
    with pytest.raises(ValueError) as error:
        params.check("02_train", changed(place, value))
    assert str(error.value).startswith("02_train: ")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)  # one mistake, one sentence


def test_a_single_noising_step_is_a_list_of_one():
    assert params.check("03_reconstruct", RECONSTRUCT | {"t": 500}).t == [500]
    assert params.check("03_reconstruct", RECONSTRUCT | {"t": [250, 500]}).t == [250, 500]


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        ({"sed": 1}, "unknown parameter `runs[1].sed`: did you mean `seed`?"),
        ({"seed": -1}, "parameter `runs[1].seed` must be greater than or equal to 0, got -1 (an integer)"),
    ],
)
def test_a_wrong_value_in_a_list_is_named(run, sentence):
    first = {"seed": 0, "fold": 0, "results": "results/x"}
    with pytest.raises(ValueError) as error:
        params.check("98_spread", {"results": "results/x", "runs": [first, first | run], "datasets": ["ms"]})
    assert str(error.value) == f"98_spread: {sentence}"


def test_an_unknown_notebook_is_named():
    with pytest.raises(ValueError, match="unknown notebook `02_trian`"):
        params.check("02_trian", TRAIN)


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    """A notebook's kernel, as far as `start` sees it."""
    shell = SimpleNamespace(execution_count=2, user_ns_hidden={"hidden": 1})
    monkeypatch.setattr(builtins, "get_ipython", lambda: shell, raising=False)
    monkeypatch.chdir(tmp_path)
    return shell


def test_start_takes_the_parameters_and_goes_to_the_root(kernel):
    names = TRAIN | {"_": 1, "In": [], "Out": {}, "hidden": 1, "Path": Path, "start": params.start, "__name__": "x"}
    assert params.start("02_train", names).contrast == "t1"
    if (params.ROOT / "notebooks").is_dir():
        assert Path.cwd() == params.ROOT


def test_start_names_a_stray_parameter(kernel):
    with pytest.raises(ValueError, match="02_train: unknown parameter `contrasts`: did you mean `contrast`?"):
        params.start("02_train", TRAIN | {"contrasts": "t2"})


def test_start_again_later_minds_its_own_names_only(kernel):
    kernel.execution_count = 12
    assert params.start("02_train", TRAIN | {"rows": 3}).contrast == "t1"
