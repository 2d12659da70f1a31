"""Reconstructors: scans as if they were healthy, one file each, which begins with its paper and its equation.

In: a scan and its brain mask, a trained network or None. Out: float32 [draws, H, W, D] in [0, 1], 0 outside the mask.
Imports: the core, train, methods.chain, methods.draws.

A reconstructor's file has `reconstruct(model, image, mask, *, draws, seed)`, with image float32 [H, W, D] in [0, 1],
mask bool [H, W, D], draws at least 1, seed an int or a list of ints; `DRAWS`, how many it needs at least; `NETWORK`,
whose network it takes, and if that is its own, what `methods.networks` asks for.

    blur         no network: a Gaussian mean
    ae           through a bottleneck
    vae          the same, with a distribution in the bottleneck
    dae          an autoencoder that removes coarse noise
    ddpm         the paper's: one prediction from a noised scan
    ddpm_longer  the same with the study's own network
    anoddpm      back in several steps that add noise
    ddim         back in several steps that add none
    autoddpm     what looks ill is filled in, the rest stays
    thor         back in several steps, drawn towards the scan where it looks healthy
    pddpm        one patch is noised, its surroundings stay
    cddpm        conditioned on what the scan looks like
    mddpm        trained on slices with holes
"""
