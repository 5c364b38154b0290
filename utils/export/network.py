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
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise _refused(file, f"{model.name!r} has more than one input or output")
    if isinstance(model, keras.Sequential):
        tensor = given
        for layer in model.layers:
            tensor = _layer(graph, layer, f"{path}{layer.name}", [tensor], file)
        return tensor
    written = {}  # by the identity of Keras's tensor, which is kept so that no other takes it

    def write(layer, *arguments, **named):
        made = layer(*arguments, **named)
        # What no layer made is the input, of which there is one.
        tensors = [
            written.get(id(each), (each, given))[1]
            for each in keras.tree.flatten((arguments, named))
            if isinstance(each, keras.KerasTensor)
        ]
        found = _layer(graph, layer, f"{path}{layer.name}", tensors, file)
        of_onnx = found if isinstance(found, list) else [found]
        for each, tensor in zip(keras.tree.flatten(made), of_onnx, strict=True):
            written[id(each)] = each, tensor
        return made

    # Keras's own way through its layers, in order; they are used, not copied.
    through = keras.models.clone_model(
        model, clone_function=lambda layer: layer, call_function=write
    )
    return written[id(through.outputs[0])][1]


def _layer(graph: Graph, layer, path: str, tensors: list[Tensor], file) -> Tensor | list[Tensor]:
    """Write a layer and return what it makes, a list where that is several tensors."""
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
