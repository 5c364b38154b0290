import os
import shutil
import tracemalloc
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cohort_files import assert_one_line, cut, mask_of, picture, save, write_patient

from utils.cohort import table as cohort_module
from utils.cohort.layout import institution, person_of
from utils.cohort.table import (
    COLUMNS,
    LARGEST_PATIENT,
    cohort_sha256,
    cohort_to_predict,
    open_cohort,
    read_cohort,
    summarise_patients,
)
from utils.cohort.tiff import read_mask, read_slice

PATIENT = "TCGA_DU_0001_20000101"
OTHER = "TCGA_HT_0002_20000101"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "kaggle_3m"
    write_patient(folder, PATIENT, slices=11)
    write_patient(folder, OTHER, slices=2)
    return folder


def test_table_has_one_row_a_slice_in_the_order_of_the_numbers(root):
    table = read_cohort(root)
    assert list(table.columns) == COLUMNS
    assert list(table["patient"]) == [PATIENT] * 11 + [OTHER] * 2
    assert list(table["slice"]) == [*range(1, 12), 1, 2]
    assert list(table["institution"].unique()) == ["DU", "HT"]
    # Slice n was given n - 1 tumour pixels.
    assert list(table["tumour_px"]) == [*range(11), 0, 1]
    assert list(table["has_tumour"]) == [False] + [True] * 10 + [False, True]
    assert table["tumour_px"].dtype == np.int64
    assert table["has_tumour"].dtype == bool
    assert list(table.index) == list(range(13))
    assert table["image_path"].iloc[10].endswith(f"{PATIENT}_11.tif")
    assert table["mask_path"].iloc[10].endswith(f"{PATIENT}_11_mask.tif")


def test_pictures_and_masks_are_what_was_written(root):
    table = read_cohort(root)
    image, mask = read_slice(table["image_path"][4]), read_mask(table["mask_path"][4])
    assert image.dtype == mask.dtype == np.uint8
    np.testing.assert_array_equal(image, picture(value=5))
    np.testing.assert_array_equal(mask, mask_of(pixels=4) // 255)


def test_without_masks_the_tumour_is_unknown_not_zero(tmp_path):
    write_patient(tmp_path, slices=1, masks=False)
    table = read_cohort(tmp_path, masks="absent")
    assert list(table["mask_path"]) == [""]
    assert table["tumour_px"].isna().all()
    assert table["has_tumour"].isna().all()
    assert str(table["tumour_px"].dtype) == "Int64"
    assert str(table["has_tumour"].dtype) == "boolean"


def test_masks_that_are_there_are_ignored_when_none_are_wanted(root):
    (root / OTHER / f"{OTHER}_1_mask.tif").write_bytes(b"not a picture")
    table = read_cohort(root, masks="absent")
    assert (table["mask_path"] == "").all()
    assert table["tumour_px"].isna().all()


def test_the_first_patients_by_name(root):
    assert set(read_cohort(root, patients=1)["patient"]) == {PATIENT}
    assert_one_line(["has 2 patients, 3 are asked for"], read_cohort, root, patients=3)
    assert_one_line(["0 are asked for"], read_cohort, root, patients=0)


def test_an_unknown_mode_is_a_mistake_of_the_caller(root):
    with pytest.raises(ValueError, match="maybe"):
        read_cohort(root, masks="maybe")


def test_summary_adds_up_by_hand(root):
    summary = summarise_patients(read_cohort(root))
    assert list(summary["patient"]) == [PATIENT, OTHER]
    assert list(summary["slices"]) == [11, 2]
    assert list(summary["tumour_slices"]) == [10, 1]
    assert list(summary["tumour_px"]) == [55, 1]
    assert list(summary["largest_tumour_px"]) == [10, 1]


def test_the_checksum_knows_the_contents_but_not_the_place(root, tmp_path):
    before = cohort_sha256(read_cohort(root))
    moved = root.rename(tmp_path / "moved")
    assert cohort_sha256(read_cohort(moved)) == before
    save(moved / OTHER / f"{OTHER}_1.tif", picture(value=99))
    table = read_cohort(moved)
    assert cohort_sha256(table) != before
    before = cohort_sha256(table)
    save(moved / PATIENT / f"{PATIENT}_5_mask.tif", mask_of(pixels=4)[::-1, ::-1])
    mirrored = read_cohort(moved)
    assert mirrored.equals(table)  # the same number of pixels, elsewhere
    assert cohort_sha256(mirrored) != before
    (moved / OTHER / f"{OTHER}_1.tif").unlink()
    assert_one_line([f"{OTHER}_1.tif", "read the cohort again"], cohort_sha256, table)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TCGA_CS_4941_19960909", "CS"),
        ("SIM_DU_0001", "DU"),
        ("patient_7", "unknown"),
        ("A__7", "unknown"),
        ("Zürich", "unknown"),
    ],
)
def test_institution_is_the_second_part_of_the_name(name, expected):
    assert institution(name) == expected


