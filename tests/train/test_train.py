"""Training: it learns, the same seed gives the same bits, and it says what is wrong."""

import functools
import json

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import AS_IT_IS, tiny
from pydantic import ValidationError
from safetensors.torch import load_file
from trainings import WEIGHTS, assert_same_result, files

from essim.diffusion import GaussianDiffusion
from essim.models import build_model, load_lengths, load_model
from essim.settings import TrainConfig
from essim.tone import TONES
from essim.train import loop as training
from essim.train.loop import draw_times_and_noise, train, update_average


def test_result_of_a_training(finished):
    assert files(finished) == ["config.json", "log.csv", *WEIGHTS]  # the checkpoint is gone
    log = pd.read_csv(finished / "log.csv")
    assert list(log.columns) == ["step", "epoch", "train_loss", "val_loss", "lr", "seconds", "data_seconds"]
    assert log.step.iloc[-1] == 8 * 6 // 4
    assert log.epoch.iloc[-1] == 8
    assert np.isfinite(log.to_numpy()).all()
    assert (log.data_seconds > 0).all() and (log.data_seconds < log.seconds).all()
    description = json.loads((finished / "config.json").read_text())
    assert description["contrast"] == "t2"
    assert description["steps"] == 12
    assert description["val_loss"] == log.val_loss.min()
    assert TrainConfig(**description["training"]) == tiny()


def test_training_lowers_the_loss(scans, tmp_path):
    log = train(tiny(epochs=30, lr=8e-3), scans, "t2", AS_IT_IS, tmp_path)
    assert 0.05 < log.val_loss.iloc[-1] / log.val_loss.iloc[0] < 0.5
    assert 0.05 < log.train_loss.iloc[-5:].mean() / log.train_loss.iloc[0] < 0.5


def test_the_best_weights_are_kept(scans, tmp_path, monkeypatch):
    """Validation losses fall, then rise: the weights are those of the lowest."""
    losses, snapshots = iter([3.0, 1.0, 2.0, 4.0] + [5.0] * 8), []

    def scripted(average, *_):
        snapshots.append({k: v.clone() for k, v in average.model.state_dict().items()})
        return next(losses)

    monkeypatch.setattr(training, "validation_loss", scripted)
    train(tiny(), scans, "t2", AS_IT_IS, tmp_path)
    kept = load_file(tmp_path / "weights.safetensors")
    assert all(torch.equal(kept[k], snapshots[1][k]) for k in kept)
    assert not all(torch.equal(kept[k], snapshots[2][k]) for k in kept)
    assert json.loads((tmp_path / "config.json").read_text())["val_loss"] == 1.0


def test_the_best_weights_survive_an_interruption(scans, tmp_path, monkeypatch, save_always):
    """The lowest validation loss came before the interruption."""
    out, snapshots = tmp_path / "model", []
    script = iter([3.0, 1.0, 2.0, KeyboardInterrupt()] + [5.0] * 9)

    def scripted(average, *_):
        snapshots.append({k: v.clone() for k, v in average.model.state_dict().items()})
        loss = next(script)
        if isinstance(loss, BaseException):
            raise loss
        return loss

    monkeypatch.setattr(training, "validation_loss", scripted)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(), scans, "t2", AS_IT_IS, out)
    log = train(tiny(), scans, "t2", AS_IT_IS, out)
    assert log.val_loss.tolist() == [3, 1, 2] + [5] * 9
    kept = load_file(out / "weights.safetensors")
    assert all(torch.equal(kept[k], snapshots[1][k]) for k in kept)


def test_early_weights_are_those_of_their_step(scans, finished, tmp_path, monkeypatch):
    """12 steps: the averaged weights after step 1 (a sixteenth, rounded up) and step 3 (a quarter)."""
    seen = {}

    def watched(average, model, decay, step):
        update_average(average, model, decay, step)
        seen[step + 1] = {k: v.clone() for k, v in average.model.state_dict().items()}

    monkeypatch.setattr(training, "update_average", watched)
    train(tiny(), scans, "t2", AS_IT_IS, tmp_path)
    assert_same_result(finished, tmp_path)
    networks = load_lengths(finished, "cpu")
    assert list(networks) == [1, 3, 12]
    for step in (1, 3):
        kept = networks[step].model.state_dict()
        assert all(torch.equal(kept[k], seen[step][k]) for k in kept)
        assert not all(torch.equal(kept[k], seen[step + 1][k]) for k in kept)
    best = load_model(finished, "cpu").model.state_dict()
    assert all(torch.equal(value, best[k]) for k, value in networks[12].model.state_dict().items())


def test_same_seed_same_bits_whatever_the_global_state(scans, finished, tmp_path):
    torch.manual_seed(1234)
    np.random.seed(1234)
    torch.rand(7)
    train(tiny(), scans, "t2", AS_IT_IS, tmp_path)
    assert_same_result(finished, tmp_path)


