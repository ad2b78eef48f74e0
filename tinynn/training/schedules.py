"""Schedules: learning rates, or momenta, as functions of the step.

A schedule is a function of the number of steps that were taken before: the first step asks for 0.
Any function ``(step) -> float`` will do. Those here can be compared, copied and pickled; their
``repr`` is the call that makes them. An optimizer asks at each step.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, dataclass_transform

from tinynn import _checks as check

__all__ = [
    "constant", "cosine_decay", "exponential_decay", "one_cycle", "piecewise", "step_decay",
    "warmup",
]  # fmt: skip

Schedule = Callable[[int], float]
T = TypeVar("T")


def shown(value: Any) -> str:
    """Write a schedule so that it is the same in another process: without addresses.

    >>> shown(warmup(10, then=constant(0.5)))
    'warmup(steps=10, then=constant(rate=0.5))'
    """
    if isinstance(value, partial):
        given = [*map(shown, value.args), *(f"{k}={shown(v)}" for k, v in value.keywords.items())]
        return f"{shown(value.func)}({', '.join(given)})"
    if callable(value) and type(value).__repr__ in (object.__repr__, type(shown).__repr__):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    return repr(value) if not hasattr(value, "__func__") else str(value.__func__.__qualname__)


class _Schedule:
    """Base of the schedules: their arguments are checked, and shown."""

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for name, value in vars(self).items():
            if name in ("steps", "every"):
                value = check.integer(owner, name, value, at_least=1)
            elif name == "then":
                function(owner, name, value)
            elif name == "rates":
                value = _checked_rates(owner, value)
            elif name == "factor":
                value = check.real(owner, name, value, above=0)
            else:
                value = check.real(owner, name, value, at_least=0)
            vars(self)[name] = value

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={shown(value)}" for name, value in vars(self).items())
        return f"{type(self).__name__}({given})"


def function(owner: str, name: str, value: Any) -> Schedule:
    """Return a schedule, which must be a function, and no class of schedules."""
    if isinstance(value, type):
        raise TypeError(f"{owner}: {name} is the class {value.__name__}; call it: give one of it.")
    if not callable(value):
        raise TypeError(
            f"{owner}: {name} must be a schedule, a function (step) -> float, got "
            f"{check.shown(value)}. A fixed rate is tinynn.schedules.constant(rate)."
        )
    return value


def _checked_rates(owner: str, rates: Any) -> dict[int, float]:
    if not isinstance(rates, Mapping) or 0 not in rates:
        raise ValueError(
            f"{owner}: rates must be a dict from steps to rates, with one for step 0, such as "
            f"{{0: 0.1, 1000: 0.01}}, got {check.shown(rates)}."
        )
    steps = sorted(check.integer(owner, "a step", step, at_least=0) for step in rates)
    return {n: check.real(owner, f"the rate of step {n}", rates[n], at_least=0) for n in steps}


@dataclass_transform(frozen_default=True)
def _schedule(cls: type[T]) -> type[T]:
    """Make a class of schedules of its fields; a decorator."""
    made = dataclass(frozen=True, repr=False)(cls)
    made.__init__ = check.with_hints(made.__init__)  # type: ignore[method-assign, assignment]
    return made


@_schedule
class constant(_Schedule):
    """The same ``rate`` at every step.

    Parameters
    ----------
    rate : float
        The rate.

    Examples
    --------
    >>> constant(0.1)(5)
    0.1
    """

    rate: float

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        return self.rate


@_schedule
class step_decay(_Schedule):
    """A rate that falls in stairs: rate * factor ** (step // every).

    Parameters
    ----------
    rate : float
        The rate of the first stair.
    factor : float
        What the rate is multiplied by at each stair.
    every : int
        Steps of a stair.

    Examples
    --------
    >>> [step_decay(1.0, 0.5, every=10)(step) for step in (0, 9, 10, 25)]
    [1.0, 1.0, 0.5, 0.25]
    """

    rate: float
    factor: float
    every: int

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        return self.rate * self.factor ** (step // self.every)


@_schedule
class exponential_decay(_Schedule):
    """A rate that falls smoothly, as Keras's ExponentialDecay: rate * factor ** (step / every).

    Parameters
    ----------
    rate : float
        The rate at step 0.
    factor : float
        What the rate is multiplied by in ``every`` steps.
    every : int
        Steps in which it falls by ``factor``.

    Examples
    --------
    >>> [exponential_decay(1.0, 0.25, every=10)(step) for step in (0, 5, 10)]
    [1.0, 0.5, 0.25]
    """

    rate: float
    factor: float
    every: int

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        return self.rate * self.factor ** (step / self.every)


@_schedule
class cosine_decay(_Schedule):
    """From ``rate`` to the rate ``final`` in ``steps`` steps, along half a cosine; then ``final``.

    At step t: final + (rate - final) * (1 + cos(pi * min(t, steps) / steps)) / 2.

    Parameters
    ----------
    rate : float
        The rate at step 0.
    steps : int
        Steps until the rate is ``final``.
    final : float, default 0.0
        The rate from then on. Keras's ``alpha`` is final / rate.

    References
    ----------
    I. Loshchilov and F. Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017.

    Examples
    --------
    >>> [round(cosine_decay(1.0, 10)(step), 6) for step in (0, 5, 10, 15)]
    [1.0, 0.5, 0.0, 0.0]
    """

    rate: float
    steps: int
    final: float = 0.0

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        part = step / self.steps if step < self.steps else 1.0
        return self.final + (self.rate - self.final) * (1 + math.cos(math.pi * part)) / 2


@_schedule
class one_cycle(_Schedule):
    """Up to ``peak`` and down again in ``steps`` steps, as PyTorch's OneCycleLR.

    It goes along half cosines. It begins at peak / 25 and reaches the peak at step 0.3 * steps - 1.
    At step steps - 1 it has come down to peak / 250,000, where it stays.

    Parameters
    ----------
    peak : float
        The highest rate.
    steps : int
        Steps of the whole cycle.

    References
    ----------
    L. N. Smith, A disciplined approach to neural network hyper-parameters: part 1, 2018.

    Examples
    --------
    >>> [round(one_cycle(1.0, 100)(step), 6) for step in (0, 29, 99, 150)]
    [0.04, 1.0, 4e-06, 4e-06]
    """

    peak: float
    steps: int

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        top, last = 0.3 * self.steps - 1, self.steps - 1
        if step <= top:
            return _cosine(self.peak / 25, self.peak, step / top if top else 1.0)
        return _cosine(self.peak, self.peak / 25e4, (min(step, last) - top) / (last - top))


@_schedule
class warmup(_Schedule):
    """A straight line from 0 in ``steps`` steps, and on with another schedule from its beginning.

    At step t < steps the rate is then(0) * t / steps, as in Keras. So the first step moves nothing.
    Afterwards it is then(t - steps).

    Parameters
    ----------
    steps : int
        Steps until the other schedule begins.
    then : schedule
        The other schedule: a function of the step.

    Examples
    --------
    >>> schedule = warmup(4, then=cosine_decay(0.8, 100))
    >>> [round(schedule(step), 6) for step in (0, 1, 2, 4, 54)]
    [0.0, 0.2, 0.4, 0.8, 0.4]
    """

    steps: int
    then: Schedule

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        if step < self.steps:
            return self.then(0) * step / self.steps
        return self.then(step - self.steps)


@_schedule
class piecewise(_Schedule):
    """The rate of the last step in ``rates`` that has come.

    Parameters
    ----------
    rates : dict of int to float
        Rates by the step from which each holds. There is one for step 0.

    Examples
    --------
    >>> [piecewise({0: 0.1, 100: 0.01})(step) for step in (0, 99, 100, 500)]
    [0.1, 0.1, 0.01, 0.01]
    """

    rates: dict[int, float]

    def __call__(self, step: int) -> float:
        """Return the rate at a step."""
        return self.rates[max(start for start in self.rates if start <= step)]

    def __hash__(self) -> int:
        return hash(tuple(self.rates.items()))


def _cosine(start: float, end: float, part: float) -> float:
    """Return the rate at a part of half a cosine from ``start`` to ``end``."""
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2
