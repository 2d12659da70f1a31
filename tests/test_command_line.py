"""The one command, and what an installation holds: built as a wheel, run from there."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from essim import __main__ as door
from essim.models import find_model, pretrained

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("command", door.COMMANDS)
def test_every_command_shows_an_example(command, capsys):
    with pytest.raises(SystemExit) as end:
        door.main([command, "--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0 and shown.startswith(f"usage: essim {command}")
    assert re.search(rf"examples?:\s+essim {command}\b", shown)


@pytest.mark.parametrize("words", [[], ["scor"], ["models", "more"], ["score"], ["score", "a.nii", "--table", "b.csv"]])
def test_what_is_no_command(words):
    with pytest.raises(SystemExit) as end:
        door.main(words)
    assert end.value.code == 2


def test_stopping_a_command_is_one_sentence(monkeypatch, capsys):
    from essim.train import __main__ as room

    def stopped(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "main", stopped)
    assert door.main(["train", "settings.json", "out"]) == 130
    assert capsys.readouterr().err == "train: stopped; run the same command again.\n"


def test_help_comes_at_once():
    """No room of the package is imported for it."""
    code = "import sys, essim.__main__; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_folder_of_the_same_name_is_not_taken_for_the_package(tmp_path):
    """As where one works beside the clone."""
    (tmp_path / "essim").mkdir()
    subprocess.run([sys.executable, "-c", "import essim; essim.ensemble_map"], check=True, cwd=tmp_path)


def test_the_networks_are_listed(capsys):
    assert door.main(["models"]) == 0
    listed = capsys.readouterr().out
    for kind in ("anatomies", "laptop"):
        for contrast, folder in pretrained(kind).items():
            assert f"{folder.name:16} {contrast:6} 2 mm" in listed and str(folder) in listed
    assert find_model("anatomies_t2") == pretrained()["t2"] and find_model("mine") == Path("mine")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What pip would unpack into an environment: the wheel of a copy of the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("essim", "models"):
        hidden = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / "source" / name, symlinks=True, ignore=hidden)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    build = [sys.executable, "-m", "pip", "wheel", folder / "source", "--no-deps", "--no-build-isolation", "-w", folder]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_all_it_needs(installed):
    wanted = [path for path in (ROOT / "essim").rglob("*.py*") if path.suffix in (".py", ".pyi")]
    wanted += [*(ROOT / "essim/study").glob("*.csv"), ROOT / "essim/score/page.html"]
    assert not [path for path in wanted if not (installed / path.relative_to(ROOT)).is_file()]
    for contrast in ("t1", "t2", "flair"):
        kept, came = ROOT / f"models/anatomies_{contrast}", installed / f"essim/pretrained/anatomies_{contrast}"
        assert {p.name: p.read_bytes() for p in kept.iterdir()} == {p.name: p.read_bytes() for p in came.iterdir()}
    assert sum(path.stat().st_size for path in installed.rglob("*")) < 25e6, "no more than these"
    (entry,) = installed.glob("*.dist-info/entry_points.txt")
    assert "essim = essim.__main__:main" in entry.read_text()


def test_an_installation_finds_its_networks(installed, tmp_path):
    """Away from the source tree, and by the contrast in the scan's name: the scan is what is missing then."""
    (tmp_path / "sub-01_T2w.nii.gz").write_text("no scan")
    code = (
        "from essim.__main__ import main; main(['models']); main(['score', 'sub-01_T2w.nii.gz', '--mask', 'nonzero'])"
    )
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert str(installed / "essim/pretrained/anatomies_t2") in done.stdout and "laptop" not in done.stdout
    assert "sub-01_T2w.nii.gz: cannot be read as NIfTI" in done.stderr
