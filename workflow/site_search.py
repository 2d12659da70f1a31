"""Search over all pages without a server: search.js holds the text of every section, site.js looks through it.

In: pages, their links mended. Out: search.html and search.js, `const SECTIONS = [[address, page, heading, text], ...]`.
"""

import json
import re
from html import unescape

from site_pages import write

LEFT_OUT = re.compile(r'<(details|div) class="code">.*?</\1>|<math.*?</math>', re.DOTALL)
HEADING = re.compile(r'<h[1-6](?: id="([^"]+)")?>(.*?)</h[1-6]>', re.DOTALL)
NUMBERS = re.compile(r"(?:(?<!\S)[\d.,/()%±−+-]+\s+){4,}")  # of a table
MAIN = """<main><h1>Search</h1>
<p id="found" role="status">Type words into the field above.</p>
<noscript><p>Searching needs JavaScript; the <a href="index.html">index</a> leads to every page without.</p></noscript>
<ol id="hits"></ol></main>
<script src="search.js"></script>"""


def write_search(site, pages):
    """The index of the pages' words, and the page that shows what is found."""
    entries = [entry for page in pages for entry in sections(page)]
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).replace("],[", "],\n[")
    (site / "search.js").write_text(f"const SECTIONS = {text}\n", encoding="utf-8")
    write(site, "search", "Search", MAIN)


def sections(page):
    """[address, page's title, heading, text] of every section, without code, formulas and rows of numbers."""
    _, *parts = HEADING.split(LEFT_OUT.sub(" ", page.main))
    for anchor, heading, html in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        address = f"{page.name}.html{f'#{anchor}' if anchor else ''}"
        yield [address, page.full_title, _text(heading), NUMBERS.sub("… ", _text(html))]


def _text(html):
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html))).strip()
