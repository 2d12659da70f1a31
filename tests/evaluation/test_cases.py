"""Reconstructions on disk: a folder complete or absent, each scan's own noise, what is read was written."""

import time

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import AFFINE, AS_IT_IS, read_cases

from essim import reconstruct
from essim.data.volumes import load_scan
from essim.evaluation import cases
from essim.evaluation.cases import reconstruct_set, residuals, rows_of, widest_slice
from essim.reconstruct import reconstruct_volume

SHAPE = (16, 16, 8)


def everything(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


# --- reconstructing


def test_reconstructed_set_on_disk(scans, diffusion, tmp_path):
    out = tmp_path / "out" / "tumour"
    table = reconstruct_set(diffusion, scans, AS_IT_IS, out, t=300, draws=2, seed=0)
    parts = ("image", "mask", "reconstruction", "seg")
    expected = [f"s{i}" for i in range(3)] + [f"s{i}/{part}.nii.gz" for i in range(3) for part in parts]
    assert everything(out) == sorted([*expected, "scans.csv"])
    assert everything(out.parent)[0] == "tumour"
    assert table.subject.tolist() == ["s0", "s1", "s2"]
    assert not {"image", "mask", "seg"} & set(table.columns)  # no paths that hold on this machine only
    pd.testing.assert_frame_equal(pd.read_csv(out / "scans.csv", keep_default_na=False), table, check_dtype=False)
    for case, line in zip(read_cases(out), scans.to_dict("records"), strict=True):
        scan = load_scan(line, AS_IT_IS)
        assert (case.dataset, case.subject, case.split) == ("tumour", line["subject"], line["split"])
        for part in ("image", "mask", "seg"):
            np.testing.assert_array_equal(getattr(case, part), getattr(scan, part))
        assert case.image.dtype == case.reconstruction.dtype == np.float32
        assert case.mask.dtype == case.seg.dtype == bool
        assert (case.reconstruction[~case.mask] == 0).all()
        assert 0 <= case.reconstruction.min() < case.reconstruction.max() <= 1
        assert np.abs(case.reconstruction - case.image)[case.mask].mean() > 1e-2
        np.testing.assert_allclose(nib.load(out / case.subject / "reconstruction.nii.gz").affine, AFFINE)
        image, reconstruction, mask = case.tensors()
        assert image.shape == reconstruction.shape == mask.shape == (1, 1, *SHAPE)


def test_noise_of_a_scan_does_not_depend_on_the_others(scans, diffusion, tmp_path):
    def run(name, table, **changes):
        settings = {"t": 300, "draws": 1, "seed": 0} | changes
        reconstruct_set(diffusion, table, AS_IT_IS, tmp_path / name, **settings)
        return {case.subject: case.reconstruction for case in read_cases(tmp_path / name)}

    torch.manual_seed(3)
    forward = run("forward", scans)
    backward, alone, other = run("backward", scans[::-1]), run("alone", scans[1:2]), run("other", scans, seed=1)
    for subject in forward:
        np.testing.assert_array_equal(forward[subject], backward[subject])
        assert np.abs(forward[subject] - other[subject]).max() > 1e-2
    np.testing.assert_array_equal(alone["s1"], forward["s1"])


def test_each_scan_has_its_own_noise(scans, diffusion, tmp_path):
    """Two subjects with the same image."""
    twins = pd.concat([scans[:1], scans[:1].assign(subject="twin")])
    reconstruct_set(diffusion, twins, AS_IT_IS, tmp_path / "twins", t=300, draws=1, seed=0)
    one, two = read_cases(tmp_path / "twins")
    np.testing.assert_array_equal(one.image, two.image)
    assert np.abs(one.reconstruction - two.reconstruction).max() > 1e-2


def test_volume_is_reconstructed_slice_by_slice(monkeypatch):
    """With a perfect model, the volume comes back, every slice in its place, whatever the batch size."""

    class Echo:
        betas, tones = torch.zeros(1), 0
        seen = []

        def reconstruct(self, x, t, draws, seed, tone):
            self.seen.append((len(x), tuple(seed)))
            assert x.shape[1:] == (1, 5, 7)
            return x

    monkeypatch.setattr(reconstruct, "BATCH", 4)
    image = np.random.default_rng(0).random((5, 7, 11)).astype(np.float32)
    mask = image > 0.1
    mask[:, :, [0, 6]] = False  # slices without brain aren't shown to the network
    found = reconstruct_volume(Echo(), image, mask, t=500, draws=1, seed=[3])
    np.testing.assert_array_equal(found, image * mask)
    assert Echo.seen == [(4, (3, 0)), (4, (3, 1)), (1, (3, 2))]  # and each batch has its own noise


@pytest.mark.parametrize("before", [False, True])
def test_a_failure_in_the_middle_leaves_no_folder(scans, diffusion, tmp_path, before):
    out = tmp_path / "out" / "tumour"
    if before:
        reconstruct_set(diffusion, scans[:1], AS_IT_IS, out, t=300, draws=1, seed=0)
    content = everything(tmp_path / "out") if before else []
    broken = scans.copy()
    broken.loc[2, "image"] = "gone.nii.gz"
    with pytest.raises(FileNotFoundError, match=r"gone\.nii\.gz: no such file"):
        reconstruct_set(diffusion, broken, AS_IT_IS, out, t=300, draws=1, seed=0)
    assert everything(tmp_path / "out") == content


def test_ctrl_c_leaves_no_folder(scans, diffusion, tmp_path, monkeypatch):
    calls = []

    def interrupt(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return np.zeros(SHAPE, np.float32)

    monkeypatch.setattr(cases, "reconstruct_volume", interrupt)
    with pytest.raises(KeyboardInterrupt):
        reconstruct_set(diffusion, scans, AS_IT_IS, tmp_path / "out" / "x", t=300, draws=1, seed=0)
    assert everything(tmp_path / "out") == []


def test_reconstruct_errors(scans, diffusion, tmp_path):
    with pytest.raises(ValueError, match="no scans to reconstruct; check `dataset` and `contrast`"):
        reconstruct_set(diffusion, scans[:0], AS_IT_IS, tmp_path / "x", t=300, draws=1, seed=0)
    both = pd.concat([scans, scans.assign(contrast="t1")])
    with pytest.raises(ValueError, match="s0.* more than once.*one contrast"):
        reconstruct_set(diffusion, both, AS_IT_IS, tmp_path / "x", t=300, draws=1, seed=0)
    with pytest.raises(ValueError, match=r"t must lie in 1\.\.1000"):
        reconstruct_set(diffusion, scans, AS_IT_IS, tmp_path / "x", t=1001, draws=1, seed=0)
    assert not (tmp_path / "x").exists()


# --- reading


def test_read_cases(folder):
    assert [case.subject for case in read_cases(folder)] == ["007", "b", "c"]
    assert [case.subject for case in read_cases(folder, "test")] == ["b", "c"]
    assert [case.subject for case in read_cases(folder, "val")] == ["007"]
    assert next(read_cases(folder)).seg.sum() == 4 * 14 * 12


def test_read_cases_errors(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"scans\.csv: no such file; reconstruct the set first"):
        list(read_cases(tmp_path / "nowhere"))
    (folder / "b" / "mask.nii.gz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"b/mask\.nii\.gz: cannot be read as NIfTI"):
        list(read_cases(folder))
    (folder / "b" / "mask.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"b/mask\.nii\.gz: no such file"):
        list(read_cases(folder))


def test_rows_have_the_order_of_the_scans(folder, monkeypatch):
    """Whichever case finishes first."""

    def judge(case):
        time.sleep(0.05 * (case.subject == "007"))
        yield from ({"n": n} for n in range(2))

    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    table = rows_of(folder, None, judge, "test")
    assert list(table.columns) == ["dataset", "subject", "n"]
    assert table[["subject", "n"]].to_numpy().tolist() == [[s, n] for s in ("007", "b", "c") for n in (0, 1)]
    assert rows_of(folder, "val", judge, "test").subject.tolist() == ["007", "007"]
    assert rows_of(folder, "train", judge, "test").empty


def test_residuals(folder):
    table = residuals(folder)
    for case, line in zip(read_cases(folder), table.to_dict("records"), strict=True):
        error = np.abs(case.image - case.reconstruction)
        assert line["inside"] == pytest.approx(error[case.seg].mean(), rel=1e-6)
        assert line["outside"] == pytest.approx(error[case.mask & ~case.seg].mean(), rel=1e-6)
        assert line["lesion_voxels"] == case.seg.sum()


def test_widest_slice():
    seg = np.zeros((4, 4, 9), np.uint8)
    assert widest_slice(seg) == 4
    seg[0, 0, 2] = 1
    seg[:2, :2, 7] = 1
    assert widest_slice(seg) == 7
