"""Optimizers: rules that move parameters against their gradients."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.listening import effect
from tinynn.autodiff.primitive import inspected, primitive
from tinynn.autodiff.tensor import Tensor

JOINED = 2**15  # elements of all parameters, up to which one array of them is quicker than each

Slots = dict[str, np.ndarray]


def _checked_parameters(owner: str, given: Iterable[Tensor], *, frozen: bool) -> list[Tensor]:
    if isinstance(given, (Tensor, set, frozenset)) or not isinstance(given, Iterable):
        raise TypeError(  # a set has no order, and an optimizer's state goes by position
            f"{owner}: parameters must be a list of Tensors, such as model.parameters(), "
            f"got {check.shown(given)}."
        )
    tensors = list(given)
    if not tensors:
        raise ValueError(
            f"{owner}: parameters is empty; give model.parameters(). A parameter of a Layer is an "
            "attribute that is a Tensor(..., requires_grad=True), no ndarray and no result."
        )
    for i, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{owner}: parameters[{i}] must be a Tensor, got {check.shown(tensor)}. "
                "Give model.parameters()."
            )
        if tensor._trace is not None or not (tensor.requires_grad or frozen):
            raise ValueError(
                f"{owner}: parameters[{i}], of shape {tensor.shape}, must be a leaf that requires "
                "a gradient. Create it with Tensor(..., requires_grad=True)."
            )
    if len({id(tensor) for tensor in tensors}) != len(tensors):
        raise ValueError(f"{owner}: a parameter is listed twice; it would be updated twice.")
    return tensors


class _Setting:
    """A number within bounds, or a flag, checked when it is set; it is read from the own dict."""

    def __init__(self, **bounds: float) -> None:
        self.bounds = bounds

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def _set(self, instance: Any, value: Any) -> None:
        checked = check.real if self.bounds else check.flag
        owner = type(instance).__name__
        vars(instance)[self.name] = checked(owner, self.name, value, **self.bounds)

    __set__ = effect(_set, "setting")


class _Misnamed:
    """A setting's name elsewhere, which would be another attribute, unheeded."""

    def __init__(self, meant: str) -> None:
        self.meant = meant

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        who = (owner if instance is None else type(instance)).__name__
        raise AttributeError(f"{who}: there is no setting {self.name!r}; it is {self.meant} here.")

    def __set__(self, instance: Any, value: Any) -> None:
        self.__get__(instance, type(instance))


