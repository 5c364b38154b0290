"""Build the page of docs/demo into a folder that any web server can serve as it is.

    python -m tools.demo [--out runs/demo] [--model FOLDER]

Nothing is bundled: the page's own modules are copied, and beside them what they need from npm, the
segmenter as ONNX (from `python -m utils.export`), and three simulated patients.
"""

import argparse
import contextlib
import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from utils import config
from utils.config import ROOT, RUNS, CourseError, read_json, write_json
from utils.simulation.cohort import simulate_patient

SOURCE = ROOT / "docs" / "demo"
NPM_TIMEOUT_S = 600
# Copied from npm packages: what the page imports -> where it lies. Of onnxruntime-web the build
# without WebGPU and WebNN, which is half as large; packed, because not every server packs.
VENDOR = {
    "ort.wasm.min.mjs": "onnxruntime-web/dist/ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs": "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm.gz": "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
    "niivue.js": "@niivue/niivue/dist/index.js",
}
VIEWER = "niivue.js"
# By it a folder is known to be a page that was built, if it holds nothing but what a page does.
MARK = "sizes.json"
MADE = ("model", "patients", "vendor")
# Numbers in the simulated cohort of seed 0 -> what the page calls them.
PATIENTS = {36: "Small tumour", 12: "Middle-sized tumour", 23: "Large tumour"}
SEED = 0
THUMBNAIL = 160


def build(out: Path, model: Path, packages: Path) -> dict[str, int]:
    """Write the page.

    Parameters
    ----------
    out : pathlib.Path
        Folder to write to; what it holds is replaced.
    model : pathlib.Path
        Folder with ``segmenter.onnx`` and ``segmenter.json``.
    packages : pathlib.Path
        Folder of the npm packages, see `fetch_packages`.

    Returns
    -------
    dict of str to int
        Bytes, packed: ``first`` (page, network and what runs it), ``patient`` (the largest of the
        simulated ones), ``viewer`` (3-D).

    Raises
    ------
    CourseError
        If the model is not there, or `out` holds something else.
    """
    for name in ("segmenter.onnx", "segmenter.json"):
        config.regular_file(model / name, "make it with python -m utils.export")
    if out.exists():
        if not _is_page(out) and any(out.iterdir()):
            raise CourseError(f"{out}: holds other things than the page; name a folder of its own")
        shutil.rmtree(out)
    write_json(out / MARK, {})  # so that what a killed build left is known as well
    ignored = shutil.ignore_patterns("node_modules", "package*.json")
    shutil.copytree(SOURCE, out, ignore=ignored, dirs_exist_ok=True)
    (out / "vendor").mkdir()
    for name, source in VENDOR.items():
        content = (packages / source).read_bytes()
        packed = packed_bytes(content) if name.endswith(".gz") else content
        (out / "vendor" / name).write_bytes(packed)
    pack_model(model, out / "model")
    write_patients(out)
    sizes = measure(out)
    write_json(out / MARK, sizes)
    return sizes


def _is_page(folder: Path) -> bool:
    """Return whether a folder is a page that was built, so that it may be deleted."""
    # The last is what a Mac leaves where somebody looked.
    known = {MARK, *MADE, *(path.name for path in SOURCE.iterdir()), ".DS_Store"}
    return (folder / MARK).is_file() and known >= {path.name for path in folder.iterdir()}


def fetch_packages(folder: Path) -> Path:
    """Install what package-lock.json names, once, and return the folder that holds it.

    Raises
    ------
    CourseError
        If npm is missing or fails.
    """
    lock = SOURCE / "package-lock.json"
    stamp = folder / "installed.json"
    packages = folder / "node_modules"
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return packages
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(SOURCE / name, folder / name)
    npm = shutil.which("npm")
    if npm is None:
        raise CourseError("the page needs npm: install Node.js 20 or later, then make demo again")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=NPM_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CourseError("npm did not answer for 10 minutes; try again") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise CourseError(f"npm ci failed ({said[0][:120]}); check the connection, then try again")
    shutil.copyfile(lock, stamp)
    return packages


