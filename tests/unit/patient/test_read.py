"""A patient of one's own is read from every layout, and saved in the space it came from."""

import nibabel
import numpy as np
import pytest
from cohort_files import assert_one_line, picture, save, write_patient
from PIL import Image

from utils.cohort.volumes import normalise_volume
from utils.config import CourseError
from utils.patient import perturbations as examples
from utils.patient.axial import PIXEL_MM
from utils.patient.nifti import write_nifti
from utils.patient.read import Patient, read_patient, save_masks
from utils.patient.sequences import kind_of

AFFINE = np.diag([-PIXEL_MM, -PIXEL_MM, 6.0, 1.0])


def head(slices=4, seed=0):
    """Return pictures with a bright, unsymmetrical head in a dark frame, and a mask."""
    rng = np.random.default_rng(seed)
    images = np.zeros((slices, 256, 256, 3), np.uint8)
    images[:, 60:220, 50:180] = rng.integers(60, 250, (slices, 160, 130, 3))
    masks = np.zeros((slices, 256, 256), np.uint8)
    masks[1:3, 90:120, 60:95] = 1
    return images, masks


@pytest.fixture
def folder(tmp_path):
    return examples.write_example(*head(), tmp_path / "example")


def test_the_example_survives_the_round_trip(folder, tmp_path):
    images, masks = head()
    patient = read_patient(folder)
    assert (patient.name, patient.notes) == ("example", ())
    assert np.array_equal(patient.truth, masks)
    # Scaled to 0..255 anew, but not after normalisation: at most one grey level by rounding.
    difference = normalise_volume(patient.images).astype(int) - normalise_volume(images)
    assert np.abs(difference).max() <= 2
    written = save_masks(patient, patient.truth, tmp_path / "out")
    assert [file.name for file in written] == [
        *(f"example_{number}_mask.png" for number in range(1, 5)),
        "example_mask.nii.gz",
    ]
    saved, traced = nibabel.load(written[-1]), nibabel.load(folder / "mask.nii.gz")
    assert np.array_equal(np.asarray(saved.dataobj), np.asarray(traced.dataobj))
    assert np.array_equal(saved.affine, traced.affine)
    drawn = np.asarray(Image.open(written[1]))
    assert np.array_equal(drawn, masks[1] * 255)


def test_files_with_other_axes_give_the_same_pictures_and_masks_back(folder, tmp_path):
    expected = read_patient(folder)
    turned = tmp_path / "turned"
    turned.mkdir()
    for file in folder.iterdir():
        image = nibabel.load(file)
        start = nibabel.io_orientation(image.affine)
        change = nibabel.orientations.ornt_transform(
            start, nibabel.orientations.axcodes2ornt("SRP")
        )
        nibabel.save(image.as_reoriented(change), turned / file.name)
    patient = read_patient(turned)
    assert np.array_equal(patient.images, expected.images)
    assert np.array_equal(patient.truth, expected.truth)
    saved = nibabel.load(save_masks(patient, patient.truth, tmp_path / "out")[-1])
    assert nibabel.aff2axcodes(saved.affine) == ("S", "R", "P")
    traced = nibabel.load(turned / "mask.nii.gz")
    assert np.array_equal(np.asarray(saved.dataobj), np.asarray(traced.dataobj))


def test_missing_sequences_are_copies_of_flair_and_said(folder):
    (folder / "post.nii.gz").unlink()
    patient = read_patient(folder)
    assert np.array_equal(patient.images[..., 2], patient.images[..., 1])
    assert not np.array_equal(patient.images[..., 0], patient.images[..., 1])
    assert patient.notes == ("no post-contrast sequence: a copy of FLAIR stands in for it",)


def test_one_file_with_three_volumes_or_with_flair_alone(folder, tmp_path):
    expected = read_patient(folder)
    images = head()[0]
    four = write_nifti(tmp_path / "Anna.nii.gz", np.transpose(images, (2, 1, 0, 3)), AFFINE)
    patient = read_patient(four)
    assert patient.name == "Anna"
    assert np.array_equal(patient.images, expected.images)
    alone = read_patient(folder / "flair.nii.gz")
    assert np.array_equal(alone.images, np.repeat(expected.images[..., 1:2], 3, axis=-1))
    assert len(alone.notes) == 2


def test_a_folder_of_slices_is_read_alone_or_below_its_parent(tmp_path):
    own = write_patient(tmp_path, "SIM_DU_0001", slices=3)
    save(own / "SIM_DU_0001_1.tif", np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3))
    for path in (own, tmp_path, str(own)):
        patient = read_patient(path)
        assert patient.name == "SIM_DU_0001"
        assert patient.images.shape == (3, 32, 32, 3)
        assert patient.truth.sum(axis=(1, 2)).tolist() == [0, 1, 2]
        assert patient.grid is None
    assert patient.pictures(64).shape == (3, 64, 64, 3)
    (own / "SIM_DU_0001_2_mask.tif").unlink()
    partly = read_patient(own)
    assert partly.truth is None
    assert "masks for 2 of 3 slices: they were not used" in partly.notes
    written = save_masks(patient, patient.truth, tmp_path / "out")
    assert [file.suffix for file in written] == [".png"] * 3


