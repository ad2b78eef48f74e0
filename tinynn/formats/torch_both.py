"""PyTorch: models both ways, for series (batch, channels, length)."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinynn.autodiff.ops.convolution import transposed_window
from tinynn.autodiff.tensor import Tensor
from tinynn.formats.common import (
    checked_model,
    fixed_pair,
    needed,
    note,
    noted,
    one_dtype,
    refuse,
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
    made = _Maker(paths, model).whole
    made.tinynn = note(model)
    return made


def from_torch(module: Any) -> Layer:
    """Return a PyTorch model as a model of tinynn, with copies of its weights.

    Taken are ``nn.Sequential`` and what is in it: Linear, Conv1d, ConvTranspose1d, BatchNorm1d,
    LayerNorm, activations, pools, Flatten, Dropout, Upsample, paddings, and all that
    :func:`to_torch` makes. A Flatten of channels and steps is carried over by reordering the rows
    of the Linear after it.

    Parameters
    ----------
    module : torch.nn.Module
        The model, for series (batch, channels, length) or for (batch, features).

    Returns
    -------
    Layer
        For series (batch, length, channels).

    Raises
    ------
    TypeError
        If ``module`` is no module.
    ValueError
        With the path of a module or option that tinynn has not.
    ImportError
        If PyTorch is missing.

    Examples
    --------
    >>> import tinynn as tnn
    >>> tnn.formats.from_torch(torch.nn.Linear(2, 1))  # doctest: +SKIP
    Dense(2, 1, activation='linear')
    """
    torch = needed("from_torch", "torch")
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_torch: module must be a torch.nn.Module, got {module!r:.80}.")
    known = _as_it_was(module)
    return _Reader(torch, module).whole if known is None else known  # an empty one is false


def _as_it_was(module: Any) -> Layer | None:
    """Return the model that a module was made of, if all but its weights and modes is the same."""
    twins: list[_Maker] = []

    def same(model: Layer) -> bool:
        twins.append(_Maker(checked_model("from_torch", model), model))
        return bool(_looks(twins[0].whole) == _looks(module))

    if (model := noted(module, same)) is None:
        return None
    names = {id(part): name for name, part in twins[0].whole.named_modules()}
    for layer, part in twins[0].parts:
        layer.training = module.get_submodule(names[id(part)]).training
    for tensor, part, name, axes in twins[0].links:
        _take(tensor, getattr(module.get_submodule(names[id(part)]), name), axes)
    return model


def _looks(module: Any) -> Any:
    return repr(module), [(k, v.shape, v.dtype) for k, v in module.state_dict().items()]


def _take(tensor: Tensor, value: Any, axes: tuple[int, ...]) -> None:
    """Give a Tensor the values of PyTorch's, whose axes are the given ones of it."""
    array = value.detach().cpu().numpy().reshape([tensor.shape[axis] for axis in axes])
    tensor.data = array.transpose(np.argsort(axes))
    tensor.requires_grad = value.requires_grad


