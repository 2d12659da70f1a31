"""Tiny networks of every method, and a scan for them."""

import helpers
import numpy as np
import torch
from trainings import tiny_autoencoder

from essim.methods.networks import networks
from essim.methods.registry import reconstructors
from essim.models import build_model
from essim.train.autoencoder import build_autoencoder

ENTRIES = reconstructors()
TRAINED = sorted(name for name, module in networks().items() if hasattr(module, "build"))
ALIKE = {"blur", "ae", "vae", "dae"}  # these draw nothing


def scan():
    """A brain in [0, 1] and its mask."""
    image, mask = helpers.brain()
    return np.clip(image / image.max(), 0.05, 1) * mask, mask


def network(name, **changes):
    """An untrained network that a method takes, whose weights aren't 0 anywhere; None for one that takes none."""
    if name in ("ae", "vae"):
        return build_autoencoder(tiny_autoencoder(), name == "vae").eval()
    if name is None:
        return None
    config, owner = helpers.tiny(**changes), networks()[name]
    model = owner.build(config) if hasattr(owner, "build") else build_model(config.model_dump())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return model.eval()


def slices(count=3, seed=0):
    """Slices [N, 1, 16, 16] in [0, 1], 0 in a frame around."""
    x = torch.zeros(count, 1, 16, 16)
    x[:, :, 2:-2, 3:-3] = 0.1 + 0.9 * torch.rand(count, 1, 12, 10, generator=torch.Generator().manual_seed(seed))
    return x


def stub(model, answer):
    """The model with a function of x_t, t and anything else instead of its network; it has no tone."""
    network = torch.nn.Module()
    network.forward, network.tones = answer, 0
    model.model = network
    return model
