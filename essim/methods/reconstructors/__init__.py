"""Reconstructors: scans as if they were healthy, one file each, with its paper and its equation on top.

In: a scan and its brain mask, a trained network or None. Out: float32 [draws, H, W, D] in [0, 1], 0 outside the mask.
Imports: the core.

    blur   no network: a Gaussian mean
    ddpm   the paper's: one prediction from a noised scan
"""
