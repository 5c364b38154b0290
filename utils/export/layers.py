"""What each kind of Keras layer is in ONNX: one function each, by the name of its class.

Each takes the graph, the layer and the tensors that it is given, adds nodes to the graph, and
returns the tensor that the layer makes. `WRITERS` lists them. The axes of a layer's configuration
are those of Keras, channels last.
"""

from collections.abc import Callable

import numpy as np

from utils.export.graph import Graph, Tensor

# Name of Keras's activation -> node of ONNX; None: the tensor as it is.
ACTIVATIONS = {
    "linear": None,
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "elu": "Elu",
    "softplus": "Softplus",
}
# Where an axis of Keras's pictures lies with the channels first.
AXIS_FIRST = {0: 0, 1: 2, 2: 3, 3: 1}


class NotWritten(Exception):
    """A layer, or a setting of one, that no writer knows; says which."""


def _activated(graph: Graph, tensor: Tensor, name: str) -> Tensor:
    if name not in ACTIVATIONS:
        raise NotWritten(f"the activation {name!r}")
    if ACTIVATIONS[name] is None:
        return tensor
    return Tensor(graph.node(ACTIVATIONS[name], [tensor.name]), tensor.channels_first)


def _needs(config: dict, **wanted) -> None:
    """Refuse settings that would be computed in another way than they are written."""
    for name, value in wanted.items():
        if config.get(name, value) != value:
            raise NotWritten(f"{name}={config[name]!r}")


