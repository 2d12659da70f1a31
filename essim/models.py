"""Networks, untrained and trained: from settings or a model folder to a `GaussianDiffusion`.

In: the fields of a `TrainConfig`, or the folder that `essim.train` wrote: weights.safetensors (the best validation
loss), weights_<share>.safetensors (those after a share of the steps, see EARLY; a network that came trained has none),
config.json (what rebuilds it) and log.csv (how it was trained). Out: the diffusion model, on its device. Nothing that
is loaded can run code.
"""

import json
import shutil
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file

from essim.diffusion import GaussianDiffusion
from essim.runs.files import writing
from essim.settings import Preprocessing, TrainConfig
from essim.unet import UNet

EARLY = {"sixteenth": 1 / 16, "quarter": 1 / 4}  # shares of the steps: what a shorter training would have learned


def pick_device():
    """The CUDA device if there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def build_model(config):
    """An untrained `GaussianDiffusion` from a mapping with the fields of `TrainConfig`; the seed fixes its weights."""
    network = {k: config[k] for k in ("channels", "multipliers", "blocks", "head_channels", "patch")}
    process = {k: config[k] for k in ("timesteps", "schedule", "objective", "noise")}
    with torch.random.fork_rng(devices=[]):  # loading a model must not reseed the caller's noise
        torch.manual_seed(config["seed"])
        return GaussianDiffusion(UNet(**network), **process)


def early_step(name, steps):
    """The step after which the weights called `name` in EARLY are taken, of `steps` in all."""
    return max(1, round(EARLY[name] * steps))


def load_model(folder, device=None, weights="weights"):
    """The trained `GaussianDiffusion` of a model folder, in evaluation mode.

    `weights` names the file: the best ones, or "weights_quarter", "weights_sixteenth" from earlier in the same run.

    Raises:
        FileNotFoundError: weights or configuration are missing.
        ValueError: the weights are damaged or belong to another architecture than config.json says.
    """
    folder, device = Path(folder), device or pick_device()
    description, weights = folder / "config.json", folder / f"{weights}.safetensors"
    for path in (description, weights):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; train the model first (notebook 02_train).")
    try:
        config = json.loads(description.read_text())["training"]
        diffusion = build_model(TrainConfig(**config).model_dump())
    except (ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{description}: does not describe a model ({reason}); train the model again.") from error
    try:
        diffusion.model.load_state_dict(load_file(weights))
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{weights}: does not fit the architecture in config.json or is damaged ({reason}); "
            "train the model again or put the matching config.json beside it."
        ) from error
    return diffusion.to(device, memory_format=torch.channels_last).eval()


def load_lengths(folder, device=None):
    """The networks of one training as it went on: {training step: `GaussianDiffusion`}; raises as `load_model`.

    One that came trained is alone.
    """
    last = load_model(folder, device)
    steps = json.loads((Path(folder) / "config.json").read_text())["steps"]
    there = [name for name in EARLY if (Path(folder) / f"weights_{name}.safetensors").is_file()]
    return {early_step(name, steps): load_model(folder, device, f"weights_{name}") for name in there} | {steps: last}


def take_trained(folder, out, *, contrast, training, preprocessing):
    """Put a network that came trained where a training would have put it: the model folder `out`.

    The settings are what the training would have had; a network that was trained with others is refused.

    Returns: the log of its training, as `essim.train.loop.train` does.

    Raises:
        FileNotFoundError: a file of the folder is missing.
        ValueError: the network was trained with other settings, or `load_model` can't read it.
    """
    folder, out = Path(folder), Path(out)
    load_model(folder)
    if not (folder / "log.csv").is_file():
        raise FileNotFoundError(f"{folder / 'log.csv'}: no such file; copy the whole model folder.")
    made = json.loads((folder / "config.json").read_text())
    if made["contrast"] != contrast:
        raise ValueError(f"{folder}: is a network for {made['contrast']}, the study asks for {contrast}.")
    for settings in (training, preprocessing):
        name = {TrainConfig: "training", Preprocessing: "preprocessing"}[type(settings)]
        was, wanted = type(settings)(**made[name]).model_dump(), settings.model_dump()
        others = [f"`{key}` {was[key]}, the study asks for {wanted[key]}" for key in was if was[key] != wanted[key]]
        if others:
            raise ValueError(f"{folder}: was made with another `{name}`: {'; '.join(others)}.")
    for name in ("weights.safetensors", "config.json", "log.csv"):
        with writing(out / name) as path:
            shutil.copyfile(folder / name, path)
    return pd.read_csv(out / "log.csv")
