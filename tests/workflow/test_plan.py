"""The plan of a run, without running Snakemake: seeds and folds, parameters of every step."""

import copy
import json
import subprocess
import sys

import pytest
from plan import make_plan
from profile_values import PROFILES, leaves
from profiles import read_profile
from steps import check, steps_of
from study_folder import ROOT


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


def test_wrong_seeds_of_a_profile_are_one_sentence_whatever_the_command_line_says(own_profiles):
    (own_profiles / "mine.yaml").write_text("seeds: [0, 0]")
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
    assert {"01_cohort", "10_seeds", "98_spread"} == set(steps[None])
    assert "06_evaluate_stroke" in steps[""] and "ablations/z_choices" in steps["-seed1"]


def test_public_scans_train_one_network_and_grow_nobody():
    plan = make_plan({"profile": "real"})
    assert plan.stamp == ["data/real/prepared/prepare.json"] and "profile real on public scans" in plan.summary()
    steps = steps_of(plan)
    check(steps)
    assert list(steps[None]) == ["11_real_heads", "12_half_real"]
    assert list(steps[""]) == ["02_train_t1", "03_healthy_t1"]
    assert steps[None]["12_half_real"]["real_network"] == f"{steps['']['02_train_t1']['results']}/models/t1"


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
    """Changing any value changes what steps are given, where they lie, or which there are."""
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
