"""Training: it learns, it goes on bit for bit after any interruption, it says what is wrong."""

import json
import os
import signal
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import AS_IT_IS, healthy_scans, tiny
from pydantic import ValidationError
from safetensors.torch import load_file

from essim import train as training
from essim.train import (
    HealthySlices,
    TrainConfig,
    build_model,
    draw_times_and_noise,
    load_lengths,
    load_model,
    train,
    update_average,
)

WEIGHTS = ["weights.safetensors", "weights_quarter.safetensors", "weights_sixteenth.safetensors"]


@pytest.fixture(scope="session")
def scans(tmp_path_factory):
    return healthy_scans(tmp_path_factory.mktemp("healthy"))


@pytest.fixture(scope="session")
def finished(scans, tmp_path_factory):
    """A training that nothing interrupted: its folder."""
    out = tmp_path_factory.mktemp("models") / "t2"
    train(tiny(), scans, "t2", AS_IT_IS, out)
    return out


@pytest.fixture
def save_always(monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1)


def files(out):
    return sorted(p.name for p in out.iterdir())


def assert_same_result(one, two):
    assert files(one) == files(two)
    for name in ["config.json", *WEIGHTS]:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    logs = [pd.read_csv(out / "log.csv").drop(columns=["seconds", "data_seconds"]) for out in (one, two)]
    pd.testing.assert_frame_equal(*logs, check_exact=True)


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


@pytest.mark.parametrize(
    "changes", [{}, {"augment": True, "lr_schedule": "cosine"}, {"objective": "pred_noise", "noise": "gaussian"}]
)
def test_interrupted_training_ends_with_the_same_bits(scans, finished, tmp_path, monkeypatch, save_always, changes):
    config = tiny(**changes)
    whole, out = finished, tmp_path / "parts"
    if changes:
        whole = tmp_path / "whole"
        train(config, scans, "t2", AS_IT_IS, whole)
    real = training.update_average
    for stop in (5, 2):  # after five steps, and two further on
        calls = []

        def interrupt(*args, stop=stop, calls=calls):
            calls.append(1)
            if len(calls) > stop:
                raise KeyboardInterrupt
            real(*args)

        monkeypatch.setattr(training, "update_average", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(config, scans, "t2", AS_IT_IS, out)
        assert files(out) == ["checkpoint.pt", "checkpoint_before.pt"]  # nothing that could be taken for a result
        torch.rand(3)  # the world goes on meanwhile
    steps = []
    monkeypatch.setattr(training, "update_average", lambda *args: (steps.append(1), real(*args)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(config, scans, "t2", AS_IT_IS, out)
    assert len(steps) == 12 - 5 - 2  # it went on, it did not start again
    assert_same_result(whole, out)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_kill_9_in_the_middle_of_a_checkpoint(scans, finished, tmp_path, monkeypatch, save_always):
    """The process dies with half of its fourth checkpoint written: the third one counts."""
    real, calls = torch.save, []

    def save(content, path):
        calls.append(1)
        real(content, path)
        if len(calls) == 4:
            os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            monkeypatch.setattr(torch, "save", save)
            train(tiny(), scans, "t2", AS_IT_IS, tmp_path)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
    names = [name for name in files(tmp_path) if not name.startswith(".")]
    assert names == ["checkpoint_before.pt"]
    assert torch.load(tmp_path / "checkpoint_before.pt", weights_only=True)["state"]["step"] == 3
    train(tiny(), scans, "t2", AS_IT_IS, tmp_path)
    assert_same_result(finished, tmp_path)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "half"])
def test_damaged_checkpoint_is_named_and_training_starts_again(scans, finished, tmp_path, content):
    path = tmp_path / "checkpoint.pt"
    if content == "half":
        torch.save({"identity": "?", "model": torch.zeros(1000)}, path)
        content = path.read_bytes()[:2000]
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"checkpoint\.pt: cannot be read .*; training starts from the beginning"):
        train(tiny(), scans, "t2", AS_IT_IS, tmp_path)
    assert_same_result(finished, tmp_path)


