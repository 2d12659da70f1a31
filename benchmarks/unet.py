"""How fast and how large is the U-Net? essim.UNet against those of diffusers and MONAI, in training and reconstruction.

    python benchmarks/unet.py [--sizes laptop paper] [--rounds 5] [--device cpu] [--compile] [--out results/bench]

The three have the same widths, levels, blocks and resolution, attention at the bottleneck only, and as many parameters
to within 10 %. A training step is forward, l1 loss, backward, gradients clipped to 1, Adam. A reconstruction is one
forward call without gradients: a whole volume on a GPU (50 slices, 4 draws each), one training batch on a CPU, where
larger ones gain nothing. essim runs with all its options for the device, its peers in two ways:

    as called               float32, eager, contiguous, Adam(lr)
    with every advantage    with all of essim's options: fused Adam, bfloat16 where the hardware computes in it,
                            channels_last (on a CPU to reconstruct only, where it helps) and torch.compile
                            (on a CPU only with --compile: it needs a C++ compiler, and minutes)

Contenders take turns, round by round, on one thread, or one GPU without TF32; the time is the median of the rounds.
Memory is the peak of doing the same work twice: on a GPU, what torch allocates; on a CPU, how much a separate process
grows. Peers that are not installed are left out: pip install -e ".[bench]".
"""

import argparse
import itertools
import resource
import statistics
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from ssim import seconds
from torch import nn
from tqdm import tqdm

from essim.figures.style import BLUE, GREEN, ORANGE, new_figure
from essim.runs.provenance import provenance, save_figure, write_table
from essim.runs.workers import work_off
from essim.train.loop import computes_bfloat16
from essim.unet import UNet

VOLUME = 50 * 4  # slices that a GPU reconstructs at once
STEPS = {"cpu": 1, "cuda": 10}  # per turn: a GPU is fed while it computes


@dataclass(frozen=True)
class Size:
    channels: tuple  # of each level
    blocks: int  # per level
    head: int  # channels of an attention head
    groups: int  # of a normalisation
    pixels: tuple
    batch: dict  # slices of a training step, by device


SIZES = {
    "tiny": Size((8, 16, 16), 1, 8, 8, (16, 16), {"cpu": 2, "cuda": 2}),  # to check that it runs
    "laptop": Size((32, 64, 64), 2, 32, 8, (80, 96), {"cpu": 8, "cuda": 8}),
    "paper": Size((128, 256, 256), 3, 64, 32, (96, 96), {"cpu": 2, "cuda": 32}),
}


@dataclass(frozen=True)
class How:
    """How a network is run; by default, as called."""

    fused: bool = False
    bfloat16: bool = False
    channels_last: bool = False
    compiled: bool = False


def every_advantage(what, device, compiled):
    """essim's options; on a CPU, channels_last makes reconstruction faster and training slower."""
    return How(True, computes_bfloat16(device), device == "cuda" or what == "reconstruct", compiled)


