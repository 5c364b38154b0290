"""Wherever a head lies in its file, and however its files are stored, its tumour is found there."""

import os
import resource

import nibabel
import numpy as np
import pytest
from cohort_files import assert_one_line
from nifti_files import affine_of, around, head, save, write_head

from utils.patient import grid
from utils.patient.read import read_patient, save_masks

MM = 240 / 128  # of the made-up head's pixels


def placed(codes="LPS", mm=(MM, MM, 6.0)):
    return affine_of(codes, mm)


def turn(source, folder, codes):
    """Write the files of a folder with their axes in another order."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        image = nibabel.load(file)
        change = nibabel.orientations.ornt_transform(
            nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(codes)
        )
        nibabel.save(image.as_reoriented(change), folder / file.name)
    return folder


def centre_mm(path):
    """Return where the middle of a mask lies, in mm."""
    image = nibabel.load(path)
    places = np.argwhere(np.asarray(image.dataobj))
    return (nibabel.affines.apply_affine(image.affine, places)).mean(axis=0)


@pytest.fixture
def patient(tmp_path):
    return write_head(tmp_path / "Anna", *head(), placed())


# Empty voxels before and behind, along left, back and top; what they hold; the axes of the files.
@pytest.mark.parametrize(("pad", "air", "codes"), [
    ([(0, 0), (0, 0), (0, 0)], 0.0, "LPS"),
    ([(0, 0), (0, 0), (0, 0)], "noise", "SLA"),
    ([(0, 110), (0, 0), (0, 0)], 0.0, "RAS"),
    ([(0, 110), (0, 0), (0, 0)], "noise", "LPS"),
    ([(110, 0), (0, 90), (3, 5)], -1000.0, "PSR"),
    ([(110, 0), (0, 90), (0, 0)], "noise", "SRP"),
    ([(90, 120), (150, 0), (0, 0)], 0.0, "SLA"),
    ([(90, 120), (150, 0), (0, 0)], np.nan, "IPR"),
])  # fmt: skip
def test_a_mask_lies_where_the_tumour_was_wherever_the_head_lies(tmp_path, pad, air, codes):
    images, masks = head()
    source = tmp_path / "source"
    affine = placed()
    affine[:3, 3] = [31, -17, 250] - affine[:3, :3] @ [before for before, _ in pad]
    rng = np.random.default_rng(3)
    for channel, kind in enumerate(("pre", "flair", "post")):
        values = np.pad(images[..., channel].T, pad, constant_values=0 if air == "noise" else air)
        if air == "noise":
            outside = np.pad(np.zeros(masks.T.shape), pad, constant_values=1) > 0
            values[outside] = np.abs(rng.normal(0, 2, outside.sum()))
        save(source / f"{kind}.nii.gz", values.astype(np.float32), affine)
    save(source / "seg.nii.gz", np.pad(masks.T, pad), affine)
    folder = turn(source, tmp_path / "Anna", codes)
    person = read_patient(folder)
    assert not [note for note in person.notes if "no number" not in note]
    # The pixels of the made-up head are 1.875 mm, those of the pictures half of that.
    assert abs(int(person.truth.sum()) - 4 * int(masks.sum())) <= 0.02 * 4 * masks.sum()
    written = save_masks(person, person.truth, tmp_path / "out")[-1]
    mine, theirs = nibabel.load(written), nibabel.load(folder / "seg.nii.gz")
    assert np.array_equal(mine.affine, theirs.affine)
    assert np.array_equal(np.asarray(mine.dataobj), np.asarray(theirs.dataobj))
    # The head's middle is voxel (63.5, 63.5), the tumour 0.13 x 128 voxels of 1.875 mm from it.
    middle = placed()[:2, :2] @ [63.5, 63.5] + [31, -17]
    assert centre_mm(written)[:2] == pytest.approx(middle + 0.13 * 240 * np.array([1, 1]), abs=3)


def test_the_same_head_in_two_fields_of_view_gives_the_same_pictures(tmp_path, patient):
    expected = read_patient(patient)
    for file in patient.iterdir():
        image = nibabel.load(file)
        values = np.pad(np.asarray(image.dataobj), [(0, 64), (0, 0), (0, 0)])
        save(tmp_path / "wide" / file.name, values, image.affine)
    wide = read_patient(tmp_path / "wide")
    # The frame follows the head to within the two voxels by which its edge is uncertain.
    shifts = [
        np.abs(np.roll(wide.images.astype(int), shift, axis=2) - expected.images)[
            :, :, 60:200
        ].max()
        for shift in range(-4, 5)
    ]
    assert min(shifts) <= 3


def test_sequences_in_different_axis_orders_are_read_together(tmp_path, patient):
    expected = read_patient(patient)
    mixed = tmp_path / "mixed"
    for name, codes in {"pre": "RAS", "flair": "LPS", "post": "SRP", "seg": "IAL"}.items():
        turned = turn(patient, tmp_path / codes, codes)
        mixed.mkdir(exist_ok=True)
        (turned / f"{name}.nii.gz").rename(mixed / f"{name}.nii.gz")
    found = read_patient(mixed)
    assert np.array_equal(found.images, expected.images)
    assert np.array_equal(found.truth, expected.truth)
    assert found.notes == ()


def test_a_tilted_head_and_a_sagittal_one_come_back_into_their_own_space(tmp_path):
    images, masks = head()
    angle = np.radians(20)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    for name, affine, codes in (
        ("tilted", tilt @ placed(), None),
        ("sagittal", placed(mm=(3 * MM, MM, MM)), "PIR"),
    ):
        step = 1 if name == "tilted" else 3  # every third voxel from left to right
        folder = write_head(
            tmp_path / name / "a", images[:, :, ::step], masks[:, :, ::step], affine
        )
        if codes:
            folder = turn(folder, tmp_path / name / "b", codes)
        person = read_patient(folder)
        blurred = any("not acquired in axial slices" in note for note in person.notes)
        assert blurred == (name == "sagittal")
        written = nibabel.load(save_masks(person, person.truth, tmp_path / name)[-1])
        theirs = nibabel.load(folder / "seg.nii.gz")
        assert np.allclose(written.affine, theirs.affine, atol=1e-5)
        first, second = (np.asarray(each.dataobj) > 0 for each in (written, theirs))
        assert 2 * (first & second).sum() / (first.sum() + second.sum()) > 0.97


def test_a_head_larger_than_the_frame_is_said_with_what_is_cut_off(tmp_path):
    # 74 x 92 voxels of 3 mm are 222 x 276 mm: 36 mm too many.
    folder = write_head(tmp_path / "big", *head(), placed(mm=(3.0, 3.0, 6.0)))
    note = next(note for note in read_patient(folder).notes if "cut off" in note)
    assert "the head is larger" in note
    assert abs(int(note.split("up to ")[1].split()[0]) - 36) <= 8


def test_one_slice_is_read_and_written(tmp_path):
    images, masks = head(slices=3)
    folder = write_head(tmp_path / "one", images[1:2], masks[1:2], placed())
    person = read_patient(folder)
    assert person.images.shape == (1, 256, 256, 3)
    written = nibabel.load(save_masks(person, person.truth, tmp_path / "out")[-1])
    assert np.array_equal(np.asarray(written.dataobj), masks[1:2].T)


def test_units_of_the_files_may_differ_and_the_mask_has_those_of_flair(tmp_path):
    images, masks = head()
    for channel, (kind, unit, factor) in enumerate(
        [("pre", "mm", 1), ("flair", "micron", 1000), ("post", "meter", 0.001)]
    ):
        affine = np.diag([factor, factor, factor, 1]) @ placed()
        save(tmp_path / "Anna" / f"{kind}.nii", images[..., channel].T, affine, unit)
    person = read_patient(tmp_path / "Anna")
    assert person.grid.voxel_mm == pytest.approx((MM, MM, 6.0), rel=1e-5)
    mask = np.repeat(np.repeat(masks, 2, axis=1), 2, axis=2)
    written = nibabel.load(save_masks(person, mask, tmp_path / "out")[-1])
    assert np.allclose(np.diag(written.affine), [-1875, -1875, 6000, 1])
    assert written.header.get_xyzt_units()[0] == "micron"
    assert np.array_equal(np.asarray(written.dataobj), masks.T)


def test_two_placements_in_one_header_are_said(tmp_path):
    images, _ = head()
    image = nibabel.Nifti1Image(images[..., 1].T, None)
    image.set_qform(placed(), 1)
    image.set_sform(placed("RPS"), 1)
    nibabel.save(image, tmp_path / "flair.nii")
    notes = read_patient(tmp_path / "flair.nii").notes
    # The ends of 127 voxels of 1.875 mm, once to the left and once to the right: 476 mm.
    assert any("476 mm apart" in note and "left and right" in note for note in notes)


def test_every_file_is_said_to_serve_as_something(patient):
    assert read_patient(patient).files() == [
        "pre-contrast T1: pre.nii.gz",
        "FLAIR: flair.nii.gz",
        "post-contrast T1: post.nii.gz",
        "mask of the tumour: seg.nii.gz",
    ]
    assert read_patient(patient / "flair.nii.gz").files() == ["FLAIR: flair.nii.gz"]


def test_a_single_volume_that_is_no_flair_by_its_name_is_refused(patient):
    for name, words in {"t1.nii.gz": "pre-contrast", "T1_post.nii.gz": "post-contrast",
                        "t2.nii.gz": "a T2", "seg.nii.gz": "mask"}.items():  # fmt: skip
        file = patient / name
        if not file.exists():
            (patient / "pre.nii.gz").rename(file)
        assert_one_line((name, words, "FLAIR"), read_patient, file)
        file.rename(patient / "pre.nii.gz")
    (patient / "pre.nii.gz").rename(patient / "t1_flair.nii.gz")
    assert_one_line(("t1_flair.nii.gz", "pre-contrast"), read_patient, patient / "t1_flair.nii.gz")
    (patient / "flair.nii.gz").unlink()
    assert_one_line(("no FLAIR", "t1_flair.nii.gz as pre-contrast", "post.nii.gz as post"),
                    read_patient, patient)  # fmt: skip


def test_a_file_of_three_volumes_is_not_what_its_name_does_not_say(tmp_path):
    volumes = np.transpose(head()[0], (2, 1, 0, 3)).astype(np.float32)
    for name, words in {"t1ce": "post-contrast T1", "flair": "FLAIR", "dwi": "no sequence"}.items():
        file = save(tmp_path / f"{name}.nii.gz", volumes, placed())
        assert_one_line((file.name, "3 volumes are taken as", f"says {words}"), read_patient, file)
    for name in ("Anna", "Anna_pre_flair_post"):
        file = save(tmp_path / f"{name}.nii.gz", volumes, placed())
        assert len(read_patient(file).files()) == 3


def test_a_mask_that_is_named_like_a_sequence_is_none(patient):
    (patient / "seg.nii.gz").rename(patient / "t1_tumor.nii.gz")  # 0 and 1
    (patient / "pre.nii.gz").unlink()
    person = read_patient(patient)
    assert "t1_tumor.nii.gz" not in " ".join(person.files())
    assert any("t1_tumor.nii.gz holds a handful of values" in note for note in person.notes)
    assert np.array_equal(person.images[..., 0], person.images[..., 1])
    (patient / "flair.nii.gz").unlink()
    (patient / "t1_tumor.nii.gz").rename(patient / "flair_lesion.nii.gz")
    words = ("flair_lesion.nii.gz", "as a mask does", "give the FLAIR")
    assert_one_line(words, read_patient, patient)


def in_folders(patient, root, **folders):
    """Move a patient's files, by the words before their suffix, into a folder each."""
    for name, folder in folders.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        (patient / f"{name}.nii.gz").rename(root / folder / f"{name}.nii.gz")
    return root


