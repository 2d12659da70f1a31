"""What the tests of training share: the same result, and a training that is stopped."""

import pandas as pd

from essim.settings import AutoencoderConfig

WEIGHTS = ["weights.safetensors", "weights_quarter.safetensors", "weights_sixteenth.safetensors"]


def tiny_autoencoder(**changes):
    """A training of a second."""
    few = {"steps": 8, "batch": 4, "lr": 2e-3, "channels": 8, "latent": 4, "levels": 2, "beta": 0.03}
    return AutoencoderConfig(**few | changes)


def files(out):
    return sorted(p.name for p in out.iterdir())


def assert_same_result(one, two):
    assert files(one) == files(two)
    for name in ["config.json", *WEIGHTS]:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    logs = [pd.read_csv(out / "log.csv").drop(columns=["seconds", "data_seconds"]) for out in (one, two)]
    pd.testing.assert_frame_equal(*logs, check_exact=True)
