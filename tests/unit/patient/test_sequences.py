"""The words of a file's name tell what it holds; what they leave open is asked."""

import itertools

import pytest
from cohort_files import assert_one_line
from hypothesis import given, strategies as st

from utils.patient.sequences import (
    kind_of,
    read_name,
    says_all,
    says_only_sequence,
    says_when,
    tell_apart,
)

# Names as data sets (BIDS, BraTS, TCIA, UCSF-PDGM, UPENN-GBM, EGD, Yale), converters and people
# give them.
NAMES = {
    "post": [
        "sub-01_ce-gadolinium_T1w",
        "T1wCE",
        "CE_T1",
        "t1_post_gd",
        "t1_gd",
        "sub-01_ses-post_ce-gd_T1w",
        "TCGA-CS-0001_1999.01.01_t1Gd",
        "BraTS-GLI-00000-000-t1c",
        "BraTS2021_00000_t1ce",
        "UCSF-PDGM-0004_T1c",
        "UCSF-PDGM-0004_T1c_bias",
        "UPENN-GBM-00001_11_T1GD",
        "CT1",
        "T1POST",
        "T1_POST_CONTRAST",
        "T1_KM",
        "t1_mpr_tra_KM",
        "T1+C",
        "t1_+C_fs",
        "AX_T1_FLAIR_C+",
        "T1_C",
        "t1_contrast",
        "T1W_postcontrast",
        "T1w_postgd",
        "t1_enhanced",
        "preop_t1ce",
        "preoperative_T1_Gd",
        "post_radiotherapy_t1c",
        "sub-01_acq-postgd_T1w",
        "reg_t1ce",
        "EGD-0001_T1GD",
        "YG_01_POST",
        "T1w_Gd",
        "t1_gadolinium",
        "t1w_gad",
        "T1wContrast",
        "t1gd",
        "GD",
        "mprage_gd",
        "T1_after_gd",
        "T1-C",
        "T1-GD",
        "sub-01_ce-gd_T1w",
        "AX_T1_W_CONTRAST",
        "T1_con_contraste",
        "T1_mdc",
        "T1_avec_injection",
        "T1_inj",
        "T1_mKM",
        "T1_MPRAGE_C",
    ],
    "pre": [
        "sub-01_T1w",
        "t1_pre_gd",
        "t1_flair",
        "sub-01_ses-post_T1w",
        "TCGA-CS-0001_1999.01.01_t1",
        "BraTS-GLI-00000-000-t1n",
        "UCSF-PDGM-0004_T1",
        "UPENN-GBM-00001_11_T1",
        "T1PRE",
        "T1_PRE_CONTRAST",
        "t1_without_contrast",
        "T1_no_gd",
        "T1_ohne_KM",
        "T1_nativ",
        "3_t1_mprage_sag_p2_iso",
        "t1_noncontrast",
        "t1_non_contrast",
        "t1_native",
        "T1_precontrast",
        "t1pregd",
        "t1_unenhanced",
        "postop_t1",
        "post-op_t1",
        "post_op_t1_pre_gd",
        "pre_treatment_T1",
        "session_post_t1",
        "sub-01_desc-preproc_T1w",
        "sub-gd01_T1w",
        "sub-01_ce-none_T1w",
        "t1_to_flair",
        "YG_01_PRE",
        "T1_FLAIR",
        "t1flair",
        "mprage",
        "t1_bet",
        "T1_before_gd",
        # dcm2niix writes "_" for the "/" of "W/O".
        "AX_T1_W_O_CONTRAST",
        "AX_T1_W_O_GAD",
        "AX_T1_W-O_CONTRAST",
        "T1_C-",
        "T1C-",
        "T1_-C",
        "t1_gd-",
        "t1_minus_contrast",
        "T1_senza_mdc",
        "T1_sin_contraste",
        "T1_sem_contraste",
        "T1_oKM",
        "T1_un-enhanced",
    ],
    "flair": [
        "sub-01_FLAIR",
        "t2_flair",
        "sub-01_ses-postop_FLAIR",
        "BraTS-GLI-00000-000-t2f",
        "BraTS20_Training_001_flair",
        "UCSF-PDGM-0004_FLAIR",
        "UPENN-GBM-00001_11_FLAIR",
        "t2_tirm_tra_dark-fluid",
        "postop_flair",
        "sub-01_space-T1w_desc-brain_FLAIR",
        "FLAIR_to_T1",
        "flair2t1",
        "rFLAIR",
        "FLAIR_in_T1space",
        "t2flair",
        "flair_post",
        "flair_brain",
        "sub-01_part-mag_FLAIR",
        "PH_flair",
    ],
    "mask": [
        "TCGA-CS-0001_1999.01.01_GlistrBoost_ManuallyCorrected",
        "BraTS-GLI-00000-000-seg",
        "UCSF-PDGM-0004_tumor_segmentation",
        "UPENN-GBM-00001_11_segm",
        "UPENN-GBM-00001_11_automated_approx_segm",
        "sub-01_space-MNI152_label-lesion_mask",
        "tumor_mask",
        "brain_tumor_mask",
        "tumourmask",
        "lesion",
        "flair_seg",
        "roi",
        "MASK",
        "flair_mask",
    ],
    None: [
        "flair_brain_mask",
        "BraTS-GLI-00000-000-t2w",
        "UCSF-PDGM-0004_brain_segmentation",
        "UCSF-PDGM-0004_brain_parenchyma_segmentation",
        "UCSF-PDGM-0004_ADC",
        "UCSF-PDGM-0004_DTI_eddy_FA",
        "UPENN-GBM-00001_11_T2",
        "sub-01_space-T1w_desc-brain_mask",
        "sub-01_label-GM_probseg",
        "sub-01_dseg",
        "brain_mask",
        "brainmask",
        "preparation",
        "preproc",
        "t1_post_pre",
        "dce_t1",
        "t1_t2",
        "image",
        "case_0000",
        "t2_post",
        "t1_brain_mask",
        "bet_mask",
        "T1_map",
        "t1-mapping",
        "T1_subtracted",
        "T1_sub",
        "FLAIR_ph",
        "FLAIR_real",
        "FLAIR_imaginary",
        "sub-01_part-phase_FLAIR",
    ],
}
PAIRS = [(name, kind) for kind, names in NAMES.items() for name in names]


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_a_name_is_read_whatever_its_case_and_suffix(name, kind):
    for suffix in (".nii.gz", ".nii", ".hdr", ".NII.GZ"):
        assert kind_of(name + suffix) == kind
        assert kind_of(name.upper() + suffix) == kind
        assert kind_of(name.lower() + suffix) == kind


