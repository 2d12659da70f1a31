"""The benchmarks run, at their smallest, and write what they say; how fast anything is isn't tested."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fragments import loads
from pages import Page

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


@pytest.fixture
def unet(load):
    return load("unet")


def positive(columns):
    return np.isfinite(columns).all(axis=None) and (columns > 0).all(axis=None)


def skip_without_peers():
    for peer in ("diffusers", "monai"):
        pytest.importorskip(peer, reason=f"{peer} is not installed; `make bench` installs it")


def dry_run(folder, *parts, **variables):
    """benchmarks/gpu.sh on a CPU, as small as it can be; returns what it said, its exit code among it."""
    command = [FOLDER / "gpu.sh", "--dry-run", "--out", folder / "out", "--training", folder / "training", *parts]
    own = os.environ | {"PYTHON": sys.executable} | variables
    return subprocess.run(command, env=own, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def dry(tmp_path_factory):
    """A dry run whose first part can't work, without peers of the network: (what it said, its folder)."""
    if not shutil.which("timeout"):
        pytest.skip("GNU's timeout is not installed")
    folder = tmp_path_factory.mktemp("gpu")
    for peer in ("diffusers", "monai"):
        (folder / f"{peer}.py").write_text("raise ImportError")
    return dry_run(folder, PYTEST_ADDOPTS="--out-of-order", PYTHONPATH=str(folder)), folder


def tables_in(folder):
    """The tables in a folder, each with its provenance: {name: table}."""
    paths = sorted(folder.glob("*.csv"))
    assert all(path.with_name(f"{path.name}.json").is_file() for path in paths)
    return {path.stem: pd.read_csv(path) for path in paths}


def lines_of(done):
    """What the summary says of each part: {part: words}."""
    found = re.findall(r"^(\w+) +\d+ s  (.+)$", done.stdout.split("=== after")[1], re.MULTILINE)
    return dict(found)


def test_a_part_that_fails_is_reported_and_stops_no_other(dry):
    done, folder = dry
    assert done.returncode == 1, done.stdout + done.stderr
    said = lines_of(done)
    assert list(said) == ["tests", "ssim", "unet", "training", "piece"]
    assert said.pop("tests").startswith("FAILED with code 4: ")
    assert set(said.values()) == {"done"}, done.stdout
    names = ["noise_cpu", "piece_cpu", "ssim_cpu", "training_cpu", "unet_cpu"]
    assert list(tables_in(folder / "out")) == names
    assert all(f"{folder}/out/{name}.csv\n" in done.stdout for name in names)
    assert "piece.csv.json" not in done.stdout and str(folder) not in (folder / "out/piece_cpu.csv.json").read_text()


def test_a_second_call_goes_on_with_the_training(dry):
    _, folder = dry
    before = tables_in(folder / "out")["piece_cpu"]
    done = dry_run(folder, "tests", "piece")
    assert done.returncode == 0 and lines_of(done) == {"tests": "done", "piece": "done"}, done.stdout + done.stderr
    after = tables_in(folder / "out")["piece_cpu"]
    assert len(after) > len(before) > 0
    pd.testing.assert_frame_equal(after.head(len(before)), before)
    assert re.search(r"\d+ passed.* in ", (folder / "out/tests_cpu.txt").read_text())


