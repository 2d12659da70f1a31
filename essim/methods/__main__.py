"""essim methods NAME SETTINGS OUT, or python -m essim.methods NAME SETTINGS OUT: trains the network of a method.

In: a method's name, and the JSON file that `essim train` takes, whose `training` is the budget: with the same file, all
methods are trained on the same number of slices. Out: the model folder.
"""

import argparse
import sys

from essim.methods.networks import networks, train_method
from essim.settings import AutoencoderConfig, TrainConfig
from essim.train.__main__ import SETTINGS, run


def main(arguments=None):
    """The command line; returns the exit code."""
    names = sorted(networks())
    text = (
        f"Train the network of a method, or resume training. Methods with a network of their own: {', '.join(names)}."
    )
    parser = argparse.ArgumentParser("essim methods", description=text)
    parser.epilog = "example: essim methods pddpm settings.json my_pddpm --cache cache"
    parser.add_argument("name", choices=names, metavar="name", help="the method's name")
    parser.add_argument("settings", help=f"{SETTINGS}; for ae and vae, training as in 03_baselines")
    parser.add_argument("out", help="the model folder")
    parser.add_argument("--cache", help="a folder for the preprocessed scans, to be reused")
    given = parser.parse_args(arguments)
    kind = AutoencoderConfig if given.name in ("ae", "vae") else TrainConfig
    return run(given, lambda *settings: train_method(given.name, *settings), kind)


if __name__ == "__main__":
    sys.exit(main())
