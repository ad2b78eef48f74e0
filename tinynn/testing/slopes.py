"""Numeric slopes that know their own error: differences extrapolated, the complex step."""

import itertools
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinynn.testing.points import Point, length

__tracebackhide__ = True  # pytest shows the line of the test that failed, not ours

# Steps are relative to an input's scale. 0.7: no multiple of a step is a period of anything.
PLAIN_STEP = 0.7 * 2.0**-10  # for elements that give no cause for doubt
STEPS = [0.7 * 2.0 ** -(5 + 2 * k) for k in range(11)]  # for the others: 2e-2 to 2e-8


class Slope(NamedTuple):
    """A numeric slope, how far off it may be, and the one-sided slopes; those may be infinite."""

    numeric: float
    noise: float
    left: float
    right: float
    kink: bool = False
    h: float = 0.0  # the step that showed it


@dataclass
class Line:
    """L along a line through the point: input i moves in ``direction``."""

    point: Point
    i: int
    direction: np.ndarray

    def __post_init__(self) -> None:
        self.moved = np.zeros(self.point.base.shape, bool)  # outputs that have, so far
        self.peak = np.abs(self.point.flat * self.point.base)  # size of each, so far
        x = self.point.inputs[self.i]
        self.grain = self.point.eps * length(x * self.direction)

    def products(self, h: complex) -> np.ndarray:
        """Return by how much each output moves L, for a step of h."""
        return self.point.flat * self.shifts(h)

    def shifts(self, h: complex) -> np.ndarray:
        """Return by how much each output moves, for a step of h; nan outside the domain of f."""
        inputs = list(self.point.inputs)
        moved = inputs[self.i] + h * self.direction
        inputs[self.i] = moved if np.iscomplexobj(moved) else moved.astype(inputs[self.i].dtype)
        try:
            return self.point.at(inputs) - self.point.base
        except Exception:  # f worked at the point itself: the step has left its domain
            return np.full(self.point.base.shape, np.nan)

    def change(self, h: float) -> float:
        """Return by how much L changes. Outputs that stay put contribute no rounding to it."""
        products = self.products(h)
        self.moved |= products != 0
        self.peak = np.fmax(self.peak, np.abs(products))
        return float(np.sum(products))

    def noise(self, slope: Slope) -> float:
        """How far off the slope may be for the rounding of inputs, and of outputs that moved."""
        outputs = np.fmax(self.point.noise, self.point.eps * self.peak)[self.moved]
        inputs = self.grain * (abs(slope.left) + abs(slope.right))
        return (length(outputs) + inputs) / slope.h

    def spread(self, slope: Slope) -> float:
        """How far beyond the one-sided slopes the analytic one may lie at a kink.

        Each output has a kink of its own. From order 2 on no slopes bound what a convention gives.
        """
        if self.point.level > 1:
            return math.inf
        bends = (self.products(slope.h) + self.products(-slope.h)) / slope.h
        return float(np.abs(bends).sum()) - abs(float(bends.sum()))

    def hidden(self, h: float, analytic: float) -> float:
        """How much of the analytic slope rests on outputs that move less than rounding shows."""
        share = self.point.pull(self.point.flat * self.moved)[self.i]
        if share is None or not np.isfinite(share).all():
            return 0.0
        rounding = length(self.point.noise[~self.moved]) / h
        return min(abs(analytic - float(np.sum(share * self.direction))), rounding)

    def complex_slope(self) -> float:
        """Return the slope of L by the complex step; nan if f does not take complex numbers."""
        h = 2.0**-60 / float(np.abs(self.direction).max())
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy only warns of an imaginary part that it drops
            products = self.products(1j * h)
        return float(np.sum(products.imag)) / h if np.iscomplexobj(products) else math.nan


