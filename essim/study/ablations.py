"""One choice of the study changed, everything else as it is: the scores of its values.

In: folders of reconstructions (essim.evaluation.cases) and *variants*: a function that takes a case and yields, for one value of
the choice after the other, (value, method, anomaly map [1, 1, H, W, D]). Out: a score table, one row a patient, value
and method, from which essim.study.choices takes the choice.
Paper: section 3 (t and its ensemble, noise, windows, post-processing). Nothing is trained here.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from essim.ensemble import ensemble_map
from essim.evaluation.cases import case_rows, noise_seed, read_case, reconstruct_volume
from essim.evaluation.metrics import average_precision, best_dice, dice, fit_threshold
from essim.evaluation.scoring import for_each
from essim.grids import grow, shrink
from essim.postprocess import postprocess, remove_small

STEPS = {  # of post-processing, for the comparison without them
    "as scored": {},
    "no erosion": {"erode": False},
    "no median": {"median": False},
    "no erosion, no median": {"erode": False, "median": False},
}
SHRUNK = ("image", "reconstruction", "mask", "seg")
SPECKS = "small components kept"  # the step that AUPRC doesn't see: it is taken on the binary map


def label(value):
    """A value as tables call it: 500, [500] -> "500"; [250, 500, 750] -> "250, 500, 750"; texts as they are."""
    several = value if isinstance(value, list | tuple) else [value]
    return ", ".join(one if isinstance(one, str) else f"{one:g}" for one in several)


def learned(models, values):
    """The noising steps that every network has learned.

    Args: models: model folders. values: lists of steps, each list one value.

    Returns: (the values whose steps all of the networks have learned, a sentence about the others or "").

    Raises:
        ValueError: none is left.
    """
    configs = [json.loads((Path(model) / "config.json").read_text())["training"] for model in models]
    ranges = [config["t_range"] or (1, config["timesteps"]) for config in configs]
    first, last = max(low for low, _ in ranges), min(high for _, high in ranges)
    known = [steps for steps in values if all(first <= t <= last for t in steps)]
    where = f"{' and '.join(map(str, models))}: learned t from {first} to {last}"
    if not known:
        raise ValueError(f"{where}, none of `steps` lies there; choose others or train with a wider `t_range`.")
    others = "; ".join(label(steps) for steps in values if steps not in known)
    return known, others and f"{where}; left out: t = {others}."


def measure(folders, variants, splits=("val", "test"), **steps):
    """AUPRC of every variant for every patient of the splits: columns dataset, subject, split, value, method, auprc.

    `steps` of post-processing can be left out as in `essim.postprocess.postprocess`.
    """

    def judge(place):
        case = read_case(*place)
        key = {"dataset": case.dataset, "subject": case.subject, "split": case.split}
        for value, method, anomaly in variants(case):
            clean = postprocess(anomaly[0, 0].numpy(), case.mask, **steps)
            auprc = average_precision(clean, case.seg, case.scored)
            yield key | {"value": label(value), "method": method, "auprc": auprc}

    places = [(folder, row) for folder in folders for split in splits for row in case_rows(folder, split)]
    records = for_each(lambda place: list(judge(place)), places, " and ".join(splits))
    return pd.DataFrame([record for several in records for record in several])


def over_steps(networks, scorer, values, *, predictions, seed):
    """Variants: reconstructed anew at every value of t, each from as many predictions of the network.

    Args: networks: {dataset: `GaussianDiffusion`}. scorer: as in essim.evaluation.scoring. values: lists of steps; a list of several
        is averaged over. predictions: of the network for each value, shared among the steps of a list.
    """
    for steps in values:
        if predictions % len(steps):
            raise ValueError(f"predictions must be a multiple of {len(steps)} to be shared by t = {label(steps)}.")

    def variants(case):
        noise = noise_seed(seed, case.subject)
        for steps in values:
            options = {"t": list(steps), "draws": predictions // len(steps), "seed": noise}
            healthy = reconstruct_volume(networks[case.dataset], case.image, case.mask, **options)
            for method, anomaly in scorer(replace(case, reconstruction=healthy)).items():
                yield steps, method, anomaly

    return variants


def over_draws(networks, scorer, counts, *, t, seed):
    """Variants: the mean of the first n of max(counts) noise draws, for every n; in the validation part also every
    draw alone, called "draw 1", "draw 2", ... The other arguments are those of `over_steps`.
    """

    def variants(case):
        total = np.zeros_like(case.image)
        for n in range(1, max(counts) + 1):
            noise = [*noise_seed(seed, case.subject), n]
            one = reconstruct_volume(networks[case.dataset], case.image, case.mask, t=t, draws=1, seed=noise)
            total += one
            shown = {n: total / n} if n in counts else {}
            shown |= {f"draw {n}": one} if case.split == "val" else {}
            for value, healthy in shown.items():
                for method, anomaly in scorer(replace(case, reconstruction=healthy)).items():
                    yield value, method, anomaly

    return variants


def window_sets(sigmas, counts, widest):
    """Sets of windows around the study's own: {name: sigmas}, the study's first.

    So many, evenly over the range of `sigmas` (a single one in its middle); or as many as in `sigmas`, evenly from the
    smallest to another largest one.
    """

    def evenly(high, count):
        low = min(sigmas)
        return np.linspace(low, high, count).round(4).tolist() if count > 1 else [round((low + high) / 2, 4)]

    top = max(sigmas)
    found = {f"{len(sigmas)} windows": list(sigmas)}
    found |= {f"{n} window{'s' * (n > 1)}": evenly(top, n) for n in counts if n != len(sigmas)}
    return found | {f"up to \u03c3 = {high:g}": evenly(high, len(sigmas)) for high in widest if high != top}


def slicewise_map(x, y, *, mask, **options):
    """`essim.ensemble_map` of volumes [1, 1, H, W, D] with 2-D windows, axial slice by slice.

    The data range remains that of the volumes: a slice of its own would be judged by other constants.
    """
    data_range = max((z.max() - z.min()).item() for z in (x, y))
    slices = [z[0].movedim(-1, 0).contiguous() for z in (x, y, mask)]  # [D, 1, H, W]
    maps = ensemble_map(*slices[:2], mask=slices[2], data_range=data_range, **options)
    return maps.movedim(0, -1)[None]


def over_factors(scorer, factors):
    """Variants: the scorer sees a case whose volumes are means over cubes of factor^3 voxels; its map is brought back.

    There `seg` is the lesion's share of each cube, from 0 to 1, and `mask` where there is any brain.
    """

    def variants(case):
        for factor in factors:
            volumes = {name: torch.from_numpy(getattr(case, name)).float() for name in SHRUNK}
            small = {name: shrink(volume, factor).numpy() for name, volume in volumes.items()}
            for method, anomaly in scorer(replace(case, **small | {"mask": small["mask"] > 0})).items():
                yield factor, method, grow(anomaly, factor, case.image.shape)

    return variants


def post_processing(folders, scorer):
    """Every patient with steps of post-processing left out: as `measure`, with the columns auprc, dice, best_dice.

    Dice is taken at a threshold that each method and choice of steps has from the validation part, as in
    `essim.evaluation.scoring.score_set`; the value SPECKS is all steps but the removal of small components.
    """

    def clean(place):
        case = read_case(*place)
        maps = {name: m[0, 0].numpy() for name, m in scorer(case).items()}
        return case, {(s, name): postprocess(m, case.mask, **STEPS[s]) for name, m in maps.items() for s in STEPS}

    def judge(case, maps, thresholds):
        key = {"dataset": case.dataset, "subject": case.subject, "split": case.split}
        for (steps, method), anomaly in maps.items():
            marked = anomaly > thresholds[steps, method]
            scores = {"auprc": average_precision(anomaly, case.seg, case.scored)}
            scores |= {"best_dice": best_dice(anomaly, case.seg, case.scored)[0]}
            for value, kept in {steps: remove_small(marked), SPECKS: marked}.items():
                if value == steps or not STEPS[steps]:
                    overlap = dice(kept, case.seg, case.scored)
                    yield key | {"value": value, "method": method, "dice": overlap} | scores

    records = []
    for folder in folders:
        val, test = ([(folder, row) for row in case_rows(folder, split)] for split in ("val", "test"))
        validation = for_each(clean, val, "val")
        segs, masks = [case.seg for case, _ in validation], [case.scored for case, _ in validation]
        names = list(validation[0][1])
        thresholds = {name: fit_threshold([maps[name] for _, maps in validation], segs, masks) for name in names}
        for pair in validation:
            records += judge(*pair, thresholds)
        for several in for_each(lambda place, at=thresholds: list(judge(*clean(place), at)), test, "test"):
            records += several
    return pd.DataFrame(records)
