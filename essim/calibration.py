"""Ours, beyond the paper: the differences that SSIM sees, measured against what healthy brains show at the same place.

In: scan and reconstruction [N, C, H, W, D], and a `Calibration`, made from reconstructions of healthy scans that the
network was not trained on (essim.evaluation.healthy) and stored beside the network as calibration.safetensors, on a
grid of half the resolution. Out: an anomaly map in standard deviations of healthy brains.

SSIM divides the difference in structure (V_q in essim.ssim) by the contrast of the same scan at that place (V_p).
Folds, which are never reconstructed exactly, and uniform tissue, where there is little but noise to compare, each have
a level of their own at every sigma. Here the divisor comes from healthy scans. With f_0 = |x - y| and f_i = sqrt(V_q)
at sigma_i, at a voxel v

    z_i(v) = (f_i(v) / r - m_i(v)) / s_i(v)      m, s: mean and standard deviation of f_i / r in healthy scans around v
    A(v)   = max(0, z_0 / 2 + sum_i z_i / 2K)    how much more than a healthy brain shows, in its standard deviations

r is the scan's own level divided by that of healthy scans, a level being the 75th percentile of f_0 in the brain: some
scans are reconstructed worse than others throughout (another scanner, an older brain), which is not a finding. A lesion
raises this percentile too, though less than it would raise a mean; away from the lesion, less is then marked than
promised.

07_calibrated_ensemble shows what else was tried, and how this was chosen.
"""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from scipy import ndimage
from torch.nn import functional

from essim.ensemble import inside
from essim.kernels.dispatch import pick_kernel
from essim.ssim import as_float, as_mask, as_tensor, check_pair, in_range, structure_difference

FILE = "calibration.safetensors"  # in a model folder
PRIOR = 2  # pseudo-scans with the whole brain's distribution, added at every place
SMOOTHING = 0.5  # voxels of the half grid: neighbours make up for having few scans


@dataclass(frozen=True)
class Calibration:
    """The healthy distribution of the differences f_0, f_1 ... f_K.

    sigmas: the K window sizes, in voxels. shape: the grid [H, W, D] of the scans. mean, sd: float32 [1 + K, h, w, d] on
    half that grid (each side divided by 2 and rounded up), in units of the data range, of scans brought to a common
    `level`, the mean of theirs (`level_of`). scans: how many there were.
    """

    sigmas: tuple
    shape: tuple
    mean: torch.Tensor = field(repr=False)
    sd: torch.Tensor = field(repr=False)
    level: float
    scans: int

    @cached_property
    def gains(self):
        """What each difference is multiplied by: float32 [1 + K, h, w, d]."""
        weights = torch.tensor([1 / 2] + [1 / 2 / len(self.sigmas)] * len(self.sigmas))
        return weights[:, None, None, None] / self.sd

    @cached_property
    def expected(self):
        """What is subtracted from their sum: float32 [h, w, d]."""
        return (self.gains * self.mean).sum(0)

    def save(self, path, about=None):
        """Write one safetensors file, the maps in float16; `about`, its provenance, is kept in it."""
        maps = {"mean": self.mean.half(), "sd": self.sd.half()}
        facts = {"sigmas": self.sigmas, "shape": self.shape, "level": self.level, "scans": self.scans}
        facts["about"] = about
        save_file(maps, path, {name: json.dumps(value, default=str) for name, value in facts.items()})


