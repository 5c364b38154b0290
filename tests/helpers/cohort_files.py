"""Small cohort folders for the tests, and a check of one-line errors."""

import numpy as np
import pytest
import tifffile

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
