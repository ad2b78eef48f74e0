"""What an optimizer is given: parameters, alone or in groups with settings of their own."""

import difflib
import inspect
import numbers
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from operator import is_
from typing import Any, NamedTuple

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.listening import effect
from tinynn.autodiff.tensor import Tensor
from tinynn.nn.layer import Parameters
from tinynn.training.schedules import Schedule
from tinynn.training.settings import Limit, Setting, read

Slots = dict[str, np.ndarray]
Given = Iterable[Tensor | tuple[str, Tensor] | Mapping[str, Any]]

NO_LISTS = (Tensor, set, frozenset, Mapping, str)
ELSEWHERE = {"params": "parameters", "lr": "learning_rate", "eps": "epsilon"}


def checked_parameters(
    owner: str, given: Any, *, frozen: bool, what: str = "parameters"
) -> list[Tensor]:
    """Return a list of leaves that require a gradient, or may be ``frozen``."""
    if isinstance(given, NO_LISTS) or not isinstance(given, Iterable):
        raise TypeError(  # a set has no order, and an optimizer's state may go by position
            f"{owner}: {what} must be a list of Tensors, such as model.parameters(), "
            f"got {check.shown(given)}."
        )
    tensors = list(given)
    if not tensors:
        raise ValueError(
            f"{owner}: {what} is empty; give model.parameters(). A parameter of a Layer is an "
            "attribute that is a Tensor(..., requires_grad=True), no ndarray and no result."
        )
    for i, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{owner}: {what}[{i}] must be a Tensor, got {check.shown(tensor)}. "
                "Give model.parameters()."
            )
        if tensor._trace is not None or not (tensor.requires_grad or frozen):
            advice = "Create it with Tensor(..., requires_grad=True)."
            if tensor._trace is None:
                advice += " Is it frozen? Leave it out, or freeze it after the optimizer was made."
            raise ValueError(
                f"{owner}: {what}[{i}], of shape {tensor.shape}, must be a leaf that requires "
                f"a gradient. {advice}"
            )
    if len({id(tensor) for tensor in tensors}) != len(tensors):
        raise ValueError(f"{owner}: a parameter is listed twice; it would be updated twice.")
    return tensors


class Held(NamedTuple):
    """What a rule keeps: arrays by name for each parameter, or if ``joined`` for all as one.

    ``flat``: then the new data of all as one array, and ``data`` those of each, views of it.
    """

    slots: list[Slots]
    joined: bool = False
    flat: Any = None
    data: Sequence[np.ndarray] = ()


class Part:
    """The parameters of a group, its own settings, and what the rule keeps for them."""

    def __init__(self, parameters: list[Tensor], own: dict[str, Any]) -> None:
        self.parameters, self.own = parameters, own
        self.held = Held([{} for _ in parameters])
        ends = [0, *accumulate(p.size for p in parameters)]
        self._places = [
            (slice(*between), p.shape)
            for between, p in zip(pairwise(ends), parameters, strict=True)
        ]

    def __getstate__(self) -> dict[str, Any]:
        held = self.held._replace(flat=None, data=())  # views, which would be copied one by one
        return {**vars(self), "held": held}

    def cut(self, array: np.ndarray) -> list[np.ndarray]:
        """Cut a flat array into parts of the parameters' shapes."""
        return [array[place].reshape(shape) for place, shape in self._places]

    def flat_data(self) -> np.ndarray:
        """Return the data of all parameters as one array."""
        data, held = [p._data for p in self.parameters], self.held
        if held.flat is not None and all(map(is_, data, held.data)):
            return held.flat
        return flat(data)

    def slots_joined(self) -> Slots:
        """Return the slots of all parameters as one."""
        slots = self.held.slots
        if self.held.joined:
            return slots[0]
        return {name: flat([own[name] for own in slots]) for name in slots[0]}

    def slots_apart(self) -> list[Slots]:
        """Return the slots of each parameter."""
        if not self.held.joined:
            return self.held.slots
        parts = {name: self.cut(array) for name, array in self.held.slots[0].items()}
        return [{name: own[i] for name, own in parts.items()} for i in range(len(self.parameters))]


def flat(arrays: Sequence[Any]) -> np.ndarray:
    """Return all elements in one fresh array."""
    return np.concatenate(arrays, axis=None)


# ---------------------------------------------------------------- from what a user gives


def parts(cls: type, given: Any) -> tuple[list[Part], list[str] | None]:
    """Return the groups in what a user gave to an optimizer, and the parameters' paths if known."""
    owner = cls.__name__
    if isinstance(given, Mapping):
        raise TypeError(f"{owner}: a dict is one group; give a list of them: [{{...}}, ...].")
    listed = isinstance(given, Iterable) and not isinstance(given, NO_LISTS)
    items = list(given) if listed and not isinstance(given, list) else given
    if not (listed and any(isinstance(item, Mapping) for item in items)):
        tensors, paths = _tensors(owner, items, "parameters")
        return [Part(tensors, {})], paths
    found, names = [], list[str | None]()
    for i, group in enumerate(items):
        if not isinstance(group, Mapping):
            raise TypeError(
                f"{owner}: parameters[{i}] must be a group, a dict as the others are, got "
                f"{check.shown(group)}."
            )
        for name in group:
            if name != "parameters":
                _demand_setting(cls, name, f"{owner}: group {i}", TypeError)
        if "parameters" not in group:
            raise ValueError(f"{owner}: group {i} has no 'parameters'; give a list of Tensors.")
        what = f"the parameters of group {i}"
        tensors, paths = _tensors(owner, group["parameters"], what)
        names += paths or [None]
        own = {name: checked(cls, name, group[name]) for name in group if name != "parameters"}
        found.append(Part(tensors, own))
    every = [p for part in found for p in part.parameters]
    if len({id(p) for p in every}) != len(every):
        raise ValueError(f"{owner}: a parameter is in two groups; it would be updated twice.")
    return found, _distinct(names)


