"""The loops that the notebooks share: reconstruct a set, score it, sum it up."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import AFFINE, AS_IT_IS, row
from torch import nn

from essim import study
from essim.diffusion import GaussianDiffusion
from essim.study import (
    compare,
    levels,
    read_cases,
    reconstruct_set,
    reconstruct_volume,
    regret,
    residuals,
    score_set,
    summarise,
    training_length,
    typical,
    widest_slice,
    without_steps,
)
from essim.volumes import load_scan, save_nifti

SHAPE = (16, 16, 8)


class Shrink(nn.Module):
    """A stand-in for a network."""

    def forward(self, x, t):
        return 0.8 * x


@pytest.fixture(scope="module")
def diffusion():
    return GaussianDiffusion(Shrink())


@pytest.fixture
def scans(tmp_path):
    lesion = np.zeros(SHAPE, bool)
    lesion[6:9, 6:9, 3:5] = True
    parts = ["val", "test", "test"]
    return pd.DataFrame([row(tmp_path / "in", seed=i, split=s, lesion=lesion) for i, s in enumerate(parts)])


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
    """With a perfect model, the volume comes back, every slice in its place, whatever fits into a batch."""

    class Echo:
        betas = torch.zeros(1)
        seen = []

        def reconstruct(self, x, t, draws, seed):
            self.seen.append((len(x), tuple(seed)))
            assert x.shape[1:] == (1, 5, 7)
            return x

    monkeypatch.setattr(study, "SLICES", 4)
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

    monkeypatch.setattr(study, "reconstruct_volume", interrupt)
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


def write_cases(folder, cases):
    """A folder of reconstructions from {subject: (split, image, reconstruction, mask, seg)}."""
    for subject, (_, *volumes) in cases.items():
        (folder / subject).mkdir(parents=True)
        for part, volume in zip(study.PARTS, volumes, strict=True):
            save_nifti(folder / subject / f"{part}.nii.gz", volume, AFFINE)
    lines = [{"dataset": "ms", "subject": name, "split": case[0]} for name, case in cases.items()]
    pd.DataFrame(lines).to_csv(folder / "scans.csv", index=False)
    return folder


def slab(width, shape=(16, 14, 12)):
    """A lesion along one side of the volume: the one shape that a median leaves as it is."""
    seg = np.zeros(shape, bool)
    seg[-width:] = True
    return seg


@pytest.fixture
def folder(tmp_path):
    """One validation case and two test cases; the mask is the whole volume, but for a corner."""
    cases = {}
    for name, split, width in (("007", "val", 4), ("b", "test", 3), ("c", "test", 5)):
        seg, mask = slab(width), np.ones((16, 14, 12), bool)
        mask[:4, :5, :4] = False
        image = np.random.default_rng(width).random(seg.shape).astype(np.float32) * mask
        cases[name] = (split, image, np.zeros_like(image), mask, seg)
    return write_cases(tmp_path / "cases", cases)


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


# --- scoring


def scorer(case):
    """A perfect score, a useless one, and one that is right but twice as large in the validation part."""
    seg = torch.from_numpy(case.seg)[None, None].float()
    scale = 1.0 if case.split == "val" else 0.4
    graded = torch.where(seg > 0, 1.0, 0.6) * scale
    return {"perfect": seg, "useless": torch.full_like(seg, 0.5), "shifted": graded}


def test_score_set(folder):
    table = score_set(folder, scorer)
    assert list(table.columns) == [
        "dataset",
        "subject",
        "split",
        "method",
        "auprc",
        "dice",
        "best_dice",
        "threshold",
        "prevalence",
    ]
    assert len(table) == 3 * 3
    assert set(table.dataset) == {"ms"}
    assert table.groupby("subject").split.first().to_dict() == {"007": "val", "b": "test", "c": "test"}
    by = table.set_index(["method", "subject"])
    brain = 16 * 14 * 12 - 4 * 5 * 4
    for subject, width in (("007", 4), ("b", 3), ("c", 5)):
        prevalence = width * 14 * 12 / brain
        assert by.loc["perfect", subject].prevalence == pytest.approx(prevalence, abs=1e-12)
        assert by.loc["perfect", subject][["auprc", "dice", "best_dice"]].tolist() == [1, 1, 1]
        assert by.loc["useless", subject].auprc == pytest.approx(prevalence, abs=1e-9)
        everything_marked = 2 * prevalence / (1 + prevalence)
        assert by.loc["useless", subject].dice == pytest.approx(everything_marked, abs=1e-9)
        assert by.loc["useless", subject].best_dice == pytest.approx(everything_marked, abs=1e-9)
    # thresholds come from the validation part alone: on test cases, the shifted score never reaches its own
    shifted = by.loc["shifted"]
    assert shifted.auprc.tolist() == pytest.approx([1, 1, 1])
    assert shifted.best_dice.tolist() == pytest.approx([1, 1, 1])
    assert shifted.dice[["007", "b", "c"]].tolist() == pytest.approx([1, 0, 0])
    assert shifted.threshold.nunique() == 1
    assert shifted.threshold.iloc[0] == pytest.approx(0.6, abs=1e-6)


def test_specks_are_removed_before_dice(tmp_path):
    """The map passes a median, so a speck is drawn behind it: 7 voxels go, 8 stay."""
    shape, mask = (16, 14, 12), np.ones((16, 14, 12), bool)
    image = np.zeros(shape, np.float32)
    cases = {s: (split, image, image, mask, slab(4)) for s, split in (("a", "val"), ("b", "test"))}
    folder = write_cases(tmp_path / "cases", cases)
    dices = {}
    for voxels in (7, 8):
        speck = slab(4)
        speck[1, 1, 1 : 1 + voxels] = True
        original = study.postprocess
        study.postprocess = lambda anomaly, mask, speck=speck: speck.astype(np.float32)
        try:
            table = score_set(folder, lambda case: {"m": torch.zeros(1, 1, *shape)})
        finally:
            study.postprocess = original
        dices[voxels] = table.dice.iloc[-1]
    lesion = 4 * 14 * 12
    assert dices == {7: 1.0, 8: pytest.approx(2 * lesion / (2 * lesion + 8))}


def test_score_set_without_validation_part(folder):
    table = pd.read_csv(folder / "scans.csv", dtype=str)
    table[table.split == "test"].to_csv(folder / "scans.csv", index=False)
    with pytest.raises(ValueError, match="has no validation cases; thresholds need"):
        score_set(folder, scorer)


def test_a_score_with_nan_stops(folder):
    def broken(case):
        return {"nan": torch.full((1, 1, 16, 14, 12), float("nan"))}

    with pytest.raises(ValueError, match="NaN or infinite"):
        score_set(folder, broken)


def test_residuals(folder):
    table = residuals(folder)
    for case, line in zip(read_cases(folder), table.to_dict("records"), strict=True):
        error = np.abs(case.image - case.reconstruction)
        assert line["inside"] == pytest.approx(error[case.seg].mean(), rel=1e-6)
        assert line["outside"] == pytest.approx(error[case.mask & ~case.seg].mean(), rel=1e-6)
        assert line["lesion_voxels"] == case.seg.sum()


def test_levels(tmp_path):
    seg, mask = slab(10, shape=(52, 50, 6)), np.ones((52, 50, 6), bool)
    case = ("val", np.ones(seg.shape, np.float32), np.zeros(seg.shape, np.float32), mask, seg)
    folder = write_cases(tmp_path / "cases", {"a": case})

    def rim(case):  # 9 on the voxels that the erosion takes, which must not count
        step = np.where(case.seg, 3.0, 1.0)
        step[:2] = step[-2:] = step[:, :2] = step[:, -2:] = 9
        return {"step": torch.from_numpy(step)[None, None]}

    assert levels(folder, rim).to_dict("records") == [{"dataset": "ms", "method": "step", "healthy": 1, "lesion": 3}]


def test_without_steps(tmp_path):
    seg, mask = slab(2, shape=(52, 50, 6)), np.ones((52, 50, 6), bool)  # the erosion takes all of the lesion
    case = ("val", np.ones(seg.shape, np.float32), np.zeros(seg.shape, np.float32), mask, seg)
    folder = write_cases(tmp_path / "cases", {"a": case})
    table = without_steps(folder, scorer).set_index(["method", "steps"]).auprc
    share = seg.mean()
    assert table["perfect", "no erosion"] == table["perfect", "no erosion, no median"] == 1
    assert table["perfect", "as scored"] == pytest.approx(share, abs=1e-9)
    assert table["perfect", "no median"] == pytest.approx(share, abs=1e-9)
    assert len(table) == 3 * 4


def test_training_length(scans, diffusion, tmp_path):
    """The network that made the reconstructions scores as they do; one that returns its input finds nothing."""
    folder = tmp_path / "out"
    reconstruct_set(diffusion, scans, AS_IT_IS, folder, t=[500], draws=2, seed=3)
    oracle = GaussianDiffusion(nn.Identity())
    oracle.reconstruct = lambda x, **_: x
    networks = {1: oracle, 9: diffusion}
    table = training_length(folder, networks, scorer_of_difference, t=[500], draws=2, seed=3)
    assert list(table.columns) == ["dataset", "step", "method", "auprc", "error"]
    assert table[["step", "method"]].to_numpy().tolist() == [[1, "l1"], [9, "l1"]]
    (case,) = read_cases(folder, "val")
    scores = score_set(folder, scorer_of_difference)
    assert table.auprc[1] == scores[scores.split == "val"].auprc.item()
    assert table.auprc[0] == pytest.approx(case.seg[case.mask].mean(), abs=1e-9)  # chance
    error = np.abs(case.image - case.reconstruction)[case.mask & ~case.seg].mean()
    assert table.error.tolist() == pytest.approx([0, error], rel=1e-6)


def scorer_of_difference(case):
    x, y, _ = case.tensors()
    return {"l1": (x - y).abs()}


def test_widest_slice():
    seg = np.zeros((4, 4, 9), np.uint8)
    assert widest_slice(seg) == 4
    seg[0, 0, 2] = 1
    seg[:2, :2, 7] = 1
    assert widest_slice(seg) == 7


# --- summing up


def scores(values, split="test"):
    """A score table from {dataset: {method: [auprc of each subject]}}."""
    lines = [
        {"dataset": d, "subject": f"{d}{i}", "split": split, "method": m, "auprc": v, "dice": v / 2}
        for d, methods in values.items()
        for m, subjects in methods.items()
        for i, v in enumerate(subjects)
    ]
    return pd.DataFrame(lines).assign(best_dice=0.9, threshold=0.1, prevalence=0.01)


def test_summarise():
    test = scores({"tumour": {"l1": [0.2, 0.4], "ssim": [0.6, 1.0]}, "ms": {"l1": [0.1], "ssim": [0.3]}})
    table = summarise(pd.concat([scores({"tumour": {"l1": [0.9]}}, "val"), test]))
    assert table[["dataset", "method"]].to_numpy().tolist() == [
        ["tumour", "l1"],
        ["tumour", "ssim"],
        ["ms", "l1"],
        ["ms", "ssim"],
    ]
    assert table.auprc.tolist() == pytest.approx([0.3, 0.8, 0.1, 0.3])
    assert table.dice.tolist() == pytest.approx([0.15, 0.4, 0.05, 0.15])
    assert table.subjects.tolist() == [2, 2, 1, 1]
    assert summarise(scores({"ms": {"l1": [0.5]}}, "val"), "val").auprc.tolist() == [0.5]


def test_regret_by_hand():
    values = {
        "tumour": {"0.3": [0.8], "1.1": [0.6], "adaptive": [0.7], "l1": [1.0]},
        "ms": {"0.3": [0.05], "1.1": [0.2], "adaptive": [0.15], "l1": [0.1]},
    }
    table = regret(summarise(scores(values)), ["0.3", "1.1"]).set_index("method").regret
    # best singles: tumour 0.8, ms 0.2
    assert table["0.3"] == pytest.approx((0 + 0.15 / 0.2) / 2)
    assert table["1.1"] == pytest.approx((0.2 / 0.8 + 0) / 2)
    assert table["adaptive"] == pytest.approx((0.1 / 0.8 + 0.05 / 0.2) / 2)
    assert table["l1"] == pytest.approx((-0.2 / 0.8 + 0.1 / 0.2) / 2)  # better than the best single on one set
    assert table.tolist() == sorted(table)
    halves = regret(summarise(scores(values)), ["0.3", "1.1"], score="dice").set_index("method").regret
    pd.testing.assert_series_equal(halves, table, check_exact=False)  # dice is half of auprc here: the same shares


def test_typical_is_the_median_patient():
    table = pd.concat(
        [scores({"ms": {"l1": [0.9, 0.1, 0.5], "ssim": [0.0, 0.1, 0.2]}}), scores({"ms": {"l1": [0.7]}}, "val")]
    )
    assert typical(table, "l1").subject == "ms2"
    assert typical(table, "ssim").subject == "ms1"


def test_compare_by_hand():
    table = scores({"tumour": {"a": [0.5, 0.7, 0.3], "b": [0.4, 0.4, 0.4]}, "ms": {"a": [0.1, 0.2], "b": [0.1, 0.1]}})
    table = pd.concat([table, scores({"tumour": {"a": [1.0], "b": [0.0]}}, "val")])
    found = compare(table, "a", "b")
    assert found.dataset.tolist() == ["tumour", "ms"]
    assert found.gain.tolist() == pytest.approx([0.1, 0.05])
    assert found.error.tolist() == pytest.approx([0.2 / 3**0.5, 0.05])
    assert found.better.tolist() == pytest.approx([2 / 3, 1 / 2])
    assert found.subjects.tolist() == [3, 2]
