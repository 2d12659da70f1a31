"""What a training run leaves on disk: the last two of its states while it runs, a model folder at its end.

In: a model folder and what identifies a training run. Out: the newest readable state of that run. Files are
written whole or not at all, and nothing that is loaded can run code.
"""

import math
import os
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file

from essim.runs.files import write_json, writing

FILES = ("checkpoint.pt", "checkpoint_before.pt")  # the newest, and the one to fall back on


class Checkpoints:
    """The checkpoints of one training in the folder `out`; `identity` is a string that no other training shares."""

    def __init__(self, out, identity):
        self.newest, self.before = (Path(out) / name for name in FILES)
        self.identity = identity
        self.sound = False  # whether the newest is known to be of this training, and whole

    def load(self):
        """The newest usable state, or None; a warning names each unusable file and says why."""
        state, reasons = None, []
        for path in (self.newest, self.before):
            if state is None and path.is_file():
                state, reason = self._read(path)
                reasons += [f"{path}: {reason}"] if reason else []
                self.sound = state is not None and path == self.newest
        for reason in reasons:
            outcome = "the one before is used" if state else "training starts from the beginning"
            warnings.warn(f"{reason}; {outcome}.", stacklevel=2)
        return state

    def _read(self, path):
        """(state, None), or (None, the reason why it is not this training's)."""
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            if content["identity"] == self.identity:
                return content["state"], None
            return None, "belongs to a training with other settings or scans"
        except Exception as error:  # whatever a damaged file makes the reader raise
            return None, f"cannot be read ({type(error).__name__})"

    def save(self, state):
        """Write the newest state; the previous one stays as the one before, unless it is unusable."""
        if self.sound:
            os.replace(self.newest, self.before)
        with writing(self.newest) as path:
            torch.save({"identity": self.identity, "state": state}, path)
        self.sound = True

    def remove(self):
        """Delete both, once the training is finished."""
        for path in (self.newest, self.before):
            path.unlink(missing_ok=True)

    def refuse_nan(self, loss, name):
        """Raise ValueError if a loss is no longer finite; it names the state to resume from."""
        if not math.isfinite(loss):
            files = [path.name for path in (self.newest, self.before) if path.is_file()]
            left = f" The last good state is in {files[0]}." if files else ""
            raise ValueError(f"{self.newest.parent}: {name} is {loss}; lower `lr`.{left}")


def snapshot(network):
    """A copy of a network's weights, contiguous and on the CPU."""
    return {k: v.cpu().clone(memory_format=torch.contiguous_format) for k, v in network.state_dict().items()}


def write_model(out, contents):
    """Write a trained network: {file name: log (csv), description (json) or weights (safetensors)}, in this order."""
    for name, content in contents.items():
        if name.endswith(".json"):
            write_json(out / name, content)
            continue
        with writing(out / name) as path:
            if name.endswith(".csv"):
                content.to_csv(path, index=False)
            else:
                save_file(content, path)
