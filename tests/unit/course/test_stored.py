import numpy as np
import pytest

from utils.course.features import StoredRows

VALUES = np.arange(24, dtype=np.float16).reshape(6, 2, 2)


@pytest.fixture
def stored(tmp_path):
    np.save(tmp_path / "values.npy", VALUES)
    return StoredRows(tmp_path / "values.npy")


@pytest.mark.parametrize(
    "which", [slice(1, 4), slice(4, 99), [5, 0, 5], np.arange(6) % 2 == 0, slice(0, 0)], ids=str
)
def test_reads_what_the_array_would_give(stored, which):
    assert (stored.shape, stored.dtype, len(stored)) == (VALUES.shape, VALUES.dtype, 6)
    np.testing.assert_array_equal(stored[which], VALUES[which])
    np.testing.assert_array_equal(stored.take(which)[:], VALUES[which])


def test_rows_of_rows(stored):
    some = stored.take([5, 3, 1])
    assert some.shape == (3, 2, 2)
    np.testing.assert_array_equal(some[1:], VALUES[[3, 1]])
