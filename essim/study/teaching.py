"""What the teaching notebooks share: a patient in a second, and a few formulas that only they take apart.

In: a set of the built-in cohort and a number. Out: a `Scan` or a reconstructed `Case` in the space of the networks in
models/, which were not trained on these people; no file is written. Paper: sections 2 and 3, step by step.
"""

import functools

import numpy as np
import torch

from essim.cohort.generate import CohortConfig, grow_subject
from essim.data.volumes import preprocess
from essim.evaluation.cases import Case
from essim.reconstruct import noise_seed, reconstruct_volume
from essim.settings import Preprocessing
from essim.ssim import K1, K2, blur

PEOPLE = CohortConfig(seed=2024, voxel_mm=2, train=0, val=100, test=0, patients_val=0, patients_test=100)
SPACE = Preprocessing(smooth=False, shape=(80, 96, 64), factor=1)  # that of the networks in models/

_grown = functools.lru_cache(maxsize=8)(grow_subject)  # T1 and T2 of one person: grown once


def who(dataset, index):
    """Age, sex, site and more from `generate.grow_subject`, for index 0 to 99 of healthy, tumour, stroke, ms or wmh."""
    return _grown(PEOPLE, dataset, index)


def scan(dataset, index, contrast):
    """A person's `Scan`: [80, 96, 64] voxels of 2 mm. `contrast` is t1 or t2; errors as in `generate.describe`."""
    person = who(dataset, index)
    mask, healthy = person["mask"] > 0, np.zeros_like(person["mask"])
    seg = healthy if person["seg"] is None else person["seg"]
    return preprocess(person[contrast].astype(np.float32), mask, seg, person["affine"], SPACE, person["subject"])


def case(dataset, index, contrast, diffusion, *, t=500, draws=1):
    """A person as the study stores them: the scan and its reconstruction, as a `Case`."""
    x, person = scan(dataset, index, contrast), who(dataset, index)
    noise = noise_seed(PEOPLE.seed, person["subject"])
    healthy = reconstruct_volume(diffusion, x.image, x.mask, t=t, draws=draws, seed=noise)
    name, spacing_mm = (dataset, person["subject"], person["split"]), (float(PEOPLE.voxel_mm),) * 3
    return Case(*name, x.image, healthy, x.mask, x.seg, x.mask, spacing_mm)


def spectrum(fields):
    """Mean power of images [N, H, W] (each minus its mean) by wavelength: (wavelengths in pixels, power).

    Wavelengths fall from 64 to 2 pixels in steps of a quarter octave. The power is averaged over all waves of about
    that length, so Gaussian noise is flat.
    """
    height, width = fields.shape[1:]
    waves = np.abs(np.fft.fft2(fields - fields.mean((1, 2), keepdims=True))) ** 2 / (height * width)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    edges = np.geomspace(1 / 64, 1 / 2, 21)
    band = np.digitize(frequency, edges)
    filled = [i for i in range(1, len(edges)) if (band == i).any()]
    power = np.array([waves.mean(0)[band == i].mean() for i in filled])
    return np.array([1 / np.sqrt(edges[i - 1] * edges[i]) for i in filled]), power


@torch.no_grad()
def walk_back(diffusion, x, times, seed, tone=None):
    """Walk down the reverse chain, for comparison with one prediction: x [N, 1, H, W] in [0, 1], reconstructed.

    x is noised to times[0], then drawn step by step from q(x_s | x_t, x_0) with the network's x_0; from the last of the
    falling `times`, x_0 is predicted in one step. (1 - abar_s) / (1 - abar_t) (1 - abar_t / abar_s) is its variance.
    `tone` is that of `GaussianDiffusion.reconstruct`.
    """
    streams = np.random.SeedSequence(seed).generate_state(len(times))
    noises = [diffusion.sample_noise(x.shape, seed=int(stream)) for stream in streams]
    steps = [torch.tensor([t]) for t in times]
    x_t = diffusion.q_sample(2 * x - 1, steps[0], noises[0])
    for t, s, noise in zip(steps, steps[1:], noises[1:], strict=False):
        x0 = diffusion.predict_start(x_t, t, tone)
        abar_t, abar_s = (diffusion.alphas_cumprod[step - 1].reshape(-1, 1, 1, 1) for step in (t, s))
        left = (x_t - abar_t.sqrt() * x0) / (1 - abar_t).sqrt()  # the noise: what x_0 leaves unexplained
        variance = (1 - abar_s) / (1 - abar_t) * (1 - abar_t / abar_s)
        x_t = abar_s.sqrt() * x0 + (1 - abar_s - variance).sqrt() * left + variance.sqrt() * noise
    return (diffusion.predict_start(x_t, steps[-1], tone) + 1) / 2


def ssim_factors(x, y, sigma, data_range=1.0):
    """SSIM's three factors, luminance, contrast and structure, of [N, C, *spatial]: a dict of maps.

    As defined by Wang et al. (2004), in float64, with c3 = c2 / 2; their product is SSIM.
    """
    x, y, shape = x.double().flatten(0, 1), y.double().flatten(0, 1), x.shape
    c1, c2 = ((k * data_range) ** 2 for k in (K1, K2))
    mu_x, mu_y = blur(x, sigma), blur(y, sigma)
    var_x, var_y = ((blur(z * z, sigma) - mu * mu).clamp(min=0) for z, mu in ((x, mu_x), (y, mu_y)))
    both, cov = (var_x * var_y).sqrt(), blur(x * y, sigma) - mu_x * mu_y
    maps = {"luminance": (2 * mu_x * mu_y + c1) / (mu_x**2 + mu_y**2 + c1)}
    maps |= {"contrast": (2 * both + c2) / (var_x + var_y + c2), "structure": (cov + c2 / 2) / (both + c2 / 2)}
    return {name: factor.reshape(shape) for name, factor in maps.items()}


def tune_and_check(gains, tries, rounds=300, seed=0):
    """What tuning on test patients is worth: the gain on those used for tuning, and the gain on fresh patients.

    Args: gains [patients, candidates]: what each candidate adds to each patient's score. tries: how many candidates,
        drawn anew each round, are tried on a random half of the patients, besides changing nothing (a gain of 0).

    Returns: [rounds, 2]: the best one's mean gain on that half, and on the other half, which had no part in it.
    """
    rng, gained = np.random.default_rng(seed), []
    for _ in range(rounds):
        order = rng.permutation(len(gains))
        tuned, fresh = np.array_split(order, 2)
        tried = np.column_stack([np.zeros(len(gains)), gains[:, rng.choice(gains.shape[1], tries, replace=False)]])
        best = tried[tuned].mean(0).argmax()
        gained.append((tried[tuned, best].mean(), tried[fresh, best].mean()))
    return np.array(gained)
