"""Notebook 04, first half: right answers pass, typical wrong ones are told by their case."""

import numpy as np
import pandas as pd
import pytest
from answers import (
    assert_all_are_tried,
    assert_nonsense_is_told,
    assert_right,
    assert_told,
    rights,
    wrongs,
)
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from utils.evaluation import segmentation
from utils.exercises.topics import evaluate

EXERCISES = {each.name: each for each in evaluate.EXERCISES}
NAN = float("nan")
COUNTS = ["tumour_px", "predicted_px", "overlap_px"]


def veto(masks, p_tumour, threshold):
    return np.stack(
        [mask if p >= threshold else 0 * mask for mask, p in zip(masks, p_tumour, strict=True)]
    )


def empties_in_place(masks, p_tumour, threshold):
    """Spoil the masks that were given."""
    masks[p_tumour < threshold] = 0
    return masks


def copies_first(masks, p_tumour, threshold):
    masks = masks.copy()
    return empties_in_place(masks, p_tumour, threshold)


def ratio(rows):
    return 2 * rows["overlap_px"] / (rows["tumour_px"] + rows["predicted_px"])


def three(slices):
    return {
        "patients": float(ratio(slices.groupby("patient")[COUNTS].sum()).mean()),
        "slices": float(ratio(slices).mean()),
        "pooled": float(ratio(slices[COUNTS].sum())),
    }


def outline(mask):
    return np.argwhere(mask & ~binary_erosion(mask))


def ways(truth, prediction, metric="euclidean", of=outline):
    distances = cdist(of(truth), of(prediction), metric)
    return distances.min(axis=0), distances.min(axis=1)


def hd95(truth, prediction, one=None, neither=NAN, **how):
    if not (truth.any() or prediction.any()):
        return neither
    if not (truth.any() and prediction.any()):
        return float(np.hypot(*truth.shape)) if one is None else one
    return float(np.percentile(np.concatenate(ways(truth, prediction, **how)), 95))


def changed(**changes):
    """Return a function like `three` with some of its values from other functions."""
    return lambda slices: (
        three(slices) | {name: float(value(slices)) for name, value in changes.items()}
    )


RIGHT = {
    "cascade": [veto, copies_first, lambda masks, p, t: np.uint8(veto(masks, p, t))],
    "three_dice": [three, lambda slices: pd.Series(three(slices))],
    "hd95": [
        hd95,
        lambda t, p: hd95(t, p, float(np.hypot(t.shape[0] - 1, t.shape[1] - 1))),
        lambda t, p: segmentation.hd95(t, p),
    ],
}  # fmt: skip

