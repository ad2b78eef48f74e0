"""What all formats need: the package, and a model of tinynn's own layers, or a refusal by name."""

import json
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.kernels.geometry import Padding, Pair, padding_pair
from tinynn.nn import config
from tinynn.nn.branches import Lambda
from tinynn.nn.layer import Layer
from tinynn.nn.layers import Flatten

ROOM = 2**31  # bytes: what a model may take that a note describes


def needed(owner: str, package: str) -> Any:
    """Import a package for ``owner``, or raise ImportError with the command that installs it."""
    try:
        return import_module(package)
    except ImportError as error:
        top = package.partition(".")[0]
        missing = isinstance(error, ModuleNotFoundError) and error.name == top
        fault = "is not installed" if missing else f"cannot be imported ({error})"
        raise type(error)(
            f"{owner}: the package {top} {fault}. Install it: python -m pip install {top}",
            name=error.name,
        ) from error


def title(path: str, layer: Any) -> str:
    """Return how a message names a layer or module."""
    return f"{path or 'the model'}, a {type(layer).__name__}"


def cropped(layer: Any) -> Pair:
    """Return what a transposed convolution leaves out at both ends; less than 0 is added."""
    left, length = layer._window()
    return left, layer.dilation_rate * (layer.kernel_size - 1) + 1 - left - length


class Writer:
    """Walks a model of tinynn's own layers; a method for each class, by its name in lower case."""

    owner = ""
    plain: Any = None  # the method for all others

    def __init__(self, model: Layer) -> None:
        self.paths = _checked_paths(self.owner, model)

    def refuse(self, layer: Layer, why: str) -> ValueError:
        """Return the error for a layer that cannot be carried over."""
        return refuse(self.owner, self.paths[id(layer)], layer, why)

    def method(self, layer: Layer, series: bool) -> Any:
        """Return the method for a layer that is given ``series``, or (batch, features)."""
        if layer.takes_series and not series:
            why = "it takes series, but what comes before it leaves (batch, features)"
            raise self.refuse(layer, why)
        return getattr(self, type(layer).__name__.lower(), self.plain)

    def demand_one_kind(self, layer: Layer, kinds: Iterable[Any]) -> None:
        """Refuse branches that cannot be joined."""
        if len(set(kinds)) > 1:
            why = "some of its layers leave series, others (batch, features)"
            raise self.refuse(layer, why)


def _checked_paths(owner: str, model: Any) -> dict[int, str]:
    """Return the path of each layer by its id; refuse what is more than tinynn's own layers."""
    if not isinstance(model, Layer):
        raise TypeError(f"{owner}: model must be a Layer, got {check.shown(model)}.")
    layers, faults, own = model.named_layers(), [], config._own_classes()
    for path, layer in layers:
        if own.get(type(layer).__name__) is not type(layer) or type(layer) is Lambda:
            why = "functions" if type(layer) is Lambda else "layers of your own"
            faults.append(f"{title(path, layer)}: {why} cannot be carried over")
    described = {} if faults else config.describe(model)
    if not (faults := faults or described.get("unknown", [])):
        made = _shapes(config.build(described, {}, np.random.default_rng(0), 2**62))
        ours = _shapes(model)
        for path in [path for path in made | ours if made.get(path) != ours.get(path)]:
            got = ours.get(path, "shared or missing, it")
            faults.append(f"{path}: {got} is no longer what its layer was made for")
    if faults:
        lines = "\n  ".join(faults)
        raise ValueError(f"{owner}: this model cannot be carried over:\n  {lines}")
    return {id(layer): path for path, layer in layers}


def _shapes(model: Layer) -> dict[str, tuple[int, ...]]:
    return {path: tensor.shape for path, tensor in model._named_tensors()}


def one_dtype(owner: str, model: Layer) -> str:
    """Return the dtype of a model whose layers share one; other libraries do not convert."""
    found = sorted({str(layer.dtype) for layer in model._layers() if hasattr(layer, "dtype")})
    if len(found) > 1 or not {"float32", "float64"}.issuperset(found):
        raise ValueError(
            f"{owner}: all layers must have dtype float32, or all float64, got {', '.join(found)}."
        )
    return found[0] if found else "float32"


def fixed_pair(padding: Padding, extent: int, strides: int) -> Pair | None:
    """Return the steps of padding at both ends, or None if they depend on the length."""
    if padding in ("same", "same_lower") and strides > 1 and extent > 1:
        return None
    return padding_pair(padding, 1, extent, 1)


def refuse(owner: str, path: str, layer: Any, why: str) -> ValueError:
    """Return the error for a layer or module that cannot be carried over."""
    return ValueError(f"{owner}: {title(path, layer)}: {why}.")


def takes_series(model: Layer) -> bool:
    """Tell whether the input of a model is (batch, length, channels)."""
    return any(part.takes_series or type(part) is Flatten for part in model._layers())


def note(model: Layer) -> str:
    """Return how a model is made, as a text that is kept with what is made of it."""
    return json.dumps(config.describe(model), allow_nan=False)


def noted(target: Any, make: Callable[[Layer], Any], looks: Callable[[Any], Any]) -> Any:
    """Return a new model as the :func:`note` at ``target`` says, and what ``make`` makes of it.

    None if there is no note, or what is made does not look as the target does now.
    """
    text = getattr(target, "tinynn", None)
    if not isinstance(text, str):
        return None
    try:
        model = config.build(json.loads(text), {}, np.random.default_rng(), ROOM)
        twin = make(model)
    except (ValueError, RecursionError):
        return None
    return (model, twin) if looks(twin.whole) == looks(target) else None
