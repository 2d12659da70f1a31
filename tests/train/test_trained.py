"""A pretrained network takes the place of a training: its files as they are, and only those of the same settings."""

import json
from pathlib import Path

import pandas as pd
import pytest
from helpers import AS_IT_IS, sentence, tiny
from profiles import read_profile
from trainings import tiny_autoencoder

from essim.models import load_lengths, load_model
from essim.settings import AutoencoderConfig, Preprocessing, TrainConfig
from essim.train.autoencoder import load_autoencoder
from essim.train.trained import AUTOENCODERS, take_trained

ALIKE = {"contrast": "t2", "preprocessing": AS_IT_IS}
HOW = {"training": tiny()} | ALIKE


both = pytest.mark.parametrize("kind", AUTOENCODERS)


def copy(finished, folder, names):
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes((finished / name).read_bytes())
    return folder


# The diffusion model


def test_a_trained_network_is_taken_as_it_is(finished, tmp_path):
    log = take_trained(finished, tmp_path / "model", load_model, **HOW)
    pd.testing.assert_frame_equal(log, pd.read_csv(finished / "log.csv"))
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["config.json", "log.csv", "weights.safetensors"]
    for path in (tmp_path / "model").iterdir():
        assert path.read_bytes() == (finished / path.name).read_bytes()
    assert list(load_lengths(tmp_path / "model")) == [12]  # nothing is known of how it got there
    assert list(load_lengths(finished)) == [1, 3, 12]


@pytest.mark.parametrize("contrast", ["t1", "t2", "flair"])
@pytest.mark.parametrize("kind", ["laptop", "anatomies"])
def test_the_networks_in_the_repository_are_those_of_their_profile(tmp_path, kind, contrast):
    folder = Path(__file__).resolve().parents[2] / f"models/{kind}_{contrast}"
    profile = read_profile("pretrained")
    training = TrainConfig(seed=profile["seeds"][0], **profile["training"])
    how = {"contrast": contrast, "training": training, "preprocessing": Preprocessing(**profile["preprocessing"])}
    log = take_trained(folder, tmp_path, load_model, **how)
    assert log.val_loss.min() == json.loads((tmp_path / "config.json").read_text())["val_loss"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"contrast": "t1"}, "is a network for t2, the study asks for t1"),
        ({"training": tiny(patch=4, blocks=2, lr=0.5)}, "`training`: `blocks` 1, the study asks for 2; `patch` 2"),
        ({"preprocessing": AS_IT_IS.model_copy(update={"smooth": True})}, "`smooth` False, the study asks for True"),
    ],
)
def test_a_network_of_another_training_is_refused(finished, tmp_path, change, named):
    with pytest.raises(ValueError) as caught:
        take_trained(finished, tmp_path / "model", load_model, **HOW | change)
    sentence(caught, finished)
    assert named in str(caught.value)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", ["config.json", "log.csv", "weights.safetensors"])
def test_a_trained_network_with_a_file_missing(finished, tmp_path, name):
    folder = copy(finished, tmp_path / "m", ["config.json", "log.csv", "weights.safetensors"])
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        take_trained(folder, tmp_path / "model", load_model, **HOW)
    sentence(caught, folder / name)
    assert not (tmp_path / "model").exists()


# The autoencoder and the VAE


@both
def test_one_that_came_trained_is_taken_as_it_is(autoencoders, tmp_path, kind):
    log = take_trained(autoencoders, tmp_path, load_autoencoder, kind, autoencoder=tiny_autoencoder(), **ALIKE)
    pd.testing.assert_frame_equal(log, pd.read_csv(autoencoders / f"{kind}.csv"))
    taken = sorted(p.name for p in tmp_path.iterdir())
    assert taken == [f"{kind}.{ending}" for ending in ("csv", "json", "safetensors")]
    assert all((tmp_path / name).read_bytes() == (autoencoders / name).read_bytes() for name in taken)


@pytest.mark.parametrize(
    ("config", "change", "named"),
    [
        (tiny_autoencoder(), {"contrast": "t1"}, "is a network for t2, the study asks for t1"),
        (
            tiny_autoencoder(latent=8, steps=9, lr=0.5),
            {},
            "another `autoencoder`: `steps` 8, the study asks for 9; `latent` 4, the study",
        ),
        (
            tiny_autoencoder(),
            {"preprocessing": AS_IT_IS.model_copy(update={"smooth": True})},
            "another `preprocessing`: `smooth`",
        ),
    ],
)
def test_one_of_another_training_is_refused(autoencoders, tmp_path, config, change, named):
    with pytest.raises(ValueError) as caught:
        take_trained(autoencoders, tmp_path / "model", load_autoencoder, "vae", autoencoder=config, **ALIKE | change)
    assert named in sentence(caught, autoencoders / "vae.json")
    assert not (tmp_path / "model").exists()


def test_one_without_its_log_is_refused(autoencoders, tmp_path):
    folder = copy(autoencoders, tmp_path / "m", ["ae.json", "ae.safetensors"])
    with pytest.raises(FileNotFoundError, match="copy the whole model folder") as caught:
        take_trained(folder, tmp_path / "model", load_autoencoder, "ae", autoencoder=tiny_autoencoder(), **ALIKE)
    sentence(caught, folder / "ae.csv")


@both
@pytest.mark.parametrize("contrast", ["t1", "t2"])
def test_those_in_the_repository_are_those_of_their_profile(tmp_path, contrast, kind):
    root = Path(__file__).resolve().parents[2]
    profile = read_profile("pretrained")
    config = AutoencoderConfig(seed=profile["seeds"][0], **profile["autoencoder"])
    how = {"contrast": contrast, "autoencoder": config, "preprocessing": Preprocessing(**profile["preprocessing"])}
    log = take_trained(root / f"{profile['networks']}_{contrast}", tmp_path, load_autoencoder, kind, **how)
    assert log.val_loss.min() == json.loads((tmp_path / f"{kind}.json").read_text())["val_loss"]
    assert (tmp_path / f"{kind}.safetensors").stat().st_size < 1.5e6