@pytest.mark.parametrize(("file", "given", "name"), [
    ("sub-01/anat/sub-01_FLAIR.nii", "sub-01", "sub-01"),
    ("sub-01/anat/sub-01_FLAIR.nii", "sub-01/anat", "sub-01"),
    ("sub-01/ses-2/anat/sub-01_FLAIR.nii", "sub-01/ses-2", "sub-01_ses-2"),
    ("Anna/flair.nii", "Anna/flair.nii", "Anna"),
    ("Anna/FLAIR/ax_flair.nii", "Anna/FLAIR/ax_flair.nii", "Anna"),
    ("Anna/FLAIR/ax_flair.nii", "Anna", "Anna"),
    ("all/Anna_flair.nii", "all/Anna_flair.nii", "Anna_flair"),
    ("all/Anna.nii", "all/Anna.nii", "Anna"),
    ("Anna/.nii", "Anna/.nii", "Anna"),
])  # fmt: skip
def test_a_patient_is_named_after_what_was_given_unless_that_names_nobody(
    tmp_path, file, given, name
):
    write_nifti(tmp_path / file, head()[0][..., 1].T, AFFINE)
    assert read_patient(tmp_path / given).name == name


def test_a_folder_given_by_dots_has_its_own_name(tmp_path, monkeypatch, folder):
    own = write_patient(tmp_path, "SIM_DU_0001", slices=3)
    save(own / "SIM_DU_0001_1.tif", np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3))
    for place in (folder, own):
        (place / "below").mkdir()
        for here, dots in ((place, "."), (place / "below", "..")):
            monkeypatch.chdir(here)
            assert read_patient(dots).name == place.name


def test_masks_of_a_longer_patient_of_that_name_do_not_stay(tmp_path):
    others = tmp_path / "Anna" / "Anna_7_mask_mine.png"
    for slices in (6, 3):
        patient = Patient("Anna", head(slices)[0])
        save_masks(patient, np.zeros((slices, 256, 256), np.uint8), tmp_path)
        others.touch()
    left = sorted(file.name for file in (tmp_path / "Anna").iterdir())
    assert left == [*(f"Anna_{number}_mask.png" for number in (1, 2, 3)), others.name]


def test_the_volume_of_an_earlier_patient_of_that_name_does_not_stay(tmp_path, folder):
    patient = read_patient(folder)
    masks, out = np.zeros(patient.images.shape[:3], np.uint8), tmp_path / "out"
    assert save_masks(patient, masks, out)[-1].name == f"{patient.name}_mask.nii.gz"
    save_masks(Patient(patient.name, patient.images), masks, out)
    assert {file.suffix for file in (out / patient.name).iterdir()} == {".png"}


@pytest.mark.parametrize("name", ["two\nlines", "\udcfc of another alphabet"])
def test_a_name_that_cannot_be_printed_is_told_as_for_slices(tmp_path, name):
    write_nifti(tmp_path / name / "flair.nii", head()[0][..., 1].T, AFFINE)
    with pytest.raises(CourseError, match="cannot be shown; rename the file or its folder"):
        read_patient(tmp_path / name)


def test_a_qform_that_places_nothing_is_told_without_a_distance(tmp_path):
    image = nibabel.Nifti1Image(head()[0][..., 1].T.astype(np.float32), AFFINE)
    content = bytearray(image.to_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]))
    header["qform_code"] = 1
    header["quatern_b"] = header["quatern_c"] = 0.9  # squared together 1.62, at most 1 is a turn
    content[:348] = header.binaryblock
    (tmp_path / "flair.nii").write_bytes(content)
    assert (
        "the header places the voxels in two ways; its sform was taken: check left and right"
        in read_patient(tmp_path / "flair.nii").notes
    )


def test_names_tell_the_sequence():
    names = {
        "BraTS_001_t1.nii.gz": "pre",
        "BraTS_001_t1ce.nii.gz": "post",
        "BraTS_001_t2.nii.gz": None,
        "BraTS_001_seg.nii.gz": "mask",
        "T1_post.nii": "post",
        "x-t2f.nii": "flair",
        "preparation.nii": None,
    }
    assert {name: kind_of(name) for name in names} == names


def test_a_file_that_is_not_used_and_thick_voxels_are_noted(tmp_path):
    images, _ = head()
    affine = np.diag([-1.0, -6.0, 1.0, 1.0])
    write_nifti(tmp_path / "flair.nii.gz", images[..., 1].T, affine)
    write_nifti(tmp_path / "t2.nii.gz", images[..., 1].T, affine)
    notes = read_patient(tmp_path).notes
    assert any(note.startswith("t2.nii.gz was not used") for note in notes)
    assert any("not acquired in axial slices" in note for note in notes)


