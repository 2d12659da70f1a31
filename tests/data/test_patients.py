"""Who is a patient and who is healthy in a BIDS folder: nobody becomes healthy in silence."""

import json

import nibabel as nib
import pandas as pd
import pytest
from trees import bids, participants, place, quietly, scan, told

from essim.data.datasets import load_scans

# Where people put lesion masks, {s} being the subject; see KINDS of test_bids.py for more names.
LESIONS = """{s}/anat/{s}_T1w_label-lesion_roi derivatives/lesion_masks/{s}/anat/{s}_T1w_desc-lesion_mask
{s}/anat/{s}_label-lesion_mask {s}/anat/{s}_desc-lesion_mask derivatives/l/{s}/anat/{s}_space-T1w_label-lesion_mask
derivatives/l/{s}/anat/{s}_label-tumor_mask derivatives/l/{s}/anat/{s}_label-stroke_mask {s}/anat/{s}_lesion_mask
derivatives/l/{s}/anat/{s}_lesion-manual_T1w derivatives/l/{s}/anat/{s}_label-lesion_dseg
derivatives/l/{s}/anat/{s}_label-lesion_probseg derivatives/l/{s}/dwi/{s}_space-TRACE_desc-lesion_mask
lesions/{s}/anat/{s}_label-L_mask derivatives/l/{s}/{s}_FLAIR_label-WMH_mask""".split()


@pytest.mark.parametrize("form", LESIONS)
@pytest.mark.parametrize("table", [True, False])
def test_patients_by_the_names_of_their_lesion_masks(tmp_path, form, table):
    for i in range(1, 4):
        subject = f"sub-{i:02d}"
        bids(tmp_path, subject, "T1w")
        place(tmp_path, f"{form.format(s=subject)}.nii.gz")
    if table:
        participants(tmp_path, *(f"sub-{i:02d}\t60\tM\tpatient" for i in range(1, 4)))
    scans = quietly(tmp_path)
    assert set(scans.dataset) == {"patients"} and len(scans) == 3
    assert [path.rsplit("/", 1)[1][:6] for path in scans.seg] == ["sub-01", "sub-02", "sub-03"]


@pytest.mark.parametrize("group", ["patient", "control", ""])
def test_a_segmentation_that_does_not_say_of_what(tmp_path, group):
    """Tissues have that name as well: it is no lesion mask, and its owner is healthy only if a table says so."""
    for i in range(1, 4):
        bids(tmp_path, f"sub-0{i}", "T1w", "dseg")
    if group:
        participants(tmp_path, *(f"sub-0{i}\t60\tM\t{group}" for i in range(1, 4)))
    if group == "control":
        scans, said = told(tmp_path)
        assert scans.dataset.tolist() == ["healthy"] * 3
        assert "3 file(s) look like masks" in said and "sub-01_dseg.nii.gz; a lesion mask is called `_label" in said
    else:
        with pytest.raises(ValueError, match=r"no scan is left: 3 .*a mask that may be of lesions.*; 3 file\(s\) look"):
            load_scans(tmp_path)


def test_a_segmentation_beside_those_of_the_tissues_is_theirs(tmp_path):
    """As fMRIPrep writes them for everybody."""
    for i in range(1, 4):
        bids(tmp_path, f"sub-0{i}", "T1w", "dseg", "label-GM_probseg", "desc-brain_mask", "desc-aseg_dseg")
    participants(tmp_path, *(f"sub-0{i}\t60\tM\tcontrol" for i in range(1, 4)))
    scans = quietly(tmp_path)
    assert scans.dataset.tolist() == ["healthy"] * 3 and scans["mask"].str.endswith("desc-brain_mask.nii.gz").all()


