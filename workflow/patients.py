"""The patients of `make real` as a source of scans for other methods: data/real/patients, for `make methods DATA=...`.

    patients.py PREPARED MASKS OUT --val 6 --test 12 --seed 0    half-real patients of each kind; real ones as well

In: the public scans in study space, lesion masks in MNI space. Out: a folder, as in essim.study.real_patients.
"""

import argparse
import sys


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("prepared", "masks", "out"):
        parser.add_argument(name)
    for part in ("val", "test"):
        parser.add_argument(f"--{part}", type=int, required=True, help=f"half-real patients of each kind for {part}")
    parser.add_argument("--seed", type=int, required=True)
    asked = parser.parse_args(words)
    from essim.study.real_patients import gather_patients  # here: it takes seconds, which a wrong word should not

    try:
        patients = {"val": asked.val, "test": asked.test}
        table = gather_patients(asked.prepared, asked.masks, asked.out, patients=patients, seed=asked.seed)
    except (OSError, ValueError) as error:
        print(f"patients: {error}", file=sys.stderr)
        return 2
    counts = table.groupby(["dataset", "split"], sort=False).size()
    print(f"{asked.out}: " + ", ".join(f"{count} {name} ({split})" for (name, split), count in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
