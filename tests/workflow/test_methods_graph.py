"""What the graph of `make methods` finds without importing anything: names, files, networks and their folders."""

import json

import methods
import pandas as pd
import pytest
from helpers import AS_IT_IS, healthy_scans, tiny
from plan import make_plan
from steps import steps_of

from essim.methods import registry
from essim.methods.networks import load_method

ENTRIES = registry.reconstructors() | registry.scores()


def test_what_the_graph_reads_is_what_the_modules_say():
    for name, module in ENTRIES.items():
        taken = getattr(module, "NETWORK", None)
        assert methods.network_of(name) == taken
        assert methods.own_network(name, "") == (None if taken in methods.OF_THE_STUDY else taken)
        assert module.__name__ == methods.path_of(name).removesuffix(".py").replace("/", ".")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"reconstructors": ["blurr"]}, "methods: reconstructors: unknown 'blurr': known are "),
        ({"scores": ["l1", "l3"]}, "methods: scores: unknown 'l3': known are adaptive, "),
        ({"repeated": ["dae"]}, "methods: repeated: 'dae' is not among the reconstructors; add it there."),
        ({"scores": ["l2"]}, "methods: scores: l1 is missing, with which the others are compared; add it."),
    ],
)
def test_a_wrong_name_is_one_sentence(changes, sentence):
    with pytest.raises(ValueError) as caught:
        methods.chosen_methods(make_plan({"profile": "smoke"}).profile["methods"] | changes)
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)


def test_where_a_network_lies(tmp_path, monkeypatch):
    monkeypatch.setattr(
        methods, "network_of", {"ddpm": "ddpm", "ddpm_longer": "ddpm", "thor": "ddpm", "ae": "ae", "dae": "dae"}.get
    )
    monkeypatch.setattr(methods, "ROOT", tmp_path)
    for name in ("ddpm", "thor", "ddpm_longer", "ae"):
        assert methods.folder_of(name, "t1", "results/a", "") == "results/a/models/t1"
    for name in ("ddpm_longer", "ae"):
        assert methods.folder_of(name, "t1", "results/a", "models/laptop") == "results/a/models/t1"
    for name in ("ddpm", "thor"):  # the pretrained one was trained for longer than the methods are
        assert methods.folder_of(name, "t1", "results/a", "models/laptop") == "results/a/methods/models/ddpm_t1"
    assert methods.folder_of("dae", "t1", "results/a", "models/laptop") == "results/a/methods/models/dae_t1"
    (tmp_path / "models/methods/dae_t1").mkdir(parents=True)
    assert methods.folder_of("dae", "t1", "results/a", "models/laptop") == "models/methods/dae_t1"
    assert methods.folder_of("dae", "t1", "results/a", "models/laptop", False) == "results/a/methods/models/dae_t1"
    assert methods.folder_of("dae", "t1", "results/a", "") == "results/a/methods/models/dae_t1"


def test_a_reconstructor_is_a_step():
    plan = make_plan({"profile": "smoke"})
    steps = steps_of(plan)[""]
    own = [name for name in steps if name.startswith("10_one_method_")]
    assert own == [f"10_one_method_{name}" for name in plan.profile["methods"]["reconstructors"]]
    assert steps["10_one_method_ddpm"]["models"] == {c: f"results/smoke/models/{c}" for c in ("t1", "t2")}


def test_a_network_is_learned_from_what_the_studys_own_is(tmp_path):
    healthy_scans(tmp_path / "in").to_csv(tmp_path / "scans.csv", index=False)
    asked = {"data": str(tmp_path / "scans.csv"), "results": str(tmp_path), "cache": str(tmp_path / "cache")}
    asked |= {"fold": 0, "contrast": "t2", "network": "", "preprocessing": AS_IT_IS.model_dump(mode="json")}
    asked |= {"training": tiny(epochs=2).model_dump(mode="json")}
    out = tmp_path / "models/pddpm_t2"
    assert methods.main(["learn", "pddpm", str(out), "--asked", json.dumps(asked)]) == 0
    assert load_method("pddpm", out, "cpu").timesteps == 100
    assert pd.read_csv(out / "log.csv").seconds.max() > 0


def test_a_failure_is_one_sentence(tmp_path, capsys):
    asked = json.dumps({"draws": 1, "seed": 0, "counts": {"val": 1}})
    words = ["rebuild", "blur", str(tmp_path / "out"), "--folder", str(tmp_path), "--model", str(tmp_path)]
    assert methods.main([*words, "--asked", asked]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"methods: {tmp_path / 'scans.csv'}: no such file") and said.count("\n") == 1