def _ladder(line: Line, scale: float) -> Iterator[Slope]:
    """Yield slopes of L along the line, from steps that shrink.

    Central differences, extrapolated to step 0; the difference between neighbours in the tableau
    bounds the error (C. Ridders 1982, "Accurate computation of F'(x) and F'(x) F''(x)").
    """
    row: list[float] = []
    for h in (scale * step for step in STEPS):
        left, right = -line.change(-h) / h, line.change(h) / h
        if not math.isfinite(left + right):
            row = []
            continue
        coarser, row = row[:4], [(left + right) / 2]
        best = math.inf, row[0]
        for j, c in enumerate(coarser):
            row.append(row[j] + (row[j] - c) / (16 ** (j + 1) - 1))
            error = 2 * max(abs(row[j + 1] - row[j]), abs(row[j + 1] - c))
            best = min(best, (error, row[j + 1]))
        yield Slope(best[1], best[0], left, right, h=h)


def slope_along(
    line: Line, scales: Iterable[float], target: float, goal: float, trust: float
) -> Slope:
    """Return the most certain slope of L along the line, from steps relative to ``scales``.

    Stops at the first within ``goal`` of ``target`` whose noise is below ``trust``.
    """
    found: list[Slope] = []
    kink = steep = None
    scales = list(scales)
    for scale in scales:
        ladder: list[Slope] = []
        for slope in _ladder(line, scale):
            ladder.append(slope)
            if len(ladder) == 3 and target == 0 and not line.moved.any():
                return slope._replace(noise=0.0)
            noise = slope.noise + line.noise(slope)
            agrees = abs(slope.numeric - target) <= goal and noise <= trust
            if agrees and _drawn_together(ladder, goal):
                return slope._replace(noise=noise)
        steep = _unbounded(ladder, line) or steep
        noise, straddling = _unevenness(ladder)
        bent = [s for s in ladder[:straddling] if abs(s.right - s.left) > 100 * line.noise(s)]
        if bent:
            at = bent[-1]._replace(noise=line.noise(bent[-1]) + line.spread(bent[-1]), kink=True)
            kink = at if kink is None or at.noise < kink.noise else kink
            ladder = ladder[straddling:]
        found += [s._replace(noise=s.noise + line.noise(s) + noise / s.h) for s in ladder]
    seen = [s for s in found if s.left or s.right]  # other steps were too short for f to change
    best = _consistent(seen or found)
    if steep and not best.noise <= max(goal, 0.1 * abs(best.numeric)):
        return steep
    if kink and not best.noise <= 0.1 * abs(kink.right - kink.left):
        return kink._replace(numeric=(kink.left + kink.right) / 2)
    if not found:
        return _one_sided(line, scales) or best
    if best.noise > 0.1 * goal:
        best = _sharpened(best, line.complex_slope(), target, goal)
    if abs(best.numeric - target) > goal:
        best = best._replace(noise=best.noise + line.hidden(best.h, target))
    return best


def _one_sided(line: Line, scales: list[float]) -> Slope | None:
    """Return the slope to one side, where steps to the other leave the domain of f.

    It counts as less certain than it looks, since no other side tells it from that of a kink.
    """
    for sign in (1, -1):
        found: list[Slope] = []
        for scale in scales:
            row: list[float] = []
            ladder: list[Slope] = []
            for h in (scale * step for step in STEPS):
                side = sign * line.change(sign * h) / h
                if not math.isfinite(side):
                    row = []
                    continue
                coarser, row = row[:4], [side]
                for j, c in enumerate(coarser):
                    row.append(row[j] + (row[j] - c) / (4 ** (j + 1) - 1))
                error = 6 * abs(row[-1] - coarser[-1]) if coarser else math.inf
                ladder.append(Slope(row[-1], error, side, side, h=h))
            if steep := _unbounded(ladder, line):
                return _without_a_side(steep, sign)
            noises = (s.noise + line.noise(s) for s in ladder)
            found += [
                _without_a_side(s._replace(noise=noise), sign)
                for s, noise in zip(ladder, noises, strict=True)
            ]
        best = _consistent(found)
        if math.isfinite(best.noise):
            return best
    return None


