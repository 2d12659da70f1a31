"""Do these results agree with the reference? And how far may they differ?

    verify.py check RESULTS REFERENCE      print each number out of its tolerance; exit 1 if there are too many
    verify.py fit REFERENCE RESULTS...     write REFERENCE/tolerances.csv from results of several training seeds
    verify.py keep RESULTS REFERENCE       copy the tables and pictures that are the reference; of `make real` no scan
    verify.py patients RESULTS REFERENCE   copy those of `make methods` on real patients; no scan either
    verify.py release RESULTS NETWORKS     copy the trained networks to NETWORKS_<contrast>, in half precision
    verify.py methods RESULTS FOLDER       the same for the networks of `make methods`: FOLDER/<network>_<contrast>

A different CPU rounds differently, and so trains a slightly different network, as a different seed would. A number's
tolerance is FLOOR + WIDTH x its standard deviation over the training seeds, or that of its column and set (root mean
square) if that is larger, since a single standard deviation from three seeds is uncertain by half. WIDTH is three
standard deviations of the difference between two runs. Of hundreds of numbers a few are out by chance: CHANCE is the
share that may be. Without the file, FLOOR alone is used: what results of the same networks may differ by.
"""

import argparse
import shutil
import sys
from pathlib import Path

import pandas as pd

TABLES = ("main", "regret", "ablation")
REAL = ("real_heads", "real_transplants")  # those of `make real`
CONFIRM = ("confirm_means", "confirm_regret")  # those of `make confirm`
# kept to be read, but not compared: tests, counts and fits, which change a lot when scores change a little
READ = ("realism*", "tests", "transfer", "healthy", "best_sigma_fit", "grid_*", "calibrated", "calibrated_*", "*spread")
READ += ("whole_scans", "by_site", "lesion_sizes", "confirm_scores")
READ += ("shifts", "shift_law", "shift_axes")  # of `make shifts`, where it ran
READ += ("methods_*",)  # of `make methods`, where it ran
READ += ("at_best", "at_best_tried", "at_best_windows", "claims")  # includes what `make confirm` reads
ABLATIONS = ("ablations/tables/*", "ablations/figures/*.png")
CARDS = ("site/images/card-walkthrough-*.png",)  # the README's pictures of the teaching path
# of `make real`; the results of its training differ between CPUs as they do between seeds. No picture of a scan
REAL_READ = ("placement", "real_conclusions", "real_trained", "real_trained_gains")
REAL_CURVES = ("score_over_sigma", "marked_in_healthy", "grown_half_real", "real_trained")
PLACE = ["table", "row", "column"]
WIDTH, FLOOR, CHANCE = 3 * 2**0.5, 0.01, 0.02


def read_numbers(folder):
    """All numbers of the summary tables as a Series over (table, row, column). Words and sigma name the row."""
    numbers = {}
    for table in _tables_of(folder):
        path = Path(folder) / "tables" / f"{table}.csv"
        if not path.is_file():
            sys.exit(f"{path}: no such file; run `make reproduce` first.")
        frame = pd.read_csv(path)
        if "patients" in frame:  # how many real ones there are depends on the download; real_heads lists them singly
            frame = frame[frame.patients == "half-real"]
        values = [name for name in frame.select_dtypes("number").columns if name != "sigma"]
        names = [name for name in frame.columns if name not in values]
        for _, record in frame.iterrows():
            row = " ".join(str(record[name]) for name in names if pd.notna(record[name]))
            for column in values:
                if (table, row, column) in numbers:
                    sys.exit(f"{path}: two rows are called `{row}`; nothing can be compared.")
                numbers[table, row, column] = record[column]
    series = pd.Series(numbers, dtype=float, name="value")
    series.index = series.index.set_names(PLACE)
    return series


def _tables_of(folder):
    own = [tables for tables in (REAL, CONFIRM) if (Path(folder) / f"tables/{tables[0]}.csv").is_file()]
    return own[0] if own else TABLES


def check(results, reference):
    """Print what is out of tolerance, or missing; whether that is too much."""
    path, numbers = Path(reference) / "tolerances.csv", {"is": read_numbers(results), "was": read_numbers(reference)}
    if path.is_file():
        both = pd.concat(numbers | {"may": pd.read_csv(path, index_col=PLACE)["tolerance"]}, axis=1)
        for alike in (_alike(both), _alike(both)[:2]):  # a number that came later: as its column and set, as its set
            both["may"] = both["may"].fillna(both["may"].groupby(alike).transform("max"))
    else:
        print(f"{path}: no such file; {FLOOR} is used for every number, until `make tolerances` writes it.")
        both = pd.concat(numbers, axis=1).assign(may=FLOOR)
    missing = wrong = 0
    for place, number in both.iterrows():
        where = " | ".join(place)
        if number[["is", "was"]].isna().all() or (place[0] == REAL[0] and number.isna().any()):
            continue  # nothing to compare: no score, or a public scan that only one of the two could fetch
        if number.isna().any():
            lack = [text for key, text in _LACK.items() if pd.isna(number[key])]
            print(f"{where}: missing in {', '.join(lack)}")
            missing += 1
        elif abs(number["is"] - number["was"]) > number["may"]:
            print(f"{where}: {number['is']:.4f}, reference {number['was']:.4f} +- {number['may']:.4f}")
            wrong += 1
    agree = f"{len(both) - missing - wrong} of {len(both)} numbers agree with {reference}"
    print(f"{agree}; by chance {CHANCE:.0%} may not.")
    return missing > 0 or wrong > CHANCE * len(both)


