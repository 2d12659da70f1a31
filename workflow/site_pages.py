"""What all pages of the site have in common: head, bars, contents, tables, and pictures in files of their own.

In: a page's `main` as HTML. Out: NAME.html in the site's folder, and the pictures that it embedded beside it.
"""

import base64
import posixpath
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd
from fragments import HIGHLIGHTING, plain
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="stylesheet" href="style.css"><script src="site.js"></script></head><body class="site">
<header class="top"><a href="index.html">essim</a><form action="search.html" role="search">
<input type="search" name="q" placeholder="Search" aria-label="Search all pages"></form></header>
{bar}{main}
{bar}</body></html>
"""
DARK = """@media screen {{
{chosen}
@media (prefers-color-scheme: dark) {{
{preferred}
}}
}}
"""
PICTURE = re.compile(r'src="data:image/png;base64,([^"]*)"')


@dataclass
class Page:
    """One page, NAME.html: its `main` as HTML, and what the index says of it.

    `part` is a key of website.PARTS. `source` is what the page was made from, as a path in the repository: links to it
    lead to the page, its own links start in that folder, and pages of one source share a card; `of` tells those apart
    (`ms`), and `time` is how long a run took.
    """

    name: str
    title: str
    main: str
    claim: str
    part: str
    source: str = ""
    of: str = ""
    time: str = ""

    @property
    def full_title(self):
        return f"{self.title} ({self.of})" if self.of else self.title

    @property
    def folder(self):
        return posixpath.dirname(self.source)


def write(site, name, title, main, bar=""):
    (site / f"{name}.html").write_text(TEMPLATE.format(title=escape(title), bar=bar, main=main), encoding="utf-8")


def style():
    """The site's style sheet: page.css, site.css, and the colours of code in light and in dark."""
    sheets = [(ROOT / f"workflow/{name}.css").read_text(encoding="utf-8") for name in ("page", "site")]
    code = HtmlFormatter(style="github-dark", nobackground=True).get_style_defs
    dark = DARK.format(
        chosen=code(":root[data-theme=dark] .highlight"),
        preferred=code(":root:not([data-theme=light]) .highlight"),
    )
    return "".join([*sheets, HIGHLIGHTING, "\n", dark])


def bar(before, after):
    """Links to the page before, the index and the page after."""

    def link(page, word, relation):
        if not page:
            return "<i></i>"
        return f'<a rel="{relation}" href="{page.name}.html">{word.format(escape(page.full_title))}</a>'

    links = link(before, "←&nbsp;{}", "prev"), '<a href="index.html">Index</a>', link(after, "{}&nbsp;→", "next")
    return f'<nav class="bar">{"".join(links)}</nav>\n'


def with_contents(above, html, headings):
    """A page's main part, and before it the list of its sections; `above` is the small line over the title."""
    entries = "".join(f'<li><a href="#{i}">{plain(text)}</a></li>\n' for level, i, text in headings if level == 2)
    contents = f'<details class="toc"><summary>On this page</summary>\n<ol>\n{entries}</ol></details>\n'
    return f'{contents if entries else ""}<main><p class="ran">{escape(above)}</p>\n{html}</main>'


def pictures_beside(html, folder, name):
    """HTML whose embedded pictures are files in `folder`, called by the page's `name` and a number."""
    folder.mkdir(exist_ok=True)

    def store(match):
        path = folder / f"{name}-{len(list(folder.glob(f'{name}-[0-9]*.png'))) + 1}.png"
        path.write_bytes(base64.b64decode(match[1]))
        return f'src="{folder.name}/{path.name}"'

    return PICTURE.sub(store, html)


def first_rows(path, address, anchor, rows):
    """The first rows of a CSV file, folded away below its name; `address` has all of them, `anchor` is the id."""
    table = pd.read_csv(path)
    said = f'<p id="{anchor}">{min(rows, len(table))} of {len(table)} rows; <a href="{address}">all of them</a></p>'
    return f"<details><summary>{path.stem}</summary>\n{said}\n{html_table(table.head(rows))}</details>\n"


def html_table(table, **options):
    """A DataFrame as HTML that scrolls sideways; options of `to_html`."""
    options = {"index": False, "border": 0, "float_format": "{:.4g}".format, "na_rep": ""} | options
    return f'<div class="wide">{table.to_html(**options)}</div>'
