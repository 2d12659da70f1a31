"""The command line of score on a head whose tilt is known, and what came out."""

import base64
import gzip
import json
import re

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

from essim.score.__main__ import main

THRESHOLD = 0.3
TILT = nib.affines.from_matvec(Rotation.from_euler("xyz", [8, -6, 12], degrees=True).as_matrix(), [6, -9, 11])


def run(scan, model, out, *options):
    """The command line, on a folder of scan and mask, with the paper's ensemble unless asked; returns the exit code."""
    words = [
        scan / "scan.nii.gz",
        "--mask",
        scan / "mask.nii.gz",
        "--model",
        model,
        "--out",
        out,
        "--strategy",
        "adaptive",
        *options,
    ]
    return main([str(word) for word in words])


def read(out, name):
    return np.asarray(nib.load(out / f"{name}.nii.gz").dataobj)


def unpacked(page):
    """What a page contains: (its facts, a dict; its volumes, uint8 [names, X, Y, Z])."""
    facts, voxels = (re.search(rf'id="{name}">(.*?)</script>', page, re.DOTALL)[1] for name in ("facts", "voxels"))
    facts, voxels = json.loads(facts), np.frombuffer(gzip.decompress(base64.b64decode(voxels)), np.uint8)
    return facts, voxels.reshape(len(facts["names"]), *facts["shape"][::-1]).transpose(0, 3, 2, 1)
