"""Model files that users bring: what kind of file it is, and whether it does what is asked of it.

Each refusal is one line that names the file, says what it is, and what to do. Of a whole file of
another kind nobody is told to delete it.
"""

import json
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from utils.config import CourseError, reason, regular_file, unreadable

# The parts of a .keras archive.
CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"
# An archive that unpacks to more than this is no network of this course.
LARGEST_CONFIG, LARGEST_WEIGHTS = 2**25, 2**31

# How files of other kinds begin.
BEGINNINGS = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file (a model of an older Keras, or weights alone)",
    b"\x80\x02": "a Python pickle, as PyTorch and scikit-learn write it",
    b"\x80\x03": "a Python pickle, as PyTorch and scikit-learn write it",
    b"\x80\x04": "a Python pickle, as PyTorch and scikit-learn write it",
    b"\x80\x05": "a Python pickle, as PyTorch and scikit-learn write it",
    b"\x1f\x8b": "a gzip file",
    b"\x93NUMPY": "a NumPy array",
}
# What names tell where the beginning does not.
ENDINGS = {
    ".onnx": "an ONNX file (`utils.predict` takes it with --engine onnx)",
    ".tflite": "a TensorFlow Lite file",
    ".pb": "a graph of TensorFlow",
    ".safetensors": "a safetensors file",
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".ckpt": "a checkpoint",
    ".json": "a JSON file",
}
ANOTHER_KIND = (
    "this needs a .keras file: load the model where it was made and save it with "
    'model.save("NAME.keras") by Keras 3'
)
# What Keras made itself; a class from anywhere else would have to be imported.
OWN_MODULES = ("keras", "builtins")
# What `zipfile` and `json` raise of a damaged archive. A RuntimeError: a part has a password.
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError)


def check_kind(path: Path) -> None:
    """Refuse a file that is no `.keras` archive, before anything of Keras is loaded.

    Raises
    ------
    CourseError
        If the file is missing, empty, cut off or of another kind.
    """
    path = Path(path)
    if os.path.isdir(path):
        raise CourseError(f"{path}: {_kind_of_folder(path)}; {ANOTHER_KIND}")
    if regular_file(path) is None:
        raise CourseError(f"{path}: no such model; train one with `make course`")
    try:
        _check_beginning(path)
        with zipfile.ZipFile(path) as archive:
            _check_parts(path, archive)
    except OSError as error:
        raise unreadable(path, error) from error
    except BROKEN_ZIP as error:
        raise _damaged(path, reason(error)) from error


def read_archive(path: Path) -> tuple[dict, str]:
    """Return what a `.keras` file says of its network.

    Returns
    -------
    dict
        The configuration, of Keras's own classes alone.
    str
        The version of Keras that wrote it, "" where that is not told.

    Raises
    ------
    CourseError
        If the file is missing, of another kind, damaged, or holds classes that are not Keras's.
    """
    check_kind(path)
    try:
        with zipfile.ZipFile(path) as archive:
            metadata = json.loads(archive.read(METADATA)) if METADATA in archive.namelist() else {}
            configuration = json.loads(archive.read(CONFIG))
            damaged = archive.testzip()
    except OSError as error:
        raise unreadable(path, error) from error
    except BROKEN_ZIP as error:
        raise _damaged(path, reason(error)) from error
    if damaged:
        raise _damaged(path, f"its part {damaged!r} does not have the checksum that it should")
    if not isinstance(configuration, dict):
        raise _damaged(path, f"{CONFIG} holds no object")
    version = metadata.get("keras_version", "") if isinstance(metadata, dict) else ""
    _check_classes(path, configuration)
    return configuration, str(version)[:20]


def _damaged(path, what: str) -> CourseError:
    return CourseError(
        f"{path}: not a whole Keras model ({what}); copy it anew from where it came from, or "
        "train again"
    )


def _kind_of_folder(folder: Path) -> str:
    names = ("saved_model.pb", "keras_metadata.pb", "fingerprint.pb")
    if any((folder / name).exists() for name in names):
        return "a folder in TensorFlow's SavedModel format"
    return "a folder, not a model"