@pytest.mark.parametrize("damage", ["half", "foreign"])
def test_the_checkpoint_before_is_used_where_the_newest_is_damaged(scans, finished, tmp_path, monkeypatch, damage):
    calls, real = [], training.update_average

    def interrupt(*args):
        calls.append(1)
        if len(calls) > 7:
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1)
    monkeypatch.setattr(training, "update_average", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(), scans, "t2", AS_IT_IS, tmp_path)
    newest = tmp_path / "checkpoint.pt"
    if damage == "half":
        os.truncate(newest, newest.stat().st_size // 2)
    else:
        torch.save(torch.load(newest, weights_only=True) | {"identity": "another"}, newest)
    steps = []
    monkeypatch.setattr(training, "update_average", lambda *args: (steps.append(1), real(*args)))
    with pytest.warns(UserWarning, match=r"checkpoint\.pt: (cannot be read|belongs to).*; the one before is used"):
        train(tiny(), scans, "t2", AS_IT_IS, tmp_path)
    assert len(steps) == 12 - 6
    assert_same_result(finished, tmp_path)


@pytest.mark.filterwarnings("ignore:.*checkpoint_before.pt")
def test_checkpoint_of_other_settings_is_not_used(scans, finished, tmp_path, monkeypatch, save_always):
    def interrupt(*args):
        raise KeyboardInterrupt

    real = training.validation_loss
    calls = []
    monkeypatch.setattr(
        training, "validation_loss", lambda *a: real(*a) if not calls.append(1) and len(calls) < 3 else interrupt()
    )
    with pytest.raises(KeyboardInterrupt):
        train(tiny(lr=1e-3), scans, "t2", AS_IT_IS, tmp_path)
    assert (tmp_path / "checkpoint.pt").is_file()
    monkeypatch.setattr(training, "validation_loss", real)
    with pytest.warns(UserWarning, match=r"checkpoint\.pt: belongs to a training with other settings"):
        train(tiny(), scans, "t2", AS_IT_IS, tmp_path)
    assert_same_result(finished, tmp_path)


def test_a_failed_write_keeps_the_checkpoint(scans, tmp_path, monkeypatch, save_always):
    """The disk is full when the result is written: the training isn't lost."""

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training, "save_file", full)
    with pytest.raises(OSError, match=r"the disk is full.*weights\.safetensors"):
        train(tiny(), scans, "t2", AS_IT_IS, tmp_path)
    assert "checkpoint.pt" in files(tmp_path)
    assert "weights.safetensors" not in files(tmp_path)


def test_a_loss_that_is_no_number_stops_the_training(scans, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "validation_loss", lambda *args: float("nan"))
    with pytest.raises(ValueError, match="validation loss.*`lr`"):
        train(tiny(), scans, "t2", AS_IT_IS, tmp_path)
    assert files(tmp_path) == []


