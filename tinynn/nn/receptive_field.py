"""Receptive fields: which steps of a series an output step sees."""

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple

from tinynn import _checks as check
from tinynn.kernels import geometry


class ReceptiveField(NamedTuple):
    """Which steps one output step sees: i sees i stride - left to i stride + right.

    ``stride``: input steps from one output to the next, Fraction(1, 2) where each gives two.
    ``left`` and ``right``: 0 or more steps. ``multiple``: how many steps longer a series must be
    to fit as well, such as 2 where a pooled branch is upsampled and joined to another. ``fixed``
    is False if the length of the series moves the windows, as padding "same" can with strides.
    ``grid``: a piece of a series has to begin at a multiple of so many steps, so that all layers
    place their windows as in the whole.
    """

    stride: int | Fraction = 1
    left: int | Fraction = 0
    right: int | Fraction = 0
    multiple: int = 1
    fixed: bool = True
    grid: int = 1

    def then(self, after: "ReceptiveField") -> "ReceptiveField":
        """Return the receptive field of this layer with another one after it.

        >>> ReceptiveField(2, 0, 1, grid=2).then(ReceptiveField(3, 4, 4, grid=3))
        ReceptiveField(stride=6, left=8, right=9, multiple=1, fixed=True, grid=6)
        """
        stride, left, right = (self.stride * n for n in after[:3])
        ends = _plain(self.left + left), _plain(self.right + right)
        grid = math.lcm(self.grid, Fraction(self.stride * after.grid).numerator)
        multiple = self.multiple
        if after.multiple > 1:
            multiple = math.lcm(multiple, Fraction(self.stride * after.multiple).numerator)
        return ReceptiveField(_plain(stride), *ends, multiple, self.fixed and after.fixed, grid)


def _plain(number: int | Fraction) -> int | Fraction:
    return int(number) if number.denominator == 1 else number


def beside(fields: Iterable[ReceptiveField | None]) -> ReceptiveField | None:
    """Return that of layers side by side, whose outputs are joined step by step.

    None if one is unknown, or their strides differ.
    """
    found = list(fields)
    known = [field for field in found if field is not None]
    if len(known) != len(found) or len({field.stride for field in known}) != 1:
        return None
    left, right = max(field.left for field in known), max(field.right for field in known)
    multiple, grid = math.lcm(*(f.multiple for f in known)), math.lcm(*(f.grid for f in known))
    stride = known[0].stride
    if grid > stride.numerator:  # what a branch has cut off is missing beside the others
        multiple = grid
    return ReceptiveField(stride, left, right, multiple, all(f.fixed for f in known), grid)


def receptive_field_of(layer: Any) -> ReceptiveField | None:
    """Return what a layer's ``reach()`` says, checked, for anyone may write one."""
    said = layer.reach()
    if said is None:
        return None
    owner = f"{type(layer).__name__}.reach"
    if not isinstance(said, tuple) or len(said) not in (3, 4, 5, 6):
        raise TypeError(
            f"{owner} must return (stride, left, right), (stride, left, right, multiple) or None, "
            f"got {said!r}."
        )
    field = ReceptiveField(*said)
    stride = _steps(owner, "stride", field.stride, at_least=1)
    left = _steps(owner, "left", field.left, at_least=0)
    right = _steps(owner, "right", field.right, at_least=0)
    multiple = check.integer(owner, "multiple", field.multiple, at_least=1)
    fixed = check.flag(owner, "fixed", field.fixed)
    grid = math.lcm(
        check.integer(owner, "grid", field.grid, at_least=1), multiple, stride.numerator
    )
    return ReceptiveField(stride, left, right, multiple, fixed, grid)


def _steps(owner: str, name: str, value: Any, *, at_least: int) -> int | Fraction:
    """Return a number of steps, or a positive part of one."""
    if isinstance(value, Fraction) and value > 0:
        return _plain(value)
    return check.integer(owner, name, value, at_least=at_least)


def of_windows(
    extent: int, stride: int, padding: geometry.Padding, mirrored: bool = False
) -> ReceptiveField:
    """Return that of windows of ``extent`` steps; at the ends, a mirror shows steps outside.

    Padding "same" with a stride depends on the remainder of the length by it: the furthest counts.
    """
    left = right = 0
    pairs = {geometry.padding_pair(padding, n, extent, stride) for n in range(1, stride + 1)}
    for before, after in pairs:
        beyond = max(0, before + after - extent + 1)  # how far past the end a window may begin
        left = max(left, before, beyond + (after if mirrored else 0))
        right = max(right, extent - 1 - before, *((before, after) if mirrored else ()))
    fixed = len({before for before, _ in pairs}) == 1
    return ReceptiveField(stride, left, right, fixed=fixed, grid=stride)
