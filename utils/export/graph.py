"""An ONNX graph in the making: nodes, weights, and in which order the axes of a tensor lie.

Keras keeps channels last, ONNX's convolutions take them first. A tensor is turned only where the
next layer needs it, which within a network of convolutions is never.
"""

from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Read by every onnxruntime since 2022, and by the one for browsers.
OPSET, IR_VERSION = 17, 8
# Weights of fewer values than this stay in 32 bits: they would save nothing.
FEW_VALUES = 4096
# Axes of a picture in the order of the other kind.
TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


class Tensor(NamedTuple):
    """A value in the graph.

    Attributes
    ----------
    name : str
    channels_first : bool
        True where it is a batch of pictures whose axes lie as (batch, channels, height, width);
        otherwise they lie as in Keras.
    """

    name: str
    channels_first: bool = False


class Graph:
    """Collects the nodes and weights of one network."""

    def __init__(self):
        self.nodes = []
        self.weights = {}
        self._turned = {}
        self._named = set()

    def node(self, kind: str, inputs: list[str], **attributes) -> str:
        """Add a node of one output, and return the name of that."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def split(self, tensor: str, count: int, axis: int) -> list[str]:
        """Cut a tensor along an axis into parts of one length, and return their names."""
        name = f"split_{len(self.nodes)}"
        parts = [f"{name}_{number}" for number in range(count)]
        self.nodes.append(helper.make_node("Split", [tensor], parts, name=name, axis=axis))
        return parts

    def weight(self, name: str, values: np.ndarray) -> str:
        """Add weights, once for each name, and return what nodes call them.

        They are stored in 16 bits where that loses nothing, as in the models of the repository,
        and computed with in 32 bits: whatever runs the graph converts them when it reads it.

        Parameters
        ----------
        name : str
            The same for the same weights, such as those of a layer that is used twice.
        values : ndarray of float
        """
        if name in self._named:
            return name
        self._named.add(name)
        values = np.asarray(values, np.float32)
        with np.errstate(over="ignore"):  # to infinity, which is not equal
            half = values.astype(np.float16)
        if values.size < FEW_VALUES or not np.array_equal(half, values):
            self.weights[name] = values
            return name
        self.weights[f"{name}/half"] = half
        self.nodes.append(
            helper.make_node("Cast", [f"{name}/half"], [name], name=name, to=TensorProto.FLOAT)
        )
        return name

    def whole_numbers(self, values) -> str:
        """Add a list of whole numbers, such as a shape, and return its name."""
        values = np.atleast_1d(np.asarray(values, np.int64))
        name = "whole_" + "_".join(map(str, values.tolist()))
        self.weights[name] = values
        return name

    def first(self, tensor: Tensor) -> Tensor:
        """Return pictures with their channels first."""
        return tensor if tensor.channels_first else self._turn(tensor, TO_FIRST)

    def last(self, tensor: Tensor) -> Tensor:
        """Return a tensor with its axes as in Keras."""
        return self._turn(tensor, TO_LAST) if tensor.channels_first else tensor

    def _turn(self, tensor: Tensor, axes: tuple) -> Tensor:
        if tensor not in self._turned:
            name = self.node("Transpose", [tensor.name], perm=axes)
            self._turned[tensor] = Tensor(name, not tensor.channels_first)
        return self._turned[tensor]

    def model(self, given: tuple, made: Tensor, shape: tuple) -> onnx.ModelProto:
        """Return the whole graph.

        Parameters
        ----------
        given : (str, tuple)
            Name and shape of its input, None for the length of the batch.
        made : Tensor
            Its output.
        shape : tuple
            That of the output.
        """
        name, given_shape = given
        end = helper.make_node("Identity", [self.last(made).name], ["probability"], name="end")
        graph = helper.make_graph(
            [*self.nodes, end],
            "network",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, _dimensions(given_shape))],
            [helper.make_tensor_value_info("probability", TensorProto.FLOAT, _dimensions(shape))],
            [numpy_helper.from_array(values, name) for name, values in self.weights.items()],
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(
            graph,
            opset_imports=[opset],
            ir_version=IR_VERSION,
            producer_name="brain-tumour-mri-course",
        )


def _dimensions(shape: tuple) -> list:
    return ["batch", *shape[1:]]
