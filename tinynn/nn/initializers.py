"""Initial values by name, as in Keras; fans are computed for kernels ``(..., inputs, outputs)``.

An initializer is a function ``(shape, rng) -> array``; a caller's own will do as well.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.tensor import Tensor

Initializer: TypeAlias = "Callable[[tuple[int, ...], np.random.Generator], Any]"

# Standard deviation of a standard normal variable cut off at two standard deviations.
_TRUNCATED_STD = 0.8796256610342398


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many inputs and outputs one unit of a kernel of ``shape`` is connected to.

    >>> fans((9, 4, 16))
    (36, 144)
    """
    if len(shape) < 2:
        return (shape or (1,))[0], (shape or (1,))[0]
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


def _uniform(shape: tuple[int, ...], rng: "np.random.Generator", limit: float) -> np.ndarray:
    return rng.uniform(-limit, limit, shape)


def _normal(shape: tuple[int, ...], rng: "np.random.Generator", std: float) -> np.ndarray:
    values = rng.standard_normal(shape)
    while (far := np.abs(values) > 2).any():
        values[far] = rng.standard_normal(np.count_nonzero(far))
    return values * (std / _TRUNCATED_STD)


def _scaled(draw: Callable[..., np.ndarray], gain: float, mode: str) -> "Initializer":
    """Return draws of variance gain / n, n being "in", "out" or their "mean"."""

    def initializer(shape: tuple[int, ...], rng: "np.random.Generator") -> np.ndarray:
        fan_in, fan_out = fans(shape)
        n = fan_in if mode == "in" else (fan_in + fan_out) / 2
        variance = gain / max(1, n)
        return draw(shape, rng, math.sqrt(variance * (3 if draw is _uniform else 1)))

    return initializer


TABLE: "dict[str, Initializer]" = {
    "zeros": lambda shape, rng: np.zeros(shape),
    "ones": lambda shape, rng: np.ones(shape),
    "glorot_uniform": _scaled(_uniform, 1.0, "mean"),  # Glorot and Bengio 2010
    "glorot_normal": _scaled(_normal, 1.0, "mean"),
    "he_uniform": _scaled(_uniform, 2.0, "in"),  # He et al. 2015
    "he_normal": _scaled(_normal, 2.0, "in"),
    "lecun_uniform": _scaled(_uniform, 1.0, "in"),  # LeCun et al. 1998
    "lecun_normal": _scaled(_normal, 1.0, "in"),
    "random_uniform": lambda shape, rng: rng.uniform(-0.05, 0.05, shape),
    "random_normal": lambda shape, rng: rng.normal(0.0, 0.05, shape),
}


_room: ContextVar[list[int] | None] = ContextVar("tinynn_room", default=None)  # bytes left


@contextmanager
def at_most(nbytes: int) -> Iterator[None]:
    """Refuse parameters that take more bytes than these together: a file may claim any size."""
    token = _room.set([nbytes])
    try:
        yield
    finally:
        _room.reset(token)


def demand_room(owner: str, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise ValueError if a parameter is larger than what :func:`at_most` leaves."""
    if (room := _room.get()) is not None:
        room[0] -= math.prod(shape) * dtype.itemsize
        if room[0] < 0:
            raise ValueError(
                f"{owner}: the {name} of shape {shape} is larger than the weights that there are."
            )


def parameter(
    owner: str, name: str, shape: tuple[int, ...], initializer: "str | Initializer",
    rng: "np.random.Generator", dtype: np.dtype[Any],
) -> Tensor:  # fmt: skip
    """Return a new parameter of ``shape``, drawn by an initializer or its name."""
    demand_room(owner, name, shape, dtype)
    name = f"{name}_initializer"
    if isinstance(initializer, str):
        initializer = TABLE[check.choice(owner, name, initializer, TABLE)]
    elif not callable(initializer) or isinstance(initializer, type):
        raise TypeError(
            f"{owner}: {name} must be a name or a function (shape, rng) -> array, got "
            f"{check.shown(initializer)}. For given values write lambda shape, rng: values."
        )
    values = np.asarray(initializer(shape, rng))
    if values.shape != shape or values.dtype.kind not in "fiu":
        raise ValueError(
            f"{owner}: {name} must return numbers of shape {shape}, got shape "
            f"{values.shape} and dtype {values.dtype}."
        )
    return Tensor(values, dtype=dtype, requires_grad=True)