def _without_a_side(slope: Slope, sign: int) -> Slope:
    return slope._replace(left=math.nan) if sign > 0 else slope._replace(right=math.nan)


def _drawn_together(ladder: list[Slope], goal: float) -> bool:
    """Tell whether left and right slope approach each other, as at a kink they do not."""
    bends = [abs(s.right - s.left) for s in ladder[-2:]]
    return bends[-1] <= goal or (len(bends) > 1 and bends[1] <= 0.5 * bends[0])


def _unbounded(ladder: list[Slope], line: Line) -> Slope | None:
    """Return the last slope, with infinite sides, if slopes grow without bound as steps shrink.

    Slopes that tend to a limit change by less from step to step.
    """
    if len(ladder) < 4:
        return None
    last = ladder[-1]
    sides = []
    for slopes in ([s.left for s in ladder[-4:]], [s.right for s in ladder[-4:]]):
        growth = [b - a for a, b in itertools.pairwise(slopes)]
        steady = all(0.9 * a * a < a * b for a, b in itertools.pairwise(growth))
        visible = abs(growth[-1]) > 100 * line.noise(last._replace(left=0.0, right=0.0))
        sides.append(math.copysign(math.inf, growth[-1]) if steady and visible else slopes[-1])
    left, right = sides
    return last._replace(left=left, right=right) if math.isinf(left) or math.isinf(right) else None


def _unevenness(ladder: list[Slope]) -> tuple[float, int]:
    """Return the noise of the function, and how many steps straddle a kink.

    The second difference of a smooth function shrinks 16-fold from step to step, that at a kink
    4-fold (so its one-sided slopes stay apart), and that of noise does not shrink.
    """
    seconds = [(s.right - s.left) * s.h for s in ladder]
    ratios = [a / b if b else 0.0 for a, b in itertools.pairwise(seconds)]
    fourfold = [2.8 < ratio < 5.6 for ratio in ratios]
    straddling = max([k + 4 for k in range(len(ratios) - 2) if all(fourfold[k : k + 3])], default=0)
    seen = [s for s in ladder if s.left or s.right]
    last = seconds[len(seen) - 4 : len(seen)] if len(seen) > 4 else seconds[: len(seen)]
    noise = max([abs(b - a / 16) for a, b in itertools.pairwise(last)], default=0.0)
    if seen and len(seen) < len(ladder):  # shorter steps changed nothing: it moves in jumps
        noise = max(noise, *(abs(side) * seen[-1].h for side in (seen[-1].left, seen[-1].right)))
    return noise, straddling


def _consistent(slopes: list[Slope]) -> Slope:
    """Return the slope of least noise that all shorter steps bear out.

    Steps longer than a period, say, may agree with each other on a slope of 0.
    """
    for s in sorted(slopes, key=lambda s: s.noise):
        if all(abs(s.numeric - t.numeric) <= s.noise + t.noise for t in slopes if t.h < s.h):
            return s
    return Slope(math.nan, math.inf, math.nan, math.nan)


def _sharpened(slope: Slope, exact: float, target: float, goal: float) -> Slope:
    """Take the complex step's value where it agrees with the differences.

    Agreement within a great noise is no proof: then it may confirm a gradient, but not refute one.
    """
    agree = abs(exact - slope.numeric) <= slope.noise
    if agree and (slope.noise <= 0.01 * abs(slope.numeric) or abs(exact - target) <= goal):
        return slope._replace(numeric=exact, noise=0.0)
    return slope


def scales_of(x: np.ndarray, eps: float | None) -> list[np.ndarray]:
    """Return scales of ``x`` to which steps are relative, in the order in which to try them."""
    if eps is not None:
        return [np.full(x.shape, eps / PLAIN_STEP)]
    size = np.abs(x).astype(float)
    typical = np.maximum(size, 2.0**-10 * (float(size.max(initial=0)) or 2.0**10))
    return [typical, np.where(size > 0, size, typical), np.ones(x.shape)]
