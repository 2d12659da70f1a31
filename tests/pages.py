"""Executed notebooks and results to make pages from, and how a browser reads a page: for report and site."""

import base64
import json
import os
import shutil
import subprocess
from html.parser import HTMLParser

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import write_cases
from nbformat import v4

from essim.calibration import Calibration

NAMES = ("chromium", "chromium-browser", "chromium-headless-shell", "google-chrome", "google-chrome-stable", "chrome")
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # a PNG of one
)
WIDGET = "application/vnd.jupyter.widget-view+json"


class Page(HTMLParser):
    """What a browser makes of a page: ids, links, whatever it loads, and the text but for code, formulas and style."""

    def __init__(self, html):
        super().__init__()
        self.ids, self.links, self.loaded, self.tags, self.text, self.inside = [], [], [], [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if tag == "a" else []
        self.loaded += [values[name] for name in ("src", "srcset", "data", "poster") if name in values]
        self.loaded += [values["href"]] if tag == "link" else []
        self.inside += [tag] if tag in ("style", "math", "code") else []

    def handle_endtag(self, tag):
        if self.inside and tag == self.inside[-1]:
            self.inside.pop()

    def handle_data(self, data):
        self.text += "" if self.inside else data


def executed(*cells, stem="06_evaluate", **parameters):
    """A notebook as papermill leaves it."""
    record = {"parameters": parameters, "input_path": f"notebooks/{stem}.ipynb", "duration": 12.3}
    return v4.new_notebook(cells=list(cells), metadata={"papermill": record, "language_info": {"name": "python"}})


def ran(source, *outputs, **metadata):
    return v4.new_code_cell(source, outputs=list(outputs), execution_count=1, metadata=metadata)


def shown(**data):
    kinds = {"html": "text/html", "png": "image/png", "plain": "text/plain", "widget": WIDGET}
    return v4.new_output("display_data", {kinds[kind]: value for kind, value in data.items()})


def evaluation(name="ms", **parameters):
    text = "# 06 · Who finds it?\n\nThe mean $\\bar x$ and `$not maths$`.\n\n$$w_i = \\frac{1}{K}$$"
    return executed(
        v4.new_markdown_cell(text),
        ran(f'dataset = "{name}"', tags=["injected-parameters"]),
        v4.new_markdown_cell("## The table\n\nAs it is.\n\n## The table\n\n| a | b |\n| - | - |\n| 1 | 2 |"),
        ran(
            "table(a < b)",
            v4.new_output("stream", name="stderr", text="\rscore:  50%|##   | 1/2 [00:01<00:01]"),
            v4.new_output("stream", name="stderr", text="\rscore: 100%|#####| 2/2 [00:02<00:00]\na warning <1>\n"),
            shown(html="<table><tr><td>0.5</td></tr></table>", plain="0.5"),
            shown(png=PIXEL + "\n", plain="<Figure>"),
            shown(widget={"model_id": "1"}, plain="interactive(slider)"),
            shown(html="<script src='https://example.org/x.js'></script>", plain="a viewer"),
        ),
        dataset=name,
        **parameters,
    )


def write_results(folder):
    """A finished study of two sets on the built-in cohort, as far as pages are concerned."""
    for name in ("notebooks", "tables", "figures"):
        (folder / name).mkdir(parents=True)
    cohort = executed(v4.new_markdown_cell("# 01 · The cohort"), stem="01_cohort", data="data/laptop", voxel_mm=2)
    nbformat.write(cohort, folder / "notebooks/01_cohort.ipynb")
    for name in ("ms", "wmh"):
        nbformat.write(evaluation(name), folder / f"notebooks/06_evaluate_{name}.ipynb")
    for name in ("qualitative", "score_over_sigma", "regret"):
        (folder / f"figures/{name}.png").write_bytes(base64.b64decode(PIXEL))
        (folder / f"figures/{name}.pdf").write_bytes(b"%PDF")
    (folder / "tables/main.csv").write_text("method,auprc\nl1,0.287\n")
    (folder / "tables/main.md").write_text("| method | AUPRC |\n|:--|:--|\n| l1 | 0.287 ± 0.034 |\n")
    record = {"revision": "0123abcd", "dirty": True, "versions": {"torch": "2.9", "old": None}, "device": "cpu: Test"}
    (folder / "tables/main.csv.json").write_text(json.dumps(record | {"time": "2026-01-02T03:04:05+00:00"}))
    return folder


METHODS = ("l1", "ssim 0.3", "ssim 1.7", "adaptive")


def write_scores(folder, dataset="ms"):
    """What a finished study knows of single patients: every score's AUPRC, and the reconstruction of some of them."""
    rows = [
        {"dataset": dataset, "subject": f"{dataset}{i}", "split": "val" if i == 0 else "test", "method": method}
        | {"protocol": 0.1 * i + 0.01 * k, "at_best": 0.1 * i + 0.02 * k}
        for i in range(4)
        for k, method in enumerate(METHODS)
    ]
    pd.DataFrame(rows).to_csv(folder / "tables/at_best_scores.csv", index=False)
    pd.DataFrame({"method": METHODS, "post": "gauss 1"}).to_csv(folder / "tables/at_best.csv", index=False)
    text = "dataset,method,dice,dice_low,dice_high\nms,l1,0.25,0.2,0.3\n"
    (folder / "tables/main.csv").write_text(text)
    rng, shape, cases = np.random.default_rng(0), (12, 14, 10), {}
    for i in range(3):
        image, seg = rng.random(shape, np.float32), np.zeros(shape, bool)
        seg[4:8, 5:9, 3:5] = True
        cases[f"{dataset}{i}"] = ("val" if i == 0 else "test", image, image * ~seg, np.ones(shape, bool), seg)
    table = write_cases(folder / f"reconstructions/{dataset}", cases) / "scans.csv"
    pd.read_csv(table).assign(contrast="t2", age=41.5, sex="f").to_csv(table, index=False)
    (folder / "models/t2").mkdir(parents=True)
    ones = torch.ones(2, 6, 7, 5)
    Calibration((0.7,), shape, ones, ones, level=0.1, scans=4).save(folder / "models/t2/calibration.safetensors")


def browse(page, folder):
    """Open a page in a headless Chromium: (console messages, addresses requested from a network, its DOM)."""
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not browser:
        pytest.skip("no Chromium on this machine: install one, or set CHROMIUM to where it is.")
    options = ["--headless", "--disable-gpu", "--no-first-run", "--allow-file-access-from-files", "--dump-dom"]
    options += ["--no-sandbox"] if os.geteuid() == 0 else []
    options += [f"--user-data-dir={folder / 'user'}", f"--log-net-log={folder / 'net.json'}"]
    # virtual time runs on while a page unpacks its volumes, however long that takes on a busy machine
    options += ["--enable-logging=stderr", "--virtual-time-budget=600000", page.as_uri()]
    done = subprocess.run([browser, *options], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    events = [event.get("params", {}) for event in json.loads((folder / "net.json").read_text())["events"]]
    # what the browser asks for on its own account has "not an origin"
    asked = [e["url"] for e in events if e.get("initiator", "not an origin") != "not an origin" and "url" in e]
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return said, [url for url in asked if not url.startswith(("file:", "data:"))], done.stdout
