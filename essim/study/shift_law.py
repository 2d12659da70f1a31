"""When does SSIM overtake l1? What follows from essim.study.shifts, as numbers and as sentences.

In: the table of `shifts.measure`, of all sets. Out: means per scanner, a score's gain over l1 against how far off the
reconstruction is, where real scans lie, and the law in words with its limits.

Each scanner is a point: its x is how far off the network's reconstruction of healthy tissue is, or how bright that
tissue is (MEASURES), its y a score's gain over l1 (mean AUPRC over patients), both maps post-processed alike.
Intervals: 95 % of a bootstrap over patients.
"""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from essim.evaluation.stats import mean_with_interval
from essim.study import real_heads

KEYS = ["dataset", "network", "post", "axis", "amount"]
MEASURES = ("residual", "divergence", "drift", "level")
BEST, AGAINST = "ssim best", "l1"
GAINERS = (BEST, "adaptive", "calibrated")
NAMES = {BEST: "the best window", "adaptive": "the paper's ensemble", "calibrated": "the calibrated ensemble"}
RESAMPLES = 1000
LEAST = 3  # patients for an interval


def with_best(table):
    """The table with its single windows replaced by BEST: under each scanner the one with the highest mean AUPRC, with
    hindsight; `sigma` says which."""
    single = table.method.str.fullmatch(r"ssim [\d.]+")
    windows = table[single]
    mean = windows.groupby([*KEYS, "method"], sort=False).auprc.mean()
    chosen = mean.loc[mean.groupby(KEYS, sort=False).idxmax()].reset_index()[[*KEYS, "method"]]
    best = windows.merge(chosen, on=[*KEYS, "method"])
    best = best.assign(sigma=best.method.str.removeprefix("ssim ").astype(float), method=BEST)
    return pd.concat([table[~single], best], ignore_index=True)


def means(table):
    """One row per scanner, network, post and method of `with_best`: KEYS, method, auprc with `_low` and `_high`,
    subjects, and the means of MEASURES and of sigma (NaN except for BEST)."""
    beside = [*MEASURES, "sigma"]
    rows = mean_with_interval(table, [*KEYS, "method"], ["auprc"])
    return rows.merge(table.groupby([*KEYS, "method"], sort=False)[beside].mean().reset_index(), on=[*KEYS, "method"])


def points(table):
    """One row per scanner, network, post and method of GAINERS: KEYS, MEASURES, method, and gain over l1."""
    mean = table.groupby([*KEYS, "method"], sort=False)[["auprc", *MEASURES]].mean().reset_index()
    level = mean[mean.method == AGAINST].set_index(KEYS).auprc
    mean = mean[mean.method.isin(GAINERS)]
    return mean.assign(gain=mean.auprc - level.loc[pd.MultiIndex.from_frame(mean[KEYS])].to_numpy())


def law(table, seed=0):
    """How the gain over l1 depends on how far off a reconstruction is.

    Args: table: of `with_best`. seed: of the bootstrap.

    Returns: a DataFrame, one row per set, network, post, method of GAINERS and measure:
        dataset, network, post, method, measure, scanners, subjects
        rho            Spearman's rank correlation of gain and measure over the scanners
        least, most    the measure's range
        crossing       where the least-squares line through the points crosses a gain of 0; NaN outside the range
        ahead          the share of the scanners under which the score is ahead of l1
    rho and crossing with `_low` and `_high`: NaN with fewer than LEAST patients.
    """
    rows = []
    for (dataset, network, post), part in table.groupby(KEYS[:3], sort=False):
        own = {name: _wide(rows, "auprc") for name, rows in part.groupby("method", sort=False)}
        x = {measure: _wide(part[part.method == AGAINST], measure) for measure in MEASURES}
        count = len(own[AGAINST])
        draws = np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
        for method in GAINERS:
            gains = own[method] - own[AGAINST]
            for measure in MEASURES:
                about = {"dataset": dataset, "network": network, "post": post, "method": method, "measure": measure}
                about |= {"scanners": gains.shape[1], "subjects": count}
                rows.append(about | _fit(x[measure], gains, draws))
    return pd.DataFrame(rows)


def _wide(rows, column):
    """[patients, scanners]: one column of a method's rows."""
    return rows.pivot(index="subject", columns=["axis", "amount"], values=column).to_numpy()


