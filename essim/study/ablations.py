"""One choice of the study changed, everything else unchanged: the scores of its values.

In: folders of reconstructions (essim.evaluation.cases) and *variants*: a function that takes a case and yields (value,
method, anomaly map [1, 1, H, W, D]) for each value of the choice in turn. Out: a score table, one row per patient,
value and method, from which essim.study.selection chooses. Paper: section 3 (t and its ensemble, noise, windows,
post-processing). Nothing is trained here.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from essim.calibration import coarsen, refine
from essim.ensemble import ensemble_map
from essim.evaluation.cases import rows_of
from essim.evaluation.metrics import average_precision, best_dice, dice
from essim.evaluation.scoring import judge_set
from essim.postprocess import NO_EROSION, postprocess, remove_small
from essim.reconstruct import noise_seed, reconstruct_volume

STEPS = {  # of post-processing, and which of them are left out
    "as scored": {},
    "no erosion": {"order": NO_EROSION},
    "no median": {"post": "none"},
    "no erosion, no median": {"order": NO_EROSION, "post": "none"},
}
SPECKS = "small components kept"  # the one step that AUPRC doesn't reflect: it acts on the binary map
VOLUMES = ("image", "reconstruction", "mask", "seg")  # made coarser


def label(value):
    """A value as written in tables: 500, [500] -> "500"; [250, 500, 750] -> "250, 500, 750"; text unchanged."""
    values = value if isinstance(value, list | tuple) else [value]
    return ", ".join(item if isinstance(item, str) else f"{item:g}" for item in values)


def learned(models, values):
    """The noising steps that every network was trained on.

    Args: models: model folders. values: lists of steps, each list one value.

    Returns: (the values whose steps all networks were trained on, a sentence about the others or ""); ValueError where
        none is left.
    """
    configs = [json.loads((Path(model) / "config.json").read_text())["training"] for model in models]
    ranges = [config["t_range"] or (1, config["timesteps"]) for config in configs]
    first, last = max(low for low, _ in ranges), min(high for _, high in ranges)
    inside = [steps for steps in values if all(first <= t <= last for t in steps)]
    where = f"{' and '.join(map(str, models))}: trained on t from {first} to {last}"
    if not inside:
        raise ValueError(f"{where}, which covers none of `steps`; choose others or train with a wider `t_range`.")
    outside = "; ".join(label(steps) for steps in values if steps not in inside)
    return inside, outside and f"{where}; left out: t = {outside}."


def score_variants(folders, variants, splits=("val", "test"), **steps):
    """AUPRC of every variant for every patient of the splits: columns dataset, subject, split, value, method, auprc.

    `steps` of post-processing are those of `essim.postprocess.postprocess`.
    """

    def judge(case):
        for value, method, anomaly in variants(case):
            clean = postprocess(anomaly[0, 0].numpy(), case.mask, **steps)
            auprc = average_precision(clean, case.seg, case.scored)
            yield {"split": case.split, "value": label(value), "method": method, "auprc": auprc}

    tables = [rows_of(folder, split, judge, f"{folder.name}, {split}") for folder in folders for split in splits]
    return pd.concat(tables, ignore_index=True)


def over_steps(networks, scorer, values, *, predictions, seed):
    """Variants: a new reconstruction at every value of t, each from the same number of network predictions.

    Args: networks: {dataset: `GaussianDiffusion`}. scorer: as in evaluation.scoring. values: lists of steps; several
        steps are averaged. predictions: of the network per value, shared among the steps of a list.
    """
    for steps in values:
        if predictions % len(steps):
            raise ValueError(f"predictions must be a multiple of {len(steps)} to be shared by t = {label(steps)}.")

    def variants(case):
        noise = noise_seed(seed, case.subject)
        for steps in values:
            options = {"t": list(steps), "draws": predictions // len(steps), "seed": noise}
            healthy = reconstruct_volume(networks[case.dataset], case.image, case.mask, **options)
            yield from _scored(scorer, case, steps, healthy)

    return variants


def over_draws(networks, scorer, counts, *, t, seed):
    """Variants: the mean of the first n of max(counts) noise draws, for every n in counts; on the validation part also
    every draw alone, named "draw 1", "draw 2", ... The other arguments are those of `over_steps`.
    """

    def variants(case):
        total = np.zeros_like(case.image)
        for n in range(1, max(counts) + 1):
            noise = [*noise_seed(seed, case.subject), n]
            draw = reconstruct_volume(networks[case.dataset], case.image, case.mask, t=t, draws=1, seed=noise)
            total += draw
            if n in counts:
                yield from _scored(scorer, case, n, total / n)
            if case.split == "val":
                yield from _scored(scorer, case, f"draw {n}", draw)

    return variants


def _scored(scorer, case, value, reconstruction):
    """The variants of one value, given its reconstruction [H, W, D]."""
    for method, anomaly in scorer(replace(case, reconstruction=reconstruction)).items():
        yield value, method, anomaly


def window_sets(sigmas, counts, widest):
    """Sets of windows around the study's own: {name: sigmas}, the study's first.

    For each of `counts`, that many evenly over the range of `sigmas` (a single one in its middle); for each of
    `widest`, as many as in `sigmas`, evenly from the smallest to it.
    """

    def evenly(high, count):
        low = min(sigmas)
        return np.linspace(low, high, count).round(4).tolist() if count > 1 else [round((low + high) / 2, 4)]

    top = max(sigmas)
    sets = {f"{len(sigmas)} windows": list(sigmas)}
    sets |= {f"{n} window{'s' * (n > 1)}": evenly(top, n) for n in counts if n != len(sigmas)}
    return sets | {f"up to \u03c3 = {high:g}": evenly(high, len(sigmas)) for high in widest if high != top}


def slicewise_map(x, y, *, mask, **options):
    """`essim.ensemble_map` of volumes [1, 1, H, W, D] with 2-D windows, axial slice by slice.

    The data range remains that of the volumes, since that of a slice would change SSIM's constants.
    """
    data_range = max((z.max() - z.min()).item() for z in (x, y))
    slices = [z[0].movedim(-1, 0).contiguous() for z in (x, y, mask)]  # [D, 1, H, W]
    maps = ensemble_map(*slices[:2], mask=slices[2], data_range=data_range, **options)
    return maps.movedim(0, -1)[None]


def over_factors(scorer, factors):
    """Variants: the scorer gets a case whose volumes are means over cubes of factor^3 voxels; its map is brought back.

    In that case `seg` is the lesion's share of each cube, from 0 to 1, and `mask` is True where there is any brain.
    """

    def variants(case):
        for factor in factors:
            volumes = {name: torch.from_numpy(getattr(case, name)).float() for name in VOLUMES}
            coarse = {name: coarsen(volume, factor).numpy() for name, volume in volumes.items()}
            for method, anomaly in scorer(replace(case, **coarse | {"mask": coarse["mask"] > 0})).items():
                yield factor, method, refine(anomaly, factor, case.image.shape)

    return variants


def post_processing(folders, scorer):
    """Every patient with steps of post-processing left out: as `score_variants`, plus the columns dice, best_dice.

    Dice is at a threshold fitted on the validation part for each method and choice of steps, as in `score_set`; the
    value SPECKS is all steps but the removal of small components.
    """
    tables = [judge_set(folder, lambda case: _maps_of_steps(case, scorer), _judge_steps) for folder in folders]
    return pd.concat(tables, ignore_index=True)


def _maps_of_steps(case, scorer):
    """{(name of the steps, method): cleaned map [H, W, D]}."""
    maps = {method: anomaly[0, 0].numpy() for method, anomaly in scorer(case).items()}
    pairs = [(steps, method) for method in maps for steps in STEPS]
    return {(steps, method): postprocess(maps[method], case.mask, **STEPS[steps]) for steps, method in pairs}


def _judge_steps(case, steps_and_method, anomaly, threshold):
    """The records of one map; the map with all steps is also judged with its small components kept."""
    steps, method = steps_and_method
    marked = anomaly > threshold
    kept = {steps: remove_small(marked)} | ({} if STEPS[steps] else {SPECKS: marked})
    auprc, (best, _) = (score(anomaly, case.seg, case.scored) for score in (average_precision, best_dice))
    for value, binary in kept.items():
        overlap = dice(binary, case.seg, case.scored)
        yield {"value": value, "method": method, "dice": overlap, "auprc": auprc, "best_dice": best}
