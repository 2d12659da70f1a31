"""The plan of a run, without running Snakemake: profiles, sources, seeds and folds, parameters, and what runs again."""

import copy
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import closure
import pandas as pd
import profiles
import pytest
import yaml
from plan import make_plan, place_of, results_of
from profiles import read_profile
from steps import check, steps_of
from study_folder import ROOT

PROFILES = ("confirm", "gpu", "laptop", "networks", "paper", "pretrained", "real", "smoke")


def leaves(values, before=()):
    """(place, value) of everything in a dict of dicts."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, (*before, key))
        else:
            yield (*before, key), value


# Profiles


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the profiles, to change."""
    shutil.copytree(profiles.FOLDER, tmp_path / "profiles")
    monkeypatch.setattr(profiles, "FOLDER", tmp_path / "profiles")
    return tmp_path / "profiles"


def test_only_the_published_protocol_shares_its_noise():
    shared = {name for name in PROFILES if read_profile(name)["training"]["noise"] == "simplex_shared"}
    assert shared == {"paper"}


def test_a_profile_has_what_it_does_not_change_from_the_one_it_extends():
    laptop, pretrained = (dict(leaves(read_profile(name))) for name in ("laptop", "pretrained"))
    assert list(laptop) == list(pretrained) and len(laptop) == 78 + 3  # `sets` are four leaves
    changed = {".".join(place): value for place, value in pretrained.items() if value != laptop[place]}
    assert changed == {
        **{"data": "data/pretrained", "results": "results/pretrained", "networks": "models/laptop"},
        **{"cohort.train": 96, "training.t_range": [100, 900], "ablations.autoencoder_steps": 14400},
    }


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_only_says_what_it_changes(name):
    own = yaml.safe_load((profiles.FOLDER / f"{name}.yaml").read_text())
    extended = own.pop("extends", None)
    if extended is None:
        assert name == profiles.ROOT
        return
    inherited = read_profile(extended)
    assert own.pop("sets", None) != inherited["sets"]
    same = [place for place, value in leaves(own) if dict(leaves(inherited))[place] == value]
    assert not same, "delete them"


def test_every_profile_says_what_it_is_its_command_and_its_time():
    assert tuple(profiles.names()) == PROFILES
    for name in PROFILES:
        first, second, *_ = (profiles.FOLDER / f"{name}.yaml").read_text().splitlines()
        assert first.startswith("# ") and second.startswith("#   make ")


def test_mappings_merge_key_by_key_lists_and_sets_are_replaced(folder):
    mine = {"extends": "smoke", "training": {"lr": 0.5, "multipliers": [1]}, "sets": {"epilepsy": "t1"}}
    (folder / "mine.yaml").write_text(yaml.safe_dump(mine))
    profile, smoke = read_profile("mine"), read_profile("smoke")
    assert profile["training"] == smoke["training"] | {"lr": 0.5, "multipliers": [1]}
    assert profile["sets"] == {"epilepsy": "t1"}
    assert profile["cohort"] == smoke["cohort"]
    (folder / "mine.yaml").write_text("data: data/mine")  # without `extends` it extends the one that is whole
    assert read_profile("mine") == read_profile("paper") | {"data": "data/mine"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("temperatur: 2", "mine.yaml: unknown key `temperatur`: did you mean `temperature`?"),
        ("training: {epoch: 2}", "mine.yaml: training: unknown key `epoch`: did you mean `epochs`?"),
        ("cohort: {zzz: 2}", "mine.yaml: cohort: unknown key `zzz`: known are seed, voxel_mm, train, val, test, pat"),
        ("1: 2", "mine.yaml: unknown key `1`: known are data, "),
        ("training: 5", "mine.yaml: `training` must be a mapping, got 5"),
        ("sets: [ms]", "mine.yaml: `sets` must be a mapping, got ['ms']"),
        (
            "extends: lapptop",
            "mine.yaml: extends `lapptop`, which is unknown: known are confirm, gpu, laptop, mine, networks, ",
        ),
        ("extends: mine", "mine.yaml: `extends: mine` leads in a circle: mine"),
        ("[1, 2]", "mine.yaml: must be a mapping of keys to values, got [1, 2]"),
        ("", "mine.yaml: must be a mapping of keys to values, got None"),
        ("a: [1", "mine.yaml: is no YAML: "),
    ],
)
def test_a_wrong_profile_is_one_sentence_that_names_it(folder, text, sentence):
    (folder / "mine.yaml").write_text(text)
    with pytest.raises(ValueError) as caught:
        read_profile("mine")
    assert str(caught.value).startswith(f"workflow/profiles/{sentence}") and "\n" not in str(caught.value)


