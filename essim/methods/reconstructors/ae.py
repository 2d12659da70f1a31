"""The autoencoder: C. Baur et al., Medical Image Analysis 69:101952, 2021.

    y = g(f(x)),        f(x) a latent with too little room for what is unusual

It has a training loop of its own: essim.train.autoencoder, with an `AutoencoderConfig`, and ae.* in the model folder.
"""

from essim.methods.draws import alike
from essim.train.autoencoder import load_autoencoder, train_autoencoder

DRAWS, NETWORK = 1, "ae"


def train(config, scans, contrast, preprocessing, out, cache=None):
    """As `essim.train.autoencoder.train_autoencoder` does."""
    return train_autoencoder(config, False, scans, contrast, preprocessing, out, cache)


def load(folder, device=None):
    """The trained `Autoencoder` of a model folder."""
    return load_autoencoder(folder, NETWORK, device)


def reconstruct(model, image, mask, *, draws, seed):
    """As `essim.methods.reconstructors` says; `model` is an `Autoencoder`; the draws are all alike."""
    return alike(model.reconstruct(image, mask), draws)
