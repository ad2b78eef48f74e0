"""Elements picked along an axis, by their place or by their size: take, take_along_axis, sort."""

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from tinynn import _checks as check
from tinynn.autodiff.ops.broadcasting import broadcast_to
from tinynn.autodiff.ops.indexing import put_at
from tinynn.autodiff.ops.shapes import ravel
from tinynn.autodiff.primitive import as_array, dtype_of, operation, primitive, shape_of


@operation
def take(x: Any, indices: Any, axis: int | None = None, mode: str = "raise") -> Any:
    """Pick elements along ``axis`` by integers of any shape; None picks from the flattened array.

    ``mode``: "raise" an IndexError for those beyond the axis, "wrap" them around it, or "clip".
    An element that is picked twice gets both gradients.

    >>> take(np.array([[1, 2], [3, 4]]), [1, 1], axis=0)
    array([[3, 4],
           [3, 4]])
    """
    check.choice("take", "mode", mode, ("raise", "wrap", "clip"))
    x, indices = as_array("take", x), _integers("take", indices)
    if axis is None or not shape_of(x):
        x, axis = ravel(x), axis or 0
    axis = normalize_axis_index(axis, len(shape_of(x)))
    return _pick(x, indices, axis=axis, mode=mode, along=False)


@operation
def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Any:
    """Pick, in each row along ``axis``, the elements that the same row of ``indices`` names.

    Both have the same number of axes, and shapes that broadcast but along ``axis``. None picks from
    the flattened array. It undoes argmax and argsort.

    >>> take_along_axis(np.array([[10, 20], [30, 40]]), [[1], [0]])
    array([[20],
           [30]])
    """
    x, indices = as_array("take_along_axis", x), _integers("take_along_axis", indices)
    if axis is None:
        x, axis = ravel(x), 0
    rows, wanted = list(shape_of(x)), list(shape_of(indices))
    if len(rows) != len(wanted):
        raise ValueError(
            f"take_along_axis: x and indices must have as many axes, got shapes {tuple(rows)} and "
            f"{tuple(wanted)}. Use take for the same elements of all rows."
        )
    axis = normalize_axis_index(axis, len(rows))
    lengths, rows[axis], wanted[axis] = (rows[axis], wanted[axis]), 1, 1
    full = list(np.broadcast_shapes(tuple(rows), tuple(wanted)))
    both = []
    for array, length in zip((x, indices), lengths, strict=True):
        full[axis] = length
        shape = tuple(full)
        both.append(array if shape_of(array) == shape else broadcast_to(array, shape))
    return _pick(*both, axis=axis, mode="raise", along=True)


@operation
def sort(x: Any, axis: int | None = -1) -> Any:
    """Sort along ``axis``, ascending, nan at the end; None sorts the flattened array.

    Each element gets the gradient of the place where it came to stand; equal ones keep their order.

    >>> sort(np.array([3.0, 1.0, 2.0]))
    array([1., 2., 3.])
    """
    x = as_array("sort", x)
    if axis is None:
        x, axis = ravel(x), 0
    return take_along_axis(x, _order(x, axis), axis)


@primitive(None)
def _order(x: Any, axis: int) -> Any:
    return np.argsort(x, axis=axis, kind="stable")


def _integers(owner: str, indices: Any) -> Any:
    indices = as_array(owner, indices)
    if dtype_of(indices).kind not in "iu":
        raise TypeError(f"{owner}: indices must be integers, got dtype {dtype_of(indices)}.")
    return indices


@primitive(
    lambda g, y, x, index, axis, mode, along: _unpick(
        g, index, axis=axis, mode=mode, along=along, shape=x.shape
    ),
    None,
    passes_nan=True,
)
def _pick(x: Any, index: Any, axis: int, mode: Any, along: bool) -> Any:
    return x[_places(index, axis, mode, along, x.shape)]


@primitive(
    lambda h, y, x, index, axis, mode, along, shape: _pick(
        h, index, axis=axis, mode=mode, along=along
    ),
    None,
    passes_nan=True,
)
def _unpick(x: Any, index: Any, axis: int, mode: Any, along: bool, shape: tuple[int, ...]) -> Any:
    """Adjoint of :func:`_pick`: elements put back where they were picked, and added up."""
    once = along and index.shape[axis] == 1
    return put_at(x, _places(index, axis, mode, along, shape), shape, once)


def _places(index: Any, axis: int, mode: Any, along: bool, shape: tuple[int, ...]) -> Any:
    """Return the index, for NumPy, of what is picked from an array of ``shape``."""
    if mode != "raise":
        index = np.take(np.arange(shape[axis]), index, mode=mode)
    if not along:
        return (*(slice(None),) * axis, index)
    grid = list(np.indices(index.shape, sparse=True))
    grid[axis] = index
    return tuple(grid)
