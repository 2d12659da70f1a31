"""Provenance: what made a number is written beside it; the results themselves are the same bytes each time."""

import hashlib
import io
import json

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from essim.runs import provenance as module
from essim.runs.provenance import provenance, save_figure, write_table


def test_a_record_says_what_made_the_number(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    record = provenance({"sigma": 0.3, "training": {"seed": 7}}, inputs=[tmp_path / "a.csv"])
    assert record["parameters"]["sigma"] == 0.3
    assert record["seed"] == 7
    assert record["inputs"] == {(tmp_path / "a.csv").as_posix(): hashlib.sha256(b"x\n1\n").hexdigest()}
    assert record["versions"]["numpy"] and record["device"].startswith(("cpu: ", "cuda: "))
    assert set(record) == {"parameters", "seed", "revision", "dirty", "versions", "device", "inputs", "time"}
    json.dumps(record)


def test_a_file_of_the_repository_is_called_by_its_place_in_it():
    assert list(provenance({}, inputs=[module.ROOT / "workflow/Snakefile"])["inputs"]) == ["workflow/Snakefile"]


def test_a_folder_is_hashed_by_names_and_contents(tmp_path):
    def digest():
        return provenance({}, inputs=[tmp_path])["inputs"][tmp_path.as_posix()]

    (tmp_path / "a").write_text("1")
    first = digest()
    assert digest() == first
    (tmp_path / "a").write_text("2")
    second = digest()
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, digest()}) == 3


def test_it_works_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    record = provenance({})
    assert record["revision"] is None and record["dirty"] is None


def test_another_projects_revision_is_not_ours(monkeypatch, tmp_path):
    (tmp_path / "vendored").mkdir()
    module.subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.setattr(module, "ROOT", tmp_path / "vendored")
    assert provenance({})["revision"] is None


def test_a_missing_input_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.csv"):
        provenance({}, inputs=[tmp_path / "gone.csv"])


def test_tables_keep_their_numbers_and_have_a_record(tmp_path):
    frame = pd.DataFrame({"method": ["l1", "ssim"], "auprc": [0.1 + 0.2, 1e-17]}, index=[5, 9])
    write_table(frame, tmp_path / "tables/main.csv", {"seed": 3})
    back = pd.read_csv(tmp_path / "tables/main.csv", dtype=str)
    assert list(back.columns) == ["method", "auprc"]
    assert [float(text) for text in back.auprc] == [0.1 + 0.2, 1e-17]
    assert json.loads((tmp_path / "tables/main.csv.json").read_text()) == {"seed": 3}
    assert len(list((tmp_path / "tables").iterdir())) == 2


def test_figures_are_the_same_bytes_each_time(tmp_path):
    for folder in ("one", "two"):
        figure, axis = plt.subplots()
        axis.plot([0, 1], [1, 0], label="line")
        axis.legend()
        shown = save_figure(figure, tmp_path / folder / "curve", {"time": folder})
        plt.close(figure)
    for kind in ("pdf", "png"):
        first, second = ((tmp_path / folder / f"curve.{kind}").read_bytes() for folder in ("one", "two"))
        assert first == second and len(first) > 1000
    assert json.loads((tmp_path / "two/curve.json").read_text()) == {"time": "two"}
    saved, halved = (Image.open(io.BytesIO(png)) for png in (second, shown._repr_png_()))
    assert halved.size == (-(-saved.width // 2), -(-saved.height // 2)), "a notebook shows it smaller"
    np.testing.assert_allclose(np.asarray(halved).mean((0, 1)), np.asarray(saved).mean((0, 1)), atol=1)


def test_a_failed_figure_leaves_nothing(tmp_path):
    class Broken(plt.Figure):
        def savefig(self, path, **kwargs):
            with open(path, "w") as stream:
                stream.write("half")
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="disk is full.*curve.pdf"):
        save_figure(Broken(), tmp_path / "curve", {})
    assert list(tmp_path.iterdir()) == []
