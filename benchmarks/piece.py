"""A training in pieces, for a machine that is there for minutes: `essim train`, stopped in time, and gone on with.

    python benchmarks/piece.py grow FOLDER [--profile gpu] [--workers 1]
    python benchmarks/piece.py train FOLDER [--seconds 120] [--device cuda] [--out results/bench]

`grow` makes what the training needs: a cohort as the profile has it but smaller and in T1 only, its scans brought to
the network's grid, and FOLDER/settings.json for `essim train`. What is there already is left alone. `train` runs that
training from its last checkpoint in FOLDER/network, stops it after the first checkpoint once the seconds are over, so
that nothing is lost, and writes the log of the whole training so far. The settings are the profile's, but for the
compiler, which takes longer than it gains here, and EPOCHS.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import torch

from essim.cohort.generate import CohortConfig, generate
from essim.data.datasets import load_scans
from essim.runs.files import write_json
from essim.runs.provenance import provenance, write_table
from essim.settings import Preprocessing
from essim.train.checkpoints import FILES
from essim.train.slices import load_healthy

sys.path.append(str(Path(__file__).resolve().parents[1] / "workflow"))
from profiles import names, read_profile  # noqa: E402 (it lies there)

TRAIN, VALIDATE = 64, 12  # heads, at most
EPOCHS = 400  # those of `gpu`: 800 steps with so few heads
OFTEN = 20  # seconds between checkpoints, at most
COMMAND = "import sys; from essim.train import __main__, loop; loop.CHECKPOINT_SECONDS = {}; sys.exit(__main__.main())"


def grow(folder, profile, workers):
    """Make FOLDER/cohort, FOLDER/cache and, last, FOLDER/settings.json."""
    given, preprocessing = profile["cohort"], Preprocessing(**profile["preprocessing"])
    counts = {"train": min(TRAIN, given["train"]), "val": min(VALIDATE, given["val"]), "test": 0}
    counts |= {"patients_val": 0, "patients_test": 0, "contrasts": ["t1"]}
    generate(CohortConfig(**given | counts), folder / "cohort", workers)
    torch.set_num_threads(workers)
    load_healthy(load_scans(folder / "cohort"), "t1", preprocessing, folder / "cache")
    values = {"data": str(folder / "cohort"), "fold": 0, "contrast": "t1", "preprocessing": profile["preprocessing"]}
    values["training"] = profile["training"] | {"epochs": EPOCHS, "compile": False}
    write_json(folder / "settings.json", values)


def train(folder, seconds):
    """Go on with the training for about so many seconds; returns its log so far."""
    settings, network = folder / "settings.json", folder / "network"
    if not settings.is_file():
        raise FileNotFoundError(f"{settings}: no such file; run `python benchmarks/piece.py grow {folder}` first.")
    checkpoint, log = network / FILES[0], network / "log.csv"
    began = time.time()
    if _is_whole(log, checkpoint):
        return pd.read_csv(log)
    command = [sys.executable, "-c", COMMAND.format(min(OFTEN, seconds)), settings, network]
    with subprocess.Popen([*command, "--cache", folder / "cache"]) as process:
        while process.poll() is None:
            newest = checkpoint.stat().st_mtime if checkpoint.is_file() else 0
            if newest > began + seconds:
                process.kill()
                break
            time.sleep(0.02)
    if _is_whole(log, checkpoint):
        return pd.read_csv(log)
    if process.returncode > 0 or not checkpoint.is_file():
        raise RuntimeError(f"{network}: the training ended with code {process.returncode}; what it said stands above.")
    state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["state"]
    return pd.DataFrame(state["progress"]["log"])


def _is_whole(log, checkpoint):
    """Whether the training has come to its end, where its log is written first and its checkpoint removed last."""
    return log.is_file() and not checkpoint.is_file()


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["grow", "train"])
    parser.add_argument("folder", type=Path, help="cohort, settings and network")
    parser.add_argument("--profile", choices=names(), default="gpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that grow heads")
    parser.add_argument("--seconds", type=float, default=120, help="how long to train, about")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("results/bench"), help="folder of the table")
    given = parser.parse_args(arguments)
    if given.what == "grow":
        grow(given.folder, read_profile(given.profile), given.workers)
        return
    try:
        table = train(given.folder, given.seconds)
    except (FileNotFoundError, RuntimeError) as error:
        sys.exit(str(error))
    settings = json.loads((given.folder / "settings.json").read_text(encoding="utf-8"))
    del settings["data"]  # its place on this machine
    write_table(table, given.out / f"piece_{given.device}.csv", provenance(settings))
    print(table.tail(3).to_markdown(index=False, floatfmt=".4g"))
    print(f"Written to {given.out}: piece_{given.device}.csv; called again, the training in {given.folder} goes on")


if __name__ == "__main__":
    main()
