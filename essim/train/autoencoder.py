"""The classical reconstructions that the diffusion model is compared with: an autoencoder and a VAE on axial slices.

In: the scan table (healthy train and val rows of one contrast) and an `AutoencoderConfig`. Out: in a model folder
{ae,vae}.safetensors (the best validation loss), .json (what rebuilds it) and .csv (how it was trained); and from there
a network that reconstructs a volume as if healthy.
Paper: section 1 (related work). Both follow C. Baur et al. (Medical Image Analysis 69:101952, 2021): convolutions of
stride 2 down to a latent z that keeps the image's two axes, and no skip connection around it.

The autoencoder learns y = g(f(x)) on healthy slices. What doesn't fit through z it can only guess, and it guesses
healthy. The VAE's f gives the mean and the variance of a normal distribution instead, kept near N(0, 1) by

    loss = mean |x - y| + beta KL(N(mean, variance) || N(0, 1)) / pixels,          y = g(z),  z ~ N(mean, variance),

which bounds the likelihood of x under Laplace noise of scale beta around y; it reconstructs from the mean. The error is
l1, like the diffusion model's loss and the simplest score. It is taken over the whole slice: background costs nothing
once it is learned.
"""

import itertools
import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from essim.noise import gaussian_noise
from essim.reconstruct import by_slices
from essim.settings import AutoencoderConfig
from essim.train.checkpoints import snapshot, write_model
from essim.train.optim import cosine, validates
from essim.train.slices import VALIDATION_SLICES, load_healthy
from essim.train.trained import AUTOENCODERS
from essim.unet import Double
from essim.weights import load_network, pick_device

VALIDATIONS = 20  # validation passes (and log lines) per training


def _normed(convolution):
    # over the batch: a norm over each slice alone would forget how bright it is
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.SiLU()]