def test_two_examinations_of_a_person_are_one_person():
    assert person_of("TCGA_CS_4941_19960909") == person_of("TCGA_CS_4941_20010101")
    assert person_of("SIM_CS_0001") != person_of("SIM_CS_0002")


# Where the cohort may be


def test_the_folder_its_parent_and_the_unpacked_archive_are_all_understood(tmp_path):
    root = tmp_path / "kaggle_3m"
    write_patient(root)
    assert open_cohort(root) == open_cohort(tmp_path) == root
    # The Kaggle archive: everything twice, and a table with wrong patients.
    write_patient(tmp_path / "lgg-mri-segmentation" / "kaggle_3m")
    (root / "data.csv").write_text("Patient\nnobody\n")
    assert open_cohort(tmp_path) == root
    assert len(read_cohort(tmp_path)) == 3
    assert open_cohort(tmp_path / "lgg-mri-segmentation").parent.name == "lgg-mri-segmentation"


def test_the_only_cohort_in_a_folder_of_any_name_is_found(tmp_path):
    write_patient(tmp_path / "my cohort")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / ".hidden").mkdir()
    assert open_cohort(tmp_path).name == "my cohort"
    write_patient(tmp_path / "another")
    assert_one_line([tmp_path, "holds 2 cohorts (another, my cohort)"], open_cohort, tmp_path)


def test_pictures_beside_the_cohort_are_not_passed_over(tmp_path):
    root = tmp_path / "demo"
    write_patient(root)
    beside = tmp_path / "Anna_X_1"
    beside.mkdir()
    save(beside / "tumour_mask.tif", mask_of())  # masks are of no patient
    assert len(read_cohort(tmp_path)) == 3
    save(beside / "anna_x_1_1.tif", picture())
    words = [beside / "anna_x_1_1.tif", f"lies beside the cohort {root}", "would not be read"]
    assert_one_line(words, read_cohort, tmp_path)
    assert len(read_cohort(root)) == 3
    root.rename(tmp_path / "kaggle_3m")
    assert_one_line([f"lies beside the cohort {tmp_path / 'kaggle_3m'}"], read_cohort, tmp_path)
    (beside / "anna_x_1_1.tif").rename(tmp_path / "anna_x_1_1.tif")
    assert_one_line([tmp_path / "anna_x_1_1.tif", "lies beside"], read_cohort, tmp_path)


@pytest.mark.parametrize("masks", ["required", "absent"])
def test_a_loose_picture_beside_the_patients_is_not_passed_over(root, masks):
    (root / "P_X_3_1.tif").mkdir()
    (root / "P_X_3_1.tif" / "P_X_3_1.tif_1.tif").touch()  # a folder is no picture
    assert "lies beside" not in assert_one_line(["P_X_3_1.tif"], read_cohort, root, masks)
    shutil.rmtree(root / "P_X_3_1.tif")
    save(root / "P_X_2_1_mask.tif", mask_of())
    assert len(read_cohort(root, masks)) == 13
    save(root / "P_X_2_1.tif", picture())
    words = [root / "P_X_2_1.tif", "lies beside the patients' folders", "out of the cohort"]
    assert_one_line(words, read_cohort, root, masks)


