"""Counts at every threshold, and the FROC curve that pools them."""

import numpy as np
import pandas as pd
from lesion_volumes import EVERYTHING, NOTHING, SHAPE, blobs, same
from scipy import ndimage

from essim.evaluation.detection import (
    detect,
    froc,
    operating_points,
)
from essim.postprocess import remove_small


def scan(seed):
    rng = np.random.default_rng(seed)
    seg = remove_small(blobs(rng, 0.02))
    anomaly = ndimage.gaussian_filter(rng.random(SHAPE) + seg * rng.random(SHAPE), 0.7).astype(np.float32)
    scored = EVERYTHING.copy()
    scored[:3] = False
    return anomaly, seg, scored


def test_operating_points_are_the_counts_at_each_threshold():
    anomaly, seg, scored = scan(0)
    cuts = np.quantile(anomaly, [0.5, 0.9, 0.99, 1])
    points = operating_points(anomaly, seg, scored, cuts)
    assert list(points.columns) == ["threshold", "lesions", "found", "false_positives"]
    assert points.found.nunique() > 2
    for row in points.itertuples():
        whole = detect(remove_small(anomaly > row.threshold), seg, scored)
        assert (row.lesions, row.found, row.false_positives) == tuple(
            whole[key] for key in ("lesions", "found", "false_positives")
        )
    assert points.iloc[-1][["found", "false_positives"]].sum() == 0, "nothing lies above the highest score"
    empty = operating_points(np.zeros(SHAPE), NOTHING, scored, [0.5])
    assert empty.iloc[0][["lesions", "found", "false_positives"]].sum() == 0


def test_the_froc_curve_pools_lesions_and_averages_scans():
    points = [
        pd.DataFrame({"threshold": [0.2, 0.1], "lesions": n, "found": found, "false_positives": false})
        for n, found, false in ((4, [1, 3], [0, 2]), (1, [0, 1], [1, 6]), (0, [0, 0], [2, 4]))
    ]
    curve = froc(pd.concat(points))
    assert list(curve.threshold) == [0.2, 0.1]
    same(curve.sensitivity, [1 / 5, 4 / 5])
    same(curve.false_positives, [1, 4])
    assert (curve.scans == 3).all()
    healthy = froc(points[2])
    assert healthy.sensitivity.isna().all() and list(healthy.false_positives) == [2, 4]
    both = froc(pd.concat([p.assign(method=m) for m in ("l1", "ssim") for p in points[:1]]), by=["method"])
    assert list(both.method) == ["l1", "l1", "ssim", "ssim"] and (both.scans == 1).all()


def test_the_froc_curve_rises_and_falls_again_where_all_is_marked():
    scans = [scan(seed) for seed in range(3)]
    cuts = np.quantile(np.concatenate([s[0].ravel() for s in scans]), np.linspace(1, 0, 9))
    curve = froc(pd.concat([operating_points(*s, cuts) for s in scans]))
    assert curve.sensitivity.iloc[0] == 0 and curve.sensitivity.max() > 0
    below = froc(pd.concat([operating_points(*s, [-1]) for s in scans]))
    assert below.sensitivity.item() == 0 and below.false_positives.item() == 1