def _fit(x, gains, draws):
    """rho, crossing, their intervals, and the range of x, from arrays [patients, scanners] and resampled patients."""
    both = [np.concatenate([values.mean(0)[None], values[draws].mean(1)]) for values in (x, gains)]
    rho = _correlation(*(rankdata(values, axis=1) for values in both))
    deviation = both[0] - both[0].mean(1, keepdims=True)
    slope = (deviation * both[1]).mean(1) / np.maximum((deviation**2).mean(1), 1e-12)
    crossing = both[0].mean(1) - both[1].mean(1) / np.where(slope != 0, slope, np.nan)
    found = {"least": both[0][0].min(), "most": both[0][0].max(), "ahead": (both[1][0] > 0).mean()}
    for name, values in (("rho", rho), ("crossing", crossing)):
        inside = name == "rho" or found["least"] <= values[0] <= found["most"]
        known = inside and len(x) >= LEAST
        low, high = np.nanpercentile(values[1:], (2.5, 97.5)) if known else (np.nan, np.nan)
        found |= {name: values[0] if inside else np.nan, f"{name}_low": low, f"{name}_high": high}
    return found


def _correlation(x, y):
    """Pearson's, row by row, of two arrays [N, M]; 0 where one is constant."""
    x, y = (values - values.mean(1, keepdims=True) for values in (x, y))
    scale = np.sqrt((x**2).mean(1) * (y**2).mean(1))
    return (x * y).mean(1) / np.where(scale > 0, scale, 1)


def along_axes(table, seed=0):
    """How each axis changes a gain: one row per set, network, post, method of GAINERS and axis, with the MEASURES at
    its end, and the change in the gain over l1 from the training scanner to there, with `_low` and `_high`
    (`mean_with_interval`, over patients)."""
    wide = table.pivot(index=[*KEYS, "subject", *MEASURES], columns="method", values="auprc").reset_index()
    last = wide.groupby("axis").amount.transform("max") == wide.amount
    start = wide[wide.axis == ""].set_index(["dataset", "network", "post", "subject"])
    ends, changes = wide[last & (wide.axis != "")], []
    for method in GAINERS:
        before = (start[method] - start[AGAINST]).loc[pd.MultiIndex.from_frame(ends[start.index.names])]
        change = (ends[method] - ends[AGAINST]).to_numpy() - before.to_numpy()
        changes.append(ends[[*KEYS, *MEASURES, "subject"]].assign(method=method, change=change))
    keys = ["dataset", "network", "post", "method", "axis"]
    rows = pd.concat(changes, ignore_index=True)
    places = {column: {name: i for i, name in enumerate(table[column].unique())} for column in ("dataset", "axis")}
    order = [rows[column].map(own) for column, own in places.items()]
    rows = rows.loc[pd.concat(order, axis=1).sort_values(["dataset", "axis"], kind="stable").index]
    beside = rows.groupby(keys, sort=False)[list(MEASURES)].mean().reset_index()
    return mean_with_interval(rows, keys, ["change"]).merge(beside, on=keys)


# Real scans


def real_places(folder):
    """Where real scans lie: one row per scan of the table real_heads of `make real` in `folder`, with MEASURES (NaN
    where missing) and, for patients, `gain`, the best window's over l1; empty where there is no such table."""
    path = Path(folder) / "real_heads.csv"
    if not path.is_file():
        return pd.DataFrame(columns=["dataset", "subject", "contrast", *MEASURES, "gain"])
    table, keys = pd.read_csv(path), ["dataset", "subject", "contrast"]
    shown = real_heads.patients(table).pivot(index=keys, columns="method", values="auprc")
    scans = table.drop_duplicates(keys).set_index(keys).reindex(columns=MEASURES)
    return scans.assign(gain=shown[BEST] - shown[AGAINST]).reset_index()


def reached(means, residual):
    """{axis: amount at which its mean residual first reaches a value, interpolated between steps}, for axes that do.
    `means`: rows of one set, network, post and method."""
    start, found = means[means.axis == ""].residual.item(), {}
    for axis, part in means[means.axis != ""].groupby("axis", sort=False):
        part = part.sort_values("amount")
        amounts, values = np.array([0, *part.amount]), np.array([start, *part.residual])
        for i in np.flatnonzero((values[:-1] < residual) & (values[1:] >= residual))[:1]:
            found[axis] = float(np.interp(residual, values[i : i + 2], amounts[i : i + 2]))
    return found


