"""The page of docs/demo in a real browser: its masks are Python's, and bad input is told."""

import http.server
import io
import shutil
import threading
import zipfile
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tools import demo
from utils.cohort.table import read_cohort
from utils.cohort.volumes import View, arrange_channels, flair_of, read_views
from utils.config import RUNS, CourseError
from utils.models.files.onnx_model import OnnxModel
from utils.models.files.settings import Postprocessing, segmenter_settings
from utils.models.inference import predict_images, resize_probabilities
from utils.models.postprocessing import postprocess
from utils.models.refinement import refine
from utils.patient.read import read_patient, save_masks
from utils.simulation.cohort import simulate_patient

pytestmark = pytest.mark.long

MOST_BYTES = 40_000_000
SLICES = 5
# Three patients, stored in the three ways in which slices come.
PATIENTS = {12: None, 23: "tiff_lzw", 36: "tiff_adobe_deflate"}
# Where the two computed probabilities may round to either side of the threshold; they differ by
# less than 1e-5, since onnxruntime adds up in another order on another processor.
TIE = 1e-5
SECONDS = 1000  # of Playwright, in ms
PATIENCE = 300 * SECONDS


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; with `isolated`, as a site does that lets pages share memory."""

    isolated = False
    extensions_map = {  # noqa: RUF012
        ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".json":
        "application/json", ".mjs": "text/javascript", "": "application/octet-stream",
    }  # fmt: skip

    def end_headers(self):
        if self.isolated:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_):
        """Print nothing."""


class Isolated(Handler):
    isolated = True


@pytest.fixture(scope="module")
def model():
    return demo.export(RUNS / "export")


@pytest.fixture(scope="module")
def built(tmp_path_factory, model):
    """Return the folder of the built page."""
    if shutil.which("npm") is None:
        pytest.skip("no npm: the page needs packages from it")
    out = tmp_path_factory.mktemp("page") / "demo"
    try:
        packages = demo.fetch_packages(RUNS / "demo-npm")
    except CourseError as error:
        pytest.skip(f"npm has no connection: {error}")
    demo.build(out, model, packages)
    return out


def serve(folder, handler):
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(handler, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def site(built):
    """Return the address of the page, from a plain server."""
    server = serve(built, Handler)
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def opened(page, site):
    """Return the page, opened; a request to any other server fails the test."""
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{site}/index.html")
    expect(page.locator(".patient")).to_have_count(3, timeout=30 * SECONDS)
    yield page
    outside = [one for one in asked if not one.startswith((site, "data:", f"blob:{site}"))]
    assert outside == []


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    """Return a cohort of three simulated patients, cut down to the slices around the tumour."""
    root = tmp_path_factory.mktemp("cohort")
    for number, compression in PATIENTS.items():
        images, masks, name = simulate_patient(demo.SEED, number)
        first = int(masks.sum(axis=(1, 2), dtype=int).argmax()) - SLICES // 2
        (root / name).mkdir()
        for place in range(SLICES):
            picture = Image.fromarray(images[first + place])
            picture.save(root / name / f"{name}_{place + 1}.tif", compression=compression)
    return root


def segment(page):
    page.locator("#segment").click()
    expect(page.locator("#status")).to_contain_text("Done in", timeout=PATIENCE)


def give(page, files):
    page.locator("#files").set_input_files([str(file) for file in files])


def downloaded(page, button):
    with page.expect_download() as download:
        page.locator(button).click()
    return Path(download.value.path()).read_bytes()


def masks_in_zip(content):
    """Return the masks of an archive in the order of their slices, as 0 and 1."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        names = sorted(archive.namelist(), key=lambda name: int(name.split("_")[-2]))
        read = [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names]
    assert set(np.unique(read)) <= {0, 255}
    return np.stack(read) // 255


def set_slider(page, slider, value):
    page.locator(slider).evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }",
        value,
    )


def check_masks(found, expected, probabilities, threshold):
    """Check that masks are the same, but for pixels that lie on the threshold to 1e-5."""
    different = found != expected
    assert np.abs(probabilities[different] - threshold).max(initial=0) <= TIE
    assert different.sum() <= 3


@pytest.fixture(scope="module")
def mapped(model):
    """Return what predicts the slices of a patient: their maps, FLAIR and `Prepared`."""
    chosen = segmenter_settings(model / "segmenter.onnx")
    network = OnnxModel(model / "segmenter.onnx")
    view = View(network.input_shape[1], chosen.grey_levels, chosen.frame)

    def predict(rows):
        prepared = read_views(rows, [view])[view]
        shown = arrange_channels(prepared.images, chosen.channels)
        return predict_images(network, shown.astype(np.float32)), flair_of(shown), prepared

    return predict


