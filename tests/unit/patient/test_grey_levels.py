"""Grey levels are those of the head, however the air around it is stored, and how much there is."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from nifti_files import around, head
from scipy import ndimage

from utils.patient.grey_levels import Levels, measure, to_8_bit

MM = (6.0, 1.875, 1.875)  # 128 pixels are 240 mm
AIR = around()
BRAIN = np.broadcast_to(ndimage.binary_erosion(~AIR, iterations=7), (6, 128, 128))
# 0.58 x 128 = 74 columns and 0.72 x 128 = 92 rows about the middle.
BOX = ((0, 6), (18, 111), (27, 102))


def flair(scale=10.0):
    """Return a FLAIR without air, 0 to about 1200, as float32 (6, 128, 128)."""
    volume = head(noise=3.0)[0][..., 1].astype(np.float32) * scale
    volume[:, AIR] = 0
    return volume


def rayleigh(spread, shape=(6, 128, 128)):
    return np.hypot(*np.random.default_rng(1).normal(0, spread, (2, *shape))).astype(np.float32)


def with_air(air):
    volume = flair()
    volume[:, AIR] = air[:, AIR] if isinstance(air, np.ndarray) else air
    return volume


CASES = {
    "0": with_air(0),
    "-1024": with_air(-1024),
    "NaN": with_air(np.nan),
    "infinite": with_air(np.inf),
    "the largest value": with_air(flair().max()),
    "32767": with_air(32767),
    "a little noise": with_air(rayleigh(10)),
    "much noise": with_air(rayleigh(60)),
    "noise below 0": with_air(rayleigh(10)) - 1024,
    "noise about 0": with_air(rayleigh(10) - 12),
    "z-scores, 0 around": with_air(np.nan) / 300 - 2,
    "z-scores of all": (with_air(rayleigh(10)) - 150) / 250,
}
CASES["z-scores, 0 around"] = np.nan_to_num(CASES["z-scores, 0 around"], nan=0.0)


@pytest.mark.parametrize("name", CASES)
def test_the_head_is_found_and_scaled_alike_in_whatever_air(name):
    expected = to_8_bit(CASES["0"], measure(CASES["0"], MM)).astype(int)
    levels = measure(CASES[name], MM)
    for found, right in zip(levels.box, BOX, strict=True):
        assert np.abs(np.subtract(found, right)).max() <= 2
    found = to_8_bit(CASES[name], levels)
    # Black is the air, or the darkest of the head: that makes a few grey levels.
    assert np.abs(found.astype(int) - expected)[BRAIN].max() <= 8
    assert np.median(found[:, AIR]) <= 40
    assert np.median(found[BRAIN]) > 80
    assert not levels.inverted


def test_more_air_changes_no_grey_level():
    for air, value in (("a little noise", None), ("0", 0), ("-1024", -1024)):
        volume = CASES[air]
        pad = [(12, 12), (64, 64), (0, 200)]
        airy = np.pad(volume, pad, constant_values=value or 0)
        if value is None:
            noise = rayleigh(10, airy.shape)
            noise[12:18, 64:192, :128] = volume
            airy = noise
        tight, wide = measure(volume, MM), measure(airy, MM)
        inner = airy[12:18, 64:192, :128]
        difference = to_8_bit(inner, wide).astype(int) - to_8_bit(volume, tight)
        assert np.abs(difference).max() <= 1
        # The box moves along with the head; from more voxels every second is looked at.
        moved = np.subtract(wide.box, [[12], [64], [0]])
        assert np.abs(moved - tight.box).max() <= 3


def test_padding_around_noise_and_two_kinds_of_padding_are_told_from_the_head():
    padded = np.pad(CASES["a little noise"], [(2, 2), (40, 40), (30, 50)], constant_values=-1000)
    padded = np.pad(padded, [(0, 0), (10, 10), (10, 10)], constant_values=-3000)
    levels = measure(padded, MM)
    assert sorted(levels.padding) == [-3000, -1000]
    right = np.add(BOX, [[2], [50], [40]])
    assert np.abs(np.subtract(levels.box, right)).max() <= 2
    assert to_8_bit(np.float32([[-3000, -1000, levels.white]]), levels).tolist() == [[0, 0, 255]]


def test_a_head_without_its_skull_and_one_cut_off_tightly_are_whole():
    stripped = np.where(BRAIN, flair(), 0).astype(np.float32)
    box = measure(stripped, MM).box
    assert np.abs(np.subtract(box, ((0, 6), (25, 104), (34, 95)))).max() <= 2
    tight = CASES["a little noise"][:, 18:111, 27:102]
    assert np.abs(np.subtract(measure(tight, MM).box, ((0, 6), (0, 93), (0, 75)))).max() <= 2


def test_bright_padding_is_said_and_noise_brighter_than_the_head_is_inverted():
    assert measure(CASES["32767"], MM).bright_padding == 32767
    assert measure(CASES["0"], MM).bright_padding is None
    assert measure(1300 - CASES["a little noise"], MM).inverted


def test_without_a_head_there_is_no_box():
    noise = rayleigh(10)
    assert measure(noise, MM).box is None
    stripe = noise.copy()
    stripe[:, :, 20:26] += 900  # 11 mm wide
    assert measure(stripe, MM).box is None


def test_one_wild_voxel_does_not_set_the_scale():
    wild = CASES["a little noise"].copy()
    wild[3, 64, 64] = 1e7
    assert measure(wild, MM).white == pytest.approx(
        measure(CASES["a little noise"], MM).white, rel=0.02
    )
    assert to_8_bit(wild, measure(wild, MM))[3, 64, 64] == 255


@pytest.mark.parametrize("value", [0, -3, 1e6, np.nan])
def test_a_constant_volume_becomes_black(value):
    volume = np.full((3, 40, 40), value, np.float32)
    assert not to_8_bit(volume, measure(volume, MM)).any()


@given(st.floats(0.01, 1e4), st.floats(-1e3, 1e3))
@settings(max_examples=20)
def test_the_scale_of_the_scanner_does_not_matter(gain, offset):
    volume = with_air(rayleigh(10) + 1)
    scaled = (gain * volume + offset).astype(np.float32)
    found = to_8_bit(scaled, measure(scaled, MM)).astype(int)
    assert np.abs(found - to_8_bit(volume, measure(volume, MM))).max() <= 2


def test_the_scale_is_linear_clipped_and_rounded_and_areas_of_padding_are_black():
    levels = Levels(black=100, white=200, padding=(151,))
    values = np.float32([[0, 100, 120.2, 200, 1e30, np.nan, 151]])
    # 20.2 of 100 is 51.51 of 255, and 51 is 130.05.
    assert to_8_bit(values, levels).tolist() == [[0, 0, 52, 255, 255, 0, 130]]
    area = np.full((5, 5), 151, np.float32)
    area[:, 3:] = [[120.2, 151]] * 5
    # A column alone is no area.
    assert to_8_bit(area, levels).tolist() == [[0, 0, 0, 52, 130]] * 5
