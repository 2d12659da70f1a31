"""What a healthy brain shows at every place and every scale: the yardstick of `strategy="calibrated"`.

In: reconstructed healthy scans of one contrast that the network has not learned from (essim.evaluation.cases), all on one grid of
one atlas space. Out: a `Calibration`, kept beside the network as calibration.safetensors, at half the resolution.

SSIM divides what differs in structure (D in essim.ssim) by the contrast that the same scan has there (C): folds, which
are never reconstructed exactly, and even tissue, where there is little but noise to compare, have a level of their own
at every sigma. Here the divisor comes from healthy scans. With f_0 = |x - y| and f_i = sqrt(D) at sigma_i, at a voxel v

    z_i(v) = (f_i(v) - m_i(v)) / s_i(v)          m, s: mean and standard deviation of f_i in healthy scans around v
    A(v)   = max(0, z_0 / 2 + sum_i z_i / 2K)    how much more than a healthy brain shows, in its standard deviations

Beyond the paper: 07_calibrated_ensemble shows what else was tried, and how this was chosen.
"""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from scipy import ndimage

from essim.ensemble import differences
from essim.evaluation.cases import case_rows, read_case
from essim.evaluation.scoring import for_each
from essim.grids import shrink
from essim.runs.files import writing
from essim.ssim import check_pair

FILE = "calibration.safetensors"  # in a model folder
PRIOR = 2  # scans of the whole brain's distribution that are added at every place
SMOOTHING = 0.5  # voxels of the half grid: neighbours lend each other what few scans can't tell


@dataclass(frozen=True)
class Calibration:
    """The healthy distribution of the differences f_0, f_1 ... f_K.

    sigmas: the K window sizes, in voxels. shape: the grid [H, W, D] of the scans. mean, sd: float32 [1 + K, h, w, d] on
    half that grid (each side divided by 2 and rounded up), in units of the data range. scans: how many there were.
    """

    sigmas: tuple
    shape: tuple
    mean: torch.Tensor = field(repr=False)
    sd: torch.Tensor = field(repr=False)
    scans: int

    @cached_property
    def gains(self):
        """What each difference is multiplied by: float32 [1 + K, h, w, d]."""
        weights = torch.tensor([1 / 2] + [1 / 2 / len(self.sigmas)] * len(self.sigmas))
        return weights[:, None, None, None] / self.sd

    @cached_property
    def expected(self):
        """What is taken off their sum: float32 [h, w, d]."""
        return (self.gains * self.mean).sum(0)

    def save(self, path, about=None):
        """Write one safetensors file, the maps in float16; `about`, its provenance, is kept in it."""
        maps = {"mean": self.mean.half(), "sd": self.sd.half()}
        facts = {"sigmas": self.sigmas, "shape": self.shape, "scans": self.scans, "about": about}
        with writing(path) as temporary:
            save_file(maps, temporary, {name: json.dumps(value, default=str) for name, value in facts.items()})


def load_calibration(path):
    """The `Calibration` of a file or of the model folder that it lies in.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or something else.
    """
    path = Path(path) / FILE if Path(path).is_dir() else Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; notebook 03_healthy writes it.")
    try:
        with safe_open(path, "pt") as file:
            facts = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
            maps = [file.get_tensor(name).float() for name in ("mean", "sd")]
        return Calibration(tuple(facts["sigmas"]), tuple(facts["shape"]), *maps, facts["scans"])
    except (SafetensorError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: damaged or no calibration ({reason}); run notebook 03_healthy again.") from error


def fit(folder, sigmas):
    """The calibration of the validation part of a folder of healthy scans, and one without each of its scans.

    A scan stands out less from a calibration that has seen it. Where something is learned from the same scans later, a
    threshold for instance, each is to be scored with the calibration that leaves it out.

    Returns: (`Calibration`, {subject: `Calibration` without it}). Errors are those of `measure`.
    """
    scans, shape = measure(folder, sigmas)
    total, count = sum(scans.values()), len(scans)
    without = {name: calibrate(total - own, count - 1, sigmas, shape) for name, own in scans.items()}
    return calibrate(total, count, sigmas, shape), without


def measure(folder, sigmas):
    """The moments of every scan of the validation part of a folder, and their grid: ({subject: tensor}, [H, W, D]).

    Raises:
        ValueError: fewer than 2 scans, or not all on one grid.
        FileNotFoundError: as `read_case`.
    """

    def one(row):
        case = read_case(folder, row)
        x, y, _ = case.tensors()
        maps = differences(x, y, sigmas, check_pair(x, y, sigmas, None))
        return case.mask.shape, moments(maps[:, 0, 0], case.mask)

    rows = case_rows(folder, "val")
    if len(rows) < 2:
        raise ValueError(f"{folder}: has {len(rows)} healthy validation scan(s); a calibration needs 2 or more.")
    shapes, scans = zip(*for_each(one, rows, "calibrate"), strict=True)
    if len({*shapes}) > 1:
        raise ValueError(f"{folder}: has scans on grids of {sorted({*shapes})}; a calibration needs one grid for all.")
    return dict(zip((row["subject"] for row in rows), scans, strict=True)), shapes[0]


def calibrate(sums, count, sigmas, shape, smoothing=SMOOTHING):
    """The `Calibration` that follows from the added moments of `count` scans."""
    return Calibration(tuple(sigmas), tuple(shape), *distribution(sums, smoothing), count)


def moments(maps, mask):
    """What one scan adds: float64 [1 + 2 M, h, w, d], how much brain a place has, and its sums of M maps and squares.

    Args: maps: tensor [M, H, W, D]. mask: bool [H, W, D]. Moments of scans on one grid are added up.
    """
    inside = torch.from_numpy(mask).double()
    maps = maps.double() * inside
    return shrink(torch.cat([inside[None], maps, maps.square()]), 2)


def distribution(sums, smoothing=SMOOTHING):
    """(mean, standard deviation) at every place, float32 [M, h, w, d] each, from the moments of scans added up.

    Smoothed over space (Gaussian, `smoothing` voxels); then PRIOR scans of the whole brain's distribution are added,
    which remain where few scans have any brain.
    """
    count = len(sums) // 2
    brain = sums.flatten(1).sum(1)
    overall = (brain[1:] / brain[0])[:, None, None, None]
    smooth = torch.from_numpy(ndimage.gaussian_filter(sums.numpy(), (0, *[smoothing] * 3)))
    mean, square = ((smooth[1:] + PRIOR * overall) / (smooth[0] + PRIOR)).split(count)
    sd = (square - mean.square()).clamp(min=1e-12).sqrt()  # a window of one voxel has no structure to differ in
    return mean.float(), sd.float()
