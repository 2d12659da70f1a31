"""Scores: where a scan and its reconstructions differ, one file each, with its paper and its equation on top.

In: x [H, W, D] in [0, 1], reconstructions ys [draws, H, W, D], the brain mask, a context. Out: float32 [H, W, D], 0 or
more, higher = more anomalous, 0 outside the mask.
Imports: the core, methods.chain, methods.draws.

    segmenter  no reconstruction: a network that learned made-up lesions
"""
