"""`make verify`: equal results agree, and each kind of difference is found and named."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from verify import main

VERIFY = Path(__file__).resolve().parents[2] / "workflow/verify.py"


def verify(*words):
    """The exit status of the script and what it says, in this process."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            return main([str(word) for word in words]), said.getvalue()
        except SystemExit as end:  # with a sentence, which Python itself would print
            return 1, f"{said.getvalue()}{end}"


def write_results(folder, shift=0.0):
    tables = folder / "tables"
    tables.mkdir(parents=True)
    main = pd.DataFrame({"dataset": ["ms", "wmh"], "method": ["l1", "l1"], "auprc": [0.1 + shift, 0.2]})
    main.to_csv(tables / "main.csv", index=False)
    pd.DataFrame({"method": ["mean"], "regret": [0.05]}).to_csv(tables / "regret.csv", index=False)
    curve = pd.DataFrame({"dataset": ["ms"] * 2, "sigma": [0.3, 1.7], "auprc": [0.1, float("nan")]})
    curve.to_csv(tables / "ablation.csv", index=False)
    return folder


def test_of_the_confirmatory_run_its_own_tables_are_kept_and_compared(tmp_path):
    tables = tmp_path / "results/tables"
    tables.mkdir(parents=True)
    pd.DataFrame({"claim": ["a"], "dataset": ["ms"], "p_holm": [0.01], "verdict": ["open"]}).to_csv(
        tables / "confirm.csv"
    )
    (tables / "confirm.md").write_text("In words.")
    pd.DataFrame({"dataset": ["ms"], "method": ["l1"], "at_best": [0.1]}).to_csv(
        tables / "confirm_means.csv", index=False
    )
    regret = pd.DataFrame({"column": ["at_best"], "method": ["l1"], "regret": [0.2]})
    regret.to_csv(tables / "confirm_regret.csv", index=False)
    (tables / "confirm_scores.csv").write_text("one row a patient")
    assert verify("keep", tmp_path / "results", tmp_path / "reference")[0] == 0
    kept = {path.name for path in (tmp_path / "reference/tables").iterdir()}
    assert kept == {"confirm.csv", "confirm.md", "confirm_means.csv", "confirm_regret.csv"}
    assert verify("check", tmp_path / "results", tmp_path / "reference")[0] == 0
    regret.assign(regret=0.4).to_csv(tables / "confirm_regret.csv", index=False)
    assert verify("check", tmp_path / "results", tmp_path / "reference")[0] == 1


def test_of_the_methods_on_real_patients_no_picture_of_a_scan_is_kept(tmp_path):
    results = tmp_path / "results"
    for name in ("tables", "figures"):
        (results / name).mkdir(parents=True)
    grid = pd.DataFrame({"reconstructor": ["dae"], "dataset": ["real_ms"], "method": ["l1"], "auprc": [0.1]})
    grid.to_csv(results / "tables/methods_grid.csv", index=False)
    for name in ("methods", "methods_grid", "methods_dae", "reconstruction_real_ms"):
        (results / f"figures/{name}.png").write_bytes(b"picture")
    assert verify("keep", results, tmp_path / "reference")[0] == 1, "the study itself has not run"
    assert verify("patients", results, tmp_path / "reference")[0] == 0
    kept = {path.relative_to(tmp_path / "reference").as_posix() for path in (tmp_path / "reference").rglob("*.*")}
    assert kept == {"tables/methods_grid.csv", "figures/methods.png", "figures/methods_grid.png"}


def test_it_is_a_script(tmp_path):
    command = [sys.executable, VERIFY, "check", write_results(tmp_path / "new", 0.1)]
    same, other = (
        subprocess.run([*command, reference], capture_output=True, text=True, check=False)
        for reference in (tmp_path / "new", write_results(tmp_path / "old"))
    )
    assert same.returncode == 0 and not same.stderr
    assert other.returncode == 1 and "main | ms l1 | auprc" in other.stdout and not other.stderr


@pytest.fixture
def reference(tmp_path):
    """A reference with tolerances from three seeds; auprc of ms varies by 0.02 (standard deviation)."""
    seeds = [write_results(tmp_path / f"seed{i}", shift) for i, shift in enumerate((-0.02, 0.0, 0.02))]
    assert verify("keep", seeds[1], tmp_path / "reference")[0] == 0
    assert verify("fit", tmp_path / "reference", *seeds)[0] == 0
    return tmp_path / "reference"