def test_a_folder_a_series_is_read_as_one_patient(tmp_path, patient):
    expected = read_patient(patient)
    # A mask below is no truth: it may be one that was predicted.
    root = in_folders(patient, tmp_path / "P1", pre="T1", flair="FLAIR", post="T1_GD", seg="out")
    found = read_patient(root)
    assert found.name == "P1"
    assert np.array_equal(found.images, expected.images)
    assert found.truth is None
    assert found.files()[::2] == ["pre-contrast T1: T1/pre.nii.gz",
                                  "post-contrast T1: T1_GD/post.nii.gz"]  # fmt: skip
    together, unused = found.notes
    assert "3 folders (FLAIR, T1, T1_GD) and were read together" in together
    assert "out/seg.nii.gz: not used" in unused


@pytest.mark.parametrize("folders", [
    {"pre": "visit1", "flair": "visit2"},
    {"pre": "T1_2019", "flair": "FLAIR_2021"},
    {"pre": "other/T1", "flair": "FLAIR"},
    {"pre": "Bert", "flair": "Anna"},
    {"pre": "T1", "flair": "Anna"},
])  # fmt: skip
def test_a_t1_of_another_examination_or_patient_is_not_used_and_said(tmp_path, patient, folders):
    found = read_patient(in_folders(patient, tmp_path / "P1", **folders))
    assert found.files() == ["FLAIR: flair.nii.gz"]
    assert any(f"{folders['pre']}/pre.nii.gz: not used" in note for note in found.notes)


