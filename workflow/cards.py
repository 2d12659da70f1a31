"""Model cards: a page for each network of models/, from the files and tables that are committed.

    cards.py [MODELS]      writes MODELS/<name>/README.md; MODELS is models/ if not given

In: the network's folder, promise.csv beside it, results/reference; card.md, the page without its numbers. Out: Markdown
with the front matter that the Hugging Face hub reads. What no table holds is called "not measured".
"""

import json
import sys
from pathlib import Path

import pandas as pd
from profiles import read_profile
from safetensors import safe_open

from essim.evaluation.stats import age_group
from essim.figures.style import SET_NAMES
from essim.models import KINDS
from essim.runs.files import writing

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = Path(__file__).with_name("card.md")
METHODS = ["calibrated", "adaptive", "l1"]
PROMISED, FACTOR = 0.01, 1.5  # the share of healthy tissue above a threshold; the factor off it that is a failure
PLACES = {"marked": "whole brain", "cerebrum": "cerebrum", "cerebellum": "cerebellum", "stem": "brain stem"}
SOURCES = {
    "healthy8": "healthy people whose anatomies no network was trained on",
    "healthy16": "healthy people whose anatomies the training heads of `anatomies` come from",
    "ms": "patient with MS, outside the lesions",
}
GROWN, REAL = "results/reference/pretrained", "results/reference/real"  # what `laptop` and `anatomies` were tested on


def card(folder):
    """The Markdown of the card of a model folder, a Path; FileNotFoundError where one of its files is missing."""
    kind, contrast = folder.name.rsplit("_", 1)
    scoring = json.loads((folder / "scoring.json").read_text(encoding="utf-8"))
    thresholds = pd.DataFrame(scoring["thresholds"])[METHODS].T.rename(columns=lambda share: _percent(float(share)))
    promise = pd.read_csv(folder.parent / "promise.csv").query("model == @folder.name")
    parts = {"laptop": _judged_on_grown, "anatomies": _judged_on_real}[kind](contrast)
    failures = [*_failures_on_real(promise), *(_failures_on_grown(contrast) if kind == "laptop" else ())]
    words = {"name": folder.name, "contrast": contrast, "CONTRAST": contrast.upper(), "kind": KINDS[kind].split(";")[0]}
    return TEMPLATE.read_text(encoding="utf-8").format(
        **words,
        **{"healthy_scans": scoring["healthy_scans"], "promised": _percent(PROMISED), "factor": FACTOR},
        training=_training(folder),
        thresholds=_table(thresholds.round(4).rename_axis("score").reset_index()),
        real=_on_real(promise),
        groups=parts["groups"],
        found=f"{parts['found']}\n\n{_found_in_patients(promise)}",
        failures="\n".join(f"- {line}" for line in failures) or "None was measured.",
        pictures="\n\n".join(f"![{Path(path).stem}](../../{path})" for path in parts["pictures"]) or "None.",
    )


def _training(folder):
    """A table of what config.json, log.csv and the weights say of a training."""
    config, log = json.loads((folder / "config.json").read_text(encoding="utf-8")), pd.read_csv(folder / "log.csv")
    training, (height, width, _) = config["training"], config["preprocessing"]["shape"]
    with safe_open(folder / "weights.safetensors", "np") as weights:
        parameters = sum(weights.get_tensor(name).size for name in weights.keys())
    start, minutes = training.get("init"), f"{log.seconds.iloc[-1] / 60:.0f} minutes ([log.csv](log.csv))"
    facts = {
        "starts from": f"`{start}`, not in the repository" if start else f"random weights, seed {training['seed']}",
        "slices": f"axial, {height} x {width} voxels of {config['voxel_mm']:g} mm",
        "steps": "{} of {batch} slices, {optimizer}, rate {lr:g}".format(config["steps"], **training),
        "noise": "{noise}, steps {t_range[0]} to {t_range[1]} of {timesteps}".format(**training),
        "size": f"{parameters / 1e6:.2f} million parameters in half precision",
        "time": f"{minutes}, not counting the weights that it starts from" if start else minutes,
        "validation loss": f"{config['val_loss']:.4f}",
    }
    return _table(pd.DataFrame(facts.items(), columns=["", "this network"]))


def _kinds_of_head(promise):
    """(whose heads, score, their rows)."""
    for (source, method), heads in promise.groupby(["source", "method"], sort=False):
        yield f"{len(heads)} {SOURCES.get(source, f'of {source}')}", method, heads


def _on_real(promise):
    rows = [
        {"heads": who, "score": method} | {title: _spread(heads[place]) for place, title in PLACES.items()}
        for who, method, heads in _kinds_of_head(promise)
    ]
    return _table(pd.DataFrame(rows))


def _failures_on_real(promise):
    for who, method, heads in _kinds_of_head(promise):
        medians = heads[list(PLACES)].median()
        wrong = [f"{PLACES[place]} {_percent(share)}" for place, share in medians.items() if share > FACTOR * PROMISED]
        if wrong:
            yield f"{method}, {who}: {', '.join(wrong)}."


def _found_in_patients(promise):
    ill = promise.dropna(subset="auprc")
    scores = [f"{method} {_spread(heads.auprc, '{:.2f}')}" for method, heads in ill.groupby("method", sort=False)]
    return f"Real patients ({ill['head'].nunique()}), AUPRC: {', '.join(scores) or 'not measured'}."


