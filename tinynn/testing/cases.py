"""One input whose gradient has been compared, and what helps to explain a difference."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinynn.testing.points import Point, random_signs
from tinynn.testing.slopes import PLAIN_STEP, Line, scales_of
from tinynn.testing.tables import Table

__tracebackhide__ = True  # pytest shows the line of the test that failed, not ours

Cause = tuple[str, str]  # the cause in a few words, and advice


@dataclass
class Case:
    """One input whose slopes have been compared, with all that may explain a difference."""

    point: Point
    i: int
    names: list[str]
    tables: list[Table]  # of all inputs
    gradients: list[np.ndarray | None]  # analytic, of all inputs; None without one
    halved: np.ndarray | None  # that of this input for -1/2 of the cotangent

    def __post_init__(self) -> None:
        self.found = self.gradients[self.i]
        self.table = self.tables[self.i]
        self.verdicts = self.table.verdicts()
        self.wrong = self.verdicts == 2
        self.analytic = self.table.analytic
        # What proves nothing may not stand in the way of an explanation: it is nan here.
        known = (self.verdicts != 1) & np.isfinite(self.table.numeric)
        self.numeric = np.where(known, self.table.numeric, np.nan)
        gap, size = (largest(x) for x in (self.analytic - self.numeric, self.numeric))
        # How alike arrays must be for one to explain the other, when they themselves differ little.
        self.likeness = min(1e-3, 0.05 * gap / size) if size else 0.0

    @property
    def x(self) -> np.ndarray:
        """The input."""
        return self.point.inputs[self.i]

    @property
    def linear(self) -> bool:
        """Whether the analytic gradient is linear in the cotangent, as it must be."""
        if self.found is None or self.halved is None or not np.isfinite(self.found).all():
            return True
        return alike(-2.0 * self.halved, self.found, self.point.settings.rtol)

    def results(self) -> list[np.ndarray]:
        """Return the results of f, in their shapes."""
        return self.point.split(self.point.base)

    def directions(self, count: int) -> list[np.ndarray]:
        """Draw directions in which to compare, which leave out what proves nothing."""
        rng = np.random.default_rng(1)
        scale = scales_of(self.x, self.point.settings.eps)[0]
        known = np.isfinite(self.numeric) & np.isfinite(self.analytic)
        return [scale * known * random_signs(rng, self.x.shape) for _ in range(count)]

    def explained(self, slope: Callable[[np.ndarray], float]) -> bool:
        """Tell whether ``slope``, a function of a direction, is what the analytic gradient says."""
        if not self.table.whole:
            return False
        for d in self.directions(3):
            here, there = float(np.sum(self.analytic * d, where=d != 0)), slope(d)
            true = float(np.sum(self.numeric * d, where=d != 0))
            size = max(abs(here), abs(true))
            if not abs(here - there) <= min(0.02 * abs(here - true), self.precision * size):
                return False
        return True

    @property
    def h(self) -> float:
        """A step that is short enough to cross few kinks, where rounding permits."""
        return 2.0**-17 if self.point.eps < 1e-12 else PLAIN_STEP

    @property
    def precision(self) -> float:
        """How well slopes must agree to be called the same."""
        return max(1e-4, 3 * self.point.settings.rtol)

    def jacobian(self, d: np.ndarray) -> np.ndarray:
        """Return the slopes of all results along ``d``, flat."""
        return jacobian(self.point, self, d)


def jacobian(point: Point, case: Case, d: np.ndarray) -> np.ndarray:
    """Return the slopes of all results along ``d``, flat, at ``point``."""
    line = Line(point, case.i, d)
    return np.asarray((line.shifts(case.h) - line.shifts(-case.h)) / (2 * case.h))


def cases(
    point: Point, names: list[str], tables: list[Table], found: list[np.ndarray | None],
    halved: list[np.ndarray | None],
) -> list[Case]:  # fmt: skip
    """Return a case for each input."""
    return [Case(point, i, names, tables, found, half) for i, half in enumerate(halved)]


def largest(x: np.ndarray) -> float:
    """Return the largest size of a finite element."""
    return float(np.abs(x).max(initial=0, where=np.isfinite(x)))


def alike(a: np.ndarray, b: np.ndarray, likeness: float) -> bool:
    """Tell whether arrays agree wherever both are finite."""
    if a.shape != b.shape:
        return False
    gap = a - b
    return bool(np.isfinite(gap).any()) and largest(gap) <= likeness * largest(b)


def factor(a: np.ndarray, n: np.ndarray) -> float:
    """Return the factor that makes ``n`` as much like ``a`` as one can, 0 if none does."""
    known = np.isfinite(a) & np.isfinite(n)
    size = largest(n[known])
    if not size:
        return 0.0
    unit = n[known] / size  # its squares do not vanish
    return float(np.sum(a[known] / size * unit) / np.sum(unit * unit))


def factors_along(a: np.ndarray, n: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return the factors, one for all indices of ``axes``, that make ``n`` most like ``a``."""
    known = np.isfinite(a) & np.isfinite(n)
    a, n = np.where(known, a, 0), np.where(known, n, 0)
    size = largest(n) or 1.0
    n = n / size
    squares = np.sum(n * n, axis=axes, keepdims=True)
    with np.errstate(all="ignore"):
        return np.asarray(
            np.where(squares > 0, np.sum(a * n, axis=axes, keepdims=True) / squares / size, 0)
        )


def places(case: Case, mask: np.ndarray) -> str:
    """Say in words which elements are meant."""
    x = case.x
    if not case.table.whole:
        return "along a random direction"
    text = places_in(mask)
    for words, pattern in (("negative", x < 0), ("positive", x > 0), ("0", x == 0)):
        if mask.sum() > 1 and np.array_equal(mask, pattern):
            text += f", where the input is {words}"
    return text


def places_in(mask: np.ndarray) -> str:
    """Say in words where a mask is true."""
    found = np.argwhere(mask)
    for axis, length in enumerate(mask.shape):
        indices = np.unique(found[:, axis]).tolist()
        if len(found) > 1 and len(indices) <= min(2, length - 1):
            return f"at index {' and '.join(map(str, indices))} of axis {axis}"
        consecutive = 2 < len(indices) == indices[-1] - indices[0] + 1 < length
        if consecutive and len(found) * length == mask.size * len(indices):
            return f"at indices {indices[0]} to {indices[-1]} of axis {axis}"
    listed = [str(tuple(place)) for place in found[:3].tolist()]
    return "at " + ", ".join(listed) + (", ..." if len(found) > 3 else "")
