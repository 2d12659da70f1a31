"""The command line of calibrate: healthy scans, a model and a folder in, an exit code out (essim calibrate)."""

import argparse
import os
import sys

from essim.calibrate.own import ENOUGH, calibrate

ABOUT = f"""A few healthy scans of your own -> thresholds that hold for your scanner.

2 healthy people are enough; with 9, the promise holds for 9 in 10 new scans. From {ENOUGH} on, a calibration (what
healthy brains show at every place) is also made from the scans; it replaces the model's if it makes them more alike.
The network must not have been trained on these people."""
EXAMPLE = """example:
  essim calibrate healthy.csv --model anatomies_t1 --out my_scanner
  essim score sub-01_T1w.nii.gz --mask sub-01_brain.nii.gz --model my_scanner"""


def main(arguments=None):
    """Calibrate; returns the exit code: 0, also where a scan was left out, or 1 with a sentence on stderr."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("essim calibrate", description=ABOUT, epilog=EXAMPLE, formatter_class=raw)
    text = "a folder or a table of healthy scans with their masks, raw or in study space, as `essim prepare` takes it"
    parser.add_argument("healthy", metavar="HEALTHY", help=text)
    parser.add_argument("--model", required=True, help="model folder, or the name of one that `essim models` lists")
    parser.add_argument("--out", required=True, help="model folder to write; the scans in study space go beside it")
    parser.add_argument("--jobs", metavar="N", type=int, default=os.cpu_count(), help="scans at once (all cores)")
    parser.add_argument("--template", metavar="FILE", help="template that the model's scans were placed on (MNI152)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (0)")
    options = vars(parser.parse_args(arguments))
    if options["jobs"] < 1:
        parser.error("--jobs must be 1 or more")
    out = options["out"]
    try:
        result = calibrate(options.pop("healthy"), options.pop("model"), options.pop("out"), **options)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"calibrate: {error}\n")
        return 1
    for _, subject, reason in result["left_out"]:
        sys.stderr.write(f"{subject} is left out: {reason}\n")
    levels = ", ".join(f"{share:.0%} above {level:.3g}" for share, level in result["thresholds"]["calibrated"].items())
    few = f"one made from the scans needs {ENOUGH} of them"
    why = few if result["scans"] < ENOUGH else "with one made from the scans, they differ more from each other"
    whose = "made from the scans" if result["own_calibration"] else f"taken from the model: {why}"
    sys.stdout.write(f"{result['promise']}\n{levels}; with a calibration {whose}.\n")
    sys.stdout.write(
        f"{out}: score with --model {out}. The scans lie in {out}_scans; look at prepared/qc.html there.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