# What is wrong: the answer, and words that the message has to hold.
WRONG = {
    "cascade": {
        "turned round": (lambda m, p, t: veto(m, -p, -t), "0.2, 0.8", "empty the slices that are"),
        "strictly above": (lambda m, p, t: m * (p > t)[:, None, None], "just flagged", "slice 1"),
        "by column": (
            lambda m, p, t: m * (p >= t) if m.shape[1:] == (3, 3) else veto(m, p, t),
            "3 x 3", "slice 0 is changed",
        ),
        "by any column": (
            lambda m, p, t: m * (p >= t), "0.2, 0.8", "mask of slice 0 is changed",
        ),
        "in place": (empties_in_place, "must stay as they are", "read-only"),
        "drops slices": (lambda m, p, t: m[p >= t], "0.2, 0.8", "one mask for each slice"),
        "does nothing": (lambda m, p, t: m, "0.2, 0.8", "slice 0 stands"),
        "fixed threshold": (lambda m, p, t: veto(m, p, 0.5), "a single slice", "is emptied"),
    },
    "three_dice": {
        "a column": (
            lambda slices: three(slices) | {"slices": ratio(slices)},
            "'slices': you return a Series, not one number",
        ),
        "patients by slices": (
            changed(patients=lambda slices: ratio(slices).groupby(slices["patient"]).mean().mean()),
            "large tumour", "'patients'", "average its slices' Dice",
        ),
        "patients pooled": (
            changed(patients=lambda slices: three(slices)["pooled"]),
            "large tumour", "'patients'", "one ratio for all pixels",
        ),
        "median of patients": (
            changed(patients=lambda slices: ratio(
                slices.groupby("patient")[COUNTS].sum()).median()),
            "a false positive of 10 pixels", "'patients'", "the median",
        ),
        "empty as 1": (
            changed(slices=lambda slices: ratio(slices).fillna(1).mean()),
            "'slices'", "empty slices count as 1",
        ),
        "empty as 0": (
            changed(slices=lambda slices: ratio(slices).fillna(0).mean()),
            "'slices'", "empty slices count as 0",
        ),
        "0/0": (
            changed(slices=lambda slices: np.mean(ratio(slices).to_numpy())), "'slices'", "0/0",
        ),
        "pooled is patients": (
            changed(pooled=lambda slices: three(slices)["patients"]), "'pooled'", "mean over the p",
        ),
        "tumour slices only": (
            changed(slices=lambda slices: ratio(slices[slices["tumour_px"] > 0]).mean()),
            "a false positive of 10 pixels", "'slices'", "not 0/0",
        ),
        "empty patient": (
            changed(patients=lambda slices: ratio(
                slices.groupby("patient")[COUNTS].sum()).fillna(1).mean()),
            "a patient with nothing traced", "leave it out",
        ),
        "key": (lambda slices: {"patients": three(slices)["patients"]}, "no 'slices'"),
    },
    "hd95": {
        "city block": (lambda t, p: hd95(t, p, metric="cityblock"), "3 rows and 4", "added up"),
        "chessboard": (lambda t, p: hd95(t, p, metric="chebyshev"), "3 rows and 4", "longer side"),
        "squared": (lambda t, p: hd95(t, p, metric="sqeuclidean"), "3 rows and 4", "root"),
        "largest": (
            lambda t, p: max(map(np.max, ways(t, p))), "stray pixel", "largest distance",
        ),
        "one way": (
            lambda t, p: float(np.percentile(ways(t, p)[0], 95)), "one end is found", "both ways",
        ),
        "the larger": (
            lambda t, p: max(float(np.percentile(each, 95)) for each in ways(t, p)),
            "one end is found", "the larger of two",
        ),
        "a share, not per cent": (
            lambda t, p: float(np.percentile(np.concatenate(ways(t, p)), 0.95)),
            "one end is found", "counts per cent",
        ),
        "median": (
            lambda t, p: float(np.median(np.concatenate(ways(t, p)))),
            "one end is found", "a median",
        ),
        "all pixels": (lambda t, p: hd95(t, p, of=np.argwhere), "9 x 9", "outlines"),
        "nan for one": (lambda t, p: hd95(t, p, NAN), "an empty prediction", "cost nothing"),
        "0 for one": (lambda t, p: hd95(t, p, 0.0), "an empty prediction", "perfect outline"),
        "inf for one": (lambda t, p: hd95(t, p, np.inf), "an empty prediction", "no mean"),
        "a little for one": (lambda t, p: hd95(t, p, 20.0), "an empty prediction", "too low"),
        "nan for an invented one": (
            lambda t, p: hd95(t, p) if t.any() else NAN, "an empty true mask", "cost nothing",
        ),
        "both sides": (lambda t, p: hd95(t, p, float(sum(t.shape))), "an empty pr", "added up"),
        "longer side": (lambda t, p: hd95(t, p, max(t.shape)), "an empty pred", "longer side"),
        "no root": (
            lambda t, p: hd95(t, p, sum(side**2 for side in t.shape)), "an empty pred", "root",
        ),
        "one image's diagonal": (lambda t, p: hd95(t, p, 50.0), "6 x 8 pixels", "too high"),
        "no guard": (
            lambda t, p: float(np.percentile(np.concatenate(ways(t, p)), 95)),
            "an empty prediction", "stops with ValueError",
        ),
        "0 for neither": (
            lambda t, p: hd95(t, p, neither=0.0), "two empty masks", "perfect outline",
        ),
        "diagonal for neither": (
            lambda t, p: hd95(t, p, neither=float(np.hypot(*t.shape))),
            "two empty masks", "charge nothing",
        ),
    },
}  # fmt: skip


@pytest.mark.parametrize(("name", "answer"), rights(RIGHT))
def test_right_answers_pass(name, answer):
    assert_right(EXERCISES[name], answer)


@pytest.mark.parametrize(("name", "answer", "words"), wrongs(WRONG))
def test_typical_wrong_answers_are_told_by_their_case(name, answer, words):
    assert_told(EXERCISES[name], answer, words)


@pytest.mark.parametrize("name", EXERCISES)
def test_nonsense_is_told(name):
    assert_nonsense_is_told(EXERCISES[name])


def test_every_exercise_is_tried_with_two_wrong_answers_or_more():
    assert_all_are_tried(EXERCISES, RIGHT, WRONG)
