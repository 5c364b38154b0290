"""Missing sequences are those that equal FLAIR; grey levels are those of the head, patient by
patient."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cohort_files import save

from utils.cohort.statistics import (
    enhancement,
    even_images,
    head_grey_levels,
    missing_sequences,
    spread_between_patients,
)
from utils.cohort.volumes import GREY_LEVELS_PER_SD, HEAD_MEAN, Volumes


def volumes_of(*images):
    """Return volumes of the patients p0, p1, …, two slices each."""
    names = np.repeat([f"p{number}" for number in range(len(images))], 2)
    table = pd.DataFrame({"patient": names, "institution": "DU", "slice": [1, 2] * len(images)})
    return Volumes(table, np.concatenate(images), None)


def random_images(seed):
    return np.random.default_rng(seed).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)


def test_a_channel_equal_to_flair_throughout_is_missing():
    whole, pre, post = (random_images(seed) for seed in range(3))
    pre[..., 0] = pre[..., 1]
    post[..., 2] = post[..., 1]
    found = missing_sequences(volumes_of(whole, pre, post))
    assert found["pre_contrast"].tolist() == [False, True, False]
    assert found["post_contrast"].tolist() == [False, False, True]


def test_equal_in_one_slice_only_is_not_missing():
    images = random_images(0)
    images[0, ..., 0] = images[0, ..., 1]
    assert not missing_sequences(volumes_of(images))["pre_contrast"].any()


def test_grey_levels_come_from_the_head_alone(tmp_path):
    pictures = np.zeros((2, 32, 32, 3), np.uint8)
    pictures[:, 8:16, 8:24] = (50, 100, 140)
    pictures[:, 16:24, 8:24] = (50, 100, 160)
    for number, picture in enumerate(pictures, start=1):
        for patient, values in (("p0", picture), ("p1", picture * 0)):
            save(tmp_path / f"{patient}_{number}.tif", values)
    table = volumes_of(pictures, pictures).table
    table["image_path"] = [
        str(tmp_path / f"{row.patient}_{row.slice}.tif") for row in table.itertuples()
    ]
    levels = head_grey_levels(table, pixels=50)
    raw, normalised = (
        levels.groupby("channel")[column].unique().map(sorted).tolist()
        for column in ("raw", "normalised")
    )
    assert raw == [[50], [100], [140, 160]]
    # A constant channel is the mean throughout; the third lies one standard deviation either side.
    either_side = [HEAD_MEAN - GREY_LEVELS_PER_SD, HEAD_MEAN + GREY_LEVELS_PER_SD]
    assert normalised == [[HEAD_MEAN], [HEAD_MEAN], either_side]
    assert levels["patient"].unique().tolist() == ["p0"]  # p1 has no head
    assert len(levels) == 3 * 50


def test_grey_levels_of_tables_put_together_are_those_of_each_patient(tmp_path):
    parts = []
    for patient, grey in (("p0", 50), ("p1", 150)):
        picture = np.zeros((32, 32, 3), np.uint8)
        picture[8:24, 8:24] = grey
        save(tmp_path / f"{patient}_1.tif", picture)
        path = str(tmp_path / f"{patient}_1.tif")
        parts.append(pd.DataFrame({"patient": [patient], "institution": "DU", "image_path": path}))
    levels = head_grey_levels(pd.concat(parts), pixels=50)  # both rows have the label 0
    found = levels.groupby("patient")["raw"].unique().map(list)
    assert found.to_dict() == {"p0": [50], "p1": [150]}


def test_spread_is_that_of_the_means_over_that_within():
    levels = pd.DataFrame(
        {"channel": 0, "patient": ["a", "a", "b", "b"], "raw": [9.0, 11.0, 13.0, 15.0]}
    )
    # Means 10 and 14: standard deviation sqrt(8). Within each patient sqrt(2).
    assert spread_between_patients(levels, "raw").tolist() == pytest.approx([2.0])


def test_a_tumour_lights_up_where_it_gains_more_than_a_deviation_of_the_head():
    ring, dark, missing = (np.full((2, 8, 8, 3), 90, np.uint8) for _ in range(3))
    for images in (ring, dark):
        images[..., 1] = 150
    ring[0, 2, 2:5, 2] = 90 + GREY_LEVELS_PER_SD + 1
    dark[0, 2, 2:5, 2] = 90 + GREY_LEVELS_PER_SD  # not more than that
    masks = np.zeros((6, 8, 8), np.uint8)
    masks[::2, 2:4, 2:5] = 1
    found = enhancement(replace(volumes_of(ring, dark, missing), masks=masks))
    assert found["tumour_px"].tolist() == [6, 6, 6]
    assert found["enhancing"].tolist()[:2] == [0.5, 0.0]
    assert np.isnan(found["enhancing"][2])  # all channels equal FLAIR


def test_a_patient_without_tumour_has_no_share_that_lights_up():
    images = random_images(0)
    found = enhancement(replace(volumes_of(images), masks=np.zeros((2, 8, 8), np.uint8)))
    assert found["tumour_px"].tolist() == [0] and np.isnan(found["enhancing"][0])


def test_an_image_of_one_grey_with_a_few_edges_is_even():
    levels = pd.DataFrame(
        {"patient": ["even"] * 10 + ["usual"] * 10, "channel": 0,
         "raw": [105] * 9 + [180, *range(0, 200, 20)]}
    )  # fmt: skip
    assert even_images(levels) == ["even"]
    assert even_images(levels.assign(channel=1)) == []
