"""What a run of the graph is about: which scans, patient sets, seeds and folds there are, and how many of each.

In: what Snakemake was told (`--config`): a `profile`, a `source` of your own scans (`make reproduce DATA=...`), and
values that replace the profile's. Out: a Plan. What each step is given: steps.py.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import yaml
from profiles import change, read_profile

PUBLIC = "data/real/prepared"  # where `make real` brings its scans


@dataclass(frozen=True)
class Plan:
    """One run of the graph."""

    name: str  # of the profile
    profile: dict  # with every value
    first_seed: int  # of the profile itself, whatever the command line says; also the pretrained networks'
    data: str  # folder of the scans in study space
    home: str  # folder of the results; those of other seeds than the first lie beside it
    sets: dict  # patient set: the contrast it is scored in
    folds: list
    stamp: list  # the files that say that the scans are there
    source: str = ""  # of your own scans; "": the built-in cohort
    scans: object = None  # the table of the source's scans
    raw: bool = False  # whether the source has to be prepared first

    @property
    def public(self):
        """Whether it is about the scans of `make real`."""
        return self.data == PUBLIC

    @property
    def confirms(self):
        """Whether it is the confirmatory run, of `make confirm`."""
        return self.name == "confirm"

    @property
    def contrasts(self):
        return sorted(set(self.sets.values()))

    @property
    def parts(self):
        """{what a part's folder adds to `home`: (seed, fold)}.

        Every seed, and every fold of it, is a study of its own on the same scans: adding a seed runs only that seed.
        """
        folders = {fold: f"/fold{fold}" if len(self.folds) > 1 else "" for fold in self.folds}
        pairs = [(seed, fold) for seed in self.profile["seeds"] for fold in self.folds]
        return {self._beside(seed) + folders[fold]: (seed, fold) for seed, fold in pairs}

    @property
    def study(self):
        """The folder of the summary of all parts."""
        return self.home + self._beside(self.profile["seeds"][0])

    def _beside(self, seed):
        return "" if seed == self.first_seed else f"-seed{seed}"

    @property
    def networks(self):
        """The prefix of the pretrained networks' folders; "" where networks are trained here."""
        return self.profile["networks"] or ""

    def network(self, contrast):
        """The folder of the pretrained network for a contrast; "" where it is trained here."""
        return f"{self.networks}_{contrast}" if self.networks else ""

    def counts(self, dataset, contrast):
        """How many scans of a set there are in each part, in words."""
        if self.source:
            rows = self.scans[(self.scans.dataset == dataset) & (self.scans.contrast == contrast)]
            counts = {split: (rows.split == split).sum() for split in ("train", "val", "test")}
        else:
            before, splits = ("", ("train", "val", "test")) if dataset == "healthy" else ("patients_", ("val", "test"))
            counts = {split: self.profile["cohort"][before + split] for split in splits}
        return f"  {dataset} {contrast}: " + ", ".join(f"{count} {split}" for split, count in counts.items() if count)

    def summary(self):
        """What will be done with what, in a few lines."""
        state = "to be prepared first" if self.raw else "prepared already"
        origin = f"{self.source}, {state}" if self.source else "public scans" if self.public else "the built-in cohort"
        training = self.profile["training"]
        work = f"training(s) of {training['epochs']} epochs in batches of {training['batch']}"
        work = f"pretrained network(s): {self.networks}" if self.networks else work
        healthy = [] if self.confirms else [("healthy", contrast) for contrast in self.contrasts]
        groups = healthy + list(self.sets.items())
        groups = [] if self.public else groups  # fetched by the graph itself, so not known yet
        return "\n".join(
            [
                f"{self.study}: profile {self.name} on {origin}",
                *(self.counts(*group) for group in groups),
                f"  {len(self.profile['seeds'])} seed(s) x {len(self.folds)} fold(s) x {len(self.contrasts)} {work}",
            ]
        )

    def files_digest(self):
        """A digest of names, sizes and times of the source's files: new or changed scans are prepared."""
        files = [Path(path) for role in ("image", "mask", "seg") for path in self.scans[role] if Path(path).is_file()]
        states = sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)
        return hashlib.sha256(repr(states).encode()).hexdigest()


