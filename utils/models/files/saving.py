"""Models in files: written atomically, read in a precision of this machine's choice.

Files hold built-in layers only: they load in Keras's safe mode without a list of custom objects.
"""

import warnings
from pathlib import Path

import keras

from utils import config
from utils.models.files import checks
from utils.models.precision import resolve_precision

# These layers compute in float32 under every precision.
FLOAT32_LAYERS = (
    "rescale",
    "mean_removed",
    "logit",
    "enlarged",
    "mean_of_both",
    "mean_of_members",
    "calibrated_logit",
    "probability",
)


def save_model(model: keras.Model, path) -> Path:
    """Write a model to a `.keras` file, atomically and without its optimiser's state."""
    with config.atomic_path(path) as temporary:
        uncompiled(model).save(temporary)
    return Path(path)


def save_half(model: keras.Model, path) -> Path:
    """Write a model to a `.keras` file in half the space: its weights in 16 bits.

    Its outputs change by about a thousandth. `load_model` brings the weights back to 32 bits.
    """
    saved = keras.saving.serialize_keras_object(uncompiled(model))
    _set_policies(saved, "float16")
    half = keras.saving.deserialize_keras_object(saved)
    half.set_weights([weight.astype("float16") for weight in model.get_weights()])
    with config.atomic_path(path) as temporary:
        half.save(temporary)
    return Path(path)


def uncompiled(model: keras.Model) -> keras.Model:
    """Return the same layers as a model that knows no optimiser, and so neither saves nor loads
    one: for Adam this makes a file three times smaller.
    """
    (inputs,), (outputs,) = model.inputs, model.outputs
    return keras.Model(inputs, outputs, name=model.name)


def load_model(path, precision="auto") -> keras.Model:
    """Read a model that `save_model` wrote, to compute in a precision of this machine's choice.

    Parameters
    ----------
    path : path-like
        A `.keras` file.
    precision : {"auto", "float32", "mixed_bfloat16"}
        Whatever the precision that it was trained in; see `resolve_precision`.

    Returns
    -------
    keras.Model
        Not compiled.

    Raises
    ------
    config.CourseError
        If the file is missing, of another kind, damaged, or holds what is not Keras's own; see
        `utils.models.files.checks`.
    """
    saved, version = checks.read_archive(path)
    saved.pop("compile_config", None)
    policy = resolve_precision(precision)
    # Keras raises whatever its layers do of a configuration or of weights that are not theirs:
    # every kind of exception has been seen. All of them mean that this file does not serve.
    try:
        _set_policies(saved, policy)
        model = keras.saving.deserialize_keras_object(saved, safe_mode=True)
    except config.CourseError:
        raise
    except Exception as error:
        raise checks.cannot_build(path, version, error) from error
    if not isinstance(model, keras.Model) or not model.built:
        raise config.CourseError(f"{path}: holds no whole network, but {type(model).__name__}")
    try:
        with warnings.catch_warnings():
            # Keras only warns of layers that stay untrained because the file has no weights.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except Exception as error:
        raise checks.cannot_fill(path, error) from error
    checks.check_weights(model, path)
    return model


def _set_policies(node, precision: str) -> None:
    """Give every layer in a model's configuration the dtype policy `precision`."""
    if isinstance(node, dict):
        own = node.get("config")
        if isinstance(own, dict) and isinstance(own.get("dtype"), dict):
            name = "float32" if own.get("name") in FLOAT32_LAYERS else precision
            own["dtype"]["config"] = {"name": name}
            own["dtype"]["class_name"] = "DTypePolicy"
        elif node.get("class_name") == "InputLayer" and isinstance(own, dict):
            # Half of a network that was trained in 16 bits would round what it is given.
            own["dtype"] = "float32"
        for value in node.values():
            _set_policies(value, precision)
    elif isinstance(node, list):
        for value in node:
            _set_policies(value, precision)
