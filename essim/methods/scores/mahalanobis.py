"""The Mahalanobis distance from several reconstructions: F. Behrendt et al., MICCAI 2024, arXiv 2407.12474.

Where the draws of a slice disagree, a difference from their mean is no surprise. With d = x - mean(ys) and S their
covariance over the voxels of the slice's brain,

    A_v = sqrt(max(0, d_v (P^-1 d)_v)),        P = S + lambda I

The sum of A_v^2 over v is the squared distance of the slice; a voxel's share of it can be negative, if its difference
merely follows from its neighbours', and is then 0 here. lambda = 0.01, as in the authors' code. S has as many rows as a
slice has voxels, but no more rank than there are draws: with C the n draws minus their mean [n, voxels] (Woodbury),

    P^-1 d = (d - C^T (lambda (n - 1) I + C C^T)^-1 C d) / lambda

Published, with a cDDPM: AUPRC 15.9 % (BraTS21), 35.4 % (ATLAS), 48.0 % (MSLUB) and 4.7 % (WMH) higher than with single
reconstructions.
"""

import numpy as np

DRAWS, NEEDS = 2, ()
PRIOR = 0.01  # lambda: variance of every voxel in addition to that of the draws


def score(x, ys, mask, *, context):
    """As `essim.methods.scores` says."""
    result = np.zeros(x.shape)
    for z in np.flatnonzero(mask.any((0, 1))):
        inside = mask[:, :, z]
        draws = ys[:, inside, z].astype(float)
        result[inside, z] = shares(x[inside, z] - draws.mean(0), draws - draws.mean(0), PRIOR)
    return result


def shares(difference, centred, prior):
    """A_v of every voxel of a slice: [V], from the difference [V] and the draws minus their mean [n, V]."""
    n = len(centred)
    inner = prior * max(n - 1, 1) * np.eye(n) + centred @ centred.T
    weighed = (difference - np.linalg.solve(inner, centred @ difference) @ centred) / prior
    return np.sqrt(np.clip(difference * weighed, 0, None))
