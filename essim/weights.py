"""The files of a trained network: its description and its weights, read back into a network.

In: a description (JSON) and weights (safetensors) in a model folder. Out: the network that they make together, or a
sentence that says which file is missing, damaged or of another network. Nothing that is loaded can run code.
"""

import json

import torch
from safetensors.torch import load_file


def pick_device():
    """The CUDA device if there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_network(build, description, weights, *, notebook, part=None):
    """The network that `build` makes from a description, with its trained weights, on the CPU.

    Args:
        build: a function from the description, a dict, to the untrained network.
        description, weights: paths of the JSON file and of the safetensors file.
        notebook: the notebook that trains such a network, for the message where a file is missing.
        part: name of the submodule that the weights belong to; None: the whole network.

    Raises:
        FileNotFoundError: one of the two files is missing.
        ValueError: the description doesn't describe a network, or the weights are damaged or belong to another one.
    """
    for path in (description, weights):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; train the model first (notebook {notebook}).")
    try:
        network = build(json.loads(description.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{description}: does not describe a model ({reason}); train the model again.") from error
    try:
        (getattr(network, part) if part else network).load_state_dict(load_file(weights))
    except Exception as error:  # whatever a damaged file makes the reader raise
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{weights}: does not fit the architecture in {description.name} or is damaged ({reason}); "
            f"train the model again or put the matching {description.name} beside it."
        ) from error
    return network
