"""Scores: where a scan and its reconstructions differ, one file each, with its paper and its equation on top.

In: x [H, W, D] in [0, 1], reconstructions ys [draws, H, W, D], the brain mask, a `context.Context`. Out: float32
[H, W, D], 0 or more, higher = more anomalous, 0 outside the mask.
Imports: the core, methods.chain, methods.context, methods.draws.

A score's file has `score(x, ys, mask, *, context)`, `DRAWS`, how many reconstructions it needs at least, and `NEEDS`,
which fields of the context it can't do without. It doesn't smooth: that is the harness's (essim.evaluation.at_best),
the same for all. y is the mean of the draws.

    l1                |x - y|
    l2                its square
    ssim              1 - SSIM at the usual window
    structure         one less SSIM's second factor, contrast and structure
    contrast          one less its contrast alone
    ssim_l1           .84 and .16 of both
    l1_ssim_mean      the mean of l1 and SSIM
    l1_ssim_max       the larger
    l1_ssim_product   their product
    adaptive          the paper's ensemble of windows
    calibrated        ours: measured by healthy scans
    mahalanobis       measured by the spread of the draws
    andi              steps of the reverse chain that go astray
    segmenter         no reconstruction either: a network that learned made-up lesions
"""
