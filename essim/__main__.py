"""The single entry point: essim COMMAND, or python -m essim COMMAND.

In: a command and its own arguments. Out: the exit code of the command, whose parser is in its room. A room is imported
only when its command runs. Imports: models.
"""

import argparse
import importlib
import json
import sys

COMMANDS = {
    "score": "your own scan, or a table of scans -> where it departs from a healthy brain",
    "calibrate": "a few healthy scans of your own -> thresholds that hold for your scanner",
    "models": "the networks that come with essim",
    "prepare": "raw scans -> scans in study space",
    "train": "healthy scans -> a network",
    "methods": "train the network of another published method",
}
EXAMPLE = "example: essim score sub-01_T1w.nii.gz --mask sub-01_brain.nii.gz"


def main(arguments=None):
    """Run a command; returns its exit code."""
    commands = "\n".join(f"  {name:11}{about}" for name, about in COMMANDS.items())
    parser = argparse.ArgumentParser(
        "essim",
        usage="essim COMMAND ...    (for details: essim COMMAND --help)",
        description=f"Unsupervised anomaly detection in brain MRI. Not for diagnosis.\n\ncommands:\n{commands}",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.command == "models":
        return list_models(given.rest)
    try:
        return importlib.import_module(f"essim.{given.command}.__main__").main(given.rest)
    except KeyboardInterrupt:  # of a room that has nothing more to say about it
        sys.stderr.write(f"{given.command}: stopped; run the same command again.\n")
        return 130


def list_models(arguments=None):
    """Print a line for each network that comes with essim; returns the exit code."""
    text = "The networks that come with essim: name, contrast, voxel size, training data, folder."
    argparse.ArgumentParser("essim models", description=text, epilog="example: essim models").parse_args(arguments)
    from essim.models import KINDS, pretrained  # here, since it takes a second

    for kind, learned_from in KINDS.items():
        for contrast, folder in pretrained(kind).items():
            voxel_mm = json.loads((folder / "config.json").read_text(encoding="utf-8"))["voxel_mm"]
            sys.stdout.write(f"{folder.name:16} {contrast:6} {voxel_mm:g} mm  {learned_from}\n{folder}\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
