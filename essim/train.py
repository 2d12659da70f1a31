"""Train the diffusion model on healthy slices (python -m essim.train, for several devices: accelerate launch).

In: the scan table (healthy train and val rows of one contrast) and a `TrainConfig`. Out, in a folder:
weights.safetensors (EMA weights with the best validation loss), weights_<share>.safetensors (those after a share of the
steps, see EARLY), config.json (what rebuilds the model) and log.csv.
Paper: section 3 (training): axial slices, one random slice a volume and epoch, l1 loss, Adam.

Everything random is a function of (seed, epoch) or (seed, step), never of what ran before: a run that is killed goes on
from checkpoint.pt and ends with the weights that it would have had.
"""

import argparse
import functools
import json
import math
import os
import sys
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from essim import augment
from essim.datasets import load_scans
from essim.diffusion import GaussianDiffusion
from essim.files import writing
from essim.settings import Preprocessing, TrainConfig
from essim.unet import UNet
from essim.volumes import load_scan

VALIDATIONS = 40  # validation passes (and log lines) a training
VALIDATION_SLICES = 64
CHECKPOINT_SECONDS = 30
CHECKPOINTS = ("checkpoint.pt", "checkpoint_before.pt")  # the newest, and the one to fall back on
EARLY = {"sixteenth": 1 / 16, "quarter": 1 / 4}  # shares of the steps: what a shorter training would have learned


def build_model(config):
    """An untrained `GaussianDiffusion` from a mapping with the fields of `TrainConfig`; the seed fixes its weights."""
    network = {k: config[k] for k in ("channels", "multipliers", "blocks", "head_channels", "patch")}
    process = {k: config[k] for k in ("timesteps", "schedule", "objective", "noise")}
    with torch.random.fork_rng(devices=[]):  # loading a model must not reseed the caller's noise
        torch.manual_seed(config["seed"])
        return GaussianDiffusion(UNet(**network), **process)


def quiet():
    """Whether another process shows the progress bars."""
    return int(os.environ.get("RANK", 0)) > 0


def pick_device():
    """The CUDA device if there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class HealthySlices:
    """Healthy volumes in memory, served as batches of axial slices [batch, 1, H, W] in [0, 1]."""

    def __init__(self, rows, preprocessing, name, cache=None):
        if not len(rows):
            raise ValueError(f"train: no healthy {name} scans of this contrast in the table; check the split files.")
        records = rows.to_dict("records")
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            loaded = pool.map(lambda row: load_scan(row, preprocessing, cache), records)
            scans = list(tqdm(loaded, total=len(records), desc=f"{name} volumes", unit="volume", disable=quiet()))
        self.volumes = [np.ascontiguousarray(scan.image.transpose(2, 0, 1)) for scan in scans]  # [D, H, W] each
        self.filled = [np.flatnonzero(scan.mask.any((0, 1))) for scan in scans]  # slices that show brain
        # of the scans as they came, before `factor`
        self.voxel_mm = float(np.linalg.norm(scans[0].affine[:3, 0])) / preprocessing.factor
        self.checksum = functools.reduce(lambda crc, volume: zlib.crc32(volume, crc), self.volumes, 0)

    def __len__(self):
        return len(self.volumes)

    def epoch(self, seed, epoch):
        """Which slice of which volume, in which order: a list of (volume, slice), fixed by seed and epoch."""
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(self))
        return [(volume, rng.choice(self.filled[volume])) for volume in order]

    def batch(self, seed, places):
        """The slices at some places (a range) of the endless list, in which epochs follow each other without a gap."""
        epochs = {e: self.epoch(seed, e) for e in {place // len(self) for place in places}}
        picks = [epochs[place // len(self)][place % len(self)] for place in places]
        return torch.stack([torch.from_numpy(self.volumes[volume][z])[None] for volume, z in picks])

    def spread(self, count):
        """`count` slices spread evenly over all volumes and heights, always the same: [count, 1, H, W]."""
        every = [(volume, z) for volume in range(len(self)) for z in self.filled[volume]]
        picks = [every[i] for i in np.linspace(0, len(every) - 1, min(count, len(every))).round().astype(int)]
        return torch.stack([torch.from_numpy(self.volumes[volume][z])[None] for volume, z in picks])


def _stream(*key):
    """A 63-bit seed from a key of ints."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


