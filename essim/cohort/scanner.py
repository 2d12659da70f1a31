"""How a scanner shows a head: the contrast of its protocols, shading, sharpness, slices, noise.

In: an `Anatomy`, its lesions, a `Site`. Out: a T1w, T2w or FLAIR volume, int16, zero outside the mask.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from essim.cohort import contrast as physics
from essim.cohort.fields import smooth_noise
from essim.cohort.mni import axes_of

ACQUIRED_MM = 1.2  # noise is that of voxels of this size, averaged to the study's
BRIGHTEST = 1000  # grey value of the brightest tissue at gain 1
# Flowing blood is void in a spin echo and may be bright in a gradient echo, where fresh blood flows in: the share of
# its signal at rest for T2w and FLAIR, of white matter's for T1w; drawn anew for every scan.
FLOW = {"t1": (0.5, 1.25), "t2": (0.0, 0.4), "flair": (0.0, 0.4)}
# Imperfect refocusing and inversion pulses add to the bias field: the factor on its standard deviation.
SHADING = {"t1": 1.0, "t2": 1.5, "flair": 2.0}
# The template's texture (T1w less what the tissues explain) in each contrast: what myelin or iron makes bright in T1w
# is dark in T2w.
TEXTURE = {"t1": 1.0, "t2": -0.4, "flair": -0.4}


@dataclass(frozen=True)
class Site:
    """A scanner and its protocols, times in ms."""

    name: str
    tesla: float
    t1: dict  # of `contrast.mprage`
    t2: dict  # of `contrast.spin_echo`
    flair: dict  # of `contrast.flair`
    noise: float  # standard deviation at ACQUIRED_MM, relative to the brightest tissue
    bias: float  # standard deviation of the log of what N4 leaves of the bias field in T1w
    blur: float  # mm, standard deviation of the point spread and of what bringing the scan to the study grid adds
    edges: float  # how much of a blurred copy the reconstruction's filter subtracts: it sharpens, and rings at edges
    slice_mm: dict  # thickness by contrast


# Protocols of clinical scanners and of public sets: MPRAGE of about 1 mm; T2w and FLAIR in slices of 1 to 6 mm.
TRAINING_SITES = (
    Site(
        "north", 3.0, {"tr": 2300, "ti": 900, "flip": 9}, {"tr": 5700, "te": 100}, {"tr": 9000, "te": 125, "ti": 2500},
        0.030, 0.03, 0.95, 0.25, {"t1": 1.2, "t2": 1.25, "flair": 2.0},
    ),
    Site(
        "east", 1.5, {"tr": 1900, "ti": 1000, "flip": 12}, {"tr": 8200, "te": 100}, {"tr": 8000, "te": 120, "ti": 2300},
        0.040, 0.035, 1.10, 0.15, {"t1": 1.2, "t2": 1.25, "flair": 3.0},
    ),
    Site(
        "south", 1.5, {"tr": 2000, "ti": 900, "flip": 8}, {"tr": 4000, "te": 85}, {"tr": 9000, "te": 105, "ti": 2500},
        0.045, 0.03, 1.20, 0.05, {"t1": 1.0, "t2": 3.0, "flair": 3.0},
    ),
)  # fmt: skip
OTHER_SITES = (
    Site(
        "west", 3.0, {"tr": 1950, "ti": 880, "flip": 9}, {"tr": 3000, "te": 80}, {"tr": 5000, "te": 130, "ti": 1800},
        0.035, 0.05, 1.00, 0.40, {"t1": 1.0, "t2": 3.0, "flair": 1.0},
    ),
    Site(
        "coast", 1.5, {"tr": 2400, "ti": 1100, "flip": 7}, {"tr": 6500, "te": 120}, {"tr": 9900, "te": 140, "ti": 2600},
        0.050, 0.045, 1.30, 0.15, {"t1": 1.5, "t2": 2.0, "flair": 5.0},
    ),
)  # fmt: skip
SITES = {site.name: site for site in TRAINING_SITES + OTHER_SITES}


def signal(tissue, site, contrast):
    """The signal of a `contrast.Tissue` at a `Site` in t1, t2 or flair, before gain."""
    field, protocol = physics.FIELDS.index(site.tesla), getattr(site, contrast)
    t1, t2 = tissue.t1[field], tissue.t2[field]
    if contrast == "t1":
        return physics.mprage(t1, tissue.density, **protocol)
    return getattr(physics, {"t2": "spin_echo", "flair": "flair"}[contrast])(t1, t2, tissue.density, **protocol)


def signals(rng, site, contrast):
    """{tissue: signal} of all TISSUES and LESIONS for one scan, the brightest of csf, grey and white at 1.

    Relaxation times differ by some 4 % from person to person, and the flow from day to day.
    """
    found = {}
    for name, tissue in (physics.TISSUES | physics.LESIONS).items():
        (a, b), own = np.exp(0.04 * rng.standard_normal(2)), np.exp(0.015 * rng.standard_normal())
        times = [tuple(a * np.array(tissue.t1)), tuple(b * np.array(tissue.t2))]
        found[name] = signal(physics.Tissue(*times, own * tissue.density), site, contrast)
    found["vessel"] = rng.uniform(*FLOW[contrast]) * found["white" if contrast == "t1" else "vessel"]
    brightest = max(found[name] for name in ("csf", "grey", "white"))
    return {name: np.float32(value / brightest) for name, value in found.items()}


def acquire(rng, head, site, contrast, lesion=None):
    """One volume [H, W, D], int16, of a head (`Anatomy`) at a `Site`. `contrast` is t1, t2 or flair.

    `lesion` maps names of `contrast.LESIONS` to the share [H, W, D] of each voxel that they fill.
    """
    axes, shown = axes_of(head.voxel_mm), signals(rng, site, contrast)
    # Within a tissue: slow regional differences (myelin, cell density) and a fine grain.
    grain = 1 + 0.015 * smooth_noise(rng, axes, 30) + 0.012 * smooth_noise(rng, axes, 6)
    csf, *solid = (shown[name] for name in physics.TISSUES)
    image = np.tensordot(np.array(solid), head.fractions[1:], 1) * grain + csf * head.fractions[0]
    image += np.float32(TEXTURE[contrast]) * shown["white"] * head.texture
    if lesion:
        image *= 1 - sum(lesion.values())
        image += sum(shown[name] * share for name, share in lesion.items()) * grain
    image *= np.exp(np.float32(SHADING[contrast] * site.bias) * smooth_noise(rng, axes, 60))
    image = _sharpness(np.maximum(image, 0), site, contrast, head.voxel_mm)[head.mask]
    # The magnitude of signal plus complex noise, averaged over the acquired voxels in one study voxel.
    draws = max(1.0, (head.voxel_mm / ACQUIRED_MM) ** 3)
    magnitude = np.sqrt(np.square(image) + np.float32(site.noise) ** 2)
    magnitude += np.float32(site.noise / np.sqrt(draws)) * rng.standard_normal(image.shape, dtype=np.float32)
    gain = BRIGHTEST * np.float32(np.exp(0.15 * rng.standard_normal()))
    volume = np.zeros(head.mask.shape, np.int16)
    volume[head.mask] = np.clip(np.rint(gain * np.abs(magnitude)), 1, 32767)
    return volume


def _sharpness(image, site, contrast, voxel_mm):
    """What the point spread, the slices (a box of their thickness, as wide as this Gaussian) and the filter leave."""
    along = np.hypot(site.blur, site.slice_mm[contrast] / np.sqrt(12))
    image = ndimage.gaussian_filter(image, np.array([site.blur, site.blur, along]) / voxel_mm, truncate=2.5)
    around = ndimage.gaussian_filter(image, 1.2 / voxel_mm, truncate=2.5)
    return image + np.float32(site.edges) * (image - around)
