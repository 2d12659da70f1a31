"""The settings of a study: what a profile says itself, what it takes from others, and errors in profiles."""

import profiles
import pytest
import yaml
from plan import make_plan
from profile_values import PROFILES, leaves
from profiles import read_profile
from steps import check, steps_of


def test_only_the_published_protocol_shares_its_noise():
    shared = {name for name in PROFILES if read_profile(name)["training"]["noise"] == "simplex_shared"}
    assert shared == {"paper"}


def test_a_profile_has_what_it_does_not_change_from_the_one_it_extends():
    laptop, pretrained = (dict(leaves(read_profile(name))) for name in ("laptop", "pretrained"))
    assert list(laptop) == list(pretrained) and len(laptop) == 79 + 3  # `sets` are four leaves
    changed = {".".join(place): value for place, value in pretrained.items() if value != laptop[place]}
    places = {"data", "results", "networks", "cohort.train", "training.epochs", "training.t_range"}
    assert set(changed) == places | {"methods.reconstructors", "ablations.autoencoder_steps"}
    assert (changed["data"], changed["networks"]) == ("data/pretrained", "models/laptop")


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


def test_mappings_merge_key_by_key_lists_and_sets_are_replaced(own_profiles):
    mine = {"extends": "smoke", "training": {"lr": 0.5, "multipliers": [1]}, "sets": {"epilepsy": "t1"}}
    (own_profiles / "mine.yaml").write_text(yaml.safe_dump(mine))
    profile, smoke = read_profile("mine"), read_profile("smoke")
    assert profile["training"] == smoke["training"] | {"lr": 0.5, "multipliers": [1]}
    assert profile["sets"] == {"epilepsy": "t1"}
    assert profile["cohort"] == smoke["cohort"]
    (own_profiles / "mine.yaml").write_text("data: data/mine")  # without `extends` it extends `paper`
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
        ("a: [1", "mine.yaml: is not valid YAML: "),
    ],
)
def test_a_wrong_profile_is_one_sentence_that_names_it(own_profiles, text, sentence):
    (own_profiles / "mine.yaml").write_text(text)
    with pytest.raises(ValueError) as caught:
        read_profile("mine")
    assert str(caught.value).startswith(f"workflow/profiles/{sentence}") and "\n" not in str(caught.value)


def test_a_circle_of_profiles_is_refused(own_profiles):
    (own_profiles / "a.yaml").write_text("extends: b")
    (own_profiles / "b.yaml").write_text("extends: a")
    with pytest.raises(ValueError, match="b.yaml: `extends: a` leads in a circle: a -> b"):
        read_profile("a")
    paper = (own_profiles / "paper.yaml").read_text()
    (own_profiles / "paper.yaml").write_text(f"extends: laptop\n{paper}")
    with pytest.raises(ValueError, match="leads in a circle: laptop -> paper"):
        read_profile("laptop")


@pytest.mark.parametrize("key", ["temperature", "ablations.draw_counts", "cohort.train", "training.epochs"])
def test_a_key_that_the_whole_profile_lacks_is_one_sentence(own_profiles, key):
    whole = yaml.safe_load((own_profiles / "paper.yaml").read_text())
    *path, last = key.split(".")
    del (whole[path[0]] if path else whole)[last]
    (own_profiles / "paper.yaml").write_text(yaml.safe_dump(whole))
    (own_profiles / "mine.yaml").write_text("extends: paper")
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