def test_two_t1s_that_could_both_belong_to_a_flair_are_not_used_and_said(tmp_path, patient):
    save(patient / "t1.nii.gz", head()[0][..., 0].T, placed())
    root = in_folders(patient, tmp_path / "P1", pre="T1", t1="T1w", flair="FLAIR")
    found = read_patient(root)
    assert found.files() == ["FLAIR: flair.nii.gz"]
    assert any("T1/pre.nii.gz, T1w/t1.nii.gz: not used" in note for note in found.notes)


def test_files_are_found_in_one_folder_below(tmp_path, patient):
    expected = read_patient(patient)
    deep = tmp_path / "above" / "sub-01" / "ses-post" / "anat"
    deep.parent.mkdir(parents=True)
    patient.rename(deep)
    (deep.parent / "func").mkdir()
    save(deep.parent / "func" / "sub-01_bold.nii.gz", np.ones((4, 4, 4)))
    found = read_patient(tmp_path / "above")
    assert np.array_equal(found.images, expected.images)
    write_head(deep.parents[1] / "ses-pre" / "anat", *head(), placed())
    words = ("2 folders", "ses-post", "ses-pre", "one folder")
    assert_one_line(words, read_patient, tmp_path / "above")


def test_a_mask_of_the_brain_is_no_truth_whatever_its_name(patient):
    brain = np.broadcast_to(~around(), (6, 128, 128)).astype(np.uint8)
    save(patient / "seg.nii.gz", brain.T, placed())
    person = read_patient(patient)
    assert person.truth is None
    assert any("seg.nii.gz was not used" in note and "brain" in note for note in person.notes)
    assert "seg.nii.gz" not in " ".join(person.files())


