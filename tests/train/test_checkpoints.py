"""A training that is stopped goes on bit for bit, from the newest checkpoint that is sound."""

import os
import signal
import warnings

import pytest
import torch
from helpers import AS_IT_IS, tiny
from trainings import assert_same_result, files

from essim.train import checkpoints
from essim.train import loop as training
from essim.train.checkpoints import Checkpoints
from essim.train.loop import train


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"augment": True, "lr_schedule": "cosine"},
        {"objective": "pred_noise", "noise": "gaussian"},
        {"randomise": True, "tone": True},
    ],
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
        warnings.filterwarnings("error", message=".*checkpoint")  # none is damaged or of another training
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
    assert torch.load(tmp_path / "checkpoint_before.pt", weights_only=True)["state"]["progress"]["step"] == 3
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


def test_what_is_of_no_use_does_not_take_the_place_of_what_is(tmp_path):
    """The newest is damaged, the one before goes on: it stays until there are two good ones again."""
    first = Checkpoints(tmp_path, "this training")
    for step in (1, 2):
        first.save({"step": step})
    assert torch.load(first.before, weights_only=True)["state"] == {"step": 1}
    first.newest.write_bytes(b"half")
    second = Checkpoints(tmp_path, "this training")
    with pytest.warns(UserWarning, match="the one before is used"):
        assert second.load() == {"step": 1}
    second.save({"step": 2})
    assert torch.load(second.before, weights_only=True)["state"] == {"step": 1}  # not the damaged one
    second.save({"step": 3})
    assert torch.load(second.before, weights_only=True)["state"] == {"step": 2}
    assert Checkpoints(tmp_path, "this training").load() == {"step": 3}
    second.remove()
    assert not list(tmp_path.iterdir()) and Checkpoints(tmp_path, "this training").load() is None


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

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OSError, match=r"the disk is full.*weights\.safetensors"):
        train(tiny(), scans, "t2", AS_IT_IS, tmp_path)
    assert "checkpoint.pt" in files(tmp_path)
    assert "weights.safetensors" not in files(tmp_path)
