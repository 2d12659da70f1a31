"""The command line of score: a scan, a model and a folder in, an exit code out (python -m essim.score)."""

import argparse
import sys

from essim.data.prepared import CONTRASTS
from essim.score.native import describe
from essim.score.scan import MAP_KINDS, score_scan

ABOUT = "Your own scan -> where it departs from a healthy brain, in the scan's own grid (python -m essim.score)."


def main(arguments=None):
    """Score one scan; returns the exit code: 0, or 1 with a sentence on stderr."""
    parser = argparse.ArgumentParser("python -m essim.score", description=ABOUT)
    parser.add_argument("scan", help="your scan: a NIfTI or MGZ file, or a folder with one series of DICOM files")
    parser.add_argument("--model", help="model folder; default: models/anatomies_t1, _t2 or _flair, by the contrast")
    parser.add_argument("--out", required=True, help="folder to write; an earlier result there is replaced")
    parser.add_argument("--mask", default="", help='brain mask, or "nonzero" if stripped already; default: HD-BET')
    parser.add_argument("--contrast", choices=CONTRASTS, help="of the scan; default: its BIDS name's, else the model's")
    kinds = "ours, calibrated on healthy scans (default), or the paper's adaptive ensemble"
    parser.add_argument("--strategy", choices=MAP_KINDS, default="calibrated", help=kinds)
    parser.add_argument("--share", type=float, default=0.01, help="of healthy voxels above the threshold (0.01)")
    parser.add_argument("--threshold", type=float, help="a threshold of your own, instead")
    parser.add_argument("--template", help="template that the model's scans lie on, if it isn't MNI152")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default 0)")
    options = vars(parser.parse_args(arguments))
    scan, model, out = (options.pop(name) for name in ("scan", "model", "out"))
    try:
        finding = score_scan(scan, model, out, **options)
    except (OSError, ValueError) as error:
        reason = f"{error.filename}: {error.strerror}." if getattr(error, "strerror", None) else error
        sys.stderr.write(f"{reason}\n")
        return 1
    doubts = "".join(f"Beware: {doubt}\n" for doubt in finding["doubts"])
    sys.stdout.write(f"{scan}: {describe(finding)}\n{doubts}")
    sys.stdout.write(f"{out}: open viewer.html; all files are there. Not for diagnosis.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