def test_the_masks_are_pixel_by_pixel_those_of_python(opened, patients, model, mapped):
    chosen = segmenter_settings(model / "segmenter.onnx")
    for name, rows in read_cohort(patients, masks="absent").groupby("patient"):
        maps, flair, prepared = mapped(rows)
        give(opened, rows["image_path"])
        expect(opened.locator("#status")).to_have_text(f"{name}: {SLICES} slices read.")
        segment(opened)
        for threshold, strength in ((chosen.postprocessing.threshold, None), (0.65, 0.8)):
            settings = chosen.postprocessing
            if strength is not None:
                settings = Postprocessing(
                    threshold, settings.minimum_px, settings.largest_only, settings.neighbours,
                    settings.refinement or strength, settings.least_share,
                )  # fmt: skip
                opened.locator("#refinement").check()
                set_slider(opened, "#threshold", str(threshold))
            refined = refine(maps, flair, settings.refinement)
            expected = postprocess(refined, settings, prepared.shape, prepared.square)
            assert expected.any()
            found = masks_in_zip(downloaded(opened, "#save-zip"))
            plain = resize_probabilities(np.asarray(refined, np.float32), prepared.shape)
            check_masks(found, expected, plain, threshold)


def nifti(path, images, axes="RAS", sizes=(0.9375, 0.9375, 5)):
    """Write FLAIR of slices as NIfTI, its axes in another order."""
    canonical = images[:, ::-1, ::-1, 1].transpose(2, 1, 0).astype(np.int16) * 3
    affine = np.diag([*sizes, 1])
    image = nibabel.Nifti1Image(canonical, affine)
    start = nibabel.orientations.io_orientation(affine)
    turn = nibabel.orientations.ornt_transform(start, nibabel.orientations.axcodes2ornt(axes))
    nibabel.save(image.as_reoriented(turn), path)
    return path


def test_the_mask_of_a_nifti_lies_in_the_file_as_python_puts_it(opened, tmp_path, model, mapped):
    images, masks, _ = simulate_patient(demo.SEED, 36)
    middle = int(masks.sum(axis=(1, 2), dtype=int).argmax())
    file = nifti(tmp_path / "flair.nii.gz", images[middle - 2 : middle + 3], "PSL")
    settings = segmenter_settings(model / "segmenter.onnx").postprocessing
    patient = read_patient(file)
    slices = tmp_path / "cohort" / "patient_1"
    slices.mkdir(parents=True)
    for number, image in enumerate(patient.images, start=1):
        Image.fromarray(image).save(slices / f"patient_1_{number}.tif")
    maps, flair, prepared = mapped(read_cohort(slices.parent, masks="absent"))
    refined = refine(maps, flair, settings.refinement)
    expected = postprocess(refined, settings, prepared.shape, prepared.square)
    written = nibabel.load(save_masks(patient, expected, tmp_path / "masks")[-1])
    give(opened, [file])
    segment(opened)
    (tmp_path / "page.nii.gz").write_bytes(downloaded(opened, "#save-nifti"))
    found = nibabel.load(tmp_path / "page.nii.gz")
    assert np.array_equal(found.affine, written.affine)
    expected = np.asarray(written.dataobj)
    assert expected.any()
    assert np.count_nonzero(np.asarray(found.dataobj) != expected) <= 3


def picture(path, size=(64, 64), mode="RGB"):
    levels = np.arange(size[0] * size[1] * len(mode)) % 251
    shape = (*size, 3) if mode == "RGB" else size
    Image.fromarray(levels.reshape(shape).astype(np.uint8)).save(path)
    return path


def text(path):
    path.write_text("Dear colleague, the pictures are in the other folder.")
    return path


def huge(path):
    with path.open("wb") as file:
        file.truncate(300_000_000)
    return path