def test_another_seed_gives_other_weights(scans, finished, tmp_path):
    train(tiny(seed=1), scans, "t2", AS_IT_IS, tmp_path)
    assert (finished / "weights.safetensors").read_bytes() != (tmp_path / "weights.safetensors").read_bytes()


def test_a_loss_that_is_no_number_stops_the_training(scans, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "validation_loss", lambda *args: float("nan"))
    with pytest.raises(ValueError, match="validation loss.*`lr`"):
        train(tiny(), scans, "t2", AS_IT_IS, tmp_path)
    assert files(tmp_path) == []


def test_a_training_loss_that_is_no_number_names_the_step_and_keeps_the_last_good_state(
    scans, tmp_path, monkeypatch, save_always
):
    losses, real = [], GaussianDiffusion.p_losses

    def broken(self, x0, t, noise, tone):
        losses.append(1)
        # of four slices a step, then the two validation slices
        return real(self, x0, t, noise, tone) * (float("nan") if len(x0) == 4 and len(losses) > 6 else 1)

    monkeypatch.setattr(GaussianDiffusion, "p_losses", broken)
    with pytest.raises(ValueError, match=r"loss of step \d+ is nan; lower `lr`. The last good state is in checkpoint"):
        train(tiny(), scans, "t2", AS_IT_IS, tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["state"]["progress"]["step"] > 0


def test_no_scans(scans, tmp_path):
    with pytest.raises(ValueError, match="no healthy train scans of this contrast"):
        train(tiny(), scans, "t1", AS_IT_IS, tmp_path)
    with pytest.raises(ValueError, match="no healthy val scans of this contrast"):
        train(tiny(), scans[scans.split == "train"], "t2", AS_IT_IS, tmp_path)


def test_only_healthy_training_scans_of_the_contrast_are_seen(scans, finished, tmp_path):
    others = scans.assign(dataset="tumour", image="nowhere")
    elsewhere = scans.assign(contrast="t1", image="nowhere")
    tests = scans.assign(split="test", image="nowhere")
    # the subjects of the healthy test part belong to the table, not to the training
    train(tiny(), pd.concat([scans, others, elsewhere, tests]), "t2", AS_IT_IS, tmp_path)
    assert_same_result(finished, tmp_path)


def test_a_training_begins_with_another_networks_weights(scans, finished, tmp_path):
    begun = train(tiny(init=str(finished), epochs=1), scans, "t2", AS_IT_IS, tmp_path / "begun")
    scratch = train(tiny(epochs=1), scans, "t2", AS_IT_IS, tmp_path / "scratch")
    assert begun.val_loss.iloc[0] < 0.9 * scratch.val_loss.iloc[0]
    assert begun.val_loss.iloc[0] < 1.2 * pd.read_csv(finished / "log.csv").val_loss.min()
    other = tiny(init=str(finished), channels=16, head_channels=16)
    with pytest.raises(ValueError, match="is not the network that these settings describe; change `init`"):
        train(other, scans, "t2", AS_IT_IS, tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        train(tiny(init="nowhere"), scans, "t2", AS_IT_IS, tmp_path / "nowhere")


def test_augmentation_is_a_switch(scans, finished, tmp_path, monkeypatch):
    seen, real = [], training.augment.apply
    monkeypatch.setattr(training.augment, "apply", lambda *args: seen.append(args[1]) or real(*args))
    train(tiny(), scans, "t2", AS_IT_IS, tmp_path / "without")
    assert not seen
    train(tiny(augment=True), scans, "t2", AS_IT_IS, tmp_path / "with")
    assert [len(changes) for changes in seen] == [4] * 12
    assert len(set(sum(seen, []))) > 30  # each slice its own
    assert 0.5 < max(max(change.blur) for change in sum(seen, [])) <= 1  # pixels; these are of 2 mm
    assert (finished / "weights.safetensors").read_bytes() != (tmp_path / "with/weights.safetensors").read_bytes()


def test_randomisation_and_tone_are_switches(scans, finished, tmp_path, monkeypatch):
    """The tones go along the curves of their slices; those of the validation stay as they are."""
    seen, told, real = [], [], GaussianDiffusion.p_losses
    retone = training.randomise.retone
    monkeypatch.setattr(training.randomise, "retone", lambda *args: seen.append(retone(*args)) or seen[-1])
    monkeypatch.setattr(
        GaussianDiffusion, "p_losses", lambda self, *args: told.append((len(args[0]), args[3])) or real(self, *args)
    )
    train(tiny(), scans, "t2", AS_IT_IS, tmp_path / "without")
    assert not seen and all(tone is None for _, tone in told)
    assert_same_result(finished, tmp_path / "without")
    told.clear()
    train(tiny(randomise=True, tone=True), scans, "t2", AS_IT_IS, tmp_path / "with")
    learned, validated = ([tone for n, tone in told if (n == 4) == is_training] for is_training in (True, False))
    assert len(learned) == 12 and all(torch.equal(a, b) for a, b in zip(learned, seen, strict=True))
    assert len(torch.unique(torch.cat(learned), dim=0)) == 48 and len(torch.unique(torch.cat(validated), dim=0)) == 2
    diffusion = load_model(tmp_path / "with")
    assert diffusion.tones == TONES and diffusion.model.tone.weight.abs().min() > 0


def test_the_gamma_of_an_augmentation_changes_the_tone(scans, tmp_path, monkeypatch):
    told, real = [], GaussianDiffusion.p_losses
    monkeypatch.setattr(GaussianDiffusion, "p_losses", lambda self, *a: told.append(a[3]) or real(self, *a))
    train(tiny(augment=True, tone=True, epochs=2), scans, "t2", AS_IT_IS, tmp_path)
    assert 12 / 4 < len(torch.unique(torch.cat([tone for tone in told if len(tone) == 4]), dim=0)) <= 12


def test_compiled_it_learns_the_same(scans, finished, tmp_path, monkeypatch):
    # traced and differentiated ahead of time, but run by torch: inductor would compile for a minute
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    log = train(tiny(compile=True), scans, "t2", AS_IT_IS, tmp_path)
    expected = pd.read_csv(finished / "log.csv")
    np.testing.assert_allclose(log.val_loss, expected.val_loss, atol=1e-3)
    kept = load_file(tmp_path / "weights.safetensors")
    assert list(kept) == list(load_file(finished / "weights.safetensors"))


def test_times_cover_1_to_T():
    diffusion = build_model(tiny(timesteps=5).model_dump())
    drawn = [draw_times_and_noise(diffusion, (8, 1, 8, 8), (0, step), (1, 5)) for step in range(40)]
    assert set(torch.cat([t for t, _ in drawn]).tolist()) == {1, 2, 3, 4, 5}
    t, noise = draw_times_and_noise(diffusion, (8, 1, 8, 8), (0, 3), (1, 5))
    assert torch.equal(t, drawn[3][0])
    assert torch.equal(noise, drawn[3][1])
    assert not torch.equal(noise, drawn[4][1])


def test_a_batch_shares_its_noise_only_where_it_is_asked_to():
    for kind, fields in {"simplex": 8, "simplex_shared": 1}.items():
        diffusion = build_model(tiny(noise=kind).model_dump())
        steps = [draw_times_and_noise(diffusion, (8, 1, 8, 8), (0, step), (1, 100)) for step in range(3)]
        assert {len(torch.unique(noise, dim=0)) for _, noise in steps} == {fields}
        assert not torch.equal(steps[0][1], steps[1][1])  # each step has a field of its own
        assert len(torch.unique(steps[0][0])) > 1  # and each slice a noising step of its own


def test_training_and_validation_see_the_range_of_steps(scans, tmp_path, monkeypatch):
    seen, real = [], GaussianDiffusion.p_losses

    def listen(self, x0, t, noise, tone):
        seen.extend(t.tolist())
        return real(self, x0, t, noise, tone)

    monkeypatch.setattr(GaussianDiffusion, "p_losses", listen)
    train(tiny(t_range=(40, 44)), scans, "t2", AS_IT_IS, tmp_path)
    assert set(seen) == {40, 41, 42, 43, 44}
    assert load_model(tmp_path).timesteps == 100  # the schedule is the same as ever


def test_moving_average():
    model, average = (torch.nn.Linear(1, 1, bias=False) for _ in range(2))
    torch.nn.init.constant_(model.weight, 1.0)
    torch.nn.init.constant_(average.weight, 0.0)
    training.update_average(average, model, 0.9, 10**6)
    assert average.weight.item() == pytest.approx(0.1, abs=1e-6)
    training.update_average(average, model, 0.9, 0)  # a young average: decay 1/10
    assert average.weight.item() == pytest.approx(0.1 * 0.1 + 0.9, abs=1e-6)
    training.update_average(average, model, 0.0, 5)  # none
    assert average.weight.item() == 1.0


def test_config():
    assert TrainConfig().model_dump() == {
        "seed": 0,
        "init": "",
        "epochs": 1600,
        "batch": 32,
        "optimizer": "adam",
        "lr": 1e-4,
        "lr_schedule": "constant",
        "ema_decay": 0.0,
        "channels": 128,
        "multipliers": (1, 2, 2),
        "blocks": 3,
        "head_channels": 64,
        "patch": 1,
        "timesteps": 1000,
        "t_range": None,
        "schedule": "cosine",
        "objective": "pred_x0",
        "noise": "simplex",
        "augment": True,
        "randomise": False,
        "tone": False,
        "bfloat16": False,
        "compile": False,
    }
    for t_range in ((0, 10), (5, 4), (1, 1001)):
        with pytest.raises(ValidationError, match=r"t_range must be two steps in order within 1\.\.1000"):
            TrainConfig(t_range=t_range)
    for wrong in ({"epoch": 3}, {"lr": 0}, {"channels": 12}, {"noise": "perlin"}, {"batch": 0}, {"ema_decay": 1.0}):
        (name,) = wrong
        with pytest.raises(ValidationError, match=name):
            TrainConfig(**wrong)
