"""The loss lab: what is tried, and how a training is measured."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from utils.course import loss_lab


def test_five_settings_share_the_course_s_own():
    assert len(loss_lab.SETTINGS) == 5
    with_weights = {exponent for *pair, exponent in loss_lab.SETTINGS if pair == [0.7, 0.3]}
    assert with_weights == set(loss_lab.EXPONENTS)
    with_exponent = {(fn, fp) for fn, fp, exponent in loss_lab.SETTINGS if exponent == 4 / 3}
    assert with_exponent == set(loss_lab.WEIGHTS)


def test_patients_are_rated_at_every_threshold(monkeypatch):
    masks = np.zeros((3, 2, 2), "uint8")
    masks[0, 0] = 1  # two pixels of patient a; b, of one slice, has none
    probabilities = np.full((3, 2, 2), 0.05)
    probabilities[0, :, 0] = 0.45  # one of the two, and one beside them
    monkeypatch.setattr("utils.models.inference.predict_images", lambda *given: probabilities)
    part = SimpleNamespace(
        images=None, masks=masks, table=pd.DataFrame({"patient": ["a", "a", "b"]})
    )
    rated = loss_lab.rate(None, part).set_index(["threshold", "patient"])
    assert rated.loc[(0.4, "a")].tolist() == pytest.approx([0.5, 0.5, 0.5])
    assert rated.loc[(0.5, "a"), ["dice", "sensitivity"]].tolist() == [0.0, 0.0]
    assert np.isnan(rated.loc[(0.5, "a"), "precision"])
    assert rated.loc[(0.5, "b"), "dice"] == 1.0
    assert np.isnan(rated.loc[(0.5, "b"), "sensitivity"])


@pytest.mark.long
def test_a_loss_with_variables_is_the_loss_with_numbers():
    from utils.models.losses import FocalTversky

    truth = np.array([[1, 1, 0, 0]], "float32")
    prediction = np.array([[0.2, 0.9, 0.4, 0.0]], "float32")
    loss, values = loss_lab._adjustable_loss()
    for setting in loss_lab.SETTINGS:
        for variable, value in zip(values, setting, strict=True):
            variable.assign(value)
        assert float(loss(truth, prediction)) == pytest.approx(
            float(FocalTversky(*setting)(truth, prediction)), rel=1e-5
        )
