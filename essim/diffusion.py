"""Denoising diffusion: the schedule, the forward process, the loss, and the healthy reconstruction of a slice.

In: slices [N, 1, H, W]. Out: losses, noised slices, reconstructions. Paper: section 2 (DDPM); Ho et al. (2020);
the cosine schedule is Nichol & Dhariwal (2021).

With alpha_t = 1 - beta_t and abar_t = prod_{s<=t} alpha_s (`alphas_cumprod`), noising t steps at once is

    q_sample:                   x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise
    predict_start_from_noise:   x_0 = (x_t - sqrt(1 - abar_t) noise) / sqrt(abar_t)          (the same, solved for x_0)

The network sees x_t and t and predicts x_0 (or the noise). Trained on healthy slices only, it knows no lesions: noise a
slice to t = 500, where a lesion is drowned in noise but the anatomy is not, and the network predicts the slice as if it
were healthy, in one step: there is no reverse chain.

Time counts steps: t in 1..T, `alphas_cumprod[t - 1]`.
"""

import math

import numpy as np
import torch
from torch import nn

from essim.noise import NOISES


def make_betas(schedule, timesteps):
    """The noise variances beta_1..beta_T: float64 [T]. `schedule` is "cosine" or "linear"."""
    if schedule == "cosine":
        steps = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
        f = torch.cos((steps + 0.008) / 1.008 * math.pi / 2) ** 2  # abar_t = f(t) / f(0)
        return (1 - f[1:] / f[:-1]).clamp(max=0.999)
    if schedule == "linear":
        return (torch.linspace(1e-4, 0.02, timesteps, dtype=torch.float64) * (1000 / timesteps)).clamp(max=0.999)
    raise ValueError(f"schedule must be 'cosine' or 'linear', got {schedule!r}.")


class GaussianDiffusion(nn.Module):
    """A diffusion process around a network `model(x_t, t)`; images inside are scaled to [-1, 1].

    Args:
        model: network [N, 1, H, W], [N] or [1] -> [N, 1, H, W]; one with `tones` also takes the volume's tone (`tone`
            in the methods), as in `UNet`.
        timesteps: T.
        schedule: "cosine" or "linear".
        objective: what the network predicts, "pred_x0" or "pred_noise".
        noise: "simplex", "simplex_shared" (one field for a whole batch, as in the paper's released code) or "gaussian".

    >>> import essim, torch
    >>> network = essim.UNet(channels=32, multipliers=(1, 2), blocks=1, head_channels=32, patch=4)
    >>> diffusion = essim.GaussianDiffusion(network)
    >>> diffusion.reconstruct(torch.rand(2, 1, 96, 96), t=500, seed=0).shape
    torch.Size([2, 1, 96, 96])
    """

    def __init__(self, model, timesteps=1000, schedule="cosine", objective="pred_x0", noise="simplex"):
        super().__init__()
        if objective not in ("pred_x0", "pred_noise"):
            raise ValueError(f"objective must be 'pred_x0' or 'pred_noise', got {objective!r}.")
        if noise not in NOISES:
            raise ValueError(f"noise must be one of {sorted(NOISES)}, got {noise!r}.")
        self.model, self.timesteps = model, timesteps
        self.objective, self.noise = objective, noise
        betas = make_betas(schedule, timesteps)
        self.register_buffer("betas", betas.float(), persistent=False)
        self.register_buffer("alphas_cumprod", torch.cumprod(1 - betas, 0).float(), persistent=False)

    def sample_noise(self, shape, seed=None):
        """Noise of the process's kind: float32 [N, 1, H, W], one field per image, or (`simplex_shared`) one for all."""
        return NOISES[self.noise](shape, seed=seed, device=self.betas.device)

    def _abar(self, t):
        return self.alphas_cumprod[t - 1].reshape(-1, 1, 1, 1)

    def q_sample(self, x0, t, noise):
        """x0 [N, 1, H, W] in [-1, 1] after t (int64 [N], or [1] for all; 1..T) noising steps."""
        abar = self._abar(t)
        return abar.sqrt() * x0 + (1 - abar).sqrt() * noise

    def predict_start_from_noise(self, x_t, t, noise):
        """The x0 from which `q_sample` made x_t with this noise."""
        abar = self._abar(t)
        return (x_t - (1 - abar).sqrt() * noise) / abar.sqrt()

    @property
    def tones(self):
        """How many intensity quantiles of a slice's volume the network is given; 0: none."""
        return getattr(self.model, "tones", 0)

    def _predict(self, x_t, t, tone):
        return self.model(x_t, t) if tone is None else self.model(x_t, t, tone)

    def p_losses(self, x0, t, noise, tone=None):
        """l1 loss of the network's prediction, a scalar. x0 [N, 1, H, W] in [-1, 1], t [N] in 1..T."""
        prediction = self._predict(self.q_sample(x0, t, noise), t, tone)
        target = x0 if self.objective == "pred_x0" else noise
        return (prediction - target).abs().mean()

    def predict_start(self, x_t, t, tone=None):
        """The network's estimate of x0, in [-1, 1]."""
        prediction = self._predict(x_t, t, tone)
        x0 = prediction if self.objective == "pred_x0" else self.predict_start_from_noise(x_t, t, prediction)
        return x0.clamp(-1, 1)

    @torch.no_grad()
    def reconstruct(self, x, t=500, draws=1, seed=None, tone=None):
        """The slices x as if they were healthy (paper, section 3).

        Args:
            x: float32 [N, 1, H, W] in [0, 1].
            t: noising steps, an int in 1..T or a list of them to average over.
            draws: independent draws of the noise to average over, for each t.
            seed: an int or a list of ints gives the same noise again; None gives new noise.
            tone: for a network with `tones`, float32 [N, tones] in [0, 1], or [1, tones] for slices of one volume.

        Returns: float32 [N, 1, H, W] in [0, 1], on the device of x.
        """
        times = np.atleast_1d(t).tolist()
        if not times or not all(1 <= step <= self.timesteps for step in times):
            raise ValueError(f"reconstruct: t must lie in 1..{self.timesteps}, got {t}.")
        if draws < 1:
            raise ValueError(f"reconstruct: draws must be at least 1, got {draws}.")
        streams = np.random.SeedSequence(seed).generate_state(len(times) * draws)
        total = torch.zeros_like(x)
        for step, stream in zip(np.repeat(times, draws), streams, strict=True):
            steps = torch.tensor([int(step)], device=x.device)  # the same for all slices
            noise = self.sample_noise(x.shape, seed=int(stream))
            total += self.predict_start(self.q_sample(2 * x - 1, steps, noise), steps, tone)
        return (total / len(streams) + 1) / 2
