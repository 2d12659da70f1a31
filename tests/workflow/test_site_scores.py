"""The pages of methods, sets and patients: numbers of the tables, test patients only, pictures of grown ones only."""

import re
import shutil

import pytest
from pages import METHODS, Page, write_results, write_scores
from PIL import Image
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
    methods = [f"method-{method.replace(' ', '-')}" for method in METHODS]
    assert [*pages] == [*methods, "set-ms", "patient-ms-ms1", "patient-ms-ms2"]
    cells = re.findall("<td>(.*?)</td>", pages["method-l1"].main)
    assert cells[0] == '<a href="set-ms.html">MS</a>' and cells[1] == "3", "the test patients"
    assert cells[2].startswith("0.200 (") and cells[3] == "4 of 4" and cells[6] == "0.250 (0.200 to 0.300)"
    assert "a Gaussian of σ = 1<" in pages["method-l1"].main and '<b class="here">l1</b>' in pages["method-l1"].main
    assert "0.230 / 0.260" in pages["method-l1"].main, "the paper's ensemble beside it, in both columns"
    assert pages["method-ssim-0.3"].source == pages["method-ssim-1.7"].source, "single windows share a card"


def test_a_set_leads_to_its_test_patients(results, tmp_path):
    page = made(results, tmp_path)["set-ms"].main
    assert "3 test patients" in page and "ms0" not in page, "no patient of the validation part"
    assert [link for link in Page(page).links if link.startswith("patient")] == 3 * [
        "patient-ms-ms1.html",
        "patient-ms-ms2.html",
    ]
    assert "<td>ms3</td>" in page, "of whom there is no reconstruction"


def test_a_patient_is_shown_with_every_score_and_its_place(results, tmp_path):
    page = made(results, tmp_path)["patient-ms-ms2"].main
    (picture,) = Page(page).loaded
    with Image.open(tmp_path / picture) as image:
        assert image.width > 4 * image.height, "six slices side by side"
    assert "T2, 41.5 years, sex f, 1 lesion of 0.3 ml in all." in page
    cells = re.findall("<td>(.*?)</td>", page)
    assert cells[:5] == ['<a href="method-l1.html">l1</a>', "0.200", "2 of 3", "0.200", "2 of 3"]


def test_no_page_of_a_real_person_or_without_reconstructions(results, tmp_path):
    assert not [name for name in made(results, tmp_path, grown=False) if name.startswith("patient")]
    shutil.rmtree(results / "reconstructions")
    pages = made(results, tmp_path)
    assert "set-ms" in pages and not [name for name in pages if name.startswith("patient")]


def test_no_pages_without_the_table(results, tmp_path):
    (results / "tables/at_best_scores.csv").unlink()
    assert made(results, tmp_path) == {}