def make_plan(config):
    """The plan of a run; ValueError, in one sentence, where the profile, a setting or the source is wrong.

    Args:
        config: {"profile": name, "source": path, and values of the profile}, all of which may be left out.
    """
    name, source = config.get("profile", "laptop"), config.get("source", "")
    if not isinstance(source, str):
        raise ValueError(f"source must be a path, got {source!r}: write source=@NAME, as `make ... DATA=NAME` does.")
    source = source.removeprefix("@")  # it keeps Snakemake from reading a folder called 2023 as a number
    own = read_profile(name)
    settings = {key: _typed(value) for key, value in config.items() if key not in ("profile", "source")}
    profile = change(own, settings, "--config")
    for seeds in (own["seeds"], profile["seeds"]):
        _check_seeds(seeds)
    fields = {"name": name, "profile": profile, "first_seed": own["seeds"][0]}
    if source:
        plan = Plan(**fields, **_own_scans(source, profile))
        for name, contrast in plan.sets.items():
            if plan.network(contrast) and not Path(plan.network(contrast)).is_dir():
                text = f"{plan.network(contrast)}: no such folder, there is no pretrained network for {contrast}"
                raise ValueError(f"{text}; take a profile that trains one, or leave the set {name} out of the source.")
        return plan
    stamp = f"{profile['data']}/{'prepare' if profile['data'] == PUBLIC else 'cohort'}.json"
    places = {"data": profile["data"], "home": profile["results"], "stamp": [stamp]}
    return Plan(**fields, **places, sets=profile["sets"], folds=profile["folds"])


def place_of(folder, source):
    """The folder for what is made from a source: beside `folder`, with the source's name and a digest of its path.

    Two sources of the same name have separate folders; the built-in cohort (no source) has `folder` itself.
    """
    if not source:
        return folder
    path = Path(source).resolve()
    name = re.sub(r"[^\w.-]+", "-", re.sub(r"\.(csv|tsv)$", "", path.name))
    return f"{folder}-{name}-{hashlib.sha256(str(path).encode()).hexdigest()[:6]}"


def results_of(profile, source):
    """The folder of the results of a profile on a source; ValueError where there is no such profile."""
    return Path(place_of(read_profile(profile)["results"], source))


def _typed(value):
    """A value of the command line as YAML has it: Snakemake leaves the numbers in `folds=[0,1]` as text."""
    return yaml.safe_load(json.dumps(value).replace('"', "")) if isinstance(value, (list, dict)) else value


def _check_seeds(seeds):
    whole = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not whole or not seeds or len({*seeds}) < len(seeds):
        got = f"seeds must be a list of whole numbers >= 0, each once, got {seeds!r}"
        raise ValueError(f"{got}: write SEEDS=0,1,2 or seeds=[0,1,2].")


def _own_scans(source, profile):
    """The fields of a Plan on your own scans, which replace the built-in cohort.

    What is there decides which sets are scored: those of patients with healthy scans of the same contrast.
    """
    from essim.data.datasets import list_scans  # here, since it imports torch
    from essim.data.prepared import is_prepared

    try:
        scans = list_scans(source)[0]
    except OSError as error:
        raise ValueError(str(error)) from None
    pairs = set(zip(scans.dataset, scans.contrast, strict=True))
    pairs = {(name, contrast) for name, contrast in pairs if ("healthy", contrast) in pairs}
    sets = {name: contrast for name, contrast in profile["sets"].items() if (name, contrast) in pairs}
    new = {name for name, _ in pairs} - {"healthy", *sets}
    sets |= {name: contrast for name, contrast in sorted(pairs) if name in new}  # T2 before T1 before FLAIR
    if not sets:
        raise ValueError(f"{source}: has no patients with healthy scans of the same contrast; add what is missing.")
    folds = profile["folds"]
    fields = {"source": source, "scans": scans, "sets": sets, "home": place_of(profile["results"], source)}
    if is_prepared(source):
        splits = [str(path) for pattern in ("splits/*.csv", "Data/splits/*.csv") for path in Path(source).glob(pattern)]
        folds = [fold for fold in folds if any(path.endswith(f"IXI_train_fold{fold}.csv") for path in splits)]
        return fields | {"data": source, "stamp": splits, "folds": folds}
    data, folds = place_of(profile["data"], source), folds if (scans.fold != "").any() else [0]
    return fields | {"data": data, "stamp": [f"{data}/prepare.json"], "raw": True, "folds": folds}
