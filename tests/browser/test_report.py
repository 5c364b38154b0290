"""The viewer in the report of a run: the same script in a file of its own, a picture without it."""

import numpy as np
import pytest
from playwright.sync_api import expect

from utils.config import write_json
from utils.notebooks.build import KERNEL
from utils.notebooks.report import write_report
from utils.plots.viewer import Case, SliceViewer, Weights

pytestmark = pytest.mark.long
NOTEBOOK = {"cells": [], "metadata": {"kernelspec": KERNEL}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Return the address of a report with a viewer; on its third slice, 8 of 16 pixels are found.

    TP, FN and FP are sums of probabilities: 8 * 0.75, 16 - 6, and 4 * 0.25.
    """
    folder = tmp_path_factory.mktemp("a run")
    images = np.random.default_rng(0).integers(40, 160, (3, 32, 32, 1), dtype=np.uint8)
    truth, probability = np.zeros((3, 32, 32), np.uint8), np.zeros((3, 32, 32))
    truth[2, 10:14, 10:14] = 1
    probability[2, 10:14, 10:12] = 0.75
    probability[2, 10:14, 20] = 0.25
    viewer = SliceViewer(
        [Case("<b>SIM_1", images, truth, probability)],
        "no cohort",
        "A square on the last of three slices.",
        sequences=("FLAIR",),
        weights=Weights(0.7, 0.3, 1),
    )
    viewer.keep(folder / "figures", "04_viewer")
    (folder / "figures" / "04_viewer.png").write_bytes(viewer.picture())
    (folder / "figures" / "04_viewer.txt").write_text(viewer.alt)
    write_json(folder / "metrics.json", {"cohort": "simulated", "seed": 0})
    write_json(folder / "04_evaluate.ipynb", NOTEBOOK)
    return write_report(folder).as_uri()


def drawn(page):
    return page.locator("canvas").evaluate("canvas => canvas.toDataURL()")


def cells(page, row):
    return page.locator(".slice-viewer").get_by_role("row", name=row).get_by_role("cell")


def test_the_viewer_stands_in_place_of_its_picture_and_scrolls(page, report):
    page.goto(report)
    expect(cells(page, "True")).to_have_text(["16 px", "16 px"])
    expect(page.get_by_role("img", name="A square on the last")).to_be_hidden()
    seen = [drawn(page)]
    page.locator("canvas").click()
    for key in ("ArrowLeft", "Home"):
        page.keyboard.press(key)
        seen.append(drawn(page))
    assert len(set(seen)) == 3
    expect(cells(page, "True")).to_have_text(["0 px", "16 px"])
    page.locator("canvas").hover()
    page.mouse.wheel(0, 100)
    expect(page.get_by_text("2 of 3", exact=True)).to_be_visible()


def test_the_loss_follows_the_weights(page, report):
    page.goto(report)
    expect(cells(page, "TP, FN, FP")).to_have_text(["6, 10, 1", ""])
    # (6 + 1) / (6 + 0.7 * 10 + 0.3 * 1 + 1), by hand
    expect(cells(page, "Tversky index")).to_have_text(["0.49", ""])
    expect(cells(page, "Loss")).to_have_text(["0.510", ""])
    page.get_by_role("slider", name="α").fill("0.2")
    expect(cells(page, "Tversky index")).to_have_text(["0.75", ""])  # 7 / (6 + 2 + 0.3 + 1)
    page.get_by_role("slider", name="Exponent").fill("2")
    expect(cells(page, "Loss")).to_have_text(["0.061", ""])  # (2.3 / 9.3) ** 2


def test_without_scripts_the_picture_is_there(browser, report):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report)
    expect(page.get_by_role("img", name="A square on the last of three slices.")).to_be_visible()
    expect(page.locator("[data-viewer]")).to_be_hidden()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_window_need_not_be_scrolled_sideways(page, report, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(report)
    expect(cells(page, "Dice").first).to_have_text("0.67")  # 2 * 8 / (16 + 8)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