def test_a_circle_of_profiles_is_refused(folder):
    (folder / "a.yaml").write_text("extends: b")
    (folder / "b.yaml").write_text("extends: a")
    with pytest.raises(ValueError, match="b.yaml: `extends: a` leads in a circle: a -> b"):
        read_profile("a")
    paper = (folder / "paper.yaml").read_text()
    (folder / "paper.yaml").write_text(f"extends: laptop\n{paper}")
    with pytest.raises(ValueError, match="leads in a circle: laptop -> paper"):
        read_profile("laptop")


@pytest.mark.parametrize("key", ["temperature", "ablations.draw_counts", "cohort.train", "training.epochs"])
def test_a_key_that_the_whole_profile_lacks_is_one_sentence(folder, key):
    whole = yaml.safe_load((folder / "paper.yaml").read_text())
    *path, last = key.split(".")
    del (whole[path[0]] if path else whole)[last]
    (folder / "paper.yaml").write_text(yaml.safe_dump(whole))
    (folder / "mine.yaml").write_text("extends: paper")
    with pytest.raises(ValueError, match=f"`(.*[.])?{last}` is missing"):
        plan = make_plan({"profile": "mine"})
        plan.summary()
        check(steps_of(plan))


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_as_text_is_the_profile(name):
    text = profiles.text_of(read_profile(name))
    assert yaml.safe_load(text) == read_profile(name)
    lines = text.splitlines()
    assert len(lines) < 33 and max(map(len, lines)) <= 120


# Plans


def test_no_torch_for_a_plan():
    code = "import sys, plan, steps; steps.check(steps.steps_of(plan.make_plan({}))); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "workflow", env={"PYTHONPATH": str(ROOT)}, check=True)


def test_settings_of_the_command_line_replace_values():
    plan = make_plan({"profile": "smoke", "folds": ["0", "1"], "results": "elsewhere", "training": {"lr": "0.5"}})
    smoke = read_profile("smoke")
    assert plan.home == "elsewhere" and plan.folds == [0, 1]
    assert plan.profile["training"] == smoke["training"] | {"lr": 0.5}
    with pytest.raises(ValueError, match="--config: unknown key `seed`: did you mean `seeds`?"):
        make_plan({"profile": "smoke", "seed": 1})
    with pytest.raises(ValueError, match=f"unknown profile `lapptop`: known are {', '.join(PROFILES)}"):
        make_plan({"profile": "lapptop"})


@pytest.mark.parametrize("seeds", [1, [], [0, 0], [-1], ["a"], [True], [1.5], None])
def test_wrong_seeds_are_one_sentence(seeds):
    with pytest.raises(ValueError, match="seeds must be a list of whole numbers >= 0, each once, got .*: write SEEDS="):
        make_plan({"profile": "smoke", "seeds": seeds})


def test_wrong_seeds_of_a_profile_are_one_sentence_whatever_the_command_line_says(folder):
    (folder / "mine.yaml").write_text("seeds: [0, 0]")
    with pytest.raises(ValueError, match="seeds must be a list"):
        make_plan({"profile": "mine", "seeds": [1]})


