"""Where links in the repository's prose lead on the site, so that all of them work from disk.

In: the site's pages. Out: their HTML with links and pictures mended, files that they need copied into `files/`, and a
page of the tables that they cite from elsewhere. A link leads

    to a Markdown file or a notebook       to its page, and to the heading there
    to results/reference/<own profile>     to the site's own copy of the table or figure
    to any other table                     to its place on the page of cited tables
    to any other file                      to a copy
    to what the site doesn't have          nowhere: its text stays
"""

import posixpath
import re
import shutil
from html import escape, unescape
from itertools import groupby
from pathlib import Path
from urllib.parse import quote, unquote

from fragments import prose
from site_pages import Page, first_rows

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r'<a href="([^"]*)"([^>]*)>(.*?)</a>', re.DOTALL)
IMAGE = re.compile(r'<img src="([^"]*)"([^>]*)>')
HERE = ("images/", "figures/", "tables/", "files/")  # folders of the site
PRIVATE = ("data/", "results/", ".", "/")  # what is never copied, but for the reference
CITED, ROWS = "cited", 60  # the name of the page of cited tables, and how many rows it shows


class Links:
    """`own` is the profile whose reference the site's results can stand for; empty where they can't."""

    def __init__(self, site, pages, own):
        self.site, self.own, self.cited = site, f"results/reference/{own}" if own else "", set()
        self.files = {"index.html"} | {f"{page.name}.html" for page in pages}
        self.homes = {page.source: page for page in reversed(pages)}  # of several runs, the first
        self.parts = {f"notebooks/{page.part}": f"index.html#{page.part}" for page in pages}

    def mend(self, page, html):
        """The page's HTML with every link and picture leading to something."""

        def link(match):
            address = self._address(page, unescape(match[1]))
            return f'<a href="{escape(address)}"{match[2]}>{match[3]}</a>' if address else match[3]

        def image(match):
            address = self._address(page, unescape(match[1]))
            return f'<img src="{escape(address)}"{match[2]}>' if address else ""

        return LINK.sub(link, IMAGE.sub(image, html))

    def _address(self, page, address):
        path, _, anchor = unquote(address).partition("#")
        if re.match("[a-z]+:", path) or path.startswith(HERE) or path in self.files:
            return address
        if not path:
            return _place(page, anchor)
        path = posixpath.normpath(posixpath.join(page.folder, path))
        home = self.homes.get(path) or self.homes.get(f"{path}/README.md")
        if home:
            return f"{home.name}.html{_place(home, anchor)}"
        return self.parts.get(path) or self._own(path) or self._elsewhere(path)

    def _own(self, path):
        """The site's own copy of a path in the reference of its profile; "" where it has none."""
        if not self.own or not f"{path}/".startswith(f"{self.own}/"):
            return ""
        inside = path.removeprefix(self.own).strip("/")
        known = {"": "report.html", "tables/main.md": "report.html#results"}
        known |= {folder: f"figures.html#{folder}" for folder in ("figures", "tables")}
        if inside in known or not (self.site / inside).is_file():
            return known.get(inside, "")
        return f"figures.html#table-{Path(inside).stem}" if inside.endswith(".csv") else inside

    def _elsewhere(self, path):
        """Where any other path leads: its place on the page of cited tables, or a copy of the file; "" for nowhere."""
        source = ROOT / path
        if path.startswith(PRIVATE) and not f"{path}/".startswith("results/reference/"):
            return ""
        tables = sorted(source.glob("*.csv")) if source.is_dir() and path.startswith("results/") else []
        for table in tables:
            self._elsewhere(table.relative_to(ROOT).as_posix())
        if tables:
            return f"{CITED}.html#{_anchor(path)}"
        if not source.is_file() or source.suffix == ".ipynb":  # a notebook that hasn't run has nothing to show
            return ""
        copy = self.site / "files" / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        if source.suffix in (".csv", ".md"):
            self.cited.add(path)
            return f"{CITED}.html#{_anchor(path)}"
        return f"files/{quote(path)}"

    def cited_page(self):
        """The page of cited tables, once all others are mended; None if there are none."""
        html = ""
        for folder, paths in groupby(sorted(self.cited, key=posixpath.split), posixpath.dirname):
            tables = "".join(_table(path) for path in paths)
            html += f'<section><h2 id="{_anchor(folder)}">{escape(folder)}</h2>\n{tables}</section>\n'
        title, claim = "Tables that the pages cite", "Where numbers in the text come from, if not from this study."
        main = f"<main><h1>{title}</h1>\n<p>{claim}</p>\n{html}</main>"
        return Page(CITED, title, main, claim, "results", CITED) if html else None


def _place(page, anchor):
    """`#id` of a heading of the page, by its id or as GitHub calls it; empty where it has none."""
    found = [known for known in (anchor, f"{page.name}.{anchor}") if f'id="{escape(known)}"' in page.main]
    return f"#{found[0]}" if anchor and found else ""


def _anchor(path):
    return re.sub(r"[^\w.]+", "-", path.removesuffix(".csv"))


def _table(path):
    if path.endswith(".csv"):
        return first_rows(ROOT / path, f"files/{quote(path)}", _anchor(path), ROWS)
    text = prose((ROOT / path).read_text(encoding="utf-8"), _anchor(path))
    return f'<details><summary>{Path(path).name}</summary>\n<div id="{_anchor(path)}">{text}</div></details>\n'
