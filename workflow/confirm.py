"""Grow the patients of `make confirm` into a data folder; resumes where it stopped.

    confirm.py DATA '{"seed": 14262, ...}' [--workers 2]

In: the fields of a CohortConfig as JSON. Out: a prepared folder, as 01_cohort grows it, without the pictures.
"""

import argparse
import json
import sys
from pathlib import Path

from essim.cohort.generate import CohortConfig, generate


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("cohort", type=json.loads, help="JSON")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args(words)
    try:
        generate(CohortConfig(**arguments.cohort), arguments.data, workers=arguments.workers)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"confirm: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