@pytest.mark.parametrize(
    ("settings", "parts", "study"),
    [
        ({}, {"": (0, 0)}, "results/smoke"),
        ({"seeds": [1]}, {"-seed1": (1, 0)}, "results/smoke-seed1"),
        ({"seeds": [1, 0]}, {"-seed1": (1, 0), "": (0, 0)}, "results/smoke-seed1"),
        ({"folds": [0, 3]}, {"/fold0": (0, 0), "/fold3": (0, 3)}, "results/smoke"),
        ({"folds": [0, 1], "seeds": [2]}, {"-seed2/fold0": (2, 0), "-seed2/fold1": (2, 1)}, "results/smoke-seed2"),
    ],
)
def test_every_seed_and_fold_is_a_part(settings, parts, study):
    plan = make_plan({"profile": "smoke"} | settings)
    steps = steps_of(plan)
    assert plan.parts == parts and plan.study == study
    assert set(steps) == {None, *parts}
    for part, (seed, fold) in parts.items():
        values = steps[part]["03_healthy_t1"]
        assert (values["seed"], values["fold"], values["results"]) == (seed, fold, f"results/smoke{part}")
    assert ("98_spread" in steps[None]) == (len(parts) > 1)


@pytest.mark.parametrize("name", sorted({*PROFILES} - {"real", "confirm"}))
def test_every_step_of_every_profile_is_accepted_by_its_notebook(name):
    steps = steps_of(make_plan({"profile": name, "seeds": [0, 1], "folds": [0]}))
    check(steps)
    assert {"01_cohort", "98_spread"} == set(steps[None])
    assert "06_evaluate_stroke" in steps[""] and "ablations/z_choices" in steps["-seed1"]


def test_public_scans_train_one_network_and_grow_nobody():
    plan = make_plan({"profile": "real"})
    assert plan.stamp == ["data/real/prepared/prepare.json"] and "profile real on public scans" in plan.summary()
    steps = steps_of(plan)
    check(steps)
    assert list(steps[None]) == ["11_real_heads", "12_half_real"]
    assert list(steps[""]) == ["02_train_t1", "03_healthy_t1"]
    assert steps[None]["12_half_real"]["real_network"] == f"{steps['']['02_train_t1']['results']}/models/t1"


def test_the_confirmatory_run_learns_and_chooses_nothing():
    plan = make_plan({"profile": "confirm"})
    assert "healthy" not in plan.summary() and "  ms t2: 100 test\n" in plan.summary()
    steps = steps_of(plan)
    check(steps)
    assert steps[None] == {} and list(steps) == [None, ""]
    assert list(steps[""]) == [*(f"03_reconstruct_{name}" for name in plan.sets), "14_confirm"]
    developed = steps_of(make_plan({"profile": "pretrained"}))[""]
    for name in plan.sets:
        own, other = (whole[f"03_reconstruct_{name}"] for whole in (steps[""], developed))
        assert {key for key in own if own[key] != other[key]} == {"data", "results", "cache"}


def test_parameters_are_plain_and_in_the_order_that_they_always_had():
    """Snakemake compares them as texts: another order would run everything again."""
    steps = steps_of(make_plan({"profile": "smoke"}))[""]
    text = json.dumps(steps["03_healthy_t1"])
    assert text == (
        '{"results": "results/smoke", "data": "data/smoke", "cache": "results/smoke/cache", '
        '"preprocessing": {"smooth": false, "shape": [40, 48, 32], "factor": 1}, "fold": 0, "contrast": "t1", '
        '"shares": [0.01, 0.05], "temperature": 1.0, "sigmas": [0.3, 0.7, 1.1], "t": [500], "draws": 1, "seed": 0}'
    )


def test_a_wrong_parameter_is_named():
    steps = steps_of(make_plan({"profile": "smoke", "temperature": -1}))
    with pytest.raises(ValueError, match="parameter `temperature` must be greater than 0, got -1"):
        check(steps)


def test_every_value_of_a_profile_is_read():
    """Each value, when it changes, changes what steps are given, where they lie, or which there are."""
    whole = read_profile("paper")

    def consequences(profile):
        plan = make_plan({"profile": "paper"} | copy.deepcopy(profile))
        return json.dumps([{str(part): values for part, values in steps_of(plan).items()}, plan.stamp, plan.home])

    before = consequences(whole)
    for place, value in leaves(whole):
        changed = copy.deepcopy(whole)
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = [7] if place == ("seeds",) else [*value, 9] if isinstance(value, list) else f"{value}7"
        assert consequences(changed) != before, ".".join(place)


