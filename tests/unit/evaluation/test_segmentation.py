"""Dice, HD95 and their conventions, on masks small enough to count by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, strategies as st
from hypothesis.extra import numpy as hnp

from utils.config import CourseError
from utils.evaluation import segmentation


def square(top, left, side=3, size=12):
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def slices_table(*rows):
    columns = ["patient", "tumour_px", "predicted_px", "overlap_px"]
    return pd.DataFrame(rows, columns=columns)


pairs_of_masks = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)


def test_dice_of_a_square_shifted_by_one_column():
    # 9 pixels each, 6 in common: 2 * 6 / 18.
    assert segmentation.dice(square(2, 2), square(2, 3)) == pytest.approx(2 / 3)


@pytest.mark.parametrize("empty", [0.0, 1.0])
def test_dice_of_two_empty_masks_is_what_was_chosen(empty):
    nothing = np.zeros((4, 4))
    assert segmentation.dice(nothing, nothing, empty=empty) == empty


def test_dice_of_two_empty_masks_is_undefined_unless_chosen():
    assert np.isnan(segmentation.dice(np.zeros((4, 4)), np.zeros((4, 4))))


def test_dice_takes_0_and_255():
    assert segmentation.dice(square(2, 2) * 255, square(2, 2)) == 1


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(CourseError, match=r"shape \(4, 4\).*\(5, 5\)"):
        segmentation.dice(np.zeros((4, 4)), np.zeros((5, 5)))


def test_the_cascade_empties_what_is_not_flagged():
    slices = slices_table(("a", 0, 0, 0), ("a", 10, 10, 5), ("a", 30, 30, 30), ("b", 0, 20, 0))
    found = segmentation.cascade(slices.assign(flagged=[0, 0, 1, 0]))
    assert found["predicted_px"].tolist() == [0, 0, 30, 0]
    assert found["overlap_px"].tolist() == [0, 0, 30, 0]
    assert found["tumour_px"].tolist() == [0, 10, 30, 0]
    assert slices["predicted_px"].sum() == 60  # what was given stays as it was


def test_missed_is_of_the_tumour_and_invented_of_the_prediction():
    # Of a's 10 traced pixels 4 are missed, of its 8 predicted 2 invented.
    patients = slices_table(("a", 10, 8, 6), ("b", 5, 0, 0), ("c", 0, 4, 0)).set_index("patient")
    found = segmentation.missed_and_invented(patients)
    assert found["missed"].to_dict() == pytest.approx({"a": 0.4, "b": 1, "c": np.nan}, nan_ok=True)
    assert found["invented"].to_dict() == pytest.approx(
        {"a": 0.25, "b": np.nan, "c": 1}, nan_ok=True
    )


def test_what_dice_lacks_is_told_by_kind():
    # Of a's 10 true and 10 predicted pixels: 6 - 4 too little and 8 - 4 too much where the masks
    # meet, 4 missed, 2 false. b's masks lie beside each other in one slice. c has neither.
    a, b, c = [("a", 6, 8, 4), ("a", 4, 0, 0), ("a", 0, 2, 0)], ("b", 3, 2, 0), ("c", 0, 0, 0)
    slices = slices_table(*a, b, c)
    found = segmentation.lost_dice(slices).set_index("patient")
    assert found.loc["a"].tolist() == pytest.approx([2 / 20, 4 / 20, 4 / 20, 2 / 20])
    assert found.loc["b"].tolist() == pytest.approx([0, 0, 3 / 5, 2 / 5])
    assert found.loc["c"].isna().all()


@given(pairs_of_masks)
def test_the_parts_of_what_dice_lacks_add_up_to_it(masks):
    slices = segmentation.count_pixels(*masks).assign(patient="a")
    parts = segmentation.lost_dice(slices).drop(columns="patient").loc[0]
    np.testing.assert_allclose(parts.sum(skipna=False), 1 - segmentation.dice(*masks), atol=1e-12)
    assert parts.isna().all() or (parts >= 0).all()


@given(pairs_of_masks)
def test_dice_is_symmetric_and_between_0_and_1(masks):
    first, second = masks
    value = segmentation.dice(first, second, empty=1.0)
    assert value == segmentation.dice(second, first, empty=1.0)
    assert 0 <= value <= 1
    assert (value == 1) == np.array_equal(first, second)


@given(pairs_of_masks, st.randoms(use_true_random=False))
def test_order_of_slices_does_not_matter(masks, random):
    first, second = masks
    order = list(range(len(first)))
    random.shuffle(order)
    for measure in (segmentation.dice, segmentation.hd95):
        np.testing.assert_allclose(measure(first[order], second[order]), measure(first, second))


@given(pairs_of_masks)
def test_pixel_counts_give_the_dice_of_the_masks(masks):
    counts = segmentation.count_pixels(*masks)
    pooled = segmentation.dice_from_counts(*counts.sum())
    np.testing.assert_equal(float(pooled), segmentation.dice(*masks))


@pytest.mark.parametrize("shift", [0, 1, 4])
def test_hd95_of_a_square_against_itself_shifted(shift):
    # 3 x 3 squares have outlines of 8 pixels. Shifted by 1, eight of the 16 distances are 0 and
    # eight are 1; shifted by 4, the far columns are 4 away and the percentile falls on them.
    assert segmentation.hd95(square(2, 2), square(2, 2 + shift)) == pytest.approx(shift)


def test_hd95_of_single_pixels_is_their_distance():
    assert segmentation.hd95(square(1, 1, side=1), square(4, 5, side=1)) == 5


def test_hd95_leaves_out_most_of_a_far_speck():
    truth = np.zeros((60, 60), np.uint8)
    truth[5:35, 5:35] = 1  # outline of 116 pixels
    prediction = truth.copy()
    prediction[55, 55] = 1  # one of 117: less than the 5 % that are left out
    assert segmentation.hd95(truth, prediction) == 0


DIAGONAL = np.hypot(12, 12)  # of the squares' picture


def test_hd95_of_a_patient_is_the_mean_over_the_slices_with_either_mask():
    nothing, here = np.zeros((12, 12)), square(1, 1, side=1)
    pairs = {
        "5 apart": (here, square(4, 5, side=1)),
        "the same": (here, here),
        "missed": (here, nothing),
        "invented": (nothing, here),
        "neither": (nothing, nothing),
    }
    truth, prediction = (np.stack(masks) for masks in zip(*pairs.values(), strict=True))
    assert segmentation.hd95(truth, prediction) == pytest.approx((5 + 0 + 2 * DIAGONAL) / 4)


def test_hd95_of_a_patient_with_one_mask_empty_is_the_diagonal_and_with_both_undefined():
    nothing, tumour = np.zeros((3, 12, 12)), np.stack([square(1, 1)] * 3)
    assert segmentation.hd95(tumour, nothing) == pytest.approx(DIAGONAL)
    assert segmentation.hd95(nothing, tumour) == pytest.approx(DIAGONAL)
    assert np.isnan(segmentation.hd95(nothing, nothing))
    assert np.isnan(segmentation.hd95(nothing[0], nothing[0]))


def test_hd95_grows_when_the_only_slice_with_a_wrong_mask_is_emptied():
    # Before, an emptied slice was left out: what had been 8 px off would have become 0.
    truth = np.stack([square(2, 0)] * 4)
    prediction = np.stack([square(2, 0)] * 3 + [square(2, 8)])
    emptied = prediction.copy()
    emptied[3] = 0
    assert segmentation.hd95(truth, prediction) == pytest.approx(8 / 4)
    assert segmentation.hd95(truth, emptied) == pytest.approx(DIAGONAL / 4)


@given(pairs_of_masks, st.data())
def test_emptying_what_was_drawn_on_a_tumour_slice_never_improves_hd95(masks, data):
    truth, prediction = masks
    with_tumour = np.flatnonzero(truth.any(axis=(1, 2)))
    assume(len(with_tumour))
    emptied = prediction.copy()
    emptied[data.draw(st.lists(st.sampled_from(with_tumour.tolist()), min_size=1))] = False
    assert segmentation.hd95(truth, emptied) >= segmentation.hd95(truth, prediction) - 1e-9


@given(pairs_of_masks)
def test_an_invented_slice_never_improves_hd95(masks):
    truth, prediction = (np.concatenate([mask, np.zeros_like(mask[:1])]) for mask in masks)
    before = segmentation.hd95(truth, prediction)
    prediction[-1, 0, 0] = True
    assert segmentation.hd95(truth, prediction) >= np.nan_to_num(before) - 1e-9


@given(pairs_of_masks)
def test_hd95_lies_between_0_and_the_diagonal_and_is_symmetric(masks):
    value = segmentation.hd95(*masks)
    np.testing.assert_equal(value, segmentation.hd95(*masks[::-1]))
    assert np.isnan(value) == (not np.any(masks))
    assert np.isnan(value) or 0 <= value <= np.hypot(*masks[0].shape[1:]) + 1e-9


def test_outline_at_the_border_of_the_picture():
    mask = np.ones((3, 3), bool)
    assert segmentation.outline(mask).sum() == 8


def test_patient_table_pools_each_volume():
    slices = slices_table(("b", 10, 0, 0), ("a", 8, 8, 8), ("b", 0, 10, 0), ("b", 10, 10, 10))
    patients = segmentation.patient_table(slices).set_index("patient")
    assert list(patients.index) == ["a", "b"]
    assert patients.loc["a", "dice"] == 1
    assert patients.loc["b", "dice"] == pytest.approx(2 * 10 / (20 + 20))
    assert patients.loc["b", "slices"] == 3
    assert patients.loc["b", ["missed_slices", "invented_slices"]].tolist() == [1, 1]
    assert patients.loc["a", ["missed_slices", "invented_slices"]].tolist() == [0, 0]


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_a_patient_of_no_known_institution_is_not_lost(missing):
    slices = slices_table(("a", 8, 8, 8), ("b", 10, 10, 5), ("b", 0, 10, 0))
    patients = segmentation.patient_table(slices.assign(institution=["DU", missing, missing]))
    assert patients["patient"].tolist() == ["a", "b"]
    assert patients["institution"].isna().tolist() == [False, True]
    assert patients["dice"].tolist() == [1, pytest.approx(2 * 5 / (10 + 20))]


def test_patient_table_adds_hd95_from_masks():
    slices = slices_table(("b", 1, 1, 0), ("a", 9, 9, 9))
    truths = np.stack([square(1, 1, side=1), square(2, 2)])
    predictions = np.stack([square(4, 5, side=1), square(2, 2)])
    patients = segmentation.patient_table(slices, truths, predictions)
    assert patients["hd95_px"].tolist() == [0, 5]
    with pytest.raises(CourseError, match="1 masks for 2 rows"):
        segmentation.patient_table(slices, truths[:1], predictions)


def test_dice_conventions_by_hand():
    slices = slices_table(
        ("a", 10, 10, 5),  # 0.5
        ("a", 0, 0, 0),  # empty
        ("a", 0, 20, 0),  # 0
        ("b", 30, 30, 30),  # 1
    )
    table = segmentation.dice_conventions(slices, batch=2).set_index("convention")["dice"]
    patient_a = 2 * 5 / (10 + 30)
    assert len(table) >= 8
    assert table["patients, mean"] == pytest.approx((patient_a + 1) / 2)
    assert table["patients, median"] == pytest.approx((patient_a + 1) / 2)
    assert table["all pixels pooled"] == pytest.approx(2 * 35 / (40 + 60))
    assert table["tumour slices only"] == pytest.approx((0.5 + 1) / 2)
    assert table["slices, empty skipped"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert table["slices, empty = 0"] == pytest.approx((0.5 + 0 + 0 + 1) / 4)
    assert table["slices, empty = 1"] == pytest.approx((0.5 + 1 + 0 + 1) / 4)
    assert table["slices, smoothed"] == pytest.approx((11 / 21 + 1 + 1 / 21 + 1) / 4)
    assert table["slices within patients"] == pytest.approx((1.5 / 3 + 1) / 2)
    assert table["batches of 2"] == pytest.approx((2 * 5 / 20 + 2 * 30 / (30 + 50)) / 2)
    assert table["largest slice"] == pytest.approx((0.5 + 1) / 2)


@pytest.mark.parametrize("labels", [[1, 2, 3, 4], [3, 1, 4, 2], [0, 1, 0, 1]])
def test_dice_conventions_do_not_depend_on_the_row_labels(labels):
    # The last are those of two tables that were put together as they were.
    slices = slices_table(("a", 0, 5, 0), ("a", 10, 10, 5), ("b", 4, 4, 4), ("b", 0, 0, 0))
    expected = segmentation.dice_conventions(slices)
    assert expected.set_index("convention")["dice"]["largest slice"] == (0.5 + 1) / 2
    found = segmentation.dice_conventions(slices.set_axis(labels))
    pd.testing.assert_frame_equal(found, expected)
