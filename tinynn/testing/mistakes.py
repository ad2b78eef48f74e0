"""Mistakes of gradients that are written by hand: each is an idea of what was computed instead.

An idea is right if it foretells the analytic gradient. What is tried: other numbers for the
result's gradient (shifted, reversed), other inputs (a kernel flipped, a mask from another array),
a term or a factor too many or too few, and results whose share is wrong.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from tinynn.testing.cases import (
    Case,
    Cause,
    alike,
    factor,
    factors_along,
    jacobian,
    largest,
    places_in,
)
from tinynn.testing.points import Point

__tracebackhide__ = True  # pytest shows the line of the test that failed, not ours

Variant = tuple[np.ndarray, str]  # an array, and what was done to it
MOST_RESULTS = 256  # whose shares are looked at one by one


def without_its_minus(case: Case) -> Cause | None:
    """Recognise softmax or sigmoid with cross-entropy that returns p, not p - t."""
    a, n, x = case.analytic, case.numeric, case.x
    rows = [axis for axis, n in enumerate(x.shape) if n > 1]
    if any(v.shape == x.shape for v in case.point.cotangents):  # no loss of whole rows
        rows = []
    trials: list[tuple[np.ndarray, tuple[int, ...], str]] = [
        (_softmax(x, axis), (axis,), f"softmax along axis {axis}") for axis in rows
    ]
    trials.append((1 / (1 + np.exp(-np.clip(x, -700, 700))), tuple(range(x.ndim)), "sigmoid"))
    for p, axes, name in trials:
        if _proportional(n, p, axes, case.likeness):
            continue
        name = f"{name} with cross-entropy"
        if _proportional(a, p, axes, case.likeness):
            advice = "Analytic is p, the probabilities, times a number: subtract the target t."
            return f"{name}, without its minus: p for p - t", advice
        if _proportional(a + n, p, axes, case.likeness):
            return f"{name}: p + t for p - t", "The target t is added. Subtract it."
        if _proportional(a - n, p, axes, case.likeness):
            return f"{name}: p is missing in p - t", "Add p, the probabilities."
    return None


def _softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def _proportional(a: np.ndarray, b: np.ndarray, axes: tuple[int, ...], likeness: float) -> bool:
    """Tell whether ``a`` is ``b`` times a number for all indices of ``axes``, not 0 everywhere."""
    count = np.isfinite(a + b).sum()
    if not largest(a) or count < 3 or a.size < 2 * factors_along(a, b, axes).size:
        return False
    return alike(factors_along(a, b, axes) * b, a, likeness)


def factor_too_many(case: Case) -> Cause | None:
    """Recognise a factor that differs from element to element: an array, or its reciprocal."""
    a, n = case.analytic, case.numeric
    everywhere = tuple(range(n.ndim))
    if n.size < 3:
        return None
    for b, name in _arrays_like(case):
        variants = ((b, name), (b * b, f"{name} squared"), (1 - b, f"1 - {name}"),
                    (1 + b, f"1 + {name}"), (1 - b * b, f"1 - {name} squared"))  # fmt: skip
        for variant, text in variants:
            if not largest(b - b.mean()):
                continue  # a constant factor is another mistake
            if _proportional(a, n * variant, everywhere, case.likeness):
                return f"{text} is a factor too many", "Analytic = numeric * it."
            if _proportional(n, a * variant, everywhere, case.likeness):
                return f"{text} is missing as a factor", "Numeric = analytic * it."
    for v, name in _cotangents_like(case):
        if _proportional(a, v, everywhere, case.likeness):
            return f"the derivative is left out, analytic is {name} itself", (
                f"By the chain rule {name} is multiplied by the derivative of the function."
            )
    for axis in range(n.ndim if case.wrong[np.isfinite(n)].all() else 0):
        rest = tuple(k for k in everywhere if k != axis)
        if rest and _proportional(a, n, rest, case.likeness):
            return f"a factor for each index of axis {axis}", (
                f"Along the other axes analytic / numeric is the same. Of index 0 it is "
                f"{factors_along(a, n, rest).ravel()[0]:.6g}."
            )
    return None


def missing_term(case: Case) -> Cause | None:
    """Recognise a sum that lacks a term, or has one too many."""
    gap, n = case.analytic - case.numeric, case.numeric
    axes = tuple(range(n.ndim))
    groups = [axes, *((axis,) for axis in axes if n.ndim > 1 and n.shape[axis] > 2)]
    arrays = [*_arrays_like(case), *_cotangents_like(case)]
    x = case.x
    arrays += [(x - x.mean(axis=axis, keepdims=True), f"{case.names[case.i]} minus its mean")
               for axis in axes]  # fmt: skip
    for group in groups:
        if n.size > 2 and _proportional(gap, np.ones(n.shape), group, case.likeness):
            along = "everywhere" if group == axes else f"along axis {group[0]}"
            return f"a term that is the same {along} is missing, or one too many", (
                "Analytic - numeric is the same there, as a mean or sum is that was left out."
            )
    for (b, name), group in itertools.product(arrays, groups):
        if _proportional(gap, b, group, case.likeness):
            number = "a number" if group == axes else f"a number for all of axis {group[0]}"
            c = f" {factor(gap, b):.6g}" if group == axes else ""
            return f"a term with {name} is missing, or one too many", (
                f"Analytic - numeric is {name} times {number}{c}."
            )
    for axis, length in enumerate(n.shape):
        if length > 3 and _affine(gap, x, axis, case.likeness):
            return f"terms of the mean and variance along axis {axis} are missing", (
                f"Along that axis analytic - numeric is a + b * {case.names[case.i]}: mean and "
                "variance move with the input, too."
            )
    return None


def _affine(gap: np.ndarray, x: np.ndarray, axis: int, likeness: float) -> bool:
    """Tell whether ``gap`` is a + b x along an axis, with numbers a and b for each index else."""
    if not np.isfinite(gap).all():
        return False
    x, rest = (v - v.mean(axis=axis, keepdims=True) for v in (x, gap))
    fitted = gap - rest + factors_along(rest, x, (axis,)) * x
    return largest(gap) > 0 and alike(fitted, gap, likeness)


def _arrays_like(case: Case) -> Iterator[Variant]:
    """Yield inputs and results that have the shape of this input, or can be given it."""
    shape = case.numeric.shape
    found = [*zip(case.point.inputs, case.names, strict=True)]
    results = case.results()
    found += [(y, _result(k, len(results))) for k, y in enumerate(results)]
    logs = ((k, y) for k, y in enumerate(results) if y.size and y.max() <= 0)  # log_softmax
    found += [(np.exp(y), f"exp({_result(k, len(results))})") for k, y in logs]
    for b, name in found:
        if b.size > 1 and b.ndim <= len(shape):
            try:
                yield np.broadcast_to(b, shape).astype(float), name
            except ValueError:
                continue


def _cotangents_like(case: Case) -> Iterator[Variant]:
    for v in case.point.cotangents:
        if v.shape == case.numeric.shape:
            yield v.astype(float), case.point.settings.g


def _result(k: int, count: int) -> str:
    return "the result" if count == 1 else f"result {k}"


def other_cotangent(case: Case) -> Cause | None:
    """Recognise a gradient that is right for g with something done to it."""
    point = case.point
    g = point.settings.g
    for k, v in enumerate(point.cotangents):
        which = g if len(point.cotangents) == 1 else f"{g} of result {k}"
        for changed, text in _changed_cotangents(case, k, v.astype(float)):
            parts = [w.astype(float).ravel() for w in point.cotangents]
            parts[k] = changed.ravel()
            if case.explained(_slope_for(case, np.concatenate(parts))):
                return f"{which} {text}", f"With {which} {text}, analytic would be right."
    return None


def not_transposed(case: Case) -> Cause | None:
    """Recognise the Jacobian where its transpose belongs."""
    v = case.point.cotangents[0].astype(float)
    alone = len(case.point.cotangents) == 1 and v.shape == case.x.shape
    if alone and alike(case.analytic, case.jacobian(v).reshape(v.shape), case.likeness):
        return "the Jacobian for its transpose", (
            "Analytic is how the result moves along g, with sums in the wrong direction."
        )
    return None


def _slope_for(case: Case, flat: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda d: float(np.sum(flat * case.jacobian(d)))


def _changed_cotangents(case: Case, k: int, v: np.ndarray) -> Iterator[Variant]:
    if len(case.point.cotangents) > 1:
        yield np.zeros(v.shape), "is left out"
        for other, w in enumerate(case.point.cotangents):
            if other != k and w.shape == v.shape:
                yield w, f"is taken from result {other}"
    yield from _rearranged(v)
    for axis, n in enumerate(v.shape):
        if n > 1:
            mean = np.broadcast_to(v.mean(axis=axis, keepdims=True), v.shape)
            yield mean, f"is averaged over axis {axis}"
            yield mean * n, f"is summed over axis {axis}"
            for end in (0, n - 1):
                yield np.where(_index(v, axis) == end, 0, v), f"misses index {end} of axis {axis}"
    for x, name in zip(case.point.inputs, case.names, strict=True):
        with suppress(ValueError):  # it has another shape
            wide = np.broadcast_to(x, v.shape)
            if x.size > 1:
                yield v * wide, f"is multiplied by {name}"
                yield v / np.where(wide == 0, 1, wide), f"is not multiplied by {name}"
    y = case.results()[k]
    yield v * y, f"is multiplied by {_result(k, len(case.point.cotangents))}"


def _index(v: np.ndarray, axis: int) -> np.ndarray:
    """Return the index along an axis, in an array that broadcasts against ``v``."""
    return np.arange(v.shape[axis]).reshape(-1, *(1,) * (v.ndim - axis - 1))


def _rearranged(v: np.ndarray) -> Iterator[Variant]:
    """Yield an array reversed, shifted and transposed, where that leaves its shape."""
    for axis, n in enumerate(v.shape):
        if n > 1:
            yield np.flip(v, axis), f"is reversed along axis {axis} (flipped)"
        for by in (1, -1) if n > 2 else ():
            rolled = np.roll(v, by, axis)
            edge = 0 if by == 1 else n - 1
            cut = np.where(_index(v, axis) == edge, 0, rolled)
            yield cut, f"is shifted by one along axis {axis} (padding off by one)"
            yield rolled, f"is shifted round by one along axis {axis} (off by one)"
    for pair in itertools.combinations(range(v.ndim), 2):
        yield np.flip(v, pair), f"is reversed along axes {pair[0]} and {pair[1]} (flipped)"
    for axes in itertools.islice(itertools.permutations(range(v.ndim)), 1, 24):
        if v.transpose(axes).shape == v.shape:
            yield v.transpose(axes), f"is transposed, axes in the order {axes}"
        else:
            yield v.transpose(axes).reshape(v.shape), f"is reshaped, axes in the order {axes}"


def other_point(case: Case) -> Cause | None:
    """Recognise the gradient of the function at other inputs: flipped, swapped, a wrong array."""
    for point, cause, _ in _other_points(case):

        def slope(d: np.ndarray, point: Point = point) -> float:
            return float(np.sum(point.flat * jacobian(point, case, d)))

        if case.explained(slope):
            return cause, f"Analytic is what it would be if {cause}."
    return None


def _other_points(case: Case) -> Iterator[tuple[Point, str, int]]:
    """Yield the point with another input, in words, and which input it is."""
    for j, (x, name) in enumerate(zip(case.point.inputs, case.names, strict=True)):
        for changed, text in _changed_inputs(case, j, x):
            if moved := _with_input(case.point, j, changed):
                yield moved, f"{name} {text}", j


def _changed_inputs(case: Case, j: int, x: np.ndarray) -> Iterator[Variant]:
    results = case.results()
    others = [(b, f"is replaced by {name} (a mask from the wrong array?)")
              for b, name in [
                  *((b, case.names[k]) for k, b in enumerate(case.point.inputs) if k != j),
                  *((y, _result(k, len(results))) for k, y in enumerate(results)),
                  *((v, case.point.settings.g) for v in case.point.cotangents)]]  # fmt: skip
    for b, text in others:
        if b.size > 1 and b.shape == x.shape:
            yield b, text
        elif x.ndim == 2 and b.shape == x.T.shape:
            yield b.T, f"{text}, transposed"
    if x.size > 1:
        yield from _rearranged(x)
    yield -x, "has the other sign"
    yield 0 * x, "is left out (as if it were 0)"
    yield np.ones(x.shape), "is left out (as if it were 1)"


def wrong_results(case: Case) -> Cause | None:
    """Look at the share of each result: recognise a wrong mask, or say whose share is wrong."""
    point, g = case.point, case.point.settings.g
    (d,) = case.directions(1)
    true = case.jacobian(d)
    if true.size > MOST_RESULTS or true.size < 2 or not largest(true):
        return None
    said = np.empty(true.shape)
    for o, unit in enumerate(np.eye(true.size)):
        share = point.pull(unit)[case.i]
        said[o] = 0 if share is None else float(np.sum(share * d, where=d != 0))
    tiny = 1e-9 * max(largest(true), largest(said))
    wrong = ~(np.abs(said - true) <= case.precision * np.abs(true) + tiny)
    if not wrong.any():
        return None
    where = "; ".join(
        f"{_result(k, len(point.cotangents))} {places_in(mask.astype(bool))}"
        for k, mask in enumerate(point.split(wrong))
        if mask.any()
    )
    shares = Shares(case, d, true, said, wrong, tiny)
    if counts := shares.masked():
        passed, blocked = counts
        missing = "" if blocked else " is missing or"
        return f"a mask{missing} from the wrong array", (
            f"{g} of {passed} results that do not move is let through, and of {blocked} that move "
            f"is blocked: {where}."
        )
    if (np.abs(said[wrong]) <= tiny).all() and not wrong.all():
        return f"{g} is lost for {where}", f"There {g} contributes nothing, but the result moves."
    if weights := shares.of_other_weights():
        return weights, f"Results contribute what they would if {weights}."
    if wrong.sum() > wrong.size // 2:
        return None
    return f"wrong only for {where}", f"The share that {g} of the other results has is right."


@dataclass
class Shares:
    """What each result contributes along a direction, and what backward says."""

    case: Case
    d: np.ndarray
    true: np.ndarray
    said: np.ndarray
    wrong: np.ndarray
    tiny: float

    def __post_init__(self) -> None:
        # A result that is masked still contributes what passes by the weights, as in x + relu(w x).
        self.past = {-1: np.zeros(self.true.shape)}
        for j, w in enumerate(self.case.point.inputs):
            if j != self.case.i and w.ndim > 1:
                zero = _with_input(self.case.point, j, 0 * w)
                self.past |= {j: jacobian(zero, self.case, self.d)} if zero else {}

    def masked(self) -> tuple[int, int] | None:
        """Return how many results pass a mask, and are blocked by it, that should not."""
        for past in self.past.values():
            blocked, passed = (self.wrong & self.same(x, past) for x in (self.said, self.true))
            if (blocked | passed)[self.wrong].all() and passed.any():
                return int(passed.sum()), int(blocked.sum())
        return None

    def of_other_weights(self) -> str | None:
        """Return which weights have been rearranged, if results contribute accordingly."""
        best, named = max(1.0, 0.3 * self.wrong.sum()), None
        for other, cause, j in _other_points(self.case):
            if j in self.past and "as if" not in cause:
                there = jacobian(other, self.case, self.d)
                same = self.wrong & self.same(self.said, there) & ~self.same(there, self.past[j])
                if same.sum() > best:  # masks of the others may differ
                    best, named = float(same.sum()), cause
        return named

    def same(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Tell which shares are the same."""
        return np.asarray(np.abs(a - b) <= self.case.precision * np.abs(b) + self.tiny)


def _with_input(point: Point, j: int, x: np.ndarray) -> Point | None:
    """Return the point with another input; None if f refuses it."""
    inputs = list(point.inputs)
    inputs[j] = x.astype(inputs[j].dtype)
    try:
        return replace(point, inputs=inputs, base=point.at(inputs))
    except Exception:
        return None
