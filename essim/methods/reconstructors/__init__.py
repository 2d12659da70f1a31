"""Reconstructors: scans as if they were healthy, one file each, with its paper and its equation on top.

In: a scan and its brain mask, a trained network or None. Out: float32 [draws, H, W, D] in [0, 1], 0 outside the mask.
Imports: the core, train, methods.chain, methods.draws.

A reconstructor's file has `reconstruct(model, image, mask, *, draws, seed)`, with image float32 [H, W, D] in [0, 1],
mask bool [H, W, D], draws at least 1, seed an int or a list of ints; `DRAWS`, how many it needs at least; `NETWORK`,
whose network it takes, and what `methods.networks` says where that is its own.

    blur      no network: a Gaussian mean
    ae        through a bottleneck
    vae       the same, with a distribution in it
    dae       an autoencoder that takes away coarse noise
    ddpm      the paper's: one prediction from a noised scan
    anoddpm   back in several steps that draw noise
    ddim      back in several steps that draw none
    autoddpm  what looks ill is filled in, the rest stays
    thor      back in several steps, drawn towards the scan where it looks healthy
    pddpm     a patch is noised, what is around it stays
    cddpm     told what the scan looks like
    mddpm     learned on slices with holes
"""
