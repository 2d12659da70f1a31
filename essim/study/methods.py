"""Every reconstructor under every score (10): several draws kept, each score with the post-processing that suits it.

In: folders of reconstructed patients and healthy controls (essim.evaluation.cases), of which scan, mask and lesion are
used; reconstructors with their networks, and scores (essim.methods). Out: folders of the same layout with a
reconstructor's results, all draws beside their mean; tables, one row per patient and score, or per cost.

    <reconstructor>/<set>/scans.csv                                          one row per subject, with seconds
    <reconstructor>/<set>/<subject>/{image,reconstruction,mask,seg}.nii.gz   the reconstruction is the mean of the draws
    <reconstructor>/<set>/<subject>/draws.npz                                each minus the mean, in brain, in 32,767ths
"""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from essim.data.volumes import read_nifti, save_nifti
from essim.evaluation import at_best
from essim.evaluation.cases import case_rows, read_case
from essim.evaluation.stats import mean_with_interval, paired_tests
from essim.methods.context import anomaly_map, is_alone
from essim.methods.registry import reconstructors
from essim.reconstruct import noise_seed
from essim.runs.files import writing
from essim.train.trained import AUTOENCODERS

LEVELS = 2**15 - 1  # of a draw's difference from the mean, on disk: little space, and none where all draws agree
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


# Reconstructions


def rebuild(folder, out, reconstruct, *, draws, seed, counts):
    """Reconstruct the scans of a folder with a reconstructor into the folder `out` (written completely or not at all).

    Args: folder: of reconstructions, of a set or of healthy controls. reconstruct: a function (image, mask, draws,
        seed) -> [draws, H, W, D]. seed: of the noise, from which every scan derives its own. counts: {split: how many
        of its first scans}, the splits as in `case_rows`.

    Returns: the table of `out`: that of `folder` with the columns seconds, per scan with all its draws, and threads.

    Raises ValueError where none of the splits has a scan.
    """
    rows = [row for split, count in counts.items() for row in case_rows(folder, split)[:count]]
    if not rows:
        raise ValueError(
            f"{folder}: has no scans of {' or '.join(counts)}; reconstruct the set again (03_reconstruct)."
        )
    with writing(out) as target:
        target.mkdir()
        for row in tqdm(rows, desc=f"{Path(out).parent.name}, {Path(out).name}", unit="volume"):
            case, place = read_case(folder, row), target / row["subject"]
            began = time.perf_counter()
            ys = reconstruct(case.image, case.mask, draws=draws, seed=noise_seed(seed, case.subject))
            row |= {"seconds": time.perf_counter() - began, "threads": torch.get_num_threads()}
            place.mkdir()
            for part in ("image", "mask", "seg"):
                shutil.copyfile(Path(folder) / row["subject"] / f"{part}.nii.gz", place / f"{part}.nii.gz")
            affine = read_nifti(place / "image.nii.gz")[1]
            mean = ys.mean(0, dtype=np.float32)
            save_nifti(place / "reconstruction.nii.gz", mean, affine)
            np.savez_compressed(place / "draws.npz", np.rint(LEVELS * (ys - mean)[:, case.mask]).astype(np.int16))
        pd.DataFrame(rows).to_csv(target / "scans.csv", index=False)
    return pd.DataFrame(rows)


def read_draws(folder, case):
    """The draws of a case in a folder of `rebuild`: float32 [draws, H, W, D], 0 outside the mask."""
    with np.load(Path(folder) / case.subject / "draws.npz") as file:
        added = file["arr_0"].astype(np.float32) / LEVELS
    ys = np.zeros((len(added), *case.mask.shape), np.float32)
    ys[:, case.mask] = (case.reconstruction[case.mask] + added).clip(0, 1)
    return ys


# Scores


def steps_known(model, steps):
    """The noising steps that the network of a model folder was trained on: a tuple."""
    training = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))["training"]
    first, last = training["t_range"] or (1, training["timesteps"])
    return tuple(step for step in steps if first <= step <= last)


