"""Where does a training step's time go, how long does a training take, and what does simplex noise cost?

    python benchmarks/training.py [--profiles laptop paper] [--rounds 10] [--device cpu] [--out results/bench]

A step is made of the pieces that essim.train makes it of, with the network, batch and settings of a profile in
workflow/profiles and as many volumes as its cohort has (of random numbers). Each part is timed separately, and in
turn with them the whole step, without pauses between its parts; on one thread, or one GPU without TF32; times are
medians. `hours` are those of one training (one contrast, one fold), shared among the parts. On a CPU, a network without
patches sees only 2 slices of each batch, and its forward and backward are scaled to the whole.

Noise: six octaves for 32 slices of 96 x 96, by essim.simplex_noise and, as is usual, by a loop over images and octaves
of the opensimplex package. They take turns, once both are compiled; with a GPU, the loop has all cores of the CPU and
its fields are copied to the GPU.
"""

import argparse
import statistics
import sys
from pathlib import Path

import numba
import numpy as np
import pandas as pd
import torch
from opensimplex import OpenSimplex
from ssim import seconds
from tqdm import tqdm

from essim.models import build_model
from essim.noise import simplex_noise
from essim.runs.provenance import provenance, write_table
from essim.settings import Preprocessing, TrainConfig
from essim.tone import TONES
from essim.train import augment, randomise
from essim.train.loop import computes_bfloat16, draw_times_and_noise, update_average
from essim.train.optim import make_optimizers
from essim.train.slices import HealthySlices

sys.path.append(str(Path(__file__).resolve().parents[1] / "workflow"))
from profiles import FOLDER, names, read_profile  # noqa: E402 (it lies there)

CPU_BATCH = 2  # for a network without patches
PIXEL_MM = 2  # of the slices of every profile
NOISE = (32, 1, 96, 96)


class RandomSlices(HealthySlices):
    """Slices of `count` volumes of random numbers, after preprocessing; in memory they are one."""

    def __init__(self, preprocessing, count):
        height, width, depth = (side // preprocessing.factor for side in preprocessing.shape)
        self.volumes = [np.random.default_rng(0).random((depth, height, width), np.float32)] * count
        self.filled = [np.arange(depth)] * count
        self.tones = torch.rand(count, TONES)


def training(config, data, seen, device):
    """Endless steps of `essim.train.loop.train`, yielding each part's name after it; the network sees `seen` slices."""
    layout = torch.channels_last if device == "cuda" else torch.contiguous_format
    diffusion, average = (build_model(config.model_dump()).to(device, memory_format=layout) for _ in range(2))
    network, bfloat16 = diffusion.model, config.bfloat16 and computes_bfloat16(device)
    optimizers = make_optimizers(network, config)
    step = 0
    while True:
        places = range(step * config.batch, (step + 1) * config.batch)
        slices, tones = (part.to(device) for part in data.batch(config.seed, places))
        slices = slices.to(memory_format=layout)
        yield "slices"
        for way, wanted, known in ((randomise, config.randomise, ()), (augment, config.augment, (PIXEL_MM,))):
            if wanted:
                changes = [way.draw((config.seed, place), *known) for place in places]
                slices, tones = way.apply(slices, changes), way.retone(tones, changes)
        if config.augment or config.randomise:
            yield "augmentation"
        x0, key = 2 * slices - 1, (config.seed, step)
        t, noise = draw_times_and_noise(diffusion, x0.shape, key, config.t_range or (1, config.timesteps))
        yield "noise"
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            loss = diffusion.p_losses(x0[:seen], t[:seen], noise[:seen], tones[:seen] if config.tone else None)
        yield "forward"
        loss.backward()
        yield "backward"
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        yield "optimizer"
        update_average(average, diffusion, config.ema_decay, step)
        yield "average"
        step += 1


def time_step(name, profile, rounds, device):
    """One row per part of the profile's step, and one for the whole."""
    config, volumes = TrainConfig(**profile["training"]), profile["cohort"]["train"]
    seen = CPU_BATCH if device == "cpu" and config.patch == 1 else config.batch
    steps = training(config, RandomSlices(Preprocessing(**profile["preprocessing"]), volumes), seen, device)
    parts = []
    while "average" not in parts:  # the first step also sets up what is set up once
        parts.append(next(steps))
    taken = {part: [] for part in [*parts, "step"]}
    for _ in tqdm(range(rounds), desc=f"steps of {name}"):
        taken["step"].append(seconds(lambda: [next(steps) for _ in parts], device))
        for part in parts:
            taken[part].append(seconds(lambda: next(steps), device))
    times = {part: statistics.median(values) for part, values in taken.items()}
    scale = config.batch / seen
    times["step"] += (scale - 1) * (times["forward"] + times["backward"])
    times["forward"], times["backward"] = scale * times["forward"], scale * times["backward"]
    table = pd.DataFrame({"profile": name, "batch": config.batch, "part": list(times)})
    table["milliseconds"] = 1000 * np.array(list(times.values()))
    table["share"] = table.milliseconds / table.milliseconds.iloc[-1]
    table["slices_per_second"] = 1000 * config.batch / table.milliseconds
    table["hours"] = config.epochs * volumes / table.slices_per_second / 3600
    return table


def by_opensimplex(shape, seed, device):
    """The noise of `simplex_noise` with its default octaves, one image after the other."""
    count, _, height, width = shape
    fields = np.zeros(shape)
    for i in range(count):
        source = OpenSimplex(seed * count + i)
        for k in range(6):
            x, y = (np.arange(n) / (64 / 2**k) for n in (width, height))
            fields[i, 0] += 0.8**k * source.noise2array(x, y)
    return torch.from_numpy(fields).float().to(device)


def compare_noise(rounds, device):
    """One row per way to draw the noise: milliseconds for the batch, and how many times faster than the loop."""
    contenders = {"essim.simplex_noise": lambda seed: simplex_noise(NOISE, seed=seed, device=device)}
    contenders["loop over opensimplex"] = lambda seed: by_opensimplex(NOISE, seed, device)
    times = {name: [] for name in contenders}
    for seed in tqdm(range(rounds + 1), desc="rounds of noise"):  # the first compiles
        for name, draw in contenders.items():
            times[name].append(seconds(lambda draw=draw, seed=seed: draw(seed), device))
    rows = [{"noise": name, "milliseconds": 1000 * statistics.median(taken[1:])} for name, taken in times.items()]
    table = pd.DataFrame(rows)
    return table.assign(times_the_loop=table.milliseconds.iloc[-1] / table.milliseconds)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profiles", nargs="+", choices=names(), default=["laptop", "paper"])
    parser.add_argument("--rounds", type=int, default=10, help="how often each part runs")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("results/bench"), help="folder of the tables")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if given.device == "cpu":
        numba.set_num_threads(1)
    steps = pd.concat([time_step(name, read_profile(name), given.rounds, given.device) for name in given.profiles])
    noise = compare_noise(given.rounds, given.device)
    record = provenance({"profiles": given.profiles, "rounds": given.rounds, "device": given.device}, [FOLDER])
    for name, table in {"training": steps, "noise": noise}.items():
        write_table(table, given.out / f"{name}_{given.device}.csv", record)
        print(table.to_markdown(index=False, floatfmt=".4g"))
    print(f"Written to {given.out}: training_{given.device}.csv and noise_{given.device}.csv")


if __name__ == "__main__":
    main()
