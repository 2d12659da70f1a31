"""The steps of `make methods` before the scores: a method's network is trained, a folder of scans reconstructed.

    python -m workflow.methods learn NETWORK OUT --asked JSON
    python -m workflow.methods rebuild RECONSTRUCTOR OUT --folder FOLDER --model MODEL --asked JSON

In: what 02_train is given; a folder of the study's reconstructions, a model folder. Out: a model folder; a folder with
several draws kept, as in essim.study.rebuilt.
"""

import argparse
import ast
import functools
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("reconstructors", "scores")
OF_THE_STUDY = {"ddpm": "weights", "ae": "ae", "vae": "vae"}  # networks that the study trains itself: their files
LONGER = "ddpm_longer"  # takes the study's DDPM even where that was trained for longer than the methods are


# What the graph asks for: needs no imports


def chosen_methods(values):
    """The names of reconstructors and scores in a profile's `methods`; ValueError, one sentence, for a wrong one."""
    for kind in KINDS:
        known = sorted(path.stem for path in (ROOT / "essim/methods" / kind).glob("[!_]*.py"))
        for name in values[kind]:
            if name not in known:
                raise ValueError(f"methods: {kind}: unknown {name!r}: known are {', '.join(known)}.")
    if left_out := sorted({*values["repeated"]} - {*values["reconstructors"]}):
        raise ValueError(f"methods: repeated: {left_out[0]!r} is not among the reconstructors; add it there.")
    if "l1" not in values["scores"]:
        raise ValueError("methods: scores: l1 is missing, with which the others are compared; add it.")
    return [*values["reconstructors"], *values["scores"]]


def path_of(method):
    """The file of a reconstructor or score below the repository's root; "" where there is none of that name."""
    paths = (f"essim/methods/{kind}/{method}.py" for kind in KINDS)
    return next((path for path in paths if (ROOT / path).is_file()), "")


@functools.cache
def network_of(method):
    """The name of the network that a method takes; None where it takes none."""
    taken, path = None, path_of(method)
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body if path else ():
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            names = [target.id for target in node.targets[0].elts]
            taken = ast.literal_eval(node.value)[names.index("NETWORK")] if "NETWORK" in names else taken
    return taken


def own_network(method, networks):
    """The name of the network that `make methods` has to train for a method; None if it takes none, or the study's.

    All methods have one training budget: with pretrained networks, which had a larger one, the DDPM is trained again.

    Args: networks: the prefix of the pretrained networks' folders; "": none.
    """
    taken = network_of(method)
    again = networks and taken == "ddpm" and method != LONGER
    return taken if again or taken not in OF_THE_STUDY else None


def folder_of(method, contrast, results, networks, first=True):
    """The model folder of the network that a method takes, in a contrast: the study's, a pretrained one, or its own.

    Args: results: the study's folder. networks: as in `own_network`; the methods' networks lie in a folder beside them.
        first: whether this is the study of the first seed, from which these were trained.
    """
    own = own_network(method, networks)
    if not own:
        return f"{results}/models/{contrast}"
    released = Path(networks).parent / f"methods/{own}_{contrast}"
    if networks and first and (ROOT / released).is_dir():
        return str(released)
    return f"{results}/methods/models/{own}_{contrast}"


# The steps


def learn(arguments):
    """Train the network of a method as 02_train trains the study's, or resume a training that was stopped."""
    from essim.data.datasets import load_scans
    from essim.methods.networks import train_method
    from essim.runs.params import check

    asked = check("02_train", arguments.asked)
    scans, how = load_scans(asked.data, fold=asked.fold), (asked.contrast, asked.preprocessing)
    train_method(arguments.name, asked.training, scans, *how, arguments.out, asked.cache)


def rebuild(arguments):
    """Reconstruct the scans of a folder that are asked for."""
    from essim.methods.networks import load_method
    from essim.methods.registry import pick, reconstructors
    from essim.study import rebuilt

    module, model = pick(reconstructors(), arguments.name), load_method(arguments.name, arguments.model)

    def reconstruct(image, mask, **how):
        return module.reconstruct(model, image, mask, **how)

    rebuilt.rebuild(arguments.folder, arguments.out, reconstruct, **arguments.asked)


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("learn", "rebuild"))
    parser.add_argument("name", help="the method's")
    parser.add_argument("out", type=Path)
    parser.add_argument("--asked", type=json.loads, required=True, help="JSON")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args(words)
    try:
        {"learn": learn, "rebuild": rebuild}[arguments.step](arguments)
    except (OSError, ValueError) as error:
        print(f"methods: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
