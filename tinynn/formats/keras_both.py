"""Keras 3: models both ways, on any backend."""

import inspect
import itertools
from collections.abc import Callable
from typing import Any

from tinynn import _checks as check
from tinynn.autodiff.tensor import Tensor
from tinynn.formats import common
from tinynn.formats.common import fixed_pair, needed, refuse
from tinynn.nn import activations, branches, config, layers, pooling
from tinynn.nn.layer import Layer

SAME = {  # what a layer of ours is called there; arguments and weights have the same names
    "Dense": "Dense", "Activation": "Activation", "Dropout": "Dropout", "Flatten": "Flatten",
    "Conv1d": "Conv1D", "Conv1dTranspose": "Conv1DTranspose", "UpSample1d": "UpSampling1D",
    "ZeroPad1d": "ZeroPadding1D", "MaxPool1d": "MaxPooling1D", "AvgPool1d": "AveragePooling1D",
    "GlobalMaxPool1d": "GlobalMaxPooling1D", "GlobalAvgPool1d": "GlobalAveragePooling1D",
    "BatchNorm": "BatchNormalization", "LayerNorm": "LayerNormalization",
}  # fmt: skip
OURS = {theirs: ours for ours, theirs in SAME.items()}
WEIGHTS = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
ACTIVATIONS = {  # layers of Keras that are activations, with the options that tinynn has
    "ReLU": ("relu", {}),
    "LeakyReLU": ("leaky_relu", {"negative_slope": 0.2}),
    "ELU": ("elu", {}),
    "Softmax": ("softmax", {}),
    "Identity": ("linear", {}),
}
MISCOUNTS = "on PyTorch, Keras 3.15 takes steps of padding into the mean"
WIDTHS = ("in_channels", "in_features", "channels", "features")  # what the last axis must have
LAST = layers.Flatten, pooling.GlobalMaxPool1d, pooling.GlobalAvgPool1d  # that leave no series
FREE = {"name", "trainable", "dtype", "seed"}  # settings that change no result


def to_keras(model: Layer) -> Any:
    """Return a model as a Keras model, with copies of its weights.

    A ``keras.Sequential`` of Keras's own layers; a functional model where there are branches or
    paddings that Keras lacks. Series are (batch, length, channels), as here.

    Parameters
    ----------
    model : Layer
        A model of tinynn's own layers, but ``Lambda``, with activations by name, of one dtype.

    Returns
    -------
    keras.Model

    Raises
    ------
    TypeError
        If ``model`` is no Layer.
    ValueError
        With the path of what Keras cannot do: groups of a transposed convolution, strides with
        dilation of one, padding that depends on the length but for plain "same".
    ImportError
        If Keras or its backend is missing.

    Examples
    --------
    >>> import tinynn as tnn
    >>> tnn.formats.to_keras(tnn.Conv1d(1, 4, 9)).summary()  # doctest: +SKIP
    """
    made = _Maker(model).whole
    made.tinynn = common.note(model)
    return made


def from_keras(model: Any) -> Layer:
    """Return a Keras model as a model of tinynn, with copies of its weights.

    Taken are ``keras.Sequential``, functional models without branches, single layers, and all that
    :func:`to_keras` makes. Layers: Dense, Conv1D, Conv1DTranspose, BatchNormalization,
    LayerNormalization, Activation and activations as layers, pools, Flatten, Dropout, UpSampling1D,
    ZeroPadding1D.

    Parameters
    ----------
    model : keras.Layer
        A model or layer that is built.

    Returns
    -------
    Layer

    Raises
    ------
    TypeError
        If ``model`` is no Keras layer or model.
    ValueError
        With the path of a layer or option that tinynn has not.
    ImportError
        If Keras or its backend is missing.

    Examples
    --------
    >>> import tinynn as tnn
    >>> tnn.formats.from_keras(keras.Sequential([keras.layers.ReLU()]))  # doctest: +SKIP
    Sequential(
      Activation('relu'),
    )
    """
    keras = needed("from_keras", "keras")
    if not isinstance(model, keras.Layer):
        raise TypeError(f"from_keras: model must be a Keras model, got {check.shown(model)}.")
    known = _as_it_was(model)
    return _Reader(keras).layer(model, model.name) if known is None else known  # may be empty


