"""Why a gradient is wrong: the common causes, told apart."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tinynn.testing.points import Point, first_place, pull_back
from tinynn.testing.slopes import PLAIN_STEP, Line
from tinynn.testing.tables import Table, along_a_direction


@dataclass
class Case:
    """One input whose slopes have been compared, with all that may explain a difference."""

    point: Point
    i: int
    names: list[str]
    tables: list[Table]  # of all inputs
    found: np.ndarray | None  # the analytic gradient; None if the graph does not reach the input
    halved: np.ndarray | None  # that for -1/2 of the cotangent

    def __post_init__(self) -> None:
        self.table = self.tables[self.i]
        self.verdicts = self.table.verdicts()
        self.wrong = self.verdicts == 2
        self.analytic = self.table.analytic
        # What proves nothing may not stand in the way of an explanation: it is nan here.
        known = (self.verdicts != 1) & np.isfinite(self.table.numeric)
        self.numeric = np.where(known, self.table.numeric, np.nan)
        gap, size = (_largest(x) for x in (self.analytic - self.numeric, self.numeric))
        # How alike arrays must be for one to explain the other, when they themselves differ little.
        self.likeness = min(1e-3, 0.05 * gap / size) if size else 0.0

    @property
    def linear(self) -> bool:
        """Whether the analytic gradient is linear in the cotangent, as it must be."""
        if self.found is None or self.halved is None or not np.isfinite(self.found).all():
            return True
        return _alike(-2.0 * self.halved, self.found, self.point.settings.rtol)


def _largest(x: np.ndarray) -> float:
    """Return the largest size of a finite element."""
    return float(np.abs(x).max(initial=0, where=np.isfinite(x)))


def _alike(a: np.ndarray, b: np.ndarray, likeness: float) -> bool:
    """Tell whether arrays agree wherever both are finite."""
    if a.shape != b.shape:
        return False
    gap = a - b
    return bool(np.isfinite(gap).any()) and _largest(gap) <= likeness * _largest(b)


def why_inconclusive(case: Case) -> tuple[str, str]:
    """Return why a difference proves nothing, and what to do about it."""
    unclear = case.verdicts == 1
    if case.table.kink[unclear].any():
        return "a kink", (
            "The slopes to the left and right differ, and analytic may be one between them or 0. "
            "Move the point away from the kink to check the slopes beside it."
        )
    if case.table.unbounded()[unclear].any():
        what = "f" if case.point.level == 1 else "its gradient"
        return "a jump" if case.point.level == 1 else "a kink (the gradient jumps)", (
            f"The shorter the steps, the greater the slopes: {what} jumps here or is vertical, and "
            "no slope is right. Move the point away to check beside it."
        )
    if np.isnan(case.table.numeric[unclear]).any():
        return "f is undefined beside this point", (
            "A step gives nan or an error, on one side at least. Move the input into f's domain."
        )
    return "the difference is inside the noise", (
        "Rounding moves f by about as much as the input does, so no step shows the slope better. "
        "Drop large constants from f, or choose inputs where it is steeper."
    )


def why_wrong(case: Case) -> tuple[str, str]:
    """Return the most likely cause of a wrong gradient, and what to do about it."""
    for rule in (_wrong_altogether, _lookalike, _one_slice, _right_for_ones, _wrong_in_places):
        if cause := rule(case):
            return cause
    if case.point.level > 1:
        return "a wrong gradient of the gradient", (
            "Does a vjp take for a constant what depends on its arguments (.data, numpy.asarray)? "
            "Write it with tinynn's operations."
        )
    if not case.table.whole:
        return "a wrong gradient", 'mode="full" names the elements and looks for the cause.'
    return "a wrong gradient", "It fits no common mistake. Compare the vjp with the formula."


def _wrong_altogether(case: Case) -> tuple[str, str] | None:
    """Recognise a gradient that has lost touch with the function."""
    if case.found is None:
        return "the graph is cut", (
            "The result moves with this input, but the graph does not lead back to it. Look for "
            ".data, .detach(), numpy.asarray, float() or no_grad in f or a vjp, or a vjp of None."
        )
    if not case.linear and case.halved is not None:
        if _alike(case.halved, case.found, 1e-3):
            return "the vjp ignores g", "Scaling g, the gradient of the result, changes nothing."
        return "the vjp is not linear in g", (
            "-1/2 of g, the gradient of the result, does not give -1/2 of this gradient. Multiply "
            "by g itself: no abs(g), no g * g, nothing kept between calls, nothing overwritten."
        )
    broken = case.wrong & ~np.isfinite(case.analytic)
    if broken.any():
        return f"the analytic gradient is {case.analytic[first_place(broken)]}", (
            f"{_places(case, broken)}, where slopes of f are finite. Does the vjp divide by 0?"
        )
    if not case.analytic.any():
        return "a zero gradient", "Analytic is 0 everywhere, but the result moves with this input."
    if not _largest(case.numeric):
        return "f does not move with this input", (
            "Numeric is 0 everywhere. If f rounds, compares or counts, that is its gradient."
        )
    return None


def _lookalike(case: Case) -> tuple[str, str] | None:
    """Recognise the right numbers with a factor, or in the wrong places."""
    a, n = case.analytic, case.numeric
    c = _factor(a, n)
    if abs(c + 1) < 1e-4 and _alike(a, -n, case.likeness):
        advice = "Analytic = -1 * numeric everywhere: one minus too many or too few."
        return "a flipped sign", advice
    # One slope is a multiple of the other anyway.
    simple = c != 0 and min(abs(k - round(k)) for k in (c, 1 / c)) < 1e-6
    if c and _alike(a, c * n, case.likeness) and (np.isfinite(n).sum() > 1 or simple):
        text = f"Analytic = {c:.6g} * numeric everywhere."
        for k in _summed_lengths(case):
            if abs(c * k - 1) < 1e-4:
                text += f" 1 / {c:.6g} = {k} is how many terms its sum has: a mean for a sum?"
        return f"a constant factor {c:.6g}", text
    for candidate, cause in _arrangements(case) if case.table.whole else ():
        if _alike(a, candidate, case.likeness):
            return cause, "Analytic holds the numeric values, in other places."
    if n.size > 2 and _alike(np.sort(a, axis=None), np.sort(n, axis=None), case.likeness):
        return "the gradient goes to other elements", (
            "Analytic holds the numeric values, in other places. Does the vjp find other indices "
            "than the forward: the smallest for the largest, another order or axis?"
        )
    return None


def _factor(a: np.ndarray, n: np.ndarray) -> float:
    """Return the factor that makes ``n`` as much like ``a`` as one can, 0 if none does."""
    known = np.isfinite(a) & np.isfinite(n)
    size = _largest(n[known])
    if not size:
        return 0.0
    unit = n[known] / size  # its squares do not vanish
    return float(np.sum(a[known] / size * unit) / np.sum(unit * unit))


def _summed_lengths(case: Case) -> list[int]:
    """Return the lengths of those axes of a result that the input lacks, and their product.

    Over such axes a gradient is a sum. 1 and 2 are left out: too many factors are 1/2 by chance.
    """
    found = set()
    for y in case.point.graph[1]:
        extra = list((Counter(y.shape) - Counter(case.numeric.shape)).elements())
        found |= {*extra, math.prod(extra)}
    return sorted(k for k in found if k > 2)


def _arrangements(case: Case) -> Iterator[tuple[np.ndarray, str]]:
    """Yield the numeric gradient in wrong orders that are easy to get, each with its name."""
    n = case.numeric
    for axes in itertools.islice(itertools.permutations(range(n.ndim)), 1, 120):
        turned = n.transpose(axes)
        yield turned.reshape(n.shape), f"a transposed gradient, axes in the order {axes}"
    for count in range(1, n.ndim + 1):
        for axes in itertools.combinations(range(n.ndim), count):
            named = f"ax{'is' if count == 1 else 'es'} {', '.join(map(str, axes))}"
            yield np.flip(n, axes), f"a gradient reversed along {named} (time-flipped)"
    for axis, length in enumerate(n.shape):
        for by in (1, -1) if length > 2 else ():
            shifted = np.roll(n, by, axis)
            edge = (*(slice(None),) * axis, 0 if by == 1 else -1)
            shifted[edge] = case.analytic[edge]
            yield shifted, f"a gradient shifted by one along axis {axis} (off by one)"
    for name, table in zip(case.names, case.tables, strict=True):
        if table.whole and table is not case.table:
            yield table.numeric, f"swapped inputs: this is the gradient of {name}"


def _one_slice(case: Case) -> tuple[str, str] | None:
    """Recognise what one slice of the result contributes to the gradient."""
    if not case.table.whole or len(case.point.graph[1]) != 1:
        return None
    shape = case.point.graph[1][0].shape
    places = [tuple(place) for place in np.argwhere(case.wrong)[:8].tolist()]
    shares = []
    for place in places:
        unit = np.zeros(case.numeric.shape)
        unit[place] = 1
        line = Line(case.point, case.i, unit)
        h = PLAIN_STEP * (abs(float(case.point.inputs[case.i][place])) or 1.0)
        share = (line.products(h) - line.products(-h)) / (2 * h)
        shares.append(np.broadcast_to(share, math.prod(shape)).reshape(shape))
    target = np.array([case.analytic[place] for place in places])
    for count in range(1, len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            rest = tuple(k + 1 for k in range(len(shape)) if k not in axes)
            slices = np.sum(shares, axis=rest).reshape(len(places), -1).T
            hits = np.all(np.abs(slices - target) <= case.likeness * np.abs(target), axis=1)
            if hits.any() and target.all():
                at = np.unravel_index(int(np.argmax(hits)), [shape[axis] for axis in axes])
                where = ", ".join(f"{k} of axis {axis}" for k, axis in zip(at, axes, strict=True))
                return "a missing sum over a broadcast axis", (
                    f"Analytic is what index {where} of the result contributes, alone. Sum g over "
                    "the axes along which this input is broadcast (@elementwise does it)."
                )
    return None


def _right_for_ones(case: Case) -> tuple[str, str] | None:
    point = case.point
    ones = [np.ones(y.shape, y.dtype) for y in point.graph[1]]
    found = pull_back(point.graph, ones)[case.i]
    if point.flat.size < 2:
        return None
    table, *_ = along_a_direction(replace(point, cotangents=ones), case.i, found.astype(float))
    if table.verdicts() != 0:
        return None
    return "right only for a cotangent of ones", (
        "With g, the gradient of the result, all ones the gradient is right: the vjp takes the sum "
        "or mean of g, or mixes up its elements."
    )


def _wrong_in_places(case: Case) -> tuple[str, str] | None:
    if not case.table.whole or case.wrong[case.verdicts != 1].all():
        return None
    a, n = case.analytic[case.wrong], case.numeric[case.wrong]
    text = "The other elements are right"
    text += " or inconclusive." if (case.verdicts == 1).any() else "."
    c = _factor(a, n)
    if a.size > 1 and c and _alike(a, c * n, 1e-3):
        text += f" There analytic = {c:.6g} * numeric."
    if case.table.kink[case.wrong].all():
        text += " They are kinks, and analytic is not between the slopes."
    return f"wrong only {_places(case, case.wrong)}", text


def _places(case: Case, mask: np.ndarray) -> str:
    """Say in words which elements are meant."""
    x = case.point.inputs[case.i]
    if not case.table.whole:
        return "along a random direction"
    listed = [str(tuple(place)) for place in np.argwhere(mask).tolist()]
    text = "at " + ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
    for axis, length in enumerate(x.shape):
        places = sorted(set(np.argwhere(mask)[:, axis].tolist()))
        if len(listed) > 1 and len(places) <= min(2, length - 1):
            text = f"at index {' and '.join(map(str, places))} of axis {axis}"
            break
    for words, pattern in (("negative", x < 0), ("positive", x > 0), ("0", x == 0)):
        if len(listed) > 1 and np.array_equal(mask, pattern):
            text += f", where the input is {words}"
    return text