def load_calibration(path):
    """Load a `Calibration` from its file, or from the model folder that holds the file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is damaged, or not a calibration.

    >>> import essim, tempfile, torch
    >>> ones = torch.ones(9, 8, 8, 8)
    >>> with tempfile.TemporaryDirectory() as model:
    ...     Calibration(essim.SIGMAS, (16, 16, 16), ones, ones, level=0.1, scans=4).save(f"{model}/{FILE}")
    ...     essim.load_calibration(model)
    Calibration(sigmas=(0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 1.5, 1.7), shape=(16, 16, 16), level=0.1, scans=4)
    """
    path = Path(path) / FILE if Path(path).is_dir() else Path(path)
    if not path.is_file():
        way_out = "notebook 03_healthy writes it for a network of your own, `essim models` lists essim's"
        raise FileNotFoundError(f"{path}: no such file; {way_out}.")
    try:
        with safe_open(path, "pt") as file:
            facts = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
            maps = [file.get_tensor(name).float() for name in ("mean", "sd")]
        return Calibration(tuple(facts["sigmas"]), tuple(facts["shape"]), *maps, facts["level"], facts["scans"])
    except (SafetensorError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: damaged or not a calibration ({reason}); run notebook 03_healthy again.") from error


def calibrated_map(x, y, calibration, *, mask=None, data_range=None, backend="auto"):
    """The anomaly map of scan x against reconstruction y, in standard deviations of healthy brains (ours).

    Args:
        x, y: tensors or arrays [N, C, H, W, D] on the calibration's grid, finite, any dtype and device; integers and
            half-precision floats are computed in float32.
        calibration: a `Calibration`; it holds the window sizes.
        mask, data_range, backend: as in `essim.ensemble_map`.

    Returns: [N, C, H, W, D], 0 and above, on the device of x, in its dtype (float32 for integers).

    Raises:
        ValueError: as in `essim.ssim_maps`; x is on another grid, or the backend cannot compute this.

    >>> import essim, torch
    >>> mean, sd = torch.zeros(9, 8, 8, 8), torch.full((9, 8, 8, 8), 0.1)
    >>> calibration = Calibration(essim.SIGMAS, (16, 16, 16), mean, sd, level=0.3, scans=4)
    >>> scan, healthy = torch.rand(2, 1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> essim.calibrated_map(scan, healthy, calibration).shape
    torch.Size([1, 1, 16, 16, 16])
    """
    x, y = as_tensor(x), as_tensor(y)
    data_range, mask = check_pair(x, y, calibration.sigmas, data_range), as_mask(mask, x)
    _check_grid(x, calibration)
    dtype = x.dtype if x.is_floating_point() else torch.float32
    x, y = as_float(x), as_float(y)
    y = at_level(x, y, calibration.level, data_range)
    kernel = pick_kernel(backend, x, y, calibration.sigmas)
    if kernel:
        return kernel.calibrated_maps(x, y, mask=mask, data_range=data_range, calibration=calibration).to(dtype)
    gains, expected = (refine(maps.to(x), 2, x.shape[2:]) for maps in (calibration.gains, calibration.expected))
    weighted = zip(gains, differences(x, y, calibration.sigmas, data_range), strict=True)
    excess = sum(gain * difference for gain, difference in weighted).sub(expected).clamp(min=0)
    return inside(excess, mask).to(dtype)


def calibrated_l1(x, y, calibration):
    """The control of `calibrated_map`: max(0, z_0), l1 measured against the same healthy scans, without SSIM's
    differences. In standard deviations of healthy brains, [N, C, H, W, D], 0 and above.

    Args: x, y: float tensors [N, C, H, W, D] on the calibration's grid and one device. calibration: a `Calibration`.

    Raises ValueError as `calibrated_map` does for these.

    >>> import torch
    >>> maps = torch.full((9, 8, 8, 8), 0.5)
    >>> scan, healthy = torch.zeros(2, 1, 1, 16, 16, 16)
    >>> scan[..., :4] = 1
    >>> known = Calibration((0.3,) * 8, (16, 16, 16), maps, maps, level=1.5, scans=4)
    >>> calibrated_l1(scan, healthy, known).unique()  # 1.5 at the level of healthy scans: (1.5 - 0.5) / 0.5
    tensor([0., 2.])
    """
    data_range = check_pair(x, y, calibration.sigmas, None)
    _check_grid(x, calibration)
    (error,) = differences(x, at_level(x, y, calibration.level, data_range), (), data_range)
    mean, sd = (refine(maps[0].to(x), 2, x.shape[2:]) for maps in (calibration.mean, calibration.sd))
    return ((error - mean) / sd).clamp(min=0)


def _check_grid(x, calibration):
    if tuple(x.shape[2:]) != tuple(calibration.shape):
        shape = list(calibration.shape)
        raise ValueError(f"the calibration is for volumes of {shape}, x has {list(x.shape[2:])}; bring x to that grid.")


def level_of(x, y, data_range):
    """How far off a reconstruction is overall, [N]: the 75th percentile of |x - y| in the brain, in units of the data
    range [N]. The brain is where x or y isn't 0; without one, the level is 0."""
    levels = []
    for own, error in zip((x != 0) | (y != 0), in_range(x - y, data_range).abs(), strict=True):
        values = error[own]
        levels.append(values.kthvalue(-(-3 * len(values) // 4)).values if len(values) else error.new_zeros(()))
    return torch.stack(levels)


def at_level(x, y, level, data_range):
    """The reconstruction y with x - y scaled so that its `level_of` becomes `level`."""
    own = level_of(x, y, data_range)
    factor = torch.where(own > 0, level / own, 1).reshape(-1, *(1,) * (x.ndim - 1))
    return x - factor * (x - y)


def differences(x, y, sigmas, data_range):
    """The differences f_0 = |x - y| and f_i = sqrt(V_q), in units of the data range [N]: [1 + K, N, C, *spatial]."""
    structure = [structure_difference(x, y, sigma, data_range) for sigma in sigmas]
    return torch.stack([in_range(x - y, data_range).abs(), *structure])


# From healthy scans to a calibration


def moments(maps, mask):
    """One scan's contribution: float64 [1 + 2 M, h, w, d], the share of brain at each place, M maps and their squares.

    Args: maps: tensor [M, H, W, D]. mask: bool [H, W, D]. The moments of scans on the same grid are added up.
    """
    brain = torch.from_numpy(mask).to(maps.dtype)
    maps = maps * brain
    return torch.cat([coarsen(values, 2) for values in (brain[None], maps, maps.square())]).double()


def distribution(sums, smoothing=SMOOTHING):
    """(mean, standard deviation) at every place, float32 [M, h, w, d] each, from the summed moments of scans.

    The moments are smoothed over space (Gaussian, `smoothing` voxels); then PRIOR scans with the whole brain's
    distribution are added, which prevail where few scans have any brain.
    """
    count = len(sums) // 2
    brain = sums.flatten(1).sum(1)
    overall = (brain[1:] / brain[0])[:, None, None, None]
    smooth = torch.from_numpy(ndimage.gaussian_filter(sums.numpy(), (0, *[smoothing] * 3)))
    mean, square = ((smooth[1:] + PRIOR * overall) / (smooth[0] + PRIOR)).split(count)
    sd = (square - mean.square()).clamp(min=1e-12).sqrt()  # a window of one voxel has no structure to differ in
    return mean.float(), sd.float()


def from_moments(sums, levels, sigmas, shape, smoothing=SMOOTHING):
    """The `Calibration` of scans on the grid `shape` [H, W, D], from their levels and their summed moments.

    The moments are those of differences in units of each scan's own level (`level_of`).
    """
    level = sum(levels) / len(levels)
    mean, sd = distribution(sums, smoothing)
    return Calibration(tuple(sigmas), tuple(shape), level * mean, level * sd, level, len(levels))


# Maps on a coarser grid, and back


def coarsen(maps, factor):
    """Means over cubes of factor^3 voxels of float tensors [..., H, W, D]; cubes at the far edge may be smaller."""
    flat = maps.reshape(1, -1, *maps.shape[-3:])
    coarse = functional.avg_pool3d(flat, factor, ceil_mode=True, count_include_pad=False)
    return coarse.reshape(*maps.shape[:-3], *coarse.shape[-3:])


def refine(maps, factor, shape):
    """Maps [..., h, w, d] on the finer grid `shape` [H, W, D]: every voxel repeated, cropped at the far edge."""
    for axis, length in enumerate(shape, -3):
        index = torch.arange(length, device=maps.device) // factor
        maps = maps.index_select(axis, index)
    return maps