class Optimizer:
    """Base of the optimizers. To write one, subclass it and write its rule, :meth:`updated`.

    A step is taken as a whole or, if it is interrupted, not at all; ``iterations`` counts them.

    What a class that writes the rule may say: ``slot_names``, of the arrays that it keeps for each
    parameter; ``elementwise = True`` if it treats each element alike and by itself, for then it may
    be given many parameters as one flat array. Every number or flag that is an attribute, such as
    ``learning_rate``, is part of the state, unless its name begins with ``_``.

    >>> class Signs(Optimizer):
    ...     def updated(self, w, g, slots):
    ...         return w - self.learning_rate * np.sign(g), {}
    >>> w = Tensor([1.0, -2.0], requires_grad=True)
    >>> (w * w).sum().backward(); Signs([w], learning_rate=0.5).step(); w
    Tensor([ 0.5, -1.5], requires_grad=True)
    """

    learning_rate: float = _Setting(at_least=0)  # type: ignore[assignment]
    slot_names: tuple[str, ...] | None = None  # None: any that the rule returns
    elementwise = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if vars(cls).keys() & {"updated", "_updated"}:  # what it inherits may not hold
            cls.elementwise = vars(cls).get("elementwise", False)
            cls.slot_names = vars(cls).get("slot_names")

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float) -> None:
        self.parameters = _checked_parameters(type(self).__name__, parameters, frozen=False)
        self.learning_rate = learning_rate
        self.iterations = 0
        self._slots: list[Slots] = [{} for _ in self.parameters]
        self._joined = False  # whether there is only one entry in them, for all parameters as one

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for p in self.parameters:
            p.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient; raise RuntimeError if none has."""
        if all(p.grad is None for p in self.parameters):
            raise RuntimeError(
                f"{type(self).__name__}: no parameter has a gradient. Call loss.backward() before "
                "step(). If you did, does the optimizer hold the parameters of another model, or "
                "of an earlier version of this one?"
            )
        self._step()

    def updated(self, w: np.ndarray, g: np.ndarray, slots: Slots) -> tuple[np.ndarray, Slots]:
        """Return the new value of a parameter and its new slots: the rule, a pure function.

        ``w``: the parameter's value; ``g``: its gradient, of w's shape and dtype; ``slots``: the
        arrays that the last step returned for it, {} at first. Returns fresh arrays of w's shape.
        ``self.iterations`` is the number of steps before this one. Half precision comes, and its
        slots are kept, in single precision.
        """
        raise NotImplementedError(f"{type(self).__name__}: write updated(self, w, g, slots).")

    def _updated(self, w: np.ndarray, g: np.ndarray, slots: Slots) -> tuple[np.ndarray, Slots]:
        return self.updated(w, g, slots)  # the name by which older subclasses write their rule

    # ------------------------------------------------------------ a step

    @effect
    def _step(self) -> None:
        """Take a step on the gradients that there are."""
        weights = [p._data for p in self.parameters]
        gradients = [getattr(p, "_grad", None) for p in self.parameters]
        joined = self._may_join() and all(g is not None for g in gradients)
        values: Sequence[np.ndarray | None]
        if joined:
            flat, slots = self._ruled(_flat(weights), _flat(gradients), self._slots_joined())
            values, after = self._parts(flat), [slots]
        else:
            given = zip(weights, gradients, self._slots_apart(), strict=True)
            new = [(None, s) if g is None else self._ruled(w, g, s) for w, g, s in given]
            values, after = [value for value, _ in new], [slots for _, slots in new]
        before = [(p._data, p._ownership) for p in self.parameters]
        own = self._slots, self._joined, self.iterations
        try:
            self._slots, self._joined, self.iterations = after, joined, self.iterations + 1
            for p, value in zip(self.parameters, values, strict=True):
                if value is not None:
                    p._replace(value)
        except BaseException:
            for p, held in zip(self.parameters, before, strict=True):
                p._data, p._ownership = held
            self._slots, self._joined, self.iterations = own
            raise

    def _may_join(self) -> bool:
        """Tell whether all parameters may be given to the rule as one array, and it pays."""
        if not self.elementwise or vars(self).keys() & {"updated", "_updated"}:
            return False
        return self._joined or (
            len(self.parameters) > 1
            and sum(p.size for p in self.parameters) <= JOINED
            and len({p.dtype for p in self.parameters}) == 1
            and all(slots.keys() == self._slots[0].keys() for slots in self._slots)
        )

    def _parts(self, flat: np.ndarray) -> list[np.ndarray]:
        """Cut a flat array into parts of the parameters' shapes."""
        parts, start = [], 0
        for p in self.parameters:
            data = p._data
            stop = start + data.size
            parts.append(flat[start:stop].reshape(data.shape))
            start = stop
        return parts

    def _slots_joined(self) -> Slots:
        if self._joined:
            return self._slots[0]
        return {name: _flat([slots[name] for slots in self._slots]) for name in self._slots[0]}

    def _slots_apart(self) -> list[Slots]:
        if not self._joined:
            return self._slots
        parts = {name: self._parts(flat) for name, flat in self._slots[0].items()}
        return [{name: own[i] for name, own in parts.items()} for i in range(len(self.parameters))]

    def _ruled(self, w: np.ndarray, g: np.ndarray, slots: Slots) -> tuple[np.ndarray, Slots]:
        """Apply the rule, in single precision to half precision, and check what it returns."""
        given = w, g
        if w.dtype == np.float16:
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
        return [k for k, v in vars(self).items() if k[0] != "_" and isinstance(v, kinds)]

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all that the next step depends on, beside parameters and gradients.

        Numbers and flags go by their names, arrays by "0.velocity": the parameter's place and the
        slot's name; "optimizer" is the name of the class.
        """
        state: dict[str, Any] = {name: getattr(self, name) for name in self._settings()}
        state["optimizer"] = type(self).__name__
        for i, slots in enumerate(self._slots_apart()):
            state |= {f"{i}.{name}": np.array(array) for name, array in slots.items()}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`; raise ValueError and change nothing if it misfits."""
        owner = type(self).__name__
        if not isinstance(state, Mapping):
            raise TypeError(f"{owner}: the state must be a dict, got {check.shown(state)}.")
        fault = f"{owner}: the state does not fit this optimizer: "
        if (other := str(state.get("optimizer", owner))) != owner:
            fault += f"it is one of {other}; "
        names = self._settings()
        if missing := [name for name in names if name not in state]:
            raise ValueError(f"{fault}{', '.join(missing)} missing.")
        slots: list[Slots] = [{} for _ in self.parameters]
        for key in state.keys() - {*names, "optimizer"}:
            place, _, name = str(key).partition(".")
            known = name if self.slot_names is None else name in self.slot_names
            if not (known and place.isdecimal() and int(place) < len(slots)):
                raise ValueError(f"{fault}unexpected entry {key!r}.")
            p, array = self.parameters[int(place)], np.array(state[key])
            if array.shape != p.shape or array.dtype.kind != "f" or not np.isfinite(array).all():
                raise ValueError(
                    f"{fault}{key} needs finite floats of shape {p.shape}, got shape "
                    f"{array.shape}, dtype {array.dtype}."
                )
            slots[int(place)][name] = array.astype(np.promote_types(p.dtype, np.float32))
        if self.slot_names and any(s and s.keys() != set(self.slot_names) for s in slots):
            raise ValueError(f"{fault}each parameter needs all of {self.slot_names}.")
        iterations = check.integer(owner, "iterations", state["iterations"], at_least=0)
        before = vars(self).copy()
        try:
            for name in names:
                value, filed = state[name], isinstance(state[name], np.ndarray)
                setattr(self, name, value.item() if filed and not value.ndim else value)
        except (TypeError, ValueError):
            vars(self).update(before)
            raise
        self.iterations, self._slots, self._joined = iterations, slots, False


