"""Reductions over axes: sums, means, products, extremes, and running sums."""

import builtins
import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tinynn.autodiff.graph import Node
from tinynn.autodiff.ops.arithmetic import astype, guarded_divide
from tinynn.autodiff.ops.broadcasting import broadcast_to
from tinynn.autodiff.ops.choices import equal, where
from tinynn.autodiff.ops.elementary import exp, sqrt, square
from tinynn.autodiff.ops.indexing import getitem
from tinynn.autodiff.ops.shapes import Axis, concatenate, flip, ravel, reshape, transpose
from tinynn.autodiff.primitive import as_array, primitive, values


@primitive(lambda g, y, x, axis, keepdims: broadcast_to(_kept(g, x, axis), x.shape))
def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Sum over ``axis`` (an int, a tuple, or None for all).

    >>> sum(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    array([4., 6.])
    """
    return np.add.reduce(x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Arithmetic mean over ``axis`` (an int, a tuple, or None for all).

    >>> mean(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    array([2., 3.])
    """
    return sum(x, axis, keepdims) / _count(x, axis)


def var(x: Any, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Any:
    """Variance over ``axis``: squared deviations summed, divided by the count less ``ddof``.

    >>> var(np.array([1.0, 2.0, 3.0])), var(np.array([1.0, 2.0, 3.0]), ddof=1)
    (np.float64(0.6666666666666666), np.float64(1.0))
    """
    squares = square(x - mean(x, axis, keepdims=True))
    return sum(squares, axis, keepdims) / builtins.max(_count(x, axis) - ddof, 0)


def std(x: Any, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Any:
    """Standard deviation over ``axis``: the square root of :func:`var`.

    >>> std(np.array([[1.0, 2.0], [3.0, 6.0]]), axis=0)
    array([1., 2.])
    """
    return sqrt(var(x, axis, ddof, keepdims))


def _extremum_vjp(g: Any, y: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    ties = astype(equal(x, _kept(y, x, axis)), x.dtype)
    return _kept(g, x, axis) * guarded_divide(ties, sum(ties, axis=axis, keepdims=True))


@primitive(_extremum_vjp)
def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Largest element over ``axis``; ties share the gradient equally.

    >>> max(np.array([[1.0, 5.0], [3.0, 4.0]]), axis=0)
    array([3., 5.])
    """
    return np.max(x, axis=axis, keepdims=keepdims)


@primitive(_extremum_vjp)
def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Smallest element over ``axis``; ties share the gradient equally.

    >>> min(np.array([[1.0, 5.0], [3.0, 4.0]]), axis=0)
    array([1., 4.])
    """
    return np.min(x, axis=axis, keepdims=keepdims)


def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Product over ``axis``, exact gradients of every order at zeros too.

    Neighbours are multiplied in a tree of depth log2(n), so nothing is divided by an element.

    >>> prod(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    array([3., 8.])
    """
    if not isinstance(x, Node):
        return np.prod(as_array("prod", x), axis=axis, keepdims=keepdims)
    shape = x._data.shape
    axes = _axes(axis, len(shape))
    rest = tuple(i for i in range(len(shape)) if i not in axes)
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    outer_shape = tuple(shape[i] for i in rest)
    x = reshape(transpose(x, rest + axes), outer_shape + (_count(x, axes),))
    if x.shape[-1] == 0:
        x = sum(x, axis=-1, keepdims=True) + 1
    while (n := x.shape[-1]) > 1:
        pairs = getitem(x, (..., slice(0, n // 2))) * getitem(x, (..., slice(n // 2, n // 2 * 2)))
        x = concatenate([pairs, getitem(x, (..., slice(n - 1, n)))], axis=-1) if n % 2 else pairs
    return reshape(x, kept if keepdims else outer_shape)


def cumsum(x: Any, axis: int | None = None) -> Any:
    """Running sum along ``axis``; None runs over the flattened array.

    >>> cumsum(np.array([1.0, 2.0, 3.0]))
    array([1., 3., 6.])
    """
    if axis is None or values(x).ndim == 0:
        return _cumsum(ravel(x), axis or 0)
    return _cumsum(x, axis)


@primitive(lambda g, y, x, axis: flip(_cumsum(flip(g, axis), axis), axis))
def _cumsum(x: Any, axis: int) -> Any:
    return np.cumsum(x, axis=axis)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index of the first largest element along ``axis``: integers, without gradient.

    >>> argmax(np.array([[1.0, 5.0], [3.0, 4.0]]), axis=0)
    array([1, 0])
    """
    return np.argmax(values(x), axis=axis, keepdims=keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index of the first smallest element along ``axis``: integers, without gradient.

    >>> argmin(np.array([[1.0, 5.0], [3.0, 4.0]]), axis=0)
    array([0, 1])
    """
    return np.argmin(values(x), axis=axis, keepdims=keepdims)


def _logsumexp_vjp(g: Any, y: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    y = _kept(y, x, axis)
    return _kept(g, x, axis) * exp(x - where(equal(y - y, 0), y, 0))  # inf - inf is nan


@primitive(_logsumexp_vjp)
def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """``log(sum(exp(x)))`` over ``axis``, without overflow.

    >>> logsumexp(np.array([1000.0, 1000.0])).round(4)
    np.float64(1000.6931)
    """
    top = _peak(x, axis)
    with np.errstate(divide="ignore"):
        y = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return y if keepdims else np.squeeze(y, axis=axis)


def _peak(x: Any, axis: Axis) -> Any:
    """Return the largest element, to be subtracted before exp; 0 if it is infinite or absent."""
    if np.size(x) == 0:
        return 0
    top = np.max(np.real(x), axis=axis, keepdims=True)
    return np.where(np.isfinite(top), top, np.zeros((), top.dtype))


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return ``axis`` as a tuple. A 0-d array has no axis, but NumPy reduces it over 0 or -1."""
    return tuple(range(ndim)) if axis is None or ndim == 0 else normalize_axis_tuple(axis, ndim)


def _kept(x: Any, like: Any, axis: Axis) -> Any:
    """Give a reduced ``x`` back the axes of length 1 that it lost by ``axis``."""
    if axis is None and x.ndim == 0:
        return x  # it broadcasts as it is
    axes = _axes(axis, like.ndim)
    return reshape(x, tuple(1 if i in axes else n for i, n in enumerate(like.shape)))


def _count(x: Any, axis: Axis) -> int:
    shape = values(x).shape
    return math.prod(shape[i] for i in _axes(axis, len(shape)))