def by_essim(size):
    return UNet(size.channels[0], [c // size.channels[0] for c in size.channels], size.blocks, size.head)


def by_diffusers(size):
    from diffusers import UNet2DModel

    levels = len(size.channels)
    return UNet2DModel(
        in_channels=1,
        out_channels=1,
        block_out_channels=size.channels,
        layers_per_block=size.blocks,
        down_block_types=["DownBlock2D"] * levels,
        up_block_types=["UpBlock2D"] * levels,
        attention_head_dim=size.head,
        norm_num_groups=size.groups,
        resnet_time_scale_shift="scale_shift",
    )


def by_monai(size):
    from monai.networks.nets import DiffusionModelUNet

    return DiffusionModelUNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=1,
        channels=size.channels,
        num_res_blocks=size.blocks,
        attention_levels=[False] * len(size.channels),  # the bottleneck has it anyway
        num_head_channels=size.head,
        norm_num_groups=size.groups,
    )


NETWORKS = {"essim": by_essim, "diffusers": by_diffusers, "MONAI": by_monai}


def count_parameters(size):
    """Millions of parameters of the networks that are installed: {contender: number}, equal to within 10 %."""
    counts = {}
    for name, make in NETWORKS.items():
        try:
            counts[name] = sum(p.numel() for p in make(size).parameters()) / 1e6
        except ImportError:
            continue
    if max(counts.values()) > 1.1 * min(counts.values()):
        raise ValueError(f"The networks differ by more than 10 %, in millions of parameters: {counts}.")
    return counts


def make_work(what, name, size, how, device):
    """A function that trains for one step, or reconstructs one batch, and the number of slices in it."""
    layout = torch.channels_last if how.channels_last else torch.contiguous_format
    network = NETWORKS[name](size).to(device, memory_format=layout)
    for weights in network.parameters():
        if weights.ndim > 1:  # some start at 0 in one library and not in another, and zeros cost a GPU less power
            nn.init.normal_(weights, std=0.02)
    batch = VOLUME if (what, device) == ("reconstruct", "cuda") else size.batch[device]
    x = torch.rand(batch, 1, *size.pixels, device=device).to(memory_format=layout)
    once = (what, name) == ("reconstruct", "essim")  # the one time of all slices can be given once; MONAI wants each
    t = torch.full((1 if once else batch,), 500, device=device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=how.fused or None)
    call = torch.compile(network, dynamic=False) if how.compiled else network

    def predict():
        with torch.autocast(device, torch.bfloat16, enabled=how.bfloat16):
            output = call(x, t)
        return getattr(output, "sample", output)  # diffusers wraps its tensor

    def train():
        loss = (predict() - x).abs().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    @torch.no_grad()
    def reconstruct():
        predict()

    network.train(what == "train")
    return {"train": train, "reconstruct": reconstruct}[what], batch


def set_up():
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def peak_resident():
    """The peak memory (MB) of this process."""
    try:  # on Linux, getrusage begins with the peak of the process that started this one
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1e3
    except OSError:  # macOS
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def grow(contender):
    """The memory (MB) of one contender, from a process that has done nothing yet (on a GPU: from any)."""
    set_up()
    what, name, size, how, device = contender
    if device == "cpu":
        make_work(what, name, SIZES["tiny"], how, device)[0]()  # imports, and what torch sets up once
    before = peak_resident()
    work, _ = make_work(what, name, size, how, device)
    work()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()  # of the compiler's trials
    work()
    return torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else peak_resident() - before


def peak_memory(*contender):
    """The most memory (MB) that the work takes, its network and optimizer included; NaN if it is killed for it."""
    if contender[-1] == "cuda":  # torch counts what it allocates: no separate process is needed
        return grow(contender)
    ((_, megabytes),) = work_off(grow, [contender], 1, died=float("nan"))
    return megabytes


def race(size_name, what, names, rounds, device, compiled):
    """One row per contender: slices per second (median of the rounds) and memory; essim's is in both comparisons."""
    size, advantages = SIZES[size_name], every_advantage(what, device, compiled)
    contenders = [(name, how) for name in names for how in (How(), advantages) if name != "essim" or how == advantages]
    title = f"{what}, {size_name}"
    memory = {(n, h): peak_memory(what, n, size, h, device) for n, h in tqdm(contenders, desc=f"memory: {title}")}
    works, times = {}, {contender: [] for contender in contenders}
    for name, how in contenders:
        works[name, how], batch = make_work(what, name, size, how, device)
        works[name, how]()  # compiles
    for _ in tqdm(range(rounds), desc=f"rounds: {title}"):
        for contender, work in works.items():
            taken = seconds(lambda work=work: [work() for _ in range(STEPS[device])], device) / STEPS[device]
            times[contender].append(taken)
    rows = []
    for label, chosen in {"as called": How(), "with every advantage": advantages}.items():
        for name in names:
            key = (name, advantages if name == "essim" else chosen)
            row = {"size": size_name, "what": what, "how": label, "contender": name}
            row["slices_per_second"] = batch / statistics.median(times[key])
            rows.append(row | {"peak_mb": memory[key]})
    return pd.DataFrame(rows)


def compare(table):
    """The table with each contender's speed as a multiple of the faster peer's, run in the same way."""
    peers = table[table.contender != "essim"].rename(columns={"slices_per_second": "fastest"})
    fastest = peers.groupby(["size", "what", "how"], as_index=False).fastest.max()
    table = table.merge(fastest, how="left")
    table.insert(5, "times_the_faster_peer", table.slices_per_second / table.pop("fastest"))
    return table


def plot_speed(table):
    """Slices per second, a panel for each kind of work (rows) and size (columns)."""
    works, sizes = table.what.unique(), table["size"].unique()
    figure, axes = new_figure(len(works), len(sizes), 2.5 * len(sizes) + 1.9, 1.7 * len(works), sharey=True)
    colours = {"essim": GREEN, "diffusers": BLUE, "MONAI": ORANGE}
    table = table[(table.contender != "essim") | (table.how == "as called")]  # essim is in both comparisons
    for (row, what), (column, size) in itertools.product(enumerate(works), enumerate(sizes)):
        part, axis = table[(table.what == what) & (table["size"] == size)], axes[row, column]
        advantages = part.how != "as called"
        labels = part.contender + advantages.map({True: ", every advantage", False: ""})
        look = {"color": part.contender.map(colours), "hatch": list(advantages.map({True: "//", False: ""}))}
        bars = axis.barh(labels, part.slices_per_second, edgecolor="white", **look)
        numbers = [f"{value:.3g}" if value < 100 else f"{value:,.0f}" for value in part.slices_per_second]
        axis.bar_label(bars, numbers, padding=3, fontsize=8)
        axis.set(title=f"{what}, {size}", xlabel="slices per second")
        axis.margins(x=0.2)
    axes[0, 0].invert_yaxis()
    return figure


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=["laptop", "paper"])
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs")
    parser.add_argument("--device", choices=list(STEPS), default="cuda" if torch.cuda.is_available() else "cpu")
    text = "torch.compile for essim, and for its peers with every advantage (default: on a GPU only)"
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help=text)
    parser.add_argument("--out", type=Path, default=Path("results/bench"), help="folder of the table and the figure")
    given = parser.parse_args(arguments)
    compiled = given.device == "cuda" if given.compile is None else given.compile
    set_up()
    chosen = {"sizes": given.sizes, "rounds": given.rounds, "device": given.device, "compile": compiled}
    record, tables = provenance(chosen), []
    for size in given.sizes:
        counts = count_parameters(SIZES[size])
        print(f"{size}, millions of parameters:", ", ".join(f"{name} {count:.3g}" for name, count in counts.items()))
        for what in ("train", "reconstruct"):
            tables.append(race(size, what, list(counts), given.rounds, given.device, compiled))
            table = compare(pd.concat(tables))  # what is measured is kept, whatever comes after
            write_table(table, given.out / f"unet_{given.device}.csv", record)
    save_figure(plot_speed(table), given.out / f"unet_{given.device}", record)
    print(table.to_markdown(index=False, floatfmt=".4g"))
    print(f"Written to {given.out}: unet_{given.device}.csv, .png and .pdf")


if __name__ == "__main__":
    main()
