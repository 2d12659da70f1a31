"""BIDS folders: what a file is by its name, and which image, brain mask and lesion mask belong together."""

import re
from pathlib import Path

import pytest
from trees import participants, place, quietly, told

from essim.data.bids import contrast_of, read_name
from essim.data.datasets import load_scans

KINDS = {
    "t1": "T1w run-1_T1w part-mag_T1w desc-preproc_T1w ce-gad_T1w acq-SPACE_T1w t1w rec-norm_T1w",
    "t2": "T2w acq-posterior_T2w space-MNI152NLin2009cAsym_T2w",
    "flair": "FLAIR flair acq-3D_run-1_FLAIR space-T1w_desc-preproc_FLAIR",
    "seg": "T1w_label-lesion_roi T1w_desc-lesion_mask label-lesion_mask desc-lesion_mask space-T1w_label-lesion_mask "
    "label-tumor_mask label-tumour_dseg label-stroke_mask lesion_mask lesion-manual_T1w label-lesion_dseg "
    "label-lesion_probseg label-L_mask label-L_desc-T1lesion_mask space-TRACE_desc-lesion_mask LESION_seg lesion "
    "acq-spc3p2_run-3_T2w_desc-lesion_mask T1w_label-acutelesion_roi T1w_label-lesion_roi_dwi lesionmask T1w_lesion "
    "label-WMH_dseg rater-2_label-lesion_mask label-superiorlesion_mask label-freesurferlesion_mask desc-lesion_msk "
    "label-contrastenhancinglesion_mask label-nonenhancingtumor_mask seg-lesion_mask label-infarct_roi label-ms_mask "
    "desc-lesions_dseg label-hemorrhage_mask label-haematoma_mask label-oedema_dseg label-FCD_roi FLAIR_lesion_mask",
    "mask": "desc-brain_mask label-brain_mask T1w_brainmask brain_mask T1w_bet_mask desc-brain_msk brainmask",
    "unclear": "dseg mask roi seg msk probseg acq-T2sel_FLAIR_roi label-nonlesion_mask label-perilesional_mask "
    "desc-nonlesion_mask label-contralesional_mask desc-lesionfree_mask label-nolesion_mask desc-lesion_T1w",
    "unknown": "label-hippocampus_mask label-thalamus_roi desc-electrodes_mask atlas-AAL_label-x_dseg",
    "tissue": "label-CSF_probseg label-GM_mask desc-aseg_dseg desc-aparcaseg_dseg desc-head_mask mod-T1w_defacemask",
    "": "part-phase_T1w part-real_T1w part-phase_FLAIR FLAIR_brain UNIT1 inv-1_MP2RAGE desc-lesionfilled_T1w T1w_brain "
    "label-brain_dseg task-rest_desc-brain_mask task-rest_bold hemi-L_T1w desc-inpainted_T1w T1map dwi",
}


@pytest.mark.parametrize(("kind", "ending"), [(kind, name) for kind, text in KINDS.items() for name in text.split()])
def test_what_a_name_says(kind, ending):
    name = read_name(Path(f"sub-01/ses-2/anat/sub-01_{ending}.nii.gz"))
    assert (name.kind, name.subject, name.session) == (kind, "sub-01", "2")


def test_names_of_subjects_and_sessions():
    def read(path):
        name = read_name(Path(path))
        return name and (name.subject, name.session)

    assert read("sub-01_ses-pre_T1w.nii") == ("sub-01", "pre") and read("sub-MSC-01_T1w.mgz") == ("sub-MSC-01", "")
    assert read("sub-01_2_T1w.nii.gz") == ("sub-01_2", "")  # two people, not two runs
    assert read("sub-01_T1w.json") is None and read("01_T1w.nii.gz") is None
    assert read_name(Path("sub-01/func/sub-01_desc-brain_mask.nii.gz")).kind == ""
    assert read_name(Path("sub-01/dwi/sub-01_desc-lesion_mask.nii.gz")).kind == "seg"


