"""The benchmarks run, at their smallest, and write what they say; how fast anything is isn't tested."""

import importlib
from pathlib import Path

import numba
import numpy as np
import pandas as pd
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


@pytest.fixture
def unet(load):
    return load("unet")


def run(module, out, *words):
    """The tables that a benchmark writes, each with its provenance: {name: table}."""
    module.main(["--rounds", "1", "--device", "cpu", "--out", str(out), *words])
    tables = sorted(out.glob("*.csv"))
    assert all(path.with_name(f"{path.name}.json").is_file() for path in tables)
    return {path.stem: pd.read_csv(path) for path in tables}


def positive(columns):
    return np.isfinite(columns).all(axis=None) and (columns > 0).all(axis=None)


def skip_without_peers():
    for peer in ("diffusers", "monai"):
        pytest.importorskip(peer, reason=f"{peer} is not installed; `make bench` installs it")


def test_ssim(load, tmp_path):
    table = run(load("ssim"), tmp_path, "--sizes", "24x24x20")["ssim_cpu"]
    assert positive(table[["milliseconds", "times_torchmetrics"]])
    assert {"essim, numba", "torchmetrics", "scikit-image", "floor"} <= set(table.contender)
    assert (tmp_path / "ssim_cpu.png").is_file()


def test_unet(unet, tmp_path, monkeypatch):
    skip_without_peers()
    monkeypatch.setattr(unet, "peak_memory", lambda *contender: 1.0)  # see below
    table = run(unet, tmp_path, "--sizes", "tiny")["unet_cpu"]
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


def test_training(load, tmp_path):
    threads = numba.get_num_threads()
    tables = run(load("training"), tmp_path, "--profiles", "smoke")
    numba.set_num_threads(threads)
    table, noise = tables["training_cpu"], tables["noise_cpu"]
    parts = ["slices", "augmentation", "noise", "forward", "backward", "optimizer", "average"]
    assert list(table.part) == [*parts, "step"]
    assert positive(table[["milliseconds", "share", "slices_per_second", "hours"]])
    assert positive(noise[["milliseconds", "times_the_loop"]]) and noise.times_the_loop.iloc[-1] == 1
