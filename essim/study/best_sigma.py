"""Which window suits a lesion best, and what determines it: every lesion at every sigma, models of narrow minus wide.

In: folders of reconstructions (essim.evaluation.cases). Out: a table with one row per lesion, and a table of the fitted
models. The paper (section 4) finds that the best sigma differs between pathologies; here the lesions' properties are
examined as the reason. A lesion's AUPRC is often high at both ends of the range and low between, so that its best sigma
jumps from one end to the other: what the models explain is how much better one end is than the other.
"""

import numpy as np
import pandas as pd
from statsmodels.formula.api import ols

from essim.ensemble import ensemble_map
from essim.evaluation.cases import for_each
from essim.evaluation.detection import lesions
from essim.evaluation.scoring import clean_maps
from essim.postprocess import MIN_VOXELS

FOUND = 20  # times the odds of guessing: as if all of the lesion stood above 95 % of healthy brain
MODELS = {  # of narrow minus wide: name and terms (see `model_terms`)
    "volume": "volume",
    "thickness": "thickness",
    "contrast": "contrast",
    "all three": "volume + thickness + contrast",
    "pathology": "dataset",
    "all three, pathology": "volume + thickness + contrast + dataset",
}


def lesion_precision(anomaly, labels, healthy):
    """The AUPRC of every lesion separately: its voxels against healthy brain, other lesions left out.

    Args: anomaly: the map [H, W, D]. labels: int [H, W, D], lesions 1, 2, ...; 0 is none. healthy: bool [H, W, D].

    Returns: {label: AUPRC}, exactly that of scikit-learn, ties included, from one sort of the healthy voxels.
    """
    below = np.sort(anomaly[healthy])
    inside, scores = labels[labels > 0], anomaly[labels > 0]
    auprc = {}
    for label in np.unique(inside):
        own = np.sort(scores[inside == label])
        # number of voxels at least this high: in the lesion, in healthy brain
        hits, misses = len(own) - np.searchsorted(own, own), len(below) - np.searchsorted(below, own)
        auprc[int(label)] = float((hits / (hits + misses)).mean())
    return auprc


def best_sigmas(folder, sigmas):
    """The sigma at which 1 - SSIM finds each lesion best, for lesions of at least MIN_VOXELS voxels in the test part.

    Returns: a DataFrame, one row per lesion, with the columns
        dataset, subject, and those of `detection.lesions`
        prevalence    lesion voxels / (lesion and healthy voxels): the AUPRC of guessing
        ssim <sigma>  the lesion's AUPRC (`lesion_precision`) at each sigma
        auprc         the highest of them
        best_sigma    where that is; a tie goes to the smaller sigma
        narrow_minus_wide    log2 of the odds of the AUPRC at the smallest sigma over those at the largest; an AUPRC
                      worse than guessing counts as guessing
        found         the odds of `auprc` are at least FOUND times those of guessing; else no sigma finds the lesion,
                      and which is best says nothing
    """
    names = {f"ssim {sigma:g}": sigma for sigma in sorted(sigmas)}

    def scorer(case):
        x, y, mask = case.tensors()
        return {name: ensemble_map(x, y, sigmas=[sigma], mask=mask) for name, sigma in names.items()}

    def judge(case):
        table, labels = lesions(case.seg, case.image, case.scored, case.spacing_mm)
        table = table[table.voxels >= MIN_VOXELS]
        labels = np.where(np.isin(labels, table.label), labels, 0)
        table = table.assign(prevalence=table.voxels / (table.voxels + case.tissue.sum()))
        for name, anomaly in clean_maps(case, scorer).items():
            table[name] = table.label.map(lesion_precision(anomaly, labels, case.tissue)).astype(float)
        table.insert(0, "dataset", case.dataset)
        table.insert(1, "subject", case.subject)
        return table

    table = pd.concat(for_each(folder, "test", judge, "best sigma"), ignore_index=True)
    scores = table[list(names)]
    table["auprc"], table["best_sigma"] = scores.max(axis=1), scores.to_numpy().argmax(axis=1)
    table["best_sigma"] = table.best_sigma.map(dict(enumerate(names.values()))).astype(float)
    odds = [np.log2(_odds(scores[name].clip(lower=table.prevalence))) for name in names]  # by sigma
    table["narrow_minus_wide"] = odds[0] - odds[-1]
    return table.assign(found=_odds(table.auprc) >= FOUND * _odds(table.prevalence))


def _odds(share):
    return share / (1 - share).clip(lower=1e-3)  # a small lesion's AUPRC of 1 counts as 0.999


