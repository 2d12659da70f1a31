"""The autoencoder and the VAE: shapes, what they learn, the same bits again, and what is wrong in one sentence."""

import json
import os

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import AS_IT_IS, brain, sentence
from safetensors.torch import load_file
from torch.distributions import Normal, kl_divergence
from trainings import tiny_autoencoder as tiny

from essim import reconstruct
from essim.data.volumes import Scan
from essim.settings import AutoencoderConfig, Preprocessing
from essim.train import autoencoder, slices
from essim.train.autoencoder import Autoencoder, build_autoencoder, load_autoencoder, train_autoencoder
from essim.train.slices import HealthySlices
from essim.train.trained import AUTOENCODERS

both = pytest.mark.parametrize("kind", AUTOENCODERS)


def network(kind="ae", **changes):
    return build_autoencoder(tiny(**changes), kind == "vae").eval()


# The network


@both
@pytest.mark.parametrize(
    ("size", "levels", "latent"), [((16, 24), 3, (2, 3)), ((37, 50), 4, (3, 4)), ((5, 7), 1, (3, 4))]
)
def test_a_slice_of_any_size_comes_back_in_its_size(kind, size, levels, latent):
    model = network(kind, levels=levels)
    x = torch.rand(2, 1, *size)
    assert model.encode(x)[0].shape == (2, 4, *latent)
    assert model(x)[0].shape == x.shape


@both
def test_padding_is_that_of_an_empty_border(kind):
    model, x = network(kind, levels=3), torch.rand(2, 1, 37, 50)
    filled = torch.zeros(2, 1, 40, 56)
    filled[:, :, :37, :50] = x
    assert torch.equal(model(x)[0], model(filled)[0][:, :, :37, :50])


def test_all_that_the_decoder_knows_is_the_latent():
    model, x = network(levels=2), torch.rand(1, 1, 16, 16)
    assert torch.equal(model(x)[0], model.decoder(model.encode(x)[0]))


@pytest.mark.parametrize("size", [(16, 16), (13, 18)])
def test_the_divergence_is_that_of_the_closed_form(size):
    model, x = network("vae"), torch.rand(3, 1, *size)
    mean, log_variance = model.encode(x)
    assert mean.shape == log_variance.shape
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0, 1)).sum() / x.numel()
    assert expected > 1e-3
    torch.testing.assert_close(model(x)[1], expected)
    assert network("ae")(x)[1] == 0


def test_a_vae_draws_from_the_distribution_that_it_encodes(monkeypatch):
    model, x = network("vae"), torch.rand(1, 1, 16, 16)
    monkeypatch.setattr(model, "decoder", torch.nn.PixelShuffle(2))  # shows the latent itself: 4 channels of 4 x 4
    mean, log_variance = (torch.nn.functional.pixel_shuffle(part, 2) for part in model.encode(x))
    draws, deviation = model(x.expand(4000, -1, -1, -1), seed=5)[0], (log_variance / 2).exp()
    assert ((draws.mean(0) - mean).abs() < 6 * deviation / 4000**0.5).all()
    assert ((draws.std(0) / deviation - 1).abs() < 6 / 8000**0.5).all()
    assert torch.equal(model(x)[0], mean)
    assert torch.equal(model(x, seed=5)[0], model(x, seed=5)[0])
    assert not torch.equal(model(x, seed=5)[0], model(x, seed=6)[0])


def test_an_autoencoder_draws_nothing():
    model, x = network("ae"), torch.rand(2, 1, 16, 16)
    assert torch.equal(model(x, seed=1)[0], model(x)[0])


def test_a_network_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    model = network("vae")
    model(torch.rand(1, 1, 8, 8, generator=torch.Generator()), seed=3)
    assert torch.equal(torch.get_rng_state(), before)