def _check_beginning(path: Path) -> None:
    """Refuse what is no zip, by what it is."""
    with path.open("rb") as file:
        beginning = file.read(16)
    if not beginning:
        raise CourseError(
            f"{path}: an empty file; copy it anew from where it came from, or train again"
        )
    kind = next((kind for mark, kind in BEGINNINGS.items() if beginning.startswith(mark)), None)
    if kind is None and not zipfile.is_zipfile(path):
        if beginning.startswith(b"PK\x03\x04"):
            raise _damaged(path, "its end is missing")
        kind = ENDINGS.get(path.suffix.lower(), "not a Keras archive, which is a zip")
    if kind is not None:
        raise CourseError(f"{path}: {kind}; {ANOTHER_KIND}")


def _check_parts(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse a zip that is no `.keras` archive, and one that unpacks to more than a model."""
    sizes = {part.filename: part.file_size for part in archive.infolist()}
    if CONFIG not in sizes or WEIGHTS not in sizes:
        if any(name.endswith("data.pkl") for name in sizes):
            kind = "a PyTorch file"
        elif any(name.endswith("saved_model.pb") for name in sizes):
            kind = "a zip of a model in TensorFlow's SavedModel format"
        elif any(name.endswith(".keras") for name in sizes):
            kind = "a zip with a .keras file in it: unpack it and give that"
        else:
            lacking = CONFIG if CONFIG not in sizes else WEIGHTS
            kind = f"a zip, but no Keras archive: it has no {lacking}"
        raise CourseError(f"{path}: {kind}; {ANOTHER_KIND}")
    if sizes[CONFIG] > LARGEST_CONFIG or sum(sizes.values()) > LARGEST_WEIGHTS:
        raise CourseError(
            f"{path}: unpacks to {sum(sizes.values()) / 2**30:.1f} GiB, more than any network of "
            "this course; give one of its kind"
        )
    if path.suffix != ".keras":
        raise CourseError(f"{path}: a Keras archive by another name; rename it to end in .keras")


def _check_classes(path, configuration: dict) -> None:
    """Refuse classes that are not Keras's own, and code within the file."""
    for node in _objects(configuration):
        module, name = node.get("module"), node.get("class_name")
        if name in ("Lambda", "__lambda__"):
            raise CourseError(
                f"{path}: holds a Lambda layer, which is code, and code in a model file is not "
                "run here; build the model of Keras's other layers and save it again"
            )
        package = str(module).split(".")[0]
        if module is not None and package not in OWN_MODULES:
            raise CourseError(
                f"{path}: holds {_short(name)} of {_short(module)}, a class that is not Keras's "
                "own and cannot be loaded without its code; build the model of Keras's own "
                "layers and save it again"
            )


def _objects(node) -> Iterator[dict]:
    """Yield every object in a configuration that names a class."""
    waiting = [node]  # not by recursion: it may be deep
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if "class_name" in one:
                yield one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _short(name: object) -> str:
    return ascii(name)[:60]


def cannot_build(path, version: str, error: Exception) -> CourseError:
    """Return what to say of a network that this Keras cannot make from its configuration."""
    import keras

    here = keras.__version__
    by = f", written by Keras {version}" if version and version != here else ""
    return CourseError(
        f"{path}: Keras {here} cannot make the network{by} ({_last_reason(error)}); "
        f"save it again with Keras {here} where it was made"
    )


def _last_reason(error: Exception) -> str:
    """Return what failed within the many lines of an error of Keras."""
    marks = ("Exception encountered:", "Error when deserializing")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    found = [line for line in lines if line.startswith(marks[0])]
    text = found[-1].removeprefix(marks[0]) if found else (lines[0] if lines else "")
    return reason(ValueError(text.strip() or type(error).__name__), 120)


def cannot_fill(path, error: Exception) -> CourseError:
    """Return what to say of weights that do not belong to the network in the same file."""
    return CourseError(
        f"{path}: its weights do not fit its network ({_last_reason(error)}); copy it anew from "
        "where it came from, or train again"
    )


def check_weights(model, path) -> None:
    """Refuse weights that are not numbers, which answer nothing to every picture.

    Raises
    ------
    CourseError
    """
    for weight, values in zip(model.weights, model.get_weights(), strict=True):
        if not np.isfinite(values).all():
            raise CourseError(
                f"{path}: weights of {_short(weight.path)} are not finite numbers, as after a "
                "training that failed; train again"
            )


def check_segmenter(model, path, channels: Sequence[int] = (3, 9)) -> None:
    """Refuse a network that does not draw outlines in pictures of so many channels.

    Parameters
    ----------
    model : keras.Model
    path : path-like
    channels : sequence of int
        How many the pictures may have; the first is named where it has none of these.

    Raises
    ------
    CourseError
    """
    given, made = _shapes(model, path, "a segmenter")
    if len(made) < 3:
        raise CourseError(
            f"{path}: gives {_each(made)} a picture and draws nothing, so it is no segmenter; "
            "give a detector as --detector"
        )
    _check_pictures(given, path, channels)
    if made != (*given[:2], 1):
        raise CourseError(
            f"{path}: makes {_by(made)} of pictures of {_by(given)}; a segmenter makes "
            f"{_by((*given[:2], 1))}: one probability a pixel"
        )


def check_detector(model, path, features: int | None = None) -> None:
    """Refuse a network that does not give one number for a picture, or for stored features.

    Parameters
    ----------
    model : keras.Model
    path : path-like
    features : int, optional
        How many channels the features have from which the blocks of a detector may start; by
        default it must take pictures.

    Raises
    ------
    CourseError
    """
    given, made = _shapes(model, path, "a detector")
    if len(made) == 3:
        raise CourseError(
            f"{path}: makes {_by(made)} of a picture, so it is no detector; give a segmenter as "
            "--segmenter"
        )
    if given[-1:] != (features,) or len(given) != 3:
        _check_pictures(given, path)
    elif None in given or given[0] != given[1]:
        raise CourseError(f"{path}: takes features of {_by(given)}; a detector needs a square size")
    if made != (1,):
        raise CourseError(
            f"{path}: gives {_by(made)} numbers a picture; a detector gives 1: the probability of "
            "tumour"
        )


def _shapes(model, path, role: str) -> tuple[tuple, tuple]:
    """Return the shapes of what one picture is and of what is made of it."""
    ways = [getattr(model, name, None) or [] for name in ("inputs", "outputs")]
    if [len(way) for way in ways] != [1, 1]:
        raise CourseError(
            f"{path}: has {len(ways[0])} inputs and {len(ways[1])} outputs; {role} has one of each"
        )
    given, made = (tuple(way[0].shape)[1:] for way in ways)
    return given, made


def _check_pictures(given: tuple, path, channels: Sequence[int] = (3,)) -> None:
    if len(given) != 3 or given[2] not in channels:
        raise CourseError(
            f"{path}: takes an input of {_by(given)}; the pictures here are height x width x "
            f"{channels[0]}"
        )
    if None in given or given[0] != given[1]:
        raise CourseError(
            f"{path}: takes pictures of {_by(given)}; a fixed, square size is needed: build it "
            "with one and save it again"
        )
    if not 16 <= given[0] <= 1024:
        raise CourseError(
            f"{path}: takes pictures of {_by(given)}; from 16 to 1024 pixels a side can be made"
        )


def _by(shape: tuple) -> str:
    return " x ".join("?" if side is None else str(side) for side in shape) or "nothing"


def _each(shape: tuple) -> str:
    return f"{_by(shape)} numbers" if shape != (1,) else "one number"


def check_probabilities(values: np.ndarray, path) -> None:
    """Refuse answers that are no probabilities, such as those of a network without its sigmoid.

    Raises
    ------
    CourseError
    """
    if not np.isfinite(values).all():
        raise CourseError(f"{path}: answers with values that are not numbers; train again")
    if values.size and (values.min() < 0 or values.max() > 1):
        raise CourseError(
            f"{path}: answers with values from {values.min():.3g} to {values.max():.3g}, which "
            "are no probabilities; end the network with a sigmoid and save it again"
        )
