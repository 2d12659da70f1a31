"""Every score with the post-processing that suits it best, beside the protocol's own.

In: folders of reconstructed patients, one per set, and a scorer for each (as in `scoring`). Out: tables.
Post-processing is chosen separately for each score, once for all sets: the variant with the highest AUPRC, averaged
over the validation patients of each set, then over the sets with equal weight. The smoothing is chosen first, then
whether it comes before or after the erosion, which changes little. A score is then judged twice, in two columns:

    protocol   the published post-processing, whatever the score
    at_best    the choice for this score

Not in the paper, whose post-processing is the same for all.
"""

import numpy as np
import pandas as pd

from essim.calibration import calibrated_l1, calibrated_map
from essim.ensemble import ensemble_map, l1_map
from essim.evaluation.baselines import blurred, intensity_map
from essim.evaluation.cases import rows_of
from essim.evaluation.metrics import average_precision
from essim.postprocess import ERODE_FIRST, ERODE_LAST, POST, PROTOCOL, postprocess

COLUMNS = {"protocol": "protocol", "at_best": "at its best"}  # how a score is judged, and its label
SMOOTHINGS = [{"post": post, "order": ERODE_FIRST} for post in POST]  # tried with every score
# scores whose post-processing is fixed, not chosen: (the score, its post-processing); the same in both columns
FIXED = {"l1 smoothed": ("l1", {"post": "gauss 1", "order": ERODE_FIRST})}
USUAL = 1.5  # the usual window of SSIM, in voxels


def scorer_of(contrast, calibration, *, sigmas, temperature, windows, blur):
    """A scorer of every score of the study.

    Args: contrast: of the scans. calibration: a `Calibration`. sigmas, temperature: the ensemble's. windows: sigmas of
        the single windows. blur: sigma, in voxels, of the blurred scan that stands in for a reconstruction; None leaves
        it out.

    Returns: a function from a `Case` to {method: map [1, 1, H, W, D]}: intensity, blur, l1, ssim <sigma> for each
        window, mean, min, adaptive, l1 calibrated, calibrated.
    """

    def scorer(case):
        x, y, mask = case.tensors()
        maps = {"intensity": x.new_tensor(intensity_map(case.image, case.mask, contrast))[None, None]}
        if blur is not None:
            maps["blur"] = l1_map(x, x.new_tensor(blurred(case.image, case.mask, blur))[None, None])
        maps["l1"] = l1_map(x, y)
        maps |= {f"ssim {sigma:g}": ensemble_map(x, y, sigmas=[sigma], mask=mask) for sigma in windows}
        options = {"sigmas": sigmas, "temperature": temperature, "mask": mask}
        maps |= {name: ensemble_map(x, y, strategy=name, **options) for name in ("mean", "min", "adaptive")}
        maps["l1 calibrated"] = calibrated_l1(x, y, calibration)
        return maps | {"calibrated": calibrated_map(x, y, calibration, mask=mask)}

    return scorer


def try_smoothings(folder, scorer):
    """Every score on the validation part with each of SMOOTHINGS: one row per patient, score and smoothing.

    Returns: a DataFrame dataset, subject, method, post, order, auprc.
    """
    table = _try(folder, scorer, [(variant, None) for variant in SMOOTHINGS])
    if not len(table):
        raise ValueError(f"{folder}: has no validation cases; post-processing is chosen on a labelled validation part.")
    return table


def try_orders(folder, scorer, choices):
    """The same with each score's choice from `choose` only, eroded last."""
    by_post = choices[choices.post != "none"].groupby("post", sort=False).method
    wanted = [({"post": post, "order": ERODE_LAST}, set(methods)) for post, methods in by_post]
    return _try(folder, scorer, wanted)


def _try(folder, scorer, wanted):
    """The rows of the validation part. wanted: pairs (variant, the scores it applies to; None: all)."""

    def judge(case):
        maps = {method: anomaly[0, 0].numpy() for method, anomaly in scorer(case).items()}
        for variant, methods in wanted:
            names = [name for name in maps if methods is None or name in methods]
            clean = postprocess(np.stack([maps[name] for name in names]), case.mask, **variant)
            for method, anomaly in zip(names, clean, strict=True):
                yield {"method": method} | variant | {"auprc": average_precision(anomaly, case.seg, case.scored)}

    return rows_of(folder, "val", judge, "post-processing")


