"""Noise: exact agreement with the opensimplex package, statistics, seeds."""

import numpy as np
import pytest
import torch
from opensimplex.constants import GRADIENTS2
from opensimplex.internals import _init, _noise2

from essim.noise import NOISES, gaussian_noise, octave_weights, simplex_matrix, simplex_noise


def opensimplex_field(seed, height, width, wavelength, shift=(0.0, 0.0)):
    permutation, _ = _init(seed)
    return np.array(
        [
            [_noise2(c / wavelength + shift[0], r / wavelength + shift[1], permutation) for c in range(width)]
            for r in range(height)
        ]
    )


def our_field(seed, height, width, wavelength, shift=(0.0, 0.0)):
    """Our field on the gradients that opensimplex's permutation gives to the lattice points."""
    p, _ = _init(seed)
    pixel, point, along_x, along_y, points = octave_weights(height, width, wavelength, shift)
    first = [int(p[(int(p[i & 255]) + j) & 255]) & 0x0E for i, j in points]
    gradients = np.array([GRADIENTS2[f : f + 2] for f in first]) / 47
    field = np.zeros(height * width)
    np.add.at(field, pixel, along_x * gradients[point, 0] + along_y * gradients[point, 1])
    return field.reshape(height, width)


@pytest.mark.parametrize(
    ("height", "width", "wavelength", "shift"),
    [(24, 31, 16, (0, 0)), (31, 24, 2, (0, 0)), (20, 20, 64, (0.75, 0.57)), (16, 40, 7.3, (-3.2, 11.4))],
)
def test_is_opensimplex_exactly(height, width, wavelength, shift):
    expected = opensimplex_field(3, height, width, wavelength, shift)
    assert expected.std() > 0.05
    np.testing.assert_allclose(our_field(3, height, width, wavelength, shift), expected, atol=1e-12, rtol=0)


def test_gradients_are_opensimplexs():
    from essim.noise import GRADIENTS

    theirs = {tuple(g) for g in np.reshape(GRADIENTS2, (-1, 2)).tolist()}
    ours = {tuple(g) for g in (GRADIENTS * 47).round().int().tolist()}
    assert ours == theirs
    assert len(ours) == 8


def test_statistics_match_opensimplex():
    """Standard deviation and power per ring of frequencies, over many fields, within 5 %: our random gradients are
    drawn independently, opensimplex's come from a permutation."""
    n, seeds, wavelength = 32, 100, 8

    def power(fields):
        spectrum = np.abs(np.fft.fft2(fields - fields.mean())) ** 2
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n), indexing="ij"))
        rings = np.digitize(frequency, [0, 0.08, 0.14, 0.25, 1])
        return np.array([spectrum[:, rings == ring].sum() for ring in range(1, 5)]) / len(fields)

    theirs = np.stack([opensimplex_field(seed, n, n, wavelength) for seed in range(seeds)])
    ours = simplex_noise((4 * seeds, 1, n, n), octaves=1, frequency=wavelength, seed=0)[:, 0].numpy()
    assert ours.std() == pytest.approx(theirs.std(), rel=0.05)
    assert abs(ours.mean()) < 0.01
    share_ours, share_theirs = (p / p.sum() for p in (power(ours), power(theirs)))
    np.testing.assert_allclose(share_ours, share_theirs, atol=0.02)
    strong = share_theirs > 0.1
    assert strong.sum() >= 2
    np.testing.assert_allclose(power(ours)[strong], power(theirs)[strong], rtol=0.1)


def test_paper_noise_has_the_expected_size():
    fields = simplex_noise((200, 1, 48, 48), seed=1)
    assert fields.std().item() == pytest.approx(0.59, rel=0.05)
    assert abs(fields.mean().item()) < 0.03


def test_every_pixel_gets_noise():
    """A simplex field is 0 on its lattice points. If the octaves' lattices shared points, some pixels would get no
    noise in any image."""
    spread = simplex_noise((300, 1, 80, 96), seed=0).std(0)
    assert spread.min() > 0.6 * spread.mean()
    assert spread.max() < 1.3 * spread.mean()


