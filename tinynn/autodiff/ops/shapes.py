"""The same elements in another shape or order: reshape, transpose, join, split, pad, repeat."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from tinynn import _checks as check
from tinynn.autodiff.ops.broadcasting import sum_to
from tinynn.autodiff.ops.indexing import getitem
from tinynn.autodiff.primitive import as_array, operation, primitive, shape_of, variadic

Axis = int | tuple[int, ...] | None


@primitive(lambda g, y, x, shape: reshape(g, x.shape), passes_nan=True)
def reshape(x: Any, shape: Any) -> Any:
    """Same elements in another shape; one length may be -1.

    >>> reshape(np.arange(6), (2, -1))
    array([[0, 1, 2],
           [3, 4, 5]])
    """
    return np.reshape(x, shape)


@operation
def ravel(x: Any) -> Any:
    """Flatten to one axis.

    >>> ravel(np.array([[1, 2], [3, 4]]))
    array([1, 2, 3, 4])
    """
    return reshape(x, (-1,))


@operation
def squeeze(x: Any, axis: Axis = None) -> Any:
    """Drop axes of length 1: all, or those named.

    >>> squeeze(np.ones((1, 2, 1)), axis=0).shape
    (2, 1)
    """
    return reshape(x, np.squeeze(_ghost(x), axis).shape)


@operation
def expand_dims(x: Any, axis: int | tuple[int, ...]) -> Any:
    """Insert axes of length 1 at ``axis`` of the result.

    >>> expand_dims(np.ones(3), (0, 2)).shape
    (1, 3, 1)
    """
    return reshape(x, np.expand_dims(_ghost(x), axis).shape)


def _ghost(x: Any) -> np.ndarray:
    """Return an array of x's shape without memory, to ask NumPy what a shape becomes."""
    return np.broadcast_to(np.zeros(()), shape_of(x))


@operation
def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """Permute the axes; None reverses them.

    >>> transpose(np.ones((2, 3, 4)), (1, 0, 2)).shape
    (3, 2, 4)
    """
    if axes is not None:
        axes = normalize_axis_tuple(tuple(axes), len(shape_of(x)))
    return _transpose(x, axes)


@primitive(
    lambda g, y, x, axes: transpose(g, axes and tuple(np.argsort(axes).tolist())), passes_nan=True
)
def _transpose(x: Any, axes: Any) -> Any:
    return np.transpose(x, axes)


