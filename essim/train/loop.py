"""Train the diffusion model on healthy slices.

In: the scan table (healthy train and val rows of one contrast) and a `TrainConfig`. Out: a model folder (essim.models),
whose weights are moving averages.
Paper: section 3 (training): axial slices, l1 loss.

Everything random is a function of the seed and an epoch, a step or a slice's place, never of what ran before: a killed
training run resumes from its checkpoint and ends with the weights that it would have had.
"""

import json
import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from tqdm import tqdm

from essim.models import EARLY, build_model, early_step, load_model
from essim.train import augment, randomise
from essim.train.checkpoints import Checkpoints, snapshot, write_model
from essim.train.optim import cosine, make_optimizers, validates
from essim.train.slices import VALIDATION_SLICES, load_healthy, quiet
from essim.weights import pick_device

VALIDATIONS = 40  # validation passes (and log lines) per training
CHECKPOINT_SECONDS = 30


def train(config, scans, contrast, preprocessing, out, cache=None, method=None):
    """Train on the healthy scans of one contrast, or resume a training that was stopped.

    Args:
        config: a `TrainConfig`. scans: the scan table. contrast: "t1", "t2" or "flair".
        preprocessing: a `Preprocessing`. out: the folder to write to. cache: as in `load_scan`.
        method: for a method other than the DDPM, a module of `essim.methods` with its name, `NETWORK`, its `build` and
            its `loss`, as `essim.methods.networks` describes them.

    Returns: the log, a DataFrame `step, epoch, train_loss, val_loss, lr, seconds, data_seconds`; the last two count
        from the beginning: all the time, and the time that the device waited for slices.

    Raises:
        FileNotFoundError, ValueError: there are no scans, the processes can't share a batch, the weights to begin with
            can't be read, or the loss is no longer finite.
    """
    bfloat16 = config.bfloat16 and computes_bfloat16(pick_device())
    accelerator = Accelerator(mixed_precision="bf16" if bfloat16 else "no", cpu=pick_device() == "cpu")
    out, processes = Path(out), accelerator.num_processes
    if config.batch % processes:
        raise ValueError(f"{out}: a batch of {config.batch} can't be shared by {processes} processes; change `batch`.")
    out.mkdir(parents=True, exist_ok=True)
    data, unseen = load_healthy(scans, contrast, preprocessing, cache)
    slices, tones = (part.to(accelerator.device) for part in unseen.spread(VALIDATION_SLICES))
    fixed = slices, tones if config.tone else None
    training = Training(config, data, accelerator, method)
    named = {"method": method.NETWORK} if method else {}
    identity = [config.model_dump(), preprocessing.model_dump(), contrast, data.checksum, unseen.checksum]
    checkpoints = Checkpoints(out, json.dumps([*identity, *named.values()]))
    training.go_on_from(checkpoints.load())

    done, steps, saved = training.progress["step"], training.steps, time.monotonic()
    length = {"total": steps * config.batch, "initial": done * config.batch, "unit": "slice"}
    bar = tqdm(**length, desc=f"train {contrast}", disable=quiet())
    for step in range(done, steps):
        checkpoints.refuse_nan(training.learn(step), f"the loss of step {step + 1}")
        bar.update(config.batch)
        if validates(step + 1, steps, VALIDATIONS):
            line = training.validate(*fixed)
            checkpoints.refuse_nan(line["val_loss"], f"after {step + 1} steps the validation loss")
            waited = f"{line['data_seconds'] / line['seconds']:.0%}"
            bar.set_postfix(train=line["train_loss"], val=line["val_loss"], waiting_for_data=waited)
            if time.monotonic() - saved > CHECKPOINT_SECONDS and accelerator.is_main_process:
                checkpoints.save(training.state())
                saved = time.monotonic()
    bar.close()

    log, best_loss = pd.DataFrame(training.progress["log"]), training.progress["best_loss"]
    if accelerator.is_main_process:
        description = {"contrast": contrast, "voxel_mm": data.voxel_mm, "steps": steps, "val_loss": best_loss}
        description |= named | {"training": config.model_dump(), "preprocessing": preprocessing.model_dump()}
        networks = {f"{name}.safetensors": weights for name, weights in training.kept.items()}
        write_model(out, {"log.csv": log, "config.json": description} | networks)
        checkpoints.remove()
    accelerator.wait_for_everyone()
    return log


