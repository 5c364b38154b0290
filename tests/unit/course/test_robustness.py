"""Pictures that a model should not be believed on: which they are, and what is told about them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from utils.cohort.volumes import Volumes
from utils.course import robustness
from utils.course.run import Run
from utils.models.files.settings import Postprocessing
from utils.patient.axial import Grid
from utils.patient.perturbations import FOREIGN
from utils.patient.read import Patient


class Bright:
    """A segmenter that calls what is bright in FLAIR tumour."""

    input_shape = (None, 64, 64, 3)

    def predict_on_batch(self, batch):
        return (batch[..., 1:2] > 200).astype(np.float32)


@pytest.fixture
def patient():
    images = np.zeros((6, 256, 256, 3), np.uint8)
    rng = np.random.default_rng(0)
    images[:, 50:210, 60:190] = rng.integers(80, 120, (6, 160, 130, 3))
    truth = np.zeros((6, 256, 256), np.uint8)
    truth[1:4, 100:132, 80:112] = 1
    images[truth > 0] = 250
    return Patient("Anna", images, truth, Grid((256, 256, 6), np.diag([0.9375, 0.9375, 20, 1])))


def cohort(missing):
    """Return a run whose held-out patients A, B, C have tumours of 30, 10 and 20 pixels."""
    names = np.repeat(["A", "B", "C"], 2)
    table = pd.DataFrame(
        {"patient": names, "institution": "DU", "tumour_px": [30, 0, 10, 0, 20, 0]}
    )
    images = np.random.default_rng(0).integers(0, 255, (6, 4, 4, 3), dtype=np.uint8)
    for name in missing:
        images[names == name, ..., 2] = images[names == name, ..., 1]
    split = pd.DataFrame({"patient": ["A", "B", "C"], "part": "test"})
    return Run(SimpleNamespace(seed=0), None, table, split, Volumes(table, images, None))


@pytest.mark.parametrize(("missing", "chosen"), [("", "C"), ("C", "A"), ("CA", "B"), ("ABC", "C")])
def test_the_example_has_all_sequences_and_a_tumour_of_middling_size(missing, chosen):
    assert robustness.example_patient(cohort(missing)) == chosen


def test_what_is_spoilt_and_what_is_foreign(patient):
    found = robustness.unreliable_inputs(patient)
    assert found["as it is"] is patient
    assert set(FOREIGN) < set(found)
    assert len(found) == 8 + len(FOREIGN)
    shapes = {each.images.shape[1:] for each in found.values()}
    assert shapes == {(256, 256, 3)}
    assert [name for name, each in found.items() if each.truth is not None] == list(found)[:6]


def test_answers_belong_to_their_pictures(patient):
    answers = robustness.segment_in_views(
        Bright(),
        {"itself": patient, "one": Patient("one", patient.images[:1]),
         "dark": replace(patient, images=patient.images // 2 + 1, truth=None)},
        Postprocessing(0.5),
    )  # fmt: skip
    assert [len(each.pictures) for each in answers.values()] == [3, 1, 3]
    assert answers["itself"].mask.any(axis=(1, 2)).tolist() == [False, True, False]
    assert answers["itself"].dice > 0.9
    assert not answers["one"].mask.any()
    assert np.isnan(answers["dark"].dice)


def test_the_summary_tells_flagged_agreement_and_dice(patient):
    answers = robustness.segment_in_views(
        Bright(), {"a": patient, "b": patient}, Postprocessing(0.5)
    )
    far = {"a": np.array([1.0, 3.0, 3.0]), "b": np.array([1.0, 2.0, 3.0])}
    table = robustness.summary(answers, far, threshold=2.0)
    assert table["flagged"].tolist() == [True, False]
    assert table["distance"].tolist() == [3.0, 2.0]
    assert table["drawn"].tolist() == pytest.approx([1 / 3, 1 / 3])
    assert (table["agreement"] > 0.9).all()
    assert (table["dice"] > 0.9).all()
