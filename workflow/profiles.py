"""The study's profiles: every value of a run, from files that each hold only what they change in another.

In: profiles/<name>.yaml. Out: one plain dict with the keys of profiles/paper.yaml, and that dict as text.
"""

import difflib
import textwrap
from pathlib import Path

import yaml

FOLDER = Path(__file__).with_name("profiles")
ROOT = "paper"  # has every key and extends no other; the others extend it unless they name another
WIDTH = 116  # of a line of text


class Values(dict):
    """A profile, or a mapping within one; a missing key raises a ValueError of one sentence."""

    def __missing__(self, key):
        raise ValueError(f"{_place(ROOT)}: the key `{key}` is missing")


def names():
    """The names of all profiles."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_profile(name):
    """A profile with all of its values.

    Raises ValueError, in one sentence, if it is unknown; and, with the file's name, if it has a key that no profile
    has, or extends an unknown profile or, in the end, itself.
    """
    if name not in names():
        raise ValueError(f"unknown profile `{name}`: known are {', '.join(names())}")
    layers = {}
    while name is not None:
        layers[name] = _load(name)
        extended = layers[name].pop("extends", None if name == ROOT else ROOT)
        if extended in layers:
            raise ValueError(f"{_place(name)}: `extends: {extended}` leads in a circle: {' -> '.join(layers)}")
        if extended is not None and extended not in names():
            raise ValueError(f"{_place(name)}: extends `{extended}`, which is unknown: known are {', '.join(names())}")
        name = extended
    whole = layers.popitem()[1]
    profile = Values({key: Values(value) if isinstance(value, dict) else value for key, value in whole.items()})
    for name in reversed(layers):
        profile = change(profile, layers[name], _place(name))
    return profile


def change(profile, changes, place):
    """A copy of a profile, or of a part of it, with other values: mappings key by key, lists as a whole.

    `sets`, whose keys are names of data, is also replaced as a whole. Raises ValueError, naming `place`, where a key is
    unknown or a mapping is changed to something else.
    """
    changed = Values(profile)
    for key, value in changes.items():
        if key not in profile:
            close = difflib.get_close_matches(str(key), profile, n=1)
            advice = f"did you mean `{close[0]}`?" if close else f"known are {', '.join(profile)}"
            raise ValueError(f"{place}: unknown key `{key}`: {advice}")
        if isinstance(profile[key], dict):
            if not isinstance(value, dict):
                raise ValueError(f"{place}: `{key}` must be a mapping, got {value!r}")
            value = value if key == "sets" else change(profile[key], value, f"{place}: {key}")
        changed[key] = value
    return changed


def text_of(profile):
    """A profile as YAML: one line per key, or a few if it is long."""
    lines = []
    for key, value in profile.items():
        value = dict(value) if isinstance(value, dict) else value
        flow = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, width=10**6).strip()[1:-1]
        lines += textwrap.wrap(f"{key}: {flow}", WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines)


def _place(name):
    return f"workflow/profiles/{name}.yaml"


def _load(name):
    """A file's own values, as it has them."""
    try:
        values = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{_place(name)}: is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{_place(name)}: must be a mapping of keys to values, got {values!r}")
    return values
