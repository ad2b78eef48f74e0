"""ONNX: a model as a graph of standard operators, for onnxruntime and its kin."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.formats.common import Writer, cropped, fixed_pair, needed
from tinynn.nn.layer import Layer
from tinynn.training.archive import checked_path, naming, write_whole

OPSET, IR_VERSION = 20, 9  # of 2023; circular padding needs 19, Gelu 20
LARGEST = 2**31 - 2**20  # bytes that a protocol buffer holds
MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name.title(), {}) for name in ("relu", "sigmoid", "softplus", "tanh", "gelu")},
    "leaky_relu": ("LeakyRelu", {"alpha": 0.2}),
    "elu": ("Elu", {"alpha": 1.0}),
    "exponential": ("Exp", {}),
    "softmax": ("Softmax", {}),
    "log_softmax": ("LogSoftmax", {}),
}


@dataclass(frozen=True)
class _Value:
    """A value in the graph. ``axis``: where its channels are; None if they are not known."""

    name: str
    rank: int
    axis: int
    channels: int | None


def save_onnx(path: Any, model: Layer, channels: int) -> None:
    """Write a model in evaluation mode as an ONNX file, in float32, opset 20.

    Input ``x`` is (batch, length, channels), output ``y`` what the model makes of it; batch and
    length are free. Weights go by their dotted paths. The file is written whole or not at all.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        The file.
    model : Layer
        A model of tinynn's own layers, but ``Lambda``, with activations by name.
    channels : int
        The channels of its input.

    Raises
    ------
    TypeError
        If ``path`` is no path, ``model`` no Layer, ``channels`` no integer.
    ValueError
        With the path of what cannot be written, before anything is.
    OSError
        If the file cannot be written.
    ImportError
        If the package onnx is missing.

    Examples
    --------
    >>> import tinynn as tnn
    >>> model = tnn.Conv1d(1, 4, 9, padding="same")
    >>> tnn.formats.save_onnx("model.onnx", model, channels=1)  # doctest: +SKIP
    """
    channels = check.integer("save_onnx", "channels", channels, at_least=1)
    graph, path = _Graph(model), checked_path("save_onnx", path)
    content = graph.written(graph.layer(model, _Value("x", 3, 2, channels)), channels)
    with naming("save_onnx", path):
        write_whole(path, lambda file: file.write(content))


class _Graph(Writer):
    """Nodes by now. Series are (batch, length, channels) or, for a convolution, channels first."""

    owner = "save_onnx"

    def __init__(self, model: Layer) -> None:
        super().__init__(model)
        self.onnx = needed("save_onnx", "onnx")
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}

    def written(self, y: _Value, channels: int) -> bytes:
        """Return the file of a graph that ends in ``y``."""
        helper, real = self.onnx.helper, self.onnx.TensorProto.FLOAT
        self.nodes.append(helper.make_node("Identity", [self.last(y).name], ["y"]))
        if sum(array.nbytes for array in self.constants.values()) > LARGEST:
            raise ValueError("save_onnx: an ONNX file holds at most 2 GB of weights.")
        shape = ["batch", *["output_length"] * (y.rank - 2), y.channels or "features"]
        values = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "tinynn",
            [values("x", real, ["batch", "length", channels])],
            [values("y", real, shape)],
            [self.onnx.numpy_helper.from_array(v, k) for k, v in self.constants.items()],
        )
        opset = helper.make_opsetid("", OPSET)
        made = helper.make_model(
            graph, producer_name="tinynn", opset_imports=[opset], ir_version=IR_VERSION
        )
        self.onnx.checker.check_model(made, full_check=True)
        content: bytes = made.SerializeToString()
        return content

    # ------------------------------------------------------------ parts of a graph

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append a node, and return the name of its result."""
        name = f"{kind}_{len(self.nodes)}"
        made = self.onnx.helper.make_node(kind, inputs, [name], name=name, **attributes)
        self.nodes.append(made)
        return name

    def constant(self, *values: float) -> str:
        """Return the name of a vector of integers."""
        name = "_".join(["int", *map(str, values)])
        return self.held(name, np.array(values, np.int64))

    def held(self, name: str, array: np.ndarray) -> str:
        """Return the name of an array in the file."""
        self.constants[name] = np.ascontiguousarray(array)
        return name

    def weight(self, layer: Layer, name: str, *axes: int) -> list[str]:
        """Return the name of a layer's Tensor as float32, its axes in order; none for no Tensor."""
        tensor = getattr(layer, name)
        if tensor is None:
            return []
        path = f"{self.paths[id(layer)]}.{name}".lstrip(".")
        with np.errstate(over="ignore"):
            array = tensor.numpy().astype(np.float32)
        if np.isinf(array).sum() > np.isinf(tensor.data).sum():
            why = f"its {name} has values that float32 cannot hold"
            raise self.refuse(layer, why)
        return [self.held(path, array.transpose(axes) if axes else array)]

    def turned(self, x: _Value) -> _Value:
        """Return a series with its other axis last."""
        name = self.node("Transpose", x.name, perm=[0, 2, 1])
        return _Value(name, 3, 3 - x.axis, x.channels)

    def last(self, x: _Value) -> _Value:
        """Return a value with its channels last."""
        return x if x.axis == x.rank - 1 else self.turned(x)

    def first(self, x: _Value) -> _Value:
        """Return a series with its channels first."""
        return x if x.axis == 1 else self.turned(x)

    def demand(self, layer: Layer, x: _Value, channels: int) -> None:
        """Refuse a layer that takes another number of channels."""
        if x.channels not in (None, channels):
            why = f"it takes {channels} channels, but what comes before it has {x.channels}"
            raise self.refuse(layer, why)

    def padded(self, x: str, pair: tuple[int, int] | str, mode: str = "zeros", *fill: str) -> str:
        """Return a series, channels first, with steps at both ends; ``pair`` may be computed."""
        if pair == (0, 0):
            return x
        pads = pair if isinstance(pair, str) else self.constant(0, 0, pair[0], 0, 0, pair[1])
        return self.node("Pad", x, pads, *fill, mode=MODES[mode])

    def same_pair(self, x: str, extent: int, strides: int, lower: bool) -> str:
        """Return the steps of padding at both ends as a vector that depends on the length."""
        length, n = self.node("Shape", x, start=2, end=3), self.constant
        windows = self.node("Div", self.node("Add", length, n(strides - 1)), n(strides))
        reach = self.node("Add", self.node("Mul", windows, n(strides)), n(extent - strides))
        total = self.node("Max", self.node("Sub", reach, length), n(0))
        short = self.node("Div", total, n(2))
        left, right = (short, self.node("Sub", total, short))[:: -1 if lower else 1]
        # All axes: onnxruntime (1.32) moves a Transpose over a Pad of some axes in the wrong way.
        return self.node("Concat", n(0, 0), left, n(0, 0), right, axis=0)

    def activated(self, name: str, x: _Value) -> _Value:
        """Return an activation of a value."""
        if name == "linear":
            return x
        if name == "silu":
            y = self.node("Mul", x.name, self.node("Sigmoid", x.name))
        else:
            kind, given = ACTIVATIONS[name]
            given = {"axis": x.axis} if kind.endswith("Softmax") else given
            y = self.node(kind, x.name, **given)
        return _Value(y, x.rank, x.axis, x.channels)

    # ------------------------------------------------------------ layers

    def layer(self, layer: Layer, x: _Value) -> _Value:
        """Append what a layer does to ``x``."""
        made: _Value = self.method(layer, x.rank == 3)(layer, x)
        return made

    def sequential(self, layer: Any, x: _Value) -> _Value:
        for part in layer.layers:
            x = self.layer(part, x)
        return x

    def residual(self, layer: Any, x: _Value) -> _Value:
        y = self.layer(layer.body, x)
        known = None not in (x.channels, y.channels)
        if y.rank != x.rank or (known and y.channels != x.channels):
            why = f"its body leaves {y.channels} channels of {x.channels}"
            raise self.refuse(layer, why)
        x = x if x.axis == y.axis else self.turned(x)
        return _Value(self.node("Add", x.name, y.name), y.rank, y.axis, y.channels)

    def parallel(self, layer: Any, x: _Value) -> _Value:
        found = [self.last(self.layer(part, x)) for part in layer.layers]
        self.demand_one_kind(layer, [y.rank for y in found])
        rank, known = found[0].rank, [y.channels for y in found if y.channels is not None]
        total = sum(known) if len(known) == len(found) else None
        return _Value(self.node("Concat", *[y.name for y in found], axis=-1), rank, rank - 1, total)

    def dense(self, layer: Any, x: _Value) -> _Value:
        self.demand(layer, x, layer.in_features)
        y = self.node("MatMul", self.last(x).name, *self.weight(layer, "kernel"))
        for bias in self.weight(layer, "bias"):
            y = self.node("Add", y, bias)
        return self.activated(layer.activation_name, _Value(y, x.rank, x.rank - 1, layer.units))

    def activation(self, layer: Any, x: _Value) -> _Value:
        return self.activated(layer.activation_name, x)

    def dropout(self, layer: Any, x: _Value) -> _Value:
        return x

    def conv1d(self, layer: Any, x: _Value) -> _Value:
        self.demand(layer, x, layer.in_channels)
        extent, given = layer.receptive_field, {}
        y, lower = self.first(x).name, layer.padding == "same_lower"
        pair: Any = fixed_pair(layer.padding, extent, layer.strides)
        zeros = layer.padding_mode == "zeros"
        if zeros and pair is not None:
            given = {"pads": pair}
        elif zeros and layer.dilation_rate == 1:  # onnxruntime wants no dilation here
            given = {"auto_pad": f"SAME_{'LOWER' if lower else 'UPPER'}"}
        else:
            pair = self.same_pair(y, extent, layer.strides, lower) if pair is None else pair
            y = self.padded(y, pair, layer.padding_mode)
        weights = self.weight(layer, "kernel", 2, 1, 0) + self.weight(layer, "bias")
        y = self.node("Conv", y, *weights, **_moves(layer), **given)
        return self.activated(layer.activation_name, _Value(y, 3, 1, layer.filters))

    def conv1dtranspose(self, layer: Any, x: _Value) -> _Value:
        self.demand(layer, x, layer.in_channels)
        left, right = cropped(layer)
        weights = self.weight(layer, "kernel", 2, 1, 0) + self.weight(layer, "bias")
        given = {"pads": [left, max(0, right)], "output_padding": [max(0, -right)]}
        y = self.first(x).name
        y = self.node("ConvTranspose", y, *weights, **_moves(layer), **given)
        return self.activated(layer.activation_name, _Value(y, 3, 1, layer.filters))

    def maxpool1d(self, layer: Any, x: _Value) -> _Value:
        size, strides, y = layer.pool_size, layer.strides, self.first(x).name
        kind = {"MaxPool1d": "MaxPool", "AvgPool1d": "AveragePool"}[type(layer).__name__]
        given: dict[str, Any] = {"kernel_shape": [size], "strides": [strides]}
        pair = fixed_pair(layer.padding, size, strides)
        if pair is not None or strides <= size:
            given |= {"auto_pad": "SAME_UPPER"} if pair is None else {"pads": pair}
            return _Value(self.node(kind, y, **given), 3, 1, x.channels)
        pads = self.same_pair(y, size, strides, False)  # onnxruntime pads by less than nothing
        lowest = [self.held("lowest", np.array(-np.inf, np.float32))] * (kind == "MaxPool")
        pooled = self.node(kind, self.padded(y, pads, "zeros", *lowest), **given)
        if not lowest:  # the mean is one of real samples
            one = self.onnx.numpy_helper.from_array(np.ones(1, np.float32))
            ones = self.node("ConstantOfShape", self.node("Shape", y), value=one)
            pooled = self.node("Div", pooled, self.node(kind, self.padded(ones, pads), **given))
        return _Value(pooled, 3, 1, x.channels)

    avgpool1d = maxpool1d

    def globalmaxpool1d(self, layer: Any, x: _Value) -> _Value:
        kind = {"GlobalMaxPool1d": "ReduceMax", "GlobalAvgPool1d": "ReduceMean"}
        y = self.node(kind[type(layer).__name__], self.first(x).name, self.constant(2), keepdims=0)
        return _Value(y, 2, 1, x.channels)

    globalavgpool1d = globalmaxpool1d

    def batchnorm(self, layer: Any, x: _Value) -> _Value:
        self.demand(layer, x, layer.channels)
        x = self.first(x) if x.rank == 3 else x
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        weights = [self.weight(layer, name)[0] for name in names]
        y = self.node("BatchNormalization", x.name, *weights, epsilon=layer.epsilon)
        return _Value(y, x.rank, 1, x.channels)

    def layernorm(self, layer: Any, x: _Value) -> _Value:
        self.demand(layer, x, layer.features)
        weights = self.weight(layer, "gamma") + self.weight(layer, "beta")
        y = self.node("LayerNormalization", self.last(x).name, *weights, epsilon=layer.epsilon)
        return _Value(y, x.rank, x.rank - 1, x.channels)

    def upsample1d(self, layer: Any, x: _Value) -> _Value:
        y = self.first(x).name
        shape = self.node("Mul", self.node("Shape", y), self.constant(1, 1, layer.size))
        y = self.node(
            "Tile", self.node("Unsqueeze", y, self.constant(3)), self.constant(1, 1, 1, layer.size)
        )
        return _Value(self.node("Reshape", y, shape, allowzero=1), 3, 1, x.channels)

    def zeropad1d(self, layer: Any, x: _Value) -> _Value:
        return _Value(self.padded(self.first(x).name, layer.padding), 3, 1, x.channels)

    def flatten(self, layer: Any, x: _Value) -> _Value:
        y = self.node("Flatten", self.last(x).name)
        return _Value(y, 2, 1, x.channels if x.rank == 2 else None)


def _moves(layer: Any) -> dict[str, Any]:
    """Return the settings that both convolutions have."""
    steps = {"strides": [layer.strides], "dilations": [layer.dilation_rate]}
    return steps | {"kernel_shape": [layer.kernel_size], "group": layer.groups}