@pytest.mark.parametrize(
    ("agent", "ending"),
    [
        *((True, name) for name in ("ce-gadolinium", "acq-postGd", "acq-post", "acq-T1ce", "acq-contrast", "ce-x")),
        *((True, name) for name in ("acq-mprageGd", "rec-KM", "acq-postcontrast", "desc-enhanced", "acq-ceMPRAGE")),
        *((False, name) for name in ("ce-none", "acq-preGd", "acq-noncontrast", "acq-posterior", "acq-postop")),
        *((False, name) for name in ("acq-SPACE", "rec-norm", "acq-highcontrast", "acq-cerebellum", "run-1")),
    ],
)
def test_contrast_agent(agent, ending):
    assert read_name(Path(f"sub-01_{ending}_T1w.nii.gz")).agent == agent


A = "sub-01/anat/sub-01"
F, L, M = f"derivatives/fmriprep/{A}", f"derivatives/l/{A}", "space-MNI152NLin2009cAsym"
# {what: (files; the t1, t2, mask and seg that are taken, "" for none; what is said)}
PAIRS = {
    "mask of run 2": (
        f"{A}_run-1_T1w {A}_run-2_T1w {L}_run-2_desc-brain_mask {L}_run-2_label-lesion_mask",
        (f"{A}_run-2_T1w", "", f"{L}_run-2_desc-brain_mask", f"{L}_run-2_label-lesion_mask"),
        "its lesion mask (sub-01/anat/sub-01_run-2_T1w.nii.gz, not sub-01/anat/sub-01_run-1_T1w.nii.gz)",
    ),
    "mask of run 02": (
        f"{A}_run-1_T1w {A}_run-2_T1w {L}_run-02_label-lesion_mask",
        (f"{A}_run-2_T1w", "", "", f"{L}_run-02_label-lesion_mask"),
        "its lesion mask",
    ),
    "brain mask of run 1, lesion of run 2": (
        f"{A}_run-1_T1w {A}_run-2_T1w {L}_run-1_desc-brain_mask {L}_run-2_label-lesion_mask",
        (f"{A}_run-2_T1w", "", "", f"{L}_run-2_label-lesion_mask"),
        "its lesion mask",
    ),
    "as on OpenNeuro: the T2's own acquisition and run": (
        f"{A}_acq-tfl3_run-4_T1w {A}_acq-spc_run-3_T2w {A}_acq-spc_run-9_T2w {L}_acq-spc_run-3_T2w_desc-lesion_mask",
        (f"{A}_acq-tfl3_run-4_T1w", f"{A}_acq-spc_run-3_T2w", "", f"{L}_acq-spc_run-3_T2w_desc-lesion_mask"),
        "its lesion mask",
    ),
    "FLAIR's lesion, with a run of its own": (
        f"{A}_run-1_T1w {A}_run-2_FLAIR_label-lesion_mask",
        (f"{A}_run-1_T1w", "", "", f"{A}_run-2_FLAIR_label-lesion_mask"),
        "",
    ),
    "run 10 is not before run 2": (
        f"{A}_run-10_T1w {A}_run-2_T1w {L}_label-lesion_mask",
        (f"{A}_run-2_T1w", "", "", f"{L}_label-lesion_mask"),
        "first by name",
    ),
    "contrast agent": (
        f"{A}_ce-gadolinium_T1w {A}_run-1_T1w {L}_label-lesion_mask",
        (f"{A}_run-1_T1w", "", "", f"{L}_label-lesion_mask"),
        "no contrast agent",
    ),
    "a lesion drawn on the scan with contrast agent": (
        f"{A}_ce-gd_T1w {A}_T1w {A}_ce-gd_T1w_label-tumor_mask",
        (f"{A}_T1w", "", "", f"{A}_ce-gd_T1w_label-tumor_mask"),
        "no contrast agent",
    ),
    "contrast agent only": (
        f"{A}_acq-postGd_T1w {L}_label-lesion_mask",
        (f"{A}_acq-postGd_T1w", "", "", f"{L}_label-lesion_mask"),
        "1 patients subject(s) have a scan with contrast agent only, and it is taken",
    ),
    "magnitude and phase": (
        f"{A}_part-mag_T1w {A}_part-phase_T1w {L}_label-lesion_mask",
        (f"{A}_part-mag_T1w", "", "", f"{L}_label-lesion_mask"),
        "",
    ),
    "fMRIPrep beside raw": (
        f"{A}_T1w {F}_desc-preproc_T1w {F}_desc-brain_mask {F}_{M}_desc-preproc_T1w {F}_{M}_desc-brain_mask "
        f"{F}_label-lesion_mask",
        (f"{F}_desc-preproc_T1w", "", f"{F}_desc-brain_mask", f"{F}_label-lesion_mask"),
        "3 further file(s) of patients subjects (other runs or spaces) are unused",
    ),
    "raw before a template's space": (
        f"{A}_T1w {F}_{M}_desc-preproc_T1w {L}_label-lesion_mask",
        (f"{A}_T1w", "", "", f"{L}_label-lesion_mask"),
        "1 further",
    ),
    "a template's space where the masks are": (
        f"{A}_T1w {F}_{M}_desc-preproc_T1w {F}_{M}_desc-preproc_T2w {L}_{M}_label-lesion_mask {A}_T2w",
        (f"{F}_{M}_desc-preproc_T1w", f"{F}_{M}_desc-preproc_T2w", "", f"{L}_{M}_label-lesion_mask"),
        "2 further",
    ),
    "both contrasts in one space": (
        f"{A}_T1w {F}_{M}_T2w {L}_label-lesion_mask",
        (f"{A}_T1w", "", "", f"{L}_label-lesion_mask"),
        "one space for all contrasts",
    ),
    "raw before sourcedata": (
        f"{A}_T1w sourcedata/{A}_T1w {L}_label-lesion_mask",
        (f"{A}_T1w", "", "", f"{L}_label-lesion_mask"),
        "raw data",
    ),
    "two raters": (
        f"{A}_T1w derivatives/r1/{A}_desc-lesion_mask derivatives/r2/{A}_desc-lesion_mask",
        (f"{A}_T1w", "", "", f"derivatives/r1/{A}_desc-lesion_mask"),
        "the first of several lesion masks (derivatives/r1/",
    ),
    "the whole before its parts": (
        f"{A}_T1w {L}_desc-lesionAcute_mask {L}_desc-lesionChronic_mask {L}_desc-lesion_mask",
        (f"{A}_T1w", "", "", f"{L}_desc-lesion_mask"),
        "2 further",
    ),
    "drawn before probable": (
        f"{A}_T1w {L}_label-lesion_probseg {L}_label-lesion_mask",
        (f"{A}_T1w", "", "", f"{L}_label-lesion_mask"),
        "1 further",
    ),
    "beside the lesion": (
        f"{A}_T1w {L}_label-perilesional_mask {L}_label-lesion_mask",
        (f"{A}_T1w", "", "", f"{L}_label-lesion_mask"),
        "1 file(s) look like masks, but not of lesions or brains, and are unused, such as derivatives/l/",
    ),
    "a stripped image": (
        f"{A}_desc-brain_T1w {L}_label-lesion_mask",
        (f"{A}_desc-brain_T1w", "", "nonzero", f"{L}_label-lesion_mask"),
        "",
    ),
}


