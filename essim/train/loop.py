"""Train the diffusion model on healthy slices (python -m essim.train, for several devices: accelerate launch).

In: the scan table (healthy train and val rows of one contrast) and a `TrainConfig`. Out: a model folder (essim.models,
EMA weights) and in it log.csv.
Paper: section 3 (training): axial slices, l1 loss.

Everything random is a function of (seed, epoch) or (seed, step), never of what ran before: a run that is killed goes on
from its checkpoint and ends with the weights that it would have had.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from tqdm import tqdm

from essim.data.datasets import load_scans
from essim.models import EARLY, build_model, early_step, pick_device
from essim.runs.files import write_json, writing
from essim.settings import Preprocessing, TrainConfig
from essim.train import augment
from essim.train.checkpoints import Checkpoints
from essim.train.optim import make_optimizers
from essim.train.slices import HealthySlices, quiet

VALIDATIONS = 40  # validation passes (and log lines) a training
VALIDATION_SLICES = 64
CHECKPOINT_SECONDS = 30


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

    # on a CPU, channels_last makes the gradients slower
    layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    diffusion, average = (build_model(config.model_dump()).to(device, memory_format=layout) for _ in range(2))
    kept = {"weights": snapshot(average)}  # what is written at the end, by file name
    t_range = config.t_range or (1, config.timesteps)
    network = diffusion.model  # diffusion.model becomes the one that averages gradients over the processes
    diffusion.model = accelerator.prepare_model(torch.compile(network) if config.compile else network)
    optimizers = make_optimizers(network, config)
    steps = max(1, config.epochs * len(data) // config.batch)
    identity = json.dumps([config.model_dump(), preprocessing.model_dump(), contrast, data.checksum, unseen.checksum])
    state = {"step": 0, "log": [], "best_loss": float("inf"), "seconds": 0.0, "data_seconds": 0.0}

    checkpoints = Checkpoints(out, identity)
    found = checkpoints.load()
    if found:
        state, kept = found["progress"], found["kept"]
        for part, saved in zip([network, average.model, *optimizers], found["parts"], strict=True):
            part.load_state_dict(saved)

    stops = {-(-steps * i // VALIDATIONS) for i in range(1, VALIDATIONS + 1)}  # evenly, the last at the end
    losses, began, saved = [], time.monotonic() - state["seconds"], time.monotonic()
    length = {"total": steps * config.batch, "initial": state["step"] * config.batch, "unit": "slice"}
    bar = tqdm(**length, desc=f"train {contrast}", disable=quiet())
    for step in range(state["step"], steps):
        # math.cos: a numpy number in the optimizer's state is what torch.load(weights_only=True) refuses
        lr = config.lr * (0.5 * (1 + math.cos(math.pi * step / steps)) if config.lr_schedule == "cosine" else 1.0)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = lr
            optimizer.zero_grad(set_to_none=True)
        begun = time.monotonic()
        places = range(step * config.batch, (step + 1) * config.batch)
        slices = data.batch(config.seed, places[mine]).to(device, memory_format=layout)
        if config.augment:  # by the slice's place: the same in batches of any size, shared by any number of processes
            slices = augment.apply(slices, [augment.draw((config.seed, place)) for place in places[mine]])
        x0 = 2 * slices - 1
        state["data_seconds"] += time.monotonic() - begun
        shape = (config.batch, *x0.shape[1:])  # drawn for the whole batch
        t, noise = (whole[mine] for whole in draw_times_and_noise(diffusion, shape, (config.seed, step), t_range))
        loss = diffusion.p_losses(x0, t, noise)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        update_average(average, diffusion, config.ema_decay, step)
        for name in EARLY:
            if step + 1 == early_step(name, steps):
                kept[f"weights_{name}"] = snapshot(average)
        losses.append(accelerator.reduce(loss.detach(), "mean").item())
        if not math.isfinite(losses[-1]):
            raise ValueError(f"{out}: the loss of step {step + 1} is {losses[-1]}; lower `lr`.{checkpoints.left()}")
        bar.update(config.batch)

        state["step"], state["seconds"] = step + 1, time.monotonic() - began
        if step + 1 in stops:
            with accelerator.autocast():
                val_loss = validation_loss(average, fixed, t_range)
            if not math.isfinite(val_loss):
                text = f"after {step + 1} steps the validation loss is {val_loss}; lower `lr`."
                raise ValueError(f"{out}: {text}{checkpoints.left()}")
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
                parts = [part.state_dict() for part in (network, average.model, *optimizers)]
                checkpoints.save({"parts": parts, "kept": kept, "progress": state})
                saved = time.monotonic()
    bar.close()

    log = pd.DataFrame(state["log"])
    if accelerator.is_main_process:
        description = {"contrast": contrast, "voxel_mm": data.voxel_mm, "steps": steps, "val_loss": state["best_loss"]}
        description |= {"training": config.model_dump(), "preprocessing": preprocessing.model_dump()}
        with writing(out / "log.csv") as path:
            log.to_csv(path, index=False)
        write_json(out / "config.json", description)
        for name, weights in kept.items():
            with writing(out / f"{name}.safetensors") as path:
                save_file(weights, path)
        checkpoints.remove()
    accelerator.wait_for_everyone()
    return log


def snapshot(diffusion):
    """A copy of the network's weights, contiguous and on the CPU."""
    weights = diffusion.model.state_dict()
    return {k: v.cpu().clone(memory_format=torch.contiguous_format) for k, v in weights.items()}


def computes_bfloat16(device):
    """Whether the hardware multiplies in bfloat16 itself; elsewhere autocast would only slow it down."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


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
