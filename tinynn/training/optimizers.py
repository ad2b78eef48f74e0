"""Optimizers: rules that move parameters against their gradients."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tinynn import _validate as check
from tinynn.autodiff.tensor import Tensor


def _checked_parameters(owner: str, parameters: Iterable[Tensor]) -> list[Tensor]:
    if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):
        raise TypeError(
            f"{owner}: parameters must be a list of Tensors, such as model.parameters(), "
            f"got {check.shown(parameters)}."
        )
    tensors = list(parameters)
    if not tensors:
        raise ValueError(f"{owner}: parameters is empty; give model.parameters().")
    for i, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{owner}: parameters[{i}] must be a Tensor, got {check.shown(tensor)}. "
                "Give model.parameters()."
            )
        if not tensor.requires_grad or tensor._trace is not None:
            raise ValueError(
                f"{owner}: parameters[{i}], of shape {tensor.shape}, must be a leaf that requires "
                "a gradient. Create it with Tensor(..., requires_grad=True)."
            )
    if len({id(tensor) for tensor in tensors}) != len(tensors):
        raise ValueError(f"{owner}: a parameter is listed twice; it would be updated twice.")
    return tensors


class Optimizer:
    """Base of the optimizers: a subclass writes ``_updated``, a pure function.

    A step computes all new values first and then takes them over; if it is interrupted between,
    it goes back, so that a model is never left between two steps.
    """

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float) -> None:
        self.parameters = _checked_parameters(type(self).__name__, parameters)
        self.learning_rate = learning_rate
        self.iterations = 0
        self._slots: list[dict[str, np.ndarray]] = [{} for _ in self.parameters]

    @property
    def learning_rate(self) -> float:
        """Size of a step; may be set at any time."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        owner = type(self).__name__
        self._learning_rate = check.real(owner, "learning_rate", value, at_least=0)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for p in self.parameters:
            p.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient; raise RuntimeError if none has."""
        if all(p.grad is None for p in self.parameters):
            raise RuntimeError(
                f"{type(self).__name__}: no parameter has a gradient. "
                "Call loss.backward() before step()."
            )
        new = [
            None if p.grad is None else self._updated(p._data, p.grad, slots)
            for p, slots in zip(self.parameters, self._slots, strict=True)
        ]
        before = [(p._data, p._hold) for p in self.parameters], self._slots, self.iterations
        try:
            self._slots = [n[1] if n else s for n, s in zip(new, self._slots, strict=True)]
            self.iterations += 1
            for p, n in zip(self.parameters, new, strict=True):
                if n:
                    p._replace(n[0])
        except BaseException:
            for p, held in zip(self.parameters, before[0], strict=True):
                p._data, p._hold = held
            self._slots, self.iterations = before[1:]
            raise

    def _updated(
        self, w: np.ndarray, g: np.ndarray, slots: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the new value of a parameter and its new slots, in fresh arrays."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all that the next step depends on, beside parameters and gradients."""
        state: dict[str, Any] = {
            "learning_rate": self.learning_rate,
            "iterations": self.iterations,
        }
        for i, slots in enumerate(self._slots):
            state |= {f"{i}.{name}": array.copy() for name, array in slots.items()}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`; raise ValueError and change nothing if it misfits."""
        owner = type(self).__name__
        fault = f"{owner}: the state does not fit this optimizer: "
        if not {"learning_rate", "iterations"} <= state.keys():
            raise ValueError(fault + "learning_rate or iterations is missing.")
        rate = check.real(owner, "learning_rate", state["learning_rate"], at_least=0)
        iterations = check.integer(owner, "iterations", state["iterations"], at_least=0)
        slots: list[dict[str, np.ndarray]] = [{} for _ in self.parameters]
        for key in state.keys() - {"learning_rate", "iterations"}:
            place, _, name = key.partition(".")
            if not place.isdigit() or int(place) >= len(slots) or name not in self._slot_names:
                raise ValueError(fault + f"unexpected entry {key!r}.")
            p, array = self.parameters[int(place)], np.asarray(state[key])
            if array.shape != p.shape or array.dtype.kind != "f":
                raise ValueError(fault + f"{key} needs shape {p.shape}, got {array.shape}.")
            slots[int(place)][name] = array.astype(p.dtype)
        if any(s and s.keys() != set(self._slot_names) for s in slots):
            raise ValueError(fault + f"each parameter needs all of {self._slot_names}.")
        self.learning_rate, self.iterations, self._slots = rate, iterations, slots

    _slot_names: tuple[str, ...] = ()


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
        self.momentum = check.real("SGD", "momentum", momentum, at_least=0, below=1)
        self.nesterov = check.flag("SGD", "nesterov", nesterov)
        self.weight_decay = check.real("SGD", "weight_decay", weight_decay, at_least=0)
        if self.nesterov and not self.momentum:
            raise ValueError("SGD: nesterov=True needs a momentum above 0, such as 0.9.")
        self._slot_names = ("velocity",) if self.momentum else ()

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

    _slot_names = ("m", "v")

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
        self.beta_1 = check.real("Adam", "beta_1", beta_1, at_least=0, below=1)
        self.beta_2 = check.real("Adam", "beta_2", beta_2, at_least=0, below=1)
        self.epsilon = check.real("Adam", "epsilon", epsilon, above=0)
        self.weight_decay = check.real("Adam", "weight_decay", weight_decay, at_least=0)

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
    tensors = _checked_parameters("clip_grad_norm", parameters)
    limit = check.real("clip_grad_norm", "max_norm", max_norm, above=0)
    gradients = [p.grad for p in tensors if p.grad is not None]
    norm = math.sqrt(sum(float(np.sum(np.square(g, dtype=np.float64))) for g in gradients))
    if not math.isfinite(norm):
        raise FloatingPointError(
            f"clip_grad_norm: the norm of the gradients is {norm}. Look for the first value that "
            "is not finite: a smaller learning rate, or input that holds nan?"
        )
    if norm > limit:
        for p in tensors:
            if p.grad is not None:
                p.grad = p.grad * (limit / norm)
    return norm