def test_a_training_loss_that_is_no_number_names_the_step_and_keeps_the_last_good_state(
    scans, tmp_path, monkeypatch, save_always
):
    losses, real = [], training.GaussianDiffusion.p_losses

    def broken(self, x0, t, noise):
        losses.append(1)
        # of four slices a step, then the two validation slices
        return real(self, x0, t, noise) * (float("nan") if len(x0) == 4 and len(losses) > 6 else 1)

    monkeypatch.setattr(training.GaussianDiffusion, "p_losses", broken)
    with pytest.raises(ValueError, match=r"loss of step \d+ is nan; lower `lr`. The last good state is in checkpoint"):
        train(tiny(), scans, "t2", AS_IT_IS, tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["state"]["step"] > 0


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


@pytest.fixture(scope="session")
def slices(scans):
    return HealthySlices(scans[scans.split == "train"], AS_IT_IS, "train")


def test_every_epoch_serves_each_volume_once(slices):
    seen = set()
    for epoch in range(30):
        picks = slices.epoch(0, epoch)
        assert sorted(volume for volume, _ in picks) == list(range(6))
        assert all(z in slices.filled[volume] for volume, z in picks)
        seen |= set(picks)
    assert len(seen) > 0.8 * sum(len(f) for f in slices.filled)  # and in time each slice
    assert slices.epoch(0, 0) != slices.epoch(0, 1)
    assert slices.epoch(0, 0) != slices.epoch(1, 0)
    assert slices.epoch(0, 3) == slices.epoch(0, 3)


def test_batches_walk_through_the_epochs_without_a_gap(slices):
    """Six volumes in batches of four: steps 0 to 2 are epochs 0 and 1."""
    picks = slices.epoch(7, 0) + slices.epoch(7, 1)
    expected = torch.stack([torch.from_numpy(slices.volumes[v][z])[None] for v, z in picks])
    assert torch.equal(torch.cat([slices.batch(7, range(4 * step, 4 * step + 4)) for step in range(3)]), expected)
    assert torch.equal(slices.batch(7, range(12)), expected)  # longer than an epoch


def test_slices_are_axial(slices, scans):
    from essim.volumes import load_scan

    first = load_scan(scans.iloc[0], AS_IT_IS)
    volume, z = next(pick for pick in slices.epoch(0, 0) if pick[0] == 0)
    np.testing.assert_array_equal(slices.volumes[volume][z], first.image[:, :, z])
    assert [z for z in range(8) if first.mask[:, :, z].any()] == slices.filled[0].tolist()


def test_batches_are_functions_of_seed_and_step(slices):
    ahead = [slices.batch(0, range(4 * step, 4 * step + 4)) for step in range(4)]
    before = torch.get_rng_state()
    for step in (3, 0, 2, 1):
        np.random.seed(step)
        assert torch.equal(slices.batch(0, range(4 * step, 4 * step + 4)), ahead[step])
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(slices.batch(1, range(4)), ahead[0])


def test_augmentation_is_a_switch(scans, finished, tmp_path, monkeypatch):
    seen, real = [], training.augment.apply
    monkeypatch.setattr(training.augment, "apply", lambda *args: seen.append(args[1]) or real(*args))
    train(tiny(), scans, "t2", AS_IT_IS, tmp_path / "without")
    assert not seen
    train(tiny(augment=True), scans, "t2", AS_IT_IS, tmp_path / "with")
    assert [len(changes) for changes in seen] == [4] * 12
    assert len(set(sum(seen, []))) > 30  # each slice its own
    assert (finished / "weights.safetensors").read_bytes() != (tmp_path / "with/weights.safetensors").read_bytes()


def test_validation_slices_are_fixed_and_spread(slices):
    found = slices.spread(10)
    assert found.shape == (10, 1, 16, 16)
    assert torch.equal(found, slices.spread(10))
    total = sum(len(f) for f in slices.filled)
    assert len(slices.spread(1000)) == total  # no more than there are
    assert torch.equal(slices.spread(1000)[0, 0], torch.from_numpy(slices.volumes[0][slices.filled[0][0]]))
    assert torch.equal(slices.spread(1000)[-1, 0], torch.from_numpy(slices.volumes[5][slices.filled[5][-1]]))


def test_times_cover_1_to_T():
    diffusion = build_model(tiny(timesteps=5).model_dump())
    drawn = [draw_times_and_noise(diffusion, (8, 1, 8, 8), (0, step), (1, 5)) for step in range(40)]
    assert set(torch.cat([t for t, _ in drawn]).tolist()) == {1, 2, 3, 4, 5}
    t, noise = draw_times_and_noise(diffusion, (8, 1, 8, 8), (0, 3), (1, 5))
    assert torch.equal(t, drawn[3][0])
    assert torch.equal(noise, drawn[3][1])
    assert not torch.equal(noise, drawn[4][1])


def test_training_and_validation_see_the_range_of_steps(scans, tmp_path, monkeypatch):
    seen, real = [], training.GaussianDiffusion.p_losses

    def listen(self, x0, t, noise):
        seen.extend(t.tolist())
        return real(self, x0, t, noise)

    monkeypatch.setattr(training.GaussianDiffusion, "p_losses", listen)
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
        "epochs": 1600,
        "batch": 32,
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
        "bfloat16": False,
    }
    for t_range in ((0, 10), (5, 4), (1, 1001)):
        with pytest.raises(ValidationError, match=r"t_range must be two steps in order within 1\.\.1000"):
            TrainConfig(t_range=t_range)
    for wrong in ({"epoch": 3}, {"lr": 0}, {"channels": 12}, {"noise": "perlin"}, {"batch": 0}, {"ema_decay": 1.0}):
        (name,) = wrong
        with pytest.raises(ValidationError, match=name):
            TrainConfig(**wrong)
