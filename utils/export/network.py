"""A Keras network as an ONNX graph: its layers in order, each by its writer."""

from pathlib import Path

import keras
import onnx

from utils.config import CourseError
from utils.export.graph import Graph, Tensor
from utils.export.layers import WRITERS, NotWritten


def onnx_of(model: keras.Model, file: Path | str = "the network") -> onnx.ModelProto:
    """Return what a network computes as an ONNX model.

    Parameters
    ----------
    model : keras.Model
        Of one input and one output, in float32, built of the layers in `layers.WRITERS`, and of
        networks of such.
    file : path-like
        Where it comes from, for messages.

    Returns
    -------
    onnx.ModelProto
        Its input is called "picture", its output "probability"; both are float32, with the axes
        as in Keras and any length of batch.

    Raises
    ------
    CourseError
        If a layer is of another kind.
    """
    graph = Graph()
    given = Tensor("picture")
    made = _network(graph, model, "", given, file)
    whole = graph.model((given.name, model.input_shape), made, model.output_shape)
    onnx.checker.check_model(whole, full_check=True)
    return whole


def _network(graph: Graph, model: keras.Model, path: str, given: Tensor, file) -> Tensor:
    """Write a network, or one within another, and return what it makes of `given`."""
    if isinstance(model, keras.Sequential):
        tensor = given
        for layer in model.layers:
            tensor = _layer(graph, layer, f"{path}{layer.name}", [tensor], file)
        return tensor
    config = model.get_config()
    if "input_layers" not in config:
        raise _refused(file, f"{type(model).__name__}, a network that is not made of layers")
    operations = {operation.name: operation for operation in model.operations}
    made = {_only(config["input_layers"], file): given}
    # Later ones may be listed before earlier ones: a layer used twice is listed once.
    waiting = [
        (saved["name"], use, node)
        for saved in config["layers"]
        for use, node in enumerate(saved["inbound_nodes"])
    ]
    while waiting:
        left = []
        for name, use, node in waiting:
            sources = list(_sources(node["args"])) + list(_sources(node["kwargs"]))
            if all(source in made for source in sources):
                tensors = [made[source] for source in sources]
                made[name, use] = _layer(graph, operations[name], f"{path}{name}", tensors, file)
            else:
                left.append((name, use, node))
        if len(left) == len(waiting):
            raise _refused(file, f"{left[0][0]!r}, whose input comes from nowhere")
        waiting = left
    return made[_only(config["output_layers"], file)]


def _layer(graph: Graph, layer, path: str, tensors: list[Tensor], file) -> Tensor:
    if isinstance(layer, keras.Model):
        return _network(graph, layer, f"{path}/", tensors[0], file)
    kind = type(layer).__name__
    if kind not in WRITERS:
        raise _refused(file, f"{layer.name!r} is a {kind}")
    try:
        return WRITERS[kind](graph, layer, path, tensors)
    except NotWritten as error:
        raise _refused(file, f"{layer.name!r} is a {kind} with {error}") from error


def _refused(file, what: str) -> CourseError:
    return CourseError(
        f"{file}: {what}, which cannot be written to ONNX here; known are {', '.join(WRITERS)}"
    )


def _only(ends: list, file) -> tuple[str, int]:
    """Return the one layer, and which use of it, that a network begins or ends with."""
    ends = [ends] if isinstance(ends[0], str) else ends
    if len(ends) != 1:
        raise _refused(file, f"a network with {len(ends)} inputs or outputs")
    name, use, _ = ends[0]
    return name, use


def _sources(values):
    """Yield the tensors among the arguments of a layer, as (layer, which use of it)."""
    if isinstance(values, dict) and values.get("class_name") == "__keras_tensor__":
        name, use, _ = values["config"]["keras_history"]
        yield name, use
    elif isinstance(values, dict | list | tuple):
        for value in values.values() if isinstance(values, dict) else values:
            yield from _sources(value)
