"""The real thing: every notebook of the study, every table and figure, with the smoke profile."""

import json
import shutil

from study_folder import ROOT, Study


def test_the_smoke_study_runs(tmp_path):
    study = Study(tmp_path)
    for name in ("workflow", "essim", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_*"))
    done = study.run()
    assert done.returncode == 0, done.stdout[-5000:]
    assert study.plan() == {}
    results = tmp_path / "results/smoke"
    main = (results / "tables/main.csv").read_text()
    for name in ("tumour", "stroke"):
        assert name in main
    for record in results.glob("tables/*.json"):
        assert {"parameters", "revision", "versions", "inputs"} <= set(json.loads(record.read_text()))
    assert len(list(results.glob("figures/*.pdf"))) == len(list(results.glob("figures/*.png"))) > 5
    assert not list(tmp_path.rglob("*checkpoint.pt"))