def test_tolerances_follow_from_the_seeds(reference):
    table = pd.read_csv(reference / "tolerances.csv", index_col=["table", "row", "column"])
    row = table.loc[("main", "ms l1", "auprc")]
    assert row["mean"] == pytest.approx(0.1)
    assert row["deviation"] == pytest.approx(0.02)
    assert row["tolerance"] == pytest.approx(0.01 + 3 * 2**0.5 * 0.02, abs=1e-5)
    assert table.loc[("regret", "mean", "regret"), "tolerance"] == pytest.approx(0.01)


def write_methods(folder, values):
    """Results with a number for each of many methods of one set."""
    frame = pd.DataFrame({"dataset": "ms", "method": [f"m{i}" for i in range(len(values))], "auprc": values})
    frame.to_csv(write_results(folder) / "tables/main.csv", index=False)
    return folder


def test_a_number_that_happened_to_stay_may_move_as_its_neighbours_do(tmp_path):
    shifts = [[-0.02, 0, 0.02], [0, 0, 0]]  # of two methods, over the seeds: 0.02 / sqrt(2) for both
    seeds = [write_methods(tmp_path / f"s{i}", [0.5 + shift[i] for shift in shifts]) for i in range(3)]
    assert verify("fit", tmp_path, *seeds)[0] == 0
    table = pd.read_csv(tmp_path / "tolerances.csv", index_col=["table", "row", "column"]).loc["main"]
    assert table.tolerance.tolist() == pytest.approx([0.01 + 3 * 2**0.5 * 0.02, 0.01 + 3 * 0.02], abs=1e-5)


@pytest.mark.parametrize(("shift", "agrees"), [(0.05, True), (0.2, False)])
def test_a_number_that_came_after_the_tolerances_may_move_as_its_neighbours_do(tmp_path, shift, agrees):
    seeds = [write_methods(tmp_path / f"s{i}", [0.5 + step] * 2) for i, step in enumerate((-0.02, 0, 0.02))]
    assert verify("fit", tmp_path / "reference", *seeds)[0] == 0
    later = write_methods(tmp_path / "later", [0.5] * 3)
    assert verify("keep", later, tmp_path / "reference")[0] == 0
    code, text = verify("check", write_methods(tmp_path / "new", [0.5, 0.5, 0.5 + shift]), tmp_path / "reference")
    assert (code == 0) == agrees and "missing" not in text


@pytest.mark.parametrize(("out", "agrees"), [(2, True), (3, False)])
def test_one_in_fifty_may_be_out_by_chance(tmp_path, out, agrees):
    """Of 100 methods, and the three numbers of the other tables."""
    reference = write_methods(tmp_path / "reference", [0.5] * 100)
    code, text = verify("check", write_methods(tmp_path / "new", [0.9] * out + [0.5] * (100 - out)), reference)
    assert (code == 0) == agrees
    assert text.count("0.9000, reference 0.5000") == out and "by chance 2% may not" in text


def test_fewer_than_three_seeds_are_refused(reference, tmp_path):
    code, text = verify("fit", reference, tmp_path / "seed0", tmp_path / "seed1")
    assert code != 0 and "at least three" in text


@pytest.mark.parametrize(
    ("shift", "agrees"), [(0.0, True), (0.094, True), (-0.094, True), (0.095, False), (-0.095, False)]
)
def test_both_sides_of_a_tolerance(reference, tmp_path, shift, agrees):
    code, text = verify("check", write_results(tmp_path / "new", shift), reference)
    assert (code == 0) == agrees
    assert ("main | ms l1 | auprc" in text) == (not agrees)


@pytest.mark.parametrize(("shift", "agrees"), [(0.009, True), (-0.011, False)])
def test_without_tolerances_the_floor_is_taken(reference, tmp_path, shift, agrees):
    (reference / "tolerances.csv").unlink()
    code, text = verify("check", write_results(tmp_path / "new", shift), reference)
    assert (code == 0) == agrees
    assert "0.01 is used for every number, until `make tolerances` writes it" in text


