"""The figures' colours are told apart by people who see fewer of them.

A colour blindness is simulated by a matrix on linear RGB, all three for the strongest degree:
Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color vision
deficiency", IEEE Transactions on Visualization and Computer Graphics 15(6), table 1
(doi:10.1109/TVCG.2009.113). Distances are CIEDE2000; about 2 can just be seen side by side.
"""

from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from skimage.color import deltaE_ciede2000, rgb2lab

from utils.plots.style import COLOURS, GREY, LINES, ORANGE, PREDICTION, SKY, STYLE, TRUTH

SEEN_BY = {
    "everybody": np.eye(3),
    "protanopia": np.array([
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]),
    "deuteranopia": np.array([
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]),
    "tritanopia": np.array([
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ]),
}  # fmt: skip
GREYS = np.linspace(0, 1, 41)
WHITE = (1.0, 1.0, 1.0)
APART = 10.0
# Contrasts of WCAG 2.1: 4.5 for text (1.4.3), 3 for what a figure is made of (1.4.11).
OF_TEXT, OF_PARTS = 4.5, 3.0
# Okabe and Ito's two light colours do not reach 3 on white. Darkened until they do, orange comes
# within 5 of vermilion (deuteranopia), and sky blue within 7 of green (tritanopia). They stay as
# they are, because a contour or a line of theirs differs in its kind of line too; see below.
LIGHT, OF_LIGHT = {ORANGE, SKY}, 2.2


def linear(colour):
    """Return sRGB (0 to 1) as linear RGB."""
    colour = np.asarray(colour, dtype=float)
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def seen(colour, who):
    """Return a colour (name or sRGB) as CIE Lab, as a group of people sees it."""
    rgb = np.clip(SEEN_BY[who] @ linear(to_rgb(colour)), 0, 1)
    rgb = np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)
    return rgb2lab(rgb)


def distance(first, second, who):
    return float(deltaE_ciede2000(seen(first, who), seen(second, who)))


def contrast(first, second):
    """Return the contrast ratio of WCAG 2.1, from 1 to 21."""
    weights = (0.2126, 0.7152, 0.0722)
    dark, light = sorted(float(linear(to_rgb(each)) @ weights) for each in (first, second))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("who", SEEN_BY)
def test_the_simulation_keeps_greys(who):
    np.testing.assert_allclose(SEEN_BY[who].sum(axis=1), 1, atol=1e-5)
    assert distance("#808080", "#808080", who) == 0
    assert distance("black", "white", who) == pytest.approx(100, abs=0.1)


def test_the_simulation_confuses_what_it_should():
    """Red and green of one lightness are far apart for most people, and not for everybody."""
    red, green = "#C04040", "#6F7F30"
    assert distance(red, green, "everybody") > 40
    assert distance(red, green, "deuteranopia") < 15
    assert distance("#0000FF", "#005F5F", "everybody") > distance(
        "#0000FF", "#005F5F", "tritanopia"
    )


def test_contrast_by_hand():
    assert contrast("black", "white") == pytest.approx(21)
    assert contrast("white", "white") == 1
    assert contrast("#777777", "white") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("who", SEEN_BY)
def test_colours_of_a_figure_are_told_apart(who):
    colours = (*COLOURS, GREY, "white")
    closest = min((distance(*pair, who), pair) for pair in combinations(colours, 2))
    assert closest[0] >= APART, closest


@pytest.mark.parametrize("who", SEEN_BY)
@pytest.mark.parametrize("look", [TRUTH, PREDICTION], ids=["truth", "prediction"])
def test_borders_stand_out_from_every_grey_of_a_slice(look, who):
    closest = min(distance(look["colors"], (grey, grey, grey), who) for grey in GREYS)
    assert closest >= 1.5 * APART


@pytest.mark.parametrize("who", SEEN_BY)
def test_the_two_borders_are_told_apart_by_colour_and_by_line(who):
    assert distance(TRUTH["colors"], PREDICTION["colors"], who) >= 4 * APART
    assert TRUTH["linestyles"] != PREDICTION["linestyles"]


@pytest.mark.parametrize("colour", COLOURS)
def test_colours_stand_out_from_white(colour):
    assert contrast(colour, WHITE) >= (OF_LIGHT if colour in LIGHT else OF_PARTS)


def test_grey_words_can_be_read():
    assert contrast(GREY, WHITE) >= OF_TEXT


def test_lines_differ_by_more_than_their_colour():
    looks = list(zip(COLOURS, LINES, strict=True))
    for (first, of_first), (second, of_second) in combinations(looks, 2):
        if of_first == of_second:
            # Then one must be much darker, as on paper without colours.
            assert contrast(first, second) >= OF_PARTS
    light = [line for colour, line in looks if colour in LIGHT]
    assert len({str(line) for line in light}) == len(LIGHT)


@pytest.mark.parametrize("who", SEEN_BY)
@pytest.mark.parametrize("name", ["viridis", STYLE["image.cmap"]])
def test_maps_grow_lighter_all_the_way(name, who):
    colours = mpl.colormaps[name](np.linspace(0, 1, 33))[:, :3]
    lightness = [seen(colour, who)[0] for colour in colours]
    assert np.all(np.diff(lightness) > 0)