def _as_it_was(whole: Any) -> Layer | None:
    """Return the model that a Keras model was made of, if all but its weights is the same."""
    if (found := common.noted(whole, _Maker, _looks)) is None:
        return None
    model: Layer
    model, twin = found
    places = {id(variable): i for i, variable in enumerate(twin.whole.weights)}
    for tensor, variable in twin.links:
        _take(tensor, whole.weights[places[id(variable)]])
    return model


def _looks(whole: Any) -> Any:
    parts = whole.operations if hasattr(whole, "operations") else whole.layers
    settings = [(type(part).__name__, _settings(part)) for part in parts]
    return settings, [(variable.shape, variable.dtype) for variable in whole.weights]


def _settings(layer: Any) -> dict[str, Any]:
    """Return the settings of a layer that matter for its result."""
    return {
        name: _single(value)
        for name, value in layer.get_config().items()
        if name not in FREE and not name.endswith("_initializer")
    }


def _take(tensor: Tensor, variable: Any) -> None:
    tensor.data = needed("from_keras", "keras").ops.convert_to_numpy(variable)
    tensor.requires_grad = bool(variable.trainable)


class _Maker(common.Writer):
    """Makes Keras layers, and functions of Keras tensors; ``links``: which Tensor is which."""

    owner = "to_keras"

    def __init__(self, model: Layer) -> None:
        super().__init__(model)
        self.keras = needed("to_keras", "keras")
        self.dtype = common.one_dtype("to_keras", model)
        self.links: list[tuple[Tensor, Any]] = []
        self.made: dict[int, list[Any]] = {}
        self.series = common.takes_series(model)
        x = self.keras.Input((None,) * self.series + (_width(model),), dtype=self.dtype)
        parts = self.items(model)
        y = self.through(parts, x)  # also of a Sequential, so that what does not fit is refused
        single = all(isinstance(part, self.keras.Layer) for part in parts)
        if parts and single and len({id(part) for part in parts}) == len(parts):
            self.whole = self.keras.Sequential([x, *parts])
        else:
            self.whole = self.keras.Model(x, y)

    def through(self, parts: list[Any], x: Any) -> Any:
        """Return what parts make of a Keras tensor."""
        for part in parts:
            x = part(x)
        return x

    def items(self, layer: Layer) -> list[Any]:
        """Return a layer as Keras layers or functions; the same ones if it comes again."""
        if type(layer) is layers.Sequential:
            return [item for part in layer.layers for item in self.items(part)]
        method, before = self.method(layer, self.series), self.series
        if id(layer) not in self.made:
            self.made[id(layer)] = method(layer)
        self.series = before and not any(type(part) in LAST for part in layer._layers())
        return self.made[id(layer)]

    def new(self, name: str, *given: Any, **named: Any) -> Any:
        """Return a Keras layer, for channels last, whatever is usual."""
        kind = getattr(self.keras.layers, name)
        if "data_format" in inspect.signature(kind).parameters:
            named["data_format"] = "channels_last"
        return kind(*given, **named, dtype=self.dtype)

    def plain(self, layer: Any, **other: Any) -> list[Any]:
        """Return a layer that Keras has too, with weights; ``other``: other arguments than its."""
        name = SAME[type(layer).__name__]
        taken = inspect.signature(getattr(self.keras.layers, name)).parameters.keys() - {"dtype"}
        given = {key: v for key, v in config.arguments(layer)[1].items() if key in taken} | other
        if "activation" in given:
            given["activation"] = layer.activation_name
        made, tensors = self.new(name, **given), _weights(layer)
        if tensors:
            rank = 3 if self.series or "kernel_size" in given else 2
            made.build((None, None, _width(layer))[-rank:])
            made.set_weights([tensor.numpy() for tensor in tensors])
        for tensor, variable in zip(tensors, made.weights, strict=True):
            if self.keras.ops.convert_to_numpy(variable).dtype != tensor.dtype:
                raise self.refuse(layer, f"this backend of Keras has no {tensor.dtype} now")
            if not tensor.requires_grad:
                variable.trainable = False
            self.links.append((tensor, variable))
        return [made]

    def conv1d(self, layer: Any) -> list[Any]:
        extent, strides, padding = layer.receptive_field, layer.strides, layer.padding
        both, pair = strides > 1 and layer.dilation_rate > 1, fixed_pair(padding, extent, strides)
        zeros, before = layer.padding_mode == "zeros", list[Any]()
        if pair is None and (both or not zeros or padding == "same_lower"):
            raise self.refuse(layer, f"Keras has no such padding {padding!r}, which needs a length")
        if not zeros or padding == "same_lower" or isinstance(padding, tuple):
            padding = "valid"
            if zeros and pair:
                before = [self.new("ZeroPadding1D", pair)]
            elif pair and any(pair):
                before = [self.filling(layer.padding_mode, *pair)]
        if not both:
            return [*before, *self.plain(layer, padding=padding)]
        every = self.new("MaxPooling1D", 1, strides=strides)
        return [*before, *self.plain(layer, padding=padding, strides=1), every]

    def filling(self, mode: str, left: int, right: int) -> Callable[[Any], Any]:
        """Return a function that lengthens a series at both ends."""
        ops = self.keras.ops

        def fill(x: Any) -> Any:
            if mode == "reflect":
                ends = ops.flip(x[:, 1 : left + 1], 1), ops.flip(x[:, -right - 1 : -1], 1)
            elif mode == "replicate":
                ends = ops.repeat(x[:, :1], left, 1), ops.repeat(x[:, -1:], right, 1)
            else:
                ends = x[:, -left:], x[:, :right]
            return ops.concatenate([*ends[:1] * (left > 0), x, *ends[1:] * (right > 0)], 1)

        return fill

    def conv1dtranspose(self, layer: Any) -> list[Any]:
        if layer.groups > 1 or (layer.strides > 1 and layer.dilation_rate > 1):
            why = "groups" if layer.groups > 1 else "strides together with dilation"
            raise self.refuse(layer, f"Keras has no {why} for a transposed convolution")
        if isinstance(layer.padding, str):
            return self.plain(layer)
        made = self.plain(layer, padding="valid", output_padding=layer.output_padding or 0)
        return [*made, self.new("Cropping1D", layer.padding)]

    def avgpool1d(self, layer: Any) -> list[Any]:
        if _miscounts(self.keras, layer):
            raise self.refuse(layer, MISCOUNTS)
        return self.plain(layer)

    def residual(self, layer: Any) -> list[Any]:
        body, add = self.items(layer.body), self.new("Add")
        return [lambda x: add([x, self.through(body, x)])]

    def parallel(self, layer: Any) -> list[Any]:
        rows, series, ends = list[Any](), self.series, set()
        for part in layer.layers:
            self.series = series
            rows.append(self.items(part))
            ends.add(self.series)
        self.demand_one_kind(layer, ends)
        if len(rows) == 1:
            return rows[0]
        join = self.new("Concatenate")
        return [lambda x: join([self.through(row, x) for row in rows])]