@pytest.mark.parametrize(("files", "taken", "said"), PAIRS.values(), ids=PAIRS)
def test_which_file_belongs_to_which(tmp_path, files, taken, said):
    for name in files.split():
        place(tmp_path, f"{name}.nii.gz")
    table, text = told(tmp_path)
    assert (said in text) if said else not text
    assert set(table.dataset) == {"patients"} and set(table.subject) == {"sub-01"}
    images = dict(zip(table.contrast, table.image, strict=True))
    row = table.iloc[0]
    found = (images.get("t1", ""), images.get("t2", ""), row["mask"], row.seg)
    assert tuple(path.removeprefix(f"{tmp_path}/").removesuffix(".nii.gz") for path in found) == taken


# {what: (files, those that are taken: t1, flair, mask, seg)}
WITH_FLAIR = {
    "a lesion that was drawn on the FLAIR": (
        f"{A}_T1w {A}_FLAIR {A}_FLAIR_label-lesion_mask",
        (f"{A}_T1w", f"{A}_FLAIR", "", f"{A}_FLAIR_label-lesion_mask"),
    ),
    "a FLAIR alone": (f"{A}_FLAIR {L}_label-lesion_mask", ("", f"{A}_FLAIR", "", f"{L}_label-lesion_mask")),
    "the T1's masks before the FLAIR's": (
        f"{A}_acq-x_T1w {A}_FLAIR {L}_acq-x_T1w_brainmask {L}_FLAIR_brainmask {L}_acq-x_T1w_lesion {L}_FLAIR_lesion",
        (f"{A}_acq-x_T1w", f"{A}_FLAIR", f"{L}_acq-x_T1w_brainmask", f"{L}_acq-x_T1w_lesion"),
    ),
    "the T1's space before the FLAIR's": (
        f"{F}_{M}_T1w {A}_FLAIR {F}_{M}_label-lesion_mask {A}_label-lesion_mask",
        (f"{F}_{M}_T1w", "", "", f"{F}_{M}_label-lesion_mask"),
    ),
    "a stripped T1 without a mask before a FLAIR with its skull": (
        f"{A}_desc-brain_T1w {A}_FLAIR {L}_label-lesion_mask",
        (f"{A}_desc-brain_T1w", "", "nonzero", f"{L}_label-lesion_mask"),
    ),
    "but not where the FLAIR alone has a lesion mask": (
        f"{A}_T1w {F}_{M}_FLAIR {F}_{M}_label-lesion_mask",
        ("", f"{F}_{M}_FLAIR", "", f"{F}_{M}_label-lesion_mask"),
    ),
}


