"""`make site`: every page has what its notebook has, its links work, and it loads nothing from elsewhere."""

import json
import re
import shutil
import sys
from html import escape
from pathlib import Path
from urllib.parse import unquote

import nbformat
import numpy as np
import pytest
from fragments import fragment
from nbformat import v4
from pages import METHODS, PIXEL, Page, browse, executed, ran, shown, write_results, write_scores
from website import main

from essim.score.page import frame, page_of

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks/walkthrough").glob("*.ipynb"))
LESSONS.sort(key=lambda path: path.stem != "the_method_in_ten_cells")  # the whole first, then its parts
FRAMES = """<!DOCTYPE html><meta charset="utf-8"><body>{frames}<pre id="seen"></pre><script>
onload = () => {{ document.getElementById("seen").textContent = JSON.stringify([...document.querySelectorAll("iframe")]
  .map(({{ contentDocument: page }}) => [page.title, [...page.images].filter(image => !image.naturalWidth).length,
    page.documentElement.scrollWidth, [...page.querySelectorAll("math")].filter(m => !m.getBoundingClientRect().width &&
    !m.closest("details")).length])) }}
</script></body>"""


SEARCH = """<!DOCTYPE html><meta charset="utf-8"><body><iframe src="{page}?q=tau+ms2"></iframe>
<iframe src="{page}?q=patient+MS2"></iframe><pre id="seen"></pre><script>
onload = () => {{ const [none, some] = [...document.querySelectorAll("iframe")].map(frame => frame.contentDocument);
  const button = some.querySelector("button"), paper = () => getComputedStyle(some.body).backgroundColor;
  const light = paper(); button.click(); const dark = paper(); button.click();
  document.getElementById("seen").textContent = JSON.stringify([none.querySelectorAll("#hits li").length,
    [...some.querySelectorAll("#hits a")].map(a => [a.getAttribute("href"), a.textContent]),
    some.querySelector("mark").textContent, light !== dark, light === paper()]) }}
</script></body>"""


def documents():
    """{name of the page: path} of what git or the folder has as Markdown, but for the journal's paper."""
    paths = [path for path in ROOT.glob("*.md") if path.stem != "paper"]
    paths += [path for folder in ("docs", "notebooks", "models") for path in (ROOT / folder).rglob("*.md")]
    names = ("-".join(path.relative_to(ROOT).with_suffix("").parts).lower() for path in paths)
    return {name.removesuffix("-readme"): path for name, path in zip(names, paths, strict=True)}


