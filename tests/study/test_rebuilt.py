"""Scans rebuilt with several draws kept: folders of reconstructions, whole or not at all."""

import numpy as np
import pandas as pd
import pytest
from helpers import read_cases

from essim.evaluation.cases import case_rows, read_case
from essim.study import rebuilt

ASKED = {"draws": 3, "seed": 7, "counts": {"val": 8, "test": 1}}


def noisy(image, mask, *, draws, seed):
    """A reconstructor: dark noise from its seed."""
    return np.random.default_rng(seed).random((draws, *image.shape), np.float32) * mask / 4


@pytest.fixture
def noise_rebuilt(folder, tmp_path):
    out = tmp_path / "methods/noisy/ms"
    rebuilt.rebuild(folder, out, noisy, **ASKED)
    return out


def test_a_folder_of_several_draws_is_one_of_reconstructions(folder, noise_rebuilt):
    rows = pd.DataFrame(case_rows(noise_rebuilt))
    assert list(rows.subject) == ["007", "b"] and list(rows.split) == ["val", "test"]
    assert (rows.seconds > 0).all() and (rows.threads >= 1).all()
    for case in read_cases(noise_rebuilt):
        before = read_case(folder, {"dataset": "ms", "subject": case.subject, "split": case.split})
        for part in ("image", "mask", "seg"):
            assert np.array_equal(getattr(case, part), getattr(before, part))
        ys = rebuilt.read_draws(noise_rebuilt, case)
        expected = noisy(case.image, case.mask, draws=3, seed=[7, *case.subject.encode()])
        np.testing.assert_allclose(ys, expected, atol=1 / 2**15)
        np.testing.assert_allclose(case.reconstruction, expected.mean(0), atol=1e-6)


def test_a_reconstruction_does_not_depend_on_the_other_scans(folder, noise_rebuilt, tmp_path):
    rebuilt.rebuild(folder, tmp_path / "alone", noisy, **ASKED | {"counts": {"test": 2}})
    (case,) = read_cases(noise_rebuilt, "test")
    assert np.array_equal(rebuilt.read_draws(noise_rebuilt, case), rebuilt.read_draws(tmp_path / "alone", case))


def test_no_scans_and_a_failure_leave_no_folder(folder, tmp_path):
    with pytest.raises(ValueError, match="cases: has no scans of train; reconstruct the set again"):
        rebuilt.rebuild(folder, tmp_path / "new", noisy, **ASKED | {"counts": {"train": 2}})

    def fails(image, mask, **how):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        rebuilt.rebuild(folder, tmp_path / "new", fails, **ASKED)
    assert not (tmp_path / "new").exists()
