"""To PyTorch: its own modules, for series (batch, channels, length)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynn.autodiff.ops.convolution import transposed_window
from tinynn.autodiff.tensor import Tensor
from tinynn.formats.common import (
    checked_model,
    demand_one_kind,
    demand_series,
    fixed_pair,
    needed,
    note,
    one_dtype,
    refuse,
    takes_series,
)
from tinynn.nn import branches, convolution, layers, normalization, pooling, upsampling
from tinynn.nn.layer import Layer

ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("Identity", {}),
    "relu": ("ReLU", {}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": 0.2}),
    "elu": ("ELU", {"alpha": 1.0}),
    "gelu": ("GELU", {"approximate": "none"}),
    "silu": ("SiLU", {}),
    "sigmoid": ("Sigmoid", {}),
    "softplus": ("Softplus", {"beta": 1.0, "threshold": 20.0}),
    "softmax": ("Softmax", {"dim": 1}),
    "log_softmax": ("LogSoftmax", {"dim": 1}),
    "tanh": ("Tanh", {}),
    "exponential": ("Exp", {}),
}
PADS = {
    "zeros": "ZeroPad1d",
    "reflect": "ReflectionPad1d",
    "replicate": "ReplicationPad1d",
    "circular": "CircularPad1d",
}


def to_torch(model: Layer) -> Any:
    """Return a model as PyTorch's modules, with copies of its weights.

    Series go in and out as (batch, channels, length), all else as (batch, features). The modules
    are PyTorch's own, in one ``nn.Sequential``; what it lacks is a small module that needs PyTorch
    alone. Modes are kept: call ``.eval()`` on the result, or on the model before.

    Parameters
    ----------
    model : Layer
        A model of tinynn's own layers, but ``Lambda``, with activations by name, of one dtype.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    TypeError
        If ``model`` is no Layer.
    ValueError
        With the path of what cannot be carried over.
    ImportError
        If PyTorch is missing.

    Examples
    --------
    >>> import tinynn as tnn
    >>> tnn.formats.to_torch(tnn.Dense(2, 1, "relu"))  # doctest: +SKIP
    Sequential(
      (0): Linear(in_features=2, out_features=1, bias=True)
      (1): ReLU()
    )
    """
    paths = checked_model("to_torch", model)
    made = Maker(paths, model).whole
    made.tinynn = note(model)
    return made


class Maker:
    """Makes modules; ``links``: which Tensor is which, ``parts``: which layer is which module."""

    def __init__(self, paths: dict[int, str], model: Layer) -> None:
        torch = needed("to_torch", "torch")
        self.nn, self.paths = torch.nn, paths
        self.own = needed("to_torch", "tinynn.formats.torch_modules")
        self.links: list[tuple[Tensor, Any, str, tuple[int, ...]]] = []
        self.parts: list[tuple[Layer, Any]] = []
        self.made: dict[tuple[int, bool], tuple[list[Any], bool]] = {}
        self.series = takes_series(model)
        dtype = getattr(torch, one_dtype("to_torch", model))
        with torch.random.fork_rng(devices=[]), torch.no_grad():  # initial weights are drawn
            self.whole = self.row(model).to(dtype)
            for tensor, module, name, axes in self.links:
                target = getattr(module, name)
                array = np.array(tensor.numpy().transpose(axes), order="C")
                target.copy_(torch.from_numpy(array.reshape(target.shape)))
                target.requires_grad_(tensor.requires_grad)
        for layer, module in self.parts:
            module.training = layer.training

    def row(self, layer: Layer) -> Any:
        """Return a layer as one module."""
        found = self.modules(layer)
        row = found[0] if len(found) == 1 else self.nn.Sequential(*found)
        self.parts.append((layer, row))
        return row

    def modules(self, layer: Layer) -> list[Any]:
        """Return a layer as modules, one after the other; the same ones if it comes again."""
        demand_series("to_torch", self.paths[id(layer)], layer, self.series)
        key = id(layer), self.series
        if key not in self.made:
            found = MAKERS[type(layer)](self, layer)
            holds = isinstance(layer, (layers.Several, branches.Residual))
            inside = found if holds else [part for top in found for part in top.modules()]
            self.parts += [(layer, part) for part in inside]
            self.made[key] = found, self.series
        found, self.series = self.made[key]
        return found

    def link(self, module: Any, layer: Any, *axes: int) -> Any:
        """Note that a module's weight and bias are the kernel, its axes in order, and the bias."""
        if any(tensor is layer.kernel for tensor, *_ in self.links):
            why = "PyTorch has no layer for both series and (batch, features)"
            raise refuse("to_torch", self.paths[id(layer)], layer, why)
        self.links.append((layer.kernel, module, "weight", axes))
        if layer.bias is not None:
            self.links.append((layer.bias, module, "bias", (0,)))
        return module

    def activation(self, layer: Any) -> list[Any]:
        """Return the activation of a layer as a module."""
        kind, given = ACTIVATIONS[layer.activation_name]
        given = {"dim": 1 if self.series else -1} if "dim" in given else given
        return [getattr(self.own if kind == "Exp" else self.nn, kind)(**given)]

    def then_activation(self, found: list[Any], layer: Any) -> list[Any]:
        """Return modules and, behind them, the activation of their layer if it has one."""
        return found if layer.activation_name == "linear" else found + self.activation(layer)

    def _sequential(self, layer: Any) -> list[Any]:
        return [self.nn.Sequential(*[m for part in layer.layers for m in self.modules(part)])]

    def _residual(self, layer: Any) -> list[Any]:
        return [self.own.Residual(self.row(layer.body))]

    def _parallel(self, layer: Any) -> list[Any]:
        rows, series, ends = [], self.series, set()
        for part in layer.layers:
            self.series = series
            rows.append(self.row(part))
            ends.add(self.series)
        demand_one_kind("to_torch", self.paths[id(layer)], layer, ends)
        return [self.own.Parallel(rows)]

    def _dense(self, layer: Any) -> list[Any]:
        sizes, bias = (layer.in_features, layer.units), layer.use_bias
        if self.series:  # a Linear would act on the steps
            made = self.nn.Conv1d(*sizes, 1, bias=bias)
        else:
            made = self.nn.Linear(*sizes, bias=bias)
        return self.then_activation([self.link(made, layer, 1, 0)], layer)

    def _conv(self, layer: Any) -> list[Any]:
        extent, strides, mode = layer.receptive_field, layer.strides, layer.padding_mode
        pair = fixed_pair(layer.padding, extent, strides)
        before = list[Any]()
        padding: int | str = pair[0] if pair else 0
        if pair is None:
            fill = "constant" if mode == "zeros" else mode
            lower = layer.padding == "same_lower"
            before = [self.own.SamePad1d(extent, strides, lower, fill)]
        elif pair[0] != pair[1]:
            before, padding = [getattr(self.nn, PADS[mode])(pair)], 0
        elif layer.padding == "same" and strides == 1:
            padding = "same"
        made = self.nn.Conv1d(
            layer.in_channels, layer.filters, layer.kernel_size, strides, padding,
            layer.dilation_rate, layer.groups, layer.use_bias, mode if padding else "zeros",
        )  # fmt: skip
        return self.then_activation([*before, self.link(made, layer, 2, 1, 0)], layer)

    def _transposed(self, layer: Any) -> list[Any]:
        extent = layer.dilation_rate * (layer.kernel_size - 1) + 1
        how = layer.strides, layer.padding, layer.output_padding
        left, length = transposed_window(extent, *how)
        right, after = extent - left - length, list[Any]()
        padding, more = left, left - right
        if not 0 <= more < max(layer.strides, layer.dilation_rate):
            padding, more = (left, 0) if more < 0 else (max(0, right), max(0, -right))
            crop = padding - left, padding - more - right
            after = [self.nn.ConstantPad1d(crop, 0.0)]
        made = self.nn.ConvTranspose1d(
            layer.in_channels, layer.filters, layer.kernel_size, layer.strides, padding, more,
            layer.groups, layer.use_bias, layer.dilation_rate,
        )  # fmt: skip
        return self.then_activation([self.link(made, layer, 2, 1, 0), *after], layer)

    def _pool(self, layer: Any) -> list[Any]:
        size, strides, largest = layer.pool_size, layer.strides, type(layer) is pooling.MaxPool1d
        pair = fixed_pair(layer.padding, size, strides)
        if pair and pair[0] == pair[1]:
            if largest:
                return [self.nn.MaxPool1d(size, strides, pair[0])]
            return [self.nn.AvgPool1d(size, strides, pair[0], count_include_pad=False)]
        if not largest:
            return [self.own.SameAvgPool1d(size, strides)]
        lowest = -np.inf
        return [self.own.SamePad1d(size, strides, value=lowest), self.nn.MaxPool1d(size, strides)]

    def _global_pool(self, layer: Any) -> list[Any]:
        self.series = False
        largest = type(layer) is pooling.GlobalMaxPool1d
        kind = self.nn.AdaptiveMaxPool1d if largest else self.nn.AdaptiveAvgPool1d
        return [kind(1), self.nn.Flatten()]

    def _batch_norm(self, layer: Any) -> list[Any]:
        made = self.nn.BatchNorm1d(layer.channels, layer.epsilon, 1 - layer.momentum)
        names = {"weight": layer.gamma, "bias": layer.beta}
        names |= {"running_mean": layer.moving_mean, "running_var": layer.moving_variance}
        self.links += [(tensor, made, name, (0,)) for name, tensor in names.items()]
        return [made]

    def _layer_norm(self, layer: Any) -> list[Any]:
        made = self.nn.LayerNorm(layer.features, layer.epsilon)
        names = {"weight": layer.gamma, "bias": layer.beta}
        self.links += [(tensor, made, name, (0,)) for name, tensor in names.items()]
        turn = [self.own.Transpose()] if self.series else []
        return [*turn, made, *turn]

    def _flatten(self, layer: Any) -> list[Any]:
        turn = [self.own.Transpose()] if self.series else []
        self.series = False
        return [*turn, self.nn.Flatten()]

    def _on_series(self, layer: Any, kind: str, *given: Any, **named: Any) -> list[Any]:
        return [getattr(self.nn, kind)(*given, **named)]


MAKERS: dict[type, Callable[[Maker, Any], list[Any]]] = {
    layers.Sequential: Maker._sequential,
    branches.Residual: Maker._residual,
    branches.Parallel: Maker._parallel,
    layers.Dense: Maker._dense,
    layers.Activation: Maker.activation,
    layers.Dropout: lambda maker, layer: [maker.nn.Dropout(layer.rate)],
    layers.Flatten: Maker._flatten,
    convolution.Conv1d: Maker._conv,
    upsampling.Conv1dTranspose: Maker._transposed,
    upsampling.UpSample1d: lambda maker, layer: maker._on_series(
        layer, "Upsample", scale_factor=layer.size, mode="nearest-exact"
    ),  # "nearest" rounds to a wrong step for some sizes
    upsampling.ZeroPad1d: lambda maker, layer: maker._on_series(layer, "ZeroPad1d", layer.padding),
    pooling.MaxPool1d: Maker._pool,
    pooling.AvgPool1d: Maker._pool,
    pooling.GlobalMaxPool1d: Maker._global_pool,
    pooling.GlobalAvgPool1d: Maker._global_pool,
    normalization.BatchNorm: Maker._batch_norm,
    normalization.LayerNorm: Maker._layer_norm,
}
