"""The slice viewer in a real JupyterLab: what is drawn follows slider, wheel, keys and boxes."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import closing

import nbformat
import pytest

from utils.config import ROOT

pytestmark = pytest.mark.long

# Four slices of one patient: a square that grows, and probabilities that know its edge less well.
CODE = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import numpy as np
from utils.plots.viewer import Case, SliceViewer

images = np.random.default_rng(0).integers(40, 160, (4, 32, 32, 3), dtype=np.uint8)
truth = np.zeros((4, 32, 32), np.uint8)
probability = np.zeros((4, 32, 32))
for place in range(4):
    truth[place, 10 : 12 + 2 * place, 10:20] = 1
    probability[place, 10 : 12 + 2 * place, 12:20] = 0.8
    probability[place, 10 : 12 + 2 * place, 20:24] = 0.4
SliceViewer(
    [Case("a patient", images, truth, probability), Case("another", images[:2], truth[:2])],
    "no cohort",
    "A square that grows from slice to slice.",
    pixel_mm=5,
    slice_mm=10,
).show()
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Return the address of a JupyterLab with settings of its own, and the viewer in a notebook."""
    folder = tmp_path_factory.mktemp("lab")
    cell = nbformat.v4.new_code_cell(CODE)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), folder / "viewer.ipynb")
    homes = {f"JUPYTER_{kind}_DIR": str(folder / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    homes |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTER_NO_CONFIG": "1"}
    homes["JUPYTERLAB_WORKSPACES_DIR"] = str(folder / "workspaces")
    options = {
        "ServerApp.root_dir": str(folder),
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port_retries": 50,
        "ServerApp.allow_root": True,
        "IdentityProvider.token": "",
        "LabApp.expose_app_in_browser": True,
        "LabApp.news_url": "None",
        "LabApp.extension_manager": "readonly",
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", *words]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | homes, stdout=log, stderr=log)
    try:
        yield _address(folder, server)
    finally:
        server.terminate()
        server.wait(30)


def _address(folder, server):
    """Return where the server listens, once it answers."""
    for _ in range(300):
        for path in (folder / "RUNTIME").glob("jpserver-*.json"):
            address = json.loads(path.read_text())["url"]
            with closing(urllib.request.urlopen(f"{address}api/status")) as answer:
                assert answer.status == 200
            return address
        assert server.poll() is None, (folder / "log").read_text()
        time.sleep(0.2)
    raise AssertionError((folder / "log").read_text())


@pytest.fixture
def viewer(lab, page):
    """Return the viewer of the notebook, run anew."""
    page.goto(f"{lab}lab/tree/viewer.ipynb?reset")
    page.locator(".jp-Notebook .jp-CodeCell").wait_for(timeout=60_000)
    page.wait_for_function(
        "() => document.querySelector('.jp-NotebookPanel')?.innerText !== undefined && "
        "window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
        timeout=60_000,
    )
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    viewer = page.locator(".slice-viewer")
    viewer.get_by_role("row", name="Dice").wait_for(timeout=60_000)
    return viewer


def drawn(viewer):
    """Return the canvas as it is, a picture in text."""
    return viewer.locator("canvas").evaluate("canvas => canvas.toDataURL()")


def told(viewer, row):
    return viewer.get_by_role("row", name=row).inner_text().split("\t")[1:]


def set_range(viewer, label, value):
    viewer.get_by_role("slider", name=label).fill(str(value))


def test_slider_wheel_and_arrow_keys_move_through_the_slices(viewer, page):
    slider = viewer.get_by_role("slider", name="Slice")
    assert slider.input_value() == "4"  # the one with most tumour
    seen = [drawn(viewer)]

    set_range(viewer, "Slice", 2)
    seen.append(drawn(viewer))
    assert told(viewer, "True") == ["40 px, 10.0 cm²", "200 px, 50.0 ml"]

    viewer.locator("canvas").hover()
    page.mouse.wheel(0, 100)
    page.wait_for_function("slider => slider.value === '3'", arg=slider.element_handle())
    seen.append(drawn(viewer))

    cell = page.locator(".jp-Notebook .jp-mod-active").get_attribute("class")
    viewer.locator("canvas").click()
    for key in ("ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
    assert slider.input_value() == "1"
    seen.append(drawn(viewer))
    assert len(set(seen)) == 4
    # The keys were not taken for JupyterLab's own.
    assert page.locator(".jp-Notebook .jp-mod-active").get_attribute("class") == cell

    page.keyboard.press("End")
    assert drawn(viewer) == seen[0]
    said = viewer.locator("canvas").get_attribute("aria-label")
    assert said.startswith("a patient, slice 4 of 4, FLAIR. True: 80 px")


def test_outlines_sequence_threshold_and_patient_change_what_is_drawn(viewer):
    seen = [drawn(viewer)]
    for name in ("true outline", "predicted outline"):
        viewer.get_by_role("checkbox", name=name).uncheck()
        seen.append(drawn(viewer))
    viewer.get_by_role("radio", name="post-contrast").check()
    seen.append(drawn(viewer))
    assert len(set(seen)) == 4
    viewer.get_by_role("radio", name="FLAIR").check()
    for name in ("true outline", "predicted outline"):
        viewer.get_by_role("checkbox", name=name).check()
    assert drawn(viewer) == seen[0]

    # 8 rows of 8 pixels at 0.8; of 4 more at 0.4.
    assert told(viewer, "Predicted") == ["64 px, 16.0 cm²", "160 px, 40.0 ml"]
    assert told(viewer, "Dice") == ["0.89", "0.89"]
    for threshold, pixels in {0.4: 96, 0.41: 64, 0.8: 64, 0.81: 0}.items():
        set_range(viewer, "Threshold", threshold)
        assert told(viewer, "Predicted")[0].startswith(f"{pixels} px"), threshold

    viewer.get_by_role("combobox", name="Patient").select_option("another")
    viewer.get_by_text("2 of 2").wait_for()
    assert told(viewer, "True") == ["40 px, 10.0 cm²", "60 px, 15.0 ml"]
    assert viewer.get_by_role("row", name="Predicted").count() == 0


def test_it_fits_a_narrow_window_and_a_dark_one(viewer, page):
    page.evaluate(
        "window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    page.wait_for_function("document.body.dataset.jpThemeLight === 'false'")
    page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    page.set_viewport_size({"width": 390, "height": 900})
    box = viewer.bounding_box()
    inner = [each.bounding_box() for each in viewer.locator("canvas, input, select, td").all()]
    assert all(each["x"] + each["width"] <= box["x"] + box["width"] + 1 for each in inner)
    words, below = viewer.evaluate(
        "root => [getComputedStyle(root).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert words != below
