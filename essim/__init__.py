"""essim: unsupervised anomaly detection in brain MRI with diffusion models and ensembled SSIM maps.

The package holds the method; the notebooks hold the study. A scan's walk: `datasets` lists it, `volumes` loads it,
`diffusion` reconstructs it as if healthy, `ensemble` scores the difference, `postprocess` cleans it, `metrics` judges it.
"""

from essim.datasets import load_scans
from essim.diffusion import GaussianDiffusion
from essim.ensemble import ensemble_map, l1_map
from essim.metrics import average_precision, best_dice, fit_threshold
from essim.noise import simplex_noise
from essim.ssim import SIGMAS, ssim_map, ssim_maps
from essim.unet import UNet

__version__ = "0.1.0"
__all__ = [
    "SIGMAS",
    "GaussianDiffusion",
    "UNet",
    "average_precision",
    "best_dice",
    "ensemble_map",
    "fit_threshold",
    "l1_map",
    "load_scans",
    "simplex_noise",
    "ssim_map",
    "ssim_maps",
]
