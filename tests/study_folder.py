"""A folder with the study in it, and the snakemake that runs it: for the tests of the graph."""

import functools
import os
import re
import shutil
import sys
from pathlib import Path

import forked_snakemake
import numpy as np
import torch
import yaml

from essim.cohort.anatomy import grow_head
from essim.ensemble import ensemble_map
from essim.evaluation.metrics import average_precision, best_dice
from essim.postprocess import median_inside

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = "essim/pretrained"  # 75 MB: linked to, not copied
NOT_COPIED = shutil.ignore_patterns("*.pyc", ".ipynb_*", "pretrained")  # what numba has compiled is copied


@functools.cache
def compile_kernels():
    """Have numba compile, once, what would otherwise be compiled in every copy: for each order of axes in memory."""
    for shape in ((32, 32, 32), (24, 32, 16)):
        x, y = torch.rand(2, 1, 1, *shape, generator=torch.Generator().manual_seed(0))
        for mask in (None, x > 0.5):
            ensemble_map(x, y, mask=mask)
    for side in (3, 5):
        median_inside(x[0, 0].numpy(), np.ones(shape, bool), side)
    average_precision(x.numpy(), y.numpy() > 0.5)
    best_dice(x.numpy(), y.numpy() > 0.5)
    grow_head(np.random.default_rng(0), 4, 60)


class Study:
    """A project folder and the snakemake that runs it."""

    def __init__(self, folder, profile="smoke"):
        self.folder, self.profile = folder, profile
        self.environment = os.environ | {"PYTHONPATH": str(folder)}

    @classmethod
    def copied(cls, folder, profile="smoke", parts=("workflow", "essim", "notebooks")):
        """The project's own workflow, modules and notebooks in an empty folder."""
        compile_kernels()
        for name in parts:
            shutil.copytree(ROOT / name, folder / name, ignore=NOT_COPIED)
        (folder / NETWORKS).symlink_to(ROOT / NETWORKS)
        return cls(folder, profile)

    def words(self, *words, config=()):
        """Of Snakemake's command line."""
        profile = ["--profile", "workflow/clusters/local", "--cores", "2"]
        return [*profile, *words, "--config", f"profile={self.profile}", *config]

    def command(self, *words, config=()):
        """For a process of its own, which can be stopped."""
        return [sys.executable, "-m", "snakemake", *self.words(*words, config=config)]

    def run(self, *words, config=()):
        return forked_snakemake.run(self.words(*words, config=config), self.folder, self.environment)

    def plan(self, *words, config=()):
        """What a run would do: {rule: number of jobs}."""
        done = self.run("--dry-run", *words, config=config)
        assert done.returncode == 0, done.stdout
        plan = {rule: int(jobs) for rule, jobs in re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE)}
        assert plan or "Nothing to be done" in done.stdout, done.stdout
        return {rule: jobs for rule, jobs in plan.items() if rule not in ("total", "all")}

    def change_profile(self, changes):
        """Write other values into the profile's file; those of a mapping one by one, except `sets`."""
        path = self.folder / f"workflow/profiles/{self.profile}.yaml"
        values = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            values[key] = values.get(key, {}) | value if isinstance(value, dict) and key != "sets" else value
        path.write_text(yaml.safe_dump(values, sort_keys=False))