def _convolution(graph, layer, path, tensors) -> Tensor:
    config = layer.get_config()
    settings = {"dilations": config["dilation_rate"], "group": config["groups"]}
    if max(config["dilation_rate"]) > 1 and config["padding"] == "same":
        # onnxruntime pads to the same size by itself only where nothing is dilated; then the
        # stride may be more than 1, and here Keras has it be 1.
        reach = [
            step * (side - 1)
            for side, step in zip(config["kernel_size"], config["dilation_rate"], strict=True)
        ]
        settings["pads"] = [total // 2 for total in reach] + [-(-total // 2) for total in reach]
    else:
        settings["auto_pad"] = _padding(config)
    return _convolved(graph, "Conv", layer, path, tensors, settings)


def _transposed_convolution(graph, layer, path, tensors) -> Tensor:
    config = layer.get_config()
    _needs(config, output_padding=None, dilation_rate=(1, 1))
    if any(side < step for side, step in zip(layer.kernel_size, layer.strides, strict=True)):
        raise NotWritten(f"a kernel of {layer.kernel_size} below its strides {layer.strides}")
    settings = {"auto_pad": _padding(config)}
    return _convolved(graph, "ConvTranspose", layer, path, tensors, settings)


def _convolved(graph, kind: str, layer, path, tensors, settings: dict) -> Tensor:
    config = layer.get_config()
    _needs(config, data_format="channels_last")
    kernel, *bias = [np.asarray(weight) for weight in layer.get_weights()]
    given = [graph.first(tensors[0]).name]
    given.append(graph.weight(f"{path}/kernel", kernel.transpose(3, 2, 0, 1)))
    given += [graph.weight(f"{path}/bias", values) for values in bias]
    settings |= {"kernel_shape": config["kernel_size"], "strides": config["strides"]}
    name = graph.node(kind, given, **settings)
    return _activated(graph, Tensor(name, True), config["activation"])


def _padding(config: dict) -> str:
    # TensorFlow's "same" has the odd row of zeros at the end.
    return {"same": "SAME_UPPER", "valid": "VALID"}[config["padding"]]


def _normalisation(graph, layer, path, tensors) -> Tensor:
    (tensor,) = tensors
    rank = layer.input_spec.ndim
    if rank not in (2, 4) or layer.axis % rank != rank - 1:
        raise NotWritten(f"axis={layer.axis!r} of {rank} axes")
    # In this order, what is not learned left out.
    values = iter(layer.get_weights())
    gamma = next(values) if layer.scale else None
    beta = next(values) if layer.center else None
    mean, variance = values
    gamma = np.ones_like(mean) if gamma is None else gamma
    beta = np.zeros_like(mean) if beta is None else beta
    given = graph.first(tensor) if rank == 4 else tensor
    arrays = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    names = [graph.weight(f"{path}/{name}", values) for name, values in arrays.items()]
    name = graph.node("BatchNormalization", [given.name, *names], epsilon=layer.epsilon)
    return Tensor(name, given.channels_first)


def _dense(graph, layer, path, tensors) -> Tensor:
    (tensor,) = tensors
    config = layer.get_config()
    kernel, *bias = [np.asarray(weight) for weight in layer.get_weights()]
    name = graph.node("MatMul", [graph.last(tensor).name, graph.weight(f"{path}/kernel", kernel)])
    if bias:
        name = graph.node("Add", [name, graph.weight(f"{path}/bias", bias[0])])
    return _activated(graph, Tensor(name), config["activation"])


def _activation(graph, layer, path, tensors) -> Tensor:
    return _activated(graph, tensors[0], layer.get_config()["activation"])


def _relu(graph, layer, path, tensors) -> Tensor:
    _needs(layer.get_config(), max_value=None, negative_slope=0.0, threshold=0.0)
    return _activated(graph, tensors[0], "relu")


def _leaky_relu(graph, layer, path, tensors) -> Tensor:
    slope = float(layer.get_config()["negative_slope"])
    (tensor,) = tensors
    return Tensor(graph.node("LeakyRelu", [tensor.name], alpha=slope), tensor.channels_first)


def _rescaling(graph, layer, path, tensors) -> Tensor:
    (tensor,) = tensors
    for kind, values, neutral in (("Mul", layer.scale, 1.0), ("Add", layer.offset, 0.0)):
        values = np.asarray(values, np.float32)
        if np.all(values == neutral):
            continue
        if values.ndim and tensor.channels_first:
            values = values.reshape(-1, 1, 1)
        name = graph.node(kind, [tensor.name, graph.weight(f"{path}/{kind.lower()}", values)])
        tensor = Tensor(name, tensor.channels_first)
    return tensor


def _flip(graph, layer, path, tensors) -> Tensor:
    (tensor,) = tensors
    axis = layer.axis
    if not isinstance(axis, int):
        raise NotWritten(f"axis={axis!r}")
    axis = AXIS_FIRST[axis % 4] if tensor.channels_first else axis
    ends = [-1, np.iinfo(np.int32).min, axis, -1]  # from the last to before the first
    name = graph.node("Slice", [tensor.name, *map(graph.whole_numbers, ends)])
    return Tensor(name, tensor.channels_first)


def _zero_padding(graph, layer, path, tensors) -> Tensor:
    _needs(layer.get_config(), data_format="channels_last")
    (top, bottom), (left, right) = layer.padding
    pads = graph.whole_numbers([0, 0, top, left, 0, 0, bottom, right])
    return Tensor(graph.node("Pad", [graph.first(tensors[0]).name, pads]), True)


def _pooling(kind: str) -> Callable:
    def write(graph, layer, path, tensors) -> Tensor:
        config = layer.get_config()
        _needs(config, data_format="channels_last")
        name = graph.node(
            kind,
            [graph.first(tensors[0]).name],
            auto_pad=_padding(config),
            kernel_shape=config["pool_size"],
            strides=config["strides"],
        )
        return Tensor(name, True)

    return write


def _global_pooling(kind: str) -> Callable:
    def write(graph, layer, path, tensors) -> Tensor:
        config = layer.get_config()
        _needs(config, data_format="channels_last")
        name = graph.node(kind, [graph.first(tensors[0]).name])
        if config["keepdims"]:
            return Tensor(name, True)
        return Tensor(graph.node("Flatten", [name]))

    return write


def _upsampling(graph, layer, path, tensors) -> Tensor:
    config = layer.get_config()
    _needs(config, data_format="channels_last")
    ways = {
        "nearest": {"mode": "nearest", "nearest_mode": "floor"},
        "bilinear": {"mode": "linear"},
    }
    if config["interpolation"] not in ways:
        raise NotWritten(f"interpolation={config['interpolation']!r}")
    way = ways[config["interpolation"]]
    # Of whole factors both conventions repeat each pixel; this is the plainer one to compute.
    way["coordinate_transformation_mode"] = (
        "asymmetric" if way["mode"] == "nearest" else "half_pixel"
    )
    scales = graph.weight(f"{path}/scales", [1, 1, *config["size"]])
    return Tensor(graph.node("Resize", [graph.first(tensors[0]).name, "", scales], **way), True)


def _merging(kind: str) -> Callable:
    def write(graph, layer, path, tensors) -> Tensor:
        tensors = _alike(graph, tensors)
        name = graph.node(kind, [tensor.name for tensor in tensors])
        return Tensor(name, tensors[0].channels_first)

    return write


def _product(graph, layer, path, tensors) -> Tensor:
    first, *others = _alike(graph, tensors)
    name = first.name
    for other in others:
        name = graph.node("Mul", [name, other.name])
    return Tensor(name, first.channels_first)


def _concatenation(graph, layer, path, tensors) -> Tensor:
    tensors = _alike(graph, tensors)
    axis = layer.axis
    if tensors[0].channels_first:
        axis = AXIS_FIRST[axis % 4]
    name = graph.node("Concat", [tensor.name for tensor in tensors], axis=axis)
    return Tensor(name, tensors[0].channels_first)


def _alike(graph: Graph, tensors: list[Tensor]) -> list[Tensor]:
    """Return tensors whose axes lie in one order, with the channels first if any has them so."""
    if any(tensor.channels_first for tensor in tensors):
        return [graph.first(tensor) for tensor in tensors]
    return tensors


def _flattening(graph, layer, path, tensors) -> Tensor:
    return Tensor(graph.node("Flatten", [graph.last(tensors[0]).name]))


def _reshaping(graph, layer, path, tensors) -> Tensor:
    shape = getattr(layer, "newshape", None)
    if shape is None:  # the layer, which does not count the batch
        shape = (-1, *layer.target_shape)
    shape = graph.whole_numbers([-1 if side is None else side for side in shape])
    return Tensor(graph.node("Reshape", [graph.last(tensors[0]).name, shape]))


def _transposition(graph, layer, path, tensors) -> Tensor:
    if layer.axes is None:
        raise NotWritten("axes=None")
    return Tensor(graph.node("Transpose", [graph.last(tensors[0]).name], perm=layer.axes))


def _splitting(graph, layer, path, tensors) -> list[Tensor]:
    if not isinstance(layer.indices_or_sections, int):
        raise NotWritten("parts of any length")
    given = graph.last(tensors[0]).name
    return [Tensor(part) for part in graph.split(given, layer.indices_or_sections, layer.axis)]


def _nothing(graph, layer, path, tensors) -> Tensor:
    """Write what does something in training only."""
    return tensors[0]


WRITERS = {
    "Activation": _activation,
    "Add": _merging("Sum"),
    "Average": _merging("Mean"),
    "AveragePooling2D": _pooling("AveragePool"),
    "BatchNormalization": _normalisation,
    "Concatenate": _concatenation,
    "Conv2D": _convolution,
    "Conv2DTranspose": _transposed_convolution,
    "Dense": _dense,
    "Dropout": _nothing,
    "Flatten": _flattening,
    "Flip": _flip,
    "GlobalAveragePooling2D": _global_pooling("GlobalAveragePool"),
    "GlobalMaxPooling2D": _global_pooling("GlobalMaxPool"),
    "LeakyReLU": _leaky_relu,
    "MaxPooling2D": _pooling("MaxPool"),
    "Maximum": _merging("Max"),
    "Multiply": _product,
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "Reshape": _reshaping,
    "SpatialDropout2D": _nothing,
    "Split": _splitting,
    "Transpose": _transposition,
    "UpSampling2D": _upsampling,
    "ZeroPadding2D": _zero_padding,
}
