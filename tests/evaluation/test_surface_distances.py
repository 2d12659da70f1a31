"""Distances between surfaces: analytic plates, and another library."""

import numpy as np
import pytest
from lesion_volumes import MM, NOTHING, TWO

from essim.evaluation.detection import (
    surface_distances,
)


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # in the library
def test_the_distance_between_shifted_plates():
    first, second = np.zeros((2, 30, 30, 30), bool)
    first[10:12, 2:28, 2:28] = True
    second[14:16, 2:28, 2:28] = True
    assert surface_distances(first, first, (1, 1, 1)) == {"distance_mm": 0, "hausdorff95_mm": 0}
    found = surface_distances(first, second, (3, 1, 1))
    # of the faces one looks 4 voxels over to its like, the other 2 voxels to the near side: 12 mm and 6 mm
    assert found["distance_mm"] == pytest.approx(9, abs=0.5)
    assert found["hausdorff95_mm"] == pytest.approx(12, abs=1e-9)
    assert found == pytest.approx(surface_distances(second, first, (3, 1, 1)))


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_surface_distances_against_scikit_images_surface():
    """Two ellipsoids, the distance from the triangles of one to the vertices of the other."""
    from scipy.spatial import KDTree
    from skimage.measure import marching_cubes

    axes = np.meshgrid(*(np.arange(n) - n / 2 for n in (48, 40, 36)), indexing="ij")
    first = (axes[0] / 14) ** 2 + (axes[1] / 10) ** 2 + (axes[2] / 9) ** 2 < 1
    second = ((axes[0] - 9) / 10) ** 2 + ((axes[1] + 2) / 12) ** 2 + (axes[2] / 8) ** 2 < 1
    spacing = (1.0, 1.5, 2.0)

    def surface(volume):
        vertices, faces, *_ = marching_cubes(volume.astype(float), 0.5, spacing=spacing)
        corners = vertices[faces]
        sides = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        middles = corners.mean(1)
        return middles, np.linalg.norm(sides, axis=1) / 2, KDTree(np.concatenate([vertices, middles]))

    (a, area_a, tree_a), (b, area_b, tree_b) = surface(first), surface(second)
    far = [tree_b.query(a)[0], tree_a.query(b)[0]]
    mean = np.average(np.concatenate(far), weights=np.concatenate([area_a, area_b]))
    order = [np.argsort(d) for d in far]
    shares = [np.cumsum(area[o]) / area.sum() for area, o in zip((area_a, area_b), order, strict=True)]
    high = max(d[o][np.searchsorted(s, 0.95)] for d, o, s in zip(far, order, shares, strict=True))
    found = surface_distances(first, second, spacing)
    assert found["distance_mm"] == pytest.approx(mean, abs=0.5)  # a part of a voxel
    assert found["hausdorff95_mm"] == pytest.approx(high, abs=0.5)


def test_no_surface_no_distance():
    for pair in ((NOTHING, TWO), (TWO, NOTHING), (NOTHING, NOTHING)):
        assert all(np.isnan(value) for value in surface_distances(*pair, MM).values())
