"""Validated notebook parameters.

In: the values of a notebook's `parameters` cell, or of a profile in workflow/config.yaml.
Out: one frozen object with typed fields, or a ValueError in plain sentences that name the parameter.

The models have no defaults: the literals in the notebook's `parameters` cell are the defaults, in sight of
who reads it. A missing, misspelt or mistyped parameter stops the notebook in its second cell:

    from essim.runs.params import start
    p = start("02_train", globals())
"""

import difflib
import json
import os
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from essim.settings import AutoencoderConfig, Preprocessing, TrainConfig

ROOT = Path(__file__).resolve().parents[2]

Contrast = Literal["t1", "t2"]
Dataset = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]  # as the scan table calls it
Fold = Annotated[int, Field(ge=0, le=4)]
Share = Annotated[float, Field(gt=0, lt=1)]
Shares = Annotated[list[Share], Field(min_length=1)]
Datasets = Annotated[list[Dataset], Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
Sigmas = Annotated[list[PositiveFloat], Field(min_length=1)]
# One noising step or several to average over; the notebook always sees a list.
Steps = Annotated[list[PositiveInt], Field(min_length=1), BeforeValidator(lambda t: t if isinstance(t, list) else [t])]


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Cohort(_Parameters):
    data: Path
    results: Path
    seed: Count
    voxel_mm: Literal[1, 2, 4]
    train: PositiveInt
    val: PositiveInt
    test: PositiveInt
    patients_val: PositiveInt
    patients_test: PositiveInt
    domain_shift: bool
    workers: PositiveInt


class _Scans(_Parameters):
    data: Path
    results: Path
    cache: Path
    contrast: Contrast
    preprocessing: Preprocessing


class _Reconstruction(_Parameters):
    t: Steps
    draws: PositiveInt
    seed: Count


class _Ensemble(_Parameters):
    sigmas: Sigmas
    temperature: PositiveFloat


class Train(_Scans):
    fold: Fold
    network: str  # a model folder, or "" to train one
    training: TrainConfig


class Baselines(_Scans):
    fold: Fold
    datasets: Datasets  # shown beside a healthy scan
    network: str  # a model folder with trained ones, or "" to train them
    autoencoder: AutoencoderConfig


class Healthy(_Scans, _Reconstruction, _Ensemble):
    fold: Fold
    shares: Shares


class Reconstruct(_Scans, _Reconstruction):
    dataset: Dataset


class Ablation(_Parameters):
    results: Path
    dataset: Dataset
    sigmas: Sigmas


class Ensembling(_Reconstruction, _Ensemble):
    results: Path
    datasets: Datasets


class Evaluate(_Ensemble):
    results: Path
    dataset: Dataset
    shares: Shares


class BestSigma(_Parameters):
    results: Path
    datasets: Datasets
    sigmas: Sigmas


class AcrossSets(_Ensemble):
    results: Path
    datasets: Datasets


class Calibrated(AcrossSets):
    shares: Shares  # of healthy voxels that thresholds promise
    scan_counts: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)]
    smoothings: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=1)]
    shifts: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]


class Run(_Parameters):
    seed: Count
    fold: Fold
    results: Path


class Spread(_Parameters):
    results: Path
    runs: Annotated[list[Run], Field(min_length=2)]
    datasets: Datasets


class Figures(_Parameters):
    results: Path
    datasets: Datasets


class _OneChoice(AcrossSets):
    """An ablation: what it takes from the study; each adds the values of the choice that it tries."""


class NoisingSteps(_OneChoice):
    t: Steps
    seed: Count
    steps: Annotated[list[Steps], Field(min_length=1)]
    predictions: PositiveInt


class NoiseDraws(_OneChoice, _Reconstruction):
    draw_counts: Annotated[list[PositiveInt], Field(min_length=1)]


class Windows(_OneChoice):
    window_counts: Annotated[list[PositiveInt], Field(min_length=1)]
    widest: Sigmas


class Temperature(_OneChoice):
    temperatures: Annotated[list[PositiveFloat], Field(min_length=1)]


class PostProcessing(_OneChoice):
    pass


class Resolution(_OneChoice):
    factors: Annotated[list[PositiveInt], Field(min_length=1)]


class Choices(_Parameters):
    results: Path
    datasets: Datasets
    ablations: Annotated[list[str], Field(min_length=1)]


MODELS = {
    "01_cohort": Cohort,
    "02_train": Train,
    "03_baselines": Baselines,
    "03_healthy": Healthy,
    "03_reconstruct": Reconstruct,
    "04_kernel_ablation": Ablation,
    "05_ensembling": Ensembling,
    "06_evaluate": Evaluate,
    "07_calibrated_ensemble": Calibrated,
    "08_best_sigma": BestSigma,
    "09_across_sets": AcrossSets,
    "98_spread": Spread,
    "99_figures": Figures,
    "ablations/a_noising_steps": NoisingSteps,
    "ablations/b_noise_draws": NoiseDraws,
    "ablations/c_windows": Windows,
    "ablations/d_temperature": Temperature,
    "ablations/e_post_processing": PostProcessing,
    "ablations/f_resolution": Resolution,
    "ablations/g_longer_baselines": AcrossSets,
    "ablations/z_choices": Choices,
}