def test_seeds():
    a = simplex_noise((3, 2, 16, 24), seed=7)
    assert a.shape == (3, 2, 16, 24)
    assert a.dtype == torch.float32
    assert torch.equal(a, simplex_noise((3, 2, 16, 24), seed=7))
    assert not torch.equal(a, simplex_noise((3, 2, 16, 24), seed=8))
    # without a seed: new every time, but fixed by torch's own
    assert not torch.equal(simplex_noise((1, 1, 16, 16)), simplex_noise((1, 1, 16, 16)))
    torch.manual_seed(5)
    b = simplex_noise((1, 1, 16, 16))
    torch.manual_seed(5)
    assert torch.equal(b, simplex_noise((1, 1, 16, 16)))


def test_a_seed_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    simplex_noise((1, 1, 16, 16), seed=1)
    gaussian_noise((1, 1, 16, 16), seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_one_field_an_image():
    fields = simplex_noise((12, 1, 32, 32), octaves=3, frequency=16, seed=0).flatten(1)
    correlation = torch.corrcoef(fields) - torch.eye(12)
    assert correlation.abs().max() < 0.6
    assert len({tuple(f[:50].tolist()) for f in fields}) == 12


def test_shared_field():
    fields = simplex_noise((4, 1, 16, 16), seed=0, shared=True)
    assert (fields == fields[:1]).all()
    assert fields.is_contiguous()
    assert fields[0].std() > 0.05
    assert torch.equal(fields[:1], simplex_noise((1, 1, 16, 16), seed=0))
    assert torch.equal(fields, NOISES["simplex_shared"]((4, 1, 16, 16), seed=0))


def test_octaves_add_up_with_their_amplitudes():
    """Linear: three octaves are the first plus 0.5 times the second plus 0.25 times the third."""
    persistence, frequency, shape = 0.5, 32, (20, 28)
    parts = [simplex_matrix(*shape, k, persistence, frequency, "cpu").to_dense() for k in (1, 2, 3)]
    widths = [part.shape[1] for part in parts]
    assert widths == sorted(set(widths))  # finer octaves have more lattice points
    assert torch.equal(parts[2][:, : widths[1]], parts[1])  # the octaves stand side by side
    unit = simplex_matrix(*shape, 3, 1.0, frequency, "cpu").to_dense()
    scale = torch.cat([torch.full((n,), 0.5**k) for k, n in enumerate(np.diff([0, *widths]).tolist())])
    assert torch.allclose(parts[2], unit * scale, atol=1e-6, rtol=0)
    # amplitude 0: only the first octave is left
    one = simplex_noise((1, 1, *shape), octaves=1, frequency=frequency, seed=0)
    assert one.std() > 0.05


def test_wavelength():
    """A field of wavelength 32 changes from pixel to pixel four times less than one of wavelength 8."""

    def step(frequency):
        field = simplex_noise((64, 1, 48, 48), octaves=1, frequency=frequency, seed=0)
        return ((field[..., 1:] - field[..., :-1]).std() / field.std()).item()

    assert step(8) / step(32) == pytest.approx(4, rel=0.15)


def test_gaussian_noise():
    noise = gaussian_noise((8, 1, 64, 64), seed=0)
    assert noise.mean().item() == pytest.approx(0, abs=0.03)
    assert noise.std().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(noise, gaussian_noise((8, 1, 64, 64), seed=0))
    assert not torch.equal(noise, gaussian_noise((8, 1, 64, 64), seed=1))
    assert NOISES["gaussian"] is gaussian_noise and NOISES["simplex"] is simplex_noise


def test_errors():
    with pytest.raises(ValueError, match=r"shape must be \(N, C, H, W\), got \(16, 16\)"):
        simplex_noise((16, 16))
    with pytest.raises(ValueError, match="octaves must be at least 1, got 0"):
        simplex_noise((1, 1, 16, 16), octaves=0)


def test_noise_is_float32_where_the_network_computes_in_bfloat16():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = simplex_noise((2, 1, 32, 40), seed=3)
    assert found.dtype == torch.float32 and torch.equal(found, simplex_noise((2, 1, 32, 40), seed=3))
