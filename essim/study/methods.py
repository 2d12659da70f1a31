"""Every reconstructor under every score (10), each score with the post-processing that suits it.

In: folders of patients and healthy controls, rebuilt by a reconstructor (essim.study.rebuilt); scores (essim.methods).
Out: tables, one row per patient and score, or per cost; sentences about published orderings.
"""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from essim.evaluation import at_best
from essim.evaluation.cases import case_rows, read_case
from essim.evaluation.stats import mean_with_interval, paired_tests
from essim.evaluation.summaries import GAIN_IN_BRACKETS, with_interval
from essim.methods.context import anomaly_map, is_alone
from essim.reconstruct import noise_seed
from essim.study.rebuilt import read_draws
from essim.train.trained import AUTOENCODERS, NETWORKS

UNTRAINED = {"training_minutes": 0.0, "training_slices": 0}
PLAIN = "ddpm"  # the reconstructor that ANDi is listed with: it uses the network's steps, not a reconstruction
# Published comparisons, (the better one, the other, where): of two scores, and of two reconstructors
PUBLISHED_SCORES = (
    ("mahalanobis", "l1", "arXiv 2407.12474"),
    ("ssim_l1", "l1", "arXiv 2408.08228"),
    ("contrast", "ssim", "arXiv 2412.17586"),
    ("adaptive", "l1", "arXiv 2403.14262"),
    ("andi", "l1", "arXiv 2312.01904"),
)
PUBLISHED_RECONSTRUCTORS = (
    ("dae", "vae", "arXiv 2301.08330"),
    ("pddpm", "ddpm", "arXiv 2303.03758"),
    ("cddpm", "ddpm", "arXiv 2312.04215"),
    ("mddpm", "ddpm", "arXiv 2305.19867"),
    ("autoddpm", "anoddpm", "arXiv 2305.19643"),
    ("thor", "autoddpm", "arXiv 2403.08464"),
)


# Scores


def steps_known(model, steps):
    """The noising steps that the network of a model folder was trained on: a tuple."""
    training = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))["training"]
    first, last = training["t_range"] or (1, training["timesteps"])
    return tuple(step for step in steps if first <= step <= last)


def training_of(module, model):
    """What the training of a method's network took, by its model folder: a dict like UNTRAINED.

    Minutes: all its steps at the pace of its fastest stretch: the machine was doing other things during the others.
    Slices: repetitions included.
    """
    if not module.NETWORK:
        return UNTRAINED
    own = module.NETWORK in AUTOENCODERS
    _, description, log = (Path(model) / name for name in NETWORKS[module.NETWORK if own else "diffusion"])
    about, log = json.loads(description.read_text(encoding="utf-8")), pd.read_csv(log)
    training = about["autoencoder" if own else "training"]
    seconds_per_step = np.diff(log.seconds, prepend=0) / np.diff(log.step, prepend=0)
    steps = training["steps"] if own else about["steps"]
    minutes = float(seconds_per_step.min() * log.step.max() / 60)
    return {"training_minutes": minutes, "training_slices": steps * training["batch"]}


def scorer_of(folder, scores, context):
    """A function from a `Case` of the folder to {score: map [1, 1, H, W, D]}.

    Args: scores: {name: module}; scores for which the context lacks something are left out. context: a `Context`, from
        whose seed every scan derives its own.
    """
    scores = {name: module for name, module in scores.items() if not context.lacks(module)}

    def scorer(case):
        ys, own = read_draws(folder, case), replace(context, seed=noise_seed(context.seed[0], case.subject))
        maps = {name: anomaly_map(score, case.image, ys, case.mask, context=own) for name, score in scores.items()}
        return {name: torch.from_numpy(anomaly)[None, None] for name, anomaly in maps.items()}

    return scorer


def score(folders, scores, contexts):
    """Every score of one reconstructor, with the protocol's post-processing and with the one that suits it.

    Args: folders: {set: folder of `rebuild`}; a set may lack a validation part, not all. scores: {name: module}.
        contexts: {set: `Context`}.

    Returns: (the table of `at_best.score_test` for all sets, validation part first; the choices of `at_best.choose`).
    """
    scorers = {name: scorer_of(folder, scores, contexts[name]) for name, folder in folders.items()}
    labelled = {name: folder for name, folder in folders.items() if case_rows(folder, "val")} or folders
    tried = pd.concat([at_best.try_smoothings(folder, scorers[name]) for name, folder in labelled.items()])
    choices = at_best.choose(at_best.means_of(tried))
    test = [at_best.score_test(folder, scorers[name], choices) for name, folder in folders.items()]
    return pd.concat([at_best.validation_scores(tried, choices), *test], ignore_index=True), choices