# pydantic speaks of JSON, a notebook's reader thinks of Python.
_WORDS = {
    "Input should": "must",
    "Tuple should": "must",
    "List should": "must",
    " after validation": "",
    "a valid array": "a list",
    "an object": "a dict",
    "a valid integer": "a whole number",
    "a valid ": "a ",
}
_KINDS = {bool: "a boolean", str: "a string", int: "an integer", float: "a number", list: "a list", dict: "a dict"}


def start(notebook, namespace):
    """Validate the parameters of a running notebook and go to the repository's root.

    `namespace` is the notebook's `globals()`. Paths in the parameters are relative to the repository's root,
    wherever Jupyter was opened. In a fresh kernel every further plain value is an unknown parameter.
    """
    if (ROOT / "notebooks").is_dir():
        os.chdir(ROOT)
    fields = MODELS[notebook].model_fields
    values = {name: namespace[name] for name in fields if name in namespace}
    return check(notebook, values | _strangers(namespace, fields))


def check(notebook, values):
    """The notebook's parameters as one frozen object; ValueError with a sentence for each that is wrong."""
    if notebook not in MODELS:
        raise ValueError(f"unknown notebook `{notebook}`: known are {', '.join(MODELS)}")
    for name, value in values.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            raise ValueError(
                f"{notebook}: parameter `{name}` must be a plain number, string, list or dict, got {value!r}"
            ) from None
    model = MODELS[notebook]
    try:
        # By way of JSON, the only form in which strict validation takes a list for a tuple and a text for a path.
        parameters = model.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        problems = [_sentence(model, problem) for problem in error.errors(include_url=False)]
    else:
        problems = [f"parameter `{name}` is missing" for name in _left_out(parameters)]
    if problems:
        raise ValueError("\n".join(f"{notebook}: {problem}" for problem in problems)) from None
    return parameters


def _strangers(namespace, fields):
    """Plain values among the user's names that are no parameters, when nothing but the parameters has run."""
    try:
        shell = get_ipython()  # IPython puts it among the builtins
    except NameError:
        return {}
    if shell.execution_count > 3:  # parameters, injected parameters, this call; later the names are the notebook's
        return {}
    plain = (bool, int, float, str, list, tuple, dict, type(None))
    ours = {name for name in namespace if not name.startswith("_") and name not in {"In", "Out", "exit", "quit"}}
    ours -= set(fields) | set(getattr(shell, "user_ns_hidden", ()))
    return {name: namespace[name] for name in ours if type(namespace[name]) in plain}


def _left_out(model, prefix=""):
    """Names of nested fields that fell back on a default: a notebook states them all."""
    for name in type(model).model_fields:
        if name not in model.model_fields_set:
            yield prefix + name
        elif isinstance(getattr(model, name), BaseModel):
            yield from _left_out(getattr(model, name), f"{prefix}{name}.")


def _sentence(model, problem):
    """One of pydantic's error records as a sentence."""
    name, known = _locate(model, problem["loc"])
    if problem["type"] == "missing":
        return f"parameter `{name}` is missing"
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name.split(".")[-1], known, n=1)
        advice = f"did you mean `{close[0]}`?" if close else f"known are {', '.join(known)}"
        return f"unknown parameter `{name}`: {advice}"
    value = problem["input"]
    wanted = problem["msg"]
    for theirs, ours in _WORDS.items():
        wanted = wanted.replace(theirs, ours)
    return f"parameter `{name}` {wanted}, got {value!r}{_kind(value)}{_hint(value)}"


def _locate(model, loc):
    """The dotted name of a place in a model, and the names known beside it."""
    parts, known = [], list(model.model_fields)
    for part in loc:
        if isinstance(part, int):
            parts.append(f"[{part}]")
            continue
        field = model.model_fields.get(part) if model is not None else None
        parts.append(f".{part}" if parts else part)
        known = list(model.model_fields) if model is not None else known
        kind = getattr(field, "annotation", None)
        kind = next(iter(get_args(kind)), kind)  # of a list, what it holds
        model = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    return "".join(parts), known


def _kind(value):
    return f" ({_KINDS[type(value)]})" if type(value) in _KINDS else ""


def _hint(value):
    """How to write a number that came as text, as YAML does with 1e-3."""
    try:
        number = float(value) if isinstance(value, str) else None
    except ValueError:
        return ""
    return "" if number is None else f": write it as {int(number) if number.is_integer() else number}"
