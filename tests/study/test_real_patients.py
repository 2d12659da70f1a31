"""Half-real and real patients as a source of scans: who is in which part, whole or not at all."""

import numpy as np
import pandas as pd
import pytest
from test_transplants import SPOT, write_mask

import essim
from essim.cohort import mni
from essim.cohort.generate import CohortConfig, grow_subject
from essim.data.datasets import SCAN_COLUMNS
from essim.data.prepared import path_of
from essim.data.splits import write_splits
from essim.data.volumes import read_volume, save_nifti
from essim.runs.files import write_json
from essim.study.real_patients import gather_patients

WHO = {"anna": "train", "ben": "val", "cleo": "test", "dora": "test"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Four healthy controls and a patient in study space, and three masks of each kind."""
    folder = tmp_path_factory.mktemp("real")
    rows = []
    for number, (name, split) in enumerate([*WHO.items(), ("emil", "test")]):
        head, ill = grow_subject(CohortConfig(train=5, voxel_mm=4), "healthy", number), name == "emil"
        dataset = "ms" if ill else "healthy"
        lesion = head["mask"] * (np.indices(head["mask"].shape)[0] < 20)
        volumes = {"t1": head["t1"], "mask": head["mask"]} | ({"seg": lesion.astype(np.uint8)} if ill else {})
        for kind, volume in volumes.items():
            path = folder / "prepared" / path_of(dataset, name, kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_nifti(path, volume, mni.affine_of(4))
        known = {"dataset": dataset, "subject": name, "split": split, "contrast": "t1", "seg": ill, "age": 30 + number}
        rows.append(dict.fromkeys(SCAN_COLUMNS, "") | known)
    write_splits(pd.DataFrame(rows), folder / "prepared")
    write_json(folder / "prepared/source.json", {})
    for kind in ("ms", "stroke"):
        for number in range(3):
            write_mask(folder / f"masks/{kind}/{number}.nii.gz", SPOT + [0, 4 * number, 0], 11)
    return folder


def test_they_are_a_source_with_parts_that_have_nobody_in_common(prepared, tmp_path):
    out = tmp_path / "patients"
    made = gather_patients(prepared / "prepared", prepared / "masks", out, patients={"val": 1, "test": 2}, seed=0)
    scans = essim.load_scans(out)
    sets = scans.groupby(["dataset", "split"]).subject.apply(sorted).to_dict()
    assert sets["healthy", "val"] == ["anna"] and sets["healthy", "test"] == ["cleo", "dora"]
    assert sets["real_ms", "test"] == ["emil"] and ("real_ms", "val") not in sets
    half = made[made.dataset.str.startswith("half_real")]
    for kind in ("ms", "stroke"):
        assert sets[f"half_real_{kind}", "val"] == [f"val{kind}0000"] and len(sets[f"half_real_{kind}", "test"]) == 2
        own = half[half.dataset == f"half_real_{kind}"]
        assert set(own[own.split == "val"].person) == {"ben"}
        assert set(own[own.split == "test"].person) <= {"cleo", "dora"}
        assert own.lesion.nunique() == 3, "no lesion serves twice"
    assert all(read_volume(path)[0].any() for path in scans.seg if path)
    assert scans[scans.subject == "emil"].age.tolist() == [34]
    assert pd.read_csv(out / "patients.csv", keep_default_na=False, dtype=str).lesion.equals(made.lesion)
    again = gather_patients(prepared / "prepared", prepared / "masks", out, patients={"val": 1, "test": 2}, seed=0)
    assert again.lesion.equals(made.lesion)


def test_too_few_masks_leave_nothing(prepared, tmp_path):
    with pytest.raises(ValueError, match="masks/ms: has 3 lesion masks, 4 are needed; ask for fewer"):
        gather_patients(
            prepared / "prepared", prepared / "masks", tmp_path / "new", patients={"val": 1, "test": 3}, seed=0
        )
    assert not (tmp_path / "new").exists()
