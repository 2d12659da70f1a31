"""The papers that accompany the code: paths exist, and numbers are the reference's."""

import re
from pathlib import Path

import pandas as pd
import verify
import yaml

import essim

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "results/reference"
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


def test_the_paper_is_short_and_cites_what_it_lists():
    text, sources = read("paper.md"), read("paper.bib")
    body = re.sub(r"<!--.*?-->", "", text.split("---", 2)[2], flags=re.DOTALL)
    assert len(body.split()) < 1000
    assert set(re.findall(r"@([a-z_]+\d*[a-z]*)", body)) == set(re.findall(r"^@\w+\{(\w+),", sources, re.MULTILINE))


def test_the_paper_quotes_the_reference():
    text = " ".join(read("paper.md").split())
    told = pd.read_csv(REFERENCE / "confirm/tables/confirm.csv").query("column == 'at_best'")
    verdicts = told.groupby(["claim", "verdict"]).size()
    for words, claim, verdict in (
        ("the control is ahead of the absolute difference on (\\w+) ", "calibrated l1 is ahead of l1", "confirmed"),
        ("ensemble ahead of the control on (\\w+),", "the calibrated ensemble is ahead of calibrated l1", "confirmed"),
        ("is behind the absolute difference on (\\w+)\\.", "the paper's ensemble is ahead of l1", "the opposite"),
    ):
        assert ("", "one", "two", "three", "four").index(re.search(words, text)[1]) == verdicts[claim, verdict]
    times = pd.read_csv(REFERENCE / "bench/ssim_cpu.csv").set_index(["size", "contender"]).milliseconds / 1000
    size, ours, others = re.search(
        r"a (\d+ x \d+ x \d+) volume in (\S+) s .*? torchmetrics takes (\d+) s", text
    ).groups()
    size = size.replace(" ", "")
    assert [ours, others] == [f"{times[size, 'essim, numba']:.2f}", f"{times[size, 'torchmetrics']:.0f}"]


def test_the_results_quote_the_verdicts():
    rows = re.findall(r"^\| ([^|]* is ahead of [^|]*) \| (.*)", read("docs/results.md"), re.MULTILINE)
    told = pd.read_csv(REFERENCE / "confirm/tables/confirm.csv").query("column == 'at_best'")
    verdicts = told.groupby("claim").verdict.agg(list).to_dict()
    assert {claim: re.findall(r"\*\*(.*?)\*\*", cells) for claim, cells in rows} == verdicts


def test_what_a_re_execution_must_give_is_in_the_reference():
    check = yaml.safe_load(read("codecheck.yml"))
    assert read("codecheck.yml").startswith("---\n") and check["version"].endswith("/spec/config/1.0/")
    names = [entry["file"].removeprefix("results/laptop/") for entry in check["manifest"]]
    assert len(names) == len(set(names)) and all(entry["comment"] for entry in check["manifest"])
    assert not [name for name in names if not (REFERENCE / "laptop" / name).is_file()]
    assert {f"tables/{table}.csv" for table in verify.TABLES} <= set(names)  # what `make verify` compares
