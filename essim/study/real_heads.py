"""Real heads: public scans under networks that were trained on grown ones.

In: a table of scans in study space, healthy controls and patients (`make real`), and model folders, one per contrast.
Out: a table, one row per scan and method, slices to show, and sentences. Not in the paper.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from essim.data.prepared import CONTRASTS
from essim.data.volumes import read_nifti
from essim.evaluation.cases import widest_slice
from essim.evaluation.metrics import dice
from essim.study.promise import PROMISED, find_anomalies, judge

LEVELS = ("l1", "adaptive", "l1 calibrated", "calibrated")  # methods without a window of their own
SHOWN = ("l1", "ssim best", "adaptive", "l1 calibrated", "calibrated")
COLUMNS = ("input", "reconstruction", "l1", "SSIM, best \u03c3", "paper's ensemble", "calibrated l1")
COLUMNS += ("calibrated ensemble", "truth")
ABOUT = ["dataset", "subject", "split", "contrast", "age", "sex", "site"]


def name_of(row):
    """A scan's label in figures: `patient19, T1`."""
    return f"{row['subject']}, {row['contrast'].upper()}"


def placement(scans, brain):
    """How each scan lies in study space, beside the template's brain (bool [H, W, D], on the same grid).

    Returns: a DataFrame, one row per scan: dataset, subject, contrast, overlap (Dice of the brain masks); {name: the
        scan's axial and sagittal slice through the middle of the template's brain}; and the same slices of that brain.
    """
    middle = [int(np.argwhere(brain)[:, axis].mean()) for axis in range(3)]
    rows, slices = [], {}
    for row in scans.to_dict("records"):
        image, mask = (read_nifti(row[role])[0] for role in ("image", "mask"))
        overlap = dice(mask > 0, brain)
        rows.append({key: row[key] for key in ("dataset", "subject", "contrast")} | {"overlap": overlap})
        slices[name_of(row)] = cut(image / np.percentile(image[mask > 0], 99), middle)
    return pd.DataFrame(rows), slices, cut(brain, middle)


def cut(volume, place):
    """The axial and the sagittal slice of a volume [H, W, D] through a voxel."""
    return volume[:, :, place[2]], volume[place[0]]


def look(scans, models, sigmas):
    """Every scan under its contrast's network and every method; patients also under each window of `sigmas`.

    Args:
        scans: as from `essim.load_scans`, in study space. models: common prefix of the model folders,
            "models/anatomies" for models/anatomies_t1; a contrast without a folder is left out.

    Returns: a DataFrame, one row per scan and method, with the columns ABOUT, those of `promise.judge`, and sigma (NaN
        for methods without one); and {name of a patient's scan: its slices, one for each of COLUMNS, where the lesion
        is largest}.

    Raises as `promise.find_anomalies`.
    """
    rows, views = [], {}
    for contrast in CONTRASTS:
        part, folder = scans[scans.contrast == contrast], Path(f"{models}_{contrast}")
        if part.empty or not folder.is_dir():
            continue
        for found in find_anomalies(part.assign(source=part.dataset, head=part.subject), folder, sigmas):
            own = list(judge(found))
            rows += [{key: found.row[key] for key in ABOUT} | row for row in own]
            if found.scan.seg.any():
                views[name_of(found.row)] = _view(found, own)
    table = pd.DataFrame(rows).drop(columns=["source", "head"])
    return table.assign(sigma=pd.to_numeric(table.method.str.removeprefix("ssim "), errors="coerce")), views


def _view(found, rows):
    """The slices of a patient's scan, one for each of COLUMNS; the single window is the one with the best AUPRC."""
    singles = [row for row in rows if row["method"].startswith("ssim ")]
    best, z = max(singles, key=lambda row: row["auprc"])["method"], widest_slice(found.scan.seg)
    maps = [found.maps[best if method == "ssim best" else method] for method in SHOWN]
    return [volume[:, :, z] for volume in (found.scan.image, found.reconstruction, *maps, found.scan.seg)]


def patients(table):
    """The patients' rows of the table of `look`: LEVELS and, as `ssim best`, the single window with the best AUPRC."""
    ill = table[(table.dataset != "healthy") & table.auprc.notna()]
    singles = ill.dropna(subset="sigma")
    best = singles.loc[singles.groupby(["subject", "contrast"]).auprc.idxmax()].assign(method="ssim best")
    shown = pd.concat([ill[ill.sigma.isna()], best])
    orders = {"contrast": CONTRASTS, "method": SHOWN}
    ranks = {column: shown[column].map(order.index) for column, order in orders.items()}
    order = shown.assign(**ranks).sort_values(["dataset", "subject", *ranks]).index
    return shown.loc[order].reset_index(drop=True)


def healthy(table):
    """The rows of healthy controls in the table of `look`."""
    return table[table.dataset == "healthy"]


def sources(table):
    """The sources and licences of the scans of a table, as text for a caption."""
    return "Scans: " + "; ".join(dict.fromkeys(table.site)) + "."


def say_found(rows):
    """Sentences about the rows of `patients`: which method is ahead on each scan, and how much it marks elsewhere."""
    sentences = []
    for (subject, contrast), scan in rows.groupby(["subject", "contrast"], sort=False):
        scores, marked = (scan.set_index("method")[column] for column in ("auprc", "marked"))
        first, *others = scores[list(LEVELS)].sort_values(ascending=False).index
        text = f"{subject}, {contrast.upper()}: {first} is ahead, AUPRC {scores[first]:.2f}; "
        text += ", ".join(f"{method} {scores[method]:.2f}" for method in others)
        text += f"; the best single window, with hindsight (\u03c3 = {scan.sigma.max():g}), {scores['ssim best']:.2f}. "
        told = ", ".join(f"{method} marks {share:.1%}" for method, share in marked[list(LEVELS)].dropna().items())
        text += f"Outside the lesions, where {PROMISED:.0%} is promised, {told}."
        sentences.append(text)
    return sentences


def say_windows(rows, sigmas):
    """A sentence about the rows of `patients`: how often even the best of the single windows `sigmas` falls short."""
    best = rows[rows.method == "ssim best"].set_index(["subject", "contrast"])
    short = [f"{method} on {(_scores(rows, method) > best.auprc).sum()} of {len(best)} scans" for method in LEVELS]
    ends = best.sigma.isin([min(sigmas), max(sigmas)]).sum()
    return f"No single window reaches {', '.join(short)}; on {ends}, the best window is the smallest or largest tried."


def _scores(rows, method):
    return rows[rows.method == method].set_index(["subject", "contrast"]).auprc


def say_marked(rows):
    """Sentences about the rows of `healthy`: how much each method marks in them, and whether that grows with age."""
    sentences = []
    for (unknown, method), part in rows.groupby([rows.split == "test", "method"], sort=False):
        who = "not used in training" if unknown else "whose anatomy was used in training"
        text = f"{len(part)} scans of healthy controls {who}: {method} marks a median of {part.marked.median():.1%}"
        sentences.append(f"{text} ({part.marked.min():.1%} to {part.marked.max():.1%}).")
    for method, part in rows.groupby("method", sort=False):
        age = pd.to_numeric(part.age, errors="coerce")
        if age.nunique() > 2:
            rho, p = stats.spearmanr(age, part.marked, nan_policy="omit")
            sentences.append(f"Age against the share that {method} marks: Spearman's \u03c1 {rho:+.2f}, p = {p:.2f}.")
    return sentences
