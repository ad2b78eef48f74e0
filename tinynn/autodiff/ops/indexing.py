"""Selections by index and, their adjoint, sums of elements put at an index."""

from typing import Any

import numpy as np

from tinynn.autodiff.graph import Node
from tinynn.autodiff.ops.broadcasting import widened
from tinynn.autodiff.primitive import operation, primitive, values


@operation
def getitem(x: Any, index: Any) -> Any:
    """Select ``x[index]``: ints, slices, None, ``...``, masks, integer arrays, as in NumPy.

    >>> getitem(np.array([10, 20, 30]), [0, 0, 2])
    array([10, 10, 30])
    """
    parts = tuple(map(_plain_index, index)) if isinstance(index, tuple) else _plain_index(index)
    return _getitem(x, parts)


@primitive(lambda g, y, x, index: _scatter(g, index, x.shape), passes_nan=True)
def _getitem(x: Any, index: Any) -> Any:
    return np.asarray(x)[index]


@primitive(lambda g, y, x, index, shape: _getitem(g, index), passes_nan=True)
def _scatter(x: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Put ``x`` into zeros of ``shape`` at ``index``, adding where one place is named twice."""
    return put_at(x, index, shape, once=_selects_once(index))


def put_at(x: Any, index: Any, shape: tuple[int, ...], once: bool) -> Any:
    """Put an array into zeros at ``index``; ``once``: no place is named twice."""
    if once:
        y = np.zeros(shape, x.dtype)
        y[index] = x
        return y
    total = np.zeros(shape, widened(x).dtype)
    np.add.at(total, index, x)
    return total.astype(x.dtype, copy=False)


def _plain_index(index: Any) -> Any:
    """Return an int, slice, None or Ellipsis as it is, all else as an array that we own."""
    if isinstance(index, Node):
        index = values(index)
    if index is None or index is Ellipsis or isinstance(index, (int, slice)):
        return index
    array = np.array(index, subok=True)
    return array.astype(np.intp) if isinstance(index, (list, tuple)) and not index else array


def _selects_once(index: Any) -> bool:
    """Tell whether no element can be selected twice: no integer array in the index."""
    parts = index if isinstance(index, tuple) else (index,)
    return not any(isinstance(part, np.ndarray) and part.dtype.kind in "iu" for part in parts)
