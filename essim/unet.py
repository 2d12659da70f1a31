"""The time-conditioned U-Net that predicts a healthy slice from a noised one.

In: noised slices [N, 1, H, W] in about [-1, 1] and their times t (1..T). Out: [N, 1, H, W].
Paper: section 3 (implementation); the blocks follow Dhariwal & Nichol (2021).

    x -> unshuffle -> conv -> [blocks, halve]* -> block, attention, block -> [double, blocks]* -> conv -> shuffle -> y
                                   `---------------- skip connections ----------------'
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


def time_embedding(t, channels):
    """Sinusoidal embedding of the times t [N]: float32 [N, channels] (Vaswani et al., 2017)."""
    half = channels // 2
    frequencies = torch.exp(-math.log(10_000) / half * torch.arange(half, dtype=torch.float32, device=t.device))
    angles = t[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class GroupNorm(nn.GroupNorm):
    """Group normalisation [N, C, H, W] -> the same shape; a time may scale and shift the channels, in the same pass:

    y = (1 + scale) (weight (x - mean) / sd + bias) + shift        scale, shift: [N, C], or [1, C] for all images
    """

    def forward(self, x, scale=None, shift=None):
        n, c, height, width = x.shape
        weight, bias = self.weight, self.bias
        if scale is not None:
            weight, bias = weight * (1 + scale), bias * (1 + scale) + shift
        if x.device.type == "cpu" and c < 16 * self.num_groups and height * width < 1024:
            x = x.contiguous()  # in channels_last, torch's loops over few channels of few pixels are slow
        # torch has one weight per channel: images with weights of their own are taken for the channels of one image
        rows = weight.numel() // c
        h = x.reshape(n // rows, rows * c, height, width)
        return F.group_norm(h, rows * self.num_groups, weight.flatten(), bias.flatten(), self.eps).view_as(x)


def norm(channels):
    """Group normalisation with 32 groups (8 in narrow networks, so that a group holds at least 4 channels)."""
    return GroupNorm(32 if channels % 128 == 0 else 8, channels)


class ResidualBlock(nn.Module):
    """[N, in, H, W] -> [N, out, H, W]; the time scales and shifts the normalised features (scale-shift)."""

    def __init__(self, channels_in, channels_out, channels_time):
        super().__init__()
        self.norm1 = norm(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.time = nn.Linear(channels_time, 2 * channels_out)
        self.norm2 = norm(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.skip = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()
        nn.init.zeros_(self.conv2.weight)  # a new block starts as the identity
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x, time):
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.norm2(h, *self.time(F.silu(time)).chunk(2, dim=1))
        return self.conv2(F.silu(h)).add_(self.skip(x))


class Double(nn.Conv2d):
    """[N, in, H, W] -> [N, out, 2H, 2W]: nearest neighbour, then a 3 x 3 convolution, computed from the H x W pixels.

    Of three neighbours in the doubled image two are copies of one pixel, so that their weights (u, v, w) can be added:

        output 2i     = u x[i-1] + (v + w) x[i]
        output 2i + 1 = (u + v) x[i] + w x[i+1]

    This is a transposed convolution of stride 2 with the weights (w, v + w, u + v, u): four products along an axis for
    two outputs instead of six.
    """

    def __init__(self, channels_in, channels_out):
        super().__init__(channels_in, channels_out, 3, padding=1)

    def forward(self, x):
        backwards = self.weight.flip(-2, -1).transpose(0, 1)
        sums = F.avg_pool2d(backwards, 2, stride=1, padding=1, divisor_override=1)  # of neighbours: 3 x 3 -> 4 x 4
        return F.conv_transpose2d(x, sums, self.bias, stride=2, padding=1)


class Attention(nn.Module):
    """Self-attention over all positions: [N, C, H, W] -> the same shape, `head_channels` channels per head."""

    def __init__(self, channels, head_channels):
        super().__init__()
        if channels % head_channels:
            raise ValueError(f"head_channels={head_channels} must divide the {channels} channels of the bottleneck.")
        self.heads = channels // head_channels
        self.norm = norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x):
        n, c, height, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(n, 3, self.heads, c // self.heads, height * width)
        q, k, v = qkv.transpose(-1, -2).contiguous().unbind(1)  # each [N, heads, H*W, C/heads]
        h = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(h.transpose(-1, -2).reshape(n, c, height, width))


class UNet(nn.Module):
    """Residual U-Net, time-conditioned; the defaults are the paper's network.

    Args:
        channels: channels of the first level; a multiple of 8.
        multipliers: channels of each level, as multiples of `channels`; each level halves the resolution.
        blocks: residual blocks per level (one more on the way up).
        head_channels: channels of an attention head (attention at the bottleneck only).
        patch: p > 1 folds p x p pixels into channels before the first convolution and unfolds them after the last:
            p^2 times fewer positions, for CPUs.
        tones: how many quantiles of each slice's volume the network is given (`essim.tone`); 0: none.

    Input [N, 1, H, W] with H and W divisible by patch * 2^(len(multipliers) - 1); t [N] in 1..T, or [1] for all
    slices; and the tone [N, tones] in [0, 1], or [1, tones] for all, if there are any. Output [N, 1, H, W].

    >>> import essim, torch
    >>> network = essim.UNet(channels=32, multipliers=(1, 2), blocks=1, head_channels=32, patch=4)
    >>> network(torch.zeros(2, 1, 96, 96), torch.tensor([1, 500])).shape
    torch.Size([2, 1, 96, 96])
    """

    def __init__(self, channels=128, multipliers=(1, 2, 2), blocks=3, head_channels=64, patch=1, tones=0):
        super().__init__()
        self.channels, self.patch, self.tones = channels, patch, tones
        self.divisor = patch * 2 ** (len(multipliers) - 1)
        widths = [channels * m for m in multipliers]
        time = 4 * channels
        self.time = nn.Sequential(nn.Linear(channels, time), nn.SiLU(), nn.Linear(time, time))
        self.stem = nn.Conv2d(patch**2, channels, 3, padding=1)

        self.down, skips, width = nn.ModuleList(), [channels], channels
        for level, out in enumerate(widths):
            if level:
                self.down.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                skips.append(width)
            for _ in range(blocks):
                self.down.append(ResidualBlock(width, out, time))
                skips.append(out)
                width = out

        self.middle = nn.ModuleList(
            [ResidualBlock(width, width, time), Attention(width, head_channels), ResidualBlock(width, width, time)]
        )

        self.up = nn.ModuleList()
        for level, out in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                self.up.append(ResidualBlock(width + skips.pop(), out, time))
                width = out
            if level:
                self.up.append(Double(width, width))

        self.head = nn.Sequential(norm(width), nn.SiLU(), nn.Conv2d(width, patch**2, 3, padding=1))
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)
        if tones:  # last and from 0: the network starts out as the one without tones
            self.tone = nn.Linear(tones, time, bias=False)
            nn.init.zeros_(self.tone.weight)

    def forward(self, x, t, tone=None):
        if x.ndim != 4 or x.shape[1] != 1 or x.shape[2] % self.divisor or x.shape[3] % self.divisor:
            raise ValueError(
                f"UNet: input must be [N, 1, H, W] with H and W divisible by {self.divisor}, got {list(x.shape)}; "
                "set the preprocessing `shape` accordingly."
            )
        if t.shape not in ((len(x),), (1,)):
            raise ValueError(f"UNet: t must be [{len(x)}] or [1], a time for each slice or one, got {list(t.shape)}.")
        time = self.time(time_embedding(t, self.channels))
        if self.tones or tone is not None:
            time = time + self._embed(tone, len(x))
        h = self.stem(F.pixel_unshuffle(x, self.patch))
        skips = [h]
        for layer in self.down:
            h = layer(h, time) if isinstance(layer, ResidualBlock) else layer(h)
            skips.append(h)
        first, attention, last = self.middle
        h = last(attention(first(h, time)), time)
        for layer in self.up:
            h = layer(h) if isinstance(layer, Double) else layer(torch.cat([h, skips.pop()], dim=1), time)
        return F.pixel_shuffle(self.head(h), self.patch)

    def _embed(self, tone, count):
        """What the tone adds to the time embedding of `count` slices; ValueError where it doesn't fit the network."""
        if not self.tones:
            raise ValueError("UNet: this network was trained without tones; leave `tone` out.")
        if tone is None or tone.shape not in ((count, self.tones), (1, self.tones)):
            found = None if tone is None else list(tone.shape)
            raise ValueError(
                f"UNet: this network needs a `tone` [{count}, {self.tones}] or [1, {self.tones}], got {found}; "
                "get it from the slices' volume with `essim.reconstruct.tone_for`."
            )
        return self.tone(2 * tone - 1)  # from -1 to 1, like the slices
