"""The command line of prepare: a source and a folder in, an exit code out (essim prepare; python -m essim.prepare)."""

import argparse
import os
import sys
from pathlib import Path

from essim.prepare.folder import prepare


def main(arguments=None):
    """Bring scans to study space; returns the exit code: 0, 1 if a subject failed, 2 if nothing could be done, 130 on
    Ctrl-C."""
    text, example = "Bring raw scans to study space.", "example: essim prepare scans.csv prepared --voxel 2 --jobs 4"
    parser = argparse.ArgumentParser("essim prepare", description=text, epilog=example)
    parser.add_argument("source", metavar="SOURCE", help="a folder of data sets as downloaded, or a CSV of your scans")
    parser.add_argument("out", metavar="OUT", help="a new folder, or that of an earlier call, to resume it")
    parser.add_argument("--template", metavar="FILE", help="skull-stripped T1 template, such as SRI24's (MNI152)")
    parser.add_argument("--voxel", metavar="MM", type=float, default=1, help="voxel size in study space (1)")
    parser.add_argument(
        "--jobs", metavar="N", type=int, default=os.cpu_count(), help="subjects done at once (all cores)"
    )
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error("--jobs must be 1 or more")
    settings = {"template": options.template, "voxel_mm": options.voxel, "jobs": options.jobs}
    try:
        records, failures = prepare(options.source, options.out, **settings)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"prepare: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("prepare: stopped; run the same command again to continue.\n")
        return 130
    out, doubtful = Path(options.out), sum(bool(record["doubtful"]) for record in records)
    parts = [f"{len(records)} of {len(records) + len(failures)} subjects are in study space"]
    parts += [f"{doubtful} of them doubtful"] if doubtful else []
    parts += [f"{len(failures)} failed (see {out / 'failed.csv'})"] if failures else []
    sys.stdout.write(f"prepare: {', '.join(parts)}; look at {out / 'qc.html'}.\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
