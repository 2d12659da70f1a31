"""The whole of 10_seeds on written scores: what two seeds differ by, and what is ahead with each."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
BETTER = {0: 0.2, 1: 0.3}  # seed: by how much calibrated is ahead of l1


def write_scores(folder, gain):
    rows = [
        {"split": split, "dataset": "ms", "subject": f"{split}{i}", "method": method, "at_best": value}
        for split in ("val", "test")
        for i, l1 in enumerate((0.1, 0.2, 0.4))
        for method, value in (("l1", l1), ("calibrated", l1 + gain), ("segmenter", 0.9))
    ]
    (folder / "methods/dae").mkdir(parents=True)
    table = pd.DataFrame(rows).assign(protocol=0.0, reconstructor="dae")
    table.to_csv(folder / "methods/dae/scores.csv", index=False)


def test_two_seeds_are_set_side_by_side(tmp_path):
    runs = [{"seed": seed, "fold": 0, "results": str(tmp_path / f"run{seed}")} for seed in BETTER]
    for run in runs:
        write_scores(Path(run["results"]), BETTER[run["seed"]])
    given = {"results": str(tmp_path), "runs": runs, "datasets": ["ms"], "reconstructors": ["dae"]}
    command = [sys.executable, "workflow/warm_kernels.py", "-m", "workflow.run_notebook"]
    command += ["notebooks/10_seeds.ipynb", str(tmp_path / "executed.ipynb")]
    subprocess.run([*command, "--parameters", json.dumps(given)], check=True, cwd=ROOT, capture_output=True)
    table = pd.read_csv(tmp_path / "tables/methods_seeds.csv").set_index("method")
    mean = np.mean([0.1, 0.2, 0.4])
    np.testing.assert_allclose(table["mean"][["l1", "calibrated", "segmenter"]], [mean, mean + 0.25, 0.9])
    np.testing.assert_allclose(table.between_seeds[["l1", "calibrated"]], [0, np.std([0.2, 0.3], ddof=1)], atol=1e-12)
    said = (tmp_path / "executed.ipynb").read_text()
    assert "ms, dae: calibrated minus l1 is +0.200, +0.300." in said
    assert (tmp_path / "figures/methods_seeds.png").is_file()
