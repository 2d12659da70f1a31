"""One executed notebook as a piece of HTML that loads nothing, for any page of the study.

In: a notebook as nbformat reads it, every cell run. Out: HTML whose pictures are PNG within it, whose formulas are
MathML, whose headings have ids, with code folded away or shown, and solutions of exercises always folded away.
`page.css` has its style, `HIGHLIGHTING` the code's colours.
"""

import copy
import re
import sys
from functools import cache
from html import escape, unescape
from html.parser import HTMLParser

sys.modules["rfc3987_syntax"] = None  # takes seconds to import; see run_notebook.py

import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

HIGHLIGHTING = HtmlFormatter(nobackground=True).get_style_defs(".highlight")
KINDS = ["text/html", "text/markdown", "image/png", "text/plain"]  # of an output, the first available
LIVE = re.compile(r"<(script|iframe|object|embed)\b", re.IGNORECASE)
FRAME = re.compile(r'<iframe srcdoc="([^"]*)"[^>]*></iframe>')
LEFT_OUT = '<p class="left-out">Interactive parts need a running Jupyter: <code>make lab</code> opens the notebook.</p>'
SUMMARIES = {"parameters": "Parameters, as the notebook has them", "injected-parameters": "Parameters of this run"}

# LaTeX that latex2mathml doesn't know, in words that it does. The rest stands there as text (see `mathml`).
REWRITES = {
    r"\\(?:mathop|operatorname\*)\s*\{(?:\\mathrm\s*\{)?(\w+)\}?\}": r"\\operatorname{\1}",
    r"\\(arg|argmax|argmin|std|var)(?![A-Za-z])": r"\\operatorname{\1}",
    r"(\\(?:begin|end)\{)aligned\}": r"\1split}",
    r"\\(math(?:bb|bf|cal|frak|scr))\s+([A-Za-z])": r"\\\1{\2}",  # with braces it takes the letter that browsers have
    r"\\[lr]Vert(?![A-Za-z])": r"\\|",  # as high as in TeX, not as high as the content
    r"\\!": "",
}

CELLS = """
{%- extends "base/display_priority.j2" -%}
{%- block any_cell scoped -%}
{%- if "solution" in cell.metadata.tags -%}
<details class="solution"><summary>Solution</summary>
{{ super() }}
</details>
{%- else -%}
{{ super() }}
{%- endif -%}
{%- endblock -%}
{%- block markdowncell -%}
{{ cell.source | markdown2html }}
{%- endblock -%}
{%- block input -%}
{%- set code = cell.source | highlight_code(metadata=cell.metadata) -%}
{%- if cell.metadata.summary -%}
<details class="code"><summary>{{ cell.metadata.summary }}</summary>
{{ code }}
</details>
{%- else -%}
<div class="code">{{ code }}</div>
{%- endif -%}
{%- endblock -%}
{%- block stream -%}<pre class="output">{{ output.text | ansi2html }}</pre>{%- endblock -%}
{%- block data_html -%}<div class="output wide">{{ output.data["text/html"] }}</div>{%- endblock -%}
{%- block data_markdown -%}{{ output.data["text/markdown"] | markdown2html }}{%- endblock -%}
{%- block data_png -%}
<img src="data:image/png;base64,{{ output.data["image/png"] | replace("\n", "") }}" alt="{{ cell.metadata.alt | e }}">
{%- endblock -%}
{%- block data_text -%}<pre class="output">{{ output.data["text/plain"] | ansi2html }}</pre>{%- endblock -%}
"""


class Prose(IPythonRenderer):
    """nbconvert's markdown with formulas as MathML, headings with ids that start with `name`, tables that scroll.

    Headings are `below` levels lower than in the notebook, whose title may not be the page's. `headings` collects
    [(level in the notebook, id, HTML)].
    """

    def __init__(self, name, below=1):
        super().__init__(escape=False)
        self.name, self.below, self.headings = escape(name), below, []

    def heading(self, text, level, **attributes):
        words = re.sub(r"[^\w -]", "", plain(text).lower()).strip()
        anchor = f"{self.name}.{words.replace(' ', '-')}"  # behind the dot as on GitHub, so that links hold in both
        taken = {known for _, known, _ in self.headings}
        number = next(n for n in range(1, len(taken) + 2) if (f"{anchor}-{n}" if n > 1 else anchor) not in taken)
        anchor += f"-{number}" if number > 1 else ""
        self.headings.append((level, anchor, text))
        tag = f"h{level + self.below}"
        return f'<{tag} id="{anchor}">{text}</{tag}>\n'

    def inline_math(self, body):
        return mathml(body, "inline")

    def block_math(self, body):
        return f'<span class="formula">{mathml(body, "block")}</span>'

    def latex_environment(self, name, body):
        return self.block_math(f"\\begin{{{name}}}{body}\\end{{{name}}}")

    def table(self, text):
        return f'<div class="wide"><table>\n{text}</table></div>\n'


def mathml(formula, display):
    """LaTeX as a `<math>` element; in `<code>`, as it is written, if latex2mathml doesn't know a part of it."""
    said = formula
    for pattern, words in REWRITES.items():
        said = re.sub(pattern, words, said)
    try:
        converted = convert(said, display=display)
    except Exception:  # its errors have no class in common
        converted = "\\"
    if re.search(r"\\|>&<", converted):  # it passes on what it doesn't know
        return f"<code>{escape(formula.strip())}</code>"
    return converted


