"""The pages of methods and patient sets: numbers of the tables, test patients only, pictures of grown ones only."""

import re

import pytest
from pages import METHODS, Page, write_results, write_scores
from site_scores import score_pages


@pytest.fixture
def results(tmp_path):
    folder = write_results(tmp_path / "results")
    write_scores(folder)
    return folder


def made(results, tmp_path, grown=True):
    return {page.name: page for page in score_pages(results, tmp_path, grown)}


def test_a_method_has_its_numbers_and_its_place(results, tmp_path):
    pages = made(results, tmp_path)
    assert [*pages] == [f"method-{method.replace(' ', '-')}" for method in METHODS] + ["set-ms"]
    cells = re.findall("<td>(.*?)</td>", pages["method-l1"].main)
    assert cells[0] == '<a href="set-ms.html">MS</a>' and cells[1] == "3", "the test patients"
    assert cells[2].startswith("0.200 (") and cells[3] == "4 of 4" and cells[6] == "0.250 (0.200 to 0.300)"
    assert "gauss 1" in pages["method-l1"].main and '<b class="here">l1</b>' in pages["method-l1"].main
    assert "0.230 / 0.260" in pages["method-l1"].main, "the adaptive ensemble beside it, in both columns"
    assert pages["method-ssim-0.3"].source == pages["method-ssim-1.7"].source, "single windows share a card"


def test_a_set_shows_a_test_patient(results, tmp_path):
    page = made(results, tmp_path)["set-ms"]
    pictures = Page(page.main).loaded
    assert len(pictures) == 5 and all((tmp_path / path).is_file() for path in pictures)
    assert "One patient: ms2" in page.main and "ms0" not in page.main, "no patient of the validation part"
    assert ["0.200", "0.200"] == re.findall(r"<td>([\d.]+)</td>", page.main)[:2]


def test_no_picture_of_a_real_person_or_of_a_validation_patient(results, tmp_path):
    assert "<img" not in made(results, tmp_path, grown=False)["set-ms"].main
    table = results / "tables/at_best_scores.csv"
    table.write_text(table.read_text().replace("ms2,test", "ms2,val"))
    assert "<img" not in made(results, tmp_path)["set-ms"].main


def test_no_pages_without_the_table(results, tmp_path):
    (results / "tables/at_best_scores.csv").unlink()
    assert made(results, tmp_path) == {}
