"""The variational autoencoder: C. Baur et al., Medical Image Analysis 69:101952, 2021.

    y = g(mean of f(x)),        f(x) a normal distribution that is kept near N(0, 1)

It has a training loop of its own: essim.train.autoencoder, with an `AutoencoderConfig`, and vae.* in the model folder.
"""

from essim.methods.reconstructors.ae import reconstruct  # noqa: F401 (the same: the decoder of the mean)
from essim.train.autoencoder import load_autoencoder, train_autoencoder

DRAWS, NETWORK = 1, "vae"


def train(config, scans, contrast, preprocessing, out, cache=None):
    """As `essim.train.autoencoder.train_autoencoder` does."""
    return train_autoencoder(config, True, scans, contrast, preprocessing, out, cache)


def load(folder, device=None):
    """The trained `Autoencoder` of a model folder."""
    return load_autoencoder(folder, NETWORK, device)