def _flat(arrays: Sequence[Any]) -> np.ndarray:
    return np.concatenate(arrays, axis=None)


class SGD(Optimizer):
    """Stochastic gradient descent with momentum. For each parameter w with gradient g, as Keras::

        w = w - learning_rate * weight_decay * w               # decoupled decay
        w = w - learning_rate * g                              # momentum 0
        v = momentum * v - learning_rate * g;  w = w + v       # momentum
        w = w + momentum * v - learning_rate * g               # the same, with nesterov

    ``parameters``: Tensors that require a gradient. (PyTorch leaves the learning rate out of v,
    the same while it is constant, and adds weight_decay * w to g, the same without momentum.)
    Every setting can be set at any time; with momentum 0, v is forgotten.
    Raises ValueError or TypeError for values out of range, and for nesterov without momentum.

    >>> w = Tensor([1.0], requires_grad=True)
    >>> sgd = SGD([w], learning_rate=0.5)
    >>> (w * w).sum().backward(); sgd.step(); w
    Tensor([0.], requires_grad=True)
    """

    momentum: float = _Setting(at_least=0, below=1)  # type: ignore[assignment]
    nesterov: bool = _Setting()  # type: ignore[assignment]
    weight_decay: float = _Setting(at_least=0)  # type: ignore[assignment]
    lr = _Misnamed("learning_rate")
    slot_names = ("velocity",)
    elementwise = True

    @check.with_hints
    def __init__(
        self, parameters: Iterable[Tensor], learning_rate: float = 0.01, *, momentum: float = 0.0,
        nesterov: bool = False, weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(parameters, learning_rate)
        self.momentum, self.nesterov, self.weight_decay = momentum, nesterov, weight_decay
        if self.nesterov and not self.momentum:
            raise ValueError("SGD: nesterov=True needs a momentum above 0, such as 0.9.")

    def updated(self, w: np.ndarray, g: np.ndarray, slots: Slots) -> tuple[np.ndarray, Slots]:
        """Return the new value of a parameter and its velocity."""
        rate = self.learning_rate
        if self.weight_decay:
            w = w - rate * self.weight_decay * w
        if not self.momentum:
            return w - rate * g, {}
        v = -rate * g
        if slots:
            v += self.momentum * slots["velocity"]
        return (w + self.momentum * v - rate * g if self.nesterov else w + v), {"velocity": v}


class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba 2015), with Keras's defaults. At step t, from 1::

        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        w = w - learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)

    ``weight_decay`` is decoupled, as in :class:`SGD`.

    >>> w = Tensor([1.0], requires_grad=True)
    >>> adam = Adam([w], learning_rate=0.5)
    >>> (w * w).sum().backward(); adam.step(); round(w.item(), 4)
    0.5
    """

    beta_1: float = _Setting(at_least=0, below=1)  # type: ignore[assignment]
    beta_2: float = _Setting(at_least=0, below=1)  # type: ignore[assignment]
    epsilon: float = _Setting(above=0)  # type: ignore[assignment]
    weight_decay: float = _Setting(at_least=0)  # type: ignore[assignment]
    lr = _Misnamed("learning_rate")
    slot_names = ("m", "v")
    elementwise = True

    @check.with_hints
    def __init__(
        self, parameters: Iterable[Tensor], learning_rate: float = 0.001, *, beta_1: float = 0.9,
        beta_2: float = 0.999, epsilon: float = 1e-7, weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(parameters, learning_rate)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.weight_decay = weight_decay

    def updated(self, w: np.ndarray, g: np.ndarray, slots: Slots) -> tuple[np.ndarray, Slots]:
        """Return the new value of a parameter and its moments."""
        t, rate = self.iterations + 1, self.learning_rate
        if self.weight_decay:
            w = w - rate * self.weight_decay * w
        m, v = (1 - self.beta_1) * g, (1 - self.beta_2) * g * g
        if slots:
            m += self.beta_1 * slots["m"]
            v += self.beta_2 * slots["v"]
        rate *= math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        return w - rate * m / (np.sqrt(v) + self.epsilon), {"m": m, "v": v}


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients together so that their joint Euclidean norm is at most ``max_norm``.

    Returns the norm before. Raises FloatingPointError if it is not finite, and leaves the
    gradients as they are then.

    >>> w = Tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w).sum().backward(); clip_grad_norm([w], 1.0), w.grad
    (10.0, array([0.6, 0.8]))
    """
    tensors = _checked_parameters("clip_grad_norm", parameters, frozen=True)
    limit = check.real("clip_grad_norm", "max_norm", max_norm, above=0)
    norm = np.sqrt(sum((_energy(p.grad) for p in tensors if p.grad is not None), np.float64(0)))

    def refuse(norm: Any) -> None:
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"clip_grad_norm: the norm of the gradients is {norm}. Look for the first value "
                "that is not finite: a smaller learning rate, or input that holds nan?"
            )

    inspected(refuse, norm)
    for p in tensors:
        if p.grad is not None:
            p.grad = _limited(p.grad, norm, limit)
    return norm.item()


@primitive(None)
def _energy(g: Any) -> Any:
    return np.sum(np.square(g, dtype=np.float64))


@primitive(None, None)
def _limited(g: Any, norm: Any, limit: float) -> Any:
    """Scale ``g`` so that a joint norm of ``norm`` becomes at most ``limit``."""
    return g * (1.0 if norm <= limit else float(limit / norm))
