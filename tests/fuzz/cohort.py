"""Zips of a cohort, and cohort folders with odd names and things in them."""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import tifffile
from mutate import Target, mutate_bytes, mutate_json

from utils.cohort.table import open_cohort, read_cohort
from utils.cohort.volumes import load_volumes


def _tiff(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    photometric = "rgb" if len(shape) == 3 else "minisblack"
    tifffile.imwrite(buffer, np.full(shape, 255, np.uint8), photometric=photometric, metadata=None)
    return buffer.getvalue()


def zips() -> list[bytes]:
    """Return a small cohort zipped in the ways that occur."""
    ways = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    return [_zip(way, form) for way in ways for form in ("kaggle_3m/{}/{}", "my\\{}\\{}")]


def _zip(compression: int, form: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as target:
        for patient in ("TCGA_DU_1_20000101", "Zü_A_2"):
            for number in (1, 2):
                for suffix, shape in (("", (32, 32, 3)), ("_mask", (32, 32))):
                    name = form.format(patient, f"{patient}_{number}{suffix}.tif")
                    # A fixed date: the seeds are always the same.
                    target.writestr(zipfile.ZipInfo(name), _tiff(shape), compression)
        target.writestr(zipfile.ZipInfo("__MACOSX/._x"), b"x")
    return buffer.getvalue()


def _load_zip(path: Path) -> None:
    before = path.read_bytes()
    for masks in (True, False):
        target = path.parent / f"cohort-{masks}"
        try:
            read_cohort(open_cohort(path, target, masks=masks), "required" if masks else "absent")
        finally:
            others = {each.name for each in path.parent.iterdir()} - {path.name}
            assert all(name.lstrip(".").startswith("cohort-") for name in others), others
            assert path.read_bytes() == before


def folders() -> list[bytes]:
    """Return the names of a small cohort's files, and what is there, as JSON."""
    patient = {
        f"A_B_1_{number}{suffix}.tif": kind
        for number in (1, 2, 3)
        for suffix, kind in (("", "slice"), ("_mask", "mask"))
    }
    other = {name.replace("A_B_1", "C_D_2"): kind for name, kind in patient.items()}
    odd = {"x.tif": "folder", "y.tif": "loop", "z.tif": "pipe", "notes.txt": "text"}
    return [
        json.dumps({"A_B_1": patient}).encode(),
        json.dumps({"A_B_1": patient, "C_D_2": other, "predictions": {"slices.csv": "t"}}).encode(),
        json.dumps({"A_B_1": patient | odd}).encode(),
    ]


def _mutate_names(draw, seeds):
    """Change names and what they stand for; sometimes give a slice a time stamp as its number."""
    data = mutate_json(draw, seeds)
    if draw.random() < 0.3:
        data = data.replace(b"_2", str(draw.choice([0, 10**9, 20240131123456, 10**30])).encode())
    return mutate_bytes(draw, [data]) if draw.random() < 0.2 else data


def _load_folder(path: Path) -> None:
    root = path.parent / "cohort"
    try:
        described = json.loads(path.read_bytes())
    except ValueError:
        described = {}
    root.mkdir()
    for patient, files in described.items() if isinstance(described, dict) else ():
        for name, kind in files.items() if isinstance(files, dict) else ():
            _make(root, patient, name, kind)
    for masks in ("absent", "required"):
        table = read_cohort(root, masks)
        load_volumes(table, size=32)


def _make(root: Path, patient: str, name: str, kind: object) -> None:
    place = root / patient.replace("/", "_").replace("\0", "0") / name.replace("/", "_")
    try:
        place.parent.mkdir(exist_ok=True)
        if kind == "folder":
            place.mkdir()
        elif kind == "loop":
            place.symlink_to(place.name)
        elif kind == "pipe":
            os.mkfifo(place)
        else:
            shape = (32, 32, 3) if kind == "slice" else (32, 32)
            place.write_bytes(_tiff(shape) if kind in ("slice", "mask") else repr(kind).encode())
    except (OSError, ValueError):  # what no disk can hold, no user has
        pass


TARGETS = [
    Target("zip", zips, _load_zip, ".zip"),
    Target("cohort-folder", folders, _load_folder, ".json", _mutate_names),
]
