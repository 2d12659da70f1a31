"""Trainings that several test files look at, made once a file."""

import pytest
from helpers import AS_IT_IS, healthy_scans, tiny
from trainings import tiny_autoencoder

from essim.train import loop
from essim.train.autoencoder import train_autoencoder


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return healthy_scans(tmp_path_factory.mktemp("healthy"))


@pytest.fixture(scope="module")
def finished(scans, tmp_path_factory):
    """A training that nothing interrupted: its folder."""
    out = tmp_path_factory.mktemp("models") / "t2"
    loop.train(tiny(), scans, "t2", AS_IT_IS, out)
    return out


@pytest.fixture(scope="module")
def autoencoders(scans, tmp_path_factory):
    """A model folder with an autoencoder and a VAE."""
    out = tmp_path_factory.mktemp("autoencoders") / "t2"
    for variational in (False, True):
        train_autoencoder(tiny_autoencoder(), variational, scans, "t2", AS_IT_IS, out)
    return out


@pytest.fixture
def save_always(monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1)
