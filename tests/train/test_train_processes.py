"""The command line of the training: alone, shared by two processes, and what it says when something is wrong."""

import json
import os
import random
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from helpers import AS_IT_IS, healthy_scans, tiny
from safetensors.torch import load_file

from essim.train.__main__ import main


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with scans, their table and the settings of a training."""
    folder = tmp_path_factory.mktemp("training")
    healthy_scans(folder / "scans").to_csv(folder / "scans.csv", index=False)
    write(folder / "settings.json", folder / "scans.csv")
    return folder


def write(path, data, **changes):
    values = {"data": str(data), "fold": 0, "contrast": "t2", "preprocessing": AS_IT_IS.model_dump()}
    path.write_text(
        json.dumps(values | {"training": tiny(augment=True, randomise=True, tone=True, **changes).model_dump()})
    )
    return path


def launch(*words):
    """Two processes on the CPU, as torchrun or accelerate start them."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [*command, "-m", "essim.train", *map(str, words)], env=environment, capture_output=True, text=True, check=False
    )


def test_two_processes_learn_what_one_learns(place, tmp_path):
    assert main([str(place / "settings.json"), str(tmp_path / "one")]) == 0
    done = launch(place / "settings.json", tmp_path / "two")
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (pd.read_csv(tmp_path / name / "log.csv") for name in ("one", "two"))
    losses = ["train_loss", "val_loss"]
    assert len(one) == 12
    np.testing.assert_allclose(two[losses], one[losses], atol=1e-4, rtol=0)
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names == {path.name for path in (tmp_path / "two").iterdir()}
    weights = [load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two")]
    assert weights[0].keys() == weights[1].keys()
    assert done.stderr.count("train volumes:   0%") == 1  # one of them shows the bars


def test_kill_9_at_random_moments(place, tmp_path):
    """Stopped three times wherever it happens to be, it ends with the bits of a training that nothing stopped."""
    settings = write(place / "longer.json", place / "scans.csv", epochs=40, optimizer="muon")
    assert main([str(settings), str(tmp_path / "whole")]) == 0
    code = "import sys; from essim.train import __main__ as t, loop; "
    code += "loop.CHECKPOINT_SECONDS = -1; sys.exit(t.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, str(settings), str(tmp_path / "parts")]
    rng, kills = random.Random(os.environ.get("KILL_SEED", 0)), int(os.environ.get("KILLS", 3))
    for _ in range(kills):
        seen = stamp(tmp_path / "parts")
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while stamp(tmp_path / "parts") == seen and running.poll() is None:  # it has got further than the last one
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.3))
        running.kill()
        running.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("weights", "weights_quarter", "weights_sixteenth"):
        one, two = ((tmp_path / way / f"{name}.safetensors").read_bytes() for way in ("whole", "parts"))
        assert one == two, name
    one, two = (pd.read_csv(tmp_path / way / "log.csv") for way in ("whole", "parts"))
    timing = ["seconds", "data_seconds"]
    pd.testing.assert_frame_equal(one.drop(columns=timing), two.drop(columns=timing), check_exact=True)


def stamp(folder):
    """When the newest checkpoint was written; None where there is none."""
    try:
        return (folder / "checkpoint.pt").stat().st_mtime_ns
    except FileNotFoundError:
        return None


def test_a_batch_that_cannot_be_shared(place, tmp_path):
    done = launch(write(place / "odd.json", place / "scans.csv", batch=3), tmp_path / "model")
    assert done.returncode != 0
    assert "a batch of 3 can't be shared by 2 processes; change `batch`" in done.stderr
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "nowhere.json"),
        ("{", "Expecting property name"),
        ("{}", "'training' is missing; see the parameters of notebook 02_train"),
    ],
)
def test_wrong_settings_are_one_sentence(tmp_path, capsys, content, said):
    path = tmp_path / "nowhere.json"
    if content is not None:
        path.write_text(content)
    assert main([str(path), str(tmp_path / "model")]) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "model").exists()
