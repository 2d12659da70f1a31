"""A cortex of one's own: distances are distances, and heads differ in their folds."""

import numpy as np

from essim.cohort import anatomy, fields, folds, mni


def test_distance_to_a_level_is_in_mm():
    x, y, z = mni.world_of(2)
    oblique = 0.3 * (0.6 * x + 0.8 * z - 5)
    expected = np.abs(0.6 * x + 0.8 * z - 5)
    inner = (slice(2, -2),) * 3
    np.testing.assert_allclose(folds.distance_to_level(oblique, 2, 0)[inner], expected[inner], rtol=1e-3, atol=1e-3)


def test_a_field_at_points_is_the_field_of_the_grid():
    world = mni.world_of(4)
    field = fields.noise_at(np.random.default_rng(0), world, 12)
    points = world[:, ::3, ::3, ::3] + 0.0
    np.testing.assert_array_equal(fields.noise_at(np.random.default_rng(0), points, 12), field[::3, ::3, ::3])
    assert abs(field.mean()) < 0.15 and 0.8 < field.std() < 1.2


def test_two_heads_share_the_nuclei_and_not_the_folds():
    first, second = (anatomy.grow_head(np.random.default_rng(seed), 2, 40) for seed in (1, 2))
    both = first.mask & second.mask
    x, y, z = mni.world_of(2)
    nuclei = both & (np.abs(x) < 30) & (np.abs(y + 8) < 25) & (np.abs(z - 4) < 14)
    cortex = both & (first.depth < 12) & (z > 20)

    def alike(where):
        return np.corrcoef(first.fractions[2][where], second.fractions[2][where])[0, 1]

    assert alike(nuclei) > 0.5 > 0.35 > alike(cortex)


def test_what_a_voxel_holds_adds_up():
    head = anatomy.grow_head(np.random.default_rng(0), 2, 70)
    assert head.fractions.min() >= 0
    np.testing.assert_allclose(head.fractions.sum(0)[head.mask], 1, atol=1e-5)
    shares = head.fractions[:, head.mask].mean(1)
    csf, grey, white, deep, vessel, dura = shares
    assert 0.1 < csf < 0.35 and 0.3 < grey < 0.55 and 0.25 < white < 0.45
    assert 0.001 < deep < 0.03 and 0.003 < vessel < 0.03 and 0.001 < dura < 0.1
