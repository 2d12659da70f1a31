"""Masks on another grid than their scan: accepted where they fit, refused where they only seem to."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from helpers import save
from odd_files import write
from odd_heads import MM, OBLIQUE, grown, placed, put, template

from essim.data.datasets import load_scans
from essim.prepare import align
from essim.prepare.folder import prepare
from essim.prepare.registration import UNSTATED, place

pytestmark = pytest.mark.usefixtures("quick")


def drawn_elsewhere(folder, volume, shift=(0, 0, 0), spacing=(2.6, 3.1, 5)):
    """A mask of the patient on a grid of its own, in the same space but for a shift in mm."""
    affine = nib.affines.from_matvec(np.diag(spacing), [-95, -120, -80])
    grid = align.to_sitk(np.zeros((74, 80, 36), np.uint8), affine)
    moved = np.eye(4)
    moved[:3, 3] = shift
    label = align.sample_label(align.to_sitk(volume, OBLIQUE), grid, moved)
    return save(folder, align.from_sitk(label)[0].astype(np.uint8), affine)


def test_lesions_on_the_grid_of_a_flair(tmp_path, plain):
    """They are accepted, with a note on how they lie."""
    paths = put(tmp_path)
    here = placed(paths, seg=paths["seg"])
    found = placed(paths, seg=drawn_elsewhere(tmp_path / "flair.nii.gz", grown()[2]))
    assert not here.notes and (here.seg > 0).any()
    overlap = 2 * ((here.seg > 0) & (found.seg > 0)).sum() / ((here.seg > 0).sum() + (found.seg > 0).sum())
    ((text, trust),) = found.notes
    assert overlap > 0.8 and trust > 0.9
    assert "the lesions lie on another grid and were resampled (nearest neighbour): 1" in text or "99%" in text


def test_a_brain_mask_on_another_grid(tmp_path, plain):
    paths = put(tmp_path)
    found = placed(paths, drawn_elsewhere(tmp_path / "other.nii.gz", grown()[1]))
    assert 2 * (found.mask & plain.mask).sum() / (found.mask.sum() + plain.mask.sum()) > 0.95
    ((text, trust),) = found.notes
    assert trust > 0.9 and "the brain mask lies on another grid and was resampled (nearest neighbour)" in text


@pytest.mark.parametrize("kind", ["mask", "seg"])
def test_masks_that_lie_beside(tmp_path, kind):
    volume = grown()[1 if kind == "mask" else 2]
    beside = drawn_elsewhere(tmp_path / "beside.nii.gz", volume, shift=(0, 90, 60) if kind == "mask" else (0, 0, -90))
    with pytest.raises(ValueError, match=r"beside.nii.gz: the .* (not lie on|outside) .* give th") as caught:
        placed(put(tmp_path), **{"mask": beside} if kind == "mask" else {"seg": beside})
    assert "\n" not in str(caught.value)


def sform_for_a_template(folder):
    """The scan's sform says where it lies in MNI space, its qform where it lay in the scanner; masks have the qform."""
    paths, scanner = put(folder), OBLIQUE.copy()
    scanner[:3, 3] += 12, -18, 25
    scan = nib.load(paths["t2"])
    scan.set_qform(scanner, 1)
    scan.set_sform(OBLIQUE, 4)
    nib.save(scan, paths["t2"])
    for kind, volume in (("mask", grown()[1]), ("seg", grown()[2])):
        paths[kind] = str(write(folder / f"{kind}.nii.gz", volume.astype(np.uint8), scan.get_qform()))
    return paths, "sform and qform of the scan disagree"


def codes_0(folder):
    paths = put(folder)
    write(paths["t2"], grown()[0], OBLIQUE, sform=0, qform=0)
    return paths, "the scan's header doesn't say where it lies"


def masks_without_header(folder):
    paths = put(folder)
    for kind, volume in (("mask", grown()[1]), ("seg", grown()[2])):
        write(paths[kind], volume.astype(np.uint8), np.eye(4))
    return paths, "the mask's affine seems to have lost the size of its voxels"


TRAPS = [sform_for_a_template, codes_0, masks_without_header]


@pytest.mark.parametrize("trap", TRAPS)
def test_masks_that_fit_by_shape_only_are_refused_at_every_door(tmp_path, trap):
    """With one sentence that names both files and the way out."""
    paths, reason = trap(tmp_path)
    row = {"dataset": "tumour", "subject": "x", "split": "test", "contrast": "t2", "image": paths["t2"]}
    pd.DataFrame([row | {"mask": paths["mask"], "seg": paths["seg"]}]).to_csv(tmp_path / "t.csv", index=False)
    for kind in ("mask", "seg"):
        sentence = f"{paths[kind]}: does not fit {paths['t2']}: {reason}"
        with pytest.raises(ValueError) as caught:
            place({"t2": paths["t2"]}, template(), **{"mask": paths["mask"], "seg": "", kind: paths[kind]})
        assert str(caught.value).startswith(f"{paths['mask']}: does not fit {paths['t2']}: {reason}")
        with pytest.raises(ValueError) as caught:
            load_scans(tmp_path / "t.csv")
        assert sentence in str(caught.value) and "give both the same header" in str(caught.value)
    _, failures = prepare(tmp_path / "t.csv", tmp_path / "out", voxel_mm=MM)
    assert reason in failures[0][2]


def test_the_rule_of_the_masks_holds_for_lesions(tmp_path):
    paths = put(tmp_path)
    write(paths["seg"], grown()[2].astype(np.uint8), np.eye(4))
    with pytest.raises(ValueError, match=r"seg.nii.gz: does not fit .*t2.nii.gz: the mask's affine seems to have lost"):
        placed(paths, seg=paths["seg"])


def test_a_scan_and_a_mask_that_say_nothing_are_taken_with_a_doubt(tmp_path):
    ((text, trust),) = placed(put(tmp_path, sform=0, qform=0)).notes
    assert text.startswith(UNSTATED) and trust == 0