def read_executed(path):
    """An executed notebook; a ValueError that names it unless every cell ran and ended well."""
    notebook = nbformat.read(path, 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    for output in (output for cell in cells for output in cell.outputs if output.output_type == "error"):
        said = f"{output.ename}: {output.evalue}".strip().splitlines()[0]
        raise ValueError(f"{path}: a cell of this notebook failed ({said}); run `make reproduce` until it ends well.")
    if not all(cell.execution_count for cell in cells):
        raise ValueError(f"{path}: this notebook has not run to its end; let `make reproduce` finish first.")
    return notebook


def fragment(notebook, name, *, folded=True, below=1):
    """One executed notebook as HTML, without progress bars and without what needs a running Jupyter.

    Args:
        notebook: nbformat's, version 4. name: of its run (`06_evaluate_ms`), unique on the page: all ids start with it.
        folded: whether code is folded away. below: levels that its headings are put below those of the notebook.

    Returns:
        A `<section id=name>` that loads nothing from elsewhere, and its headings [(level, id, HTML)], the title first.

    Raises ValueError, naming the run and the address, where a cell would load something.
    """
    markdown = MarkdownWithMath(renderer=Prose(name, below))
    _exporter().register_filter("markdown2html", markdown.render)
    html, _ = _exporter().from_notebook_node(_tidy(notebook, folded))
    for address in loads(html):
        raise ValueError(f"{name}: a cell loads {address}, and the page must open without a network; embed it instead.")
    return f'<section class="notebook" id="{escape(name)}">\n{html}\n</section>\n', markdown.renderer.headings


@cache  # of its template
def _exporter():
    return HTMLExporter(raw_template=CELLS, config=Config({"NbConvertBase": {"display_data_priority": KINDS}}))


def loads(html):
    """The addresses that a browser would load to show a page, except data within it. Links to click don't count."""
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            of = {"link": {"href"}, "object": {"data"}, "image": {"href", "xlink:href"}}.get(tag, set())
            values = dict(attributes)
            found.extend(values[name] for name in values.keys() & (of | {"src", "srcset", "poster", "background"}))
            found.extend(re.findall(r"url\(([^)]*)\)", values.get("style") or ""))

    Reader().feed(html)
    for sheet in re.findall(r"<style.*?</style>", html, re.DOTALL):
        found.extend(re.findall(r"url\(([^)]*)\)|@import ([^;]*)", sheet))
    return [address for address in found if not str(address).startswith("data:")]


def _tidy(notebook, folded):
    """A copy without what a reader has no use for; cells' metadata hold what the template needs to know."""
    notebook, heading = copy.deepcopy(notebook), ""
    notebook.cells = [cell for cell in notebook.cells if cell.source.strip()]
    for cell in notebook.cells:
        cell.metadata.setdefault("tags", [])
        if cell.cell_type == "markdown":
            heading = [heading, *re.findall(r"^#+ +(.+)", cell.source, re.MULTILINE)][-1]
        if cell.cell_type == "code":
            CoalesceStreamsPreprocessor().preprocess_cell(cell, {}, 0)
            cell.outputs = [output for output in cell.outputs if _shows(output)]
            tags = [SUMMARIES[tag] for tag in cell.metadata.tags if tag in SUMMARIES]
            summary = (tags or [f"Code ({len(cell.source.splitlines())} lines)"])[0]
            cell.metadata["summary"] = summary if folded and "solution" not in cell.metadata.tags else ""
            cell.metadata["alt"] = f"Figure: {heading}"
    return notebook


def _shows(output):
    """Whether there is something to see; takes progress bars out of a stream, and pandas' style out of its tables.

    What only a running Jupyter can show is replaced by a sentence.
    """
    if output.output_type == "stream":
        bar = re.compile(r"\d+%\|")
        output.text = "\n".join(line for line in output.text.splitlines() if not bar.search(line)).strip("\n")
        return bool(output.text.strip())
    output.output_type = "display_data"  # the result of a cell looks no different
    html = output.data.get("text/html", "")
    if "text/html" in output.data:
        output.data["text/html"] = re.sub(r"<style scoped>.*?</style>", "", html, flags=re.DOTALL)
    if _is_live(output.data):
        output.data = {"text/html": LEFT_OUT}
    return bool(set(KINDS) & output.data.keys())


def _is_live(data):
    """Whether an output needs more than a page: a widget, a script, a frame that doesn't carry all it shows."""
    html = data.get("text/html", "")
    carried = not any(loads(unescape(page)) for page in FRAME.findall(html))
    widget = {"application/vnd.jupyter.widget-view+json", "application/javascript"} & data.keys()
    return bool(widget or LIVE.search(FRAME.sub("", html) if carried else html))


def prose(text, name):
    """Markdown as HTML; ids of its headings start with `name`."""
    return document(text, name, below=1)[0]


def document(text, name, below=0):
    """Markdown as HTML, and its headings, as in `fragment`."""
    markdown = MarkdownWithMath(renderer=Prose(name, below))
    return markdown.render(text), markdown.renderer.headings


def plain(html):
    """The text of some HTML."""
    return unescape(re.sub(r"<[^>]+>", "", html))
