"""The README stays short, and its Python example runs as it stands."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_read_to_its_end():
    assert len(README.split()) <= 1200


def test_the_example_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    paper, ours = map(float, capsys.readouterr().out.split())
    assert min(paper, ours) > 0.5, "both find what was changed"


@pytest.mark.parametrize(
    "page",
    sorted({ROOT / "README.md", *ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")}),
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_every_link_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r'\]\(([^)\s]+)(?: "[^"]*")?\)|src="([^"]+)"', text)
    for link in (a or b for a, b in links):
        if not link.startswith(("http", "#", "mailto")):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve()
            assert target.exists(), link
            if anchor and target.suffix == ".md":
                headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, (
                    link
                )