def test_copies_that_differ_are_not_guessed_between(tmp_path):
    write_patient(tmp_path / "kaggle_3m", PATIENT)
    write_patient(tmp_path / "lgg-mri-segmentation/kaggle_3m", OTHER)
    assert_one_line([PATIENT, "delete the incomplete one"], open_cohort, tmp_path)


def test_names_with_spaces_and_other_alphabets_work(tmp_path):
    root = tmp_path / "Köln – data 中文"
    for name in ("Müller Zürich_A b_0001", "患者_北京_2"):
        write_patient(root, name)
    table = read_cohort(root)
    assert set(table["institution"]) == {"A b", "北京"}
    assert list(table["tumour_px"]) == [0, 1, 2] * 2
    assert read_slice(table["image_path"][0]).shape == (32, 32, 3)


def test_a_folder_in_decomposed_letters_matches_files_in_composed_ones(tmp_path):
    folder = write_patient(tmp_path, "Zü_A_1")
    folder.rename(tmp_path / unicodedata.normalize("NFD", "Zü_A_1"))
    assert set(read_cohort(tmp_path)["patient"]) == {"Zü_A_1"}


# Bad input: each is one line that names the file and the remedy


def test_no_such_folder(tmp_path):
    assert_one_line(["gone", "no such file or folder"], read_cohort, tmp_path / "gone")


def test_a_file_that_is_no_zip(tmp_path):
    path = tmp_path / "cohort.tar"
    path.write_bytes(b"x")
    assert_one_line([path, "neither a folder nor a .zip"], read_cohort, path)


def test_empty_folder(tmp_path):
    words = [tmp_path, "no patients in this folder", "<patient>/<patient>_<n>.tif"]
    assert_one_line(words, read_cohort, tmp_path)


def test_folder_that_holds_only_the_zip(tmp_path):
    (tmp_path / "archive.zip").write_bytes(b"")
    assert_one_line([f"give {tmp_path / 'archive.zip'}"], read_cohort, tmp_path)


def test_folder_of_one_patient(tmp_path):
    folder = write_patient(tmp_path)
    assert_one_line([folder, f"give its parent, {tmp_path}"], read_cohort, folder)


@pytest.mark.parametrize("masks", ["required", "absent"])
def test_each_folder_is_listed_once(root, monkeypatch, masks):
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(Path(path)) or scandir(path))
    if masks == "required":
        read_cohort(root.parent)
    else:
        with cohort_to_predict(root.parent, root.parent / "out"):
            pass
    assert sorted(listed) == [root.parent, root, *sorted(root.iterdir())]


def test_no_masks_at_all(tmp_path):
    write_patient(tmp_path, masks=False)
    assert_one_line([tmp_path, "holds no masks", "utils.predict"], read_cohort, tmp_path)


def test_a_missing_mask(root):
    path = root / PATIENT / f"{PATIENT}_7_mask.tif"
    path.unlink()
    assert_one_line([path, "this mask is missing", "copy the patient again"], read_cohort, root)


def test_a_mask_without_its_slice(root):
    path = root / PATIENT / f"{PATIENT}_12_mask.tif"
    save(path, mask_of())
    assert_one_line([path, "a mask without its slice"], read_cohort, root)


