"""Pairs of slices are those that were meant, and their correlation is Pearson's."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from utils.cohort.statistics import most_similar, neighbour_in_training, slice_similarity


def cohort(patients=2, slices=4, seed=0):
    random = np.random.default_rng(seed)
    names = np.repeat([f"p{number}" for number in range(patients)], slices)
    table = pd.DataFrame({"patient": names, "slice": np.tile(np.arange(1, slices + 1), patients)})
    return random.integers(0, 256, (len(table), 8, 8, 3)).astype(np.uint8), table


def test_pairs_never_cross_patients():
    images, table = cohort()
    counts = slice_similarity(images, table, [1, 3])["distance"].value_counts(dropna=False)
    assert counts[1] == 2 * 3
    assert counts[3] == 2 * 1
    assert counts[pd.NA] == 8


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9)), min_size=1, unique=True))
def test_a_distance_is_that_of_the_slices_numbers_though_some_are_not_there(slices):
    table = pd.DataFrame(slices, columns=["patient", "slice"])
    images = np.random.default_rng(0).integers(0, 256, (len(table), 8, 8, 3)).astype(np.uint8)
    pairs = slice_similarity(images, table, [1, 3])
    counts = pairs.loc[pairs["pair"] == "same patient", "distance"].value_counts()
    for distance in (1, 3):
        expected = sum((patient, number + distance) in slices for patient, number in slices)
        assert counts.get(distance, 0) == expected


def test_correlation_is_pearsons():
    images, table = cohort(patients=1, slices=2)
    result = slice_similarity(images, table, [1])
    first, second = (picture[::2, ::2, 1].ravel() for picture in images)
    assert result["correlation"].tolist() == pytest.approx([np.corrcoef(first, second)[0, 1]])


def test_other_patient_is_taken_at_the_same_height():
    images, table = cohort()
    images[4:] = images[:4]  # the second patient is a copy of the first
    result = slice_similarity(images, table, [1])
    others = result.loc[result["pair"] == "another patient", "correlation"]
    assert others.to_numpy() == pytest.approx(1)


def test_an_even_picture_correlates_with_nothing():
    images, table = cohort(patients=1, slices=2)
    images[0] = 7
    assert slice_similarity(images, table, [1])["correlation"].tolist() == [0]


def test_neighbours_are_of_the_same_patient_and_one_slice_away():
    table = pd.DataFrame(
        {
            "patient": ["a", "a", "a", "a", "b", "b"],
            "slice": [1, 2, 3, 4, 2, 3],
            "part": ["test", "train", "test", "test", "test", "test"],
        }
    )
    assert neighbour_in_training(table).tolist() == [True, False, True, False, False, False]


def test_a_split_by_patient_leaves_no_neighbour_in_training():
    _, table = cohort()
    table["part"] = np.where(table["patient"] == "p0", "train", "test")
    assert not neighbour_in_training(table)[table["part"] == "test"].any()


def test_the_most_alike_slice_is_its_copy():
    images, _ = cohort()
    images[6] = images[1]
    asked, among = np.zeros(8, bool), np.zeros(8, bool)
    asked[6], among[:4] = True, True
    assert most_similar(images, asked, among).tolist() == [1]