def cut(path):
    whole = picture(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


BAD = {
    "a letter with the name of a slice": (
        lambda folder: [text(folder / "p_1.tif")],
        "p_1.tif: is not a picture in TIFF; export the slice as TIFF or PNG.",
    ),
    "another kind of file": (
        lambda folder: [text(folder / "letter.docx")],
        "letter.docx: is not an image that this page reads",
    ),
    "one channel": (
        lambda folder: [picture(folder / "p_1.tif", mode="L")],
        "p_1.tif: has one channel, a slice has three",
    ),
    "one channel in PNG": (
        lambda folder: [picture(folder / "p_1.png", mode="L")],
        "p_1.png: has one channel, a slice has three",
    ),
    "sizes that differ": (
        lambda folder: [picture(folder / "p_1.tif"), picture(folder / "p_2.tif", (64, 80))],
        "p_2.tif: is 64 x 80 pixels, the first slice 64 x 64; export all at one size.",
    ),
    "a slice too few": (
        lambda folder: [picture(folder / f"p_{number}.tif") for number in (1, 2, 4)],
        "Slice 3 of p is missing (3 slices, the last one has the number 4)",
    ),
    "two patients": (
        lambda folder: [picture(folder / "p_1.tif"), picture(folder / "q_2.tif")],
        "q_2.tif: belongs to another patient than p; give the slices of one.",
    ),
    "300 MB": (
        lambda folder: [huge(folder / "p_1.tif")],
        "p_1.tif: has 300 MB, this page reads files of up to 268 MB",
    ),
    "half a file": (lambda folder: [cut(folder / "p_1.tif")], "p_1.tif: damaged or cut short"),
    "no NIfTI": (
        lambda folder: [text(folder / "flair.nii")],
        "flair.nii: is not a NIfTI volume, or only its beginning",
    ),
    "NIfTI beside slices": (
        lambda folder: [picture(folder / "p_1.tif"), text(folder / "flair.nii")],
        "NIfTI files and slices are mixed",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_in_one_sentence_and_the_page_goes_on(opened, tmp_path, case):
    make, sentence = BAD[case]
    give(opened, make(tmp_path))
    alert = opened.get_by_role("alert")
    expect(alert).to_contain_text(sentence, timeout=30 * SECONDS)
    assert "\n" not in alert.inner_text()
    opened.locator(".patient").first.click()
    expect(opened.locator("#segment")).to_be_enabled(timeout=30 * SECONDS)
    expect(alert).to_be_empty()


@pytest.mark.parametrize("axes", ["PSR", "RSA"])
def test_a_volume_of_another_plane_is_read_and_told(opened, tmp_path, axes):
    images, _, _ = simulate_patient(demo.SEED, 36)
    sparse = images[:, :, ::6] if axes == "PSR" else images[:, ::6]
    sizes = (5.6, 0.94, 5) if axes == "PSR" else (0.94, 5.6, 5)
    give(opened, [nifti(tmp_path / "flair.nii.gz", sparse, axes, sizes)])
    expect(opened.get_by_role("alert")).to_contain_text(
        "acquired in another plane (sagittal or coronal)", timeout=60 * SECONDS
    )
    expect(opened.locator("#segment")).to_be_enabled()


def test_slices_are_scrolled_with_slider_wheel_and_keys(opened):
    opened.locator(".patient").first.click()
    number, slices = opened.locator("#slice-number"), 27
    expect(number).to_have_text(f"14 of {slices}")
    expect(opened.locator("#badge")).to_have_text("Simulated patient")
    opened.locator("h1").click()
    opened.keyboard.press("ArrowUp")
    expect(number).to_have_text(f"15 of {slices}")
    opened.locator("#slice").focus()
    opened.keyboard.press("ArrowLeft")
    expect(number).to_have_text(f"14 of {slices}")
    opened.locator(".picture").hover()
    opened.mouse.wheel(0, 100)
    expect(number).to_have_text(f"15 of {slices}")
    before = opened.locator("#slice-canvas").evaluate("canvas => canvas.toDataURL()")
    opened.get_by_label("Pre-contrast").check()
    assert opened.locator("#slice-canvas").evaluate("canvas => canvas.toDataURL()") != before


def test_keys_and_wheel_of_the_browser_itself_are_left_to_it(opened):
    opened.locator(".patient").first.click()
    number = opened.locator("#slice-number")
    expect(number).to_have_text("14 of 27")
    prevented = """(kind, more) => {
        const [place, made] = kind === "wheel"
            ? [".picture", new WheelEvent(kind, {bubbles: true, cancelable: true, ...more})]
            : ["h1", new KeyboardEvent(kind, {bubbles: true, cancelable: true, ...more})];
        return !document.querySelector(place).dispatchEvent(made);
    }"""
    ask = f"([kind, more]) => ({prevented})(kind, more)"
    for modifier in ("altKey", "ctrlKey", "metaKey", "shiftKey"):
        assert not opened.evaluate(ask, ["keydown", {"key": "ArrowLeft", modifier: True}])
    assert not opened.evaluate(ask, ["wheel", {"deltaY": 100, "ctrlKey": True}])
    assert not opened.evaluate(ask, ["wheel", {"deltaX": 100}])
    expect(number).to_have_text("14 of 27")
    assert opened.evaluate(ask, ["keydown", {"key": "ArrowLeft"}])
    expect(number).to_have_text("13 of 27")


def test_the_distance_of_the_slices_is_one_that_slices_have(opened, patients):
    give(opened, sorted(next(patients.iterdir()).iterdir()))
    segment(opened)
    field, volume = opened.locator("#distance"), opened.locator("#volume")
    usual = volume.inner_text()
    for typed, used in (("-3", "0.5"), ("500", "20"), ("", "6")):
        field.fill(typed)
        assert "-" not in volume.inner_text()
        field.blur()
        expect(field).to_have_value(used)
    expect(volume).to_have_text(usual)


def test_the_network_can_be_stopped_and_started_again(opened, patients):
    folder = next(patients.iterdir())
    give(opened, sorted(folder.iterdir()))
    opened.locator("#segment").click()
    expect(opened.locator("#progress-label")).to_contain_text("left", timeout=PATIENCE)
    opened.locator("#cancel").click()
    expect(opened.locator("#status")).to_have_text("Stopped.", timeout=30 * SECONDS)
    expect(opened.locator("#slice-area")).to_have_text("–")
    segment(opened)
    expect(opened.locator("#slice-area")).to_contain_text("pixels, about")


def test_a_bad_file_ends_nothing_that_the_network_is_at(opened, tmp_path):
    # All slices of a patient, so that the network is at work for longer than the file is read.
    opened.locator(".patient").first.click()
    expect(opened.locator("#status")).to_contain_text("read.", timeout=30 * SECONDS)
    opened.locator("#segment").click()
    expect(opened.locator("#progress-label")).to_contain_text("left", timeout=PATIENCE)
    bad = tmp_path / "bad_1.tif"
    bad.write_bytes(b"no picture")
    give(opened, [bad])
    expect(opened.locator("#error")).to_contain_text("is not a picture", timeout=PATIENCE)
    expect(opened.locator("#status")).to_have_text("The network is at work.")
    expect(opened.locator("#segment")).to_be_hidden()
    opened.locator("#cancel").click()
    expect(opened.locator("#status")).to_have_text("Stopped.", timeout=30 * SECONDS)
    expect(opened.locator("#segment")).to_be_visible()


def test_an_isolated_page_computes_with_several_threads(page, built, patients):
    server = serve(built, Isolated)
    page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
    give(page, sorted(next(patients.iterdir()).iterdir()))
    if page.evaluate("navigator.hardwareConcurrency") < 2:
        pytest.skip("one processor core")
    segment(page)
    expect(page.locator("#status")).to_contain_text("threads.")
    server.shutdown()


def test_all_is_fetched_in_40_mb(built):
    sizes = demo.measure(built)
    assert sizes["first"] + sizes["patient"] <= MOST_BYTES
    assert sizes["first"] > 1_000_000


@pytest.mark.parametrize("own", ["thesis.txt", "sizes.json"])
def test_a_folder_with_other_things_is_left_alone(tmp_path, own):
    # Also one that has a sizes.json of its own, by which a page is known.
    for name in ("segmenter.onnx", "segmenter.json", own):
        (tmp_path / name).write_text("{}")
    with pytest.raises(CourseError, match="holds other things than the page"):
        demo.build(tmp_path, tmp_path, tmp_path)
    assert (tmp_path / own).exists()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 390])
def test_the_page_fits_and_axe_finds_nothing(opened, tmp_path, width, scheme):
    axe = (RUNS / "demo-npm/node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
    opened.set_viewport_size({"width": width, "height": 800})
    opened.emulate_media(color_scheme=scheme)
    opened.evaluate(axe)

    def check():
        wide = opened.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
        rules = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']}"
        found = opened.evaluate(f"axe.run(document, {rules})")["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
        opened.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        expect(opened.locator(".warning")).to_be_in_viewport()

    check()
    give(opened, [text(tmp_path / "p_1.tif")])
    expect(opened.get_by_role("alert")).not_to_be_empty()
    check()
    opened.locator(".patient").first.click()
    expect(opened.locator("#segment")).to_be_enabled(timeout=30 * SECONDS)
    check()


def test_the_volume_is_shown_in_3d(opened):
    opened.locator(".patient").first.click()
    expect(opened.locator("#segment")).to_be_enabled(timeout=30 * SECONDS)
    if not opened.evaluate("Boolean(document.createElement('canvas').getContext('webgl2'))"):
        pytest.skip("this browser has no WebGL2")
    opened.locator("#open-3d").click()
    expect(opened.locator("#space-caption")).to_contain_text("Simulated. Drag", timeout=PATIENCE)
    expect(opened.get_by_role("alert")).to_be_empty()


def test_a_browser_without_webgl_shows_three_planes(context, site):
    page = context.new_page()
    page.add_init_script("""
        const real = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
            return kind === "webgl2" ? null : real.call(this, kind, ...rest);
        };
    """)
    page.goto(f"{site}/index.html")
    page.locator(".patient").first.click()
    expect(page.locator("#open-3d")).to_be_enabled(timeout=30 * SECONDS)
    page.locator("#open-3d").click()
    expect(page.locator("#space-caption")).to_contain_text("three planes", timeout=30 * SECONDS)
    bright = page.locator("#space-canvas").evaluate("""canvas =>
        canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
            .filter((value, place) => place % 4 === 0 && value > 60).length""")
    assert bright > 10_000
