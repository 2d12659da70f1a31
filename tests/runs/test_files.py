"""`writing`: whole or not at all."""

import errno
import os
import resource
import signal

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from essim.runs.files import remove, writing


def everything(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_writes_a_file_and_makes_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "table.csv"
    with writing(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.endswith("table.csv")
        temporary.write_text("1")
        assert not path.exists()  # nothing is there before the block has ended
    assert path.read_text() == "1"
    assert everything(path.parent) == ["table.csv"]


def test_others_may_read_what_is_written(tmp_path):
    """Whatever the library that wrote it thinks; the umask decides."""
    (tmp_path / "plain").touch()
    with writing(tmp_path / "weights.safetensors") as temporary:
        save_file({"a": torch.zeros(1)}, temporary)
    assert (tmp_path / "weights.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("name", ["scan.nii.gz", "weights.safetensors", "log.csv"])
def test_temporary_name_keeps_the_endings(tmp_path, name):
    with writing(tmp_path / name) as temporary:
        assert temporary.suffixes[-2:] == (tmp_path / name).suffixes or temporary.name.endswith(name)
        assert temporary.name.startswith(".")
        temporary.touch()


def test_replaces_a_file_only_at_the_end(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with writing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert everything(tmp_path) == ["x.txt"]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(0), OSError(errno.EIO, "disk")])
def test_a_failure_leaves_nothing_and_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(type(error)), writing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert everything(tmp_path) == ["x.txt"]


def test_a_failure_leaves_no_new_folder_either(tmp_path):
    with pytest.raises(ValueError, match="bad"), writing(tmp_path / "set") as folder:
        folder.mkdir()
        (folder / "one.txt").write_text("1")
        (folder / "deep").mkdir()
        raise ValueError("bad")
    assert everything(tmp_path) == []


def test_replaces_a_folder_whole(tmp_path):
    path = tmp_path / "set"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with pytest.raises(ValueError, match="bad"), writing(path) as folder:
        folder.mkdir()
        raise ValueError("bad")
    assert everything(path) == ["old.txt"]
    with writing(path) as folder:
        folder.mkdir()
        (folder / "new.txt").write_text("new")
        assert everything(path) == ["old.txt"]
    assert everything(tmp_path) == ["set", "set/new.txt"]


def test_the_old_folder_comes_back_if_the_swap_fails(tmp_path, monkeypatch):
    path = tmp_path / "set"
    path.mkdir()
    (path / "old.txt").write_text("old")
    real, calls = os.replace, []

    def replace(source, target):
        calls.append(target)
        if len(calls) == 2:  # old folder is out of the way, the new one doesn't make it
            raise OSError(errno.EACCES, "denied")
        real(source, target)

    monkeypatch.setattr("essim.runs.files.os.replace", replace)
    with pytest.raises(OSError, match="denied"), writing(path) as folder:
        folder.mkdir()
    assert everything(tmp_path) == ["set", "set/old.txt"]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    def kill_in_the_middle(path):
        child = os.fork()
        if not child:
            with writing(path) as temporary:
                temporary.mkdir()
                (temporary / "half").write_text("x")
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)

    (tmp_path / ".0123456789ab.my.set").write_text("another target's")
    kill_in_the_middle(tmp_path / "set")
    assert len(list(tmp_path.iterdir())) == 2
    with writing(tmp_path / "set") as temporary:
        temporary.mkdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".0123456789ab.my.set", "set"]


def test_writing_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"x\.txt: nothing was written"), writing(tmp_path / "x.txt"):
        pass
    assert everything(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_is_one_sentence_with_the_file(tmp_path, code):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(OSError, match=r"the disk is full.*table\.csv") as caught, writing(path) as temporary:
        temporary.write_text("half")
        raise OSError(code, os.strerror(code))
    assert caught.value.errno == errno.ENOSPC
    assert path.read_text() == "old"
    assert everything(tmp_path) == ["table.csv"]


WRITERS = {
    "bytes": lambda path: path.write_bytes(bytes(10**6)),
    "csv": lambda path: pd.DataFrame({"a": range(10**5)}).to_csv(path),
    "nifti": lambda path: nib.save(nib.Nifti1Image(np.random.default_rng(0).random((30, 30, 30)), np.eye(4)), path),
    "torch": lambda path: torch.save(torch.rand(10**5), path),
    "safetensors": lambda path: save_file({"a": torch.rand(10**5)}, path),
}


@pytest.fixture
def no_room():
    """A limit on the size of files stands for the full disk: it hits inside each library's own writer."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("writer", WRITERS)
def test_no_room_for_our_writers(tmp_path, no_room, writer):
    target = tmp_path / "x.nii.gz"
    with pytest.raises(OSError, match=r"the disk is full.*x\.nii\.gz") as caught, writing(target) as path:
        WRITERS[writer](path)
    assert caught.value.errno == errno.ENOSPC
    assert "\n" not in str(caught.value)
    assert everything(tmp_path) == []


def test_remove(tmp_path):
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    remove(tmp_path / "link")
    assert (tmp_path / "folder").is_dir()  # the link went, not what it points to
    for name in ("folder", "file", "never there"):
        remove(tmp_path / name)
    assert everything(tmp_path) == []
