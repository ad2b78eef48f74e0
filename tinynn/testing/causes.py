"""Why a gradient is wrong: the common causes, told apart."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from tinynn.testing.cases import Case, Cause, alike, factor, largest, places
from tinynn.testing.mistakes import (
    factor_too_many,
    missing_term,
    not_transposed,
    other_cotangent,
    other_point,
    without_its_minus,
    wrong_results,
)
from tinynn.testing.points import first_place
from tinynn.testing.slopes import PLAIN_STEP, Line
from tinynn.testing.tables import along_a_direction

__tracebackhide__ = True  # pytest shows the line of the test that failed, not ours

UNKNOWN = "a wrong gradient"
UNNAMED = (UNKNOWN, f"{UNKNOWN} of the gradient")  # causes that name none


def why_inconclusive(case: Case) -> Cause:
    """Return why a difference proves nothing, and what to do about it."""
    unclear = case.verdicts == 1
    if case.table.kink[unclear].any():
        return "a kink", (
            "The slopes to the left and right differ, and analytic may be one between them or 0. "
            "Move the point away from the kink to check the slopes beside it."
        )
    if case.table.unbounded()[unclear].any():
        what = "f" if case.point.level == 1 else "its gradient"
        if (np.isnan(case.table.left) | np.isnan(case.table.right))[
            unclear & case.table.unbounded()
        ].all():
            return f"the edge of the domain of {what}: a step leaves it", (
                f"To one side {what} is undefined, to the other its slopes grow without bound. "
                "Move the input into the domain."
            )
        return "a jump" if case.point.level == 1 else "a kink (the gradient jumps)", (
            f"The shorter the steps, the greater the slopes: {what} jumps here or is vertical, and "
            "no slope is right. Move the point away to check beside it."
        )
    if np.isnan(case.table.numeric[unclear]).any():
        return "f is undefined beside this point: a step leaves its domain", (
            "A step gives nan or an error, on one side at least. Move the input into f's domain."
        )
    return "the difference is inside the noise", (
        "Rounding moves f by about as much as the input does, so no step shows the slope better. "
        "Drop large constants from f, or choose inputs where it is steeper."
    )


def why_wrong(case: Case) -> Cause:
    """Return the most likely cause of a wrong gradient, and what to do about it."""
    for rule in (_wrong_altogether, _lookalike, _one_slice, without_its_minus):
        if cause := _tried(rule, case):
            return cause
    base, advice = _right_for_ones(case) or _wrong_in_places(case) or _unknown(case)
    for rule in (
        factor_too_many,
        not_transposed,
        other_cotangent,
        other_point,
        missing_term,
        wrong_results,
    ):
        if cause := _tried(rule, case):
            return f"{base}: {cause[0]}", f"{cause[1]} {advice}".strip()
    if base == UNKNOWN and case.table.whole and alike(case.analytic, case.numeric, 5e-3):
        off = largest(case.analytic - case.numeric) / largest(case.numeric)
        return f"{base}: right to within {off:.1g}, and no better", (
            "Is a part of it computed in float16 or float32, or by an approximation?"
        )
    return base, advice or "It fits no common mistake. Compare it with the formula."


def _tried(rule: Callable[[Case], Cause | None], case: Case) -> Cause | None:
    """Return what a rule says. One that calls f where f cannot be called explains nothing."""
    try:
        return rule(case)
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError):
        return None


def _unknown(case: Case) -> Cause:
    if case.point.level > 1:
        return f"{UNKNOWN} of the gradient", (
            "Does a vjp take for a constant what depends on its arguments (.data, numpy.asarray)? "
            "Write it with tinynn's operations."
        )
    return UNKNOWN, "" if case.table.whole else 'mode="full" names the elements, and the cause.'


def _wrong_altogether(case: Case) -> Cause | None:
    """Recognise a gradient that has lost touch with the function."""
    rule, g = case.point.settings.rule, case.point.settings.g
    if case.found is None:
        advice = (
            "The result moves with this input, but the graph does not lead back to it. Look for "
            ".data, .detach(), numpy.asarray, float() or no_grad in f or a vjp, or a vjp of None."
        )
        by_hand = " If f is NumPy with a backward of its own, use check_backward."
        return "the graph is cut", advice + (by_hand if case.point.level == 1 else "")
    if not case.linear and case.halved is not None:
        return _not_linear(case, rule, g)
    broken = case.wrong & ~np.isfinite(case.analytic)
    if broken.any():
        return f"the analytic gradient is {case.analytic[first_place(broken)]}", (
            f"{places(case, broken)}, where slopes of f are finite. Does {rule} divide by 0?"
        )
    if not case.analytic.any():
        return "a zero gradient", "Analytic is 0 everywhere, but the result moves with this input."
    if not largest(case.numeric):
        return "f does not move with this input", (
            "Numeric is 0 everywhere. If f rounds, compares or counts, that is its gradient."
        )
    return None


def _not_linear(case: Case, rule: str, g: str) -> Cause:
    """Say in which way the analytic gradient is not linear in the cotangent."""
    found, halved = np.asarray(case.found), np.asarray(case.halved)
    if alike(halved, found, 1e-3):
        one = [np.ones(v.shape, v.dtype) for v in case.point.cotangents]
        only = case.point.flat.size == 1 and case.point.here.pull(one)[case.i] is not None
        advice = f"Scaling {g}, the gradient of the result, changes nothing. Multiply by it."
        return f"{rule} ignores {g}", advice + (" A loss has one, too." if only else "")
    text = (
        f"-1/2 of {g}, the gradient of the result, does not give -1/2 of this gradient. "
        f"Multiply by {g} itself: no abs({g}), no {g} * {g}, nothing kept between calls, nothing "
        "overwritten."
    )
    cause = f"{rule} is not linear in {g}"
    opposite = np.asarray(case.point.here.pull([-v for v in case.point.cotangents])[case.i])
    scaled = alike(-2 * halved, -opposite, 1e-9) and largest(found - opposite)
    if scaled and not alike(opposite, found, 1e-3):  # f(2 g) = 2 f(g), but f(-g) is not -f(g)
        return f"{cause}: its sign decides (a mask from {g}?)", (
            f"A mask such as {g} > 0 must be taken from what the forward compared with 0. {text}"
        )
    return cause, text


def _lookalike(case: Case) -> Cause | None:
    """Recognise the right numbers with a factor, or in the wrong places."""
    a, n = case.analytic, case.numeric
    c = factor(a, n)
    if abs(c + 1) < 1e-4 and alike(a, -n, case.likeness):
        advice = "Analytic = -1 * numeric everywhere: one minus too many or too few."
        return "a flipped sign", advice
    # One slope is a multiple of the other anyway.
    simple = c != 0 and min(abs(k - round(k)) for k in (c, 1 / c)) < 1e-6
    if c and alike(a, c * n, case.likeness) and (np.isfinite(n).sum() > 1 or simple):
        return _constant_factor(case, c)
    for candidate, cause in _arrangements(case) if case.table.whole else ():
        if alike(a, candidate, case.likeness):
            return cause, "Analytic holds the numeric values, in other places."
    if n.size > 2 and alike(np.sort(a, axis=None), np.sort(n, axis=None), case.likeness):
        return "the gradient goes to other elements", (
            f"Wrong {places(case, case.wrong)}. Analytic holds the numeric values, elsewhere. "
            f"Does {case.point.settings.rule} find other indices than the forward: the smallest "
            "for the largest, another order or axis?"
        )
    return None


def _constant_factor(case: Case, c: float) -> Cause:
    """Name a constant factor, by the sizes that it may come from."""
    cause, text = f"a constant factor {c:.6g}", f"Analytic = {c:.6g} * numeric everywhere."
    for k, what in _lengths(case).items():
        for count, means in ((1 / c, "a mean for a sum?"), (c, "a sum for a mean?")):
            if abs(abs(count) / k - 1) < 1e-4:
                cause += f": off by {what}"
                if c < 1:
                    text += f" 1 / {c:.6g} = {k} is how many terms its sum has: {means}"
                return cause, f"{text}" if c < 1 else f"{text} {k} is {what}: {means}"
            if abs(abs(count) / math.sqrt(k) - 1) < 1e-4 and k > 4:
                return cause, f"{text} That is the square root of {k}, or 1 over it."
    if abs(c - 0.5) < 1e-6:
        text += " A missing factor 2, as of x * x or 2 * w?"
    if abs(c - 2) < 1e-6:
        text += " A factor 2 too many?"
    return cause, text


def _lengths(case: Case) -> dict[int, str]:
    """Return the lengths of axes over which sums and means run, and what they are.

    Such an axis is in a result but not in the input, or in an input but not in a result. 1 and 2
    are left out: too many factors are 1/2 by chance.
    """
    found: dict[int, str] = {}
    own = case.numeric.shape
    for y in case.point.cotangents:
        pairs = [(y.shape, own), *((x.shape, y.shape) for x in case.point.inputs)]
        for shape, other in pairs:
            extra = Counter(shape) - Counter(other)
            for axis, n in enumerate(shape):
                if n in extra:
                    found.setdefault(n, "the batch size" if axis == 0 else f"axis {axis}")
            found.setdefault(math.prod(extra.elements()), "the number of elements")
    return {k: f"{what}, {k}" for k, what in found.items() if k > 2}


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
    for j, (name, table) in enumerate(zip(case.names, case.tables, strict=True)):
        if j != case.i and (table.whole or table.verdicts().max(initial=0) == 0):
            right = table.numeric if table.whole else case.gradients[j]
            if right is not None and right.size == n.size:
                reshaped = " in another shape" if right.shape != n.shape else ""
                yield right.reshape(n.shape), f"swapped inputs: the gradient of {name}{reshaped}"


def _one_slice(case: Case) -> Cause | None:
    """Recognise what one slice of the result contributes to the gradient."""
    if not case.table.whole or len(case.point.cotangents) != 1:
        return None
    shape = case.point.cotangents[0].shape
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
    if shape == case.numeric.shape and target.size > 1:
        own = np.array([share[place] for share, place in zip(shares, places, strict=True)])
        if target.all() and np.all(np.abs(own - target) <= case.likeness * np.abs(target)):
            return "only the diagonal of the Jacobian", (
                "Analytic is how each element moves the result at its own index, alone. It moves "
                "others, too: add up what g of all results contributes."
            )
    for count in range(1, len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            rest = tuple(k + 1 for k in range(len(shape)) if k not in axes)
            slices = np.sum(shares, axis=rest).reshape(len(places), -1).T
            hits = np.all(np.abs(slices - target) <= case.likeness * np.abs(target), axis=1)
            if hits.any() and target.all():
                at = np.unravel_index(int(np.argmax(hits)), [shape[axis] for axis in axes])
                where = ", ".join(f"{k} of axis {axis}" for k, axis in zip(at, axes, strict=True))
                return "a missing sum over a broadcast axis", (
                    f"Analytic is what index {where} of the result contributes, alone. Sum over "
                    "all axes along which this input is broadcast (@elementwise does it)."
                )
    return None


def _right_for_ones(case: Case) -> Cause | None:
    point = case.point
    ones = [np.ones(v.shape, v.dtype) for v in point.cotangents]
    found = point.here.pull(ones)[case.i]
    if point.flat.size < 2:
        return None
    with_ones = replace(point, cotangents=ones)
    for _ in range(2):
        table, *_ = along_a_direction(with_ones, case.i, found.astype(float))
        if table.verdicts() != 0:
            return None
    g, rule = point.settings.g, point.settings.rule
    return "right only for a cotangent of ones", (
        f"With {g}, the gradient of the result, all ones the gradient is right: {rule} takes the "
        f"sum or mean of {g}, or mixes up its elements."
    )


def _wrong_in_places(case: Case) -> Cause | None:
    if not case.table.whole or case.wrong[case.verdicts != 1].all():
        return None
    a, n = case.analytic[case.wrong], case.numeric[case.wrong]
    text = "The other elements are right"
    text += " or inconclusive." if (case.verdicts == 1).any() else "."
    c = factor(a, n)
    if a.size > 1 and c and alike(a, c * n, 1e-3):
        text += f" There analytic = {c:.6g} * numeric."
    if case.table.kink[case.wrong].all():
        text += " They are kinks, and analytic is not between the slopes."
    return f"wrong only {places(case, case.wrong)}", text