def _judged_on_grown(contrast):
    """Markdown and pictures from the pretrained study: its healthy test heads and its patients."""
    sets = [name for name, own in read_profile("pretrained")["sets"].items() if own == contrast]
    healthy, main, sizes = (f"{GROWN}/tables/{name}.csv" for name in ("healthy", "main", "lesion_sizes"))
    alarms = pd.read_csv(ROOT / healthy).query("contrast == @contrast and source == 'healthy 1%' and by != 'all'")
    groups = [
        {"by": row.by, "group": row.group, "heads": row.subjects, "score": row.method}
        | {"false positives": _interval(row, "false_positives", "{:.1f}"), "ml": _interval(row, "false_ml", "{:.1f}")}
        for row in alarms.itertuples()
    ]
    found = [
        {"set": SET_NAMES[row.dataset], "patients": f"{row.subjects:.0f}", "score": row.method}
        | {"AUPRC": _interval(row, "auprc"), "by chance": f"{row.prevalence:.3f}", "Dice": _interval(row, "dice")}
        for row in pd.read_csv(ROOT / main).query("dataset in @sets and method in @METHODS").itertuples()
    ]
    by_size = [
        {"set": SET_NAMES[row.dataset], "lesion": row.size, "lesions": row.lesions, "score": row.method}
        | {"found": _interval(row, "sensitivity", "{:.0%}")}
        for row in pd.read_csv(ROOT / sizes).query("dataset in @sets").itertuples()
    ]
    names = [*(f"gallery_{name}" for name in sets), "gallery_healthy", "gallery_calibrated"] if sets else []
    said = (
        "False positives and ml marked per scan in healthy grown test heads, with 95 % intervals, where 1 % is promised"
    )
    return {
        "groups": _section(groups, said, healthy),
        "found": "\n\n".join(
            [
                _section(found, "Grown test patients, means with 95 % intervals", main),
                _section(by_size, "Lesions found, by size, at the validation threshold", sizes),
            ]
        ),
        "pictures": _pictures(GROWN, names),
    }


def _failures_on_grown(contrast):
    shares = pd.read_csv(ROOT / f"{GROWN}/tables/calibrated_shares.csv").query("contrast == @contrast")
    for row in shares[shares.promised == PROMISED].itertuples():
        if row.marked_low > FACTOR * PROMISED or row.marked_high < PROMISED / FACTOR:
            yield f"{row.method}, grown heads, {row.by} *{row.who}*: {_interval(row, 'marked', '{:.1%}')}."


def _judged_on_real(contrast):
    """Markdown and pictures from `make real`: healthy people, and real lesion masks in real heads."""
    heads, trained = f"{REAL}/tables/real_heads.csv", f"{REAL}/tables/real_trained.csv"
    people = pd.read_csv(ROOT / heads).query("contrast == @contrast and dataset == 'healthy'")
    people["age"] = age_group(people.age)
    groups = [
        {"by": by, "group": group, "heads": len(part), "score": method, "marked": _spread(part.marked)}
        for by in ("age", "sex", "site")
        for (group, method), part in people.groupby([by, "method"], observed=True)
    ]
    half_real = pd.read_csv(ROOT / trained).query("patients == 'half-real' and network == 'grown heads'")
    found = [
        {"set": SET_NAMES[row.dataset], "patients": row.subjects, "score": row.method, "AUPRC": _interval(row, "auprc")}
        for row in half_real.itertuples()
        if contrast == "t1"  # half-real patients exist in T1 only
    ]
    said = f"Share marked in real healthy people, medians with ranges, where {_percent(PROMISED)} is promised"
    return {
        "groups": _section(groups, said, heads) + "\n\nFalse positives per scan: not measured.",
        "found": _section(found, "Half-real patients (real lesion masks in real healthy heads)", trained)
        + "\n\nLesions found, by size: not measured.",
        "pictures": _pictures(REAL, ["marked_in_healthy", "grown_half_real"] if groups else []),
    }


def _section(rows, said, table):
    what = said.split(",")[0].split(" (")[0]
    return f"{said} ([table](../../{table})).\n\n{_table(pd.DataFrame(rows))}" if rows else f"{what}: not measured."


def _pictures(study, names):
    return [path for path in (f"{study}/figures/{name}.png" for name in names) if (ROOT / path).is_file()]


def _percent(share):
    return f"{100 * share:.3g} %"


def _spread(values, form="{:.1%}"):
    middle, low, high = (form.format(value).replace("%", " %") for value in values.quantile([0.5, 0, 1]))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def _interval(row, column, form="{:.3f}"):
    mean, low, high = (form.format(getattr(row, column + end)).replace("%", " %") for end in ("", "_low", "_high"))
    return mean if pd.isna(getattr(row, f"{column}_low")) else f"{mean} ({low} to {high})"  # none for one patient


def _table(frame):
    return frame.to_markdown(index=False, disable_numparse=True)


def main(models=ROOT / "models"):
    for folder in sorted(path.parent for path in Path(models).glob("*/config.json")):
        page = card(folder)
        with writing(folder / "README.md") as temporary:
            temporary.write_text(page, encoding="utf-8")
        print(folder / "README.md")


if __name__ == "__main__":
    main(*sys.argv[1:])