def means_of(tried):
    """Mean AUPRC of every score and post-processing: columns method, post, order, each set, and mean (over sets)."""
    names = ["method", "post", "order"]
    means = tried.groupby([*names, "dataset"], sort=False).auprc.mean().unstack("dataset")
    return means[tried.dataset.unique()].assign(mean=lambda table: table.mean(axis=1)).reset_index()


def choose(means):
    """The post-processing that suits each score best, from the table of `means_of`: one row per score.

    A tie goes to the protocol's. Returns: a DataFrame method, post, order, val_protocol, val_at_best (mean AUPRC over
        the validation parts).
    """
    rows = []
    for method, part in means.groupby("method", sort=False):
        own = part[(part.post == PROTOCOL["post"]) & (part.order == PROTOCOL["order"])].iloc[0]
        best = own if own["mean"] >= part["mean"].max() else part.loc[part["mean"].idxmax()]
        scores = {"val_protocol": own["mean"], "val_at_best": best["mean"]}
        rows.append({"method": method, "post": best.post, "order": best.order} | scores)
    return pd.DataFrame(rows)


def validation_scores(tried, choices):
    """The validation part as a table like that of `score_test`, from what was tried."""
    keys = ["dataset", "subject", "split", "method"]
    tried, protocol = tried.assign(split="val"), pd.DataFrame([PROTOCOL])
    both = tried.merge(protocol).rename(columns={"auprc": "protocol"}).drop(columns=["post", "order"])
    own = tried.merge(choices[["method", "post", "order"]]).rename(columns={"auprc": "at_best"})
    tables = [both.merge(own[[*keys, "at_best"]], on=keys)]
    for name, (method, variant) in FIXED.items():
        part = tried[tried.method == method].merge(pd.DataFrame([variant])).assign(method=name)
        tables.append(part[keys].assign(**dict.fromkeys(COLUMNS, part.auprc)))
    return pd.concat(tables, ignore_index=True)


def score_test(folder, scorer, choices):
    """Every test patient under every score, with the protocol's post-processing and with the score's own.

    Args: choices: a table with method, post, order, as from `choose`; scores that it lacks are left out.

    Returns: a DataFrame dataset, subject, split, method, protocol, at_best (AUPRC); the scores of FIXED come last.
    """
    own = {row.method: {"post": row.post, "order": row.order} for row in choices.itertuples()}

    def judge(case):
        maps = {method: anomaly[0, 0].numpy() for method, anomaly in scorer(case).items() if method in own}

        def score(method, variant):
            return average_precision(postprocess(maps[method], case.mask, **variant), case.seg, case.scored)

        for method in maps:
            protocol = score(method, PROTOCOL)
            at_best = protocol if own[method] == PROTOCOL else score(method, own[method])
            yield {"split": case.split, "method": method, "protocol": protocol, "at_best": at_best}
        for name, (method, variant) in FIXED.items():
            yield {"split": case.split, "method": name} | dict.fromkeys(COLUMNS, score(method, variant))

    return rows_of(folder, "test", judge, "score test")


def with_windows(scores, best=None):
    """The same table with two more methods: `ssim default`, the window nearest USUAL, and `ssim best`, each set's best.

    Args: scores: as from `score_test`. best: {(dataset, column): window, `ssim <sigma>`} as from `best_windows`; None
        to choose them on the table's own validation part.
    """
    best = best_windows(scores) if best is None else best
    usual = min(_windows(scores), key=lambda name: abs(_sigma(name) - USUAL))
    named = [scores, scores[scores.method == usual].assign(method="ssim default")]
    keys = ["dataset", "subject", "split"]
    for dataset, part in scores.groupby("dataset", sort=False):
        own = part[part.method == best[dataset, "protocol"]].drop(columns="at_best")
        other = part[part.method == best[dataset, "at_best"]][[*keys, "at_best"]]
        named.append(own.merge(other, on=keys).assign(method="ssim best"))
    return pd.concat(named, ignore_index=True)


def best_windows(scores):
    """{(dataset, column): the single window with the highest mean on the validation part}."""
    part = scores[(scores.split == "val") & scores.method.isin(_windows(scores))]
    means = part.groupby(["dataset", "method"], sort=False)[list(COLUMNS)].mean()
    return {(name, column): means.loc[name][column].idxmax() for name in part.dataset.unique() for column in COLUMNS}


def _windows(scores):
    return [name for name in scores.method.unique() if name.startswith("ssim ") and name[5:6].isdigit()]


def _sigma(name):
    return float(name.removeprefix("ssim "))
