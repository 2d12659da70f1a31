"""How a scan is to be scored: which network, how it is placed and scored, which threshold.

In: a scan's path, a model folder or None, what its user says. Out: the contrast, the model folder, a `Recipe` of what
its config.json and scoring.json hold, a threshold.
"""

import json
import math
import re
from pathlib import Path

from pydantic import BaseModel, ValidationError

from essim.data.bids import AGENT, ALTERED, MODALITIES, contrast_of
from essim.data.prepared import CONTRASTS
from essim.models import pretrained
from essim.runs.params import Contrast
from essim.settings import Preprocessing

MAP_KINDS = ("adaptive", "calibrated")  # the paper's, and ours (essim.calibration)
ENDINGS = re.compile(r"\.(nii(\.gz)?|mg[hz]|hdr|img)$", re.IGNORECASE)


class Recipe(BaseModel, frozen=True):
    """How a model's scans are placed, preprocessed, reconstructed and scored."""

    contrast: Contrast
    voxel_mm: float
    preprocessing: Preprocessing
    t: list[int]
    draws: int
    sigmas: tuple[float, ...]
    temperature: float
    thresholds: dict[str, dict[float, float]]  # {kind of map: {share of healthy voxels above: threshold}}
    residual: float  # mean |x - y| of healthy tissue, in [0, 1]
    tone: list[list[float]]  # the range of healthy scans' looks (essim.data.looks)
    texture: list[list[float]]
    promise: str = ""  # what the thresholds guarantee, in a sentence, if essim.calibrate made them


def name_of(scan):
    """The name of a scan: that of its file without the ending, or of its folder of DICOM files."""
    return ENDINGS.sub("", Path(scan).resolve().name)


def contrast_in(scan):
    """The contrast in a scan's name; None if there is none or several, or if the name says that the scan was altered.

    In BIDS by its rules (..._T1w.nii.gz), else as a separate word: T1.nii.gz, anna-t2w.mgz, b_t2_flair.nii.gz.
    """
    if contrast := contrast_of(Path(scan)):
        return contrast
    words = re.split("[^a-z0-9]+", name_of(scan).casefold())
    told = {MODALITIES[word] for word in words if word in MODALITIES}
    told -= {"t2"} if "flair" in told else set()
    if len(told) != 1 or any(AGENT.search(word) or ALTERED.search(word) for word in words):
        return None
    return next((contrast for contrast in told if contrast in CONTRASTS), None)


def model_for(contrast, scan):
    """The model folder that comes with essim for a contrast; ValueError or FileNotFoundError where there is none."""
    if contrast is None:
        if not Path(scan).exists():
            raise FileNotFoundError(f"{scan}: no such file or folder; correct the path.")
        way_out = "give it as --contrast t1, t2 or flair (in a table: a column), or name a --model"
        raise ValueError(f"{scan}: its name doesn't give its contrast; {way_out}.")
    models = pretrained()  # those whose thresholds hold on real heads (models/README.md)
    if contrast not in models:
        text = f"no model for {contrast} comes with essim ({', '.join(models) or 'none at all'})"
        raise FileNotFoundError(f"{scan}: {text}; name a --model, trained on healthy {contrast} scans.")
    return models[contrast]


def read_recipe(model):
    """The `Recipe` of a model folder; FileNotFoundError or ValueError says what is missing and how to get it."""
    description, scoring = model / "config.json", model / "scoring.json"
    way_out = "train the model first (notebook 02_train)"
    settings = _read_json(description, way_out, "contrast", "voxel_mm", "preprocessing")
    way_out = "it holds the thresholds, and notebook 03_healthy writes it"
    needed = [name for name, field in Recipe.model_fields.items() if field.is_required() and name not in settings]
    settings |= _read_json(scoring, way_out, *needed)
    if not (isinstance(settings["thresholds"], dict) and set(MAP_KINDS) <= set(settings["thresholds"])):
        raise ValueError(f"{scoring}: lacks thresholds of {', '.join(MAP_KINDS)}; run notebook 03_healthy.")
    try:
        return Recipe(**settings)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = ".".join(map(str, problem["loc"]))
        text = f"{model}: `{name}` in config.json or scoring.json is wrong ({problem['msg']})"
        raise ValueError(f"{text}; fetch or make it again.") from error


def _read_json(path, way_out, *keys):
    """The settings of a JSON file that has these keys."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {way_out}.")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error}); fetch or make it again.") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: holds no settings; fetch or make it again.")
    if lacking := [key for key in keys if key not in settings]:
        raise ValueError(f"{path}: lacks {', '.join(lacking)}: it is of another version; {way_out}.")
    return settings


def pick_threshold(recipe, model, strategy, threshold, share):
    """(threshold, None) if one is given, else (the model's for this kind of map and share of healthy voxels, share)."""
    if strategy not in MAP_KINDS:
        raise ValueError(f"strategy must be {' or '.join(MAP_KINDS)}, got {strategy!r}.")
    if threshold is not None:
        if not (math.isfinite(threshold) and threshold > 0):
            raise ValueError(f"threshold must be a number above 0, got {threshold}.")
        return float(threshold), None
    thresholds = recipe.thresholds[strategy]
    if share not in thresholds:
        shares = ", ".join(f"{key:g}" for key in thresholds) or "none"
        raise ValueError(f"{model}: has no threshold for share {share:g}, only for {shares}; or give a threshold.")
    return thresholds[share], share
