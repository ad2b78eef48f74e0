"""How a model is made, as plain data: classes, and constructors' arguments by name. No code."""

import inspect
import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.nn import activations, initializers
from tinynn.nn.layer import Layer

VERSION = 1
OWN = "tinynn."  # before the names of tinynn's classes
BUILD = "Build the model as your code does, and use tinynn.load."


class NotHeld(Exception):
    """A value that a description cannot hold."""


# ---------------------------------------------------------------- from a model


def describe(model: Layer) -> dict[str, Any]:
    """Return how a model is made; JSON can hold it.

    ``layers``: a class and the arguments of its constructor each, of which later ones may refer to
    earlier ones by number; ``model``: the number of the whole. ``trainable``: paths of Tensors that
    require a gradient; ``evaluation``: of layers that are not in training. Or ``unknown``: what
    cannot be described, and why.
    """
    describer = _Describer(model)
    place = describer.place_of(model)
    found: dict[str, Any] = {"format": "tinynn model", "version": VERSION}
    if describer.unknown:
        return found | {"unknown": describer.unknown}
    return found | {
        "layers": describer.layers,
        "model": place,
        "trainable": [path for path, _ in model.named_parameters()],
        "evaluation": [path for path, layer in model.named_layers() if not layer.training],
    }


class _Describer:
    def __init__(self, model: Layer) -> None:
        self.layers: list[dict[str, Any]] = []
        self.unknown: list[str] = []
        self._places: dict[int, int | None] = {}
        self._paths = {id(layer): path for path, layer in model.named_layers()}

    def place_of(self, layer: Layer) -> int:
        """Return the number of a layer, which is described once."""
        if id(layer) not in self._places:
            self._places[id(layer)] = None
            entry: dict[str, Any] = {"class": type(layer).__name__, "arguments": {}}
            try:
                entry["class"], given = arguments(layer)
                for name, value in given.items():
                    entry["arguments"][name] = self._plain(value, name)
            except NotHeld as fault:
                path = self._paths.get(id(layer)) or "the model"
                self.unknown.append(f"{path}, a {type(layer).__name__}: {fault}")
            self.layers.append(entry)
            self._places[id(layer)] = len(self.layers) - 1
        place = self._places[id(layer)]
        if place is None:
            raise NotHeld("it holds itself")
        return place

    def _plain(self, value: Any, name: str, depth: int = 0) -> Any:
        """Return the argument of a name as JSON can hold it."""
        if isinstance(value, np.generic):
            value = value.item()
        if depth > 20:
            raise NotHeld(f"its {name} is nested too deeply")
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float and math.isfinite(value):
            return value
        if isinstance(value, np.dtype) and value.kind != "V":
            return value.name if value.isnative else value.str
        if isinstance(value, (tuple, list)):
            return [self._plain(part, name, depth + 1) for part in value]
        if isinstance(value, dict) and all(type(key) is str for key in value):
            return {"dict": {k: self._plain(part, name, depth + 1) for k, part in value.items()}}
        if isinstance(value, Layer):
            return {"layer": self.place_of(value)}
        if name == "activation":
            for known, function in activations.TABLE.items():
                if value is function:
                    return known
        called = getattr(value, "__name__", None)
        what = f"the function {called}" if called and callable(value) else check.shown(value)
        raise NotHeld(f"its {name} is {what}, which a file cannot hold")


def arguments(layer: Layer) -> tuple[str, dict[str, Any]]:
    """Return the name of a layer's class, and the arguments of its constructor that are kept."""
    cls = type(layer)
    if _own_classes().get(cls.__name__) is not cls:
        if not hasattr(layer, "to_config"):
            raise NotHeld(
                "it is no layer of tinynn's. Write a method to_config() that returns its arguments "
                "in a dict, and a classmethod from_config(config)"
            )
        config = layer.to_config()
        if not isinstance(config, dict) or not all(type(key) is str for key in config):
            got = check.shown(config)
            raise TypeError(f"{cls.__name__}.to_config: must return a dict of arguments, got {got}")
        return cls.__name__, config
    if replaced := [name for name in vars(layer) if callable(getattr(cls, name, None))]:
        raise NotHeld(f"its method {replaced[0]} was replaced")
    names = [name for name in _kept(cls) if name != "rng" and not _initial(name)]
    return f"{OWN}{cls.__name__}", {name: getattr(layer, name) for name in names}


