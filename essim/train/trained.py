"""Pretrained networks: taken from models/ instead of being trained again, or released to it from a study.

In: a model folder. Out: another one, with the files of one network as they are (`take_trained`), or with all that
others need, in half precision (`release_trained`).
"""

import json
import shutil
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file, save_file

from essim.runs.files import writing

AUTOENCODERS = ("ae", "vae")
# How a network was trained: recorded in its description, but not compared with the study's own settings.
ITS_OWN = ("init", "epochs", "batch", "optimizer", "lr", "lr_schedule", "ema_decay", "bfloat16", "compile")
# The networks of a model folder: weights, description and log of each
NETWORKS = {"diffusion": ("weights.safetensors", "config.json", "log.csv")}
NETWORKS |= {kind: (f"{kind}.safetensors", f"{kind}.json", f"{kind}.csv") for kind in AUTOENCODERS}
WEIGHTS, *BESIDE = zip(*NETWORKS.values(), strict=True)
RELEASED = (*WEIGHTS, *sum(BESIDE, ()), "scoring.json", "calibration.safetensors")  # the last two: how a scan is scored


def take_trained(folder, out, load, network="diffusion", *, contrast, **settings):
    """Put a pretrained network where its training would have put it: into the model folder `out`.

    Args:
        folder: where it lies. load: the function that reads it and says what is wrong with it, `load_model` or
            `load_autoencoder`. network: which one of NETWORKS. contrast: the one that it must be for.
        settings: those that its training would have had, by their names in its description: `preprocessing`, and
            `training` or `autoencoder`; ITS_OWN are not compared.

    Returns: the log of its training, as the training does.

    Raises:
        FileNotFoundError: a file of the folder is missing.
        ValueError: the network was trained with other settings, or can't be read.
    """
    folder, out = Path(folder), Path(out)
    weights, description, log = NETWORKS[network]
    load(*((folder,) if network == "diffusion" else (folder, network)))
    if not (folder / log).is_file():
        raise FileNotFoundError(f"{folder / log}: no such file; copy the whole model folder.")
    trained = json.loads((folder / description).read_text(encoding="utf-8"))
    subject = folder if network == "diffusion" else folder / description
    if trained["contrast"] != contrast:
        raise ValueError(f"{subject}: is a network for {trained['contrast']}, the study asks for {contrast}.")
    for name, asked in settings.items():
        was, wanted = type(asked)(**trained[name]).model_dump(), asked.model_dump()
        changed = [key for key in was if key not in ITS_OWN and was[key] != wanted[key]]
        changes = [f"`{key}` {was[key]}, the study asks for {wanted[key]}" for key in changed]
        if changes:
            raise ValueError(f"{subject}: was made with another `{name}`: {'; '.join(changes)}.")
    for name in (weights, description, log):
        with writing(out / name) as path:
            shutil.copyfile(folder / name, path)
    return pd.read_csv(out / log)


def release_trained(folder, out, names=RELEASED):
    """Copy the files `names` of a model folder to `out`, whole or not at all, the networks in half precision."""
    with writing(out) as target:
        target.mkdir()
        for name in names:
            if name in WEIGHTS:
                save_file({k: v.half() for k, v in load_file(folder / name).items()}, target / name)
            else:
                shutil.copyfile(folder / name, target / name)
