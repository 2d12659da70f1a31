"""Scores: where a scan and its reconstructions differ, one file each, which begins with its paper and its equation.

In: x [H, W, D] in [0, 1], reconstructions ys [draws, H, W, D], the brain mask, a `context.Context`. Out: float32
[H, W, D], 0 or more, higher = more anomalous, 0 outside the mask.
Imports: the core, methods.chain, methods.context, methods.draws.

A score's file has `score(x, ys, mask, *, context)`, `DRAWS`, how many reconstructions it needs at least, and `NEEDS`,
which fields of the context it can't do without. It doesn't smooth: the harness does (essim.evaluation.at_best), in the
same way for all. y is the mean of the draws.

    l1                |x - y|
    l2                its square
    ssim              1 - SSIM at the usual window
    structure         1 - SSIM's second factor, contrast and structure
    contrast          1 - its contrast alone
    ssim_l1           .84 of ssim and .16 of l1
    l1_ssim_mean      the mean of l1 and SSIM
    l1_ssim_max       the larger
    l1_ssim_product   their product
    adaptive          the paper's ensemble of windows
    calibrated        ours: in units of the spread of healthy scans
    l1_calibrated     the same with l1 alone
    mahalanobis       in units of the spread of the draws
    andi              no reconstruction: how far steps of the reverse chain go astray
    segmenter         no reconstruction: a network trained on synthetic lesions
"""