class Autoencoder(nn.Module):
    """Slices [N, 1, H, W] in [0, 1] through a latent [N, latent, H / 2^levels, W / 2^levels] and back.

    H and W may be any size: a slice is padded with zeros to a multiple of 2^levels, and cropped again.
    """

    def __init__(self, channels, latent, levels, variational):
        super().__init__()
        self.levels, self.variational = levels, variational
        widths = [channels * min(2**level, 4) for level in range(levels)]
        down = [_normed(nn.Conv2d(a, b, 3, 2, 1)) for a, b in itertools.pairwise([1, *widths])]
        self.encoder = nn.Sequential(*sum(down, []), nn.Conv2d(widths[-1], (1 + variational) * latent, 1))
        # Two convolutions of the latent's size, then one with each doubling; the last doubling is a pixel shuffle: no
        # convolution at full size, where most of the time would go.
        pairs = enumerate(itertools.pairwise([latent, *widths[::-1], 4]))
        *up, last = [Double(a, b) if i > 1 else nn.Conv2d(a, b, 3, padding=1) for i, (a, b) in pairs]
        self.decoder = nn.Sequential(*sum(map(_normed, up), []), last, nn.PixelShuffle(2))

    def encode(self, x):
        """The latent [N, latent, H', W'] of slices: (mean, log-variance), the autoencoder's being (latent, None)."""
        fill = [-size % 2**self.levels for size in x.shape[2:]]
        z = self.encoder(F.pad(x, (0, fill[1], 0, fill[0])))
        return z.chunk(2, dim=1) if self.variational else (z, None)

    def forward(self, x, seed=None):
        """(y, KL): the reconstructed slices [N, 1, H, W], and the KL divergence, the batch's mean in nats per pixel.

        With a `seed` the VAE's z is drawn; without one it is the mean. The autoencoder draws nothing, and its KL is 0.
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
        return by_slices(lambda slices, _: self(slices)[0].clamp(0, 1), volume, mask, device)


def build_autoencoder(config, variational):
    """An untrained `Autoencoder` from an `AutoencoderConfig`; the seed fixes its weights."""
    with torch.random.fork_rng(devices=[]):  # building a network must not reseed the caller's noise
        torch.manual_seed(config.seed)
        return Autoencoder(config.channels, config.latent, config.levels, variational)


@torch.no_grad()
def validation_losses(model, slices):
    """(mean |x - y|, KL in nats per pixel) on fixed slices [M, 1, H, W], without drawing: comparable throughout."""
    y, divergence = model(slices)
    return (slices - y).abs().mean().item(), divergence.item()


def train_autoencoder(config, variational, scans, contrast, preprocessing, out, cache=None):
    """Train on the healthy scans of one contrast; it takes minutes, so a stopped training run just starts over.

    Args:
        config: an `AutoencoderConfig`. variational: a VAE instead of an autoencoder. scans: the scan table.
        contrast: "t1", "t2" or "flair". preprocessing: a `Preprocessing`. out: the folder to write to.
        cache: as in `load_scan`.

    Returns: the log, a DataFrame `step, train_loss, val_loss, val_kl, lr, seconds`; the losses are mean |x - y|, in
        training with z drawn; the KL is in nats per pixel.

    Raises:
        ValueError: there are no scans, or the loss is no longer finite.
    """
    kind, out, device = AUTOENCODERS[variational], Path(out), pick_device()
    data, unseen = load_healthy(scans, contrast, preprocessing, cache)
    fixed = unseen.spread(VALIDATION_SLICES)[0].to(device)
    # in channels_last a training step takes a seventh less on a CPU
    model = build_autoencoder(config, variational).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, fused=True)

    log, errors, best, best_loss, began = [], [], None, math.inf, time.monotonic()
    bar = tqdm(range(config.steps), desc=f"train {kind} {contrast}", unit="step")
    for step in bar:
        lr = optimizer.param_groups[0]["lr"] = cosine(config.lr, step, config.steps)
        x = data.batch(config.seed, range(step * config.batch, (step + 1) * config.batch))[0].to(device)
        loss, error = _learn(model, optimizer, x, config, step)
        if not math.isfinite(loss):
            raise ValueError(f"{out}: the {kind}'s loss of step {step + 1} is {loss}; lower `lr`.")
        errors.append(error)
        if validates(step + 1, config.steps, VALIDATIONS):
            val_loss, val_kl = validation_losses(model.eval(), fixed)
            model.train()
            line = {"step": step + 1, "train_loss": float(np.mean(errors)), "val_loss": val_loss, "val_kl": val_kl}
            log.append(line | {"lr": lr, "seconds": time.monotonic() - began})
            errors = []
            bar.set_postfix(train=line["train_loss"], val=val_loss)
            if val_loss < best_loss:
                best_loss, best = val_loss, snapshot(model)

    description = {"kind": kind, "contrast": contrast, "voxel_mm": data.voxel_mm, "val_loss": best_loss}
    description |= {"autoencoder": config.model_dump(), "preprocessing": preprocessing.model_dump()}
    log = pd.DataFrame(log)
    write_model(out, {f"{kind}.csv": log, f"{kind}.json": description, f"{kind}.safetensors": best})
    return log


def _learn(model, optimizer, x, config, step):
    """Take one step; returns its loss and the part of it that is mean |x - y|."""
    y, divergence = model(x, int(np.random.SeedSequence([config.seed, step]).generate_state(1)[0]))
    error = (x - y).abs().mean()
    loss = error + config.beta * divergence
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item(), error.item()


def load_autoencoder(folder, kind, device=None):
    """The trained `Autoencoder` of a model folder, in evaluation mode; `kind` is "ae" or "vae".

    Raises:
        FileNotFoundError: weights or description are missing.
        ValueError: the weights are damaged or belong to another architecture than <kind>.json says.
    """

    def build(description):
        return build_autoencoder(AutoencoderConfig(**description["autoencoder"]), kind == "vae")

    files = Path(folder) / f"{kind}.json", Path(folder) / f"{kind}.safetensors"
    network = load_network(build, *files, notebook="03_baselines")
    return network.to(device or pick_device(), memory_format=torch.channels_last).eval()
