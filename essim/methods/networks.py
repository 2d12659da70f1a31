"""The networks of the methods: trained by the loop that trains the paper's, and read back.

In: a method's name, a `TrainConfig`, healthy scans; a model folder. Out: a model folder, a network.

A method's module says in NETWORK which network it takes: its own name, that of another method ("ddpm", shared by
many), or None. One that trains its own has `build(config)`, which makes a `GaussianDiffusion` around a U-Net, and
`loss(model, x0, *, key, t_range, tone)`, a scalar:

    x0       healthy slices [N, 1, H, W] in [-1, 1]
    key      ints that fix all that is drawn
    t_range  the first and the last noising step to be trained
    tone     [N, TONES] of the slices' volumes, or None

or, if it has a training loop of its own, `train` and `load`. config.json of a model folder names the method.
"""

from pathlib import Path

from essim.methods.registry import pick, reconstructors, scores
from essim.models import load_model
from essim.train.loop import train


def networks():
    """{name of a network: the module of the method that trains it}."""
    return {name: module for name, module in _methods().items() if getattr(module, "NETWORK", None) == name}


def train_method(name, config, scans, contrast, preprocessing, out, cache=None):
    """Train the network that a method takes, or resume a stopped training run.

    Args: name: the method's. config: a `TrainConfig`; for "ae" and "vae", an `AutoencoderConfig`. The other arguments,
        the result and the errors are those of `essim.train.loop.train`.

    Raises ValueError if there is no such method, it takes no network, or a method that has `build` is given another
        `objective` than pred_x0.
    """
    module = _trainer(name)
    if module is None:
        raise ValueError(f"{name}: takes no network; there is nothing to train.")
    if hasattr(module, "train"):
        return module.train(config, scans, contrast, preprocessing, out, cache)
    if not hasattr(module, "build"):
        return train(config, scans, contrast, preprocessing, out, cache)
    if config.objective != "pred_x0":
        raise ValueError(f"{name}: predicts the slice, not the noise; set `objective` to pred_x0.")
    return train(config, scans, contrast, preprocessing, out, cache, method=module)


def load_method(name, folder, device=None):
    """The trained network that a method takes, in evaluation mode; None for one that takes none.

    Args: name: the method's. folder: the model folder. device: as in `load_model`, as are the errors.

    Raises ValueError if there is no such method or the folder holds another one's network.
    """
    module = _trainer(name)
    if module is None:
        return None
    if hasattr(module, "load"):
        return module.load(Path(folder), device)
    return load_model(folder, device, method=module if hasattr(module, "build") else None)


def _methods():
    return scores() | reconstructors()


def _trainer(name):
    """The module that trains a method's network: its own or the one it borrows from; None if it has no network."""
    taken = getattr(pick(_methods(), name), "NETWORK", None)
    return taken and pick(_methods(), taken)
