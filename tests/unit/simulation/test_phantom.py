"""The parts that a simulated patient is made of."""

import numpy as np
import pytest

from utils.simulation import acquisition, phantom, tumour
from utils.simulation.head import LABEL, ORIGIN, SPACING, TISSUES, head_model, sample


@pytest.fixture(scope="module")
def head():
    return head_model()


def at(volume, x, y, z, order=1):
    points = np.array([[x], [y], [z]], np.float32)
    return sample(volume, points, ORIGIN, SPACING, order)[0]


def test_sample_interpolates_between_voxels_and_extends_the_edges():
    volume = np.zeros((2, 2, 2), np.float32)
    volume[1] = 4.0
    points = np.array([[10.0, 10.5, 12.0, -5.0], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    values = sample(volume, points, (10, 0, 0), 1.0)
    assert values.tolist() == [0.0, 2.0, 4.0, 0.0]


@pytest.mark.parametrize(
    ("place", "inside_cavity", "inside_skin"),
    [
        ((0, -20, 20), True, True),
        ((0, -20, 88), False, True),
        ((0, 60, -70), False, True),
        ((0, -20, 115), False, False),
        ((100, 60, 0), False, False),
    ],
    ids=["brain", "vertex", "nose", "above the head", "beside the head"],
)
def test_distances_tell_brain_from_head_from_air(head, place, inside_cavity, inside_skin):
    assert (at(head.cavity_mm, *place) < 0) == inside_cavity
    assert (at(head.surface_mm, *place) < 0) == inside_skin


def test_eyes_are_where_eyes_are(head):
    for side in (-32, 32):
        assert at(head.labels, side, 68, -38, order=0) == LABEL["vitreous"]


def test_enlarge_is_linear_and_keeps_the_grid_points():
    field = np.array([[[0, 2], [4, 6]]], np.float32)
    expected = [[[0, 1, 2], [2, 3, 4], [4, 5, 6]]]
    assert phantom.enlarge(field, 2).tolist() == expected


def test_lattice_noise_has_unit_spread_and_the_asked_wavelength():
    points = np.random.default_rng(0).uniform(-100, 100, (3, 20000)).astype(np.float32)
    near = points + np.array([[0.5], [0], [0]], np.float32)
    far = points + np.array([[60], [0], [0]], np.float32)
    noise, beside, beyond = (
        phantom.lattice_noise(places, 12, np.random.default_rng(1))
        for places in (points, near, far)
    )
    assert 0.6 < noise.std() < 1.1
    assert np.corrcoef(noise, beside)[0, 1] > 0.95
    assert abs(np.corrcoef(noise, beyond)[0, 1]) < 0.1


@pytest.mark.parametrize("volume_ml", [5, 60])
def test_tumour_has_its_volume_and_stays_in_the_skull(head, volume_ml):
    grown = tumour.grow(head, volume_ml, np.random.default_rng(3))
    inside = grown.arrival < 1
    assert inside.sum() * tumour.GRID_MM**3 / 1000 == pytest.approx(volume_ml, rel=0.2)
    where = grown.origin[:, None] + tumour.GRID_MM * np.argwhere(inside).T
    cavity = sample(head.cavity_mm, where.astype(np.float32), ORIGIN, SPACING)
    assert (cavity < 0).mean() > 0.99


def test_arrival_is_late_off_the_grid_and_early_in_the_tumour(head):
    grown = tumour.grow(head, 20, np.random.default_rng(4))
    index = np.argwhere(grown.arrival < 0.5)[0]
    inside = grown.origin + tumour.GRID_MM * index
    points = np.stack([inside, inside + 500], axis=1).astype(np.float32)
    early, late = tumour.arrival_at(grown, points)
    assert early < 0.75 and late == 3


def test_every_tissue_has_a_signal_in_every_channel():
    assert set(TISSUES) <= set(acquisition.SIGNAL)
    assert {len(values) for values in acquisition.SIGNAL.values()} == {3}