def lesson(path, *cells):
    """A notebook of the teaching path as if it had run: every code cell has drawn a picture."""
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.update(execution_count=1, outputs=[shown(png=PIXEL)])
    return executed(*notebook.cells, *cells, stem=f"walkthrough/{path.stem}")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A finished study with the real teaching path, a viewer, a slider, a solution, links, an ablation, real heads."""
    folder = write_results(tmp_path_factory.mktemp("site") / "results/pretrained")
    write_scores(folder)
    (folder / "tables/calibrated.csv").write_text("dataset,method,auprc\nms,l1,0.1\n")
    image = np.random.default_rng(0).random((12, 14, 10), np.float32)
    volumes = {"image": image, "anomaly": image} | dict.fromkeys(("brain", "scored"), np.ones(image.shape, bool))
    view = frame(page_of(volumes, np.diag([4.0, 4, 4, 1]), {"threshold": 0.5}, "a head"))
    more = [
        ran("view", shown(html=view)),
        ran("slider", shown(widget={"model_id": "1"}, plain="interactive(slider)")),
        ran("print(42)", v4.new_output("stream", name="stdout", text="the answer"), tags=["solution"]),
        v4.new_markdown_cell(
            "[evaluate](../06_evaluate.ipynb), [code](../../essim/ssim.py), [mine](../../data/x.csv), [top](#nowhere)"
        ),
    ]
    (folder / "notebooks/walkthrough").mkdir()
    for path in LESSONS:
        notebook = lesson(path, *(more if path == LESSONS[0] else []))
        nbformat.write(notebook, folder / "notebooks/walkthrough" / path.name)
    (folder / "ablations/notebooks").mkdir(parents=True)
    ablation = executed(v4.new_markdown_cell("# Ablation a"), stem="ablations/a_noising_steps")
    nbformat.write(ablation, folder / "ablations/notebooks/a_noising_steps.ipynb")
    (folder.parent / "real/notebooks").mkdir(parents=True)
    for name in ("02_train_t1", "11_real_heads"):
        nbformat.write(
            executed(v4.new_markdown_cell(f"# {name}"), stem=name), folder.parent / f"real/notebooks/{name}.ipynb"
        )
    return folder


def build(results, monkeypatch):
    """Runs the script; gives its complaint, if any."""
    monkeypatch.setattr(sys, "argv", ["website.py", "pretrained", str(results)])
    try:
        main()
    except SystemExit as error:
        return str(error)


@pytest.fixture(scope="module")
def site(results):
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert build(results, monkeypatch) is None
    return results / "site"


@pytest.fixture(scope="module")
def pages(site):
    return {path.name: Page(path.read_text(encoding="utf-8")) for path in sorted(site.glob("*.html"))}


def test_every_notebook_has_its_page(pages):
    lessons = {f"walkthrough-{path.stem}.html" for path in LESSONS}
    others = {"01_cohort.html", "06_evaluate_ms.html", "06_evaluate_wmh.html", "ablations-a_noising_steps.html"}
    others.add("real-11_real_heads.html")  # of what `make real` ran, its own notebooks
    results = {"report.html", "figures.html", "cited.html", "set-ms.html"}
    results |= {f"method-{method.replace(' ', '-')}.html" for method in METHODS}
    results |= {"patient-ms-ms1.html", "patient-ms-ms2.html"}
    prose = {f"{name}.html" for name in documents()}
    assert pages.keys() == lessons | others | results | prose | {"index.html", "search.html"}


def test_every_link_and_picture_is_there(site, pages):
    for name, page in pages.items():
        assert len(set(page.ids)) == len(page.ids), name
        for address in page.links + page.loaded:
            if re.match("https?:", address):
                assert address in page.links, f"{name} loads {address}"
                continue
            file, _, anchor = unquote(address).partition("#")
            assert not file or (site / file).is_file(), f"{name}: {address}"
            target = pages[file or name] if anchor else None
            assert not anchor or anchor in target.ids, f"{name}: {address}"
    css = (site / "style.css").read_text()
    assert not re.search(r"url\(|@import", css)
    assert not re.search(r"\.highlight *\{[^}]*background", css), "dark colours of code need the page's own ground"
    assert not re.search(r"https?:|fetch|import|XMLHttp|Beacon|WebSocket", (site / "site.js").read_text())


def test_a_page_shows_what_its_notebook_shows(site, pages):
    for path in LESSONS:
        page, cells = pages[f"walkthrough-{path.stem}.html"], nbformat.read(path, 4).cells
        html = (site / f"walkthrough-{path.stem}.html").read_text(encoding="utf-8")
        assert len([a for a in page.loaded if a.startswith("images/")]) == sum(c.cell_type == "code" for c in cells)
        prose = "".join(cell.source for cell in cells if cell.cell_type == "markdown")
        prose = re.sub(r"```.*?```|`[^`]*`", "", prose, flags=re.DOTALL)
        assert html.count("<math") == len(re.findall(r"\$\$.+?\$\$|\$.+?\$", prose, re.DOTALL))
        assert '<div class="code">' in html, "code is there to be read"
    evaluate = (site / "06_evaluate_ms.html").read_text(encoding="utf-8")
    assert '<details class="code">' in evaluate and '<div class="code">' not in evaluate


def test_one_reads_from_page_to_page(site, pages):
    """From the first page `next` leads to all others, `prev` back; the index leads to all, and all to the search."""
    order, name = [], f"walkthrough-{LESSONS[0].stem}.html"
    while name:
        order.append(name)
        found = re.search(r'rel="next" href="([^"]+)"', (site / name).read_text(encoding="utf-8"))
        name = found and found[1]
    assert {*order} == pages.keys() - {"index.html", "search.html"}
    first = len(LESSONS)
    assert order[first : first + 3] == ["01_cohort.html", "06_evaluate_ms.html", "06_evaluate_wmh.html"]
    beside = ["ablations-a_noising_steps.html", "real-11_real_heads.html"]
    assert order[first + 3 : first + 8] == [*beside, "report.html", "figures.html", "cited.html"]
    for name, before in zip(order[1:], order, strict=False):
        assert f'rel="prev" href="{before}"' in (site / name).read_text(encoding="utf-8")
    assert {*order} <= {*pages["index.html"].links}
    for path in site.glob("*.html"):
        assert '<form action="search.html" role="search">' in path.read_text(encoding="utf-8"), path.name


def test_a_card_says_what_one_will_see(site, pages):
    html = (site / "index.html").read_text(encoding="utf-8")
    cards = re.findall(r'<article class="card">.*?</article>', html, re.DOTALL)
    others = {"2 of the study", "ablation", "real", "report", "figures", "cited", "3 methods", "set", "patients"}
    assert len(cards) == len(LESSONS) + len(others) + 1 + 2 + len(documents()), "the runs of a notebook share one"
    for path, card in zip(LESSONS, cards, strict=False):
        assert "<img" in card and "12 s" in card and re.search(r"<p>\w.*[.?!]", card, re.DOTALL), path.name
    assert len(re.findall(r'href="06_evaluate_(ms|wmh)\.html">\1<', html)) == 2


def test_what_cannot_move_is_said_and_what_can_stays(site):
    html = (site / f"walkthrough-{LESSONS[0].stem}.html").read_text(encoding="utf-8")
    assert "need a running Jupyter" in html and "interactive(slider)" not in html
    assert len(re.findall(r"<iframe [^>]*srcdoc=", html)) == 1
    solution = re.findall(r'<details class="solution">.*?</details>', html, re.DOTALL)[-1]
    assert "42" in solution and "the answer" in solution
    assert '<a href="06_evaluate_ms.html">evaluate</a>, <a href="files/essim/ssim.py">code</a>, mine, top' in html
    assert (site / "files/essim/ssim.py").read_bytes() == (ROOT / "essim/ssim.py").read_bytes()


def test_documentation_leads_within_the_site(site, pages):
    for name, path in documents().items():
        title = re.search("^# +(.+)", path.read_text(encoding="utf-8"), re.MULTILINE)[1]
        assert re.sub("[`*]", "", title) in pages[f"{name}.html"].text
    names = ("readme", "docs-house", "docs-results")
    readme, house, found = ((site / f"{name}.html").read_text(encoding="utf-8") for name in names)
    traced = '<a href="figures.html#table-main" title="dataset=ms; method=l1; auprc">'
    assert traced in found, "a number leads to the study's own table"
    assert 'href="notebooks.html#notebooks.the-study"' in readme
    assert re.search(r'href="cited.html#results-reference-bench-ssim_cpu" title="size=192x192x100; [^"]*">', readme)
    assert 'src="files/results/reference/method.png"' in readme
    assert 'href="files/tests/test_hygiene.py"' in house
    assert 'href="docs-cohort.html#docs-cohort.the-templates-licence"' in readme
    assert "pipeline_tag" not in pages["models-laptop_t1.html"].text


@pytest.mark.parametrize("inside", ['<script src="https://example.org/x.js">', '<img src="x.png">'])
def test_a_frame_that_loads_something_is_left_out(inside):
    cell = ran("1", shown(html=f'<iframe srcdoc="{escape(inside)}" width="9"></iframe>'))
    html, _ = fragment(executed(cell), "x")
    assert "<iframe" not in html and "example.org" not in html and "need a running Jupyter" in html


def test_the_same_bytes_again(results, site, monkeypatch):
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    assert build(results, monkeypatch) is None
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before


def test_a_lesson_that_has_not_run_is_named(results, tmp_path, monkeypatch):
    shutil.copytree(results, tmp_path / "copy")
    (tmp_path / "copy/notebooks/walkthrough" / LESSONS[0].name).unlink()
    shutil.rmtree(tmp_path / "copy/site", ignore_errors=True)
    assert re.search(f"{LESSONS[0].name}: no such file; `make site` runs it", build(tmp_path / "copy", monkeypatch))
    assert not (tmp_path / "copy/site").exists() and not list((tmp_path / "copy").glob(".*"))


def test_the_browser_sees_what_a_page_asks_for(tmp_path):
    (tmp_path / "page.html").write_text('<img src="http://localhost:9/x.png"><script>console.error("no")</script>')
    said, asked, _ = browse(tmp_path / "page.html", tmp_path)
    assert any("no" in line for line in said) and asked == ["http://localhost:9/x.png"]


def test_search_and_dark_colours_work_from_disk(site, tmp_path):
    (tmp_path / "all.html").write_text(SEARCH.format(page=(site / "search.html").as_uri()), encoding="utf-8")
    said, asked, dom = browse(tmp_path / "all.html", tmp_path)
    assert not said and not asked
    none, some, mark, changes, back = json.loads(re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)[1])
    assert none == 0 and mark.lower() in ("patient", "ms2") and changes and back
    address, words = some[0]
    assert words.endswith("ms2") and address.startswith("patient-ms-ms2.html")


def test_a_browser_opens_every_page_without_a_complaint(site, pages, tmp_path):
    """From disk: nothing on the console, no network request, every picture there, no formula without a size."""
    names = sorted(pages)
    frames = "\n".join(f'<iframe width="400" height="900" src="{(site / name).as_uri()}"></iframe>' for name in names)
    (tmp_path / "all.html").write_text(FRAMES.format(frames=frames), encoding="utf-8")
    said, asked, dom = browse(tmp_path / "all.html", tmp_path)
    assert not said and not asked
    seen = json.loads(re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)[1])
    assert len(seen) == len(names)
    for name, (title, broken, width, flat) in zip(names, seen, strict=True):
        assert title and not broken and not flat, name
        assert width <= 400, f"{name} is {width} wide, too wide for a phone"