def test_networks_that_come_trained_keep_their_seed():
    steps = steps_of(make_plan({"profile": "pretrained", "seeds": [5]}))["-seed5"]
    assert steps["02_train_t1"]["network"] == "models/laptop_t1" and steps["02_train_t1"]["training"]["seed"] == 0
    assert steps["03_baselines_t1"]["autoencoder"]["seed"] == 0 and steps["03_reconstruct_ms"]["seed"] == 5
    longer = steps["03_baselines_t1_longer"]
    assert longer["network"] == "" and longer["autoencoder"]["steps"] == 14400
    assert longer["results"] == "results/pretrained-seed5/ablations"


def test_the_summary_counts_what_will_be_done():
    assert make_plan({"profile": "smoke", "seeds": [0, 1]}).summary().splitlines() == [
        "results/smoke: profile smoke on the built-in cohort",
        "  healthy t1: 4 train, 3 val, 2 test",
        "  healthy t2: 4 train, 3 val, 2 test",
        "  tumour t2: 2 val, 2 test",
        "  stroke t1: 2 val, 2 test",
        "  2 seed(s) x 1 fold(s) x 2 training(s) of 8 epochs in batches of 8",
    ]


# Scans of one's own


@pytest.fixture
def table(tmp_path):
    """Healthy people in T1, patients of a set in T1, of another in T2 only."""
    rows = [{"dataset": "healthy", "subject": f"h{i}", "contrast": "t1"} for i in range(12)]
    for dataset, contrast in (("epilepsy", "t1"), ("ms", "t2")):
        rows += [{"dataset": dataset, "subject": f"{dataset}{i}", "contrast": contrast} for i in range(4)]
    for row in rows:
        row |= {"image": f"{row['subject']}.nii.gz", "mask": "nonzero"}
    path = tmp_path / "my scans.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_scans_of_ones_own_decide_the_sets(table):
    plan = make_plan({"profile": "smoke", "source": str(table)})
    assert plan.sets == {"epilepsy": "t1"} and plan.contrasts == ["t1"], "of ms nothing can be learned"
    assert plan.raw and plan.stamp == [f"{plan.data}/prepare.json"]
    assert re.fullmatch(r"results/smoke-my-scans-[0-9a-f]{6}", plan.home) and plan.home[8:] == plan.data[5:]
    assert results_of("smoke", str(table)) == Path(plan.home)
    assert f"{table}, to be prepared first" in plan.summary() and "  epilepsy t1: 1 val, 3 test" in plan.summary()
    steps = steps_of(plan)
    assert not steps[None] and "03_reconstruct_epilepsy" in steps[""]
    check(steps)


def test_a_set_is_scored_in_a_contrast_that_there_is(table):
    """In the profile's, else in T2, T1, FLAIR."""
    scans = pd.read_csv(table)
    ms, others = scans[scans.dataset == "ms"], scans[scans.dataset != "ms"]
    everything = pd.concat([others, ms.assign(contrast="t1"), ms, *(scans.assign(contrast=c) for c in ("t2", "flair"))])
    without_t2 = everything[(everything.dataset != "ms") | (everything.contrast == "flair")]
    for rows, sets in (
        (everything, {"ms": "t2", "epilepsy": "t2"}),
        (without_t2, {"ms": "flair", "epilepsy": "t2"}),
        (scans.assign(contrast="flair"), {"ms": "flair", "epilepsy": "flair"}),
    ):
        rows.drop_duplicates(["subject", "contrast"]).to_csv(table, index=False)
        assert make_plan({"profile": "smoke", "source": str(table)}).sets == sets


def test_a_contrast_without_a_network_is_one_sentence(table):
    pd.read_csv(table).assign(contrast="flair").to_csv(table, index=False)
    text = "elsewhere_flair: no such folder, no network for flair comes trained; .* leave the set epilepsy out"
    with pytest.raises(ValueError, match=text):
        make_plan({"profile": "pretrained", "networks": "elsewhere", "source": str(table)})


