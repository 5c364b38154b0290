"""The numbers about a slice that need no network, on pictures whose answers are known."""

import numpy as np
import pandas as pd
from hypothesis import given, strategies as st

from utils.cohort.features import simple_features
from utils.cohort.volumes import GREY_LEVELS_PER_SD, HEAD_MEAN, Volumes

BRIGHT = HEAD_MEAN + 3 * GREY_LEVELS_PER_SD


def one_sidedness(flair):
    images = np.full((1, *flair.shape, 3), HEAD_MEAN, np.uint8)
    images[0, ..., 1] = flair
    volumes = Volumes(pd.DataFrame({"patient": ["a"]}), images, None)
    return simple_features(volumes)["one-sidedness"][0]


@given(height=st.integers(8, 12), width=st.integers(8, 13), columns=st.data())
def test_what_is_as_bright_on_both_sides_is_not_one_sided_at_any_width(height, width, columns):
    chosen = columns.draw(st.sets(st.integers(0, width - 1), min_size=1))
    flair = np.full((height, width), HEAD_MEAN, np.uint8)
    flair[2:5, list(chosen)] = BRIGHT
    assert one_sidedness(np.maximum(flair, flair[:, ::-1])) == 0


def test_one_sidedness_is_the_difference_of_the_sides_over_all_that_is_bright():
    flair = np.full((8, 9), HEAD_MEAN, np.uint8)
    # 3 bright pixels on the left, 1 in the middle column, 1 on the right: |3 - 1| / 5.
    flair[4, [0, 1, 2, 4, 8]] = BRIGHT
    assert one_sidedness(flair) == 2 / 5


@given(st.permutations("aabbc"))
def test_the_numbers_of_a_slice_stand_in_its_own_row_in_whatever_order_the_patients_come(patients):
    images = np.full((5, 8, 8, 3), HEAD_MEAN, np.uint8)
    images[..., 1] += np.arange(5, dtype=np.uint8)[:, None, None]
    volumes = Volumes(pd.DataFrame({"patient": patients}), images, None)
    assert simple_features(volumes)["flair mean"].tolist() == [HEAD_MEAN + row for row in range(5)]