def test_sequences_that_do_not_fit_together_are_told(folder):
    images = head()[0]
    post = folder / "post.nii.gz"
    write_nifti(post, images[:3, ..., 2].T, AFFINE)
    assert_one_line(("post.nii.gz", "(256, 256, 3)", "(256, 256, 4)", "resample"),
                    read_patient, folder)  # fmt: skip
    moved = nibabel.load(folder / "pre.nii.gz").affine.copy()
    moved[0, 3] += 2
    write_nifti(post, images[..., 2].T, moved)
    assert_one_line(("post.nii.gz", "2.0 mm", "register"), read_patient, folder)
    write_nifti(post, np.repeat(images[..., 2].T[..., None], 2, -1), moved)
    post.rename(folder / "flair_2.nii.gz")
    assert_one_line(("flair_2.nii.gz", "second file", "keep one"), read_patient, folder)


def test_what_is_no_patient_is_told(tmp_path, folder):
    assert_one_line(("my_patient is empty",), read_patient, "")
    assert_one_line(("gone", "no such file"), read_patient, tmp_path / "gone")
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    assert_one_line(("notes.txt", "not a NIfTI"), read_patient, text)
    (tmp_path / "empty").mkdir()
    assert_one_line(("empty", "no patients"), read_patient, tmp_path / "empty")
    (folder / "flair.nii.gz").unlink()
    assert_one_line(("example", "no FLAIR"), read_patient, folder)
    write_nifti(folder / "flair.nii.gz", np.zeros((256, 256, 4), np.uint8), AFFINE)
    for file in folder.glob("[mp]*"):
        file.unlink()
    assert_one_line(("example", "FLAIR is empty"), read_patient, folder)
    two = write_nifti(tmp_path / "two.nii.gz", np.ones((8, 8, 8, 2), np.uint8), np.eye(4))
    assert_one_line(("two.nii.gz", "2 volumes", "3 are expected"), read_patient, two)


def test_two_patients_or_two_sizes_of_slices_are_told(tmp_path):
    own = write_patient(tmp_path, "SIM_DU_0001")
    save(own / "SIM_DU_0001_2.tif", picture(40))
    assert_one_line(("SIM_DU_0001_2.tif", "40 x 40"), read_patient, own)
    write_patient(tmp_path, "SIM_DU_0002")
    assert_one_line(("2 patients", "SIM_DU_0001", "utils.predict"), read_patient, tmp_path)


def test_masks_of_another_size_are_refused(tmp_path):
    patient = Patient("Anna", head()[0])
    assert_one_line(("(4, 128, 128)", "(4, 256, 256)"), save_masks, patient,
                    np.zeros((4, 128, 128), np.uint8), tmp_path)  # fmt: skip
    assert not list(tmp_path.iterdir())


# What a model should not believe.


@pytest.fixture
def patient():
    return Patient("Anna", *head(6))


def test_sequences_are_left_out_exchanged_and_mirrored(patient):
    one = examples.without(patient, "pre")
    assert np.array_equal(one.images[..., 0], patient.images[..., 1])
    assert np.array_equal(one.images[..., 1:], patient.images[..., 1:])
    other = examples.exchanged(patient, "flair", "post")
    assert np.array_equal(other.images, patient.images[..., [0, 2, 1]])
    turned = examples.mirrored(patient)
    assert np.array_equal(turned.truth[:, :, ::-1], patient.truth)
    assert np.array_equal(turned.images[:, :, ::-1], patient.images)
    with pytest.raises(ValueError, match="'t2': unknown"):
        examples.without(patient, "t2")


def test_stripping_takes_the_rim_and_leaves_the_middle(patient):
    stripped = examples.skull_stripped(patient, depth_mm=18).images
    assert not stripped[:, 60:75].any()
    assert np.array_equal(stripped[:, 100:180, 90:140], patient.images[:, 100:180, 90:140])


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_another_plane_has_the_heads_height_upwards(patient, plane):
    patient.images[:3] //= 4  # dark below, bright above
    cut = examples.other_plane(patient, plane, (PIXEL_MM, PIXEL_MM, 15.0), count=5).images
    assert cut.shape == (5, 256, 256, 3)
    # Six slices of 15 mm are 96 pixels high; the brighter half is at the top.
    occupied = np.flatnonzero(cut.any(axis=(0, 2, 3)))
    assert (occupied[0], occupied[-1]) == (80, 175)
    assert cut[:, 80:120].mean() > 2 * cut[:, 136:176].mean()
    width = np.flatnonzero(cut.any(axis=(0, 1, 3)))
    assert len(width) == (130 if plane == "coronal" else 160)


def test_an_unknown_plane_is_told(patient):
    with pytest.raises(ValueError, match="'oblique': unknown"):
        examples.other_plane(patient, "oblique", (1, 1, 1))


@pytest.mark.parametrize("name", examples.FOREIGN)
def test_foreign_pictures_come_without_a_download(name):
    found = examples.from_picture(examples.FOREIGN[name](), name)
    assert found.images.shape == (1, 256, 256, 3)
    assert np.ptp(found.images) > 50
