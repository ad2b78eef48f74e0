"""Receptive fields: which steps of a series an output step sees."""

from typing import Any, NamedTuple

from tinynn import _checks as check
from tinynn.kernels import geometry


class ReceptiveField(NamedTuple):
    """Which steps one output step sees: i sees i stride - left to i stride + right.

    ``left`` and ``right``: 0 or more steps. ``fixed`` is False if the length of the series moves
    the windows, as padding "same" can with strides.
    """

    stride: int = 1
    left: int = 0
    right: int = 0
    fixed: bool = True

    def then(self, after: "ReceptiveField") -> "ReceptiveField":
        """Return the receptive field of this layer with another one after it.

        >>> ReceptiveField(2, 0, 1).then(ReceptiveField(3, 4, 4))
        ReceptiveField(stride=6, left=8, right=9, fixed=True)
        """
        left, right = self.left + self.stride * after.left, self.right + self.stride * after.right
        return ReceptiveField(self.stride * after.stride, left, right, self.fixed and after.fixed)


def receptive_field_of(layer: Any) -> ReceptiveField | None:
    """Return what a layer's ``reach()`` says, checked, for anyone may write one."""
    said = layer.reach()
    if said is None:
        return None
    owner = f"{type(layer).__name__}.reach"
    if not isinstance(said, tuple) or len(said) not in (3, 4):
        raise TypeError(f"{owner} must return (stride, left, right) or None, got {said!r}.")
    stride = check.integer(owner, "stride", said[0], at_least=1)
    left = check.integer(owner, "left", said[1], at_least=0)
    right = check.integer(owner, "right", said[2], at_least=0)
    fixed = [check.flag(owner, "fixed", flag) for flag in said[3:]]
    return ReceptiveField(stride, left, right, *fixed)


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
    return ReceptiveField(stride, left, right, fixed=len({before for before, _ in pairs}) == 1)