@both
def test_a_volume_is_rebuilt_slice_by_slice(kind, monkeypatch):
    monkeypatch.setattr(reconstruct, "BATCH", 3)
    model, (image, mask) = network(kind), brain((18, 21, 10))
    image = image / image.max()
    before = image.copy()
    y = model.reconstruct(image, mask)
    assert y.shape == image.shape and y.dtype == np.float32
    assert (y[~mask] == 0).all() and y.min() >= 0 and y.max() <= 1 and y[mask].std() > 0
    np.testing.assert_array_equal(image, before)
    with torch.no_grad():
        alone = model(torch.from_numpy(image[None, None, :, :, 5]))[0].clamp(0, 1)[0, 0].numpy()
    np.testing.assert_allclose(y[:, :, 5], alone * mask[:, :, 5], atol=1e-6)


# Training


@both
def test_result_of_a_training(autoencoders, kind):
    assert sorted(p.name for p in autoencoders.glob(f"{kind}.*")) == [
        f"{kind}.{e}" for e in ("csv", "json", "safetensors")
    ]
    log = pd.read_csv(autoencoders / f"{kind}.csv")
    assert list(log.columns) == ["step", "train_loss", "val_loss", "val_kl", "lr", "seconds"]
    assert log.step.tolist() == list(range(1, 9)) and np.isfinite(log.to_numpy()).all()
    assert log.lr.iloc[0] == tiny().lr and log.lr.iloc[-1] < 0.05 * tiny().lr
    assert (log.val_kl > 0).all() == (kind == "vae")
    made = json.loads((autoencoders / f"{kind}.json").read_text())
    assert made["val_loss"] == log.val_loss.min()
    assert AutoencoderConfig(**made["autoencoder"]) == tiny()
    assert Preprocessing(**made["preprocessing"]) == AS_IT_IS
    assert (made["kind"], made["contrast"], made["voxel_mm"]) == (kind, "t2", 2)


@both
def test_same_seed_same_bits_whatever_the_global_state(scans, autoencoders, tmp_path, kind):
    torch.manual_seed(1234)
    train_autoencoder(tiny(), kind == "vae", scans, "t2", AS_IT_IS, tmp_path)
    for ending in ("json", "safetensors"):
        assert (tmp_path / f"{kind}.{ending}").read_bytes() == (autoencoders / f"{kind}.{ending}").read_bytes()
    train_autoencoder(tiny(seed=1), kind == "vae", scans, "t2", AS_IT_IS, tmp_path)
    weights = [load_file(folder / f"{kind}.safetensors")["encoder.0.weight"] for folder in (tmp_path, autoencoders)]
    assert not torch.equal(*weights)


@both
def test_it_learns_more_than_the_mean(tmp_path, monkeypatch, kind):
    """Heads that are even, each of its own size and brightness; a few are for validation."""

    def head(row, *_):
        size, level = np.random.default_rng(row["subject"]).uniform((4, 0.2), (8, 1))
        place = np.hypot(*np.meshgrid(*[np.arange(16) - 7.5] * 2)) < size
        mask = np.repeat(place[:, :, None], 4, 2)
        return Scan((level * mask).astype(np.float32), mask, mask & False, mask & False, np.eye(4))

    monkeypatch.setattr(slices, "load_scan", head)
    heads = pd.DataFrame(
        {"dataset": "healthy", "contrast": "t2", "subject": range(60), "person": range(60), "site": ""}
    )
    heads["split"] = np.where(heads.subject < 50, "train", "val")
    train, val = (HealthySlices(heads[heads.split == part], AS_IT_IS, part) for part in ("train", "val"))
    by_mean = (val.spread(64)[0] - train.spread(400)[0].mean(0)).abs().mean().item()
    config = tiny(steps=300, batch=8, lr=5e-3, beta=0.001)
    log = train_autoencoder(config, kind == "vae", heads, "t2", AS_IT_IS, tmp_path)
    assert 0.01 < log.val_loss.min() / by_mean < 0.6
    assert 0.01 < log.train_loss.iloc[-1] / by_mean < 0.6


def test_beta_weighs_the_divergence(scans, tmp_path):
    logs = [train_autoencoder(tiny(steps=60, beta=beta), True, scans, "t2", AS_IT_IS, tmp_path) for beta in (0.0, 10.0)]
    assert logs[1].val_kl.iloc[-1] < 0.1 * logs[0].val_kl.iloc[-1]


