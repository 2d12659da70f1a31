"""The classical reconstructions that the diffusion model is compared with: an autoencoder and a VAE on axial slices.

In: the scan table (healthy train and val rows of one contrast) and an `AutoencoderConfig`. Out: in a model folder, for
the kinds `ae` and `vae` each, <kind>.safetensors (the best validation loss), <kind>.json (what rebuilds it) and
<kind>.csv (how it was trained); and from there a network that gives back a volume as if healthy.
Paper: section 1 (related work). Both follow C. Baur et al. (Medical Image Analysis 69:101952, 2021): convolutions of
stride 2 down to a latent z that keeps the image's two axes, and nothing that leads around it.

The autoencoder learns y = g(f(x)) on healthy slices. What doesn't fit through z, it can only guess, and it guesses
healthy. The VAE's f gives the mean and the variance of a normal distribution instead, kept near N(0, 1) by

    loss = mean |x - y| + beta KL(N(mean, variance) || N(0, 1)) / pixels,          y = g(z),  z ~ N(mean, variance),

which bounds the likelihood of x under Laplace noise of scale beta around y; it reconstructs from the mean. The error is
l1, the diffusion model's loss and the plainest score: the same slices, the same aim, another network. It is taken over
the whole slice, whose outside of 0 costs nothing once it is learned.
"""

import itertools
import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm

from essim.noise import gaussian_noise
from essim.runs.files import write_json, writing
from essim.settings import AutoencoderConfig
from essim.train.slices import HealthySlices

KINDS = ("ae", "vae")
ENDINGS = ("safetensors", "json", "csv")
VALIDATIONS = 20  # validation passes (and log lines) a training
VALIDATION_SLICES = 64
SLICES = 64  # slices that the network sees at once when it reconstructs


def _pick_device():  # as in essim.models, without which a new U-Net leaves these trainings alone
    return "cuda" if torch.cuda.is_available() else "cpu"


def _convolution(inside, outside, stride=1):
    # over the batch: a norm over each slice alone would forget how bright it is
    return [nn.Conv2d(inside, outside, 3, stride, 1), nn.BatchNorm2d(outside), nn.SiLU()]


class Autoencoder(nn.Module):
    """Slices [N, 1, H, W] in [0, 1] through a latent [N, latent, H / 2^levels, W / 2^levels] and back.

    H and W may be any size: a slice is filled up with zeros to a multiple of 2^levels, and cut again.
    """

    def __init__(self, *, channels, latent, levels, variational):
        super().__init__()
        self.levels, self.variational = levels, variational
        widths = [channels * min(2**level, 4) for level in range(levels)]
        down = [_convolution(a, b, stride=2) for a, b in itertools.pairwise([1, *widths])]
        self.encoder = nn.Sequential(*sum(down, []), nn.Conv2d(widths[-1], (1 + variational) * latent, 1))
        up = [[*_convolution(a, b), nn.Upsample(scale_factor=2)] for a, b in itertools.pairwise(widths[::-1])]
        # the last doubling is a pixel shuffle: no convolution at full size, where most of the time would go
        last = [nn.Conv2d(widths[0], 4, 3, padding=1), nn.PixelShuffle(2)]
        self.decoder = nn.Sequential(*_convolution(latent, widths[-1]), *sum(up, []), *last)

    def encode(self, x):
        """The latent [N, latent, H', W'] of slices: (mean, log-variance), the autoencoder's being (latent, None)."""
        fill = [-size % 2**self.levels for size in x.shape[2:]]
        z = self.encoder(F.pad(x, (0, fill[1], 0, fill[0])))
        return z.chunk(2, dim=1) if self.variational else (z, None)

    def forward(self, x, seed=None):
        """(y, KL): the slices rebuilt [N, 1, H, W], and the KL divergence, the batch's mean in nats a pixel.

        With a `seed` the VAE's z is drawn, without it is the mean. The autoencoder has neither draw nor KL (0).
        """
        z, log_variance = self.encode(x)
        divergence = x.new_zeros(())
        if self.variational:
            divergence = 0.5 * (z**2 + log_variance.exp() - 1 - log_variance).sum() / x.numel()
            if seed is not None:
                z = z + (0.5 * log_variance).exp() * gaussian_noise(z.shape, seed=seed, device=z.device)
        return self.decoder(z)[:, :, : x.shape[2], : x.shape[3]], divergence

    @torch.no_grad()
    def reconstruct(self, volume, mask):
        """A volume [H, W, D] in [0, 1] as if healthy: the same shape, 0 outside the mask, slice by slice."""
        device = next(self.parameters()).device
        filled = np.flatnonzero(mask.any((0, 1)))
        slices = torch.from_numpy(np.ascontiguousarray(volume.transpose(2, 0, 1)[filled]))[:, None]
        parts = [self(part.to(device))[0].clamp(0, 1).cpu() for part in slices.split(SLICES)]
        result = np.zeros_like(volume)
        result[:, :, filled] = torch.cat(parts)[:, 0].numpy().transpose(1, 2, 0)
        return result * mask