def minutes_of(module, model):
    """The minutes that training a method's network took, by the log in its model folder; 0 where it needs no network.

    All its steps at the pace of its fastest stretch: the machine was doing other things during the others.
    """
    if not module.NETWORK:
        return 0.0
    log = pd.read_csv(Path(model) / (f"{module.NETWORK}.csv" if module.NETWORK in AUTOENCODERS else "log.csv"))
    seconds_per_step = np.diff(log.seconds, prepend=0) / np.diff(log.step, prepend=0)
    return float(seconds_per_step.min() * log.step.max() / 60)


def slices_seen(costs):
    """The slices that a reconstructor's network, and the segmenter beside it, were trained on, repetitions included, in
    the first contrast.

    Args: costs: the path of costs.csv; the record beside it says where the networks are.

    Returns: {method: slices}, without those that take no network.
    """
    asked = json.loads(Path(f"{costs}.json").read_text(encoding="utf-8"))["parameters"]
    module = reconstructors()[asked["reconstructor"]]
    folders = {asked["reconstructor"]: asked["models"]} if module.NETWORK else {}
    folders |= {"segmenter": asked["segmenters"]} if asked["segmenters"] else {}
    seen = {}
    for name, by_contrast in folders.items():
        own = name == asked["reconstructor"] and module.NETWORK in AUTOENCODERS
        path = Path(next(iter(by_contrast.values()))) / (f"{module.NETWORK}.json" if own else "config.json")
        about = json.loads(path.read_text(encoding="utf-8"))
        training = about["autoencoder" if own else "training"]
        seen[name] = (training if own else about)["steps"] * training["batch"]
    return seen


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


def costs(folders, scores, contexts, minutes):
    """The cost of every score, on the first test patient of every set: one row per set, and one per set and score.

    The fastest of several times counts, since the machine may be doing other things: of a reconstruction, the fastest
    volume; of a score, the faster of two runs.

    Args: as in `score`. minutes: a function (set, score or "") -> minutes of training needed.

    Returns: a DataFrame dataset, score ("": the reconstruction), alone (whether the score needs no reconstruction),
        seconds (per volume), training_minutes.
    """
    rows = []
    for name, folder in folders.items():
        made = float(pd.DataFrame(case_rows(folder)).eval("seconds * threads").min())
        rows.append(
            {"dataset": name, "score": "", "alone": False, "seconds": made, "training_minutes": minutes(name, "")}
        )
        case = read_case(folder, case_rows(folder, "test")[0])
        for label, module in scores.items():
            if contexts[name].lacks(module):
                continue
            scorer, spent = scorer_of(folder, {label: module}, contexts[name]), []
            for _ in range(2):
                began = time.perf_counter()
                scorer(case)
                spent.append((time.perf_counter() - began) * torch.get_num_threads())
            about = {"dataset": name, "score": label, "alone": is_alone(module), "seconds": min(spent)}
            rows.append(about | {"training_minutes": minutes(name, label) if is_alone(module) else 0.0})
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


def trade(scores, costs, methods, slices, column="at_best"):
    """Detection and cost of some pairs of the grid: one row per pair.

    Args: costs: as from `costs`, with the column reconstructor. methods: {reconstructor: scores}. slices: {name of a
        method that takes a network: the slices that it was trained on}.

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
    means = costs.groupby(["reconstructor", "score"], sort=False)[["alone", "seconds"]].min()
    rows = []
    for name, method in ((name, method) for name, names in methods.items() for method in names):
        cost = means.loc[name, at_best.FIXED.get(method, (method,))[0]]
        about = {"name": method if cost.alone else name, "method": method} | table.loc[name, method].to_dict()
        about["seconds"] = cost.seconds if cost.alone else cost.seconds + means.loc[name, ""].seconds
        rows.append(about | {"training_slices": slices.get(about["name"], slices.get(name, 0))})
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
            rows = paired_tests(own, name, [other], column)
            told = [
                f"{row.dataset} {row.verdict} ({row.gain:+.3f} [{row.gain_low:+.3f}, {row.gain_high:+.3f}])"
                for row in rows.itertuples()
            ]
            yield f"{said}. Here: {'; '.join(told)}."