@pytest.mark.parametrize(
    "column", ["group", "Diagnosis", "DX", "status", "participant_type", "clinical_group", "Group"]
)
def test_who_a_table_calls_something_else_is_not_healthy(tmp_path, column):
    for i in range(1, 5):
        bids(tmp_path, f"sub-0{i}", "T1w")
    lines = ["sub-01\tControl", "sub-02\tAD", "sub-03\tschizophrenia", "sub-04\tn/a"]
    participants(tmp_path, *lines, columns=f"participant_id\t{column}")
    scans, said = told(tmp_path)
    assert scans[["subject", "dataset"]].values.tolist() == [["sub-01", "healthy"]]
    assert "3 patients subject(s) without a lesion mask are left out" in said
    assert "1: participants.tsv calls them `AD`" in said and "1: participants.tsv says of others, but not" in said


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        ("group\tdiagnosis", ("control\tdepression", "control\tn/a")),  # one column contradicts the other
        ("group\tsession_id", ("HC\t1", "HC\t1", "AD\t2")),  # a converter: the lines of one person differ
        ("patient", ("yes", "no")),
        ("is_healthy", ("0", "1")),
        ("cohort", ("patients", "healthy volunteers")),
        ("group", ("HS", "HC")),  # hippocampal sclerosis
        ("group", ("2", "1")),  # the JSON file knows what it means
    ],
)
def test_columns_and_codes(tmp_path, columns, lines):
    """sub-01 is ill, sub-02 isn't."""
    for i in (1, 2):
        bids(tmp_path, f"sub-0{i}", "T1w")
    names = ["sub-01", "sub-02", "sub-01"]
    participants(tmp_path, *map("\t".join, zip(names, lines, strict=False)), columns=f"participant_id\t{columns}")
    levels = {"group": {"Levels": {"1": "healthy controls", "2": {"Description": "multiple sclerosis"}}}}
    (tmp_path / "participants.json").write_text(json.dumps(levels))
    scans, said = told(tmp_path)
    assert scans[["subject", "dataset"]].values.tolist() == [["sub-02", "healthy"]] and "1 patients subject(s)" in said


def test_healthy_people_without_any_table(tmp_path):
    for i in range(1, 8):
        bids(tmp_path, f"sub-0{i}", "T1w")
    scans, said = told(tmp_path)
    assert set(scans.dataset) == {"healthy"} and len(scans) == 7
    assert "nothing says who is healthy" in said and "7 BIDS subject(s) are taken as healthy; such a column" in said
    participants(tmp_path, *(f"sub-0{i}\t60\tM" for i in range(1, 8)), columns="participant_id\tage\tsex")
    assert "7 BIDS subject(s) are taken as healthy" in told(tmp_path)[1]  # a table without such a column
    participants(tmp_path, *(f"sub-0{i}\t60\tM\tn/a" for i in range(1, 8)))
    assert "7 BIDS subject(s) are taken as healthy" in told(tmp_path)[1]  # or one that is empty


def test_patients_alone_without_masks(tmp_path):
    for i in range(1, 8):
        bids(tmp_path, f"sub-0{i}", "T1w")
    participants(tmp_path, *(f"sub-0{i}\t60\tM\tpatient" for i in range(1, 8)))
    with pytest.raises(ValueError, match=r"no scan is left: 7 patients .*\(7: participants.tsv calls them `patient`\)"):
        load_scans(tmp_path)


def test_a_control_with_a_lesion_mask_is_a_patient(tmp_path):
    bids(tmp_path, "sub-01", "T1w", "label-lesion_mask")
    participants(tmp_path, "sub-01\t60\tM\tcontrol")
    scans, said = told(tmp_path)
    assert scans.dataset.tolist() == ["patients"] and "1 subject(s) with a lesion mask are called healthy" in said


def test_a_person_with_a_lesion_in_one_session_is_healthy_in_none(tmp_path):
    bids(tmp_path, "sub-01", "T1w", session="ses-1")
    bids(tmp_path, "sub-01", "T1w", "label-lesion_mask", session="ses-2")
    participants(tmp_path, "sub-01\t60\tM\tcontrol")
    assert told(tmp_path)[0].subject.tolist() == ["sub-01_ses-2"]


def test_raw_bids_of_healthy_people(tmp_path):
    for i in range(4):
        bids(tmp_path, f"sub-0{i}", "T1w", "T2w", "FLAIR")
    bids(tmp_path, "sub-04", "run-1_T1w", "run-2_T1w", "T2w")
    participants(tmp_path, "sub-00\t30\tF", "sub-01\tn/a\tM", "sub-02\t50\tn/a", columns="participant_id\tage\tsex")
    scans, said = told(tmp_path)
    assert "1 further file(s) of healthy subjects" in said
    assert "participants.tsv: 2 of 5 subject(s) aren't listed, such as sub-03" in said
    assert scans.contrast.tolist() == 4 * ["t1", "t2", "flair"] + ["t1", "t2"] and set(scans.dataset) == {"healthy"}
    assert "1 healthy subject(s) without flair are left out there" in said
    assert scans.image[12].endswith("sub-04_run-1_T1w.nii.gz")
    people = scans.drop_duplicates("subject")
    assert people.age.tolist() == [30, "", 50, "", ""] and people.sex.tolist() == ["f", "m", "", "", ""]


