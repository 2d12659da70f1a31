"""How a scanner sees a head: tissue contrast, bias field, blur and Rician noise.

In: an `Anatomy`, what lesions make of it, a `Site`. Out: T1w and T2w volumes, int16, zero outside the brain.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from essim.cohort.anatomy import smooth_noise
from essim.cohort.mni import axes_of

ACQUIRED_MM = 1.2  # noise is drawn at this voxel size and averaged to the study's
BRIGHTEST = 1000  # grey value of the brightest tissue (white matter in T1w, CSF in T2w) at gain 1


@dataclass(frozen=True)
class Site:
    """A scanner. Intensities are relative to the brightest tissue."""

    name: str
    t1: tuple[float, float, float]  # intensity of csf, grey and white
    t2: tuple[float, float, float]
    noise: float  # standard deviation at acquisition resolution
    bias: float  # standard deviation of the log bias field
    blur: float  # mm


# Grey is about .7 of white matter in MPRAGE. In T2w, CSF > grey > white, near .5 and .33 of CSF for spin echo at TE
# near 100 ms with relaxation times at 1.5 to 3 T (Wansapura et al. 1999, Stanisz et al. 2005). Sites differ as
# protocols do.
TRAINING_SITES = (
    Site("north", (0.22, 0.69, 1.0), (1.0, 0.49, 0.33), 0.035, 0.040, 0.5),
    Site("east", (0.26, 0.72, 1.0), (1.0, 0.52, 0.36), 0.045, 0.055, 0.6),
    Site("south", (0.20, 0.67, 1.0), (1.0, 0.46, 0.31), 0.055, 0.045, 0.7),
)
OTHER_SITES = (
    Site("west", (0.29, 0.74, 1.0), (1.0, 0.54, 0.39), 0.060, 0.070, 0.8),
    Site("coast", (0.17, 0.64, 1.0), (1.0, 0.44, 0.29), 0.040, 0.060, 0.4),
)
SITES = {site.name: site for site in TRAINING_SITES + OTHER_SITES}


def acquire(rng, head, site, contrast, lesion=None):
    """One volume [H, W, D], int16, of a head (`Anatomy`) at a `Site`. `contrast` is t1 or t2.

    `lesion` [H, W, D] is the share of the way from tissue to CSF that lesions move each voxel (0 none, 1 CSF). It acts
    before blur, bias and noise, as tissue does. The template's own texture enters T1w as it is and T2w inverted and
    weaker: what is bright in T1w for its myelin or iron is dark in T2w.
    """
    axes = axes_of(head.voxel_mm)
    tissue = np.array(getattr(site, contrast), np.float32)
    tissue = tissue * (1 + 0.025 * rng.standard_normal(3)).astype(np.float32)  # this subject, this day
    csf = tissue[0]
    # Within a tissue: slow regional differences (myelin, cell density) and a fine grain.
    grain = 1 + 0.015 * smooth_noise(rng, axes, 24) + 0.018 * smooth_noise(rng, axes, 5)
    image = np.tensordot(tissue[1:], head.fractions[1:], 1) * grain + csf * head.fractions[0]
    image += np.float32(1.0 if contrast == "t1" else -0.6) * head.texture
    if lesion is not None:
        image += lesion * (csf - image)
    outside = ndimage.gaussian_filter(head.mask.astype(np.float32), site.blur / head.voxel_mm, truncate=2.5)
    image = ndimage.gaussian_filter(image * head.mask, site.blur / head.voxel_mm, truncate=2.5)
    image = (image / np.maximum(outside, 0.1))[head.mask]
    bias = site.bias * smooth_noise(rng, axes, 70)[head.mask]
    gain = BRIGHTEST * np.float32(np.exp(0.15 * rng.standard_normal()))
    volume = np.zeros(head.mask.shape, np.int16)
    magnitude = _rician(rng, image * np.exp(bias), site.noise, head.voxel_mm)
    volume[head.mask] = np.clip(np.rint(gain * magnitude), 1, 32767)
    return volume


def _rician(rng, signal, noise, voxel_mm):
    """Magnitude of signal plus complex noise, averaged over the acquired voxels in one study voxel."""
    draws = max(1, round((voxel_mm / ACQUIRED_MM) ** 3))
    total = np.zeros_like(signal)
    for _ in range(draws):
        real = signal + np.float32(noise) * rng.standard_normal(signal.shape, dtype=np.float32)
        total += np.hypot(real, np.float32(noise) * rng.standard_normal(signal.shape, dtype=np.float32))
    return total / draws
