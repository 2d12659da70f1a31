"""The real thing: every notebook of the study, every table and figure, with the smoke profile; then the ablations."""

import json

import pandas as pd
import pytest
from methods import chosen_methods, own_network
from plan import make_plan
from study_folder import Study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The study, run to its end."""
    study = Study.copied(tmp_path_factory.mktemp("study"))
    done = study.run()
    assert done.returncode == 0, done.stdout[-5000:]
    return study


def test_the_smoke_study_runs(study):
    assert study.plan() == {}
    results = study.folder / "results/smoke"
    main = (results / "tables/main.csv").read_text()
    for name in ("tumour", "stroke"):
        assert name in main
    for record in results.glob("tables/*.json"):
        assert {"parameters", "revision", "versions", "inputs"} <= set(json.loads(record.read_text()))
    assert len(list(results.glob("figures/*.pdf"))) == len(list(results.glob("figures/*.png"))) > 5
    assert not list(study.folder.rglob("*checkpoint.pt"))


def test_the_ablations_run_on_what_is_there(study):
    plan = {"ablate": 6, "choices": 1, "longer": 2, "longer_baselines": 1, "ablations": 1}
    assert study.plan("ablations") == plan, "nothing of the study is made again"
    done = study.run("ablations")
    assert done.returncode == 0, done.stdout[-5000:]
    assert study.plan("ablations") == {} and study.plan() == {}
    home = study.folder / "results/smoke/ablations"
    names = {path.stem for path in (study.folder / "notebooks/ablations").glob("[a-f]_*.ipynb")}
    for kind in ("tables", "choices", "figures"):
        assert names <= {path.stem for path in (home / kind).iterdir()}
    longer = pd.read_csv(home / "tables/g_longer_baselines.csv")
    assert set(longer.reconstruction) == {"diffusion", "ae", "vae", "ae, longer", "vae, longer"}
    assert pd.read_csv(home / "models/t1/ae.csv").step.max() == 16
    choices = pd.read_csv(home / "tables/choices.csv", dtype={"study": str, "chosen": str})
    assert set(choices.dataset) == {"tumour", "stroke"}
    kept = choices[choices.study == choices.chosen]
    assert (kept.gain == 0).all()
    assert choices.set_index("choice").study["t"].unique() == ["500"]
    written = (home / "tables/choices.md").read_text()
    assert all(name in written for name in choices.choice)

    study.change_profile({"ablations": {"temperatures": [0.5]}})
    assert study.plan("ablations") == {"ablate": 1, "choices": 1, "ablations": 1}, "the others are kept"
    assert study.plan() == {}, "and the study too"


def test_the_fields_methods_are_judged_on_what_is_there(study):
    tried = make_plan({"profile": "smoke"}).profile["methods"]
    names, learned = tried["reconstructors"], {own_network(name, "") for name in chosen_methods(tried)} - {None}
    plan = {
        "learn": 2 * len(learned),
        "rebuild": 4 * len(names),
        "one_method": len(names),
        "methods_grid": 1,
        "methods": 1,
    }
    assert study.plan("methods") == {rule: jobs for rule, jobs in plan.items() if jobs}, "nothing is made again"
    done = study.run("methods")
    assert done.returncode == 0, done.stdout[-5000:]
    assert study.plan("methods") == {} and study.plan() == {}
    again = {"learn": 2, "rebuild": 4, "one_method": 1, "methods_seeds": 1, "methods": 1}
    assert study.plan("methods", config=["seeds=[0,1]"]) == again, "of another seed, only what is repeated"
    grid = pd.read_csv(study.folder / "results/smoke/tables/methods_grid.csv")
    assert set(grid.reconstructor) == set(names) and set(grid.method) == {*tried["scores"], "l1 smoothed"}
    alone = grid[grid.method == "andi"]
    assert set(alone.reconstructor) == {"ddpm"} and alone.auprc.notna().all()

    study.change_profile({"methods": {"reconstructors": names[:1], "repeated": names[:1]}})
    assert study.plan("methods") == {"methods_grid": 1, "methods": 1}, "one less: only the grid"
    study.change_profile({"methods": {"scores": tried["scores"][:-1]}})
    assert set(study.plan("methods")) == {"one_method", "methods_grid", "methods"}, "nothing is rebuilt for a score"


def test_scanners_are_moved_on_what_is_there(study):
    assert study.plan("shifts") == {"shift": 1, "shifts": 1}, "nothing of the study is made again"
    done = study.run("shifts")
    assert done.returncode == 0, done.stdout[-5000:]
    assert study.plan("shifts") == {} and study.plan() == {}
    tables = study.folder / "results/smoke/tables"
    means = pd.read_csv(tables / "shifts.csv", keep_default_na=False)
    assert set(means.dataset) == {"stroke"} and set(means.network) == {"untold", "matched"}
    assert set(pd.read_csv(tables / "shift_axes.csv").axis) == set(means.axis) - {""}
