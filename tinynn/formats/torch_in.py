"""From PyTorch: modules one after the other as layers, or a refusal by path."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynn.autodiff.tensor import Tensor
from tinynn.formats.common import checked_model, needed, noted, refuse, title
from tinynn.formats.torch_out import ACTIVATIONS, PADS, Maker
from tinynn.nn import branches, convolution, layers, normalization, pooling, upsampling
from tinynn.nn.layer import Layer


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
    _demand_plain(module)
    known = _as_it_was(module)
    return _Reader(torch, module).whole if known is None else known  # an empty one is false


def _demand_plain(module: Any) -> None:
    """Refuse modules that do more than their class says, or share a weight with another one."""
    seen: dict[int, str] = {}
    for path, part in module.named_modules():
        if part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part):
            why = "it has hooks or a forward of its own, which cannot be carried over"
            raise refuse("from_torch", path, part, why)
        for name, value in part.named_parameters(recurse=False):
            if value.is_meta:
                raise refuse("from_torch", path, part, f"its {name} has no values")
            if id(value) in seen:
                why = f"its {name} is that of {seen[id(value)]}. Use one module in both places"
                raise refuse("from_torch", path, part, why)
            seen[id(value)] = title(path, part)


def _as_it_was(module: Any) -> Layer | None:
    """Return the model that a module was made of, if all but its weights and modes is the same."""
    twins: list[Maker] = []

    def same(model: Layer) -> bool:
        twins.append(Maker(checked_model("from_torch", model), model))
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
        self.made: dict[int, tuple[Any, list[Layer]]] = {}
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
        if self.pad and type(module) not in (self.nn.Conv1d, self.nn.Sequential):
            why = f"{self.pad[0]} padding is not followed by a Conv1d"
            raise self.refuse(path, module, why)
        here = self.layout, self.flat, self.pad
        try:
            found = reader(module, path)
        except ValueError as error:
            if str(error).startswith("from_torch"):
                raise
            raise self.refuse(path, module, f"{error}".rstrip(".")) from error
        for layer in found:
            layer.training = module.training
        before, found = self.made.setdefault(
            id(module), (here, found)
        )  # the same if it comes again
        if before != here and any(True for _ in module.parameters()):
            raise self.refuse(path, module, "it comes again where its input is laid out otherwise")
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

    def demand_whole(self, module: Any, path: str) -> None:
        """Refuse a module that is given features in an order that is not ours."""
        if self.flat:
            raise self.refuse(path, module, "it stands between a Flatten and its Linear")

    def filled(self, layer: Any, module: Any, path: str, *axes: int) -> list[Layer]:
        """Return a layer with the weight and bias of a module."""
        _take(layer.kernel, module.weight, axes)
        if module.bias is not None:
            _take(layer.bias, module.bias, (0,))
        return [layer]

    def options(self, module: Any, path: str) -> dict[str, Any]:
        """Return what the constructors of layers with weights have in common."""
        if not isinstance(module, self.nn.Linear):
            self.demand_whole(module, path)
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
        self.demand_whole(module, path)
        layout, channels = self.layout, self.channels
        body = self.one(module.body, f"{path}.body".lstrip("."))
        if self.pad or self.layout != layout or (channels and self.channels != channels):
            raise self.refuse(path, module, "its body does not keep the shape of its input")
        return [branches.Residual(body)]

    def parallel(self, module: Any, path: str) -> list[Layer]:
        self.demand_whole(module, path)
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
            if padding != "valid":
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
        made = normalization.BatchNorm(module.num_features, **options, **self.options(module, path))
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
            first, last = (1, -2), {"steps": (2, -1)}.get(self.layout, (1, -1))
            dims = first if self.layout in ("series", "pooled") else last
            if self.flat or module.dim not in dims:
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
        self.channels = None
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
            nn.Sequential: self.sequential, nn.Linear: self.linear,
            own.Residual: self.residual, own.Parallel: self.parallel,
            nn.Conv1d: self.conv, nn.ConvTranspose1d: self.transposed,
            nn.MaxPool1d: self.pool, nn.AvgPool1d: self.pool, nn.Upsample: self.upsample,
            nn.AdaptiveMaxPool1d: self.global_pool, nn.AdaptiveAvgPool1d: self.global_pool,
            nn.BatchNorm1d: self.batch_norm, nn.LayerNorm: self.layer_norm,
            nn.Flatten: self.flatten, own.Transpose: self.transpose, nn.ConstantPad1d: self.padding,
            nn.Dropout: lambda module, path: [layers.Dropout(module.p)],
        }  # fmt: skip
        found |= {getattr(nn, kind): self.padding for kind in PADS.values()}
        kinds = [kind for kind, _ in ACTIVATIONS.values()]
        return found | {getattr(nn, kind, own.Exp): self.activation for kind in kinds}
