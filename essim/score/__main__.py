"""The command line of score: a scan or a table of scans in, an exit code out (essim score; python -m essim.score)."""

import argparse
import sys
from pathlib import Path

from essim.data.prepared import CONTRASTS
from essim.score.batch import score_table
from essim.score.native import describe
from essim.score.recipe import MAP_KINDS
from essim.score.scan import default_out, score_scan
from essim.score.self_test import describe_test

ABOUT = "Your own scan -> where it departs from a healthy brain, on the scan's own grid. Not for diagnosis."
EXAMPLES = """examples:
  essim score sub-01_T1w.nii.gz --mask sub-01_brain.nii.gz
  essim score flair.mgz --mask nonzero --model my_scanner --out found
  essim score --table scans.csv --jobs 2      columns: scan, mask, contrast, model; all but scan are optional"""


def main(arguments=None):
    """Score one scan, or many; returns the exit code: 0, 1 with a sentence on stderr (also if a scan of a table fails),
    130 if a table was stopped by Ctrl-C."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("essim score", description=ABOUT, epilog=EXAMPLES, formatter_class=raw)
    what = parser.add_mutually_exclusive_group(required=True)
    text = "your scan: a NIfTI or MGZ file, or a folder with one series of DICOM files"
    what.add_argument("scan", nargs="?", help=text)
    what.add_argument("--table", help="many scans: a CSV, one per line; its cells override the options here")
    parser.add_argument("--jobs", type=int, default=1, help="scans of a table processed at once, each on one core (1)")
    parser.add_argument("--out", help="folder to write; an earlier result there is replaced (./essim_<scan's name>)")
    parser.add_argument("--model", help="model folder; default: the one for the contrast that `essim models` lists")
    parser.add_argument("--mask", default="", help='brain mask, or "nonzero" if stripped; default: a skull stripper\'s')
    parser.add_argument("--contrast", choices=CONTRASTS, help="of the scan; default: from its name, else the model's")
    kinds = "our calibrated ensemble (default) or the paper's ensemble (adaptive)"
    parser.add_argument("--strategy", choices=MAP_KINDS, default="calibrated", help=kinds)
    parser.add_argument("--share", type=float, default=0.01, help="share of healthy voxels above the threshold (0.01)")
    parser.add_argument("--threshold", type=float, help="a threshold of your own instead")
    text = "plant lesions in the scan to see how large they must be to be found (one to four minutes)"
    parser.add_argument("--self-test", action="store_true", help=text)
    text = "write a segmentation even if the scan is too unlike what the model knows"
    parser.add_argument("--force", action="store_true", help=text)
    parser.add_argument("--template", help="template of the model's scans, if not MNI152")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (0)")
    options = vars(parser.parse_args(arguments))
    scan, table, out, jobs = (options.pop(name) for name in ("scan", "table", "out", "jobs"))
    if jobs < 1:
        parser.error("--jobs must be 1 or more")
    try:
        if table:
            return _score_many(table, out or f"essim_{Path(table).stem}", jobs, options)
        return _score_one(scan, out or default_out(scan), options)
    except (OSError, ValueError) as error:
        reason = f"{error.filename}: {error.strerror}." if getattr(error, "strerror", None) else error
        sys.stderr.write(f"{reason}\n")
        return 1


def _score_one(scan, out, options):
    finding = score_scan(scan, options.pop("model"), out, **options)
    told = f"{scan}: taken for {finding['contrast']}, as {finding['contrast_told_by']} says.\n"
    doubts = "".join(f"Beware: {doubt['means']} {doubt['do']}\n" for doubt in finding["doubts"])
    tests = f"{describe_test(finding['self_test'])}\n" if "self_test" in finding else ""
    sys.stdout.write(f"{told}{scan}: {describe(finding)}\n{doubts}{tests}")
    sys.stdout.write(f"{out}: open viewer.html; all files are there. Not for diagnosis.\n")
    return 0


def _score_many(table, out, jobs, options):
    try:
        found = score_table(table, out, jobs=jobs, **options)
    except KeyboardInterrupt:
        sys.stderr.write("score: stopped; run the same command again to continue.\n")
        return 130
    failed, doubtful = found[found.error != ""], (found.doubts != "").sum()
    for row in failed.itertuples():
        sys.stderr.write(f"{row.name}: {row.error}\n")
    said = f"{len(found) - len(failed)} of {len(found)} scans are scored, {doubtful} of them with doubts"
    sys.stdout.write(f"{table}: {said}; look at {Path(out) / 'index.html'}. Not for diagnosis.\n")
    return 1 if len(failed) else 0


if __name__ == "__main__":
    sys.exit(main())
