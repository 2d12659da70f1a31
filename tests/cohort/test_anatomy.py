"""Heads: deformations that can be undone, the same head at every voxel size, and age."""

import numpy as np
import pytest

from essim.cohort import anatomy, lesions, mni
from essim.cohort.generate import CohortConfig, grow_subject


@pytest.mark.parametrize("age", [20, 110])
def test_deformation_is_invertible_at_every_age(age):
    for seed in range(6):
        u = anatomy.draw_displacement(np.random.default_rng(seed), 2, age)
        assert 0.05 < anatomy.jacobian(u, 2).min() < 1


def test_mass_effect_is_invertible_and_moves_tissue():
    push = lesions._mass_effect(np.array([30, -20, 20], np.float32), 25, 0.4)
    moved, still = (anatomy.draw_displacement(np.random.default_rng(0), 2, 60, p) for p in (push, None))
    assert 0.05 < anatomy.jacobian(moved, 2).min() < 1
    assert 2 < np.abs(moved - still).max() < 15  # mm


def test_jacobian_of_a_known_map():
    x = mni.world_of(4)
    scaling = np.stack([0.1 * x[0], -0.2 * x[1], 0.3 * x[2]])
    np.testing.assert_allclose(anatomy.jacobian(scaling, 4), 1.1 * 0.8 * 1.3, rtol=1e-4)


def test_sample_is_exact_on_linear_maps():
    i, j, k = np.indices((8, 9, 7), dtype=np.float32)
    points = np.random.default_rng(0).uniform(0.5, 5.5, (3, 50)).astype(np.float32)
    got = mni.sample(np.stack([i + 2 * j, k], -1), 2 * points + 10, (10, 10, 10), 2)
    np.testing.assert_allclose(got, [points[0] + 2 * points[1], points[2]], atol=1e-4)


def test_one_seed_is_one_head_at_every_voxel_size():
    fine, coarse = (grow_subject(CohortConfig(voxel_mm=v), "healthy", 0) for v in (2, 4))
    volumes = [made["mask"].sum() * v**3 / 1000 for made, v in ((fine, 2), (coarse, 4))]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.03)
    block = fine["mask"].reshape(40, 2, 48, 2, 40, 2).mean((1, 3, 5)) > 0.5
    assert 2 * (block & (coarse["mask"] > 0)).sum() / (block.sum() + coarse["mask"].sum()) > 0.96


def test_age_widens_ventricles_and_thins_cortex():
    heads = [[anatomy.grow_head(np.random.default_rng(seed), 4, age) for seed in range(4)] for age in (22, 84)]
    ventricles = [sum(((h.ventricle < 0) & h.mask).sum() for h in group) for group in heads]
    grey = [np.mean([h.fractions[1].sum() / h.mask.sum() for h in group]) for group in heads]
    assert 1.15 < ventricles[1] / ventricles[0] < 4
    assert 0.7 < grey[1] / grey[0] < 0.99


def test_the_template_is_what_nilearn_gives():
    from nilearn import datasets

    loads = {"t1": datasets.load_mni152_template, "gm": datasets.load_mni152_gm_template}
    loads |= {"wm": datasets.load_mni152_wm_template}
    for kind, load in loads.items():
        volume, affine = mni.read_file(kind)
        theirs = load(resolution=1)
        assert (volume == np.asarray(theirs.dataobj)).all() and (affine == theirs.affine).all()
    brain = np.asarray(datasets.load_mni152_brain_mask(resolution=1).dataobj) > 0
    assert (brain == (mni.read_file("t1")[0] > mni.BRAIN)).all()