@pytest.mark.parametrize(
    ("table", "change", "named"),
    [
        ("main", lambda frame: frame.iloc[:1], "main | wmh l1 | auprc: missing in the results"),
        ("main", lambda frame: frame.assign(auprc=[float("nan"), 0.2]), "main | ms l1 | auprc: missing in the results"),
        ("regret", lambda frame: frame.assign(method="min"), "regret | min | regret: missing in the reference"),
        ("ablation", lambda frame: frame.assign(sigma=0.3), "two rows are called `ms 0.3`"),
        ("ablation", None, "ablation.csv: no such file"),
    ],
)
def test_what_is_missing_is_named(reference, tmp_path, table, change, named):
    path = write_results(tmp_path / "new") / f"tables/{table}.csv"
    if change is None:
        path.unlink()
    else:
        change(pd.read_csv(path)).to_csv(path, index=False)
    code, text = verify("check", tmp_path / "new", reference)
    assert code != 0
    assert named in text


def write_real(folder, shift=0.0, patients=("19",)):
    """Results of `make real`: a healthy person and patients, half-real and real means, pictures."""
    for name in ("tables", "figures"):
        (folder / name).mkdir(parents=True)
    heads = [{"subject": "sub-03", "age": 47.0, "method": "l1", "marked": 0.01 + shift}]
    heads += [{"subject": name, "age": None, "method": "l1", "marked": 0.1} for name in patients]
    pd.DataFrame(heads).to_csv(folder / "tables/real_heads.csv", index=False)
    rows = [("half-real", 0.3, 27), ("real", 0.5 / len(patients), len(patients))]
    means = pd.DataFrame(rows, columns=["patients", "auprc", "subjects"]).assign(dataset="ms", method="l1")
    means.to_csv(folder / "tables/real_transplants.csv", index=False)
    for name in ("score_over_sigma", "patients"):
        (folder / f"figures/{name}.png").write_bytes(b"")
    return folder


def test_of_public_scans_those_are_compared_that_both_have(tmp_path):
    assert verify("keep", write_real(tmp_path / "one"), tmp_path / "reference")[0] == 0
    assert [path.name for path in (tmp_path / "reference/figures").iterdir()] == ["score_over_sigma.png"], "no scan's"
    code, text = verify("check", write_real(tmp_path / "more", patients=("07", "19", "26")), tmp_path / "reference")
    assert code == 0 and "missing" not in text
    code, text = verify("check", write_real(tmp_path / "other", shift=0.02), tmp_path / "reference")
    assert code != 0 and "real_heads | sub-03 l1 | marked: 0.0300, reference 0.0100" in text


def test_release_halves_the_weights_and_takes_what_scoring_needs(tmp_path):
    networks = [f"{name}.safetensors" for name in ("weights", "ae", "vae")]
    beside = ["config.json", "log.csv", "scoring.json", "calibration.safetensors"]
    beside += ["ae.json", "ae.csv", "vae.json", "vae.csv"]
    for contrast, finished in (("t1", True), ("t2", False)):
        model = tmp_path / f"tiny/models/{contrast}"
        model.mkdir(parents=True)
        for i, name in enumerate(networks):
            save_file({"w": torch.arange(5) / (7 + i)}, model / name)
        for name in [*beside, "weights_quarter.safetensors"]:
            (model / name).write_text(name)
        if not finished:
            (model / "vae.json").unlink()
    assert verify("release", tmp_path / "tiny", tmp_path / "models/tiny")[0] == 0
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["tiny_t1"]
    released = tmp_path / "models/tiny_t1"
    assert sorted(p.name for p in released.iterdir()) == sorted(networks + beside)
    for i, name in enumerate(networks):
        weights = load_file(released / name)["w"]
        assert weights.dtype == torch.float16
        assert torch.allclose(weights.float(), torch.arange(5) / (7 + i), atol=5e-4)
    code, text = verify("release", tmp_path / "nothing", tmp_path / "models/tiny")
    assert code != 0 and "has no folder with all of weights.safetensors, ae.safetensors" in text


def test_the_methods_networks_are_released_without_what_scoring_needs(tmp_path):
    folder = tmp_path / "tiny/methods/models/dae_t2"
    folder.mkdir(parents=True)
    save_file({"w": torch.arange(5) / 7}, folder / "weights.safetensors")
    for name in ("config.json", "log.csv", "weights_quarter.safetensors"):
        (folder / name).write_text(name)
    assert verify("methods", tmp_path / "tiny", tmp_path / "models/methods")[0] == 0
    released = tmp_path / "models/methods/dae_t2"
    assert sorted(path.name for path in released.iterdir()) == ["config.json", "log.csv", "weights.safetensors"]
    assert load_file(released / "weights.safetensors")["w"].dtype == torch.float16
    code, text = verify("methods", tmp_path / "nothing", tmp_path / "models/methods")
    assert code != 0 and "has no network; run `make methods` first" in text