def test_bids_derivatives_with_masks_and_sessions(tmp_path):
    for session in ("ses-01", "ses-02"):
        bids(tmp_path, "sub-p1", "desc-preproc_T1w", "desc-brain_mask", "label-lesion_mask", session=session)
    bids(tmp_path, "sub-p2", "space-orig_T2w", "space-orig_desc-brain_mask", "space-orig_label-lesion_dseg")
    bids(tmp_path, "sub-c1", "desc-preproc_T1w", "desc-brain_mask")
    bids(tmp_path, "sub-x1", "desc-preproc_T1w", "desc-brain_mask")
    table = pd.DataFrame({"participant_id": ["sub-c1", "sub-x1"], "group": ["Control", "patient"]})
    table.to_csv(tmp_path / "participants.tsv", sep="\t", index=False)
    scans, said = told(tmp_path)
    assert "1 patients subject(s) without a lesion mask are left out" in said
    assert dict(zip(scans.subject, scans.dataset, strict=True)) == {
        "sub-c1": "healthy",
        "sub-p1_ses-01": "patients",
        "sub-p1_ses-02": "patients",
        "sub-p2": "patients",
    }
    assert scans.split[scans.subject.str.startswith("sub-p1")].nunique() == 1
    assert all(path.endswith("desc-brain_mask.nii.gz") for path in scans["mask"])
    assert (scans.seg[scans.dataset == "patients"] != "").all()


def test_bids_data_sets_with_subjects_of_one_name_are_refused(tmp_path):
    """One would have the scan, the other the lesion."""
    bids(tmp_path / "controls/rawdata", "sub-01", "T1w")
    bids(tmp_path / "controls/derivatives/lesions", "sub-01", "label-lesion_mask")
    bids(tmp_path / "patients", "sub-02", "T1w", "label-lesion_mask")
    assert load_scans(tmp_path).subject.tolist() == ["sub-01", "sub-02"]
    for more in (("label-lesion_mask",), ("T1w",)):
        bids(tmp_path / "patients", "sub-01", *more)
        with pytest.raises(
            ValueError, match=r"controls/.* and .*patients/.*: two data sets have a sub-01; give"
        ) as error:
            load_scans(tmp_path)
        assert "\n" not in str(error.value)


def test_a_table_is_about_its_own_data_set(tmp_path):
    """`1` of the controls is not sub-01 of the patients."""
    bids(tmp_path / "a", "sub-1", "T1w")
    bids(tmp_path / "b", "sub-01", "T1w")
    participants(tmp_path / "a", "sub-1\t60\tM\tcontrol")
    participants(tmp_path / "b", "sub-01\t60\tM\tstroke")
    assert told(tmp_path)[0][["subject", "dataset"]].values.tolist() == [["sub-1", "healthy"]]


def test_a_mask_that_fits_none_of_the_images(tmp_path):
    bids(tmp_path, "sub-01", "T1w", "T2w")
    participants(tmp_path, "sub-01\t60\tM\tcontrol")
    scan(tmp_path / "sub-01/anat/sub-01_T2w.nii.gz", (9, 9, 4))
    scan(tmp_path / "sub-01/anat/sub-01_desc-brain_mask.nii.gz")
    assert len(quietly(tmp_path)) == 2  # that of the T1
    scan(tmp_path / "sub-01/anat/sub-01_desc-brain_mask.nii.gz", (5, 5, 5))
    with pytest.raises(ValueError, match=r"sub-01_desc-brain_mask.nii.gz: does not fit its image \(\[5, 5, 5\]"):
        load_scans(tmp_path)


def test_orientation_is_no_difference(tmp_path):
    """A mask stored LPS beside an image stored RAS: the same grid."""
    bids(tmp_path, "sub-01", "T1w")
    participants(tmp_path, "sub-01\t60\tM\tcontrol")
    image = nib.load(tmp_path / "sub-01/anat/sub-01_T1w.nii.gz")
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt("PIL"))
    nib.save(image.as_reoriented(turn), tmp_path / "sub-01/anat/sub-01_desc-brain_mask.nii.gz")
    assert len(quietly(tmp_path)) == 1


def test_lesion_masks_of_people_without_images_are_lesion_masks(tmp_path):
    """Of a set of patients only some images are there: the others aren't healthy by it."""
    bids(tmp_path, "sub-01", "label-lesion_mask")
    bids(tmp_path, "sub-02", "T1w")
    with pytest.raises(ValueError, match=r"no scan is left: 1 patients .*\(1: others have lesion masks\); 1 subject"):
        load_scans(tmp_path)
