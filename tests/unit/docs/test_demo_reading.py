"""The page of docs/demo reads files as `utils` does: its own modules, run by Node.js."""

import hashlib
import json
import shutil
import struct
import subprocess
import zlib

import nibabel
import numpy as np
import pytest
import tifffile
from nifti_files import affine_of, head, save
from PIL import Image

from utils.cohort.table import read_cohort
from utils.cohort.tiff import read_slice
from utils.cohort.volumes import View, read_views
from utils.config import ROOT, CourseError
from utils.patient.read import read_patient
from utils.patient.sequences import kind_of

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js"),
]

SIDE, SLICES = 96, 4


def page(*files):
    """Return what the page makes of each list of files."""
    given = json.dumps([[str(one) for one in each] for each in files])
    command = ["node", str(ROOT / "tests" / "helpers" / "page_reading.mjs")]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@pytest.fixture(scope="module")
def pictures():
    images, _ = head(SLICES, SIDE)
    return np.clip(images, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def flair(pictures):
    return np.ascontiguousarray(pictures[..., 1].T)


def with_header(path, values, **fields):
    """Write a NIfTI file of which these fields are set as they are, with nothing mended."""
    image = nibabel.Nifti1Image(values, affine_of())
    image.set_qform(affine_of(), 1)
    content = bytearray(image.to_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    content[:348] = header.binaryblock
    path.write_bytes(content)
    return path


def sizes(first=1.0, signs=(1, 1, 1), factors=(1, 1, 1)):
    """Return the field pixdim."""
    return [first, *np.array([0.9375, 0.9375, 6.0]) * signs * factors, 0, 0, 0, 0]


NEITHER = {"sform_code": 0, "qform_code": 0}
PLACEMENTS = {
    "qform alone": {"sform_code": 0},
    "qform, the other handedness": {"sform_code": 0, "pixdim": sizes(-1)},
    "qform, negative width": {"sform_code": 0, "pixdim": sizes(signs=(-1, 1, 1))},
    "qform, negative distance": {"sform_code": 0, "pixdim": sizes(signs=(1, 1, -1))},
    "qform, no distance": {"sform_code": 0, "pixdim": sizes(factors=(1, 1, 0))},
    "neither": NEITHER,
    "neither, negative width": NEITHER | {"pixdim": sizes(signs=(-1, 1, 1))},
    "neither, negative height": NEITHER | {"pixdim": sizes(signs=(1, -1, 1))},
    "sform of an unknown code": {"sform_code": 9},
    "scaled": {"scl_slope": 0.37, "scl_inter": -11.5},
}  # fmt: skip


def test_a_head_lies_as_it_does_for_python_whatever_its_header_says(tmp_path, flair):
    files = [with_header(tmp_path / f"{n}.nii", flair, **one) for n, one in
             enumerate(PLACEMENTS.values())]  # fmt: skip
    answers = page(*([file] for file in files))
    for case, file, answer in zip(PLACEMENTS, files, answers, strict=True):
        patient = read_patient(file)
        assert answer.get("volume") == sha256(patient.images), (case, answer)
        assert answer["start"] == list(patient.start), case
    # Else the cases would not differ: turned by the handedness, not by the sign of a size.
    assert answers[0]["volume"] != answers[1]["volume"]
    assert answers[0]["volume"] == answers[2]["volume"]


def test_what_python_refuses_the_page_does_not_read(tmp_path, flair):
    cases = {
        "its header is damaged": [
            with_header(tmp_path / "quaternion.nii", flair, sform_code=0, quatern_b=0.9,
                        quatern_c=0.9),
            with_header(tmp_path / "offset.nii", flair, vox_offset=348),
            with_header(tmp_path / "intercept.nii", flair, scl_slope=2, scl_inter=np.nan),
        ],
        "more than its header says": [
            with_header(tmp_path / "slices.nii", flair, dim=[3, SIDE, SIDE, 3, 1, 1, 1, 1]),
        ],
    }  # fmt: skip
    for sentence, files in cases.items():
        for file, answer in zip(files, page(*([file] for file in files)), strict=True):
            with pytest.raises(CourseError):
                read_patient(file)
            assert sentence in answer["error"], file


def test_a_nifti_that_the_page_does_not_read_is_called_what_it_is(tmp_path, flair):
    second = tmp_path / "second.nii"
    second.write_bytes(nibabel.Nifti2Image(flair, affine_of()).to_bytes())
    pair = nibabel.Nifti1Pair(flair, affine_of())
    nibabel.save(pair, tmp_path / "pair.hdr")
    (tmp_path / "pair.hdr").rename(tmp_path / "pair.nii")
    answers = page([second], [tmp_path / "pair.nii"])
    assert "is NIfTI-2, which this page does not read" in answers[0]["error"]
    assert "is the header of a pair, which this page does not read" in answers[1]["error"]


def test_two_placements_that_disagree_are_told(tmp_path, flair):
    moved = with_header(tmp_path / "moved.nii", flair, qoffset_x=40.0)
    [answer] = page([moved])
    at_first = nibabel.load(moved)
    apart = abs(at_first.get_sform() - at_first.get_qform()).max()
    assert f"in two ways that lie up to {apart:.0f} mm apart" in answer["notes"][0]
    [note] = [note for note in read_patient(moved).notes if "two ways" in note]
    assert f"up to {apart:.0f} mm" in note


@pytest.mark.parametrize("black", [None, 0, 1, 2])
def test_a_black_channel_stays_black_and_the_others_keep_their_levels(tmp_path, pictures, black):
    images = pictures.copy()
    if black is not None:
        images[..., black] = 0
        images[:, 0, 0, black] = 9  # not empty, but black in the brain
    folder = tmp_path / "p"
    folder.mkdir()
    for number, image in enumerate(images, start=1):
        Image.fromarray(image).save(folder / f"p_{number}.tif")
    view = View(64, "brain_mode", "head")
    expected = read_views(read_cohort(tmp_path, masks="absent"), [view])[view].images
    [answer] = page(sorted(folder.iterdir()))
    assert answer["shown"] == sha256(expected)


def test_three_samples_of_which_one_is_transparency_are_no_sequences(tmp_path, pictures):
    file = tmp_path / "p_1.tif"
    tifffile.imwrite(file, pictures[0], photometric="minisblack", planarconfig="contig",
                     extrasamples=["unassalpha", "unspecified"], metadata=None)  # fmt: skip
    [answer] = page([file])
    assert "has an alpha channel among its three" in answer["error"]


def test_pixels_with_a_sign_are_called_that(tmp_path, pictures):
    file = tmp_path / "p_1.tif"
    tifffile.imwrite(file, pictures[0].view(np.int8), photometric="rgb", metadata=None)
    [answer] = page([file])
    assert "has signed pixels" in answer["error"]


def test_a_tiff_whose_last_bytes_are_missing_is_not_read_as_black_there(tmp_path):
    # PackBits writes equal bytes as (257 - n, byte), others as (n - 1, n bytes). With its last byte
    # left out, the first picture ends with a run of nothing, the second with a byte too few.
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    files = [tmp_path / "even_1.tif", tmp_path / "noise_1.tif"]
    for file, pixels in zip(files, (np.full_like(noise, 7), noise), strict=True):
        Image.fromarray(pixels).save(file, compression="packbits")
        with tifffile.TiffFile(file, mode="r+b") as opened:
            counts = opened.pages[0].tags["StripByteCounts"]
            counts.overwrite((*counts.value[:-1], counts.value[-1] - 1))
        with pytest.raises(CourseError, match="damaged or cut short"):
            read_slice(file)
    for answer in page(*([file] for file in files)):
        assert "its pixels cannot be unpacked" in answer.get("error", "read")


def test_a_png_line_with_a_filter_that_does_not_exist_is_damaged(tmp_path):
    # Each line of a PNG begins with the number of its filter, 0 to 4.
    file, lines = tmp_path / "five_1.png", np.full((40, 1 + 40 * 3), 5, np.uint8)
    Image.new("RGB", (40, 40)).save(file)
    chunks = {name: file.read_bytes().index(name) for name in (b"IDAT", b"IEND")}
    data = b"IDAT" + zlib.compress(lines.tobytes())
    whole = file.read_bytes()
    file.write_bytes(
        whole[: chunks[b"IDAT"] - 4]
        + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
        + whole[chunks[b"IEND"] - 4 :]
    )  # fmt: skip
    with pytest.raises(OSError):
        Image.open(file).load()
    (answer,) = page([file])
    assert "damaged or cut short" in answer.get("error", "read")


# What each is: with FLAIR beside it, read as this, or refused; None: refused, or left out.
T1S = {
    "pre": "pre",
    "t1": "pre",
    "sub-01_T1w": "pre",
    "t1_n4_brain": "pre",
    "BraTS_t1n": "pre",
    "T1_post_op": "pre",
    "ses-post_T1w": "pre",
    "post": "post",
    "t1ce": "post",
    "T1_POST": "post",
    "t1_gd": None,
    "T1-Gd": None,
    "sub-01_ce-gadolinium_T1w": None,
    "t1_c": None,
    "T1+C": None,
    "t1_contrast": None,
    "T1c_minus": None,
    "post_w_o": None,
    "t1_map": None,
    "T1_ph": None,
    "t2": None,
    "adc": None,
    "lesion_post": None,
}


def test_no_t1_is_taken_for_one_before_or_after_contrast_that_it_is_not(tmp_path, flair):
    # In the other sequence all voxels are twice as bright but for a block.
    other = flair * np.float32(2)
    other[30:50, 30:50] = 20
    save(tmp_path / "flair.nii", flair, affine_of())
    files = [save(tmp_path / f"{name}.nii", other, affine_of()) for name in T1S]
    answers = page(*([tmp_path / "flair.nii", file] for file in files))
    missing = {"post": "There is no pre-contrast T1", "pre": "There is no post-contrast T1"}
    for (name, kind), file, answer in zip(T1S.items(), files, answers, strict=True):
        if kind is None:
            assert "error" in answer, (name, answer)
            continue
        assert kind_of(file.name) == kind
        told = [note for note in answer["notes"] if note.startswith("There is no")]
        assert [note.split(":")[0] for note in told] == [missing[kind]], name


def test_a_single_file_that_says_another_sequence_is_not_taken_as_flair(tmp_path, flair):
    named = {
        "t2": "another sequence",
        "adc": "another sequence",
        "t1": "pre-contrast T1",
        "t1_gd": "something else",
        "T1_FLAIR": "something else",
        "seg": "mask",
    }
    files = [save(tmp_path / f"{name}.nii", flair, affine_of()) for name in named]
    for said, file, answer in zip(
        named.values(), files, page(*([one] for one in files)), strict=True
    ):
        with pytest.raises(CourseError):
            read_patient(file)
        assert f"a single volume is taken as FLAIR, and its name says {said}" in answer["error"]
    names = ["Anna", "AX_FLAIR_post_op", "flair_to_T1", "t2_tirm_dark-fluid", "patient_c"]
    files = [save(tmp_path / f"{name}.nii", flair, affine_of()) for name in names]
    answers = page(*([one] for one in files))
    assert [answer.get("volume") for answer in answers] == [
        sha256(read_patient(file).images) for file in files
    ]


def test_a_mask_that_is_not_looked_at_is_told(tmp_path, flair):
    files = [save(tmp_path / f"{name}.nii", flair, affine_of()) for name in ("flair", "seg")]
    [answer] = page(files)
    assert "A mask file was not looked at." in answer["notes"]