def model_terms(table):
    """The variables of the models: one row per lesion that is found and has a contrast.

    Returns: columns narrow_minus_wide, volume and thickness (log2 of ml, of mm), contrast (its absolute value),
        dataset, and group (a number for each subject).
    """
    part = table[table.found].dropna(subset="contrast")
    logs = {"volume": part.volume_ml, "thickness": part.thickness_mm}
    frame = pd.DataFrame({name: np.log2(values) for name, values in logs.items()})
    frame.insert(0, "narrow_minus_wide", part.narrow_minus_wide)
    groups = part.groupby(["dataset", "subject"], sort=False).ngroup()
    return frame.assign(contrast=part.contrast.abs(), dataset=part.dataset, group=groups)


def fit_model(frame, terms):
    """Least squares of narrow minus wide on a formula's terms; errors allow for similar lesions within a subject.

    Returns: statsmodels' results with cluster-robust errors, t distribution; None where `frame` (`model_terms`) has no
        more subjects than the model has parameters, or nothing to explain.
    """
    sets = frame.dataset.nunique()
    parameters = 1 + terms.count("+") + 1 + (sets - 2 if "dataset" in terms else 0)
    kinds = frame.narrow_minus_wide.nunique()
    if frame.group.nunique() <= parameters or kinds < 2 or ("dataset" in terms and sets < 2):
        return None
    model = ols(f"narrow_minus_wide ~ {terms}", frame)
    return model.fit(cov_type="cluster", cov_kwds={"groups": frame.group}, use_t=True)


def fit_models(frame):
    """Every model of MODELS, one row per term.

    Returns: a DataFrame with the columns model, term; slope, low, high: doublings of the narrow window's odds over the
        wide one's per doubling of volume or thickness, or per further standard deviation of contrast, with the 95 %
        interval (NaN for the pathology, which has several slopes); p (for the pathology, of all its slopes together);
        r_squared, lesions, subjects of the model.
    """
    rows = []
    for name, terms in MODELS.items():
        model = fit_model(frame, terms)
        whole = {"r_squared": np.nan if model is None else model.rsquared}
        whole |= {"lesions": len(frame), "subjects": frame.group.nunique()}
        for term in terms.split(" + "):
            row = dict.fromkeys(("slope", "low", "high", "p"), np.nan)
            if model is not None and term == "dataset":
                row["p"] = model.wald_test_terms(scalar=True).table.loc["dataset", "pvalue"]
            elif model is not None:
                low, high = model.conf_int().loc[term]
                row = {"slope": model.params[term], "low": low, "high": high, "p": model.pvalues[term]}
            rows.append({"model": name, "term": "pathology" if term == "dataset" else term} | row | whole)
    return pd.DataFrame(rows)


def line(frame, term, points=50):
    """The fitted line of one term alone: columns `term`, narrow_minus_wide, low, high (95 %); no rows without a fit."""
    model = fit_model(frame, term)
    if model is None:
        return pd.DataFrame(columns=[term, "narrow_minus_wide", "low", "high"])
    along = pd.DataFrame({term: np.linspace(frame[term].min(), frame[term].max(), points)})
    prediction = model.t_test(np.column_stack([np.ones(points), along[term]]))
    low, high = prediction.conf_int().T
    return along.assign(narrow_minus_wide=prediction.effect, low=low, high=high)


def in_words(fitted):
    """The table of `fit_models` in sentences."""
    if fitted.r_squared.isna().any():
        return ["Too few subjects or sets to fit every model; the laptop profile has enough."]
    rows = fitted.set_index(["model", "term"])
    share = {model: f"{100 * part.r_squared.iloc[0]:.0f} %" for model, part in fitted.groupby("model")}
    steps = {"volume": "Twice the volume", "thickness": "Twice the thickness", "contrast": "One SD more contrast"}
    texts = []
    for name, step in steps.items():
        row = rows.loc[(name, name)]
        by, low, high = (f"{100 * (2**value - 1):+.0f} %" for value in (row.slope, row.low, row.high))
        clear = "clearly not zero" if row.low * row.high > 0 else "possibly zero"
        change = f"{step}: the odds ratio of the narrow to the wide window changes by {by} ({low} to {high}, {clear})"
        texts.append(f"{change}; R² {share[name]}.")
    p = rows.p[("all three, pathology", "pathology")]
    matters = "still matters" if p < 0.05 else "no longer shows"
    three = f"All three together explain {share['all three']}, the pathology alone {share['pathology']}"
    texts.append(f"{three}, all four {share['all three, pathology']} of the variance between lesions.")
    texts.append(f"Given size, thickness and contrast, the pathology {matters} (p = {p:.2g}).")
    return texts
