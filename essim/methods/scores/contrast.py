"""SSIM's contrast alone: E. Huijben, S. Amirrajab, J. Pluim, arXiv 2412.17586 (2024).

    c = (2 sd_x sd_y + c2) / (var_x + var_y + c2),        A = 1 - c = (sd_x - sd_y)^2 / (var_x + var_y + c2)

The rest of cs, how far x and y vary together, is left out: only how *much* each varies around a voxel is compared.
Published: of the metrics tried on an autoencoder's reconstructions, this and LPIPS were the best at finding homogeneous
discs; combined, on two networks, they had a pixel-level AUPRC of 0.66.
"""

import torch

from essim.methods.context import USUAL, pair
from essim.ssim import K2, blur, check_pair

DRAWS, NEEDS = 1, ()


def score(x, ys, mask, *, context):
    """As `essim.methods.scores` says."""
    x, y = pair(x, ys)
    c2 = (K2 * check_pair(x, y, [USUAL], None).item()) ** 2
    volumes = torch.cat([x, y]).double()[:, 0]
    variances = (blur(volumes.square(), USUAL) - blur(volumes, USUAL).square()).clamp(min=0)
    total = variances.sum(0) + c2
    return (variances.sqrt().diff(dim=0)[0].square() / torch.where(total > 0, total, 1)).numpy()
