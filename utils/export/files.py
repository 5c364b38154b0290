"""Both models of a prediction as ONNX files with their settings: all that a prediction needs."""

from collections.abc import Iterator
from pathlib import Path

import onnx

from utils.config import CourseError, atomic_path, prepare_folder, write_json
from utils.export.network import onnx_of
from utils.models.files.settings import read_settings, segmenter_settings, settings_file
from utils.models.predict import load_networks

SEGMENTER, DETECTOR = "segmenter.onnx", "detector.onnx"


def export_models(segmenter_file: Path, detector_file: Path, out: Path) -> Iterator[Path]:
    """Write ``segmenter.onnx`` and ``detector.onnx``, and yield each when it is there.

    Parameters
    ----------
    segmenter_file, detector_file : path-like
        ``.keras`` files, each with its settings beside it.
    out : path-like
        Folder to write to.

    Raises
    ------
    CourseError
        If a model cannot be read, or holds a layer that cannot be written, or the folder holds
        another one whose settings would be replaced.
    """
    prepare_folder(Path(out))
    for file, target in ((segmenter_file, SEGMENTER), (detector_file, DETECTOR)):
        _check_settings_free(Path(file), Path(out) / target)
    networks = load_networks(detector_file, segmenter_file, precision="float32")
    chosen = segmenter_settings(segmenter_file)
    # What a settings file may leave out is told too: a page has no other place to learn it from.
    how_shown = {
        "channels": chosen.channels,
        "grey_levels": chosen.grey_levels,
        "frame": chosen.frame,
    }
    yield _write(
        networks.segmenter,
        segmenter_file,
        Path(out) / SEGMENTER,
        read_settings(segmenter_file) | how_shown,
    )
    yield _write(networks.detector, detector_file, Path(out) / DETECTOR, networks.detector_settings)


def _check_settings_free(file: Path, target: Path) -> None:
    """Refuse to replace the settings of another model: ``NAME.json`` is that of ``NAME.keras``."""
    other = target.with_suffix(file.suffix)
    if other.exists() and not (file.exists() and other.samefile(file)):
        raise CourseError(
            f"{other}: its settings, {settings_file(other).name}, would be replaced by those of "
            f"{file.name}; give another --out"
        )


def _write(model, file: Path, target: Path, settings: dict) -> Path:
    whole = onnx_of(model, file)
    # A model that is there always has its settings: the old one goes before they are replaced, and
    # the new one comes after them.
    target.unlink(missing_ok=True)
    write_json(settings_file(target), settings | {"size": model.input_shape[1]})
    with atomic_path(target) as temporary:
        onnx.save(whole, temporary)
    return target
