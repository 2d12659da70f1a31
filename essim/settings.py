"""What a study can set, validated: how scans are preprocessed, what is trained and for how long.

In: plain values from a notebook, a profile or config.json. Out: frozen objects.
The defaults are the paper's protocol.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Preprocessing(BaseModel):
    """What is done to a scan before anything else; the defaults are the paper's."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    smooth: bool = Field(True, description="curvature-flow smoothing, 3 iterations with time step 0.125")
    shape: tuple[int, int, int] = Field((192, 192, 100), description="centre crop or pad to these voxels (H, W, D)")
    factor: int = Field(2, ge=1, description="then downsample by this factor, B-spline")


class TrainConfig(BaseModel):
    """The network, the diffusion process and how long to train; the defaults are the paper's."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    seed: int = Field(0, ge=0)
    init: str = Field("", description="model folder whose weights training starts from; none: from scratch")
    epochs: int = Field(1600, ge=1, description="one random slice of each volume per epoch")
    batch: int = Field(32, ge=1, description="slices per step")
    optimizer: Literal["adam", "muon"] = Field("adam", description="muon: for the convolutions; Adam for the rest")
    lr: float = Field(1e-4, gt=0)
    lr_schedule: Literal["constant", "cosine"] = Field("constant", description="cosine: falls to 0 at the end")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="moving average of the weights; 0: none")
    channels: int = Field(128, ge=8, multiple_of=8)
    multipliers: tuple[int, ...] = Field((1, 2, 2), min_length=1)
    blocks: int = Field(3, ge=1)
    head_channels: int = Field(64, ge=1)
    patch: int = Field(1, ge=1, description="pixels folded into channels, per side")
    timesteps: int = Field(1000, ge=2)
    t_range: tuple[int, int] | None = Field(None, description="first and last noising step seen in training; None: all")
    schedule: Literal["cosine", "linear"] = "cosine"
    objective: Literal["pred_x0", "pred_noise"] = "pred_x0"
    noise: Literal["simplex", "simplex_shared", "gaussian"] = Field(
        "simplex", description="simplex_shared: one field for a whole batch, as in the paper's released code"
    )
    augment: bool = Field(True, description="gamma, bias field, blur and ghosting")
    randomise: bool = Field(False, description="tone, bias field, sharpness and noise as from any scanner")
    tone: bool = Field(False, description="the network is given the quantiles of the scan's intensities")
    bfloat16: bool = Field(False, description="autocast to bfloat16 where the hardware supports it")
    compile: bool = Field(False, description="torch.compile: faster after some minutes; needs a C++ compiler on a CPU")

    @model_validator(mode="after")
    def _t_range_lies_within_timesteps(self):
        first, last = self.t_range or (1, self.timesteps)
        if not 1 <= first <= last <= self.timesteps:
            raise ValueError(f"t_range must be two steps in order within 1..{self.timesteps}, got [{first}, {last}]")
        return self


class AutoencoderConfig(BaseModel):
    """The autoencoder and the VAE that the diffusion model is compared with, and how long they train."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    seed: int = Field(0, ge=0)
    steps: int = Field(20000, ge=1)
    batch: int = Field(32, ge=1, description="slices per step, one random slice of each volume per epoch")
    lr: float = Field(1e-3, gt=0, description="Adam's; falls to 0 along a cosine")
    channels: int = Field(32, ge=8, multiple_of=8, description="of the first level; up to four times as many below")
    latent: int = Field(32, ge=1, description="channels of the latent")
    levels: int = Field(4, ge=1, description="each halves height and width: the latent is 2^levels times smaller")
    beta: float = Field(0.03, ge=0, description="weight of the VAE's KL divergence: the scale of its Laplace noise")