def _weights(layer: Layer) -> list[Tensor]:
    """Return the weights of a layer, in Keras's order."""
    return [part for name in WEIGHTS if (part := getattr(layer, name, None)) is not None]


def _width(model: Layer) -> int | None:
    """Return how many channels or features a model takes, or None if that is not known."""
    for _, part in model.named_layers():
        for name in WIDTHS:
            if hasattr(part, name):
                return int(getattr(part, name))
        if type(part) is branches.Parallel:
            return next(filter(None, map(_width, part.layers)), None)
        if type(part) is layers.Flatten:  # what follows takes another number
            return None
    return None


def _miscounts(keras: Any, layer: pooling.AvgPool1d) -> bool:
    """Tell whether Keras takes the mean of a window with steps of padding."""
    left, right = fixed_pair(layer.padding, layer.pool_size, layer.strides) or (0, 1)
    return left != right and keras.backend.backend() == "torch"


# ---------------------------------------------------------------- back


class _Reader:
    """Reads Keras layers; ``made``: which is which, so that one that comes again stays one."""

    def __init__(self, keras: Any) -> None:
        self.keras, self.made = keras, dict[int, Layer]()

    def layer(self, layer: Any, path: str) -> Layer:
        """Return a Keras layer or model as a layer."""
        if id(layer) not in self.made:
            try:
                self.made[id(layer)] = self.new(layer, path)
            except ValueError as error:
                if str(error).startswith("from_keras: "):
                    raise
                raise refuse("from_keras", path, layer, str(error).rstrip(".")) from error
        return self.made[id(layer)]

    def new(self, layer: Any, path: str) -> Layer:
        keras, name = self.keras, type(layer).__name__
        if name in ("Sequential", "Functional") and isinstance(layer, keras.Model):
            inner = [part for part in _chain(layer, path) if type(part).__name__ != "InputLayer"]
            return layers.Sequential([self.layer(part, f"{path}.{part.name}") for part in inner])
        if getattr(keras.layers, name, None) is not type(layer) or name not in OURS | ACTIVATIONS:
            raise refuse("from_keras", path, layer, "tinynn has no such layer")
        known, options = ACTIVATIONS.get(name, ("", {}))
        if known:
            _demand(layer, path, options)
            return layers.Activation(known)
        kind: Any = config._own_classes()[OURS[name]]
        kept = {key for key in config._kept(kind) if key != "dtype" and not config._initial(key)}
        given = {key: _single(v) for key, v in layer.get_config().items() if key in kept}
        activation = given.get("activation", "linear")
        if not isinstance(activation, str) or activation not in activations.TABLE:
            what = check.shown(activation)
            raise refuse("from_keras", path, layer, f"tinynn has no activation {what}")
        _demand(layer, path, given)
        sized = kept & set(WIDTHS)
        made: Layer = kind(**given, **(_sizes(layer, path, *sized) if sized else {}))
        if isinstance(made, pooling.AvgPool1d) and _miscounts(keras, made):
            raise refuse("from_keras", path, layer, MISCOUNTS)
        for tensor, variable in zip(_weights(made), layer.weights, strict=True):
            _take(tensor, variable)
        return made