def test_the_best_weights_are_kept(scans, tmp_path, monkeypatch):
    losses, snapshots = iter([3.0, 1.0, 2.0, 4.0] + [5.0] * 4), []

    def scripted(model, _):
        snapshots.append({k: v.clone() for k, v in model.state_dict().items()})
        return next(losses), 0.0

    monkeypatch.setattr(autoencoder, "validation_losses", scripted)
    train_autoencoder(tiny(), False, scans, "t2", AS_IT_IS, tmp_path)
    kept = load_file(tmp_path / "ae.safetensors")
    assert all(torch.equal(kept[k], snapshots[1][k]) for k in kept)
    assert not all(torch.equal(kept[k], snapshots[2][k]) for k in kept)


def test_the_validation_loss_is_that_of_what_reconstructs():
    model, x = network("vae"), torch.rand(70, 1, 16, 16)
    error, divergence = autoencoder.validation_losses(model, x)
    with torch.no_grad():
        y, expected = model(x)
    assert error == pytest.approx((x - y).abs().mean().item(), rel=1e-5)
    assert divergence == pytest.approx(expected.item(), rel=1e-5)


@both
def test_a_loss_that_is_no_number_is_one_sentence(scans, tmp_path, kind):
    with pytest.raises(ValueError, match="loss of step .* is (nan|inf); lower `lr`") as caught:
        train_autoencoder(tiny(lr=1e38), kind == "vae", scans, "t2", AS_IT_IS, tmp_path)
    sentence(caught, tmp_path)
    assert not list(tmp_path.iterdir())


# A model folder


@both
def test_load_gives_the_trained_network(autoencoders, kind):
    model, weights = load_autoencoder(autoencoders, kind), load_file(autoencoders / f"{kind}.safetensors")
    assert isinstance(model, Autoencoder) and model.variational == (kind == "vae") and not model.training
    assert all(torch.equal(value.cpu(), weights[name]) for name, value in model.state_dict().items())


def copy(autoencoders, folder, kind="ae"):
    folder.mkdir()
    for path in autoencoders.glob(f"{kind}.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("name", ["ae.json", "ae.safetensors"])
def test_load_missing_file(autoencoders, tmp_path, name):
    folder = copy(autoencoders, tmp_path / "m")
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match="no such file; train the model first") as caught:
        load_autoencoder(folder, "ae")
    sentence(caught, folder / name)


@pytest.mark.parametrize("share", [0, 0.01, 0.5])
def test_load_truncated_weights(autoencoders, tmp_path, share):
    path = copy(autoencoders, tmp_path / "m") / "ae.safetensors"
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(ValueError, match="does not fit the architecture in ae.json or is damaged") as caught:
        load_autoencoder(path.parent, "ae")
    sentence(caught, path)


@pytest.mark.parametrize("changes", [{"channels": 16}, {"latent": 5}, {"levels": 3}])
def test_load_another_architecture(autoencoders, tmp_path, changes):
    folder = copy(autoencoders, tmp_path / "m")
    made = json.loads((folder / "ae.json").read_text())
    made["autoencoder"] |= changes
    (folder / "ae.json").write_text(json.dumps(made))
    with pytest.raises(ValueError, match="put the matching ae.json beside it") as caught:
        load_autoencoder(folder, "ae")
    sentence(caught, folder / "ae.safetensors")


def test_weights_of_the_other_kind_are_refused(autoencoders, tmp_path):
    folder = copy(autoencoders, tmp_path / "m")
    for ending in ("json", "safetensors"):
        (folder / f"ae.{ending}").rename(folder / f"vae.{ending}")
    with pytest.raises(ValueError, match="does not fit the architecture") as caught:
        load_autoencoder(folder, "vae")
    sentence(caught, folder / "vae.safetensors")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"autoencoder": 3}', '{"autoencoder": {"depth": 3}}', b"\xff"])
def test_load_damaged_description(autoencoders, tmp_path, content):
    folder = copy(autoencoders, tmp_path / "m")
    (folder / "ae.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match="does not describe a model .*; train the model again") as caught:
        load_autoencoder(folder, "ae")
    sentence(caught, folder / "ae.json")