@pytest.mark.parametrize(("change", "kept", "word"), [
    (lambda mask: mask * 4, True, ""),  # labels
    (lambda mask: mask * 255, True, ""),
    (lambda mask: mask * np.arange(1, 7), True, ""),  # 1 to 6, a label a slice
    # 17 labels, each on some columns of the picture; a mask holds 16 at most.
    (lambda mask: mask * (np.arange(128) % 17 + 1)[:, None, None], False, "more than 16"),
    (lambda mask: mask * 0.9 + 0.01, True, "exceeds 0.5"),
    (lambda mask: mask * 700.5, False, "whole number"),
    (lambda mask: mask - 1.0, False, "run from -1"),
    (lambda mask: mask / 0.0, False, "no number"),
])  # fmt: skip
def test_what_a_mask_holds_is_checked(patient, change, kept, word):
    masks = head()[1]
    with np.errstate(all="ignore"):
        save(patient / "seg.nii.gz", change(masks.T.astype(np.float32)), placed())
    person = read_patient(patient)
    assert (person.truth is not None) == kept
    if kept:
        assert person.truth.sum() == pytest.approx(4 * masks.sum(), rel=0.02)
    assert any(word in note for note in person.notes) or not word


def test_notes_on_grey_levels_name_the_file(patient):
    images = head()[0]
    flair = images[..., 1].T.astype(np.float32)
    air = np.broadcast_to(around().T[..., np.newaxis], flair.shape)
    for value, words in ((np.nan, "no number"), (4000, "is 4000, as bright")):
        save(patient / "flair.nii.gz", np.where(air, np.float32(value), flair), placed())
        assert any(words in n and "flair.nii.gz" in n for n in read_patient(patient).notes)
    save(patient / "flair.nii.gz", 200 - flair, placed())
    assert_one_line(("flair.nii.gz", "inverted"), read_patient, patient)
    save(patient / "flair.nii.gz", flair, placed())
    save(patient / "pre.nii.gz", flair * 0, placed())
    person = read_patient(patient)
    assert any("pre.nii.gz is empty" in note for note in person.notes)
    assert np.array_equal(person.images[..., 0], person.images[..., 1])