def _kept(cls: type[Layer]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(cls).parameters


def _initial(name: str) -> bool:
    return name.endswith("_initializer")


def _own_classes() -> dict[str, type[Layer]]:
    """Return tinynn's layers by name: what is imported, has a forward, and is no base."""
    found, waiting = dict[str, type[Layer]](), [Layer]
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        home = sys.modules.get(cls.__module__) if cls.__module__.startswith(OWN) else None
        public = getattr(home, cls.__name__, None) is cls and not cls.__name__.startswith("_")
        if public and cls.forward is not Layer.forward:
            found[cls.__name__] = cls
    return found


# ---------------------------------------------------------------- back to a model


def build(description: Any, classes: Mapping[str, Any], rng: Any, nbytes: int) -> Layer:
    """Return the model that is described; raise ValueError for what it cannot be.

    ``classes``: those that are not tinynn's, by name; ``rng``: the generator for layers that draw;
    ``nbytes``: what its parameters may take. They are zeros.
    """
    fields = _checked(description)
    made: list[Layer] = []
    with initializers.at_most(nbytes):
        for i, entry in enumerate(fields["layers"]):
            if not isinstance(entry, dict) or not isinstance(entry.get("class"), str):
                raise ValueError(f"layer {i} of the file is no class with arguments")
            where = f"layer {i} of the file, a {entry['class']}"
            try:
                made.append(_built(entry, classes, rng, made))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{where}: {error}") from error
    model = _referred(fields["model"], made)
    _restore_flags(model, fields)
    return model


def _checked(description: Any) -> dict[str, Any]:
    if not isinstance(description, dict) or description.get("format") != "tinynn model":
        raise ValueError("it does not say how a model of tinynn is made")
    version = description.get("version")
    if version != VERSION or type(version) is not int:
        raise ValueError(
            f"it says how the model is made in version {check.shown(version)}, but this tinynn "
            f"knows version {VERSION}. Use the tinynn that wrote it, or a newer one"
        )
    if "unknown" in description:
        lines = "\n  ".join(str(line) for line in description["unknown"])
        raise ValueError(f"it does not say how all of the model is made:\n  {lines}\n{BUILD}")
    kinds = {"layers": list, "model": int, "trainable": list, "evaluation": list}
    for name, kind in kinds.items():
        if type(description.get(name)) is not kind:
            raise ValueError(f"{name} is missing, or no {kind.__name__}")
    return description


def _built(entry: dict[str, Any], classes: Mapping[str, Any], rng: Any, made: list[Layer]) -> Layer:
    """Return a layer, made by its class of the arguments that are described."""
    name, given = entry["class"], entry.get("arguments")
    if not isinstance(given, dict):
        raise ValueError("its arguments are no dict")
    values = {key: _value(value, made) for key, value in given.items()}
    if not name.startswith(OWN):
        return _of_a_class(name, values, classes)
    cls = _own_classes().get(name.removeprefix(OWN))
    if cls is None:
        known = ", ".join(sorted(_own_classes()))
        raise ValueError(f"tinynn has no such layer. It has {known}")
    places, kept = [], dict[str, Any]()
    parameters = _kept(cls)
    for key in values:
        if key not in parameters or key == "rng" or _initial(key):
            raise ValueError(f"there is no argument {key!r}. Was it written by a newer tinynn?")
    for key, parameter in parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            places = list(values.get(key, ()))
        elif key in values:
            kept[key] = values[key]
        elif key == "rng" or _initial(key):
            kept[key] = rng if key == "rng" else "zeros"
        elif parameter.default is parameter.empty:
            raise ValueError(f"the argument {key!r} is missing")
    return cls(*places, **kept)


def _of_a_class(name: str, config: dict[str, Any], classes: Mapping[str, Any]) -> Layer:
    """Return a layer of a class that is not tinynn's."""
    if name not in classes:
        raise ValueError(f"the class is not tinynn's. Give classes={{{name!r}: {name}}}")
    cls = classes[name]
    make = getattr(cls, "from_config", None)
    layer: Any = cls(**config) if make is None else make(config)
    if not isinstance(layer, Layer):
        raise TypeError(f"{name}.from_config: must return a Layer, got {check.shown(layer)}")
    return layer


def _value(value: Any, made: list[Layer]) -> Any:
    """Return what a description's value stands for."""
    if isinstance(value, list):
        return [_value(part, made) for part in value]
    if isinstance(value, dict):
        if list(value) == ["layer"]:
            return _referred(value["layer"], made)
        if list(value) == ["dict"] and isinstance(value["dict"], dict):
            return {key: _value(part, made) for key, part in value["dict"].items()}
        raise ValueError(f"{check.shown(value)} is no value")
    if type(value) is int and not -(2**63) <= value < 2**63:
        raise ValueError(f"{check.shown(value)} is too large a number")
    return value


def _referred(place: Any, made: list[Layer]) -> Layer:
    if type(place) is not int or not 0 <= place < len(made):
        raise ValueError(f"there is no layer {check.shown(place)} before it")
    return made[place]


def _restore_flags(model: Layer, fields: Mapping[str, Any]) -> None:
    """Set what requires a gradient, and what is in evaluation."""
    tensors, layers = dict(model._named_tensors()), dict(model.named_layers())
    for path in _unknown(fields["trainable"], tensors):
        raise ValueError(f"there is no parameter {check.shown(path)} in the model it describes")
    for path in _unknown(fields["evaluation"], layers):
        raise ValueError(f"there is no layer {check.shown(path)} in the model it describes")
    trainable, evaluation = set(fields["trainable"]), set(fields["evaluation"])
    for path, tensor in tensors.items():
        tensor.requires_grad = path in trainable
    for path, layer in layers.items():
        layer.training = path not in evaluation


def _unknown(paths: list[Any], known: Mapping[str, Any]) -> Iterator[Any]:
    return (path for path in paths if not isinstance(path, str) or path not in known)
