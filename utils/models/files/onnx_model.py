"""Networks in ONNX files, computed by onnxruntime: what a prediction asks of a Keras model.

Nothing of Keras or TensorFlow is loaded. `python -m utils.export` writes such files.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.config import CourseError, reason, regular_file

SUFFIX = ".onnx"
# Pictures at a time. A larger batch would be no faster: each takes all cores, and memory grows by
# 45 MiB a picture of 192 pixels.
AT_ONCE = 2


class Port(NamedTuple):
    """An input or output of a network; None in its shape stands for any length."""

    shape: tuple


class OnnxModel:
    """A network in an ONNX file, with those names of a Keras model that a prediction uses.

    Parameters
    ----------
    path : path-like

    Attributes
    ----------
    inputs, outputs : list of Port
    input_shape : tuple
        Of the first input, the length of the batch included.

    Raises
    ------
    CourseError
        If onnxruntime is not installed, or the file is missing, no ONNX file, or of a network
        that it cannot compute.
    """

    def __init__(self, path):
        self._session = _session(Path(path))
        given = self._session.get_inputs()
        self.inputs = [_port(one) for one in given]
        self.outputs = [_port(one) for one in self._session.get_outputs()]
        self.input_shape = self.inputs[0].shape if self.inputs else ()
        if self.input_shape[:1] != (None,) or given[0].type != "tensor(float)":
            raise CourseError(
                f"{path}: takes {given[0].type if given else 'nothing'} in batches of "
                f"{self.input_shape[0] if self.input_shape else 'nothing'}; it must take 32-bit "
                "numbers in batches of any length: write it with `python -m utils.export`"
            )

    def predict_on_batch(self, batch: np.ndarray) -> np.ndarray:
        """Return the output for a batch of pictures, of any length."""
        name = self._session.get_inputs()[0].name
        parts = [
            self._session.run(None, {name: batch[start : start + AT_ONCE].astype(np.float32)})[0]
            for start in range(0, len(batch), AT_ONCE)
        ]
        return np.concatenate(parts)


def check_onnx(path) -> None:
    """Refuse what is no ONNX file by its name, or not there, before onnxruntime is loaded.

    Raises
    ------
    CourseError
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise CourseError(
            f"{path}: onnxruntime reads .onnx files; `python -m utils.export`, where TensorFlow "
            "is installed, makes them of .keras files"
        )
    if regular_file(path) is None:
        raise CourseError(
            f"{path}: no such model; `python -m utils.export`, where TensorFlow is installed, "
            "makes the course's"
        )


def _session(path: Path):
    check_onnx(path)
    try:
        import onnxruntime
    except ImportError as error:
        raise CourseError(
            f"{path}: needs onnxruntime, which is not installed "
            "(python -m pip install -r requirements-predict.lock)"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is told by the exception
    # Threads that wait for work would keep the cores busy, beside the other network.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # onnxruntime raises a dozen kinds of exceptions of its own. All mean: this file does not serve.
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise CourseError(
            f"{path}: onnxruntime {onnxruntime.__version__} cannot read it "
            f"({reason(error, 120)}); write it anew with `python -m utils.export`"
        ) from error


def _port(node) -> Port:
    return Port(tuple(side if isinstance(side, int) else None for side in node.shape))
