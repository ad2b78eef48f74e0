"""Reductions over axes: sums, means, products, extremes, running sums, softmax."""

import builtins
import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from tinynn import _checks as check
from tinynn.autodiff.ops.arithmetic import all_finite, astype, guarded_divide, guarded_multiply
from tinynn.autodiff.ops.broadcasting import add_up, broadcast_to, floats, widened
from tinynn.autodiff.ops.choices import compare, equal, where
from tinynn.autodiff.ops.elementary import abs, exp, square
from tinynn.autodiff.ops.indexing import getitem
from tinynn.autodiff.ops.shapes import Axis, concatenate, flip, pad, ravel, reshape, transpose
from tinynn.autodiff.primitive import Operation, as_array, operation, primitive, shape_of, values


@primitive(
    lambda g, y, x, axis, keepdims: broadcast_to(_kept(g, x, axis), x.shape), passes_nan=True
)
def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Sum over ``axis`` (an int, a tuple, or None for all).

    Half precision is added up in single precision, here and in all that follows.

    >>> sum(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    array([4., 6.])
    """
    return add_up(x if hasattr(x, "dtype") else np.asarray(x), axis, keepdims)


def in_single(f: Callable[..., Any]) -> Operation[...]:
    """Compute in single precision what is given in half; a decorator of functions of arrays."""

    @operation
    @wraps(f)
    def computed(x: Any, *args: Any, **kwargs: Any) -> Any:
        given, x = type(x).__name__, as_array(f.__name__, x)
        if x.dtype.kind not in "fiubc":
            kind = f"{given} of dtype {x.dtype}"
            raise TypeError(f"{f.__name__}: arrays must hold numbers, got {kind}. Give floats.")
        if x.dtype.char != "e":
            return f(x, *args, **kwargs)
        return astype(f(astype(x, np.float32), *args, **kwargs), np.float16)

    return computed


@in_single
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Arithmetic mean over ``axis`` (an int, a tuple, or None for all).

    >>> mean(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    array([2., 3.])
    """
    return _mean(x, axis, keepdims)


@primitive(
    lambda g, y, x, axis, keepdims: broadcast_to(
        _kept(as_array("mean", g / _count(x, axis)), x, axis), x.shape
    ),
    passes_nan=True,
)
def _mean(x: Any, axis: Axis, keepdims: bool) -> Any:
    return add_up(x, axis, keepdims) / _count(x, axis)


@in_single
def var(x: Any, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Any:
    """Variance over ``axis``: squared deviations summed, divided by the count less ``ddof``.

    >>> var(np.array([1.0, 2.0, 3.0])), var(np.array([1.0, 2.0, 3.0]), ddof=1)
    (np.float64(0.6666666666666666), np.float64(1.0))
    """
    if x.dtype.kind in "iub":
        x = astype(x, np.float64)  # small integers would wrap around
    squares = square(x - mean(x, axis, keepdims=True))
    return sum(squares, axis, keepdims) / _freedom(x, axis, ddof)


@in_single
def std(x: Any, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Any:
    """Standard deviation over ``axis``: the square root of :func:`var`.

    Where all elements are equal its gradient is taken as 0, as that of the absolute value is at 0.

    >>> std(np.array([[1.0, 2.0], [3.0, 6.0]]), axis=0)
    array([1., 2.])
    """
    if x.dtype.kind in "iub":
        x = astype(x, np.float64)
    shifted = x - _first(x, axis)  # all 0 where all are equal; a mean is rounded
    deviations = shifted - mean(shifted, axis, keepdims=True)
    return _norm(deviations, axis, keepdims) / math.sqrt(_freedom(x, axis, ddof))


@primitive(
    lambda g, y, x, axis, keepdims: guarded_divide(
        guarded_multiply(_kept(g, x, axis), x), _kept(y, x, axis)
    ),
    passes_nan=True,
)
def _norm(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Square root of the sum of squares. Its gradient at 0 is 0."""
    return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))


_ORDERS: dict[int, tuple[Any, ...]] = {  # by the number of axes: of a vector, of a matrix
    1: (None, 1, 2, math.inf, -math.inf),
    2: (None, "fro"),
}


@in_single
def norm(x: Any, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Any:
    """Length of the vectors along ``axis``; by default the root of the sum of all squares.

    ``ord``: 2 or None for that, 1 for the sum of absolute values, inf and -inf for the largest and
    the smallest. Of matrices (two axes) None or "fro". The gradient of the zero vector is 0. As
    numpy.linalg.norm; raises ValueError for its other orders.

    >>> norm(np.array([[3.0, 4.0], [0.0, 1.0]]), axis=1)
    array([5., 1.])
    """
    if x.dtype.kind in "iub":
        x = astype(x, np.float64)
    if axis is None and ord is None:
        return _norm(x, None, keepdims)
    axes = _axes(axis, x.ndim)
    known = _ORDERS.get(len(axes), ())
    if ord not in known:
        allowed = f"ord must be one of {known}" if known else "there must be one or two axes"
        raise ValueError(
            f"norm: over {len(axes)} axes {allowed}, got ord={ord!r}. For norms of vectors give "
            "their axis, as axis=-1; for that of all elements x.ravel()."
        )
    if ord in (None, 2, "fro"):
        return _norm(x, axes, keepdims)
    if ord == math.inf and not x.size:
        ord = 1  # the largest of nothing is 0, as in NumPy
    reduce = {1: sum, math.inf: max, -math.inf: min}[ord]
    return reduce(abs(x), axes, keepdims)


@primitive(None)
def _first(x: Any, axis: Axis) -> Any:
    """The first element over ``axis``, as a constant: without gradient."""
    axes = _axes(axis, x.ndim)
    return x[tuple(slice(0, 1) if i in axes else slice(None) for i in range(x.ndim))]


def _freedom(x: Any, axis: Axis, ddof: float) -> float:
    return builtins.max(_count(x, axis) - ddof, 0)


def _extremum_vjp(g: Any, y: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    ties = equal(x, _kept(y, x, axis))
    count = sum(astype(ties, x.dtype), axis=axis, keepdims=True)
    return where(ties, _kept(g, x, axis) / count, 0)


@primitive(_extremum_vjp, passes_nan=True)
def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Largest element over ``axis``; ties share the gradient equally.

    >>> max(np.array([[1.0, 5.0], [3.0, 4.0]]), axis=0)
    array([3., 5.])
    """
    return np.max(x, axis=axis, keepdims=keepdims)


@primitive(_extremum_vjp, passes_nan=True)
def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Smallest element over ``axis``; ties share the gradient equally.

    >>> min(np.array([[1.0, 5.0], [3.0, 4.0]]), axis=0)
    array([1., 4.])
    """
    return np.min(x, axis=axis, keepdims=keepdims)


@in_single
def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Product over ``axis``, exact gradients of every order at zeros too.

    Neighbours are multiplied in a tree of depth log2(n), so nothing is divided by an element.

    >>> prod(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    array([3., 8.])
    """
    if x.dtype.kind in "iub":
        x = astype(x, np.prod(np.ones(0, x.dtype)).dtype)  # NumPy widens them
    shape, axes = x.shape, _axes(axis, x.ndim)
    rest = tuple(i for i in range(len(shape)) if i not in axes)
    outer = tuple(shape[i] for i in rest)
    x = reshape(transpose(x, rest + axes), (*outer, math.prod(shape[i] for i in axes)))
    if x.shape[-1] == 0:
        x = sum(x, axis=-1, keepdims=True) + 1
    while (n := x.shape[-1]) > 1:
        left, right = slice(0, n // 2), slice(n // 2, n // 2 * 2)
        pairs = getitem(x, (..., left)) * getitem(x, (..., right))
        x = concatenate([pairs, getitem(x, (..., slice(n - 1, n)))], axis=-1) if n % 2 else pairs
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return reshape(x, kept if keepdims else outer)


@in_single
def cumsum(x: Any, axis: int | None = None) -> Any:
    """Running sum along ``axis``; None runs over the flattened array.

    >>> cumsum(np.array([1.0, 2.0, 3.0]))
    array([1., 3., 6.])
    """
    if axis is None or not shape_of(x):
        return _cumsum(ravel(x), axis or 0)
    return _cumsum(x, axis)


@primitive(lambda g, y, x, axis: flip(_cumsum(flip(g, axis), axis), axis), passes_nan=True)
def _cumsum(x: Any, axis: int) -> Any:
    return np.cumsum(x, axis=axis)


def _cumprod_vjp(g: Any, y: Any, x: Any, axis: int) -> Any:
    """Return P_k S_k: the product before k, and S_k = g_k + x_(k+1) S_(k+1), found by doubling.

    Nothing is divided by an element, so that it is exact at zeros, and so are its derivatives.
    """
    n = x.shape[axis]
    before = _moved(y, -1, axis, 1)
    factor, step = _moved(x, 1, axis), 1  # the product of as many elements after k as summed
    while step < n:
        g = g + guarded_multiply(_moved(g, step, axis), factor)
        factor = _moved(factor, step, axis) * factor
        step *= 2
    return guarded_multiply(g, before)


def _moved(x: Any, steps: int, axis: int, fill: float = 0) -> Any:
    """Move elements ``steps`` places to the front, or to the back, filling up."""
    before = (slice(None),) * (axis % x.ndim)
    width = [(0, 0)] * len(before) + [(builtins.max(-steps, 0), builtins.max(steps, 0))]
    width += [(0, 0)] * (x.ndim - len(width))
    kept = slice(steps, None) if steps > 0 else slice(None, x.shape[axis])
    return getitem(pad(x, width, constant_values=fill), (*before, kept))


@in_single
def cumprod(x: Any, axis: int | None = None) -> Any:
    """Running product along ``axis``; None runs over the flattened array.

    Gradients of every order are exact at zeros too.

    >>> cumprod(np.array([1.0, 2.0, 3.0]))
    array([1., 2., 6.])
    """
    if axis is None or not shape_of(x):
        return _cumprod(ravel(x), axis or 0)
    return _cumprod(x, axis)


@primitive(_cumprod_vjp, passes_nan=True)
def _cumprod(x: Any, axis: int) -> Any:
    return np.cumprod(x, axis=axis)


@operation
def diff(x: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """Differences of neighbours along ``axis``, taken ``n`` times.

    ``prepend`` and ``append``: what is joined on before, numbers or arrays; None for nothing.

    >>> diff(np.array([1.0, 4.0, 9.0])), diff(np.array([1.0, 4.0, 9.0]), n=2)
    (array([3., 5.]), array([2.]))
    """
    n, x = check.integer("diff", "n", n, at_least=0), as_array("diff", x)
    if not x.ndim:
        raise ValueError("diff: x must have an axis, got a scalar.")
    axis = normalize_axis_index(axis, x.ndim)
    edge = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    parts = []
    for part in (prepend, x, append):
        if isinstance(part, (int, float)):
            part = np.asarray(part, np.result_type(x.dtype, part))  # weak, as everywhere
        if part is not None:
            part = as_array("diff", part)
            parts.append(part if part.ndim else broadcast_to(part, edge))
    x = concatenate(parts, axis) if len(parts) > 1 else x
    before = (slice(None),) * axis
    for _ in range(n):
        later = getitem(x, (*before, slice(1, None)))
        earlier = getitem(x, (*before, slice(None, -1)))
        x = compare(later, earlier, np.not_equal) if x.dtype == bool else later - earlier
    return x


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index of the first largest element along ``axis``: integers, without gradient.

    >>> argmax(np.array([[1.0, 5.0], [3.0, 4.0]]), axis=0)
    array([1, 0])
    """
    return values(_place(x, axis, keepdims, np.argmax))[()]


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Index of the first smallest element along ``axis``: integers, without gradient.

    >>> argmin(np.array([[1.0, 5.0], [3.0, 4.0]]), axis=0)
    array([0, 1])
    """
    return values(_place(x, axis, keepdims, np.argmin))[()]


@primitive(None)
def _place(x: Any, axis: int | None, keepdims: bool, find: Callable[..., Any]) -> Any:
    return find(x, axis=axis, keepdims=keepdims)


def _logsumexp_vjp(g: Any, y: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    absent = equal(_kept(y, x, axis), -math.inf)  # all are -inf
    shares = where(absent, 0, softmax(where(absent, 0, x), axis))
    return guarded_multiply(_kept(g, x, axis), shares)


@primitive(_logsumexp_vjp, passes_nan=True)
def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """``log(sum(exp(x)))`` over ``axis``, without overflow.

    Parameters
    ----------
    x : array_like
        Of any shape.
    axis : int or tuple, default None
        The axes that are gone over, None for all.
    keepdims : bool, default False
        Whether they stay, with length 1.

    Examples
    --------
    >>> logsumexp(np.array([1000.0, 1000.0])).round(4)
    np.float64(1000.6931)
    """
    shifted, top = _below_peak(x, axis)
    with np.errstate(divide="ignore"):
        y = np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True)) + top
    return _as_given(y if keepdims else np.squeeze(y, axis=axis), x)


@primitive(
    lambda g, y, x, axis: guarded_multiply(g - sum(guarded_multiply(g, y), axis, True), y),
    passes_nan=True,
)
def softmax(x: Any, axis: Axis = -1) -> Any:
    """Exponentials along ``axis``, scaled to sum to 1.

    Parameters
    ----------
    x : array_like
        Of any shape.
    axis : int or tuple, default -1
        The axes that are gone over, None for all.

    Examples
    --------
    >>> softmax(np.array([0.0, 1000.0]))
    array([0., 1.])
    """
    power = np.exp(_below_peak(x, axis)[0])
    return _as_given(power / np.sum(power, axis=axis, keepdims=True), x)


@primitive(lambda g, y, x, axis: g - guarded_multiply(sum(g, axis, True), exp(y)), passes_nan=True)
def log_softmax(x: Any, axis: Axis = -1) -> Any:
    """Logarithm of :func:`softmax`, without underflow.

    Parameters
    ----------
    x : array_like
        Of any shape.
    axis : int or tuple, default -1
        The axes that are gone over, None for all.

    Examples
    --------
    >>> log_softmax(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """
    shifted = _below_peak(x, axis)[0]
    return _as_given(shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True)), x)


def _below_peak(x: Any, axis: Axis) -> tuple[Any, Any]:
    """Return x less its largest element, which keeps exp from overflowing, and that element."""
    x = widened(floats(x))
    if x.size == 0:
        return x, 0
    top = np.max(np.real(x), axis=axis, keepdims=True)
    if all_finite(np.asarray(top)):
        return x - top, top
    # An infinite peak lies 0 below itself, as in the limit; no -inf or nan is subtracted.
    top = np.where(top > -np.inf, top, np.zeros((), top.dtype))
    with np.errstate(invalid="ignore"):
        return np.where(np.equal(x, top), np.zeros((), x.dtype), x - top), top


def _as_given(y: Any, x: Any) -> Any:
    """Return a result in half precision if ``x`` was."""
    return y.astype(np.float16) if np.asarray(x).dtype == np.float16 else y


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
    shape = shape_of(x)
    if axis is None:
        return math.prod(shape)
    return math.prod(shape[i] for i in _axes(axis, len(shape)))
