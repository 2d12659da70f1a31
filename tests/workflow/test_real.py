"""The list of public scans is complete, and it yields a table that essim.prepare takes."""

import hashlib
import re

import pandas as pd
import pytest
import real
import yaml
from fetch import Wanted
from study_folder import Study

from essim.data.own import read_own

SCANS = {"anna_T1.nii": b"a1", "bert_T1.nii": b"b1", "bert_lesions.nii": b"bl", "carl_T1.nii": b"c1"}


def group(names, **changes):
    files = {name: [len(SCANS[name]), hashlib.sha256(SCANS[name]).hexdigest()] for name in names}
    parts = {"{subject}_T1.nii": ["t1", "scans/{subject} 1.nii"], "{subject}_lesions.nii": ["seg", "{subject}.nii"]}
    fields = {"kind": "ms", "split": "test", "folder": "ms", "source": "Somewhere", "licence": "CC0", "odd": "Small."}
    more = {"citation": "Anybody, 2020", "repository": "who/what", "commit": "0" * 40}
    return fields | more | {"parts": parts, "files": files} | changes


@pytest.fixture
def place(tmp_path):
    """A manifest of three people, and a folder of their files, which stands in for the network."""
    groups = {
        "people": group(["anna_T1.nii"], kind="healthy", folder="well", people={"anna": [40, "f"]}),
        "patients": group(["bert_T1.nii", "bert_lesions.nii"]),
        "whole": group(["carl_T1.nii"], kind="raw", dataset="healthy", folder="heads"),
        "shapes": group(["bert_lesions.nii"], kind="mask", folder="masks"),
    }
    for own in groups.values():
        (tmp_path / "mine" / own["folder"]).mkdir(parents=True)
        for name in own["files"]:
            (tmp_path / "mine" / own["folder"] / name).write_bytes(SCANS[name])
    (tmp_path / "real.yaml").write_text(yaml.safe_dump(groups, sort_keys=False))
    return tmp_path


def run(place, *options):
    return real.main([str(place / "out"), "--manifest", str(place / "real.yaml"), *options])


# The manifest


def test_the_manifest_is_whole_and_small():
    groups = real.read_manifest()
    wanted = real.wanted_of(groups)
    assert sum(item.bytes for item in wanted) < 120e6
    assert len({item.file for item in wanted}) == len({item.sha256 for item in wanted}) == len(wanted)
    for item in wanted:
        assert re.fullmatch(r"https://raw\.githubusercontent\.com/[\w/.-]+/[0-9a-f]{40}/[\w/.%-]+", item.address)
        assert re.fullmatch("[0-9a-f]{64}", item.sha256)
    for own in groups.values():
        subjects = {real.part_of(own, file)[0] for file in own["files"]}
        assert set(own.get("people", subjects)) == subjects
    counts = {name: sum(own["kind"] == name for own in groups.values()) for name in ("healthy", "ms", "raw", "mask")}
    assert sum(counts.values()) == len(groups) and all(counts.values())


def test_an_address_is_encoded(place):
    wanted = real.wanted_of(real.read_manifest(place / "real.yaml"))
    text = f"https://raw.githubusercontent.com/who/what/{'0' * 40}/scans/anna%201.nii"
    sha256 = hashlib.sha256(b"a1").hexdigest()
    assert wanted[0] == Wanted(file="well/anna_T1.nii", address=text, bytes=2, sha256=sha256, group="people")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("licence: CC0", "license: CC0", "the group people has no `licence`; add it."),
        ("anna_T1.nii:", "anna.nii:", "anna.nii fits none of the parts of the group people"),
    ],
)
def test_a_wrong_manifest_is_one_sentence(place, capsys, old, new, said):
    text = (place / "real.yaml").read_text()
    (place / "real.yaml").write_text(text.replace(old, new))
    assert run(place) == 2
    assert said in capsys.readouterr().err and not (place / "out").exists()


# The table


def test_scans_become_a_table_of_ones_own(place, capsys):
    assert run(place, "--real", str(place / "mine")) == 0
    table, _ = read_own(place / "out/scans.csv")
    assert table[["dataset", "subject", "contrast", "mask"]].to_numpy().tolist() == [
        ["healthy", "anna", "t1", "nonzero"],
        ["ms", "bert", "t1", "nonzero"],
    ]
    assert (table.age.tolist()[0], table.sex.tolist()[0], set(table.site)) == (40, "f", {"Somewhere (CC0)"})
    assert table.seg.tolist() == ["", str(place / "out/ms/bert_lesions.nii")]
    said = capsys.readouterr().err
    assert "whole: carl left out of the study; a brain mask, <name>_brain.nii.gz, must lie beside a whole head." in said
    assert said.count("Cite: Anybody, 2020.") == 4


def test_a_whole_head_is_taken_with_a_brain_mask(place):
    run(place, "--real", str(place / "mine"))
    (place / "out/heads/carl_brain.nii.gz").write_bytes(b"")
    assert run(place) == 0
    table = pd.read_csv(place / "out/scans.csv")
    assert table[table.subject == "carl"]["mask"].tolist() == ["heads/carl_brain.nii.gz"]


def test_a_second_call_says_no_licence_again_and_leaves_the_table(place, capsys):
    run(place, "--real", str(place / "mine"))
    before, _ = (place / "out/scans.csv").stat().st_mtime_ns, capsys.readouterr()
    assert run(place) == 0
    assert (place / "out/scans.csv").stat().st_mtime_ns == before and "Cite" not in capsys.readouterr().err
    assert "Cite: Anybody, 2020." in (place / "out/LICENCES.md").read_text()


def test_what_is_missing_is_said_and_no_patient_stays_without_a_lesion(place, capsys, monkeypatch):
    monkeypatch.setattr(real, "ADDRESS", "http://127.0.0.1:9/")
    monkeypatch.setattr("fetch.TRIES_AGAIN", 0)
    (place / "mine/ms/bert_lesions.nii").unlink()
    assert run(place, "--real", str(place / "mine")) == 2
    said = capsys.readouterr().err
    assert "patients: 1 of 2 files (ms/bert_lesions.nii): 127.0.0.1:9 can't be reached." in said
    assert "patients: bert left out of the study; no lesion mask is there." in said
    assert f"{place}/out: healthy people and patients are needed, and one or both could not be obtained" in said
    assert not (place / "out/scans.csv").exists()


def test_a_folder_that_is_not_there_is_one_sentence(place, capsys):
    assert run(place, "--real", str(place / "yours")) == 2
    assert capsys.readouterr().err == f"real: {place}/yours: no such folder; correct REAL or leave it out.\n"


# The graph


def test_from_the_scans_to_the_notebook(tmp_path):
    study = Study.copied(tmp_path, "real")
    jobs = ("fetch_real", "prepare_real", "real_heads", "train", "healthy", "half_real")
    assert study.plan() == dict.fromkeys(jobs, 1), "a cohort is grown for nothing"
    commands = study.run("--dry-run", "--printshellcmds", "--quiet", "progress").stdout
    for notebook in ("11_real_heads", "02_train", "03_healthy", "12_half_real"):
        assert f"workflow.run_notebook notebooks/{notebook}.ipynb" in commands, "a rule that runs nothing"
    assert not {"fetch_real", "real_heads", "half_real"} & Study(tmp_path).plan().keys(), "no part of the study itself"