def costs(folders, scores, contexts, training):
    """The cost of every score, on the first test patient of every set: one row per set, and one per set and score.

    The fastest of several times counts, since the machine may be doing other things: of a reconstruction, the fastest
    volume; of a score, the faster of two runs.

    Args: as in `score`. training: a function (set, score or "") -> what `training_of` returns.

    Returns: a DataFrame dataset, score ("": the reconstruction), alone (whether the score needs no reconstruction),
        seconds (per volume), training_minutes, training_slices.
    """
    rows = []
    for name, folder in folders.items():
        made = float(pd.DataFrame(case_rows(folder)).eval("seconds * threads").min())
        rows.append({"dataset": name, "score": "", "alone": False, "seconds": made} | training(name, ""))
        case = read_case(folder, case_rows(folder, "test")[0])
        for label, module in scores.items():
            if contexts[name].lacks(module):
                continue
            scorer, spent = scorer_of(folder, {label: module}, contexts[name]), []
            for _ in range(2):
                began = time.perf_counter()
                scorer(case)
                spent.append((time.perf_counter() - began) * torch.get_num_threads())
            alone = is_alone(module)
            own = training(name, label) if alone else UNTRAINED
            rows.append({"dataset": name, "score": label, "alone": alone, "seconds": min(spent)} | own)
    return pd.DataFrame(rows)


# All reconstructors together


def grid(scores, column="at_best"):
    """Means over the test patients with their intervals: one row per reconstructor, set and score, with subjects.

    Args: scores: as from `score`, with the column reconstructor. column: protocol or at_best.
    """
    test = scores[scores.split == "test"].rename(columns={column: "auprc"})
    return mean_with_interval(test, ["reconstructor", "dataset", "method"], ["auprc"])


def chosen(scores, column="at_best"):
    """{reconstructor: the score with the highest mean over the validation parts, every set with the same weight}."""
    means = scores[scores.split == "val"].groupby(["reconstructor", "method", "dataset"], sort=False)[column].mean()
    means = means.groupby(["reconstructor", "method"], sort=False).mean()
    return {name: part.idxmax()[1] for name, part in means.groupby("reconstructor", sort=False)}


def trade(scores, costs, methods, column="at_best"):
    """Detection and cost of some pairs of the grid: one row per pair.

    Args: costs: as from `costs`, with the column reconstructor. methods: {reconstructor: scores}.

    Returns: a DataFrame name (of the reconstructor, or of a score that needs no reconstruction), method, auprc with its
        interval (over the test patients of all sets), gain with its interval (patient by patient, over l1 with PLAIN
        or, where that isn't there, with the table's first reconstructor), seconds (on one core, per volume, score
        included; the set in which it is fastest), training_slices.
    """
    test = scores[scores.split == "test"].rename(columns={column: "auprc"})
    names = test.reconstructor.unique()
    first = test[(test.reconstructor == (PLAIN if PLAIN in names else names[0])) & (test.method == "l1")]
    compared = test.merge(first[["dataset", "subject", "auprc"]], on=["dataset", "subject"], suffixes=("", "_first"))
    compared["gain"] = compared.auprc - compared.auprc_first
    table = mean_with_interval(compared, ["reconstructor", "method"], ["auprc", "gain"])
    table = table.set_index(["reconstructor", "method"])
    means = costs.groupby(["reconstructor", "score"], sort=False)[["alone", "seconds", "training_slices"]].min()
    rows = []
    for name, method in ((name, method) for name, names in methods.items() for method in names):
        cost = means.loc[name, at_best.FIXED.get(method, (method,))[0]]
        about = {"name": method if cost.alone else name, "method": method} | table.loc[name, method].to_dict()
        whole = cost if cost.alone else cost + means.loc[name, ""]
        rows.append(about | {key: whole[key] for key in ("seconds", "training_slices")})
    return pd.DataFrame(rows)


def say_published(scores, column="at_best"):
    """Whether published orderings hold on the test patients, one sentence each: of scores, on PLAIN's reconstructions;
    of reconstructors, with l1."""
    plain, l1 = scores[scores.reconstructor == PLAIN], scores[scores.method == "l1"]
    for own, published in (
        (plain, PUBLISHED_SCORES),
        (l1.assign(method=l1.reconstructor), PUBLISHED_RECONSTRUCTORS),
    ):
        for name, other, where in published:
            said = f"Published: {name} ahead of {other} ({where})"
            if not {name, other} <= set(own.method):
                yield f"{said}; not tried."
                continue
            rows = paired_tests(own, name, [other], column).to_dict("records")
            told = [
                f"{row['dataset']} {row['verdict']} ({with_interval(row, 'gain', GAIN_IN_BRACKETS)})" for row in rows
            ]
            yield f"{said}. Here: {'; '.join(told)}."