@pytest.mark.parametrize("length", [0, 4, 30, 1000, -1])
@pytest.mark.parametrize("name", [f"{PATIENT}_5.tif", f"{PATIENT}_5_mask.tif"])
def test_a_truncated_tiff(root, name, length, capfd):
    path = root / PATIENT / name
    cut(path, length)
    words = [path, "damaged or cut short", "copy it again"]
    assert_one_line(words, read_cohort, root)
    read = read_mask if "mask" in name else read_slice
    assert_one_line(words, read, path)
    # Nothing beside the one line: tifffile logs what it finds.
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (picture(64), ["64 x 64 pixels, the patient's first slice is 32 x 32", "one size"]),
        (picture(31), ["31 x 31 pixels, at least 32 x 32", "full size"]),
        (picture(channels=1), ["one channel", "stack the three sequences"]),
        (picture(channels=4), ["RGB with an alpha channel", "convert('RGB')"]),
        (picture(dtype=np.uint16), ["16 bit pixels (uint16)", "scale them to 0..255"]),
        (picture(dtype=np.float32), ["float pixels (float32)", "scale them to 0..255"]),
    ],
)
def test_a_slice_of_the_wrong_kind(root, bad, words):
    path = root / PATIENT / f"{PATIENT}_3.tif"
    save(path, bad)
    assert_one_line([path, *words], read_cohort, root)
    assert_one_line([path, *words], read_cohort, root, masks="absent")


def test_a_patient_of_too_small_slices(tmp_path):
    write_patient(tmp_path, side=16)
    assert_one_line(["16 x 16 pixels", "at least 32 x 32"], read_cohort, tmp_path)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (mask_of(pixels=5) // 2, ["not binary", "the value 127", "threshold it"]),
        (mask_of(pixels=5) // 255, ["not binary", "the value 1;"]),
        (mask_of(33), ["the mask is 33 x 33 pixels, its slice 32 x 32", "same size"]),
        (picture(), ["(32, 32, 3)", "one channel"]),
        (mask_of().astype(bool), ["1 bit pixels", "8 bit (uint8)"]),
        (mask_of().astype(np.uint16), ["16 bit pixels (uint16)"]),
    ],
)
def test_a_mask_of_the_wrong_kind(root, bad, words):
    path = root / PATIENT / f"{PATIENT}_3_mask.tif"
    save(path, bad)
    assert_one_line([path, *words], read_cohort, root)


@pytest.mark.parametrize("number", [1, 6])
def test_a_gap_in_the_slice_numbers(root, number):
    for suffix in ("", "_mask"):
        (root / PATIENT / f"{PATIENT}_{number}{suffix}.tif").unlink()
    words = [root / PATIENT, f"gap in the slice numbers: slice {number} is missing", "renumber"]
    assert_one_line(words, read_cohort, root)
    assert_one_line(words, read_cohort, root, masks="absent")


def test_slices_count_from_one(root):
    save(root / PATIENT / f"{PATIENT}_0.tif", picture())
    assert_one_line([PATIENT, "a slice has the number 0"], read_cohort, root)


def test_a_slice_number_twice(root):
    save(root / PATIENT / f"{PATIENT}_03.tif", picture())
    assert_one_line([f"{PATIENT}_3.tif", f"{PATIENT}_03.tif", "keep one"], read_cohort, root)


def test_the_same_patient_in_the_folder_and_in_a_copy_below_it(root):
    write_patient(root / "kaggle_3m", PATIENT)
    assert_one_line([root, "the same patient twice", "delete one"], read_cohort, root)


def test_the_same_patient_in_two_folders_that_differ_by_case(root):
    write_patient(root, PATIENT.lower())
    words = [PATIENT, PATIENT.lower(), "the same patient twice", "keep one"]
    assert_one_line(words, read_cohort, root)


def test_the_same_person_examined_twice_must_not_be_split(root):
    write_patient(root, "TCGA_DU_0001_20010101")
    words = ["TCGA_DU_0001_20010101", "the same patient twice", "both sides of a split"]
    assert_one_line(words, read_cohort, root)
    # Nothing is learnt or split in a prediction.
    assert read_cohort(root, masks="absent")["patient"].nunique() == 3