def test_new_files_have_another_digest(table):
    plan = make_plan({"profile": "smoke", "source": str(table)})
    before = plan.files_digest()
    assert plan.files_digest() == before
    (table.parent / "h0.nii.gz").write_bytes(b"1")
    assert plan.files_digest() != before


def test_sources_of_one_name_have_places_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["a/scans", "b/scans", "ds-1.0.0", "ds-1.0.1", "my data", "my-data", "2023", "1e3", "it's # odd: yes"]
    places = [place_of("results/laptop", name) for name in names]
    assert len({*places}) == len(places)
    assert all(re.fullmatch(r"results/laptop-[\w.-]+-[0-9a-f]{6}", place) for place in places)
    assert place_of("results/laptop", tmp_path / "ds-1.0.0") == places[2], "the same source, called in another way"
    assert place_of("results/laptop", "") == "results/laptop"


@pytest.mark.parametrize("source", [2023, 1000.0, True])
def test_a_source_that_came_as_a_number_is_one_sentence(source):
    with pytest.raises(ValueError, match=f"source must be a path, got {source}: write source=@NAME"):
        make_plan({"profile": "smoke", "source": source})


def test_a_wrong_source_is_one_sentence(table):
    with pytest.raises(ValueError, match="nowhere: no such folder or table; correct the path."):
        make_plan({"profile": "smoke", "source": "nowhere"})
    alone = pd.read_csv(table)
    alone[alone.dataset != "healthy"].to_csv(table, index=False)
    with pytest.raises(ValueError, match="has no patients with healthy scans of the same contrast"):
        make_plan({"profile": "smoke", "source": str(table)})


# What runs again


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose notebook imports `a`, which imports `b` by way of a function, which imports `deep`."""
    texts = {
        "essim/__init__.pyi": "from runs.deep import DEEP\nfrom ssim import ssim_map\n",
        "essim/ssim.py": "def ssim_map(): pass\n",
        "essim/data/a.py": "from essim.data import b\n",
        "essim/data/b.py": "def read():\n    from essim.cohort.deep import depth\n    return depth\n",
        "essim/cohort/deep.py": "import essim.figures.style\ndepth = 1\n",
        "essim/cohort/unused.py": "",
        "essim/figures/style.py": "from essim.cohort import unused\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(closure, "ROOT", tmp_path)
    for function in (closure.imports_of, closure.public_names):
        monkeypatch.setattr(closure, function.__name__, function.__wrapped__)
    (tmp_path / "notebooks").mkdir()

    def notebook(name, *sources, prose=""):
        cells = [{"cell_type": "code", "source": source.splitlines(keepends=True)} for source in sources]
        cells.append({"cell_type": "markdown", "source": [prose]})
        (tmp_path / f"notebooks/{name}.ipynb").write_text(json.dumps({"cells": cells}))
        return name

    return notebook


def test_the_closure_goes_as_deep_as_the_imports(package):
    name = package("02_x", "from essim.data.a import b", "import essim\nessim.ssim_map()")
    deep = ["essim/cohort/deep.py", "essim/data/a.py", "essim/data/b.py", "essim/ssim.py"]
    assert closure.modules_of(name) == deep, "what only draws is left out, and what that imports"
    assert closure.modules_behind("essim.data.b") == ["essim/cohort/deep.py", "essim/data/b.py"]
    drawing = package("99_figures", "from essim.data.a import b")
    assert closure.modules_of(drawing) == sorted({*deep[:3], "essim/figures/style.py", "essim/cohort/unused.py"})


def test_a_module_that_is_imported_from_now_on_counts(package, tmp_path):
    name = package("02_x", "from essim.data.a import b")
    (tmp_path / "essim/cohort/deep.py").write_text("from essim.cohort import unused\n")
    assert "essim/cohort/unused.py" in closure.modules_of(name)


def test_only_code_changes_the_digest_of_a_notebook(package):
    before = closure.digest_of(package("02_x", "a = 1", "b = 2"))
    assert closure.digest_of(package("02_x", "a = 1", "b = 2", prose="Better.")) == before
    assert closure.digest_of(package("02_x", "a = 1", "b = 3")) != before
