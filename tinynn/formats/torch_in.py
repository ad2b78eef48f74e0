"""From PyTorch: modules one after the other as layers, or a refusal by path."""

from typing import Any

import numpy as np

from tinynn.autodiff.tensor import Tensor
from tinynn.formats.common import needed, noted, refuse, title
from tinynn.formats.torch_out import ACTIVATIONS, PADS, WEIGHTS, _Maker
from tinynn.nn import branches, convolution, layers, normalization, pooling, upsampling
from tinynn.nn.layer import Layer

UNSEEN = ("training", "tinynn")  # what may differ in a module that is still what it was made as


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
    if (found := noted(module, _Maker, _looks)) is None:
        return None
    model: Layer
    model, twin = found
    names = {id(part): name for name, part in twin.whole.named_modules()}
    for layer, part in twin.parts:
        layer.training = module.get_submodule(names[id(part)]).training
    for tensor, part, name, axes in twin.links:
        _take(tensor, getattr(module.get_submodule(names[id(part)]), name), axes)
    return model


def _looks(module: Any) -> Any:
    settings = [
        (path, type(part), {k: v for k, v in vars(part).items() if k[0] != "_" and k not in UNSEEN})
        for path, part in module.named_modules()
    ]
    return settings, [(k, v.shape, v.dtype) for k, v in module.state_dict().items()]


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
        self.at = "", module
        self.whole = self.one(module, "")
        self.finish()

    def refuse(self, why: str) -> ValueError:
        """Return the error for the module that is read."""
        return refuse("from_torch", *self.at, why)

    def finish(self) -> None:
        """Refuse to end where something is open."""
        faults = {"steps": "its result is (batch, length, channels)", "pooled": "it keeps one step"}
        if self.flat or self.pad or self.layout in faults:
            why = "a Flatten or padding has nothing behind it that takes it up"
            raise self.refuse(faults.get(self.layout, why))

    def layers(self, module: Any, name: str) -> list[Layer]:
        """Return a module, of this name in the one that is read, as layers in a row."""
        outer, here = self.at, (self.layout, self.flat, self.pad)
        self.at = f"{outer[0]}.{name}".strip("."), module
        if self.pad and type(module) not in (self.nn.Conv1d, self.nn.Sequential):
            raise self.refuse(f"{self.pad[0]} padding is not followed by a Conv1d")
        try:
            found: list[Layer] = self.reader(module)(module)
        except ValueError as error:
            if str(error).startswith("from_torch"):
                raise
            raise self.refuse(f"{error}".rstrip(".")) from error
        for layer in found:
            layer.training = module.training
        before, found = self.made.setdefault(
            id(module), (here, found)
        )  # the same if it comes again
        if before != here and any(True for _ in module.parameters()):
            raise self.refuse("it comes again where its input is laid out otherwise")
        self.at = outer
        return found

    def reader(self, module: Any) -> Any:
        """Return the method for a module: of a name in lower case, or of a table."""
        kind = type(module).__name__
        known = {"Exp": self.activation} | dict.fromkeys(PADS.values(), self.padding)
        known |= {name: self.activation for name, _ in ACTIVATIONS.values()}
        found = known.get(kind, getattr(self, kind.lower(), None))
        if found is None or type(module) not in [getattr(m, kind, 0) for m in (self.nn, self.own)]:
            raise self.refuse("tinynn has no such layer")
        return found

    def one(self, module: Any, name: str) -> Layer:
        found = self.layers(module, name)
        return found[0] if len(found) == 1 else layers.Sequential(found)

    def only(self, module: Any, **wanted: Any) -> None:
        """Refuse a module whose options are not as wanted."""
        for name, value in wanted.items():
            if (got := getattr(module, name)) != value:
                raise self.refuse(f"tinynn has no {name}={got!r}, only {value!r}")

    def demand(self, *layouts: str) -> None:
        """Refuse a module that would act on another axis than the layer in its place."""
        if self.layout not in layouts:
            places = {"series": "(batch, channels, length)", "steps": "(batch, length, channels)"}
            where = places.get(self.layout, "(batch, features)")
            raise self.refuse(f"tinynn has no such layer for what is {where} here")

    def demand_whole(self) -> None:
        """Refuse a module that is given features in an order that is not ours."""
        if self.flat:
            raise self.refuse("it stands between a Flatten and its Linear")

    def filled(self, kind: Any, module: Any, *axes: int, **given: Any) -> list[Any]:
        """Return a layer with the weights of a module; ``axes``: those of a kernel there."""
        dtype = str(module.weight.dtype).removeprefix("torch.")
        if dtype not in ("float32", "float64"):
            raise self.refuse(f"tinynn has no dtype {dtype}")
        bias = {"use_bias": module.bias is not None, "rng": 0} if axes else {}
        layer = kind(**given, **bias, dtype=dtype)
        for ours, theirs in WEIGHTS.items():
            if (tensor := getattr(layer, ours, None)) is not None:
                _take(tensor, getattr(module, theirs), axes if ours == "kernel" else (0,))
        return [layer]

    # ------------------------------------------------------------ modules

    def sequential(self, module: Any) -> list[Layer]:
        rows = [self.layers(part, name) for name, part in module._modules.items()]
        return [layers.Sequential([layer for row in rows for layer in row])]

    def residual(self, module: Any) -> list[Layer]:
        self.demand_whole()
        layout, channels = self.layout, self.channels
        body = self.one(module.body, "body")
        if self.pad or self.layout != layout or (channels and self.channels != channels):
            raise self.refuse("its body does not keep the shape of its input")
        return [branches.Residual(body)]

    def parallel(self, module: Any) -> list[Layer]:
        self.demand_whole()
        found, start, ends, channels = [], (self.layout, self.channels), set(), list[Any]()
        for name, part in module._modules.items():
            self.layout, self.channels = start
            found.append(self.one(part, name))
            self.finish()
            ends.add(self.layout)
            channels.append(self.channels)
        if len(ends) > 1:
            raise self.refuse("its modules leave results of different kinds")
        self.channels = None if None in channels else sum(channels)
        return [branches.Parallel(found)]

    def linear(self, module: Any) -> list[Layer]:
        self.demand("features", "steps")
        sizes = {"in_features": module.in_features, "units": module.out_features}
        [made] = self.filled(layers.Dense, module, 1, 0, **sizes)
        if self.flat:  # its rows are (channels, steps)
            rows = made.kernel.data.reshape(self.flat, -1, made.units).swapaxes(0, 1)
            made.kernel.data = rows.reshape(made.kernel.shape)
        self.flat, self.channels = 0, made.units
        return [made]

    def conv1d(self, module: Any) -> list[Layer]:
        padding, mode = module.padding, module.padding_mode
        if not isinstance(padding, str):
            padding = (padding[0],) * 2 if padding[0] else "valid"
        if self.pad:
            if padding != "valid":
                self.only(module, padding=(0,))
            mode, padding = self.pad
            self.pad = None
        return self.convolved(convolution.Conv1d, module, padding=padding, padding_mode=mode)

    def convtranspose1d(self, module: Any) -> list[Layer]:
        strides, crop, more = module.stride[0], module.padding[0], module.output_padding[0]
        extent = module.dilation[0] * (module.kernel_size[0] - 1) + 1
        padding = "valid" if not crop and (more or extent >= strides) else (crop, crop)
        if more >= strides:
            self.only(module, output_padding=(0,))
        how = {"padding": padding, "output_padding": more or None}
        return self.convolved(upsampling.Conv1dTranspose, module, **how)

    def convolved(self, kind: Any, module: Any, **how: Any) -> list[Layer]:
        """Return a convolution or a transposed one."""
        self.demand("series")
        self.channels = module.out_channels
        return self.filled(
            kind, module, 2, 1, 0, in_channels=module.in_channels, filters=module.out_channels,
            kernel_size=module.kernel_size[0], strides=module.stride[0],
            dilation_rate=module.dilation[0], groups=module.groups, **how,
        )  # fmt: skip

    def maxpool1d(self, module: Any) -> list[Layer]:
        self.demand("series")
        largest = isinstance(module, self.nn.MaxPool1d)
        rest = {"dilation": 1, "return_indices": False} if largest else {}
        self.only(module, ceil_mode=False, **rest)
        given = module.kernel_size, module.stride, module.padding
        size, strides, padding = [n if isinstance(n, int) else n[0] for n in given]
        if padding:  # as "same", if each step has its window
            if (strides, 2 * padding + 1) != (1, size):
                self.only(module, padding=0)
            if not largest:
                self.only(module, count_include_pad=False)
        kind = getattr(pooling, type(module).__name__)
        return [kind(size, strides=strides, padding="same" if padding else "valid")]

    avgpool1d = maxpool1d

    def adaptivemaxpool1d(self, module: Any) -> list[Layer]:
        self.demand("series")
        if module.output_size not in (1, (1,)):
            self.only(module, output_size=1)
        self.layout = "pooled"
        return [getattr(pooling, type(module).__name__.replace("Adaptive", "Global"))()]

    adaptiveavgpool1d = adaptivemaxpool1d

    def batchnorm1d(self, module: Any) -> list[Layer]:
        self.demand("series", "features")
        self.demand_whole()
        self.only(module, affine=True, track_running_stats=True)
        if module.momentum is None:
            raise self.refuse("tinynn has no momentum=None")
        how = {"channels": module.num_features, "momentum": 1 - module.momentum}
        return self.filled(normalization.BatchNorm, module, **how, epsilon=module.eps)

    def layernorm(self, module: Any) -> list[Layer]:
        self.demand("features", "steps")
        self.demand_whole()
        self.only(module, elementwise_affine=True)
        if module.bias is None or len(module.normalized_shape) > 1:
            raise self.refuse("tinynn has it with a bias, and for one axis")
        how = {"features": module.normalized_shape[0], "epsilon": module.eps}
        return self.filled(normalization.LayerNorm, module, **how)

    def activation(self, module: Any) -> list[Layer]:
        kind = type(module).__name__
        name, given = next((k, v[1]) for k, v in ACTIVATIONS.items() if v[0] == kind)
        if "dim" in given:
            first, last = (1, -2), {"steps": (2, -1)}.get(self.layout, (1, -1))
            dims = first if self.layout in ("series", "pooled") else last
            if self.flat or module.dim not in dims:
                raise self.refuse(f"tinynn has no dim={module.dim!r} but channels")
        else:
            self.only(module, **given)
        return [layers.Activation(name)]

    def dropout(self, module: Any) -> list[Layer]:
        return [layers.Dropout(module.p)]

    def flatten(self, module: Any) -> list[Layer]:
        self.only(module, start_dim=1, end_dim=-1)
        before, self.layout = self.layout, "features"
        if before == "pooled":  # our global pools leave no axis behind
            return []
        if before == "series":
            if self.channels is None:
                raise self.refuse("how many channels it flattens is not known")
            self.flat = self.channels
        self.channels = None
        return [layers.Flatten()]

    def transpose(self, module: Any) -> list[Layer]:
        self.demand("series", "steps")
        self.layout = {"series": "steps", "steps": "series"}[self.layout]
        return []

    def padding(self, module: Any) -> list[Layer]:
        self.demand("series")
        pair = tuple(module.padding)
        if min(pair) < 0 or getattr(module, "value", 0) != 0:
            raise self.refuse("tinynn has no such padding")
        mode = {kind: mode for mode, kind in PADS.items()}.get(type(module).__name__, "zeros")
        if mode == "zeros":
            return [upsampling.ZeroPad1d(pair)]
        self.pad = mode, pair
        return []

    constantpad1d = padding

    def upsample(self, module: Any) -> list[Layer]:
        self.demand("series")
        size = module.scale_factor
        size = size[0] if isinstance(size, tuple) else size
        if not module.mode.startswith("nearest") or module.size or size != int(size):
            raise self.refuse("tinynn repeats each step a whole number of times")
        if module.mode == "nearest" and np.float32(1 / size) * np.float32(size) < 1:
            raise self.refuse("mode='nearest' takes wrong steps for this size, 'nearest-exact' not")
        return [upsampling.UpSample1d(int(size))]