def build_autoencoder(config, variational):
    """An untrained `Autoencoder` from an `AutoencoderConfig`; the seed fixes its weights."""
    with torch.random.fork_rng(devices=[]):  # building a network must not reseed the caller's noise
        torch.manual_seed(config.seed)
        return Autoencoder(
            channels=config.channels, latent=config.latent, levels=config.levels, variational=variational
        )


@torch.no_grad()
def validation_losses(model, slices):
    """(mean |x - y|, KL in nats a pixel) on fixed slices [M, 1, H, W], without drawing: comparable all through."""
    parts = [(len(part), *_losses(model, part)) for part in slices.split(SLICES)]
    return tuple(sum(part[0] * part[i].item() for part in parts) / len(slices) for i in (1, 2))


def _losses(model, x, seed=None):
    y, divergence = model(x, seed)
    return (x - y).abs().mean(), divergence


def train_autoencoder(config, variational, scans, contrast, preprocessing, out, cache=None):
    """Train on the healthy scans of one contrast: minutes, so that a training that was stopped starts again.

    Args:
        config: an `AutoencoderConfig`. variational: a VAE instead of an autoencoder. scans: the scan table.
        contrast: "t1" or "t2". preprocessing: a `Preprocessing`. out: the folder to write to. cache: as in `load_scan`.

    Returns: the log, a DataFrame `step, train_loss, val_loss, val_kl, lr, seconds`; the losses are mean |x - y|, in
        training with z drawn, the KL is in nats a pixel.

    Raises:
        ValueError: there are no scans, or the loss is no number any more.
    """
    kind, out, device = KINDS[variational], Path(out), _pick_device()
    rows = scans[(scans.dataset == "healthy") & (scans.contrast == contrast)]
    data = HealthySlices(rows[rows.split == "train"], preprocessing, "train", cache)
    unseen = HealthySlices(rows[rows.split == "val"], preprocessing, "val", cache)
    fixed = unseen.spread(VALIDATION_SLICES).to(device)
    model = build_autoencoder(config, variational).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, fused=True)

    stops = {-(-config.steps * i // VALIDATIONS) for i in range(1, VALIDATIONS + 1)}  # evenly, the last at the end
    log, losses, began = [], [], time.monotonic()
    best_loss, best = math.inf, None
    bar = tqdm(range(config.steps), desc=f"train {kind} {contrast}", unit="step")
    for step in bar:
        lr = optimizer.param_groups[0]["lr"] = config.lr * 0.5 * (1 + math.cos(math.pi * step / config.steps))
        x = data.batch(config.seed, range(step * config.batch, (step + 1) * config.batch)).to(device)
        noise = int(np.random.SeedSequence([config.seed, step]).generate_state(1)[0])
        error, divergence = _losses(model, x, noise)
        loss = error + config.beta * divergence
        if not math.isfinite(loss.item()):
            raise ValueError(f"{out}: the {kind}'s loss of step {step + 1} is {loss.item()}; lower `lr`.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(error.item())
        if step + 1 not in stops:
            continue
        val_loss, val_kl = validation_losses(model.eval(), fixed)
        model.train()
        seconds = time.monotonic() - began
        line = {"step": step + 1, "train_loss": float(np.mean(losses)), "val_loss": val_loss, "val_kl": val_kl}
        log.append(line | {"lr": lr, "seconds": seconds})
        losses = []
        bar.set_postfix(train=f"{line['train_loss']:.4f}", val=f"{val_loss:.4f}")
        if val_loss < best_loss:
            best_loss, best = val_loss, {k: v.cpu().clone() for k, v in model.state_dict().items()}

    description = {"kind": kind, "contrast": contrast, "voxel_mm": data.voxel_mm, "val_loss": best_loss}
    description |= {"autoencoder": config.model_dump(), "preprocessing": preprocessing.model_dump()}
    log = pd.DataFrame(log)
    with writing(out / f"{kind}.csv") as path:
        log.to_csv(path, index=False)
    write_json(out / f"{kind}.json", description)
    with writing(out / f"{kind}.safetensors") as path:
        save_file(best, path)
    return log


def load_autoencoder(folder, kind, device=None):
    """The trained `Autoencoder` of a model folder, in evaluation mode; `kind` is "ae" or "vae".

    Raises:
        FileNotFoundError: weights or description are missing.
        ValueError: the weights are damaged or belong to another architecture than <kind>.json says.
    """
    description, weights = (Path(folder) / f"{kind}.{ending}" for ending in ("json", "safetensors"))
    for path in (description, weights):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; train the model first (notebook 03_baselines).")
    try:
        model = build_autoencoder(AutoencoderConfig(**_read(description)["autoencoder"]), kind == "vae")
    except (ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{description}: does not describe a model ({reason}); train the model again.") from error
    try:
        model.load_state_dict(load_file(weights))
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{weights}: does not fit the architecture in {description.name} or is damaged ({reason}); "
            f"train the model again or put the matching {description.name} beside it."
        ) from error
    return model.to(device or _pick_device()).eval()


def take_autoencoder(folder, out, kind, config, *, contrast, preprocessing):
    """Put an autoencoder or a VAE that came trained where a training would have put it, as `models.take_trained`.

    Returns: the log of its training, as `train_autoencoder` does.

    Raises:
        FileNotFoundError: a file of the folder is missing.
        ValueError: it was trained with other settings, or `load_autoencoder` can't read it.
    """
    folder, out = Path(folder), Path(out)
    load_autoencoder(folder, kind)
    log = folder / f"{kind}.csv"
    if not log.is_file():
        raise FileNotFoundError(f"{log}: no such file; copy the whole model folder.")
    made, description = _read(folder / f"{kind}.json"), folder / f"{kind}.json"
    if made["contrast"] != contrast:
        raise ValueError(f"{description}: is a network for {made['contrast']}, the study asks for {contrast}.")
    for name, settings in (("autoencoder", config), ("preprocessing", preprocessing)):
        was, wanted = type(settings)(**made[name]).model_dump(), settings.model_dump()
        others = [f"`{key}` {was[key]}, the study asks for {wanted[key]}" for key in was if was[key] != wanted[key]]
        if others:
            raise ValueError(f"{description}: was made with another `{name}`: {'; '.join(others)}.")
    for ending in ENDINGS:
        with writing(out / f"{kind}.{ending}") as path:
            shutil.copyfile(folder / f"{kind}.{ending}", path)
    return pd.read_csv(out / f"{kind}.csv")


def _read(description):
    return json.loads(description.read_text(encoding="utf-8"))