def pack_model(model: Path, out: Path) -> None:
    """Write the segmenter packed, and its settings with the bytes that are to be fetched.

    All even bytes stand before all odd ones: of the 16-bit weights the upper bytes are much alike,
    and pack to a fifteenth less where they stand together.
    """
    out.mkdir()
    content = (model / "segmenter.onnx").read_bytes()
    packed = packed_bytes(content[0::2] + content[1::2])
    (out / "segmenter.onnx.gz").write_bytes(packed)
    settings = read_json(model / "segmenter.json", "make it with python -m utils.export")
    kept = settings | {"packed_bytes": len(packed)}
    write_json(out / "segmenter.json", kept)


def write_patients(out: Path) -> None:
    """Write the simulated patients: all slices one below the other, a small picture, and a list."""
    folder = out / "patients"
    folder.mkdir()
    listed = []
    for number, title in PATIENTS.items():
        images, masks, name = simulate_patient(SEED, number)
        slices, height, width, _ = images.shape
        column = Image.fromarray(images.reshape(slices * height, width, 3))
        column.save(folder / f"{name}.webp", lossless=True, quality=80, method=4)
        largest = int(masks.sum(axis=(1, 2), dtype=int).argmax())
        flair = images[largest, ..., 1].astype(float)
        flair = np.clip(flair * (255 / np.percentile(flair, 99.5)), 0, 255).astype(np.uint8)
        Image.fromarray(flair).resize((THUMBNAIL, THUMBNAIL)).save(folder / f"{name}.png")
        listed.append(
            {
                "name": name, "title": title, "slices": slices, "height": height, "width": width,
                "file": f"patients/{name}.webp", "picture": f"patients/{name}.png",
            }
        )  # fmt: skip
    write_json(folder / "patients.json", listed)


def packed_bytes(content: bytes) -> bytes:
    """Return bytes packed with gzip; the same content gives the same bytes."""
    return gzip.compress(content, compresslevel=9, mtime=0)


def measure(out: Path) -> dict[str, int]:
    """Return how many bytes are fetched: what is packed as it is, the rest as servers pack it."""

    def fetched(path: Path) -> int:
        content = path.read_bytes()
        return len(content if path.suffix in (".gz", ".png", ".webp") else packed_bytes(content))

    files = [path for path in out.rglob("*") if path.is_file()]
    viewer = fetched(out / "vendor" / VIEWER)
    patients = [path for path in files if path.suffix == ".webp"]
    rest = sum(map(fetched, set(files) - set(patients))) - viewer
    return {"first": rest, "viewer": viewer, "patient": max(map(fetched, patients))}


def export(folder: Path) -> Path:
    """Return the folder with the segmenter as ONNX, written first unless it is there and new."""
    from utils.models.predict import default_models

    _, segmenter = default_models()
    written = folder / "segmenter.onnx"
    if not written.exists() or written.stat().st_mtime < segmenter.stat().st_mtime:
        done = subprocess.run(
            [sys.executable, "-m", "utils.export", "--out", str(folder)], cwd=ROOT, check=False
        )
        if done.returncode:
            raise CourseError("the segmenter could not be written as ONNX; see the line above")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__)
    parser.add_argument(
        "--out", type=config.user_path, default=RUNS / "demo", help="default: runs/demo"
    )
    parser.add_argument(
        "--model", type=config.user_path, help="default: runs/export, made if it is missing"
    )
    arguments = parser.parse_args()
    packages = fetch_packages(RUNS / "demo-npm")
    sizes = build(arguments.out, arguments.model or export(RUNS / "export"), packages)
    shown = arguments.out
    with contextlib.suppress(ValueError):
        shown = arguments.out.resolve().relative_to(ROOT)
    print(
        f"wrote {shown}: to fetch, {sizes['first'] / 1e6:.1f} MB with the network, "
        f"{sizes['patient'] / 1e6:.1f} MB a simulated patient, "
        f"{sizes['viewer'] / 1e6:.1f} MB for 3-D"
    )
    print(f"look at it: python -m http.server --directory {shown} 8000")


if __name__ == "__main__":
    sys.exit(config.command(main))
