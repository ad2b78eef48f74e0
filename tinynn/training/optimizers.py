"""The base of all optimizers: whole steps by a rule, and a complete state."""

from collections.abc import Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.listening import effect
from tinynn.training import schedules
from tinynn.training.clipping import clipped
from tinynn.training.groups import (
    Given,
    Group,
    Held,
    Part,
    Slots,
    checked,
    flat,
    is_setting,
    parts,
)
from tinynn.training.settings import Limit, Scheduled

JOINED = 2**15  # elements of all parameters, up to which one array of them is quicker than each


class Optimizer:
    """Base of the optimizers. To write one, subclass it and write its rule, :meth:`updated`.

    A step is taken as a whole or, if it is interrupted, not at all. ``iterations`` counts them.

    Parameters
    ----------
    parameters : iterable of Tensor, of (path, Tensor), or of groups
        Tensors that require a gradient, such as ``model.parameters()``. A group is a dict with
        "parameters" and settings of its own; all other settings are the constructor's.
    learning_rate : float or schedule
        A schedule is a function of ``iterations``, asked at each step: see ``tinynn.schedules``.
    clip_norm : float, default None
        Bound of the joint norm of all gradients, after ``clip_value``. ``.grad`` stays as it is.
    clip_value : float, default None
        Bound of each element of the gradients. ``.grad`` stays as it is.

    Notes
    -----
    Every setting can be set at any time. Where it is a schedule, it reads as the number for the
    next step. Every number or flag that is an attribute is part of the state, unless its name
    begins with ``_``. Groups may have their own of each that is an argument of the constructor. A
    rule finds that of its group. If other ``parameters`` are set, all slots begin anew.

    A class that writes the rule may say two things. ``slot_names`` names the arrays that it keeps
    for each parameter. ``elementwise = True`` says that it treats each element alike and by itself.
    It may then be given many parameters as one flat array.

    Examples
    --------
    >>> from tinynn import Tensor
    >>> class Signs(Optimizer):
    ...     def updated(self, w, g, slots):
    ...         return w - self.learning_rate * np.sign(g), {}
    >>> w = Tensor([1.0, -2.0], requires_grad=True)
    >>> (w * w).sum().backward(); Signs([w], learning_rate=0.5).step(); w
    Tensor([ 0.5, -1.5], requires_grad=True)
    """

    learning_rate = Scheduled(at_least=0)
    clip_norm: float | None = Limit(above=0)  # type: ignore[assignment]
    clip_value: float | None = Limit(above=0)  # type: ignore[assignment]
    slot_names: tuple[str, ...] | None = None  # None: any that the rule returns
    optional_slots: tuple[str, ...] = ()  # of these, those that may be missing
    elementwise = False
    _schedulable: Mapping[str, Scheduled] = MappingProxyType({"learning_rate": learning_rate})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Scheduled)}
        cls._schedulable = {**cls._schedulable, **own}
        if vars(cls).keys() & {"updated", "_updated"}:  # what it inherits may not hold
            for said in ("elementwise", "slot_names", "optional_slots"):
                setattr(cls, said, vars(cls).get(said, getattr(Optimizer, said)))

    def __init__(
        self, parameters: Given, learning_rate: float | schedules.Schedule, *,
        clip_norm: float | None = None, clip_value: float | None = None,
    ) -> None:  # fmt: skip
        self.parameters = parameters
        self._scheduled: dict[str, schedules.Schedule] = {}  # settings that are schedules
        self.learning_rate = learning_rate
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self.iterations = 0

    @property
    def parameters(self) -> Any:
        """The Tensors of all groups, a tuple. If others are set, all slots begin anew."""
        return self._parameters

    @parameters.setter
    def parameters(self, given: Given) -> None:
        self._parts, self._paths = parts(type(self), given)
        self._parameters = tuple([p for part in self._parts for p in part.parameters])

    @property
    def groups(self) -> list[Group]:
        """The groups of parameters, whose settings can be read and set; without any, one of all."""
        return [Group(self, part) for part in self._parts]

    @property
    def schedules(self) -> dict[str, schedules.Schedule]:
        """The settings that are schedules, by name; of groups as "groups.0.learning_rate"."""
        owns = [(f"groups.{i}.", part.own) for i, part in enumerate(self._parts)]
        return {
            f"{prefix}{name}": value
            for prefix, held in [("", vars(self)), *owns]
            for name, value in held.items()
            if callable(value) and (prefix or name in self._scheduled)
        }

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for p in self.parameters:
            p.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient.

        Raises
        ------
        RuntimeError
            If no parameter has a gradient.
        FloatingPointError
            If ``clip_norm`` is set and the gradients are not finite. Nothing is changed then.
        ValueError
            If a schedule gives no number in range. Nothing is changed then.
        """
        for p in self._parameters:
            if p.grad is not None:
                break
        else:
            raise RuntimeError(
                f"{type(self).__name__}: no parameter has a gradient. Call loss.backward() before "
                "step(). If you did, does the optimizer hold the parameters of another model, or "
                "of an earlier version of this one?"
            )
        self._step()

    def updated(self, w: np.ndarray, g: np.ndarray, slots: Slots) -> tuple[np.ndarray, Slots]:
        """Return the new value of a parameter and its new slots: the rule, a pure function.

        ``self.iterations`` is the number of steps before this one. ``self.learning_rate`` and all
        other settings are numbers: those of the parameter's group, at this step. Half precision
        comes, and its slots are kept, in single precision.

        Parameters
        ----------
        w : ndarray
            The parameter's value.
        g : ndarray
            Its gradient, of w's shape and dtype.
        slots : dict of str to ndarray
            The arrays that the last step returned for it, {} at first.

        Returns
        -------
        tuple of ndarray and dict
            The new value and the new slots: fresh arrays of w's shape.
        """
        raise NotImplementedError(f"{type(self).__name__}: write updated(self, w, g, slots).")

    def _updated(self, w: np.ndarray, g: np.ndarray, slots: Slots) -> tuple[np.ndarray, Slots]:
        return self.updated(w, g, slots)  # the name by which older subclasses write their rule

    # ------------------------------------------------------------ a step

    @effect
    def _step(self) -> None:
        """Take a step on the gradients that there are."""
        asked = self._asked(self._scheduled)
        gradients = [getattr(p, "_grad", None) for p in self._parameters]
        if self.clip_norm is not None or self.clip_value is not None:
            gradients = clipped(type(self).__name__, gradients, self.clip_value, self.clip_norm)
        shares = [gradients]
        if len(self._parts) > 1:
            given = iter(gradients)
            shares = [list(islice(given, len(part.parameters))) for part in self._parts]
        pairs = zip(self._parts, shares, strict=True)
        self._commit([self._in_force(asked, part, share) for part, share in pairs])

    def _asked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the numbers that schedules give for the next step, by the settings' names."""
        return {name: self._schedulable[name].asked(self, s) for name, s in given.items()}

    def _in_force(
        self, asked: dict[str, Any], part: Part, gradients: list[Any]
    ) -> tuple[list[Any], Held]:
        """Apply the rule to a part, while the settings are numbers: those of the part."""
        here, own, before = vars(self), part.own, self._scheduled
        if not asked and not own:
            return self._ruled(part, gradients)
        if own:
            if lost := own.keys() - here.keys():
                owner = type(self).__name__
                raise AttributeError(f"{owner}: a group has a {lost.pop()}, {owner} itself none.")
            before = {name: here[name] for name in asked | own}
            asked = asked | own | self._asked({k: v for k, v in own.items() if callable(v)})
        try:
            here.update(asked)
            return self._ruled(part, gradients)
        finally:
            here.update(before)

    def _ruled(self, part: Part, gradients: list[Any]) -> tuple[list[Any], Held]:
        """Apply the rule to the parameters of a part, as one array or to each."""
        if self._may_join(part) and not [None for g in gradients if g is None]:
            array, slots = self._applied(part.flat_data(), flat(gradients), part.slots_joined())
            values = part.cut(array)
            return values, Held([slots], True, array, values)
        given = zip(part.parameters, gradients, part.slots_apart(), strict=True)
        new = [(None, s) if g is None else self._applied(p._data, g, s) for p, g, s in given]
        return [value for value, _ in new], Held([slots for _, slots in new])

    def _commit(self, after: list[tuple[list[Any], Held]]) -> None:
        """Give each part its new values and slots; all, or none."""
        before = [(p, p._data, p._ownership) for p in self._parameters]
        held, iterations = [part.held for part in self._parts], self.iterations
        try:
            for part, (values, new) in zip(self._parts, after, strict=True):
                part.held = new
                for p, value in zip(part.parameters, values, strict=True):
                    if value is not None:
                        p._replace(value)
            self.iterations = iterations + 1
        except BaseException:
            for p, data, ownership in before:
                p._data, p._ownership = data, ownership
            for part, old in zip(self._parts, held, strict=True):
                part.held = old
            self.iterations = iterations
            raise

    def _may_join(self, part: Part) -> bool:
        """Tell whether all parameters may be given to the rule as one array, and it pays."""
        here = vars(self)
        if not self.elementwise or "updated" in here or "_updated" in here:
            return False
        slots = part.held.slots
        return part.held.joined or (
            len(part.parameters) > 1
            and sum(p.size for p in part.parameters) <= JOINED
            and len({p.dtype for p in part.parameters}) == 1
            and all(own.keys() == slots[0].keys() for own in slots)
        )

    def _applied(self, w: np.ndarray, g: np.ndarray, slots: Slots) -> tuple[np.ndarray, Slots]:
        """Apply the rule, in single precision to half precision, and check what it returns."""
        given = w, g
        if w.dtype.char == "e":
            given = w.astype(np.float32), g.astype(np.float32)
        elif not self.elementwise:  # a rule of somebody's own, which may write to it after all
            given = w.copy(), g
        result: Any = self._updated(*given, slots)
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):
            raise TypeError(
                f"{type(self).__name__}.updated: must return (new value, new slots), a tuple of an "
                f"array and a dict, got {check.shown(result)}."
            )
        value = np.asarray(result[0])
        if value.shape != w.shape:
            raise ValueError(
                f"{type(self).__name__}.updated: must return a new value of the parameter's shape "
                f"{w.shape}, got {value.shape}."
            )
        if value.dtype != w.dtype:
            value = value.astype(w.dtype)
        elif value.base is not None or value is w or value is g:  # whose memory may be another's
            value = value.copy()
        return value, result[1]

    # ------------------------------------------------------------ its state

    def _settings(self) -> list[str]:
        kinds = (int, float, np.number, np.bool_)
        return [
            name
            for name, value in vars(self).items()
            if name[0] != "_" and (isinstance(value, kinds) or name in self._scheduled)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all that the next step depends on, beside parameters and gradients.

        Returns
        -------
        dict
            Numbers and flags by their names. Schedules are text, for a state holds no code. Arrays
            go by the parameter's path and the slot's name: "layers.0.kernel.velocity". "optimizer"
            is the class's name. If there are groups, "groups" says how many parameters each has,
            and "groups.0.learning_rate" is a setting of its own.

        Notes
        -----
        Paths are known of ``model.parameters()``, and of groups of pairs (path, Tensor), such as
        ``model.named_parameters()`` gives. Where they are not known, or not all different, the
        parameter's place stands for its path: "0.velocity".
        """
        state: dict[str, Any] = {name: _filed(vars(self)[name]) for name in self._settings()}
        state["optimizer"] = type(self).__name__
        if len(self._parts) > 1 or self._parts[0].own:
            state["groups"] = np.array(self._sizes())
        for i, part in enumerate(self._parts):
            state |= {f"groups.{i}.{name}": _filed(value) for name, value in part.own.items()}
        slots = [own for part in self._parts for own in part.slots_apart()]
        for name, own in zip(self._names(), slots, strict=True):
            state |= {f"{name}.{slot}": np.array(array) for slot, array in own.items()}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`.

        Parameters
        ----------
        state : dict
            The parameters may be in another order if their paths are known. A schedule must be the
            one that is set here.

        Raises
        ------
        ValueError
            If the state does not fit. Nothing is changed then.
        TypeError
            If it is no dict.
        """
        owner = type(self).__name__
        if not isinstance(state, Mapping):
            raise TypeError(f"{owner}: the state must be a dict, got {check.shown(state)}.")
        fault = f"{owner}: the state does not fit this optimizer: "
        if (other := str(state.get("optimizer", owner))) != owner:
            raise ValueError(f"{fault}it is one of {other}.")
        names = [name for name in self._settings() if name not in LIMITS]
        if missing := [name for name in names if name not in state]:
            raise ValueError(f"{fault}{', '.join(missing)} missing.")
        sizes = np.ravel(state.get("groups", len(self._parameters))).tolist()
        if sizes != self._sizes():
            raise ValueError(f"{fault}it has groups of {sizes} parameters, not {self._sizes()}.")
        rest = {key: state[key] for key in state if key not in {*names, *LIMITS, *FACTS}}
        owns = self._own_settings(fault, rest)
        slots = iter(self._loaded_slots(fault, rest))
        helds = [Held([next(slots) for _ in part.parameters]) for part in self._parts]
        iterations = check.integer(owner, "iterations", state["iterations"], at_least=0)
        before = vars(self).copy()
        try:
            for name in (*names, *LIMITS):
                setattr(self, name, _restored(fault, name, state.get(name), before[name]))
        except (TypeError, ValueError):
            vars(self).update(before)
            raise
        self.iterations = iterations
        for part, own, held in zip(self._parts, owns, helds, strict=True):
            part.own, part.held = own, held

    def _sizes(self) -> list[int]:
        return [len(part.parameters) for part in self._parts]

    def _names(self) -> list[str]:
        """Return what the parameters are called in a state."""
        return self._paths or [str(i) for i in range(len(self._parameters))]

    def _own_settings(self, fault: str, rest: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the settings of the groups in a state, and take them out of it."""
        found: list[dict[str, Any]] = []
        for i, part in enumerate(self._parts):
            prefix, own = f"groups.{i}.", dict[str, Any]()
            for key in [str(key) for key in rest if str(key).startswith(prefix)]:
                name = key.removeprefix(prefix)
                if name not in part.own and not is_setting(type(self), name):
                    continue  # a slot, of a parameter below an attribute that is called groups
                value = _restored(fault, key, rest.pop(key), part.own.get(name))
                own[name] = checked(type(self), name, value)
            if lost := [name for name, v in part.own.items() if callable(v) and name not in own]:
                raise ValueError(f"{fault}{prefix}{lost[0]} missing.")
            found.append(own)
        return found

    def _loaded_slots(self, fault: str, rest: dict[str, Any]) -> list[Slots]:
        """Return the slots in a state for each parameter, by path or by place."""
        places = {name: i for i, name in enumerate(self._names())}
        places = {str(i): i for i in range(len(self._parameters))} | places
        slots: list[Slots] = [{} for _ in self._parameters]
        for key, value in rest.items():
            name, _, slot = str(key).rpartition(".")
            if name not in places:  # the slot of an own rule may have a dot in its name
                name, _, slot = str(key).partition(".")
            if name not in places or not (self.slot_names is None or slot in self.slot_names):
                advice = " If it is a path, make the optimizer with model.parameters()."
                raise ValueError(f"{fault}unexpected entry {key!r}.{'' if self._paths else advice}")
            p, array, own = self._parameters[places[name]], np.array(value), slots[places[name]]
            if array.shape != p.shape or array.dtype.kind != "f" or not np.isfinite(array).all():
                raise ValueError(
                    f"{fault}{key} needs finite floats of shape {p.shape}, got shape "
                    f"{array.shape}, dtype {array.dtype}."
                )
            if slot in own:
                raise ValueError(f"{fault}{slot} of {self._names()[places[name]]} is there twice.")
            own[slot] = array.astype(np.promote_types(p.dtype, np.float32))
        needed = {*(self.slot_names or ())} - {*self.optional_slots}
        if any(own and not needed <= own.keys() for own in slots):
            raise ValueError(f"{fault}each parameter needs all of {', '.join(sorted(needed))}.")
        return slots


LIMITS = ("clip_norm", "clip_value")
FACTS = ("optimizer", "groups")


def _filed(value: Any) -> Any:
    """Return a setting as a state holds it."""
    return schedules.shown(value) if callable(value) else value


def _restored(fault: str, name: str, value: Any, current: Any) -> Any:
    """Return the setting that an entry of a state stands for; ``current``: what is set now."""
    if isinstance(value, np.ndarray) and not value.ndim:
        value = value.item()
    if not (isinstance(value, str) or callable(current)):
        return value
    if value != _filed(current):
        raise ValueError(
            f"{fault}{name} is {value} there, {_filed(current)} here. A state holds no code: set "
            "the same first, and another one afterwards."
        )
    return current