@pytest.mark.parametrize(
    ("words", "variables", "says"),
    [
        (["--quick"], {}, "--quick: unknown; take"),
        (["--out"], {}, "--out: name a folder after it."),
        ([], {"PYTHON": "no-such-python"}, "no-such-python: no such program"),
        ([], {"PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}, "its torch sees no GPU"),
    ],
)
def test_what_cannot_begin_is_refused_in_a_sentence(words, variables, says):
    command, own = [FOLDER / "gpu.sh", *words], os.environ | {"PYTHON": sys.executable} | variables
    done = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1 and not done.stdout


def test_ssim(dry):
    table = tables_in(dry[1] / "out")["ssim_cpu"]
    left_out = table.note.fillna("").str.startswith("left out")
    assert positive(table.loc[~left_out, ["milliseconds", "times_torchmetrics"]])
    assert {"essim, numba", "torchmetrics", "scikit-image", "floor"} <= set(table.contender[~left_out])
    assert "MONAI" in set(table.contender[left_out]) and table.milliseconds[left_out].isna().all()
    assert (dry[1] / "out/ssim_cpu.png").is_file()


def test_unet(unet, tmp_path, monkeypatch):
    skip_without_peers()
    monkeypatch.setattr(unet, "peak_memory", lambda *contender: 1.0)  # see below
    unet.main(["--rounds", "1", "--device", "cpu", "--out", str(tmp_path), "--sizes", "tiny"])
    table = tables_in(tmp_path)["unet_cpu"]
    keys = ["size", "what", "how", "contender"]
    assert list(table) == [*keys, "slices_per_second", "times_the_faster_peer", "peak_mb"]
    assert len(table) == len(table[keys].drop_duplicates()) == 2 * 2 * 3
    assert positive(table[["slices_per_second", "times_the_faster_peer"]])
    peers = table[table.contender != "essim"].groupby(["what", "how"]).times_the_faster_peer
    assert (peers.max() == 1).all()
    assert (tmp_path / "unet_cpu.png").is_file()


def test_essim_is_measured_without_its_peers(unet, monkeypatch):
    monkeypatch.setattr(unet, "peak_memory", lambda *contender: 1.0)
    table = unet.compare(unet.race("tiny", "train", ["essim"], 1, "cpu", False))
    assert positive(table[["slices_per_second"]]) and table.times_the_faster_peer.isna().all()


def test_memory_is_that_of_a_new_process(unet):
    own = np.ones(100_000_000)  # 800 MB, which the new process must not begin with
    size = unet.SIZES["laptop"]
    found = unet.peak_memory("reconstruct", "essim", size, unet.How(), "cpu")
    skips = 3 * 4 * size.channels[0] * np.prod(size.pixels) * size.batch["cpu"] / 1e6  # MB, of the first level
    assert skips < found < own.nbytes / 1e6


@pytest.mark.parametrize("size", ["tiny", "laptop", "paper"])
def test_the_networks_are_of_one_size(unet, size):
    skip_without_peers()
    counts = unet.count_parameters(unet.SIZES[size])
    assert set(counts) == {"essim", "diffusers", "MONAI"}
    assert max(counts.values()) < 1.1 * min(counts.values())


def test_networks_of_other_sizes_are_refused(unet, monkeypatch):
    smaller = {"essim": unet.by_essim, "other": lambda size: unet.UNet(8, (1, 1, 1), 1, 8)}
    monkeypatch.setattr(unet, "NETWORKS", smaller)
    with pytest.raises(ValueError, match="differ by more than 10 %"):
        unet.count_parameters(unet.SIZES["tiny"])


def test_training(dry):
    tables = tables_in(dry[1] / "out")
    table, noise = tables["training_cpu"], tables["noise_cpu"]
    parts = ["slices", "augmentation", "noise", "forward", "backward", "optimizer", "average"]
    assert list(table.part) == [*parts, "step"]
    assert positive(table[["milliseconds", "share", "slices_per_second", "hours"]])
    assert positive(noise[["milliseconds", "times_the_loop"]]) and noise.times_the_loop.iloc[-1] == 1


# The page


def test_the_page_of_the_reference_is_whole_and_loads_nothing(load, tmp_path):
    reference = FOLDER.parent / "results/reference/bench"
    load("page").main([str(reference), str(tmp_path / "index.html")])
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    page, tables = Page(html), sorted(path.stem for path in reference.glob("*.csv"))
    assert len(page.loaded) == len(list(reference.glob("*.png"))) and not loads(html)
    assert set(page.ids) == {"goals", *tables} and "prefers-color-scheme: dark" in html
    device = json.loads((reference / "ssim_cpu.csv.json").read_text())["device"]
    assert device in page.text and "nan" not in page.text.lower()


def test_ratios_stand_beside_their_goals_and_limits(load):
    times = {"essim, triton": 0.4, "torchmetrics": 60, "floor": 0.1}
    table = pd.DataFrame({"size": "192x192x100", "contender": times.keys(), "milliseconds": times.values()})
    table["times_torchmetrics"] = 60 / table.milliseconds
    unet = {"size": "paper", "what": "train", "contender": "essim", "times_the_faster_peer": 1.5}
    unet = pd.DataFrame([unet | {"how": how} for how in ("as called", "with every advantage")])
    found = load("page").ratios({"ssim_cuda": table, "unet_cuda": unet})
    rows = {tuple(row[:3]): row[3:] for row in found.to_numpy().tolist()}
    score, gpu = "score of 192x192x100", "one GPU"
    assert rows[score, "torchmetrics", gpu] == ["150 ×", "100 ×", "600 ×", "yes"]
    assert rows[score, "the clock", gpu] == ["400 µs", "300 µs", "100 µs", "75% of it"]
    assert rows[score, "torchmetrics", "one CPU thread"] == ["not measured", "300 ×", "–", ""]
    network, peers = "U-Net of paper: train", "diffusers and MONAI"
    assert rows[network, f"{peers}, as called", gpu] == ["1.5 ×", "2 ×", "–", "75% of it"]
    assert rows[network, f"{peers}, with every advantage", gpu] == ["1.5 ×", "1 ×", "–", "yes"]
    assert not [what for what, *_ in rows if what.startswith(("noise", "score of 48"))]


def test_a_folder_without_tables_is_refused(load, tmp_path):
    with pytest.raises(SystemExit, match="holds no table of a benchmark; run `make bench` first"):
        load("page").main([str(tmp_path)])
    assert not list(tmp_path.iterdir())
