"""The diffusion model, untrained and trained: from settings or a model folder to a `GaussianDiffusion`.

In: the fields of a `TrainConfig`, or the folder that `essim.train` wrote: weights.safetensors (the best validation
loss), weights_<share>.safetensors (those after a share of the steps, see EARLY; a pretrained network has none),
config.json (what rebuilds the network) and log.csv (how it was trained). Out: the diffusion model, on its device; and
the folders of the networks that come with essim.
"""

import json
from pathlib import Path

import torch

from essim.diffusion import GaussianDiffusion
from essim.settings import TrainConfig
from essim.tone import TONES
from essim.unet import UNet
from essim.weights import load_network, pick_device

PRETRAINED = Path(__file__).parent / "pretrained"  # in a clone a link to models/, in an installation a folder
KINDS = {
    "anatomies": "96 heads grown from the anatomies of 16 people; the default of score",
    "laptop": "96 heads grown from the MNI152 template alone; for the study",
}
PLAIN = "ddpm"  # the method whose networks these are, unless config.json names another (essim.methods)
EARLY = {"sixteenth": 1 / 16, "quarter": 1 / 4}  # shares of the steps: what a shorter training would have learned


def build_model(config, kind=UNet):
    """An untrained `GaussianDiffusion` from a mapping with the fields of `TrainConfig`; the seed fixes its weights.

    `kind` is the class of its network, which takes what `UNet` does.
    """
    network = {k: config[k] for k in ("channels", "multipliers", "blocks", "head_channels", "patch")}
    network["tones"] = TONES if config["tone"] else 0
    process = {k: config[k] for k in ("timesteps", "schedule", "objective", "noise")}
    with torch.random.fork_rng(devices=[]):  # loading a model must not reseed the caller's noise
        torch.manual_seed(config["seed"])
        return GaussianDiffusion(kind(**network), **process)


def early_step(name, steps):
    """The step after which the weights called `name` in EARLY are taken, of `steps` in all."""
    return max(1, round(EARLY[name] * steps))


def load_model(folder, device=None, weights="weights", method=None):
    """The trained `GaussianDiffusion` of a model folder, in evaluation mode.

    Args:
        folder: the model folder. device: None for a GPU if there is one, else the CPU.
        weights: the file's name: the best weights, or "weights_quarter", "weights_sixteenth" from earlier in the run.
        method: as in `essim.train.loop.train`, if the network isn't the plain DDPM's.

    Raises:
        FileNotFoundError: weights or configuration are missing.
        ValueError: the weights are damaged or belong to another architecture than config.json says, or the network is
            another method's.
    """

    def build(description):
        config = TrainConfig(**description["training"])
        return method.build(config) if method else build_model(config.model_dump())

    files = Path(folder) / "config.json", Path(folder) / f"{weights}.safetensors"
    wanted, found = method.NETWORK if method else PLAIN, _method_of(files[0])
    if found not in (wanted, None):
        raise ValueError(f"{files[0]}: is a network of the method {found}, not of {wanted}; take one of {wanted}.")
    diffusion = load_network(build, *files, notebook="02_train", part="model")
    device = device or pick_device()
    # on a CPU, channels_last is a tenth faster for images, and a twentieth slower for the small maps of folded pixels
    folded = diffusion.model.patch > 1 and torch.device(device).type == "cpu"
    layout = torch.contiguous_format if folded else torch.channels_last
    return diffusion.to(device, memory_format=layout).eval()


def _method_of(description):
    """The method whose network a config.json describes, PLAIN where it names none; None if it can't be read."""
    try:
        return json.loads(description.read_text(encoding="utf-8")).get("method", PLAIN)
    except (OSError, ValueError, AttributeError):
        return None  # `load_network` says what is wrong with the file


def load_lengths(folder, device=None):
    """The networks saved along one training: {training step: `GaussianDiffusion`}; raises as `load_model`.

    The folder of a pretrained network holds only that one.
    """
    best = load_model(folder, device)
    steps = json.loads((Path(folder) / "config.json").read_text())["steps"]
    early = [name for name in EARLY if (Path(folder) / f"weights_{name}.safetensors").is_file()]
    return {early_step(name, steps): load_model(folder, device, f"weights_{name}") for name in early} | {steps: best}


def pretrained(kind="anatomies"):
    """The model folders of one of KINDS that come with essim: {contrast: path}.

    Only `anatomies` is part of an installation; for a kind that isn't there, the dict is empty.
    """
    folders = {contrast: PRETRAINED / f"{kind}_{contrast}" for contrast in ("t1", "t2", "flair")}
    return {contrast: folder for contrast, folder in folders.items() if folder.is_dir()}


def find_model(name):
    """A model folder by its path, or by its name among those that come with essim (anatomies_t1)."""
    own, ours = Path(name), PRETRAINED / name
    return ours if ours.is_dir() and not own.exists() else own