def _chain(model: Any, path: str) -> list[Any]:
    """Return the layers of a model, each of which takes what the one before it returns."""
    if type(model).__name__ == "Sequential":
        return list(model.layers)
    parts, whole = list(model.operations), True
    try:
        whole = all(b.input is a.output for a, b in itertools.pairwise(parts))
    except (AttributeError, ValueError):  # it is called more than once
        whole = False
    if not whole or len(model.inputs) != 1 or model.outputs != [parts[-1].output]:
        raise refuse("from_keras", path, model, "its layers are no chain")
    return parts


def _demand(layer: Any, path: str, given: dict[str, Any]) -> None:
    """Refuse a layer with settings that differ from the usual ones and those that are given."""
    got = _settings(layer)
    if "data_format" in got:
        given = given | {"data_format": "channels_last"}
    usual = _settings(type(layer)(**given))
    for name, value in got.items():
        if value != usual.get(name):
            why = f"tinynn has no {name}={value!r}, only {usual.get(name)!r}"
            raise refuse("from_keras", path, layer, why)


def _sizes(layer: Any, path: str, name: str) -> dict[str, Any]:
    """Return the size of a layer's input, from its weights, and its dtype."""
    dtypes = {layer.compute_dtype, layer.variable_dtype}
    if not layer.weights or dtypes not in ({"float32"}, {"float64"}):
        why = (
            f"tinynn has no dtype {layer.dtype_policy.name}" if layer.weights else "it is not built"
        )
        raise refuse("from_keras", path, layer, why)
    shape = layer.weights[0].shape
    axis = {3: 2 if "Transpose" in type(layer).__name__ else 1}.get(len(shape), 0)
    return {name: shape[axis] * getattr(layer, "groups", 1), "dtype": layer.variable_dtype}


def _single(value: Any) -> Any:
    """Return a tuple of one number as the number."""
    return value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value
