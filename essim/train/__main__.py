"""essim train SETTINGS OUT, or python -m essim.train; on several GPUs: accelerate launch -m essim.train SETTINGS OUT.

In: a JSON file with data, fold, contrast, preprocessing and training, as in notebook 02_train. Out: the model folder.
"""

import argparse
import json
import sys
from pathlib import Path

from essim.data.datasets import load_scans
from essim.settings import Preprocessing, TrainConfig
from essim.train.loop import train

SETTINGS = "JSON file: data, fold, contrast, preprocessing and training as in 02_train"


def main(arguments=None):
    """The command line; returns the exit code."""
    text = "Train the diffusion model, or resume; on several GPUs: accelerate launch -m essim.train SETTINGS OUT"
    example = "example: essim train settings.json my_network --cache cache"
    parser = argparse.ArgumentParser("essim train", description=text, epilog=example)
    parser.add_argument("settings", help=SETTINGS)
    parser.add_argument("out", help="the model folder")
    parser.add_argument("--cache", help="a folder that keeps the preprocessed scans")
    return run(parser.parse_args(arguments), train)


def run(given, train, kind=TrainConfig):
    """Train as the command line says (`settings`, `out`, `cache`); returns the exit code.

    `train` takes the arguments of `essim.train.loop.train`; `kind` is the class of its config.
    """
    try:
        values = json.loads(Path(given.settings).read_text(encoding="utf-8"))
        config, preprocessing = kind(**values["training"]), Preprocessing(**values["preprocessing"])
        scans = load_scans(values["data"], fold=values["fold"])
        train(config, scans, values["contrast"], preprocessing, given.out, given.cache)
    except KeyError as error:
        sys.stderr.write(f"{given.settings}: {error} is missing; see the parameters of notebook 02_train.\n")
        return 1
    except (OSError, ValueError) as error:
        sys.stderr.write(f"train: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
