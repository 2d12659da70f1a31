"""The model cards are those that `make cards` writes, and follow their sources."""

import shutil
from pathlib import Path

import cards
import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = sorted(path.parent for path in (ROOT / "models").glob("*/config.json"))


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_the_committed_cards_are_what_the_program_writes(folder):
    committed = (folder / "README.md").read_text(encoding="utf-8")
    assert committed == cards.card(folder), "run `make cards`"
    assert yaml.safe_load(committed.split("---")[1])["license"] == "mit"


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_what_a_card_links_to_exists(folder):
    for target in (folder / "README.md").read_text(encoding="utf-8").split("](")[1:]:
        assert (folder / target.split(")")[0]).is_file()


@pytest.fixture
def copied(tmp_path):
    """models/anatomies_t1 in a folder of its own, with the table of promises."""
    folder = tmp_path / "anatomies_t1"
    folder.mkdir()
    for name in ("config.json", "log.csv", "scoring.json", "weights.safetensors"):
        shutil.copy(ROOT / "models/anatomies_t1" / name, folder)
    shutil.copy(ROOT / "models/promise.csv", tmp_path)
    return folder


def failures(page):
    return page.split("## Known failures")[1].split("## Pictures")[0]


def test_a_score_that_marks_too_much_is_a_failure_and_one_that_keeps_its_promise_is_none(copied):
    table = copied.parent / "promise.csv"
    promise = pd.read_csv(table)
    for share, told in ((0.01, False), (0.2, True)):
        promise.assign(**dict.fromkeys(cards.PLACES, share)).to_csv(table, index=False)
        assert ("brain stem 20 %" in failures(cards.card(copied))) is told


def test_what_was_not_measured_is_said(copied):
    promise = pd.read_csv(copied.parent / "promise.csv")
    promise.assign(auprc=float("nan")).to_csv(copied.parent / "promise.csv", index=False)
    page = cards.card(copied)
    assert "Real patients (0), AUPRC: not measured." in page and "Lesions found, by size: not measured." in page


def test_a_missing_file_is_named(copied):
    (copied / "log.csv").unlink()
    with pytest.raises(FileNotFoundError, match="log.csv"):
        cards.card(copied)


def test_main_writes_a_card_into_each_model_folder(copied, capsys):
    cards.main(copied.parent)
    assert (copied / "README.md").read_text(encoding="utf-8") == cards.card(copied)
    assert str(copied) in capsys.readouterr().out
