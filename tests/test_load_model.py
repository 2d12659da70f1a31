"""A model folder: it gives back the trained network, or says in one sentence what is wrong with it."""

import json
import os

import pytest
import torch
from helpers import AS_IT_IS, healthy_scans, tiny
from safetensors.torch import load_file

from essim.models import load_model
from essim.train.loop import train


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A model folder."""
    out = tmp_path_factory.mktemp("models") / "t2"
    train(tiny(), healthy_scans(tmp_path_factory.mktemp("healthy")), "t2", AS_IT_IS, out)
    return out


def test_load_model_gives_the_trained_network(finished):
    diffusion = load_model(finished)
    weights = load_file(finished / "weights.safetensors")
    for name, value in diffusion.model.state_dict().items():
        assert torch.equal(value.cpu(), weights[name])
    assert not diffusion.training
    assert diffusion.timesteps == 100
    x = torch.rand(1, 1, 16, 16)
    assert diffusion.reconstruct(x.to(diffusion.betas.device), t=50, seed=0).std() > 0


def test_a_folder_of_before_there_were_tones(finished, tmp_path):
    folder = copy(finished, tmp_path / "m")
    description = json.loads((folder / "config.json").read_text())
    del description["training"]["randomise"], description["training"]["tone"]
    (folder / "config.json").write_text(json.dumps(description))
    diffusion, x = load_model(folder, "cpu"), torch.rand(1, 1, 16, 16)
    assert diffusion.tones == 0
    assert torch.equal(diffusion.reconstruct(x, t=50, seed=0), load_model(finished, "cpu").reconstruct(x, t=50, seed=0))


def test_loading_a_model_leaves_the_global_generator_alone(finished):
    torch.manual_seed(77)
    before = torch.get_rng_state()
    load_model(finished)
    assert torch.equal(torch.get_rng_state(), before)


def copy(finished, folder):
    folder.mkdir()
    for name in ("config.json", "weights.safetensors"):
        (folder / name).write_bytes((finished / name).read_bytes())
    return folder


def one_sentence(caught, name):
    message = str(caught.value)
    assert name in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
def test_load_model_missing_file(finished, tmp_path, name):
    folder = copy(finished, tmp_path / "m")
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match="no such file; train the model first") as caught:
        load_model(folder)
    one_sentence(caught, str(folder / name))


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5])
def test_load_model_truncated_weights(finished, tmp_path, kept):
    folder = copy(finished, tmp_path / "m")
    path = folder / "weights.safetensors"
    os.truncate(path, kept if isinstance(kept, int) else int(kept * path.stat().st_size))
    with pytest.raises(ValueError, match="does not fit the architecture in config.json or is damaged") as caught:
        load_model(folder)
    one_sentence(caught, str(path))


@pytest.mark.parametrize("changes", [{"channels": 16}, {"blocks": 2}, {"patch": 1}, {"multipliers": [1, 2, 2]}])
def test_load_model_of_another_architecture(finished, tmp_path, changes):
    folder = copy(finished, tmp_path / "m")
    description = json.loads((folder / "config.json").read_text())
    description["training"] |= changes
    (folder / "config.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match="put the matching config.json beside it") as caught:
        load_model(folder)
    one_sentence(caught, str(folder / "weights.safetensors"))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        "3",
        '{"training": 3}',
        '{"training": {"depth": 3}}',
        '{"training": {"lr": "fast"}}',
        '{"training": {"head_channels": 24}}',
        b"\xff\x00",
    ],
)
def test_load_model_damaged_config(finished, tmp_path, content):
    folder = copy(finished, tmp_path / "m")
    (folder / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match="does not describe a model .*; train the model again") as caught:
        load_model(folder)
    one_sentence(caught, str(folder / "config.json"))
