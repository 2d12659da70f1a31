"""Validated notebook parameters.

In: the values of a notebook's `parameters` cell, or of a profile in workflow/. Out: one frozen object with typed
fields, or a ValueError in plain sentences that name the parameter.

The models have no defaults: the literals in the notebook's `parameters` cell are the defaults, where the reader sees
them. A missing, misspelt or mistyped parameter stops the notebook in its second cell:

    from essim.runs.params import start
    p = start("02_train", globals())
"""

import difflib
import json
import os
from pathlib import Path
from typing import Annotated, Literal, get_args

import pydantic
from pydantic import BaseModel, Field, PositiveFloat, PositiveInt

from essim.settings import AutoencoderConfig, Preprocessing, TrainConfig

ROOT = Path(__file__).resolve().parents[2]


def _list_of(kind, least=1):
    return Annotated[list[kind], Field(min_length=least)]


class _Parameters(BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _model(name, fields):
    return pydantic.create_model(name, __base__=_Parameters, **{field: (kind, ...) for field, kind in fields.items()})


# Kinds of values

Contrast = Literal["t1", "t2", "flair"]
Dataset = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]  # as the scan table calls it
Fold = Annotated[int, Field(ge=0, le=4)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Width = Annotated[float, Field(ge=0)]
AtLeastOne, AtLeastTwo = (Annotated[int, Field(ge=least)] for least in (1, 2))
# One noising step or several to average over; the notebook always sees a list.
Steps = Annotated[_list_of(PositiveInt), pydantic.BeforeValidator(lambda t: t if isinstance(t, list) else [t])]
Run = _model("Run", {"seed": Count, "fold": Fold, "results": Path})

# What several notebooks take

SCANS = {"data": Path, "results": Path, "cache": Path, "contrast": Contrast, "preprocessing": Preprocessing}
RECONSTRUCTION = {"t": Steps, "draws": PositiveInt, "seed": Count}
ENSEMBLE = {"sigmas": _list_of(PositiveFloat), "temperature": PositiveFloat}
SETS = {"results": Path, "datasets": _list_of(Dataset)}
ACROSS_SETS = ENSEMBLE | SETS
ONE_SET = {"results": Path, "dataset": Dataset}
SPREAD = {"results": Path, "runs": _list_of(Run, least=2), "datasets": _list_of(Dataset)}
SHARES = {"shares": _list_of(Share)}  # of healthy voxels that thresholds may mark

# `network` is a model folder with the pretrained networks, or "" to train them.
FIELDS = {
    "01_cohort": {"data": Path, "results": Path, "seed": Count, "voxel_mm": Literal[1, 2, 4]}
    | dict.fromkeys(("train", "val", "test", "patients_val", "patients_test"), PositiveInt)
    | {"domain_shift": bool, "contrasts": _list_of(Contrast), "anatomies": str, "workers": PositiveInt},
    "02_train": SCANS | {"fold": Fold, "network": str, "training": TrainConfig},
    "03_baselines": SCANS
    | {"fold": Fold, "datasets": _list_of(Dataset), "network": str, "autoencoder": AutoencoderConfig},
    "03_healthy": ENSEMBLE | RECONSTRUCTION | SCANS | {"fold": Fold} | SHARES,
    "03_reconstruct": RECONSTRUCTION | SCANS | {"dataset": Dataset},
    "04_kernel_ablation": ONE_SET | {"sigmas": _list_of(PositiveFloat)},
    "05_at_its_best": ACROSS_SETS | {"windows": _list_of(PositiveFloat), "t": Steps},
    "05_ensembling": ENSEMBLE | RECONSTRUCTION | SETS,
    "06_evaluate": ENSEMBLE | ONE_SET | SHARES,
    "07_calibrated_ensemble": ACROSS_SETS
    | SHARES
    | {"scan_counts": _list_of(AtLeastTwo), "smoothings": _list_of(Width), "shifts": _list_of(AtLeastOne)},
    "08_best_sigma": SETS | {"sigmas": _list_of(PositiveFloat)},
    "09_across_sets": ACROSS_SETS,
    "10_methods": SETS
    | {"reconstructors": _list_of(str), "scores": _list_of(str), "draws": AtLeastTwo, "seed": Count}
    | dict.fromkeys(("patients_val", "patients_test"), PositiveInt)
    | {"yardsticks": AtLeastTwo},
    "10_one_method": ACROSS_SETS
    | {"reconstructor": str, "scores": _list_of(str), "steps": _list_of(PositiveInt), "seed": Count}
    | dict.fromkeys(("models", "segmenters"), dict[Contrast, Path]),
    "10_seeds": SPREAD | {"reconstructors": _list_of(str)},
    "11_real_heads": {"data": Path, "results": Path, "models": str, "sigmas": _list_of(PositiveFloat)},
    "12_half_real": {
        **dict.fromkeys(("data", "results", "masks", "reference", "grown_network", "real_network"), Path),
        **{"patients": PositiveInt, "seed": Count, "sigmas": _list_of(PositiveFloat)},
    },
    "13_when_ssim_overtakes_l1": ENSEMBLE
    | RECONSTRUCTION
    | {"results": Path, "reference": Path, "sets": dict[Dataset, Contrast], "cohort_seed": Count}
    | {"voxel_mm": Literal[1, 2, 4], "patients": PositiveInt, "steps": PositiveInt}
    | {"windows": _list_of(PositiveFloat), "factors_at": PositiveFloat},
    "14_confirm": ACROSS_SETS | {"development": Path, "declaration": Path},
    "98_spread": SPREAD,
    "99_figures": SETS,
    "ablations/a_noising_steps": ACROSS_SETS
    | {"t": Steps, "seed": Count, "steps": _list_of(Steps), "predictions": PositiveInt},
    "ablations/b_noise_draws": RECONSTRUCTION | ACROSS_SETS | {"draw_counts": _list_of(PositiveInt)},
    "ablations/c_windows": ACROSS_SETS | {"window_counts": _list_of(PositiveInt), "widest": _list_of(PositiveFloat)},
    "ablations/d_temperature": ACROSS_SETS | {"temperatures": _list_of(PositiveFloat)},
    "ablations/e_post_processing": ACROSS_SETS,
    "ablations/f_resolution": ACROSS_SETS | {"factors": _list_of(PositiveInt)},
    "ablations/g_longer_baselines": ACROSS_SETS,
    "ablations/z_choices": SETS | {"ablations": _list_of(str)},
}
MODELS = {notebook: _model(notebook, fields) for notebook, fields in FIELDS.items()}

# pydantic speaks of JSON, a notebook's reader thinks in Python.
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
    """The parameters of a running notebook as `check` gives them; its folder becomes the repository's root.

    `namespace` is the notebook's `globals()`. Paths in the parameters are relative to the repository's root, wherever
    Jupyter was opened. In a fresh kernel any other plain value counts as an unknown parameter.
    """
    if (ROOT / "notebooks").is_dir():
        os.chdir(ROOT)
    fields = MODELS[notebook].model_fields
    values = {name: namespace[name] for name in fields if name in namespace}
    return check(notebook, values | _strangers(namespace, fields))


def check(notebook, values):
    """The notebook's parameters as one frozen object; ValueError with a sentence for each wrong one."""
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
        # By way of JSON, the only form in which strict validation accepts a list as a tuple and a string as a path.
        parameters = model.model_validate_json(json.dumps(values), strict=True)
    except pydantic.ValidationError as error:
        problems = [_sentence(model, problem) for problem in error.errors(include_url=False)]
    else:
        problems = [f"parameter `{name}` is missing" for name in _left_out(parameters)]
    if problems:
        raise ValueError("\n".join(f"{notebook}: {problem}" for problem in problems)) from None
    return parameters


def _strangers(namespace, fields):
    """{name: value} of the user's plain values that are not parameters, as long as only the parameters have run."""
    try:
        shell = get_ipython()  # IPython puts it among the builtins
    except NameError:
        return {}
    if shell.execution_count > 3:  # parameters, injected parameters, this call; later names are the notebook's own
        return {}
    plain = (bool, int, float, str, list, tuple, dict, type(None))
    ours = {name for name in namespace if not name.startswith("_") and name not in {"In", "Out", "exit", "quit"}}
    ours -= set(fields) | set(getattr(shell, "user_ns_hidden", ()))
    return {name: namespace[name] for name in ours if type(namespace[name]) in plain}


def _left_out(model, prefix=""):
    """Names of nested fields that fell back on a default: a notebook has to state them all."""
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
    value, wanted = problem["input"], problem["msg"]
    for theirs, ours in _WORDS.items():
        wanted = wanted.replace(theirs, ours)
    return f"parameter `{name}` {wanted}, got {value!r}{_kind(value)}{_hint(value)}"


def _locate(model, loc):
    """The dotted name of a place in a model, and the names of the parameters beside it."""
    name, fields = "", {}
    for part in loc:
        if isinstance(part, int):
            name += f"[{part}]"
            continue
        name += f".{part}" if name else part
        fields = model.model_fields if model else fields
        kind = getattr(model and fields.get(part), "annotation", None)
        kind = next(iter(get_args(kind)), kind)  # of a list, what it holds
        model = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    return name, list(fields)


def _kind(value):
    return f" ({_KINDS[type(value)]})" if type(value) in _KINDS else ""


def _hint(value):
    """How to write a number that arrived as text, as 1e-3 does from YAML."""
    try:
        number = float(value) if isinstance(value, str) else None
    except ValueError:
        return ""
    return "" if number is None else f": write it as {int(number) if number.is_integer() else number}"
