"""Networks of the methods: the shared loop trains them, a folder says whose it is, other methods refuse it."""

import json

import closure
import pandas as pd
import pytest
import torch
from entries import TRAINED
from helpers import AS_IT_IS, healthy_scans, sentence, tiny
from trainings import assert_same_result, tiny_autoencoder

from essim.methods import __main__ as command
from essim.methods.networks import load_method, networks, train_method
from essim.methods.registry import pick, reconstructors, scores
from essim.models import load_model
from essim.runs.files import write_json
from essim.train import loop
from essim.train.autoencoder import Autoencoder

trained = pytest.mark.parametrize("name", TRAINED)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return healthy_scans(tmp_path_factory.mktemp("healthy"))


@pytest.fixture(scope="module")
def folders(scans, tmp_path_factory):
    """{network: its model folder}."""
    out = tmp_path_factory.mktemp("models")
    for name in networks():
        config = tiny_autoencoder() if name in ("ae", "vae") else tiny()
        train_method(name, config, scans, "t2", AS_IT_IS, out / name)
    return {name: out / name for name in networks()}


def test_the_networks_that_there_are():
    assert set(TRAINED) == {"cddpm", "dae", "mddpm", "pddpm", "segmenter"}
    assert set(networks()) == {*TRAINED, "ae", "ddpm", "vae"}
    for entry in reconstructors().values():
        assert entry.NETWORK is None or entry.NETWORK in networks()


@trained
def test_a_training_learns_and_leaves_a_folder_that_names_its_method(scans, folders, name, tmp_path):
    assert json.loads((folders[name] / "config.json").read_text())["method"] == name
    config = tiny(epochs=30, lr=8e-3)
    log = train_method(name, config, scans, "t2", AS_IT_IS, tmp_path)
    assert log.val_loss.iloc[-5:].mean() < 0.9 * log.val_loss.iloc[0]
    model = load_method(name, tmp_path, "cpu")
    assert not model.training and any(weight.abs().max() > 0 for weight in model.model.head[-1].parameters())


@trained
def test_same_seed_same_bits_whatever_the_global_state(scans, folders, name, tmp_path):
    torch.manual_seed(1234)
    torch.rand(5)
    train_method(name, tiny(), scans, "t2", AS_IT_IS, tmp_path)
    assert_same_result(folders[name], tmp_path)


def test_a_training_that_was_stopped_ends_as_it_would_have(scans, folders, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1)
    losses, real = [], networks()["pddpm"].loss

    def stops(*args, **options):
        losses.append(1)
        if len(losses) == 12:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(networks()["pddpm"], "loss", stops)
    with pytest.raises(KeyboardInterrupt):
        train_method("pddpm", tiny(), scans, "t2", AS_IT_IS, tmp_path)
    assert (tmp_path / "checkpoint.pt").is_file()
    train_method("pddpm", tiny(), scans, "t2", AS_IT_IS, tmp_path)
    assert_same_result(folders["pddpm"], tmp_path)


def test_the_ddpm_is_the_studys_own(scans, folders, tmp_path):
    loop.train(tiny(), scans, "t2", AS_IT_IS, tmp_path)
    assert_same_result(folders["ddpm"], tmp_path)
    assert "method" not in json.loads((tmp_path / "config.json").read_text())


def test_each_entry_loads_the_network_that_it_takes(folders):
    for name, entry in reconstructors().items():
        if entry.NETWORK is None:
            assert load_method(name, "nowhere") is None
            continue
        model = load_method(name, folders[entry.NETWORK], "cpu")
        assert isinstance(model, Autoencoder) == (name in ("ae", "vae")) and not model.training


@pytest.mark.parametrize(("name", "folder"), [("dae", "pddpm"), ("pddpm", "ddpm"), ("ddim", "mddpm"), ("cddpm", "dae")])
def test_a_network_of_another_method_is_one_sentence(folders, name, folder):
    wanted = pick(reconstructors(), name).NETWORK
    with pytest.raises(
        ValueError, match=f"is a network of the method {folder}, not of {wanted}; take one of {wanted}.$"
    ) as caught:
        load_method(name, folders[folder])
    sentence(caught, folders[folder] / "config.json")


def test_the_study_refuses_a_network_of_another_method(folders, scans, tmp_path):
    with pytest.raises(ValueError, match="is a network of the method mddpm, not of ddpm"):
        load_model(folders["mddpm"])
    with pytest.raises(ValueError, match="is a network of the method mddpm, not of ddpm"):
        loop.train(tiny(init=str(folders["mddpm"])), scans, "t2", AS_IT_IS, tmp_path)


def test_no_network_at_all_is_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file; train the model first"):
        load_method("pddpm", tmp_path)


def test_what_cannot_be_trained_is_one_sentence(scans, tmp_path):
    settings = scans, "t2", AS_IT_IS, tmp_path
    with pytest.raises(ValueError, match="^blur: takes no network; there is nothing to train.$"):
        train_method("blur", tiny(), *settings)
    with pytest.raises(ValueError, match="^dae: predicts the slice, not the noise; set `objective` to pred_x0.$"):
        train_method("dae", tiny(objective="pred_noise"), *settings)
    with pytest.raises(ValueError, match="^method: there is no 'gan'; take one of .*pddpm"):
        train_method("gan", tiny(), *settings)
    assert not list(tmp_path.iterdir())


def test_the_registries_hold_what_the_protocol_asks_for():
    for entry in reconstructors().values():
        assert callable(entry.reconstruct) and entry.DRAWS >= 1 and entry.__doc__
        assert hasattr(entry, "build") == hasattr(entry, "loss")
    assert "segmenter" in scores() and callable(scores()["segmenter"].score)


def test_the_graph_sees_behind_the_registry():
    found = closure.modules_behind("essim.methods.registry")
    assert {f"essim/methods/reconstructors/{name}.py" for name in reconstructors()} <= set(found)
    assert {f"essim/methods/scores/{name}.py" for name in scores()} <= set(found) and "essim/unet.py" in found


@pytest.mark.parametrize("name", ["dae", "ae"])
def test_the_command_line(scans, folders, tmp_path, monkeypatch, name, capsys):
    config = tiny_autoencoder() if name == "ae" else tiny()
    values = {"data": "here", "fold": 0, "contrast": "t2", "preprocessing": AS_IT_IS.model_dump()}
    write_json(tmp_path / "settings.json", values | {"training": config.model_dump()})
    monkeypatch.setattr("essim.train.__main__.load_scans", lambda data, fold: scans)
    assert command.main([name, str(tmp_path / "settings.json"), str(tmp_path / "out")]) == 0
    for path in folders[name].iterdir():
        if path.suffix != ".csv":
            assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()
    assert isinstance(pd.read_csv(next((tmp_path / "out").glob("*.csv"))), pd.DataFrame)
    assert command.main([name, str(tmp_path / "no.json"), str(tmp_path / "out")]) == 1
    with pytest.raises(SystemExit):
        command.main(["gan", "settings.json", "out"])
    assert "ddpm" in capsys.readouterr().err
