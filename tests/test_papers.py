"""What stands beside the code, for those who carry it on: paths that are named exist."""

import re
from pathlib import Path

import essim

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("essim", "workflow", "notebooks", "tests", "docs", "models", "results/reference", "benchmarks")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_path_in_contributing_exists():
    text = read("CONTRIBUTING.md")
    words = re.findall(r"[\w./-]+", re.sub(r"\S*[<*]\S*", "", text))
    paths = {word.rstrip(".") for word in words if word.startswith(tuple(f"{folder}/" for folder in FOLDERS))}
    assert len(paths) > 20
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_every_command_in_contributing_is_a_target():
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    named = set(re.findall(r"make (?:-n )?([a-z]+)", read("CONTRIBUTING.md")))
    assert named and named <= targets


def test_every_name_in_contributing_is_in_its_file():
    for name, path in re.findall(r"`([A-Z_]{4,})` in `(\S+\.py)`", read("CONTRIBUTING.md")):
        assert re.search(rf"^{name} = ", read(path), re.MULTILINE), f"{path} has no {name}"


def test_the_changelog_has_the_present_version():
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", read("CHANGELOG.md"), re.MULTILINE)
    assert versions[0] == essim.__version__
    assert versions == sorted(versions, key=lambda version: [int(n) for n in version.split(".")], reverse=True)
