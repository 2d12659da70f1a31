"""essim: unsupervised anomaly detection in brain MRI with diffusion models and ensembled SSIM maps.

The package holds the method; the notebooks hold the study. A scan's walk: `datasets` lists it, `volumes` loads it,
`diffusion` reconstructs it as if healthy, `ensemble` scores the difference, `postprocess` cleans it and
`metrics` judges it.
"""

import importlib

__version__ = "0.1.0"

# The public names and where they live. They are fetched when first used, so that `import essim` stays quick.
_HOME = {
    "GaussianDiffusion": "diffusion",
    "SIGMAS": "ssim",
    "UNet": "unet",
    "average_precision": "metrics",
    "best_dice": "metrics",
    "ensemble_map": "ensemble",
    "fit_threshold": "metrics",
    "l1_map": "ensemble",
    "load_calibration": "calibration",
    "load_scans": "datasets",
    "simplex_noise": "noise",
    "ssim_map": "ssim",
    "ssim_maps": "ssim",
}
__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'essim' has no attribute {name!r}")
    return getattr(importlib.import_module(f"essim.{_HOME[name]}"), name)


def __dir__():
    return sorted([*globals(), *__all__])
