"""A volume reconstructed several times: applies to a volume what a reconstructor does to slices.

In: a function of slices. Out: float32 [draws, H, W, D] in [0, 1], 0 outside the mask.

Everything random is a function of (seed, batch of slices, draw): a draw is the same however many there are.
"""

import numpy as np
import torch

from essim.reconstruct import by_slices


@torch.no_grad()
def by_draws(predict, image, mask, device, *, draws, seed):
    """Several draws of a volume.

    Args:
        predict: a function from slices [N, 1, H, W] in [0, 1] on the device, and an int, the seed of what it draws, to
            the same shape in [0, 1].
        image: float32 [H, W, D] in [0, 1]. mask: bool [H, W, D]. device: a torch.device.
        draws: how many. seed: an int or a list of ints.

    Returns: float32 [draws, H, W, D]. Raises ValueError where `draws` is below 1.
    """
    check_draws(draws)
    seed = np.atleast_1d(seed).tolist()

    def one(draw):
        def predict_batch(slices, batch):
            return predict(slices, int(np.random.SeedSequence([*seed, batch]).generate_state(draw + 1)[draw]))

        return by_slices(predict_batch, image, mask, device)

    return np.stack([one(draw) for draw in range(draws)])


def alike(volume, draws):
    """The draws of a method that draws nothing, [draws, H, W, D]: all the same. ValueError where `draws` is below 1."""
    check_draws(draws)
    return np.repeat(np.asarray(volume, np.float32)[None], draws, axis=0)


def check_draws(draws):
    """Raise ValueError unless there is a draw."""
    if draws < 1:
        raise ValueError(f"reconstruct: draws must be at least 1, got {draws}.")


def numbers(key):
    """A numpy Generator for a loss, fixed by its key (ints); times and noise are drawn from other generators."""
    return np.random.default_rng([*key, 5])
