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
    if _selects_once(index):
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


@primitive(lambda g, y, x, index: _put_last(g, index, size=x.shape[-1]), None, passes_nan=True)
def _take_last(x: Any, index: Any) -> Any:
    """Select one element of the last axis at each place: x (..., n), integers (...) -> (...)."""
    return np.take_along_axis(x, index[..., None], -1)[..., 0]


@primitive(lambda h, y, x, index, size: _take_last(h, index), None, passes_nan=True)
def _put_last(x: Any, index: Any, size: int) -> Any:
    """Adjoint of :func:`_take_last`: each element of x in a row of zeros of ``size``."""
    y = np.zeros((*x.shape, size), x.dtype)
    np.put_along_axis(y, index[..., None], x[..., None], -1)
    return y