class _Maker:
    """Makes modules; ``links``: which Tensor is which, ``parts``: which layer is which module."""

    def __init__(self, paths: dict[int, str], model: Layer) -> None:
        torch = needed("to_torch", "torch")
        self.nn, self.paths = torch.nn, paths
        self.own = needed("to_torch", "tinynn.formats.torch_modules")
        self.links: list[tuple[Tensor, Any, str, tuple[int, ...]]] = []
        self.parts: list[tuple[Layer, Any]] = []
        self.made: dict[tuple[int, bool], tuple[list[Any], bool]] = {}
        every = model._layers()
        self.series = any(part.takes_series or type(part) is layers.Flatten for part in every)
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
        self.links.append((layer.kernel, module, "weight", axes))
        if layer.bias is not None:
            self.links.append((layer.bias, module, "bias", (0,)))
        return module

    def demand_series(self, layer: Layer) -> None:
        """Refuse a layer for series behind one that leaves none."""
        if not self.series:
            why = "it takes series, but what comes before it leaves (batch, features)"
            raise refuse("to_torch", self.paths[id(layer)], layer, why)

    def activation(self, layer: Any) -> list[Any]:
        """Return the activation of a layer as a module."""
        kind, given = ACTIVATIONS[layer.activation_name]
        given = {"dim": 1 if self.series else -1} if "dim" in given else given
        return [getattr(self.own if kind == "Exp" else self.nn, kind)(**given)]

    def then_activation(self, found: list[Any], layer: Any) -> list[Any]:
        """Return modules and, behind them, the activation of their layer if it has one."""
        return found if layer.activation_name == "linear" else found + self.activation(layer)

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
        if len(ends) > 1:
            why = "some of its layers leave series, others (batch, features)"
            raise refuse("to_torch", self.paths[id(layer)], layer, why)
        return [self.own.Parallel(rows)]

    def dense(self, layer: Any) -> list[Any]:
        sizes, bias = (layer.in_features, layer.units), layer.use_bias
        if self.series:  # a Linear would act on the steps
            made = self.nn.Conv1d(*sizes, 1, bias=bias)
        else:
            made = self.nn.Linear(*sizes, bias=bias)
        return self.then_activation([self.link(made, layer, 1, 0)], layer)

    def conv(self, layer: Any) -> list[Any]:
        self.demand_series(layer)
        extent, strides, mode = layer.receptive_field, layer.strides, layer.padding_mode
        pair = fixed_pair(layer.padding, extent, strides)
        before, padding = list[Any](), pair[0] if pair else 0
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

    def transposed(self, layer: Any) -> list[Any]:
        self.demand_series(layer)
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

    def pool(self, layer: Any) -> list[Any]:
        self.demand_series(layer)
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

    def global_pool(self, layer: Any) -> list[Any]:
        self.demand_series(layer)
        self.series = False
        largest = type(layer) is pooling.GlobalMaxPool1d
        kind = self.nn.AdaptiveMaxPool1d if largest else self.nn.AdaptiveAvgPool1d
        return [kind(1), self.nn.Flatten()]

    def batch_norm(self, layer: Any) -> list[Any]:
        made = self.nn.BatchNorm1d(layer.channels, layer.epsilon, 1 - layer.momentum)
        names = {"weight": layer.gamma, "bias": layer.beta}
        names |= {"running_mean": layer.moving_mean, "running_var": layer.moving_variance}
        self.links += [(tensor, made, name, (0,)) for name, tensor in names.items()]
        return [made]

    def layer_norm(self, layer: Any) -> list[Any]:
        made = self.nn.LayerNorm(layer.features, layer.epsilon)
        names = {"weight": layer.gamma, "bias": layer.beta}
        self.links += [(tensor, made, name, (0,)) for name, tensor in names.items()]
        turn = [self.own.Transpose()] if self.series else []
        return [*turn, made, *turn]

    def flatten(self, layer: Any) -> list[Any]:
        turn = [self.own.Transpose()] if self.series else []
        self.series = False
        return [*turn, self.nn.Flatten()]

    def on_series(self, layer: Any, kind: str, *given: Any, **named: Any) -> list[Any]:
        self.demand_series(layer)
        return [getattr(self.nn, kind)(*given, **named)]


MAKERS: dict[type, Callable[[_Maker, Any], list[Any]]] = {
    layers.Sequential: _Maker.sequential,
    branches.Residual: _Maker.residual,
    branches.Parallel: _Maker.parallel,
    layers.Dense: _Maker.dense,
    layers.Activation: _Maker.activation,
    layers.Dropout: lambda maker, layer: [maker.nn.Dropout(layer.rate)],
    layers.Flatten: _Maker.flatten,
    convolution.Conv1d: _Maker.conv,
    upsampling.Conv1dTranspose: _Maker.transposed,
    upsampling.UpSample1d: lambda maker, layer: maker.on_series(
        layer, "Upsample", scale_factor=layer.size, mode="nearest-exact"
    ),  # "nearest" rounds to a wrong step for some sizes
    upsampling.ZeroPad1d: lambda maker, layer: maker.on_series(layer, "ZeroPad1d", layer.padding),
    pooling.MaxPool1d: _Maker.pool,
    pooling.AvgPool1d: _Maker.pool,
    pooling.GlobalMaxPool1d: _Maker.global_pool,
    pooling.GlobalAvgPool1d: _Maker.global_pool,
    normalization.BatchNorm: _Maker.batch_norm,
    normalization.LayerNorm: _Maker.layer_norm,
}


