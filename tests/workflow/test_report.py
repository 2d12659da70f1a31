"""`make report`: one page that loads nothing and says what is in the results; no page where results are missing."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from fragments import fragment, mathml, read_executed
from nbformat import v4
from pages import Page, evaluation, executed, ran, shown, write_results
from report import main

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))


@pytest.fixture
def results(tmp_path):
    return write_results(tmp_path / "results/laptop")


@pytest.fixture
def report(results, monkeypatch):
    """Runs the script; gives (its complaint or None, the page or None)."""

    def run():
        monkeypatch.setattr(sys, "argv", ["report.py", "laptop", str(results)])
        problem, page = None, results / "report.html"
        try:
            main()
        except SystemExit as error:
            problem = str(error)
        return problem, page.read_text(encoding="utf-8") if page.is_file() else None

    return run


def test_the_page_is_whole_and_loads_nothing(results, report):
    problem, html = report()
    assert problem is None
    page = Page(html)
    assert len(page.loaded) == 5 and all(address.startswith("data:image/png;base64,") for address in page.loaded)
    assert not {"script", "iframe", "link", "object"} & set(page.tags)
    assert not re.search(r"url\(|@import", html)
    assert len(set(page.ids)) == len(page.ids)
    inner = {link[1:] for link in page.links if link.startswith("#")}
    assert inner <= set(page.ids)
    assert {"01_cohort", "06_evaluate_ms", "06_evaluate_wmh", "06_evaluate_wmh.the-table-2"} <= inner
    for words in (
        *("0.287 ± 0.034", "0123abcd, with changes", "cpu: Test", "torch 2.9", "2026-01-02 03:04:05 UTC"),
        *("It is not clinical data", "voxel_mm", "06 · Who finds it?", "ms · 12 s", "a warning <1>"),
    ):
        assert words in re.sub(r"\s+", " ", page.text), words
    for words in ("100%|", "interactive(slider)", "a viewer", "<Figure>", "old None"):
        assert words not in html
    assert report()[1] == html, "the same bytes again"
    assert {path.name for path in results.iterdir()} == {"notebooks", "tables", "figures", "report.html"}


def test_a_notebook_becomes_a_section():
    html, headings = fragment(evaluation(), "06_evaluate_ms")
    assert [(level, anchor) for level, anchor, _ in headings] == [
        (1, "06_evaluate_ms.06--who-finds-it"),
        (2, "06_evaluate_ms.the-table"),
        (2, "06_evaluate_ms.the-table-2"),
    ]
    assert html.count("<math") == 2 and html.count('display="block"') == 1
    assert "<code>$not maths$</code>" in html
    assert html.count('<details class="code">') == 2 and "Parameters of this run" in html
    assert 'alt="Figure: The table"' in html
    assert "<script" not in html


@pytest.mark.parametrize(
    "cell",
    [
        v4.new_markdown_cell("![far](https://example.org/a.png)"),
        v4.new_markdown_cell('<img src="here.png">'),
        ran("1", shown(html="<style>@import 'https://example.org/a.css';</style>")),
        ran("1", shown(html='<p style="background: url(https://example.org/a.png)">x</p>')),
    ],
)
def test_what_would_be_loaded_is_refused(cell):
    with pytest.raises(ValueError, match="^01_cohort: a cell loads .*(example.org|here.png)"):
        fragment(executed(cell), "01_cohort")


def test_scans_of_ones_own_are_not_called_the_built_in_cohort(results, report):
    (results / "notebooks/01_cohort.ipynb").unlink()
    nbformat.write(evaluation(data="data/own"), results / "notebooks/06_evaluate_ms.ipynb")
    text = re.sub(r"\s+", " ", Page(report()[1]).text)
    assert "not on the built-in cohort" in text
    assert "MNI152" not in text


def test_parameters_that_differ_are_told_apart(report):
    html = report()[1]
    assert "<tr><th>dataset</th><td>&quot;ms&quot;</td><td>06_evaluate_ms</td></tr>" in html
    assert "<tr><th>voxel_mm</th><td>2</td><td></td></tr>" in html


@pytest.mark.parametrize("missing", ["tables/main.md", "tables/main.csv.json", "figures/regret.png", "notebooks"])
def test_a_study_that_has_not_finished_is_refused(results, report, missing):
    for path in [results / missing, *(results / missing).glob("*")][::-1]:
        path.unlink() if path.is_file() else path.rmdir()
    problem, page = report()
    assert page is None and "make reproduce" in problem and missing in problem
    assert not list(results.glob(".*")), "nothing half-written"


def test_a_notebook_that_failed_or_stopped_is_named(results, report):
    path = results / "notebooks/06_evaluate_wmh.ipynb"
    error = v4.new_output("error", ename="ValueError", evalue="x.nii.gz: is empty", traceback=["..."])
    for cell, words in ((ran("1", error), "x.nii.gz: is empty"), (v4.new_code_cell("1"), "has not run to its end")):
        nbformat.write(executed(v4.new_markdown_cell("# 06"), cell), path)
        problem, page = report()
        assert page is None and str(path) in problem and words in problem and "\n" not in problem
        with pytest.raises(ValueError, match=words):
            read_executed(path)


def test_an_unknown_profile_is_refused(results):
    command = [sys.executable, ROOT / "workflow/report.py", "labtop", results]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 1 and not (results / "report.html").exists()
    assert re.fullmatch(r"unknown profile `labtop`: known are .*laptop.*\n", done.stderr)


# Formulas


def is_mathml(html):
    return html.startswith("<math") and not re.search(r"\\|>&<|mathvariant=\"(?!normal)", html)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_every_formula_of_the_notebooks_is_converted(path):
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]
    text = re.sub(r"```.*?```|`[^`]*`", "", "\n\n".join(cells), flags=re.DOTALL)
    found = [(a or b, bool(a)) for a, b in re.findall(r"\$\$(.+?)\$\$|\$(.+?)\$", text, re.DOTALL)]
    for formula, block in found:
        assert is_mathml(mathml(formula, "block" if block else "inline")), f"{path.name}: {formula}"
    notebook = nbformat.read(path, 4)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    html = fragment(notebook, "x")[0]
    assert html.count("<math") == len(found)
    page = Page(html)
    assert "$" not in page.text and "\\" not in page.text


@pytest.mark.parametrize(
    ("formula", "holds"),
    [
        (r"\mathop{\mathrm{std}}_s x", ">std<"),
        (r"\underset{x}{\arg\min} f", ">arg<"),
        (r"\operatorname*{argmin}_x f", ">argmin<"),
        (r"\mathbb E_x", "&#x1D53C;"),
        (r"\begin{aligned} a &= b \\ c &= d \end{aligned}", "<mtr>"),
    ],
)
def test_what_latex2mathml_lacks_is_said_in_other_words(formula, holds):
    html = mathml(formula, "block")
    assert is_mathml(html) and holds in html


@pytest.mark.parametrize("formula", [r"\unheard{x} < 1", r"\frac{", "a & b"])
def test_a_formula_beyond_it_stays_as_it_is_written(formula):
    html = mathml(formula, "inline")
    page = Page(html)
    assert page.tags == ["code"]
    assert Page(html.replace("code", "b")).text == formula
