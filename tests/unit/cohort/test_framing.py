import numpy as np
import pytest
from hypothesis import given, strategies as st

from utils.cohort.framing import Square, cut_out, head_square, put_back, whole_picture


def test_the_square_is_around_the_head_of_all_slices():
    heads = np.zeros((2, 60, 80), bool)
    heads[0, 10:30, 20:40] = True
    heads[1, 20:34, 30:68] = True
    # Rows 10 to 34 and columns 20 to 68: the longer side is 48, and 48 / 0.96 = 50.
    square = head_square(heads)
    assert square.side == 50
    assert (square.top, square.left) == ((10 + 34 - 50) // 2, (20 + 68 - 50) // 2)


def test_a_few_bright_pixels_in_the_background_do_not_widen_it():
    heads = np.zeros((5, 100, 100), bool)
    heads[:, 20:80, 20:80] = True  # 300 in each row and column: up to 6 do not count
    expected = head_square(heads)
    heads[:, 0, 99] = True
    assert head_square(heads) == expected


def test_without_a_head_it_is_the_whole_picture():
    assert head_square(np.zeros((3, 40, 60), bool)) == whole_picture((40, 60)) == (-10, 0, 60)


@given(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.integers(-15, 15),
    st.integers(-15, 15),
    st.integers(1, 20),
)
def test_what_is_put_back_is_what_was_cut_out(shape, top, left, side):
    picture = np.arange(1, 1 + shape[0] * shape[1]).reshape(shape)
    square = Square(top, left, side)
    shown = cut_out(picture, square)
    assert shown.shape == (side, side)
    again = put_back(shown, square, shape)
    rows, columns = np.indices(shape)
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    np.testing.assert_array_equal(again, np.where(inside, picture, 0))


@pytest.mark.parametrize("channels", [(), (3,)])
def test_channels_stay_with_their_pixels(channels):
    picture = np.random.default_rng(0).integers(1, 255, (6, 8, *channels), np.uint8)
    shown = cut_out(picture, Square(2, 3, 4))
    np.testing.assert_array_equal(shown, picture[2:6, 3:7])