# In words


def say_law(table, network, post, method=BEST):
    """Sentences about `law`, one per set: how the gain correlates with each of MEASURES, and on which side of which
    value the score is ahead, by the measure with the strongest correlation, chosen with hindsight."""
    sentences = []
    for name, part in table[(table.network == network) & (table.post == post)].groupby("dataset", sort=False):
        rows = part[part.method == method].set_index("measure")
        first = rows.loc[rows.rho.abs().idxmax()]
        texts = [f"{measure} {row.rho:+.2f}{_ends(row, 'rho')}" for measure, row in rows.iterrows()]
        text = f"{name}, {network}, {post}: {NAMES[method]} is ahead of l1 on {first.ahead:.0%} of {first.scanners} "
        text += f"scanners; \u03c1 of its gain with {', '.join(texts)}"
        if not np.isnan(first.crossing):
            side = "above" if first.rho > 0 else "below"
            text += f"; by a linear fit, it is ahead {side} a {first.name} of {first.crossing:.2f}"
            text += _ends(first, "crossing")
        sentences.append(f"{text}.")
    return sentences


def _ends(row, name):
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if pd.isna(low) else f" [{low:.2f}, {high:.2f}]"


def say_limits(axes, network, post, method=BEST):
    """Sentences about `along_axes`, one per set: along which axes the gain grows, falls or does not clearly change."""
    sentences = []
    for name, part in axes.query("network == @network and post == @post and method == @method").groupby(
        "dataset", sort=False
    ):
        kinds = {"grows": part.change_low > 0, "falls": part.change_high < 0}
        kinds["does not clearly change"] = ~(kinds["grows"] | kinds["falls"])
        texts = []
        for kind, rows in kinds.items():
            listed = [f"{row.axis} ({row.change:+.2f}, residual {row.residual:.2f})" for row in part[rows].itertuples()]
            texts += [f"{kind} along {', '.join(listed)}"] if listed else []
        sentences.append(f"{name}, network {network}, {post}: the gain of {NAMES[method]} {'; it '.join(texts)}.")
    return sentences


def say_common(axes, network, post, method=BEST):
    """One sentence about `along_axes`: what all sets have in common; an axis is clear where every set's interval is."""
    part = axes.query("network == @network and post == @post and method == @method")
    part = part.fillna({"change_low": -np.inf, "change_high": np.inf}).groupby("axis", sort=False)
    kinds = {
        "clearly grows along": (part.change_low.min() > 0),
        "clearly falls along": (part.change_high.max() < 0),
        "grows, but not clearly, along": (part.change.min() > 0),
        "falls, but not clearly, along": (part.change.max() < 0),
        "goes either way along": part.change.size() > 0,
    }
    told, texts = set(), []
    for kind, holds in kinds.items():
        names = [name for name in holds.index[holds] if name not in told]
        told |= set(names)
        texts += [f"{kind} {', '.join(names)}"] if names else []
    return f"In every set, {network}, {post}: the gain of {NAMES[method]} over l1 {'; it '.join(texts)}."


def say_remains(points, post):
    """Sentences: what is left of each gain over l1, by how the network is queried; means over scanners."""
    sentences = []
    kinds = points[points.post == post].groupby(["dataset", "method"])
    for name, method in itertools.product(points.dataset.unique(), GAINERS):
        part = kinds.get_group((name, method))
        own = part[part.axis == ""].set_index("network").gain
        moved = part[part.axis != ""].groupby("network", sort=False).gain.mean()
        texts = [f"{network} {own[network]:+.2f} and {moved[network]:+.2f}" for network in moved.index]
        about = f"{name}, {post}: the gain of {NAMES[method]} over l1, on unmoved and moved scanners"
        sentences.append(f"{about}: {', '.join(texts)}.")
    return sentences


def say_real(places):
    """Sentences about `real_places`, one per patient's scan."""
    sentences = []
    for scan in places[places.gain.notna()].itertuples():
        off = [f"{name} {getattr(scan, name):.2f}" for name in MEASURES if pd.notna(getattr(scan, name))]
        about = f"{scan.subject}, {scan.contrast.upper()}: {', '.join(off)}"
        sentences.append(f"{about}; the gain of {NAMES[BEST]} over l1 is {scan.gain:+.2f}.")
    return sentences
