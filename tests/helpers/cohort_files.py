"""Small cohort folders for the tests, and a check of one-line errors."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from utils.config import CourseError


def picture(side=32, value=50, channels=3, dtype=np.uint8):
    shape = (side, side) if channels == 1 else (side, side, channels)
    return np.full(shape, value, dtype)


def mask_of(side=32, pixels=0):
    """Return a mask whose first `pixels` pixels are tumour."""
    mask = np.zeros(side * side, np.uint8)
    mask[:pixels] = 255
    return mask.reshape(side, side)


def write_patient(root, patient="TCGA_DU_0001_20000101", slices=3, masks=True, side=32):
    """Write a patient; slice n has n - 1 tumour pixels, so the first has none."""
    folder = root / patient
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, slices + 1):
        save(folder / f"{patient}_{number}.tif", picture(side, value=number))
        if masks:
            save(folder / f"{patient}_{number}_mask.tif", mask_of(side, number - 1))
    return folder


def save(path, array, **options):
    if array.ndim == 3 and array.shape[-1] == 3:
        options.setdefault("photometric", "rgb")
    # As Pillow and the real cohort have it; tifffile would add its own description.
    tifffile.imwrite(path, array, metadata=None, **options)


def cut(path, length):
    """Keep the first `length` bytes of a file (from its end if negative)."""
    path.write_bytes(path.read_bytes()[:length])


def assert_one_line(words, function, *arguments, **options):
    """Call `function`, which must raise a CourseError of one line that holds all `words`."""
    with pytest.raises(CourseError) as caught:
        function(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message, message
    return message


def write_squares(root, institutions):
    """Write a patient of four slices, 48 px, for each institution; 2 and 3 have a tumour.

    It is a square that is bright in FLAIR.
    """
    rng = np.random.default_rng(0)
    for number, institution in enumerate(institutions):
        name = f"TCGA_{institution}_{number:04d}_20000101"
        (root / name).mkdir(parents=True)
        for index in range(1, 5):
            image = rng.integers(80, 120, (48, 48, 3), dtype=np.uint8)
            mask = np.zeros((48, 48), np.uint8)
            if index in (2, 3):
                mask[12:24, 12:24] = 255
                image[12:24, 12:24, 1] = 250
            Image.fromarray(image).save(root / name / f"{name}_{index}.tif")
            Image.fromarray(mask).save(root / name / f"{name}_{index}_mask.tif")
