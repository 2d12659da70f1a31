"""Healthy volumes in memory, served as batches of axial slices.

In: rows of the scan table. Out: tensors [N, 1, H, W] in [0, 1], and the tones of their volumes (essim.tone). Which
slice comes when is a function of seed and place in an endless list, never of what was served before.
Paper: section 3 (training): axial slices, one random slice per volume and epoch.
"""

import functools
import os
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from tqdm import tqdm

from essim.data.splits import validation_parts
from essim.data.volumes import load_scan
from essim.tone import tone_of

VALIDATION_SLICES = 64  # of a training


def quiet():
    """Whether another process of this training shows the progress bars."""
    return int(os.environ.get("RANK", 0)) > 0


class HealthySlices:
    """Healthy volumes in memory, served as batches of axial slices.

    A batch is two float32 tensors: the slices [N, 1, H, W] in [0, 1], and the tones [N, TONES] of their volumes.
    """

    def __init__(self, rows, preprocessing, name, cache=None):
        if not len(rows):
            raise ValueError(f"train: no healthy {name} scans of this contrast in the table; check the split files.")
        records = rows.to_dict("records")
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            loaded = pool.map(lambda row: load_scan(row, preprocessing, cache), records)
            scans = list(tqdm(loaded, total=len(records), desc=f"{name} volumes", unit="volume", disable=quiet()))
        self.volumes = [np.ascontiguousarray(scan.image.transpose(2, 0, 1)) for scan in scans]  # [D, H, W] each
        self.filled = [np.flatnonzero(scan.mask.any((0, 1))) for scan in scans]  # slices that show brain
        self.tones = torch.from_numpy(np.stack([tone_of(scan.image, scan.mask) for scan in scans]))  # [V, TONES]
        self.pixel_mm = float(np.linalg.norm(scans[0].affine[:3, 0]))  # of the slices that are served, ...
        self.voxel_mm = self.pixel_mm / preprocessing.factor  # ... and of the scans as they came
        self.checksum = functools.reduce(lambda crc, volume: zlib.crc32(volume, crc), self.volumes, 0)

    def __len__(self):
        return len(self.volumes)

    def epoch(self, seed, epoch):
        """Which slice of which volume, in which order: a list of (volume, slice), fixed by seed and epoch."""
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(self))
        return [(volume, rng.choice(self.filled[volume])) for volume in order]

    def batch(self, seed, places):
        """The batch at some places (a range) of the endless list, in which epochs follow each other without a gap."""
        epochs = {e: self.epoch(seed, e) for e in {place // len(self) for place in places}}
        return self._stack([epochs[place // len(self)][place % len(self)] for place in places])

    def spread(self, count):
        """The batch of `count` slices (or all, if they are fewer), spread evenly over volumes and heights."""
        picks = [(volume, z) for volume in range(len(self)) for z in self.filled[volume]]
        return self._stack(
            [picks[i] for i in np.linspace(0, len(picks) - 1, min(count, len(picks))).round().astype(int)]
        )

    def _stack(self, picks):
        slices = torch.stack([torch.from_numpy(self.volumes[volume][z])[None] for volume, z in picks])
        return slices, self.tones[[volume for volume, _ in picks]]


def load_healthy(scans, contrast, preprocessing, cache=None):
    """The healthy scans of one contrast, those to train on and those to validate on: two `HealthySlices`.

    Of the validation scans only those that may choose a step are used (`validation_parts`).
    """
    rows = scans[(scans.dataset == "healthy") & (scans.contrast == contrast)]
    rows = rows[validation_parts(rows).isin(["", "step"])]
    return [HealthySlices(rows[rows.split == part], preprocessing, part, cache) for part in ("train", "val")]