class _Reader:
    """Reads modules one after the other; knows what is where by now.

    ``layout``: "series", or "steps" if these come before channels, "pooled" if one step is left,
    "features" if none; ``flat``: how many channels were flattened in an order that is not ours.
    """

    def __init__(self, torch: Any, module: Any) -> None:
        self.nn = torch.nn
        self.own = needed("from_torch", "tinynn.formats.torch_modules")
        kinds = {type(part).__name__ for part in module.modules()}
        of_series = any("1d" in kind and kind != "BatchNorm1d" for kind in kinds)
        self.layout = "series" if of_series or kinds & {"Flatten", "Upsample"} else "features"
        self.channels: int | None = None
        self.flat = 0
        self.pad: tuple[str, tuple[int, int]] | None = None
        self.made: dict[int, list[Layer]] = {}
        found = self.layers(module, "")
        self.finish("", module)
        self.whole = found[0] if len(found) == 1 else layers.Sequential(found)

    def refuse(self, path: str, module: Any, why: str) -> ValueError:
        return refuse("from_torch", path, module, why)

    def finish(self, path: str, module: Any) -> None:
        """Refuse to end where something is open."""
        faults = {"steps": "its result is (batch, length, channels)", "pooled": "it keeps one step"}
        if self.flat or self.pad or self.layout in faults:
            why = "a Flatten or padding has nothing behind it that takes it up"
            raise self.refuse(path, module, faults.get(self.layout, why))

    def layers(self, module: Any, path: str) -> list[Layer]:
        """Return a module as layers, one after the other."""
        reader = self.readers().get(type(module))
        if reader is None:
            raise self.refuse(path, module, "tinynn has no such layer")
        if module._forward_hooks or module._forward_pre_hooks:
            raise self.refuse(path, module, "it has hooks, which cannot be carried over")
        if self.pad and type(module) is not self.nn.Conv1d:
            why = f"{self.pad[0]} padding is not followed by a Conv1d"
            raise self.refuse(path, module, why)
        found: list[Layer] = reader(module, path)
        for layer in found:
            layer.training = module.training
        return found

    def only(self, module: Any, path: str, **wanted: Any) -> None:
        """Refuse a module whose options are not as wanted."""
        for name, value in wanted.items():
            if (got := getattr(module, name)) != value:
                raise self.refuse(path, module, f"tinynn has no {name}={got!r}, only {value!r}")

    def demand(self, module: Any, path: str, *layouts: str) -> None:
        """Refuse a module that would act on another axis than the layer in its place."""
        if self.layout not in layouts:
            places = {"series": "(batch, channels, length)", "steps": "(batch, length, channels)"}
            where = places.get(self.layout, "(batch, features)")
            raise self.refuse(path, module, f"tinynn has no such layer for what is {where} here")

    def filled(self, layer: Any, module: Any, path: str, *axes: int) -> list[Layer]:
        """Return a layer with the weight and bias of a module."""
        _take(layer.kernel, module.weight, axes)
        if module.bias is not None:
            _take(layer.bias, module.bias, (0,))
        return [layer]

    def options(self, module: Any, path: str) -> dict[str, Any]:
        """Return what the constructors of layers with weights have in common."""
        if self.flat and not isinstance(module, self.nn.Linear):
            raise self.refuse(path, module, "it stands between a Flatten and its Linear")
        dtype = str(module.weight.dtype).removeprefix("torch.")
        if dtype not in ("float32", "float64"):
            raise self.refuse(path, module, f"tinynn has no dtype {dtype}")
        return {"dtype": dtype}

    def sequential(self, module: Any, path: str) -> list[Layer]:
        found = []
        for name, part in module._modules.items():
            found += self.layers(part, f"{path}.{name}".lstrip("."))
        return [layers.Sequential(found)]

    def one(self, module: Any, path: str) -> Layer:
        found = self.layers(module, path)
        return found[0] if len(found) == 1 else layers.Sequential(found)

    def residual(self, module: Any, path: str) -> list[Layer]:
        return [branches.Residual(self.one(module.body, f"{path}.body".lstrip(".")))]

    def parallel(self, module: Any, path: str) -> list[Layer]:
        found, start, ends, channels = [], (self.layout, self.channels), set(), list[Any]()
        for name, part in module._modules.items():
            self.layout, self.channels = start
            found.append(self.one(part, f"{path}.{name}".lstrip(".")))
            self.finish(path, part)
            ends.add(self.layout)
            channels.append(self.channels)
        if len(ends) > 1:
            raise self.refuse(path, module, "its modules leave results of different kinds")
        self.channels = None if None in channels else sum(channels)
        return [branches.Parallel(found)]

    def linear(self, module: Any, path: str) -> list[Layer]:
        self.demand(module, path, "features", "steps")
        sizes, bias = (module.in_features, module.out_features), module.bias is not None
        made = layers.Dense(*sizes, use_bias=bias, **self.options(module, path), rng=0)
        self.filled(made, module, path, 1, 0)
        if self.flat:  # its rows are (channels, steps)
            rows = made.kernel.data.reshape(self.flat, -1, sizes[1]).swapaxes(0, 1)
            made.kernel.data = rows.reshape(sizes)
        self.flat, self.channels = 0, sizes[1]
        return [made]

    def conv(self, module: Any, path: str) -> list[Layer]:
        self.demand(module, path, "series")
        padding, mode = module.padding, module.padding_mode
        if not isinstance(padding, str):
            padding = (padding[0],) * 2 if padding[0] else "valid"
        if self.pad:
            self.only(module, path, padding=(0,))
            mode, padding = self.pad
            self.pad = None
        made = convolution.Conv1d(
            module.in_channels, module.out_channels, module.kernel_size[0], padding=padding,
            strides=module.stride[0], dilation_rate=module.dilation[0], groups=module.groups,
            padding_mode=mode, use_bias=module.bias is not None, rng=0,
            **self.options(module, path),
        )  # fmt: skip
        self.channels = made.filters
        return self.filled(made, module, path, 2, 1, 0)

    def transposed(self, module: Any, path: str) -> list[Layer]:
        self.demand(module, path, "series")
        strides, size = module.stride[0], module.kernel_size[0]
        crop, more = module.padding[0], module.output_padding[0]
        extent = module.dilation[0] * (size - 1) + 1
        padding = "valid" if not crop and (more or extent >= strides) else (crop, crop)
        if more >= strides:
            self.only(module, path, output_padding=(0,))
        made = upsampling.Conv1dTranspose(
            module.in_channels, module.out_channels, size, strides=strides, padding=padding,
            output_padding=more or None, dilation_rate=module.dilation[0], groups=module.groups,
            use_bias=module.bias is not None, rng=0, **self.options(module, path),
        )  # fmt: skip
        self.channels = made.filters
        return self.filled(made, module, path, 2, 1, 0)

    def pool(self, module: Any, path: str) -> list[Layer]:
        self.demand(module, path, "series")
        largest = isinstance(module, self.nn.MaxPool1d)
        rest = {"dilation": 1, "return_indices": False} if largest else {}
        self.only(module, path, ceil_mode=False, **rest)
        sizes = [n if isinstance(n, int) else n[0] for n in (module.kernel_size, module.stride)]
        padding = module.padding if isinstance(module.padding, int) else module.padding[0]
        if padding:  # as "same", if each step has its window
            if (sizes[1], 2 * padding + 1) != (1, sizes[0]):
                self.only(module, path, padding=0)
            if not largest:
                self.only(module, path, count_include_pad=False)
        kind = pooling.MaxPool1d if largest else pooling.AvgPool1d
        return [kind(sizes[0], strides=sizes[1], padding="same" if padding else "valid")]

    def global_pool(self, module: Any, path: str) -> list[Layer]:
        self.demand(module, path, "series")
        if module.output_size not in (1, (1,)):
            self.only(module, path, output_size=1)
        self.layout = "pooled"
        largest = isinstance(module, self.nn.AdaptiveMaxPool1d)
        return [pooling.GlobalMaxPool1d() if largest else pooling.GlobalAvgPool1d()]

    def batch_norm(self, module: Any, path: str) -> list[Layer]:
        self.demand(module, path, "series", "features")
        self.only(module, path, affine=True, track_running_stats=True)
        if module.momentum is None:
            raise self.refuse(path, module, "tinynn has no momentum=None")
        options = {"momentum": 1 - module.momentum, "epsilon": module.eps}
        made = normalization.BatchNorm(
            module.num_features, **options, **self.options(module, path)
        )
        _take(made.moving_mean, module.running_mean, (0,))
        _take(made.moving_variance, module.running_var, (0,))
        return self.scaled(made, module)

    def layer_norm(self, module: Any, path: str) -> list[Layer]:
        self.demand(module, path, "features", "steps")
        self.only(module, path, elementwise_affine=True)
        if module.bias is None or len(module.normalized_shape) > 1:
            raise self.refuse(path, module, "tinynn has it with a bias, and for one axis")
        options = {"epsilon": module.eps, **self.options(module, path)}
        return self.scaled(normalization.LayerNorm(*module.normalized_shape, **options), module)

    def scaled(self, layer: Any, module: Any) -> list[Layer]:
        _take(layer.gamma, module.weight, (0,))
        _take(layer.beta, module.bias, (0,))
        return [layer]

    def activation(self, module: Any, path: str) -> list[Layer]:
        kind = type(module).__name__
        name, given = next((k, v[1]) for k, v in ACTIVATIONS.items() if v[0] == kind)
        if "dim" in given:
            dims = {"series": (1, -2), "pooled": (1, -2)}.get(self.layout, (-1,))
            if self.flat or module.dim not in (dims if self.layout != "features" else (-1, 1)):
                raise self.refuse(path, module, f"tinynn has no dim={module.dim!r} but channels")
        else:
            self.only(module, path, **given)
        return [layers.Activation(name)]

    def flatten(self, module: Any, path: str) -> list[Layer]:
        self.only(module, path, start_dim=1, end_dim=-1)
        before, self.layout = self.layout, "features"
        if before == "pooled":  # our global pools leave no axis behind
            return []
        if before == "series":
            if self.channels is None:
                raise self.refuse(path, module, "how many channels it flattens is not known")
            self.flat = self.channels
        return [layers.Flatten()]

    def transpose(self, module: Any, path: str) -> list[Layer]:
        self.demand(module, path, "series", "steps")
        self.layout = {"series": "steps", "steps": "series"}[self.layout]
        return []

    def padding(self, module: Any, path: str) -> list[Layer]:
        self.demand(module, path, "series")
        pair = tuple(module.padding)
        if min(pair) < 0 or getattr(module, "value", 0) != 0:
            raise self.refuse(path, module, "tinynn has no such padding")
        mode = {kind: mode for mode, kind in PADS.items()}.get(type(module).__name__, "zeros")
        if mode == "zeros":
            return [upsampling.ZeroPad1d(pair)]
        self.pad = mode, pair
        return []

    def upsample(self, module: Any, path: str) -> list[Layer]:
        self.demand(module, path, "series")
        size = module.scale_factor
        size = size[0] if isinstance(size, tuple) else size
        if not module.mode.startswith("nearest") or module.size or size != int(size):
            raise self.refuse(path, module, "tinynn repeats each step a whole number of times")
        return [upsampling.UpSample1d(int(size))]

    def readers(self) -> dict[type, Callable[[Any, str], list[Layer]]]:
        """Return the method for each class of modules."""
        nn, own = self.nn, self.own
        found = {
            nn.Sequential: self.sequential, own.Residual: self.residual, own.Parallel: self.parallel,
            nn.Linear: self.linear, nn.Conv1d: self.conv, nn.ConvTranspose1d: self.transposed,
            nn.MaxPool1d: self.pool, nn.AvgPool1d: self.pool, nn.Upsample: self.upsample,
            nn.AdaptiveMaxPool1d: self.global_pool, nn.AdaptiveAvgPool1d: self.global_pool,
            nn.BatchNorm1d: self.batch_norm, nn.LayerNorm: self.layer_norm,
            nn.Flatten: self.flatten, own.Transpose: self.transpose, nn.ConstantPad1d: self.padding,
            nn.Dropout: lambda module, path: [layers.Dropout(module.p)],
        }  # fmt: skip
        found |= {getattr(nn, kind): self.padding for kind in PADS.values()}
        kinds = [kind for kind, _ in ACTIVATIONS.values()]
        return found | {getattr(nn, kind, own.Exp): self.activation for kind in kinds}