def test_slices_without_head_do_not_change_how_a_patient_is_normalised(tmp_path):
    images, _ = head()
    airy = np.concatenate([np.zeros((24, 128, 128, 3)), images, np.zeros((30, 128, 128, 3))])
    tight = read_patient(write_head(tmp_path / "tight", images, None, placed()))
    wide = read_patient(write_head(tmp_path / "airy", airy, None, placed()))
    # Black is 0 in the one and the darkest noise in the other.
    assert np.abs(wide.images[24:30].astype(int) - tight.images).max() <= 1
    assert np.abs(wide.pictures(64)[24:30].astype(int) - tight.pictures(64)).max() <= 2


def test_a_folder_with_pipes_folders_and_loops_is_told_in_one_line(tmp_path, patient):
    os.mkfifo(patient / "t2.nii.gz")
    assert_one_line(("t2.nii.gz", "pipe"), read_patient, patient)
    (patient / "t2.nii.gz").unlink()
    (patient / "t2.nii.gz").symlink_to(patient / "t2.nii.gz")
    assert_one_line(("t2.nii.gz", "link"), read_patient, patient)
    (patient / "t2.nii.gz").unlink()
    (patient / "t2.nii.gz").mkdir()
    assert read_patient(patient).notes == ()
    assert_one_line(("t2.nii.gz", "no patients"), read_patient, patient / "t2.nii.gz")
    long = "x" * 248
    patient.rename(tmp_path / long)
    assert_one_line((long, "248 bytes", "shorten"), read_patient, tmp_path / long)
    assert_one_line(("give a shorter one",), read_patient, tmp_path / ("x" * 300))


def test_a_volume_with_more_slices_than_a_head_has_is_refused_unread(tmp_path):
    file = save(tmp_path / "flair.nii.gz", np.zeros((32, 32, 1100), np.uint8), np.eye(4))
    assert_one_line(("1100 axial slices", "1024"), read_patient, file)
    file = save(tmp_path / "flair.nii.gz", np.zeros((32, 32, 4), np.uint8), np.eye(4) * 0.1)
    assert_one_line(("3.2 x 3.2 mm", "cannot be a head's"), read_patient, file)
    wide = np.diag([25.0, 25.0, 5.0, 1.0])
    file = save(tmp_path / "flair.nii.gz", np.zeros((100, 100, 4), np.uint8), wide)
    assert_one_line(("2.5e+03 x 2.5e+03 mm", "cannot be a head's"), read_patient, file)
    file = save(tmp_path / "flair.nii.gz", np.zeros((100, 100, 300), np.uint8), np.eye(4) * 20)
    assert_one_line(("6 m long", "cannot be a head's"), read_patient, file)


def test_a_large_volume_is_thinned_to_be_measured_and_gives_the_same_picture(patient, monkeypatch):
    expected = read_patient(patient)
    monkeypatch.setattr(grid, "MOST_SAMPLED", 2**15)
    found = read_patient(patient)
    assert np.abs(found.images.astype(int) - expected.images).max() <= 12
    assert (found.start, found.occupied) == (expected.start, expected.occupied)


def test_a_head_of_many_voxels_takes_little_memory(tmp_path):
    # 40 slices of 1024 x 1024 are 42 million voxels: 168 MB as floats, 42 MB as bytes.
    slice_ = np.kron(head(slices=1)[0][0, ..., 1], np.ones((8, 8))).T
    values = np.repeat(slice_[..., np.newaxis].astype(np.uint8), 40, axis=2)
    file = save(tmp_path / "flair.nii", values, placed(mm=(MM / 8, MM / 8, 2.0)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    person = read_patient(file)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert person.images.shape == (40, 256, 256, 3)
    assert grown < 450, f"{grown:.0f} MiB"
