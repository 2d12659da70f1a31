"""Fusion quality: Z. Pan et al., *Rethinking Medical Anomaly Detection in Brain MRI*, arXiv 2408.08228 (2024).

    A = .84 (1 - SSIM) + .16 |x - y|

Published: with an intensity transform of the scan, which is left out here, a gain of more than 10 % in Dice and AUPRC
on BraTS21 (T2, FLAIR) and MSLUB, on pDDPM's reconstructions.
"""

from essim.methods.context import l1_and_ssim

DRAWS, NEEDS = 1, ()
ALPHA = 0.84  # of SSIM


def score(x, ys, mask, *, context):
    """As `essim.methods.scores` says."""
    l1, half = l1_and_ssim(x, ys)
    return ALPHA * 2 * half + (1 - ALPHA) * l1