@given(
    name=st.sampled_from(
        [name for name, kind in PAIRS if "sub-" not in name and "ses" not in name]
    ),
    patient=st.sampled_from(
        ["Anna", "patient07", "TCGA-CS-4941_19960909", "case_0012", "2021-03-04"]
    ),
)
def test_the_patient_before_a_name_changes_nothing(name, patient):
    assert kind_of(f"{patient}_{name}.nii.gz") == dict(PAIRS)[name]


@pytest.mark.parametrize(("names", "expected"), [
    (["FLAIR", "T1w", "T1wCE"], {"flair": "FLAIR", "pre": "T1w", "post": "T1wCE"}),
    (["t1_flair", "t2_flair", "t1_gd"], {"pre": "t1_flair", "flair": "t2_flair", "post": "t1_gd"}),
    # The initials of the patient, or the visit: they stand in every name.
    (["GD_flair", "GD_t1", "GD_t1ce"], {"flair": "GD_flair", "pre": "GD_t1", "post": "GD_t1ce"}),
    (["post_flair", "post_t1_pre", "post_t1_gd"],
     {"flair": "post_flair", "pre": "post_t1_pre", "post": "post_t1_gd"}),
    # A file without the initials speaks of no contrast.
    (["KM_flair", "KM_t1", "KM_t1ce", "mask"],
     {"flair": "KM_flair", "pre": "KM_t1", "post": "KM_t1ce", "mask": "mask"}),
    (["t1_post", "t1_pre", "flair"], {"post": "t1_post", "pre": "t1_pre", "flair": "flair"}),
])  # fmt: skip
def test_the_files_of_a_patient_are_told_apart(names, expected):
    for order in itertools.permutations(names):
        assert tell_apart(f"{name}.nii.gz" for name in order)[0] == {
            kind: f"{name}.nii.gz" for kind, name in expected.items()
        }


@pytest.mark.parametrize(("names", "words"), [
    (["flair", "t1", "t1_bias"], ("t1_bias.nii", "second file for pre", "beside t1.nii", "name")),
    (["flair", "t1_pre_post"], ("t1_pre_post.nii", "both before and after", "pre.nii.gz")),
    (["flair", "t1_t2"], ("t1_t2.nii", "both T1 and T2")),
    (["t2_flair", "flair_reg_t1"], ("flair_reg_t1.nii", "both FLAIR and T1")),
    (["post_flair", "post_t1"], ("post_t1.nii", "before or after contrast", "post", "every")),
    (["GD_flair", "GD_t1"], ("GD_t1.nii", "before or after contrast", "gd")),
    (["KM_flair", "KM_t1", "mask"], ("KM_t1.nii", "before or after contrast", "km")),
])  # fmt: skip
def test_what_can_be_read_in_two_ways_is_asked(names, words):
    assert_one_line(words, tell_apart, [f"{name}.nii" for name in names])


def test_what_is_not_used_is_said_with_the_reason():
    found, notes = tell_apart(["flair.nii", "t2.nii", "flair_brain_mask.nii", "adc.nii", "x.nii"])
    assert found == {"flair": "flair.nii"}
    for note, words in zip(notes, ("a T2", "brain", "no sequence", "tells no"), strict=True):
        assert "was not used" in note
        assert words in note


@pytest.mark.parametrize(("name", "expected"), [
    ("pre_flair_post", True), ("Anna_T1_FLAIR_T1c", True), ("t1ce", False), ("flair", False),
    ("t1_flair", False), ("Anna", False),
])  # fmt: skip
def test_a_name_may_say_all_three_sequences(name, expected):
    assert says_all(f"{name}.nii.gz") == expected


@pytest.mark.parametrize(("name", "expected"), [
    ("flair", True), ("AX_T2_FLAIR", True), ("t2_tirm_tra_dark-fluid", True), ("T1_GD", True),
    ("pre_flair_post", True),
    ("Anna_flair", False), ("flair_7", False), ("sub-01_FLAIR", False), ("Bettina_flair", False),
    ("post", False), ("Anna", False), ("", False),
])  # fmt: skip
def test_a_name_that_says_only_a_sequence_is_nobodys(name, expected):
    assert says_only_sequence(name) == expected


@pytest.mark.parametrize(("name", "expected"), [
    ("visit1", True), ("ses-2", True), ("postop", True), ("2021", True), ("20210304", True),
    ("2021-03-04 MR", True), ("FLAIR", False), ("T1_post", False), ("401", False),
])  # fmt: skip
def test_a_folder_may_say_when_its_pictures_were_taken(name, expected):
    assert says_when(name) == expected


@given(st.text(max_size=40))
def test_any_name_is_read_without_an_error(name):
    assert read_name(name).kind in ("pre", "flair", "post", "mask", None)
