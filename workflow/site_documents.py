"""The site's documentation: every Markdown page of the repository as a page of its own.

In: the Markdown files that PAGES finds. Out: a `Page` of each, whose links `site_links.Links` mends.
"""

import re
from pathlib import Path

from fragments import document, plain
from site_pages import Page, with_contents

ROOT = Path(__file__).resolve().parents[1]
# A capital at the top: paper.md is written for a journal's own processor.
PAGES = ("README.md", "notebooks/*.md", "docs/*.md", "models/**/*.md", "[A-Z]*.md")
FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)  # a model card's metadata
SENTENCE = re.compile(r".+?[.?!:](?=\s|$)", re.DOTALL)


def document_pages():
    """The pages, README first."""
    paths = dict.fromkeys(path for pattern in PAGES for path in sorted(ROOT.glob(pattern)))
    return [_page(path.relative_to(ROOT)) for path in paths]


def _page(path):
    text = FRONT.sub("", (ROOT / path).read_text(encoding="utf-8"))
    parts = [part for part in path.with_suffix("").parts if part != "README"] or ["readme"]
    name = "-".join(parts).lower()
    html, headings = document(text, name)
    main = with_contents(f"Documentation · {path}", f'<div class="document">\n{html}</div>', headings)
    paragraphs = map(plain, re.findall(r"<p>(.*?)</p>", html, re.DOTALL))
    claim = SENTENCE.match(next(filter(str.strip, paragraphs), ""))
    claim = re.sub(":$", ".", claim[0]) if claim else ""
    title = plain(headings[0][2]) if headings else path.stem
    return Page(name, title, main, claim, "documentation", path.as_posix())
