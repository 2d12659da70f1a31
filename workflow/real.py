"""Public scans for `make real`: fetched, with their licences, and listed as a table that essim.prepare takes.

    real.py OUT [--real FOLDER]      FOLDER has the same files and is searched before the network

In: real.yaml. Out: OUT/<folder>/<file> of every group, OUT/LICENCES.md, and OUT/scans.csv, a table of your own
(docs/own-data.md) with the scans that are there. What could not be obtained is reported; the study goes on without it.
"""

import argparse
import re
import sys
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import yaml
from fetch import Wanted, fetch

from essim.runs.files import writing

MANIFEST = Path(__file__).with_name("real.yaml")
ADDRESS = "https://raw.githubusercontent.com/{repository}/{commit}/"
NEEDED = ("kind", "folder", "source", "licence", "citation", "odd", "repository", "commit", "parts", "files")
COLUMNS = ["dataset", "subject", "split", "contrast", "image", "mask", "seg", "age", "sex", "site"]
BRAIN = "_brain.nii.gz"  # the end of the name of a brain mask beside a whole head


def read_manifest(path=MANIFEST):
    """{group: its fields} of a manifest, with ADDRESS where a group has no `address`; ValueError, one sentence, where a
    field is missing or a file fits none of a group's `parts`."""
    groups = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    for name, group in groups.items():
        for field in NEEDED:
            if field not in group:
                raise ValueError(f"{path}: the group {name} has no `{field}`; add it.")
        group.setdefault("address", ADDRESS.format(**group))
        for file in group["files"]:
            if part_of(group, file) is None:
                raise ValueError(f"{path}: {file} fits none of the parts of the group {name}; correct one of the two.")
    return groups


def part_of(group, file):
    """(subject, what the file is, its path in the repository), from the first of the group's parts that fits; None."""
    for pattern, (what, path) in group["parts"].items():
        match = re.fullmatch(re.escape(pattern).replace(r"\{subject\}", "(.+)"), file)
        if match:
            return match[1], what, path.format(subject=match[1])
    return None


def wanted_of(groups):
    """Every file of a manifest, as `Wanted`."""
    return [
        Wanted(f"{group['folder']}/{file}", group["address"] + quote(part_of(group, file)[2]), size, sha256, name)
        for name, group in groups.items()
        for file, (size, sha256) in group["files"].items()
    ]


def table_of(groups, out):
    """The scans that lie below `out`, a DataFrame with COLUMNS, and sentences about the subjects left out."""
    rows, sentences = [], []
    for name, group in groups.items():
        people = {}
        for file in group["files"]:
            subject, what, _ = part_of(group, file)
            if group["kind"] != "mask" and (out / group["folder"] / file).is_file():
                people.setdefault(subject, {})[what] = f"{group['folder']}/{file}"
        dataset, raw = group.get("dataset", group["kind"]), group["kind"] == "raw"
        left_out = {"no lesion mask is there": [], f"a brain mask, <name>{BRAIN}, must lie beside a whole head": []}
        without_seg, without_mask = left_out.values()
        for subject, files in people.items():
            seg, age_sex = files.pop("seg", ""), group.get("people", {}).get(subject, ["", ""])
            brain = f"{group['folder']}/{subject}{BRAIN}"
            if dataset != "healthy" and not seg:
                without_seg.append(subject)
            elif raw and not (out / brain).is_file():
                without_mask.append(subject)
            else:
                mask = brain if raw else "nonzero"
                who = [dataset, subject, group["split"]]
                about = [mask, seg, *age_sex, f"{group['source']} ({group['licence']})"]
                rows += [[*who, contrast, image, *about] for contrast, image in sorted(files.items())]
        for reason, subjects in left_out.items():
            sentences += [f"{name}: {', '.join(subjects)} left out of the study; {reason}."] if subjects else []
    return pd.DataFrame(rows, columns=COLUMNS), sentences


def licences_of(groups):
    """Where everything is from, under which licence, whom to cite and what is odd about it, as Markdown."""
    text = "# Where these files are from\n\nThey keep their licences; cite what you use.\n"
    for name, group in groups.items():
        size = sum(size for size, _ in group["files"].values()) / 1e6
        text += f"\n## {name}: {group['source']}, {group['licence']}\n\n{len(group['files'])} file(s), {size:.1f} MB, "
        text += f"in {group['folder']}/, by way of {group['repository']} at {group['commit'][:10]}. {group['odd']}\n\n"
        text += f"Cite: {group['citation']}.\n"
    return text


def write_if_new(path, text):
    """Write a text unless it is there already, so that nothing runs again because of it; returns whether it was new."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return True


def main(arguments=None):
    """Fetch what is missing; returns the exit code: 0, 2 if there is nothing to study, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="real.py", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="a folder, or that of an earlier call, to resume it")
    parser.add_argument("--real", type=Path, help="a folder with the same files, searched before the network")
    parser.add_argument("--manifest", type=Path, default=MANIFEST, help="the list (real.yaml)")
    options = parser.parse_args(arguments)
    out = options.out
    try:
        groups = read_manifest(options.manifest)
        if options.real and not options.real.is_dir():
            raise ValueError(f"{options.real}: no such folder; correct REAL or leave it out.")
        if write_if_new(out / "LICENCES.md", licences_of(groups)):
            sys.stderr.write(licences_of(groups) + "\n")
        sentences = fetch(wanted_of(groups), out, options.real)
        table, left_out = table_of(groups, out)
        sys.stderr.write("".join(f"real: {sentence}\n" for sentence in sentences + left_out))
        if set(table.dataset) <= {"healthy"} or "healthy" not in set(table.dataset):
            text = "healthy people and patients are needed, and one or both could not be obtained"
            raise ValueError(f"{out}: {text}; connect to a network, or give REAL=folder of the files.")
        write_if_new(out / "scans.csv", table.to_csv(index=False, lineterminator="\n"))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"real: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("real: stopped; run the same command again to continue.\n")
        return 130
    counts = ", ".join(f"{rows.subject.nunique()} {dataset}" for dataset, rows in table.groupby("dataset"))
    sys.stderr.write(f"real: {len(table)} scans ({counts}) in {out / 'scans.csv'}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
