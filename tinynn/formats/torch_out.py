"""To PyTorch: its own modules, for series (batch, channels, length)."""

from typing import Any

import numpy as np

from tinynn.autodiff.tensor import Tensor
from tinynn.formats.common import Writer, cropped, fixed_pair, needed, note, one_dtype, takes_series
from tinynn.nn import branches, layers
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
WEIGHTS = {
    "kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias",
    "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip


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
    made = _Maker(model).whole
    made.tinynn = note(model)
    return made


class _Maker(Writer):
    """Makes modules; ``links``: which Tensor is which, ``parts``: which layer is which module."""

    owner = "to_torch"

    def __init__(self, model: Layer) -> None:
        super().__init__(model)
        torch = needed("to_torch", "torch")
        self.nn, self.own = torch.nn, needed("to_torch", "tinynn.formats.torch_modules")
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
        method, key = self.method(layer, self.series), (id(layer), self.series)
        if key not in self.made:
            found = method(layer)
            holds = isinstance(layer, (layers.Several, branches.Residual))
            inside = found if holds else [part for top in found for part in top.modules()]
            self.parts += [(layer, part) for part in inside]
            self.made[key] = found, self.series
        found, self.series = self.made[key]
        return found

    def link(self, layer: Any, module: Any, *axes: int) -> Any:
        """Note which Tensors a module's are; ``axes``: those of a kernel in its order."""
        for ours, theirs in WEIGHTS.items():
            if (tensor := getattr(layer, ours, None)) is not None:
                if any(tensor is known for known, *_ in self.links):
                    why = "PyTorch has no layer for both series and (batch, features)"
                    raise self.refuse(layer, why)
                self.links.append((tensor, module, theirs, axes if ours == "kernel" else (0,)))
        return module

    def activation(self, layer: Any) -> list[Any]:
        """Return the activation of a layer as a module."""
        kind, given = ACTIVATIONS[layer.activation_name]
        given = {"dim": 1 if self.series else -1} if "dim" in given else given
        return [getattr(self.own if kind == "Exp" else self.nn, kind)(**given)]

    def then_activation(self, found: list[Any], layer: Any) -> list[Any]:
        """Return modules and, behind them, the activation of their layer if it has one."""
        return found if layer.activation_name == "linear" else found + self.activation(layer)

    def on_last_axis(self, *modules: Any) -> list[Any]:
        """Return modules for channels last, with what turns a series if there is one."""
        turn = [self.own.Transpose()] * self.series
        return [*turn, *modules]

    def sequential(self, layer: Any) -> list[Any]:
        return [self.nn.Sequential(*[m for part in layer.layers for m in self.modules(part)])]

    def residual(self, layer: Any) -> list[Any]:
        return [self.own.Residual(self.row(layer.body))]

    def parallel(self, layer: Any) -> list[Any]:
        rows, series, ends = [], self.series, set()
        for part in layer.layers:
            self.series = series
            rows.append(self.row(part))
            ends.add(self.series)
        self.demand_one_kind(layer, ends)
        return [self.own.Parallel(rows)]

    def dense(self, layer: Any) -> list[Any]:
        sizes, bias = (layer.in_features, layer.units), layer.use_bias
        if self.series:  # a Linear would act on the steps
            made = self.nn.Conv1d(*sizes, 1, bias=bias)
        else:
            made = self.nn.Linear(*sizes, bias=bias)
        return self.then_activation([self.link(layer, made, 1, 0)], layer)

    def conv1d(self, layer: Any) -> list[Any]:
        extent, strides, mode = layer.receptive_field, layer.strides, layer.padding_mode
        pair = fixed_pair(layer.padding, extent, strides)
        before, padding = list[Any](), pair[0] if pair else 0
        if pair is None:
            how = layer.padding == "same_lower", "constant" if mode == "zeros" else mode
            before = [self.own.SamePad1d(extent, strides, *how)]
        elif pair[0] != pair[1]:
            before, padding = [getattr(self.nn, PADS[mode])(pair)], 0
        same = layer.padding == "same" and strides == 1 and not before
        made = self.nn.Conv1d(
            layer.in_channels, layer.filters, layer.kernel_size, strides,
            "same" if same else padding, layer.dilation_rate, layer.groups, layer.use_bias,
            mode if padding or same else "zeros",
        )  # fmt: skip
        return self.then_activation([*before, self.link(layer, made, 2, 1, 0)], layer)

    def conv1dtranspose(self, layer: Any) -> list[Any]:
        (left, right), after = cropped(layer), list[Any]()
        padding, more = left, left - right
        if not 0 <= more < max(layer.strides, layer.dilation_rate):
            padding, more = (left, 0) if more < 0 else (max(0, right), max(0, -right))
            crop = padding - left, padding - more - right
            after = [self.nn.ConstantPad1d(crop, 0.0)]
        made = self.nn.ConvTranspose1d(
            layer.in_channels, layer.filters, layer.kernel_size, layer.strides, padding, more,
            layer.groups, layer.use_bias, layer.dilation_rate,
        )  # fmt: skip
        return self.then_activation([self.link(layer, made, 2, 1, 0), *after], layer)

    def maxpool1d(self, layer: Any) -> list[Any]:
        kind, largest = type(layer).__name__, type(layer).__name__ == "MaxPool1d"
        size, strides = layer.pool_size, layer.strides
        pair = fixed_pair(layer.padding, size, strides)
        if pair and pair[0] == pair[1]:
            real = {} if largest else {"count_include_pad": False}
            return [getattr(self.nn, kind)(size, strides, pair[0], **real)]
        if not largest:
            return [self.own.SameAvgPool1d(size, strides)]
        lowest = self.own.SamePad1d(size, strides, value=-np.inf)
        return [lowest, self.nn.MaxPool1d(size, strides)]

    avgpool1d = maxpool1d

    def globalmaxpool1d(self, layer: Any) -> list[Any]:
        self.series = False
        kind = type(layer).__name__.replace("Global", "Adaptive")
        return [getattr(self.nn, kind)(1), self.nn.Flatten()]

    globalavgpool1d = globalmaxpool1d

    def batchnorm(self, layer: Any) -> list[Any]:
        made = self.nn.BatchNorm1d(layer.channels, layer.epsilon, 1 - layer.momentum)
        return [self.link(layer, made)]

    def layernorm(self, layer: Any) -> list[Any]:
        made = self.link(layer, self.nn.LayerNorm(layer.features, layer.epsilon))
        return self.on_last_axis(made) + self.on_last_axis()

    def flatten(self, layer: Any) -> list[Any]:
        found = self.on_last_axis(self.nn.Flatten())
        self.series = False
        return found

    def dropout(self, layer: Any) -> list[Any]:
        return [self.nn.Dropout(layer.rate)]

    def upsample1d(self, layer: Any) -> list[Any]:  # "nearest" rounds to a wrong step for some
        return [self.nn.Upsample(scale_factor=layer.size, mode="nearest-exact")]

    def zeropad1d(self, layer: Any) -> list[Any]:
        return [self.nn.ZeroPad1d(layer.padding)]
