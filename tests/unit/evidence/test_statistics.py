"""What is published follows from the rows, on tables small enough to work out by hand."""

import numpy as np
import pandas as pd
import pytest

from utils.evidence import statistics

COLUMNS = ["patient", "institution", "slice", "tumour_px", "predicted_px", "overlap_px",
           "p_tumour", "flagged"]  # fmt: skip


def table(*rows):
    slices = pd.DataFrame(rows, columns=COLUMNS)
    return slices.assign(p_detector=slices["p_tumour"], p_segmenter=slices["p_tumour"])


@pytest.fixture
def slices():
    """Three patients; A loses slice 2 to the cascade, C its false alarm."""
    return table(
        ("A", "DU", 1, 0, 0, 0, 0.1, 0),
        ("A", "DU", 2, 10, 10, 5, 0.4, 0),
        ("A", "DU", 3, 30, 30, 30, 0.9, 1),
        ("B", "HT", 1, 0, 0, 0, 0.6, 1),
        ("B", "HT", 2, 20, 20, 20, 0.8, 1),
        ("C", "HT", 1, 0, 20, 0, 0.2, 0),
        ("C", "HT", 2, 40, 20, 20, 0.7, 1),
    )


@pytest.fixture
def patients():
    return pd.DataFrame(
        {
            "patient": ["A", "B", "C"],
            "institution": ["DU", "HT", "HT"],
            "dice": [0.875, 1.0, 0.5],
            "hd95_px": [3.0, np.nan, 5.0],
            "tumour_px": [40, 20, 40],
        }
    )


def test_mean_median_and_distance_are_over_patients(patients):
    found = statistics.segmentation(patients)
    assert found["dice_mean"].estimate == pytest.approx((0.875 + 1 + 0.5) / 3)
    assert found["dice_median"].estimate == 0.875
    assert found["hd95_median"].estimate == 4.0  # of 3 and 5; B has none
    assert 0.5 <= found["dice_mean"].low <= found["dice_mean"].high <= 1


def test_a_share_by_counts_is_the_share_of_slices(slices):
    flagged = statistics.of_share(slices, slices["flagged"] == 1)
    assert flagged.estimate == pytest.approx(4 / 7)
    point = statistics.operating_point(slices)
    assert point["sensitivity"].estimate == pytest.approx(3 / 4)
    assert point["specificity"].estimate == pytest.approx(2 / 3)


def test_auc_counts_the_pairs_in_order(slices):
    # 0.4, 0.9, 0.8, 0.7 with tumour; 0.1, 0.6, 0.2 without: only (0.4, 0.6) is in wrong order.
    found = statistics.aucs(slices)
    assert list(found) == list(statistics.SCORES)
    assert found["p_tumour"].estimate == pytest.approx(11 / 12)


def test_institutions_come_worst_first_and_few_patients_get_no_interval(patients, slices):
    found = statistics.by_institution(patients, slices)
    assert found["institution"].tolist() == ["HT", "DU"]
    assert found["dice_mean"].tolist() == [0.75, 0.875]
    assert found["patients"].tolist() == [2, 1]
    assert found[["low", "high"]].isna().all(axis=None)
    many = pd.concat([patients.assign(patient=patients["patient"] + str(n)) for n in range(5)])
    assert statistics.by_institution(many, slices)["low"].notna().all()


def test_size_of_the_tumour_makes_groups_of_patients(patients):
    found = statistics.by_volume(patients, groups=2)
    assert found["from_px"].tolist() == [20, 40]
    assert found["patients"].tolist() == [2, 1]
    assert found["dice_mean"].tolist() == [pytest.approx((1 + 0.875) / 2), 0.5]


def test_size_of_the_tumour_makes_classes_of_slices(slices):
    found = statistics.by_area(slices, edges=(1, 20, 30, 100, 1000))
    assert found["slices"].tolist() == [1, 1, 2]  # 10; 20; 30 and 40; none larger
    assert found["flagged"].tolist() == [0.0, 1.0, 1.0]
    assert found["touched"].tolist() == [1.0, 1.0, 1.0]
    assert found["dice"].tolist() == [0.5, 1.0, pytest.approx((1 + 2 / 3) / 2)]


def test_calibration_has_a_table_and_an_error_for_each_score(slices):
    tables, errors = statistics.reliability(slices), statistics.calibration_errors(slices)
    assert set(tables) == set(errors) == set(statistics.SCORES.values())
    assert tables["both together"]["slices"].sum() == len(slices)


def test_eight_conventions_of_one_table(slices):
    found = statistics.conventions(slices).set_index("convention")["dice"]
    assert list(found.index) == list(statistics.CONVENTIONS)
    # Dice of the slices: 0/0, 0.5, 1, 0/0, 1, 0, 2/3.
    assert found["slices, empty = 0"] == pytest.approx((0.5 + 1 + 1 + 2 / 3) / 7)
    assert found["slices, empty = 1"] == pytest.approx((1 + 0.5 + 1 + 1 + 1 + 2 / 3) / 7)
    assert found["slices, empty skipped"] == pytest.approx((0.5 + 1 + 1 + 0 + 2 / 3) / 5)
    assert found["tumour slices only"] == pytest.approx((0.5 + 1 + 1 + 2 / 3) / 4)
    assert found["all pixels pooled"] == pytest.approx(150 / 200)


def test_the_worst_come_first_with_what_was_missed_and_invented(patients, slices):
    found = statistics.kinds_of_error(statistics.worst(patients, 2), slices)
    assert found["patient"].tolist() == ["C", "A"]
    assert found["missed"].tolist() == [0.5, pytest.approx(5 / 40)]
    assert found["invented"].tolist() == [0.5, pytest.approx(5 / 40)]


def test_the_kinds_of_loss_add_up_to_what_the_mean_lacks(slices):
    found = statistics.lost(slices)
    assert list(found) == list(statistics.KINDS_OF_LOSS)
    alone = statistics.cascade_gain(slices)[0].estimate
    assert sum(mean.estimate for mean in found.values()) == pytest.approx(1 - alone)


def test_patients_are_told_apart_by_the_size_of_their_masks():
    rows = [("a", 100, 110, 90), ("b", 100, 111, 100), ("c", 111, 100, 50), ("d", 0, 0, 0)]
    slices = pd.DataFrame(rows, columns=["patient", "tumour_px", "predicted_px", "overlap_px"])
    found = statistics.by_match(slices)
    # 110 is just within 10 % of 100; 111 is not, either way. d has no Dice.
    assert found["close"] == (1, pytest.approx(2 * 90 / 210))
    assert found["larger"] == (1, pytest.approx(2 * 100 / 211))
    assert found["smaller"] == (1, pytest.approx(2 * 50 / 211))


def test_the_cascades_gain_is_by_patient_and_in_pairs(slices):
    alone, both, gain = statistics.cascade_gain(slices)
    # A 2*35/80, then 2*30/70; B 1; C 2*20/80, then 2*20/60.
    assert alone.estimate == pytest.approx((0.875 + 1 + 0.5) / 3)
    assert both.estimate == pytest.approx((6 / 7 + 1 + 2 / 3) / 3)
    assert gain.estimate == pytest.approx(both.estimate - alone.estimate)


def test_the_cascades_misses_are_named(slices):
    found = statistics.cascade_misses(slices)
    assert found.to_dict("records") == [
        {
            "patient": "A",
            "institution": "DU",
            "tumour_slices": 2,
            "lost": 1,
            "lost_px": 5,
            "largest_px": 10,
        }
    ]
