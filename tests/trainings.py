"""What the tests of training share: the same result, and a training that is stopped."""

import pandas as pd

WEIGHTS = ["weights.safetensors", "weights_quarter.safetensors", "weights_sixteenth.safetensors"]


def files(out):
    return sorted(p.name for p in out.iterdir())


def assert_same_result(one, two):
    assert files(one) == files(two)
    for name in ["config.json", *WEIGHTS]:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    logs = [pd.read_csv(out / "log.csv").drop(columns=["seconds", "data_seconds"]) for out in (one, two)]
    pd.testing.assert_frame_equal(*logs, check_exact=True)