def test_a_patient_with_one_slice(root):
    write_patient(root, "TCGA_CS_0003_20000101", slices=1)
    words = ["TCGA_CS_0003_20000101", "has 1 slice, a volume needs at least 2", "take the patient"]
    assert_one_line(words, read_cohort, root)
    assert len(read_cohort(root, masks="absent")) == 14


def test_a_file_of_another_patient(root):
    path = root / PATIENT / f"{OTHER}_1.tif"
    save(path, picture())
    assert_one_line([path, "is not named", "rename it"], read_cohort, root)


def test_a_patient_folder_without_slices(root):
    (root / "TCGA_CS_0003_20000101").mkdir()
    assert_one_line(["TCGA_CS_0003_20000101", "holds no slice"], read_cohort, root)


def test_hidden_files_and_folders_are_not_data(root):
    (root / ".cache").mkdir()
    (root / PATIENT / f"._{PATIENT}_1.tif").write_bytes(b"macOS")
    (root / PATIENT / "Thumbs.db").write_bytes(b"Windows")
    assert isinstance(read_cohort(root), pd.DataFrame)


# Prediction: masks are ignored altogether


def mask_files(folder, name):
    """Make what can be wrong with a mask."""
    (folder / f"{name}_9_mask.tif").write_bytes(b"without its slice")
    (folder / f"{name}_1_Mask.TIFF").write_bytes(b"there twice")
    (folder / "tumour-seg.tif").write_bytes(b"another name")
    (folder / f"{name}_1mask.tif").write_bytes(b"another name")
    (folder / "label 3.tif").mkdir()
    (folder / f"{name}_2_mask.tif").unlink()
    (folder / f"{name}_2_mask.tif").symlink_to(folder / f"{name}_2_mask.tif")


def test_a_prediction_ignores_masks_whatever_is_wrong_with_them(root):
    expected = read_cohort(root, masks="absent")
    mask_files(root / PATIENT, PATIENT)
    (root / "all masks").mkdir()
    save(root / "all masks" / "a_1_mask.tif", mask_of())
    assert read_cohort(root, masks="absent").equals(expected)
    assert_one_line([PATIENT], read_cohort, root)


def test_a_prediction_passes_over_the_results_of_an_earlier_one(root):
    (root / "predictions" / "masks").mkdir(parents=True)
    (root / "predictions" / "slices.csv").write_text("patient,slice\n")
    assert len(read_cohort(root, masks="absent")) == 13


def test_a_prediction_passes_over_one_that_was_cut_off(root):
    (root / "predictions" / "masks" / PATIENT).mkdir(parents=True)
    assert len(read_cohort(root, masks="absent")) == 13
    (root / "predictions" / "masks" / PATIENT / "1.png").write_bytes(b"")
    assert len(read_cohort(root, masks="absent")) == 13
    # By what a run holds its folder, and what macOS leaves there.
    for name in (".lock", ".holder", ".DS_Store"):
        (root / "predictions" / name).touch()
    assert len(read_cohort(root, masks="absent")) == 13
    (root / "predictions 2").mkdir()  # cut off before there were masks
    for name in (".lock", ".holder"):
        (root / "predictions 2" / name).touch()
    assert len(read_cohort(root, masks="absent")) == 13
    # What holds TIFFs may be a patient in a folder too deep.
    save(root / "predictions" / "masks" / f"{PATIENT}_1.tif", picture())
    assert_one_line(["predictions", "holds no slice"], read_cohort, root, masks="absent")


def test_a_prediction_passes_over_masks_that_it_wrote_into_the_cohort(root):
    (root / "slices.csv").write_text("patient,slice\n")
    (root / "masks" / PATIENT).mkdir(parents=True)
    (root / "masks" / PATIENT / f"{PATIENT}_1_mask.png").write_bytes(b"")
    assert len(read_cohort(root, masks="absent")) == 13
    save(root / "masks" / PATIENT / "1.tif", picture())
    assert_one_line(["masks", "holds no slice"], read_cohort, root, masks="absent")


