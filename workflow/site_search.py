"""Search over all pages without a server: `search.js` holds every section's text, `site.js` looks through it.

In: pages as they are written. Out: search.js, `const SECTIONS = [[address, page, heading, text], ...]`, and search.html.
"""

import json
import re
from html import unescape

from site_pages import write

LEFT_OUT = re.compile(
    r'<(details|div) class="code">.*?</\1>|<math.*?</math>|<details class="toc">.*?</details>', re.DOTALL
)
HEADING = re.compile(r'<h[1-6][^>]*?(?: id="([^"]+)")?>(.*?)</h[1-6]>', re.DOTALL)
MAIN = """<main><h1>Search</h1>
<p id="found" role="status">Type words into the field above, and press Enter.</p>
<noscript><p>Searching needs JavaScript; the <a href="index.html">index</a> leads to every page without.</p></noscript>
<ol id="results"></ol></main>
<script src="search.js"></script>"""


def write_search(site, pages):
    """The index of the pages' words and the page that shows what is found."""
    entries = [entry for page in pages for entry in sections(page)]
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).replace("],[", "],\n[")
    (site / "search.js").write_text(f"const SECTIONS = {text}\n", encoding="utf-8")
    write(site, "search", "Search", MAIN)


def sections(page):
    """[address, page's title, heading, text] of every section of a page; code and formulas are left out."""
    before, *rest = HEADING.split(LEFT_OUT.sub(" ", page.main))
    found, address = [], f"{page.name}.html"
    for anchor, heading, html in [(None, page.full_title, before), *zip(*[iter(rest)] * 3, strict=True)]:
        heading, text = _text(heading), _text(html)
        if heading != page.full_title or text:
            found.append([f"{address}#{anchor}" if anchor else address, page.full_title, heading, text])
    return found


def _text(html):
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html))).strip()