class Training:
    """All that changes while the network learns: its weights and their average, the optimizers, the log."""

    def __init__(self, config, data, accelerator, method=None):
        self.config, self.data, self.accelerator, self.method = config, data, accelerator, method
        # on a CPU, channels_last makes the gradients slower
        self.layout = torch.channels_last if accelerator.device.type == "cuda" else torch.contiguous_format
        built = [method.build(config) if method else build_model(config.model_dump()) for _ in range(2)]
        models = [model.to(accelerator.device, memory_format=self.layout) for model in built]
        if config.init:
            begin_with(models, config.init)
        self.diffusion, self.average = models
        self.network = network = self.diffusion.model
        # from here on, diffusion.model is the one that averages gradients over the processes
        self.diffusion.model = accelerator.prepare_model(torch.compile(network) if config.compile else network)
        self.optimizers = make_optimizers(network, config)
        self.parts = [network, self.average.model, *self.optimizers]  # whose states a checkpoint holds
        self.t_range = config.t_range or (1, config.timesteps)
        self.steps = max(1, config.epochs * len(data) // config.batch)
        share = config.batch // accelerator.num_processes  # of a batch, for this process
        self.own = slice(accelerator.process_index * share, (accelerator.process_index + 1) * share)
        self.kept = {"weights": snapshot(self.average.model)}  # what is written at the end, by file name
        self.progress = {"step": 0, "log": [], "best_loss": math.inf, "seconds": 0.0, "data_seconds": 0.0}
        self.losses, self.began = [], time.monotonic()

    def state(self):
        """What a checkpoint holds."""
        parts = [part.state_dict() for part in self.parts]
        return {"parts": parts, "kept": self.kept, "progress": self.progress}

    def go_on_from(self, state):
        """Return to where a checkpoint was taken; None: stay at the beginning."""
        if state:
            self.progress, self.kept = state["progress"], state["kept"]
            for part, saved in zip(self.parts, state["parts"], strict=True):
                part.load_state_dict(saved)
            self.began = time.monotonic() - self.progress["seconds"]

    def learn(self, step):
        """Take one step; returns its loss, the mean over the processes."""
        lr = cosine(self.config.lr, step, self.steps) if self.config.lr_schedule == "cosine" else self.config.lr
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = lr
            optimizer.zero_grad(set_to_none=True)
        x0, tone = self.draw_slices(step)
        loss = self.loss(x0, (self.config.seed, step), tone)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        update_average(self.average, self.diffusion, self.config.ema_decay, step)
        for name in EARLY:
            if step + 1 == early_step(name, self.steps):
                self.kept[f"weights_{name}"] = snapshot(self.average.model)
        self.losses.append(self.accelerator.reduce(loss.detach(), "mean").item())
        self.progress |= {"step": step + 1, "seconds": time.monotonic() - self.began}
        return self.losses[-1]

    def loss(self, x0, key, tone):
        """The loss of this process's slices, a scalar; `key` (ints) fixes what is drawn."""
        if self.method:  # it draws separately in each process, so that their number matters
            key = (*key, self.accelerator.process_index)
            return self.method.loss(self.diffusion, x0, key=key, t_range=self.t_range, tone=tone)
        shape = (self.config.batch, *x0.shape[1:])  # drawn for the whole batch
        t, noise = (drawn[self.own] for drawn in draw_times_and_noise(self.diffusion, shape, key, self.t_range))
        return self.diffusion.p_losses(x0, t, noise, tone)

    def draw_slices(self, step):
        """This process's slices of a step, x0 [N, 1, H, W] in [-1, 1], and their tones [N, TONES], or None."""
        began, config = time.monotonic(), self.config
        places = range(step * config.batch, (step + 1) * config.batch)[self.own]
        slices, tones = self.data.batch(config.seed, places)
        slices = slices.to(self.accelerator.device, memory_format=self.layout)
        tones = tones.to(self.accelerator.device)
        # drawn by the slice's place: the same for any batch size and any number of processes; blur and ghosts come
        # second, since they leave no background that is 0
        for way, wanted, known in ((randomise, config.randomise, ()), (augment, config.augment, (self.data.pixel_mm,))):
            if wanted:
                changes = [way.draw((config.seed, place), *known) for place in places]
                slices, tones = way.apply(slices, changes), way.retone(tones, changes)
        x0 = 2 * slices - 1
        self.progress["data_seconds"] += time.monotonic() - began
        return x0, tones if config.tone else None

    def validate(self, slices, tones):
        """Add a line to the log, and return it; the averaged weights are kept if they are the best."""
        progress = self.progress
        with self.accelerator.autocast():
            val_loss = validation_loss(self.average, slices, self.t_range, tones, self.method)
        if val_loss < progress["best_loss"]:
            progress["best_loss"], self.kept["weights"] = val_loss, snapshot(self.average.model)
        step, lr = progress["step"], self.optimizers[0].param_groups[0]["lr"]
        epoch, train_loss = step * self.config.batch / len(self.data), float(np.mean(self.losses))
        line = {"step": step, "epoch": epoch, "train_loss": train_loss, "val_loss": val_loss, "lr": lr}
        progress["log"].append(line | {key: progress[key] for key in ("seconds", "data_seconds")})
        self.losses = []
        return progress["log"][-1]


def begin_with(models, folder):
    """Give diffusion models the weights of a model folder; ValueError where it holds a different network."""
    weights = load_model(folder, "cpu").state_dict()
    for model in models:
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(f"{folder}: is not the network that these settings describe; change `init`.") from error


def draw_times_and_noise(diffusion, shape, key, t_range):
    """t [N] uniform from the first to the last step of `t_range`, and noise of `shape`, fixed by the key (ints)."""
    t_seed, noise_seed = (int(np.random.SeedSequence([*key, i]).generate_state(1, np.uint64)[0] >> 1) for i in (2, 3))
    generator = torch.Generator().manual_seed(t_seed)
    t = torch.randint(t_range[0], t_range[1] + 1, (shape[0],), generator=generator)
    return t.to(diffusion.betas.device), diffusion.sample_noise(shape, seed=noise_seed)


@torch.no_grad()
def validation_loss(diffusion, slices, t_range, tones=None, method=None):
    """The loss on fixed slices [M, 1, H, W] in [0, 1], fixed noise, t spread over `t_range`: comparable throughout.

    `tones` [M, TONES] are those of the slices' volumes, for a network that takes them. A `method` draws its own t.
    """
    total, t = 0.0, torch.linspace(*t_range, len(slices)).round().long().to(slices.device)
    for i, (part, t_part) in enumerate(zip(slices.split(16), t.split(16), strict=True)):
        tone = None if tones is None else tones[16 * i : 16 * i + 16]
        if method:
            loss = method.loss(diffusion, 2 * part - 1, key=(i,), t_range=t_range, tone=tone)
        else:
            loss = diffusion.p_losses(2 * part - 1, t_part, diffusion.sample_noise(part.shape, seed=i), tone)
        total += len(part) * loss.item()
    return total / len(slices)


@torch.no_grad()
def update_average(average, model, decay, step):
    """Move the averaged weights towards the model's; a young average forgets faster."""
    decay = min(decay, (1 + step) / (10 + step))
    for a, b in zip(average.parameters(), model.parameters(), strict=True):
        a.lerp_(b, 1 - decay)


def computes_bfloat16(device):
    """Whether the hardware multiplies in bfloat16 natively; elsewhere autocast would only slow it down."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