def draw_times_and_noise(diffusion, shape, key, t_range):
    """t [N] uniform from the first to the last step of `t_range`, and noise of `shape`, fixed by the key."""
    generator = torch.Generator().manual_seed(_stream(*key, 2))
    t = torch.randint(t_range[0], t_range[1] + 1, (shape[0],), generator=generator)
    return t.to(diffusion.betas.device), diffusion.sample_noise(shape, seed=_stream(*key, 3))


@torch.no_grad()
def validation_loss(diffusion, slices, t_range):
    """The loss on fixed slices [M, 1, H, W] in [0, 1], fixed noise, t spread over `t_range`: comparable all through."""
    total = 0.0
    every = torch.linspace(*t_range, len(slices)).round().long().to(slices.device)
    for i, part in enumerate(slices.split(16)):
        noise = diffusion.sample_noise(part.shape, seed=i)
        total += len(part) * diffusion.p_losses(2 * part - 1, every[16 * i : 16 * i + len(part)], noise).item()
    return total / len(slices)


@torch.no_grad()
def update_average(average, model, decay, step):
    """Move the averaged weights towards the model's; a young average forgets faster."""
    decay = min(decay, (1 + step) / (10 + step))
    for a, b in zip(average.parameters(), model.parameters(), strict=True):
        a.lerp_(b, 1 - decay)


