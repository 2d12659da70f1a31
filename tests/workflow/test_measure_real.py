"""Numbers measured on anyone's scans: heads without names, lesions on the study grid."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from measure_real import measure_heads, measure_lesions

from essim.cohort.mni import affine_of
from essim.study import burden, realism


def write(path, array, affine):
    path.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


@pytest.fixture
def scans(tmp_path):
    """A table of two people of two sources, one of them with two contrasts."""
    rng, shape = np.random.default_rng(0), (80, 96, 80)
    mask = np.zeros(shape, np.uint8)
    mask[6:74, 6:90, 2:78] = 1
    lines = []
    for name, source, contrasts in (("anna", "a", ("t1",)), ("bert", "b", ("t1", "t2"))):
        write(tmp_path / f"{name}_mask.nii", mask, affine_of(2))
        for contrast in contrasts:
            write(tmp_path / f"{name}_{contrast}.nii", rng.random(shape).astype(np.float32), affine_of(2))
            lines.append((source, contrast, f"{name}_{contrast}.nii", f"{name}_mask.nii", 2))
    table = pd.DataFrame(lines, columns=["source", "contrast", "image", "mask", "voxel_mm"])
    table.to_csv(tmp_path / "scans.csv", index=False)
    return tmp_path / "scans.csv"


def test_heads_get_numbers_for_names(scans):
    table = measure_heads(scans)
    assert table[list(realism.KEYS)].to_numpy().tolist() == [["a", 1, "t1"], ["b", 1, "t1"], ["b", 1, "t2"]]
    assert list(table.columns) == list(realism.real_heads().columns)
    assert not table.astype(str).apply(lambda column: column.str.contains("anna|bert")).any(axis=None)


def test_a_table_with_gaps_is_refused(scans):
    scans.write_text(scans.read_text().replace("b,t2", ",t2"))
    with pytest.raises(ValueError, match="`source`"):
        measure_heads(scans)


def test_lesions_are_measured_on_the_study_grid(tmp_path):
    """A cube of 12 mm in a mask that is stored from right to left; the same volume on every grid."""
    seg, affine = np.zeros((60, 60, 60), np.uint8), np.diag([-1.0, 1, 1, 1])
    affine[:3, 3] = (20.5, -20.5, -2.5)  # its voxels fill the study's of 1, 2 and 4 mm
    seg[20:32, 24:36, 16:28] = 1
    write(tmp_path / "ms/somebody.nii", seg, affine)
    table = measure_lesions({"ms": tmp_path / "ms"})
    assert list(table.voxel_mm) == [1] * 4 + [2] * 4 + [4] * 4 and set(table.statistic) == set(burden.STATISTICS)
    totals = table[table.statistic == "total_ml"].set_index("voxel_mm").q50
    assert totals.to_dict() == pytest.approx({1: 1.728, 2: 1.728, 4: 1.728}, rel=0.4)
    assert totals[1] == pytest.approx(1.728)


def test_a_folder_without_masks_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no NIfTI files"):
        measure_lesions({"ms": tmp_path})