@pytest.mark.parametrize(("files", "taken"), WITH_FLAIR.values(), ids=WITH_FLAIR)
def test_what_a_flair_brings_along(tmp_path, files, taken):
    """One subject with its T1; which T1 is taken, and with which masks, doesn't hang on it."""
    for name in files.split():
        place(tmp_path, f"{name}.nii.gz")
    table, _ = told(tmp_path)
    assert set(table.subject) == {"sub-01"} and set(table.dataset) == {"patients"}
    images = dict(zip(table.contrast, table.image, strict=True))
    found = (images.get("t1", ""), images.get("flair", ""), table["mask"][0], table.seg[0])
    assert tuple(path.removeprefix(f"{tmp_path}/").removesuffix(".nii.gz") for path in found) == taken


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        ("sub-01_ses-2_FLAIR.nii.gz", "flair"),
        ("sub-01_acq-x_T2w.nii", "t2"),
        ("sub-01_T1w.mgz", "t1"),
        ("sub-01_label-lesion_mask.nii.gz", None),
        ("FLAIR.nii.gz", None),
    ],
)
def test_the_contrast_that_a_name_says(name, contrast):
    assert contrast_of(Path("anat") / name) == contrast


def test_a_lesion_mask_of_another_run_or_space_is_not_paired(tmp_path):
    for name in (f"{A}_run-1_T1w", f"{A}_run-2_label-lesion_mask", "sub-02/anat/sub-02_T1w"):
        place(tmp_path, f"{name}.nii.gz")
    with pytest.raises(ValueError, match="1: their lesion mask is of another image; 1: others have lesion masks"):
        load_scans(tmp_path)


@pytest.mark.parametrize("mask", ["derivatives/l/sub-01/anat/sub-01", "sub-01/ses-1/anat/sub-01"])
def test_a_lesion_mask_without_a_session(tmp_path, mask):
    """It is of the only session that there is; or its folder says of which."""
    place(tmp_path, "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz")
    seg = place(tmp_path, f"{mask}_label-lesion_mask.nii.gz")
    assert quietly(tmp_path).seg.tolist() == [seg]
    place(tmp_path, "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz")
    if "derivatives" in mask:
        with pytest.raises(ValueError, match="no scan is left: 2 patients .* is of another image"):
            load_scans(tmp_path)
    else:
        table, said = told(tmp_path)
        assert table.subject.tolist() == ["sub-01_ses-1"] and "another session has the lesion mask" in said


def test_people_without_an_image_are_counted(tmp_path):
    for name in (f"{A}_part-phase_T1w", "sub-02/anat/sub-02_PDw", "derivatives/l/sub-03/sub-03_label-lesion_mask"):
        place(tmp_path, f"{name}.nii.gz")
    said = r"3 subject\(s\) without a T1w, T2w or FLAIR are left out, such as sub-01; phase images"
    with pytest.raises(FileNotFoundError, match=said):
        load_scans(tmp_path)
    place(tmp_path, "sub-04/anat/sub-04_FLAIR.nii.gz")
    participants(tmp_path, "sub-04\t60\tM\tcontrol")
    table, text = told(tmp_path)
    assert table.subject.tolist() == ["sub-04"] and re.search(said, text)