def train(config, scans, contrast, preprocessing, out, cache=None):
    """Train on the healthy scans of one contrast, or go on with a training that was stopped.

    Args:
        config: a `TrainConfig`. scans: the scan table. contrast: "t1" or "t2". preprocessing: a `Preprocessing`.
        out: the folder to write to. cache: as in `load_scan`.

    Returns: the log, a DataFrame `step, epoch, train_loss, val_loss, lr, seconds, data_seconds`; the last two are times
        since the beginning: all, and what the device waited for slices.
    """
    bfloat16 = config.bfloat16 and computes_bfloat16(pick_device())
    accelerator = Accelerator(mixed_precision="bf16" if bfloat16 else "no", cpu=pick_device() == "cpu")
    out, device, processes = Path(out), accelerator.device, accelerator.num_processes
    if config.batch % processes:
        raise ValueError(f"{out}: a batch of {config.batch} can't be shared by {processes} processes; change `batch`.")
    mine = slice(*(config.batch * (accelerator.process_index + i) // processes for i in (0, 1)))  # of each batch
    out.mkdir(parents=True, exist_ok=True)
    rows = scans[(scans.dataset == "healthy") & (scans.contrast == contrast)]
    data = HealthySlices(rows[rows.split == "train"], preprocessing, "train", cache)
    unseen = HealthySlices(rows[rows.split == "val"], preprocessing, "val", cache)
    fixed = unseen.spread(VALIDATION_SLICES).to(device)

    diffusion = build_model(config.model_dump()).to(device, memory_format=torch.channels_last)
    average = build_model(config.model_dump()).to(device, memory_format=torch.channels_last)
    kept = {"weights": snapshot(average)}  # what is written at the end, by file name
    t_range = config.t_range or (1, config.timesteps)
    network = diffusion.model  # diffusion.model becomes the one that averages gradients over the processes
    diffusion.model = accelerator.prepare_model(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.lr, fused=True)
    steps = max(1, config.epochs * len(data) // config.batch)
    identity = json.dumps([config.model_dump(), preprocessing.model_dump(), contrast, data.checksum, unseen.checksum])
    state = {"step": 0, "log": [], "best_loss": float("inf"), "seconds": 0.0, "data_seconds": 0.0}

    checkpoint = find_checkpoint(out, identity)
    if checkpoint:
        state = checkpoint["state"]
        network.load_state_dict(checkpoint["model"])
        average.model.load_state_dict(checkpoint["average"])
        kept = checkpoint["kept"]
        optimizer.load_state_dict(checkpoint["optimizer"])

    def save_checkpoint():
        newest, before = (out / name for name in CHECKPOINTS)
        if newest.is_file():
            os.replace(newest, before)
        with writing(newest) as path:
            weights = {"model": network.state_dict(), "average": average.model.state_dict(), "kept": kept}
            torch.save(weights | {"identity": identity, "state": state, "optimizer": optimizer.state_dict()}, path)

    every = max(1, steps // VALIDATIONS)
    losses, began, saved = [], time.monotonic() - state["seconds"], time.monotonic()
    length = {"total": steps * config.batch, "initial": state["step"] * config.batch, "unit": "slice"}
    bar = tqdm(**length, desc=f"train {contrast}", disable=quiet())
    for step in range(state["step"], steps):
        # math.cos: a numpy number in the optimizer's state is what torch.load(weights_only=True) refuses
        lr = config.lr * (0.5 * (1 + math.cos(math.pi * step / steps)) if config.lr_schedule == "cosine" else 1.0)
        optimizer.param_groups[0]["lr"] = lr
        begun = time.monotonic()
        places = range(step * config.batch, (step + 1) * config.batch)
        slices = data.batch(config.seed, places[mine]).to(device, memory_format=torch.channels_last)
        if config.augment:  # by the slice's place: the same in batches of any size, shared by any number of processes
            slices = augment.apply(slices, [augment.draw((config.seed, place)) for place in places[mine]])
        x0 = 2 * slices - 1
        state["data_seconds"] += time.monotonic() - begun
        shape = (config.batch, *x0.shape[1:])  # drawn for the whole batch
        t, noise = (whole[mine] for whole in draw_times_and_noise(diffusion, shape, (config.seed, step), t_range))
        loss = diffusion.p_losses(x0, t, noise)
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        update_average(average, diffusion, config.ema_decay, step)
        for name in EARLY:
            if step + 1 == early_step(name, steps):
                kept[f"weights_{name}"] = snapshot(average)
        losses.append(accelerator.reduce(loss.detach(), "mean").item())
        if not math.isfinite(losses[-1]):
            raise ValueError(f"{out}: the loss of step {step + 1} is {losses[-1]}; lower `lr`.{_kept(out)}")
        bar.update(config.batch)

        state["step"], state["seconds"] = step + 1, time.monotonic() - began
        if (step + 1) % every == 0 or step + 1 == steps:
            with accelerator.autocast():
                val_loss = validation_loss(average, fixed, t_range)
            if not math.isfinite(val_loss):
                text = f"after {step + 1} steps the validation loss is {val_loss}; lower `lr`."
                raise ValueError(f"{out}: {text}{_kept(out)}")
            epoch = (step + 1) * config.batch / len(data)
            state["log"].append(
                dict(step=step + 1, epoch=epoch, train_loss=float(np.mean(losses)), val_loss=val_loss, lr=lr)
                | {"seconds": state["seconds"], "data_seconds": state["data_seconds"]}
            )
            losses, waited = [], state["data_seconds"] / state["seconds"]
            now = state["log"][-1]["train_loss"]
            bar.set_postfix(train=f"{now:.4f}", val=f"{val_loss:.4f}", waiting_for_data=f"{waited:.0%}")
            if val_loss < state["best_loss"]:
                state["best_loss"] = val_loss
                kept["weights"] = snapshot(average)
            if time.monotonic() - saved > CHECKPOINT_SECONDS and accelerator.is_main_process:
                save_checkpoint()
                saved = time.monotonic()
    bar.close()

    log = pd.DataFrame(state["log"])
    if not accelerator.is_main_process:  # one process writes
        accelerator.wait_for_everyone()
        return log
    description = {"contrast": contrast, "voxel_mm": data.voxel_mm, "steps": steps, "val_loss": state["best_loss"]}
    description |= {"training": config.model_dump(), "preprocessing": preprocessing.model_dump()}
    with writing(out / "log.csv") as path:
        log.to_csv(path, index=False)
    with writing(out / "config.json") as path:
        path.write_text(json.dumps(description, indent=2) + "\n")
    for name, weights in kept.items():
        with writing(out / f"{name}.safetensors") as path:
            save_file(weights, path)
    for name in CHECKPOINTS:
        (out / name).unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    return log


def _kept(out):
    """What is left to go on from, as the end of a message."""
    there = [name for name in CHECKPOINTS if (out / name).is_file()]
    return f" The last good state is in {there[0]}." if there else ""


def early_step(name, steps):
    """The step after which the weights called `name` in EARLY are taken, of `steps` in all."""
    return max(1, round(EARLY[name] * steps))


def snapshot(diffusion):
    """A copy of the network's weights, contiguous and on the CPU."""
    weights = diffusion.model.state_dict()
    return {k: v.cpu().clone(memory_format=torch.contiguous_format) for k, v in weights.items()}


def find_checkpoint(out, identity):
    """The newest checkpoint of this very training, or None; a warning names each that is not used and says why."""
    found, reasons = None, []
    for path in (out / name for name in CHECKPOINTS):
        if found is None and path.is_file():
            found, reason = read_checkpoint(path, identity)
            reasons += [f"{path}: {reason}"] if reason else []
    for reason in reasons:
        outcome = "the one before is used" if found else "training starts from the beginning"
        warnings.warn(f"{reason}; {outcome}.", stacklevel=2)
    return found


def read_checkpoint(path, identity):
    """(checkpoint, None), or (None, the reason why it is not this training's)."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        if checkpoint["identity"] == identity:
            return checkpoint, None
        return None, "belongs to a training with other settings or scans"
    except Exception as error:  # whatever a damaged file makes the reader raise
        return None, f"cannot be read ({type(error).__name__})"


def computes_bfloat16(device):
    """Whether the hardware multiplies in bfloat16 itself; elsewhere autocast would only slow it down."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def load_model(folder, device=None, weights="weights"):
    """The trained `GaussianDiffusion` of a model folder, in evaluation mode.

    `weights` names the file: the best ones, or "weights_quarter", "weights_sixteenth" from earlier in the same run.

    Raises:
        FileNotFoundError: weights or configuration are missing.
        ValueError: the weights are damaged or belong to another architecture than config.json says.
    """
    folder, device = Path(folder), device or pick_device()
    description, weights = folder / "config.json", folder / f"{weights}.safetensors"
    for path in (description, weights):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; train the model first (notebook 02_train).")
    try:
        config = json.loads(description.read_text())["training"]
        diffusion = build_model(TrainConfig(**config).model_dump())
    except (ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{description}: does not describe a model ({reason}); train the model again."
        ) from error
    try:
        diffusion.model.load_state_dict(load_file(weights))
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{weights}: does not fit the architecture in config.json or is damaged ({reason}); "
            "train the model again or put the matching config.json beside it."
        ) from error
    return diffusion.to(device, memory_format=torch.channels_last).eval()


def load_lengths(folder, device=None):
    """The networks of one training as it went on: {training step: `GaussianDiffusion`}; raises as `load_model`."""
    last = load_model(folder, device)
    steps = json.loads((Path(folder) / "config.json").read_text())["steps"]
    early = {early_step(name, steps): load_model(folder, device, f"weights_{name}") for name in EARLY}
    return early | {steps: last}


def main(arguments=None):
    """The command line; returns the exit code."""
    text = "Train the diffusion model, or go on; on several GPUs: accelerate launch -m essim.train SETTINGS OUT"
    parser = argparse.ArgumentParser("python -m essim.train", description=text)
    parser.add_argument("settings", help="JSON file: data, fold, contrast, preprocessing and training as in 02_train")
    parser.add_argument("out", help="the model folder")
    parser.add_argument("--cache", help="a folder that keeps the preprocessed scans")
    given = parser.parse_args(arguments)
    try:
        values = json.loads(Path(given.settings).read_text(encoding="utf-8"))
        config, preprocessing = TrainConfig(**values["training"]), Preprocessing(**values["preprocessing"])
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