@operation
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Exchange two axes.

    >>> swapaxes(np.ones((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    return transpose(x, np.swapaxes(np.empty(range(len(shape_of(x)))), axis1, axis2).shape)


@operation
def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """Move axes to new places; the others keep their order.

    >>> moveaxis(np.ones((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    return transpose(x, np.moveaxis(np.empty(range(len(shape_of(x)))), source, destination).shape)


@operation
def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Any:
    """Join arrays along an axis that they have; None joins them flattened.

    >>> concatenate([np.ones((2, 3)), np.zeros((1, 3))]).shape
    (3, 3)
    """
    arrays = [ravel(x) if axis is None else as_array("concatenate", x) for x in arrays]
    _some("concatenate", arrays)
    axis = normalize_axis_index(axis or 0, len(shape_of(arrays[0])))
    # Where each array ends; one with too few axes is refused by NumPy below.
    ends = itertools.accumulate(math.prod(shape_of(x)[axis : axis + 1]) for x in arrays)
    return _concatenate(*arrays, axis=axis, ends=tuple(ends))


@variadic(
    lambda i, g, y, xs, axis, ends: getitem(
        g, (*(slice(None),) * axis, slice(ends[i] - xs[i].shape[axis], ends[i]))
    ),
    passes_nan=True,
)
def _concatenate(*xs: Any, axis: int, ends: tuple[int, ...]) -> Any:
    return np.concatenate(xs, axis=axis)


@operation
def stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Join arrays of one shape along a new axis.

    >>> stack([np.ones(3), np.zeros(3)]).shape
    (2, 3)
    """
    arrays = [as_array("stack", x) for x in arrays]
    shapes = sorted({shape_of(x) for x in arrays})
    if len(shapes) != 1:
        raise ValueError(
            f"stack: give at least one array, and all of the same shape, got shapes {shapes}."
        )
    return concatenate([expand_dims(x, axis) for x in arrays], axis=axis)


@operation
def vstack(arrays: Sequence[Any]) -> Any:
    """Join along the first axis; vectors are rows.

    >>> vstack([np.ones(3), np.zeros((2, 3))]).shape
    (3, 3)
    """
    arrays = [as_array("vstack", x) for x in arrays]
    rows = [reshape(x, (1, -1)) if len(shape_of(x)) < 2 else x for x in arrays]
    return concatenate(_some("vstack", rows))


@operation
def hstack(arrays: Sequence[Any]) -> Any:
    """Join along the second axis; vectors along the only one.

    >>> hstack([np.ones((2, 1)), np.zeros((2, 3))]).shape
    (2, 4)
    """
    arrays = [as_array("hstack", x) for x in arrays]
    parts = _some("hstack", [x if shape_of(x) else reshape(x, (1,)) for x in arrays])
    return concatenate(parts, axis=0 if len(shape_of(parts[0])) == 1 else 1)


def _some(owner: str, arrays: list[Any]) -> list[Any]:
    if not arrays:
        raise ValueError(f"{owner}: give at least one array.")
    return arrays


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Cut along ``axis``: into that many equal parts, or before each of the indices given.

    >>> [part.tolist() for part in split(np.arange(5), [1, 3])]
    [[0], [1, 2], [3, 4]]
    """
    axis = normalize_axis_index(axis, len(shape_of(x)))
    parts = np.split(np.arange(shape_of(x)[axis]), indices_or_sections)
    cuts = [slice(int(part[0]), int(part[-1]) + 1) if part.size else slice(0) for part in parts]
    return [getitem(x, (*(slice(None),) * axis, cut)) for cut in cuts]


@operation
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    """Lengthen axes at both ends; ``pad_width`` as in numpy.pad, down to one int for all.

    Modes: constant, with ``constant_values`` (0 by default), and all of NumPy's that copy elements:
    edge, reflect, symmetric, wrap.

    >>> pad(np.array([1, 2, 3]), (1, 2), mode="reflect")
    array([2, 1, 2, 3, 2, 1])
    """
    shape = shape_of(x)
    if isinstance(pad_width, dict):
        axes = {normalize_axis_index(i, len(shape)): w for i, w in pad_width.items()}
        pad_width = [np.broadcast_to(axes.get(i, 0), 2).tolist() for i in range(len(shape))]
    array = np.broadcast_to(np.asarray(pad_width), (len(shape), 2))
    if array.dtype.kind not in "iu" or (array < 0).any():
        raise ValueError(f"pad: pad_width must be non-negative integers, got {pad_width!r}.")
    widths = tuple((int(left), int(right)) for left, right in array)
    if mode == "constant":
        return _pad(x, widths, 0 if constant_values is None else constant_values)
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise ValueError(
            f"pad: mode must be 'constant', 'edge', 'reflect', 'symmetric' or 'wrap', got {mode!r}."
        )
    if constant_values is not None:
        raise ValueError(
            f"pad: constant_values is for mode='constant'. Leave it out with mode={mode!r}."
        )
    for axis, width in enumerate(widths):
        if width != (0, 0):
            index = np.pad(np.arange(shape[axis]), width, mode=mode)  # type: ignore[call-overload]
            x = getitem(x, (*(slice(None),) * axis, index))
    return x


@primitive(lambda g, y, x, widths, value: getitem(g, _inner(widths, x.shape)), passes_nan=True)
def _pad(x: Any, widths: Any, value: Any) -> Any:
    return np.pad(x, widths, constant_values=value)


def _inner(widths: Any, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(left, left + n) for (left, _), n in zip(widths, shape, strict=True))


@primitive(lambda g, y, x, axis: flip(g, axis), passes_nan=True)
def flip(x: Any, axis: Axis = None) -> Any:
    """Reverse the order along ``axis`` (an int, a tuple, or None for all).

    >>> flip(np.array([1, 2, 3]))
    array([3, 2, 1])
    """
    return np.flip(x, axis)


@primitive(
    lambda g, y, x, shift, axis: (
        roll(g, tuple(-n for n in np.atleast_1d(shift).tolist()), axis)
        if np.ndim(shift)
        else roll(g, -shift, axis)
    ),
    passes_nan=True,
)
def roll(x: Any, shift: Any, axis: Axis = None) -> Any:
    """Move elements along ``axis`` by ``shift`` places; those that fall off come in again.

    >>> roll(np.array([1, 2, 3]), 1)
    array([3, 1, 2])
    """
    return np.roll(x, shift, axis)


@operation
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Repeat each element ``repeats`` times along ``axis``; None flattens first.

    >>> repeat(np.array([1, 2]), 2)
    array([1, 1, 2, 2])
    """
    if axis is None:
        x, axis = ravel(x), 0
    axis = normalize_axis_index(axis, len(shape_of(x)))
    index = np.repeat(np.arange(shape_of(x)[axis]), repeats)
    return getitem(x, (*(slice(None),) * axis, index))


def _tile_vjp(g: Any, y: Any, x: Any, reps: Any) -> Any:
    ndim = max(len(reps), x.ndim)
    counts = (1,) * (ndim - len(reps)) + reps
    shape = (1,) * (ndim - x.ndim) + x.shape
    copies = reshape(g, [n for pair in zip(counts, shape, strict=True) for n in pair])
    return reshape(sum_to(copies, tuple(n for length in shape for n in (1, length))), x.shape)


@operation
def tile(x: Any, reps: int | Sequence[int]) -> Any:
    """Repeat the whole of ``x`` as many times as ``reps`` says for each axis, the last ones first.

    >>> tile(np.array([1, 2]), 2), tile(np.array([1, 2]), (2, 1)).shape
    (array([1, 2, 1, 2]), (2, 2))
    """
    counts: Any = reps if np.ndim(reps) else [reps]
    return _tile(x, tuple(check.integer("tile", "reps", n, at_least=0) for n in counts))


@primitive(_tile_vjp, passes_nan=True)
def _tile(x: Any, reps: tuple[int, ...]) -> Any:
    return np.tile(x, reps)
