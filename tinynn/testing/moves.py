"""Plain differences of every element, many in one call of f where its results permit.

A kernel's filters, say, each move channels of the result that no other filter moves. So one call
moves an element of each filter, and the slope of each is read from its own channels.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from tinynn.testing.points import Point, random_signs
from tinynn.testing.slopes import PLAIN_STEP, Line

__tracebackhide__ = True  # pytest shows the line of the test that failed, not ours

Axes = dict[int, tuple[int | None, ...]]  # axis of an input: the same axis of each output, if any


@dataclass
class Differences:
    """One-sided slopes of every element, how far off they may be, and how they were found."""

    left: np.ndarray
    right: np.ndarray
    noise: np.ndarray
    note: str


def differences(point: Point, i: int, name: str, scale: np.ndarray) -> Differences:
    """Move every element of input i by a step relative to ``scale``."""
    shape = scale.shape
    axes = independent_axes(point, i, scale)
    found = [np.full(shape, math.nan) for _ in range(3)]
    others = [range(1 if axis in axes else n) for axis, n in enumerate(shape)]
    for place in itertools.product(*others):
        at = tuple(slice(None) if k in axes else index for k, index in enumerate(place))
        slopes = _slopes(point, i, scale, at, axes)
        if axes and np.isnan(slopes[:2]).all():  # one of them may have stopped f for all
            for inner in np.ndindex(scale[at].shape):
                rest = iter(inner)
                alone = tuple(next(rest) if k in axes else index for k, index in enumerate(place))
                found_alone = _slopes(point, i, scale, alone, {})
                for column, value in zip(found, found_alone, strict=True):
                    column[alone] = value
            continue
        for column, value in zip(found, slopes, strict=True):
            column[at] = value
    note = ""
    if axes:
        moved = math.prod(shape[axis] for axis in axes)
        numbers = " and ".join(map(str, axes))
        note = (
            f"{name}: {moved} of its {scale.size} elements were moved in each call of f, since "
            f"no two along ax{'is' if len(axes) == 1 else 'es'} {numbers} move the same results."
        )
    return Differences(found[0], found[1], found[2], note)


def independent_axes(point: Point, i: int, scale: np.ndarray) -> Axes:
    """Find axes of input i along which each index moves results that no other index moves.

    Two sets of indices for each binary digit tell any two of them apart. (Should a result depend
    on two indices after all, their slopes come out wrong, and are then examined one by one.)
    """
    found: Axes = {}
    shapes = [v.shape for v in point.cotangents]
    step = scale * random_signs(np.random.default_rng(0), scale.shape)
    for axis, length in enumerate(scale.shape):
        free = [
            [b for b, n in enumerate(shape) if n == length and b not in taken]
            for shape, *taken in zip(shapes, *found.values(), strict=True)
        ]
        if length < 2 or scale.size < 8 or not any(free):
            continue
        moves = [False] * len(shapes)
        index = np.arange(length)
        digits = range((length - 1).bit_length())
        for digit, value in itertools.product(digits, (0, 1)):
            inside = (index >> digit & 1) == value
            mask = inside.reshape(-1, *(1,) * (scale.ndim - axis - 1))
            shifts = Line(point, i, step * mask).shifts(PLAIN_STEP)
            for k, shift in enumerate(point.split(shifts)):
                moved = shift != 0  # nan has moved as well
                moves[k] |= bool(moved.any())
                free[k] = [b for b in free[k] if not moved.take(np.flatnonzero(~inside), b).any()]
            if any(m and not f for m, f in zip(moves, free, strict=True)):
                break
        else:
            if any(moves):
                found[axis] = tuple(f[0] if m else None for m, f in zip(moves, free, strict=True))
    return found


def _slopes(
    point: Point, i: int, scale: np.ndarray, at: tuple[int | slice, ...], axes: Axes
) -> list[np.ndarray]:
    """Return left and right slopes and their noise, of the elements ``at``, moved together."""
    direction = np.zeros(scale.shape)
    direction[at] = scale[at]
    line = Line(point, i, direction)
    steps = PLAIN_STEP * scale[at]
    below, above = line.products(-PLAIN_STEP), line.products(PLAIN_STEP)
    left, right = (_own(point, axes, products) / steps for products in (-below, above))
    peak = np.fmax(np.fmax(abs(below), abs(above)), abs(point.flat * point.base))
    rounding = np.fmax(point.noise, point.eps * peak) * ((below != 0) | (above != 0))
    size = float(rounding.max(initial=0)) or 1.0  # squares may be too large or small
    outputs = size * np.sqrt(_own(point, axes, (rounding / size) ** 2))
    inputs = point.eps * np.abs(point.inputs[i][at]) * (np.abs(left) + np.abs(right))
    return [left, right, (outputs + inputs) / steps]


def _own(point: Point, axes: Axes, products: np.ndarray) -> np.ndarray:
    """Add up what moved elements do to outputs of their own, into an array over ``axes``."""
    total: np.ndarray = np.zeros(())
    for k, part in enumerate(point.split(products)):
        kept = [places[k] for places in axes.values()]
        if None in kept:  # it does not move
            continue
        part = part.astype(float)
        rest = tuple(b for b in range(part.ndim) if b not in kept)
        order = np.argsort(np.argsort([b for b in kept if b is not None]))
        total = total + part.sum(axis=rest).transpose(order)
    return total
