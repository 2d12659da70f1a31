"""Noise for the diffusion model: Gaussian, and the simplex noise of the paper.

In: a shape [N, C, H, W] and a seed. Out: a float32 tensor of that shape, an independent field for each image (with
`simplex_shared`, one field for the whole batch).
Paper: section 2 (simplex noise, after AnoDDPM, Wyatt et al., CVPRW 2022).

Simplex noise (here K. Spencer's OpenSimplex of 2014, which AnoDDPM uses) puts a random gradient g_l on
every point l of a triangular lattice. With d the vector from lattice point l to the pixel, the pixel receives

    n(pixel) = sum_l max(0, 2 - |d|^2)^4 (g_l . d) / 47

This is *linear* in the gradients, and the factors depend on the pixel grid only. So all octaves of a whole batch
are one sparse matrix (built once per image size) times a matrix of random gradients (one column per image).
"""

import functools
import math
import warnings

import numpy as np
import torch

# the 8 directions of a gradient and the factor 1/47 are OpenSimplex's
GRADIENTS = torch.tensor([(5, 2), (2, 5), (-5, 2), (-2, 5), (5, -2), (2, -5), (-5, -2), (-2, -5)]) / 47.0
STRETCH = (1 / math.sqrt(3) - 1) / 2  # pixel -> lattice coordinates
SQUISH = (math.sqrt(3) - 1) / 2  # lattice -> pixel coordinates
REACH = [(i, j) for i in (-1, 0, 1, 2) for j in (-1, 0, 1, 2)]  # lattice points that can reach a pixel


def octave_weights(height, width, wavelength, shift=(0.0, 0.0)):
    """How much of each lattice point's gradient each pixel receives, for one octave.

    `wavelength` is in pixels; the first pixel lies at `shift` (x, y), in wavelengths. Returns int64 arrays `pixel`,
    `point` and float64 arrays `along_x`, `along_y` (one entry per pixel and lattice point within its
    reach), and `points`: the [L, 2] lattice coordinates that `point` indexes.
    """
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    x, y = columns.ravel() / wavelength + shift[0], rows.ravel() / wavelength + shift[1]
    base_x, base_y = (np.floor(c + (x + y) * STRETCH).astype(np.int64) for c in (x, y))
    pixels, lattice, along_x, along_y = [], [], [], []
    for i, j in REACH:
        at_x, at_y = base_x + i, base_y + j
        dx = x - at_x - (at_x + at_y) * SQUISH
        dy = y - at_y - (at_x + at_y) * SQUISH
        attenuation = np.clip(2 - dx**2 - dy**2, 0, None) ** 4
        near = np.flatnonzero(attenuation)
        pixels.append(near)
        lattice.append(np.stack([at_x[near], at_y[near]], 1))
        along_x.append(attenuation[near] * dx[near])
        along_y.append(attenuation[near] * dy[near])
    points, point = np.unique(np.concatenate(lattice), axis=0, return_inverse=True)
    return np.concatenate(pixels), point.ravel(), np.concatenate(along_x), np.concatenate(along_y), points


@functools.lru_cache(maxsize=8)
def simplex_matrix(height, width, octaves, persistence, frequency, device):
    """Sparse [H*W, 2L] float32 matrix: gradients on the lattices of all octaves -> noise field.

    Octave k has wavelength frequency / 2^k pixels and amplitude persistence^k; the octaves are summed, not normalised.
    A simplex field is 0 on its lattice points, and points of a coarse lattice lie on the finer ones too: unshifted, a
    few pixels would get no noise in any image. So each octave's lattice is shifted, by a low-discrepancy sequence.
    """
    row, column, value, offset = [], [], [], 0
    for k in range(octaves):
        pixel, point, along_x, along_y, points = octave_weights(
            height, width, frequency / 2**k, shift=(k * 0.7549, k * 0.5698)
        )
        row += [pixel, pixel]
        column += [offset + 2 * point, offset + 2 * point + 1]
        value += [persistence**k * along_x, persistence**k * along_y]
        offset += 2 * len(points)
    index = torch.from_numpy(np.stack([np.concatenate(row), np.concatenate(column)]))
    value, size = torch.from_numpy(np.concatenate(value)).float(), (height * width, offset)
    matrix = torch.sparse_coo_tensor(index, value, size, check_invariants=False).coalesce().to(device)
    with warnings.catch_warnings():  # torch calls its CSR layout a beta; here its product is 7 times faster than COO's
        warnings.filterwarnings("ignore", "Sparse", UserWarning)
        return matrix.to_sparse_csr()


def simplex_noise(shape, *, octaves=6, persistence=0.8, frequency=64, seed=None, device="cpu", shared=False):
    """Simplex noise: float32 [N, C, H, W] on `device`, mean 0, not normalised (standard deviation about 0.6).

    Args:
        shape: (N, C, H, W).
        octaves, persistence, frequency: octave k = 0..octaves-1 has wavelength frequency / 2^k pixels and amplitude
            persistence^k (the paper's 6, 0.8 and 64).
        seed: an int gives the same fields again, on any device; None draws a seed from torch's global generator.
        shared: True gives every image of the batch the same field, as the paper's released code does.

    Raises:
        ValueError: `shape` doesn't have four entries, or `octaves` is below 1.

    >>> import essim
    >>> field = essim.simplex_noise((2, 1, 96, 96), seed=0)
    >>> field.shape, bool((field[0] == field[1]).any())
    (torch.Size([2, 1, 96, 96]), False)
    """
    if len(shape) != 4:
        raise ValueError(f"simplex_noise: shape must be (N, C, H, W), got {tuple(shape)}; noise is drawn per slice.")
    if octaves < 1:
        raise ValueError(f"simplex_noise: octaves must be at least 1, got {octaves}.")
    n, c, height, width = shape
    matrix = simplex_matrix(height, width, octaves, persistence, frequency, str(device))
    generator = torch.Generator()
    generator.manual_seed(torch.randint(2**63 - 1, ()).item() if seed is None else seed)
    fields = 1 if shared else n * c
    choice = torch.randint(len(GRADIENTS), (fields, matrix.shape[1] // 2), generator=generator)
    gradients = GRADIENTS[choice].reshape(fields, -1).to(device)  # [fields, 2L]
    with torch.autocast(matrix.device.type, enabled=False):  # float32, whatever the caller computes in
        field = (matrix @ gradients.T).T.reshape(fields, height, width)
    return field.expand(n * c, -1, -1).reshape(n, c, height, width).contiguous()


def gaussian_noise(shape, *, seed=None, device="cpu"):
    """Standard normal noise: float32 of any `shape` on `device`; the same for the same `seed` on any device."""
    generator = torch.Generator()
    generator.manual_seed(torch.randint(2**63 - 1, ()).item() if seed is None else seed)
    return torch.randn(shape, generator=generator).to(device)


NOISES = {
    "simplex": simplex_noise,
    "simplex_shared": functools.partial(simplex_noise, shared=True),
    "gaussian": gaussian_noise,
}
