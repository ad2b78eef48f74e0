"""Optimizers: rules that move parameters against their gradients."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.listening import effect
from tinynn.autodiff.primitive import inspected, primitive
from tinynn.autodiff.memory import joined, parts_of
from tinynn.autodiff.tensor import Tensor
from tinynn.nn.words import explained


def _checked_parameters(
    owner: str, parameters: Iterable[Tensor], *, frozen: bool = False
) -> list[Tensor]:
    if isinstance(parameters, (Tensor, set, frozenset)) or not isinstance(parameters, Iterable):
        raise TypeError(  # a set has no order, and an optimizer's state goes by position
            f"{owner}: parameters must be a list of Tensors, such as model.parameters(), "
            f"got {check.shown(parameters)}."
        )
    tensors = list(parameters)
    if not tensors:
        raise ValueError(
            f"{owner}: parameters is empty; give model.parameters(). An ndarray attribute of a "
            "Layer is no parameter: make it a Tensor(..., requires_grad=True)."
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


class _Number:
    """An attribute that is checked whenever it is set."""

    def __init__(self, **bounds: float) -> None:
        self.bounds = bounds

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> float:
        return instance.__dict__[self.name]

    def __set__(self, instance: Any, value: float) -> None:
        owner = type(instance).__name__
        instance.__dict__[self.name] = check.real(owner, self.name, value, **self.bounds)


class Optimizer:
    """Base of the optimizers: a subclass writes ``_updated``, a pure function.

    A step computes all new values first and then takes them over; if it is interrupted between,
    it goes back, so that a model is never left between two steps.
    """

    learning_rate = _Number(at_least=0)
    _settings: tuple[str, ...] = ("learning_rate",)
    _slot_names: tuple[str, ...] = ()

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float) -> None:
        self.parameters = _checked_parameters(type(self).__name__, parameters)
        self.learning_rate = learning_rate
        self.iterations = 0
        self._slots: list[dict[str, np.ndarray]] = [{} for _ in self.parameters]
        self._replayed: Any = None  # fit()'s settings and recorded step, for its next call

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_replayed": None}  # a copy records anew

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for p in self.parameters:
            p.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient; raise RuntimeError if none has."""
        if all(p.grad is None for p in self.parameters):
            raise RuntimeError(
                f"{type(self).__name__}: no parameter has a gradient. "
                "Call loss.backward() before step(). If you did, does the optimizer hold the "
                "parameters of another model, or of an earlier version of this one?"
            )
        self._step()

    @effect("update")
    def _step(self) -> None:
        new = [
            None if p.grad is None else self._updated(p._data, p.grad, slots)
            for p, slots in zip(self.parameters, self._slots, strict=True)
        ]
        before = [(p._data, p._ownership) for p in self.parameters], self._slots, self.iterations
        try:
            self._slots = [n[1] if n else s for n, s in zip(new, self._slots, strict=True)]
            self.iterations += 1
            for p, n in zip(self.parameters, new, strict=True):
                if n:
                    p._replace(n[0])
        except BaseException:
            for p, held in zip(self.parameters, before[0], strict=True):
                p._data, p._ownership = held
            self._slots, self.iterations = before[1:]
            raise

    def _bound(
        self, weights: list[np.ndarray], gradients: list[np.ndarray], places: Sequence[int]
    ) -> Callable[[], None]:
        """Return a function that takes a step on fixed arrays, in place, for a compiled step.

        ``weights``: the data of the parameters at ``places``, ``gradients``: of the same shapes.
        """
        return _Bound(self, weights, gradients, places).step

    def _updated(
        self, w: np.ndarray, g: np.ndarray, slots: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the new value of a parameter and its new slots, in fresh arrays."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all that the next step depends on, beside parameters and gradients."""
        state: dict[str, Any] = {name: getattr(self, name) for name in self._settings}
        state["iterations"] = self.iterations
        for i, slots in enumerate(self._slots):
            state |= {f"{i}.{name}": array.copy() for name, array in slots.items()}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`; raise ValueError and change nothing if it misfits."""
        owner = type(self).__name__
        fault = f"{owner}: the state does not fit this optimizer: "
        if not isinstance(state, Mapping):
            raise TypeError(f"{owner}: the state must be a dict, got {check.shown(state)}.")
        missing = [name for name in (*self._settings, "iterations") if name not in state]
        if missing:
            raise ValueError(f"{fault}{', '.join(missing)} missing.")
        slots: list[dict[str, np.ndarray]] = [{} for _ in self.parameters]
        expected = {
            f"{i}.{name}": (i, name) for i in range(len(slots)) for name in self._slot_names
        }
        for key in state:
            if key in self._settings or key == "iterations":
                continue
            if key not in expected:
                raise ValueError(f"{fault}unexpected entry {key!r}.")
            i, name = expected[key]
            array, shape = np.asarray(state[key]), self.parameters[i].shape
            if array.shape != shape or array.dtype.kind != "f" or not np.isfinite(array).all():
                raise ValueError(
                    f"{fault}{key} needs finite floats of shape {shape}, got shape {array.shape}, "
                    f"dtype {array.dtype}."
                )
            slots[i][name] = array.astype(self.parameters[i].dtype)
        if any(s and s.keys() != set(self._slot_names) for s in slots):
            raise ValueError(f"{fault}each parameter needs all of {self._slot_names}.")
        iterations = check.integer(owner, "iterations", state["iterations"], at_least=0)
        before = {name: getattr(self, name) for name in self._settings}
        try:
            for name in self._settings:
                setattr(self, name, state[name])
        except (TypeError, ValueError):
            for name, value in before.items():
                setattr(self, name, value)
            raise
        self.iterations, self._slots = iterations, slots


class _Bound:
    """Steps of an optimizer in place, on fixed arrays: all at once where they lie side by side."""

    def __init__(
        self,
        optimizer: Optimizer,
        weights: list[np.ndarray],
        gradients: list[np.ndarray],
        places: Sequence[int],
    ) -> None:
        self.optimizer, self.places = optimizer, list(places)
        self.weights, self.gradients = weights, gradients
        self.flat: np.ndarray | None = joined(weights)
        self.g = joined(gradients)
        self.apart = self.g is None
        if self.flat is not None and self.g is None:
            self.g = np.empty_like(self.flat)
        self.slots: list[dict[str, np.ndarray]] = []  # of the flat array, or of each parameter
        self.installed: list[dict[str, np.ndarray]] | None = None  # what the optimizer got of them

    def step(self) -> None:
        """Take one step, whole also if it is interrupted."""
        optimizer = self.optimizer
        if optimizer._slots is not self.installed:
            self._take_over()
        weights, gradients = self.weights, self.gradients
        if self.flat is not None and self.g is not None:
            if self.apart:
                np.concatenate([g.reshape(-1) for g in gradients], out=self.g)
            weights, gradients = [self.flat], [self.g]
        new = [
            optimizer._updated(w, g, slots)
            for w, g, slots in zip(weights, gradients, self.slots, strict=True)
        ]
        count = optimizer.iterations + 1
        try:
            self._finish(weights, new, count)
        except BaseException:
            self._finish(weights, new, count)
            raise

    def _finish(self, weights: list[np.ndarray], new: list[Any], count: int) -> None:
        for w, (value, _) in zip(weights, new, strict=True):
            np.copyto(w, value)
        for slots, (_, values) in zip(self.slots, new, strict=True):
            for name, value in values.items():
                if name in slots:
                    np.copyto(slots[name], value)
                else:
                    slots[name] = value
        self.optimizer.iterations = count
        if self.optimizer._slots is not self.installed:
            self._install()

    def _take_over(self) -> None:
        """Copy the optimizer's slots, which a step or a load outside of this has set."""
        given = [self.optimizer._slots[i] for i in self.places]
        self.installed = None
        self.slots = [{name: a.copy() for name, a in slots.items()} for slots in given]
        if self.flat is not None:
            flat: dict[str, np.ndarray] = {}
            for name in self.optimizer._slot_names:
                if any(given):
                    flat[name] = np.zeros_like(self.flat)
                    parts = parts_of(flat[name], self.weights)
                    for part, slots in zip(parts, given, strict=True):
                        part[...] = slots.get(name, 0)
            self.slots = [flat]

    def _install(self) -> None:
        """Let the optimizer see the slots that steps are taken on."""
        own = self.slots
        if self.flat is not None:
            parts = {name: parts_of(array, self.weights) for name, array in self.slots[0].items()}
            count = len(self.places)
            own = [{name: views[i] for name, views in parts.items()} for i in range(count)]
        slots = list(self.optimizer._slots)
        for i, mine in zip(self.places, own, strict=True):
            slots[i] = mine
        self.optimizer._slots = self.installed = slots


class SGD(Optimizer):
    """Stochastic gradient descent with momentum. For each parameter w with gradient g, as Keras::

        w = w - learning_rate * weight_decay * w               # decoupled decay
        w = w - learning_rate * g                              # momentum 0
        v = momentum * v - learning_rate * g;  w = w + v       # momentum
        w = w + momentum * v - learning_rate * g               # the same, with nesterov

    ``parameters``: Tensors that require a gradient. (PyTorch leaves the learning rate out of v,
    the same while it is constant, and adds weight_decay * w to g, the same without momentum.)
    Raises ValueError or TypeError for values out of range, and for nesterov without momentum.

    >>> w = Tensor([1.0], requires_grad=True)
    >>> sgd = SGD([w], learning_rate=0.5)
    >>> (w * w).sum().backward(); sgd.step(); w
    Tensor([0.], requires_grad=True)
    """

    momentum = _Number(at_least=0, below=1)
    weight_decay = _Number(at_least=0)
    _settings = ("learning_rate", "momentum", "weight_decay")
    _slot_names = ("velocity",)

    @explained
    def __init__(
        self,
        parameters: Iterable[Tensor],
        learning_rate: float = 0.01,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, learning_rate)
        self.momentum = momentum
        self.nesterov = check.flag("SGD", "nesterov", nesterov)
        self.weight_decay = weight_decay
        if self.nesterov and not self.momentum:
            raise ValueError("SGD: nesterov=True needs a momentum above 0, such as 0.9.")

    def _updated(
        self, w: np.ndarray, g: np.ndarray, slots: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
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

    beta_1 = _Number(at_least=0, below=1)
    beta_2 = _Number(at_least=0, below=1)
    epsilon = _Number(above=0)
    weight_decay = _Number(at_least=0)
    _settings = ("learning_rate", "beta_1", "beta_2", "epsilon", "weight_decay")
    _slot_names = ("m", "v")

    @explained
    def __init__(
        self,
        parameters: Iterable[Tensor],
        learning_rate: float = 0.001,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, learning_rate)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.weight_decay = weight_decay

    def _updated(
        self, w: np.ndarray, g: np.ndarray, slots: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        t = self.iterations + 1
        rate = self.learning_rate
        if self.weight_decay:
            w = w - rate * self.weight_decay * w
        m = (1 - self.beta_1) * g + self.beta_1 * slots.get("m", 0)
        v = (1 - self.beta_2) * g * g + self.beta_2 * slots.get("v", 0)
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
    inspected(_check_norm, norm)
    for p in tensors:
        if p.grad is not None:
            p.grad = _limited(p.grad, norm, limit)
    return norm.item()


@primitive(None)
def _energy(g: Any) -> Any:
    """Sum of the squares, in float64."""
    return np.sum(np.square(g, dtype=np.float64))


def _check_norm(norm: Any) -> None:
    if not math.isfinite(norm):
        raise FloatingPointError(
            f"clip_grad_norm: the norm of the gradients is {norm}. Look for the first value that "
            "is not finite: a smaller learning rate, or input that holds nan?"
        )


@primitive(None, None)
def _limited(g: Any, norm: Any, limit: float) -> Any:
    """Scale ``g`` so that a joint norm of ``norm`` becomes at most ``limit``."""
    return g * (1.0 if norm <= limit else float(limit / norm))