def _alike(numbers):
    """What numbers that are judged alike have in common: table, set (a row's first word) and column."""
    place = numbers.index.to_frame()
    return [place["table"], place["row"].str.split().str[0], place["column"]]


_LACK = {"is": "the results", "was": "the reference", "may": "the tolerances"}


def fit(reference, results):
    """Write the tolerances that follow from results of several seeds."""
    if len(results) < 3:
        sys.exit("tolerances need the results of at least three training seeds; `make tolerances` makes them.")
    seeds = pd.concat([read_numbers(folder) for folder in results], axis=1)
    table = pd.DataFrame({"mean": seeds.mean(axis=1), "deviation": seeds.std(axis=1, ddof=1), "seeds": len(results)})
    usual = table["deviation"].pow(2).groupby(_alike(table)).transform("mean").pow(0.5)
    table["tolerance"] = FLOOR + WIDTH * table["deviation"].clip(lower=usual)
    path = Path(reference) / "tolerances.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.round(5).to_csv(path, lineterminator="\n")
    print(f"{len(table)} tolerances in {path}, the widest {table['tolerance'].max():.3f}.")


def keep(results, reference):
    """Copy the summary tables with their provenance, and the pictures; of ablations and site too, if there are any."""
    read_numbers(results)  # nothing is copied unless all tables are there
    names, pictures = TABLES + READ, ["figures/*.png", *ABLATIONS, *CARDS]
    if _tables_of(results) is REAL:
        names, pictures = REAL + REAL_READ, [f"figures/{name}.png" for name in REAL_CURVES]
    if _tables_of(results) is CONFIRM:
        names, pictures = (*CONFIRM, "confirm"), ["figures/confirm.png"]
    _copy(results, reference, names, pictures)


def keep_patients(results, reference):
    """Copy the tables and curves of `make methods` on real patients."""
    _copy(results, reference, ["methods_*"], ["figures/methods.png", "figures/methods_grid.png"])


def _copy(results, reference, tables, pictures):
    for pattern in [*(f"tables/{name}.*" for name in tables), *pictures]:
        for path in sorted(Path(results).glob(pattern)):
            target = Path(reference) / path.relative_to(results)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            print(target)


def release(results, networks):
    """Copy the trained networks with all that lies beside them, ready for scoring and for `pretrained`."""
    from essim.train.trained import RELEASED, release_trained  # here, since comparing tables needs no torch

    folders = sorted(path for path in Path(results).glob("models/*") if path.is_dir())
    whole = [folder for folder in folders if all((folder / name).is_file() for name in RELEASED)]
    if not whole:
        sys.exit(f"{results}/models: has no folder with all of {', '.join(RELEASED)}; run `make reproduce` first.")
    for folder in whole:
        released = Path(f"{networks}_{folder.name}")
        release_trained(folder, released)
        print(released)


def release_methods(results, networks):
    """Copy the networks that `make methods` has trained, those of all methods, ready for `pretrained`."""
    from essim.train.trained import NETWORKS, release_trained

    folders = sorted(path.parent for path in Path(results).glob("methods/models/*/weights.safetensors"))
    if not folders:
        sys.exit(f"{results}/methods/models: has no network; run `make methods` first.")
    for folder in folders:
        release_trained(folder, Path(networks) / folder.name, NETWORKS["diffusion"])
        print(Path(networks) / folder.name)


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    places_of = dict.fromkeys(("check", "keep", "patients"), ("results", "reference")) | {"fit": ("reference",)}
    places_of |= dict.fromkeys(("release", "methods"), ("results", "networks"))
    for name, places in places_of.items():
        command = commands.add_parser(name)
        for place in places:
            command.add_argument(place)
        if name == "fit":
            command.add_argument("results", nargs="+")
    arguments = vars(parser.parse_args(words))
    commands = {"check": check, "fit": fit, "keep": keep, "patients": keep_patients}
    commands |= {"release": release, "methods": release_methods}
    return 1 if commands[arguments.pop("command")](**arguments) else 0


if __name__ == "__main__":
    sys.exit(main())