def test_a_patient_whose_slices_are_gone_is_not_passed_over(root):
    for path in (root / OTHER).glob("*[0-9].tif"):
        path.unlink()
    assert_one_line([OTHER, "holds no slice"], read_cohort, root, masks="absent")


# Numbers, sizes and names that would fill the memory, or that no table can hold


def test_a_time_stamp_as_slice_number_takes_no_memory(root):
    save(root / PATIENT / f"{PATIENT}_20240131123456.tif", picture())
    tracemalloc.start()
    words = ["slice 12 is missing", "12 slices, the last one has the number 20240131123456"]
    assert_one_line(words, read_cohort, root, masks="absent")
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    number = "9" * 30
    save(root / OTHER / f"{OTHER}_{number}.tif", picture())
    (root / PATIENT / f"{PATIENT}_20240131123456.tif").unlink()
    assert_one_line([number, "is not named"], read_cohort, root, masks="absent")


def test_a_patient_larger_than_the_budget_is_refused_by_the_headers(tmp_path, monkeypatch):
    # 3 slices of 32 x 32 are 3072 pixels.
    write_patient(tmp_path)
    monkeypatch.setattr(cohort_module, "LARGEST_PATIENT", 3072)
    assert len(read_cohort(tmp_path)) == 3
    monkeypatch.setattr(cohort_module, "LARGEST_PATIENT", 3071)
    words = [PATIENT, "3 slices of 32 x 32 are", "export the slices at a smaller size"]
    assert_one_line(words, read_cohort, tmp_path)


def test_the_budget_holds_400_slices_of_1024_and_no_slice_of_9000():
    assert 400 * 1024 * 1024 <= LARGEST_PATIENT < 8 * 9000 * 9000


def test_a_name_too_long_for_its_masks_is_told_before_anything_is_predicted(tmp_path):
    name = "p" * 248
    folder = tmp_path / name
    folder.mkdir()
    save(folder / f"{name}_1.tif", picture())
    words = ["would have 261 bytes, a name may have 255", "shorter name"]
    assert_one_line(words, read_cohort, tmp_path, masks="absent")
    write_patient(tmp_path / "other", "p" * 242)
    assert len(read_cohort(tmp_path / "other")) == 3


@pytest.mark.parametrize("name", ["A_B\n1", "A_B\x1b1", os.fsdecode(b"A_B_\xff")])
def test_a_name_that_cannot_be_shown_is_one_line(tmp_path, name):
    write_patient(tmp_path, name)
    assert_one_line(["cannot be shown", "rename the folder"], read_cohort, tmp_path)


def test_links_and_things_that_are_no_files(tmp_path):
    root = tmp_path / "cohort"
    write_patient(root)
    path = root / PATIENT / f"{PATIENT}_2.tif"
    path.unlink()
    path.mkdir()
    assert_one_line([path, "is a folder, where a file is expected"], read_cohort, root)
    path.rmdir()
    path.symlink_to(path)
    assert_one_line([path, "a link that leads back to itself"], read_cohort, root)
    path.unlink()
    os.mkfifo(path)
    assert_one_line([path, "is a pipe"], read_cohort, root)
    path.unlink()
    save(path, picture())
    (root / OTHER).symlink_to(root / OTHER)
    assert_one_line([OTHER, "a link that leads back to itself"], read_cohort, root)
    (root / OTHER).unlink()
    (root / OTHER).symlink_to(tmp_path / "gone")
    assert_one_line([OTHER, "a link to a file that is not there"], read_cohort, root)
    (root / OTHER).unlink()
    (root / "S.002").symlink_to(tmp_path / "gone")  # an ending of no file: it may be a patient
    assert_one_line(["S.002", "a link to a file that is not there"], read_cohort, root)
    (root / "S.002").rename(root / "notes.txt")
    assert len(read_cohort(root)) == 3