def _tensors(owner: str, given: Any, what: str) -> tuple[list[Tensor], list[str] | None]:
    """Return Tensors, and their paths if they came with them."""
    pairs = given.named if isinstance(given, Parameters) else []
    if isinstance(given, Iterable) and not isinstance(given, NO_LISTS):
        given = list(given)
        if given and all(map(_is_named, given)):
            pairs, given = given, [tensor for _, tensor in given]
    tensors = checked_parameters(owner, given, frozen=False, what=what)
    paths = {id(tensor): path for path, tensor in pairs}
    return tensors, _distinct([paths.get(id(p)) for p in tensors])


def _is_named(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)


def _distinct(paths: Sequence[str | None]) -> list[str] | None:
    """Return paths if all are known, and each is another."""
    known = [path for path in paths if path]
    return known if len(set(known)) == len(paths) else None


# ---------------------------------------------------------------- settings of groups


def is_setting(cls: type, name: Any) -> bool:
    """Tell whether a group may have its own of a name: a setting, or a constructor's argument."""
    found = _static(cls, name)
    if isinstance(found, Setting):
        return not isinstance(found, Limit)
    return name in _arguments(cls)


def _arguments(cls: type) -> list[str]:
    """Return the arguments of a constructor, which an own class may keep as plain attributes."""
    given = list(inspect.signature(cls).parameters.values())[1:]
    return [p.name for p in given if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _demand_setting(cls: type, name: Any, where: str, error: type[Exception]) -> None:
    if is_setting(cls, name):
        return
    if isinstance(_static(cls, name), Limit):
        raise error(f"{where} has no {name} of its own: it is one for all groups.")
    known = sorted(n for n in {*dir(cls), *_arguments(cls)} if is_setting(cls, n))
    named = [*known, "parameters"] if name != "parameters" else known
    near = difflib.get_close_matches(str(name), named, n=1)
    meant = ELSEWHERE.get(str(name), near[0] if near else None)
    hint = f"It is {meant!r} here" if meant else f"There are {', '.join(known)}"
    raise error(f"{where} has no setting {name!r}. {hint}.")


def _static(cls: type, name: Any) -> Any:
    """Return what a class holds under a name, without asking a descriptor."""
    return inspect.getattr_static(cls, name, None) if isinstance(name, str) else None


def checked(cls: type, name: str, value: Any) -> Any:
    """Return a value that a group may have for a setting of its own."""
    found = _static(cls, name)
    if isinstance(found, Setting):
        return found.checked(cls.__name__, value)
    if not isinstance(value, (numbers.Real, np.bool_)):
        got = check.shown(value)
        raise TypeError(f"{cls.__name__}: {name} must be a number or a flag, got {got}.")
    return value


class Group:
    """A group of an optimizer's parameters; its settings can be read and set as attributes.

    ``parameters``: the Tensors; ``own``: the settings that are this group's own, by name. All
    others are the optimizer's. To set one makes it the group's own.

    >>> from tinynn import SGD
    >>> a, b = (Tensor([1.0], requires_grad=True) for _ in range(2))
    >>> sgd = SGD([{"parameters": [a], "learning_rate": 0.5}, {"parameters": [b]}], 0.1)
    >>> sgd.groups[1].learning_rate, sgd.groups[0].own
    (0.1, {'learning_rate': 0.5})
    """

    def __init__(self, optimizer: Any, part: Part) -> None:
        vars(self).update(optimizer=optimizer, _part=part)

    @property
    def parameters(self) -> list[Tensor]:
        """The Tensors of the group."""
        return list(self._part.parameters)

    @property
    def own(self) -> dict[str, "float | Schedule"]:
        """The settings that are the group's own: numbers, flags, schedules."""
        return dict(self._part.own)

    def __getattr__(self, name: str) -> Any:
        cls, own = type(self.optimizer), self._part.own
        _demand_setting(cls, name, f"{cls.__name__}: a group", AttributeError)
        if name not in own:
            return getattr(self.optimizer, name)
        value = own[name]
        return read(getattr(cls, name), self.optimizer, value) if callable(value) else value

    def __setattr__(self, name: str, value: Any) -> None:
        cls = type(self.optimizer)
        _demand_setting(cls, name, f"{cls.__name__}: a group", AttributeError)
        _set_own(name, self.optimizer, checked(cls, name, value), self._part)

    def __repr__(self) -> str:
        own = "".join(f", {name}={value!r}" for name, value in self.own.items())
        return f"Group({len(self._part.parameters)} parameters{own})"


@effect
def _set_own(name: str, optimizer: Any, value: Any, part: Part) -> None:
    part.own = {**part.own, name: value}
