"""Operations on arrays: each one's forward, vjps and docstring in one place.

Every function takes arrays, scalars or Tensors. Given plain arrays it is plain NumPy; given a
Tensor it returns a Tensor and records. Names, shapes, axes and broadcasting are NumPy's. Python
scalars are weak: they never change a dtype.

In a vjp, ``g`` is the gradient of the result ``y``. Where a slope may be infinite or undefined,
``guarded_multiply`` and ``guarded_divide`` keep a zero gradient zero, so that the branch which
:func:`where` did not take cannot spoil the one that it took.
"""

import builtins
import itertools
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, ParamSpec

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from tinynn.autodiff.graph import Node
from tinynn.autodiff.primitive import (
    Primitive,
    Vjp,
    as_array,
    primitive,
    register,
    shape_of,
    values,
    variadic,
)

P = ParamSpec("P")
Axis = int | tuple[int, ...] | None


# ---------------------------------------------------------------- broadcasting


@primitive(lambda g, y, x, shape: sum_to(g, x.shape))
def broadcast_to(x: Any, shape: Any) -> Any:
    """Repeat ``x`` along new or single-element axes to ``shape``; as numpy.broadcast_to.

    >>> broadcast_to(np.array([1, 2]), (2, 2))
    array([[1, 2],
           [1, 2]])
    """
    if type(x) is np.ndarray and x.ndim == 0 and type(shape) is tuple and -1 not in shape:
        y: np.ndarray = np.ndarray(shape, x.dtype, x, 0, (0,) * len(shape))
        y.flags.writeable = False
        return y
    return np.broadcast_to(x, shape)


@primitive(lambda g, y, x, shape: broadcast_to(g, x.shape))
def sum_to(x: Any, shape: tuple[int, ...]) -> Any:
    """Sum ``x`` down to ``shape``: the adjoint of :func:`broadcast_to`.

    >>> sum_to(np.ones((3, 2)), (2,))
    array([3., 3.])
    """
    axes = _broadcast_axes(x.shape, shape)
    if axes == (0, 1) and x.ndim == 3 and x.dtype.kind == "f":
        steps = np.empty(x.shape[1:], x.dtype)  # one axis after the other: ten times as fast
        return np.add.reduce(np.add.reduce(x, axis=0, out=steps), axis=0).reshape(shape)
    return np.add.reduce(x, axis=axes).reshape(shape) if axes else x.reshape(shape)


@lru_cache(maxsize=512)
def _broadcast_axes(shape: tuple[int, ...], of: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes of ``shape`` along which an array of shape ``of`` was repeated."""
    lead = len(shape) - len(of)
    return tuple(range(lead)) + tuple(
        i + lead for i, n in enumerate(of) if n == 1 and shape[i + lead] != 1
    )


def _unbroadcast(vjp: Vjp | None, i: int) -> Vjp | None:
    if vjp is None:
        return None

    def summed(g: Any, y: Any, *args: Any, **params: Any) -> Any:
        gradient = vjp(g, y, *args, **params)
        shape = args[i].shape
        # Any shape but the result's is left to the check that names operation and argument.
        if getattr(gradient, "shape", ()) == g.shape != shape:
            return sum_to(gradient, shape)
        return gradient

    return summed


def elementwise(*vjps: Vjp | None) -> Callable[[Callable[P, Any]], Primitive[P]]:
    """Turn a NumPy function that broadcasts into an operation with gradients; a decorator.

    As :func:`tinynn.primitive`, but a vjp may return a gradient of the result's shape: it is
    summed over the axes along which the argument was broadcast.

    >>> @elementwise(lambda g, y, a, b: g * b, lambda g, y, a, b: g * a)
    ... def product(a, b):
    ...     return a * b
    >>> product(np.array([1.0, 2.0]), 3.0)
    array([3., 6.])
    """

    def decorate(forward: Callable[P, Any]) -> Primitive[P]:
        return register(forward, [_unbroadcast(vjp, i) for i, vjp in enumerate(vjps)], elementwise=True)

    return decorate


# ---------------------------------------------------------------- arithmetic


def all_finite(array: Any) -> bool:
    """Tell whether no element is infinite or nan; of large values it may say False wrongly."""
    if array.dtype.kind == "c" or array.dtype.itemsize < 4:
        return bool(np.isfinite(array).all())
    return math.isfinite(np.add.reduce(array, axis=None))


def long_row(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the fewest last axes of ``shape`` that hold a thousand elements.

    NumPy combines an array with such a row several times as fast as with a number, for maximum and
    minimum, or with a short row. () if it would take more than 2**16 elements.
    """
    size, first = 1, len(shape)
    while first and size < 1000:
        first -= 1
        size *= shape[first]
    return shape[first:] if size <= 2**16 else ()


@elementwise(
    lambda h, y, g, slope: guarded_multiply(h, slope),
    lambda h, y, g, slope: guarded_multiply(h, g),
)
def guarded_multiply(g: Any, slope: Any) -> Any:
    """Multiply ``g`` by ``slope``, but 0 wherever ``g`` is 0, also where ``slope`` is inf or nan.

    >>> guarded_multiply(np.array([0.0, 2.0]), np.array([1.0, 3.0]))
    array([0., 6.])
    """
    product = np.multiply(g, slope)
    if all_finite(product):
        return product
    return np.where(np.equal(g, 0), np.zeros((), product.dtype), product)


@elementwise(
    lambda h, y, g, d: guarded_divide(h, d),
    lambda h, y, g, d: -guarded_divide(guarded_multiply(h, y), d),
)
def guarded_divide(g: Any, d: Any) -> Any:
    """Divide ``g`` by ``d``, but 0 wherever ``g`` is 0, also where ``d`` is 0 or nan.

    >>> guarded_divide(np.array([0.0, 6.0]), np.array([1.0, 3.0]))
    array([0., 2.])
    """
    quotient = np.divide(g, d)
    if all_finite(quotient):
        return quotient
    return np.where(np.equal(g, 0), np.zeros((), quotient.dtype), quotient)


@elementwise(lambda g, y, a, b: g, lambda g, y, a, b: g)
def add(a: Any, b: Any) -> Any:
    """Sum ``a + b``, elementwise.

    >>> add(np.array([1, 2]), 3)
    array([4, 5])
    """
    bias = type(a) is type(b) is np.ndarray and b.ndim == 1 < len(b) and a.shape[2:] == b.shape
    if bias and len(a) > 1:
        b = np.broadcast_to(b, a.shape[1:]).copy()  # NumPy prefers long rows
    return np.add(a, b)


@elementwise(lambda g, y, a, b: g, lambda g, y, a, b: -g)
def subtract(a: Any, b: Any) -> Any:
    """Difference ``a - b``, elementwise.

    >>> subtract(np.array([1, 2]), 3)
    array([-2, -1])
    """
    return np.subtract(a, b)


@elementwise(
    lambda g, y, a, b: guarded_multiply(g, b),
    lambda g, y, a, b: guarded_multiply(g, a),
)
def multiply(a: Any, b: Any) -> Any:
    """Product ``a * b``, elementwise.

    >>> multiply(np.array([1, 2]), 3)
    array([3, 6])
    """
    return np.multiply(a, b)


@elementwise(
    lambda g, y, a, b: guarded_divide(g, b),
    lambda g, y, a, b: -guarded_divide(guarded_multiply(g, y), b),
)
def divide(a: Any, b: Any) -> Any:
    """Quotient ``a / b``, elementwise.

    >>> divide(np.array([1.0, 2.0]), 4)
    array([0.25, 0.5 ])
    """
    return np.divide(a, b)


@elementwise(lambda g, y, x: -g)
def negative(x: Any) -> Any:
    """Negation ``-x``, elementwise.

    >>> negative(np.array([1, -2]))
    array([-1,  2])
    """
    return np.negative(x)


def _power_vjp_base(g: Any, y: Any, x: Any, p: Any) -> Any:
    # At p = 0 the slope is 0 also where x ** (p - 1) is infinite.
    if isinstance(p, (int, float)):
        return guarded_multiply(g, p * power(x, p - 1 if p else 1))
    return guarded_multiply(g, p * power(x, where(equal(p, 0), 1, p - 1)))


@elementwise(
    _power_vjp_base,
    lambda g, y, x, p: guarded_multiply(g, y * log(where(equal(x, 0), 1, x))),
)
def power(x: Any, p: Any) -> Any:
    """Raise ``x`` to the power ``p``, elementwise.

    dy/dx = p x^(p-1); dy/dp = y log x, taken as 0 at x = 0.

    >>> power(np.array([1.0, 2.0]), 3)
    array([1., 8.])
    """
    return x**p if isinstance(x, np.ndarray) else np.power(x, p)


@elementwise(lambda g, y, x: guarded_multiply(g, 2 * x))
def square(x: Any) -> Any:
    """Square ``x * x``, elementwise.

    >>> square(np.array([1.0, -2.0]))
    array([1., 4.])
    """
    return np.square(x)


@elementwise(lambda g, y, x: guarded_multiply(g, sign(x)))
def abs(x: Any) -> Any:
    """Absolute value, elementwise. Its slope at 0 is taken as 0.

    >>> abs(np.array([1.0, -2.0]))
    array([1., 2.])
    """
    return np.abs(x)


@elementwise(lambda g, y, x: g * 0)
def sign(x: Any) -> Any:
    """Sign -1, 0 or 1, elementwise. Its slope is 0 everywhere.

    >>> sign(np.array([1.5, 0.0, -2.0]))
    array([ 1.,  0., -1.])
    """
    return np.sign(x)


def equal(a: Any, b: Any) -> Any:
    """Tell where ``a`` equals ``b``, elementwise: booleans, without gradient.

    >>> equal(np.array([1.0, 2.0]), 2.0)
    array([False,  True])
    """
    return compare(a, b, np.equal)


@elementwise(None, None)
def compare(a: Any, b: Any, relation: np.ufunc) -> Any:
    """Relation between ``a`` and ``b``, elementwise, such as numpy.less: without gradient.

    >>> compare(np.array([1.0, 2.0]), 2.0, np.less)
    array([ True, False])
    """
    return relation(a, b)


@elementwise(None)
def holds(x: Any, predicate: np.ufunc) -> Any:
    """Property of each element, such as numpy.isnan: without gradient.

    >>> holds(np.array([1.0, np.nan]), np.isnan)
    array([False,  True])
    """
    return predicate(x)


# ---------------------------------------------------------------- elementary functions


@elementwise(lambda g, y, x: guarded_multiply(g, y))
def exp(x: Any) -> Any:
    """Exponential function, elementwise.

    >>> exp(np.array([0.0, 1.0]))
    array([1.        , 2.71828183])
    """
    return np.exp(x)


@elementwise(lambda g, y, x: guarded_multiply(g, y + 1))
def expm1(x: Any) -> Any:
    """``exp(x) - 1``, precise for small ``x``, elementwise.

    >>> expm1(np.array([1e-20]))
    array([1.e-20])
    """
    return np.expm1(x)


@elementwise(lambda g, y, x: guarded_divide(g, x))
def log(x: Any) -> Any:
    """Natural logarithm, elementwise.

    >>> log(np.array([1.0, np.e]))
    array([0., 1.])
    """
    return np.log(x)


@elementwise(lambda g, y, x: guarded_divide(g, 1 + x))
def log1p(x: Any) -> Any:
    """``log(1 + x)``, precise for small ``x``, elementwise.

    >>> log1p(np.array([1e-20]))
    array([1.e-20])
    """
    return np.log1p(x)


@elementwise(lambda g, y, x: guarded_divide(0.5 * g, y))
def sqrt(x: Any) -> Any:
    """Non-negative square root, elementwise.

    >>> sqrt(np.array([1.0, 4.0]))
    array([1., 2.])
    """
    return np.sqrt(x)


@elementwise(lambda g, y, x: guarded_multiply(g, cos(x)))
def sin(x: Any) -> Any:
    """Sine of ``x`` in radians, elementwise.

    >>> sin(np.array([0.0, np.pi / 2]))
    array([0., 1.])
    """
    return np.sin(x)


@elementwise(lambda g, y, x: -guarded_multiply(g, sin(x)))
def cos(x: Any) -> Any:
    """Cosine of ``x`` in radians, elementwise.

    >>> cos(np.array([0.0, np.pi]))
    array([ 1., -1.])
    """
    return np.cos(x)


@elementwise(lambda g, y, x: guarded_multiply(g, 1 + y * y))
def tan(x: Any) -> Any:
    """Tangent of ``x`` in radians, elementwise.

    >>> tan(np.array([0.0, 1.0]))
    array([0.        , 1.55740772])
    """
    return np.tan(x)


@elementwise(lambda g, y, x: guarded_divide(g, 1 + x * x))
def arctan(x: Any) -> Any:
    """Inverse tangent in radians, elementwise.

    >>> arctan(np.array([0.0, 1.0]))
    array([0.        , 0.78539816])
    """
    return np.arctan(x)


@elementwise(lambda g, y, x: guarded_multiply(g, cosh(x)))
def sinh(x: Any) -> Any:
    """Hyperbolic sine, elementwise.

    >>> sinh(np.array([0.0, 1.0]))
    array([0.        , 1.17520119])
    """
    return np.sinh(x)


@elementwise(lambda g, y, x: guarded_multiply(g, sinh(x)))
def cosh(x: Any) -> Any:
    """Hyperbolic cosine, elementwise.

    >>> cosh(np.array([0.0, 1.0]))
    array([1.        , 1.54308063])
    """
    return np.cosh(x)


@elementwise(lambda g, y, x: guarded_multiply(g, 1 - y * y))
def tanh(x: Any) -> Any:
    """Hyperbolic tangent, elementwise.

    >>> tanh(np.array([0.0, 1.0]))
    array([0.        , 0.76159416])
    """
    return np.tanh(x)


# log((1 - erf z) exp(z^2) / t) with t = 2 / (2 + z), z >= 0, as a Chebyshev series in 2 t - 1.
_ERFC_SERIES = (
    -0.6513268598908547,
    0.6419697923564902,
    0.019476473204185836,
    -0.009561514786808632,
    -0.0009465953444820368,
    0.00036683949785276145,
    4.2523324806907776e-05,
    -2.027857811253425e-05,
    -1.6242900046470207e-06,
    1.3036558355805188e-06,
    1.562644172207037e-08,
    -8.523809591493047e-08,
    6.529054439102472e-09,
    5.059343495548183e-09,
    -9.91364156490099e-10,
    -2.2736512229574948e-10,
    9.646791102233921e-11,
    2.394038081248956e-12,
    -6.886027525110881e-12,
    8.944879263334013e-13,
    3.1309214049367887e-13,
    -1.1270822375373606e-13,
    3.810902455039784e-16,
    7.106098312185193e-15,
    -1.5230293148083846e-15,
    -9.457342361969772e-17,
    1.2102179633567605e-16,
    -2.816431821588822e-17,
)


@elementwise(lambda g, y, x: guarded_multiply(g, (2 / math.sqrt(math.pi)) * exp(-x * x)))
def erf(x: Any) -> Any:
    """Error function, elementwise, to about 1e-15 (absolute).

    >>> erf(np.array([0.5, -30.0]))
    array([ 0.52049988, -1.        ])
    """
    z = np.abs(np.asarray(x))
    t = 2 / (2 + z)
    u = 2 * t - 1
    b1, b2 = np.zeros_like(u), np.zeros_like(u)
    for c in _ERFC_SERIES[:0:-1]:  # Clenshaw's recurrence
        b1, b2 = 2 * u * b1 - b2 + c, b1
    tail = t * np.exp(u * b1 - b2 + _ERFC_SERIES[0] - z * z)
    return np.copysign(1 - tail, x)


# ---------------------------------------------------------------- choices


@elementwise(
    None,
    lambda g, y, condition, a, b: where(condition, g, 0),
    lambda g, y, condition, a, b: where(condition, 0, g),
)
def where(condition: Any, a: Any, b: Any) -> Any:
    """Take ``a`` where ``condition`` holds, else ``b``. The other branch gets gradient 0, not nan.

    >>> where(np.array([True, False]), np.array([1.0, 2.0]), 0)
    array([1., 0.])
    """
    return np.where(condition, a, b)


@elementwise(
    lambda g, y, a, b: where(equal(a, b), 0.5 * g, guarded_multiply(a > b, g)),
    lambda g, y, a, b: where(equal(a, b), 0.5 * g, guarded_multiply(a < b, g)),
)
def maximum(a: Any, b: Any) -> Any:
    """Larger of ``a`` and ``b``, elementwise; a tie shares the gradient equally.

    >>> maximum(np.array([1.0, 3.0]), 2.0)
    array([2., 3.])
    """
    return np.maximum(a, b)


@elementwise(
    lambda g, y, a, b: where(equal(a, b), 0.5 * g, guarded_multiply(a < b, g)),
    lambda g, y, a, b: where(equal(a, b), 0.5 * g, guarded_multiply(a > b, g)),
)
def minimum(a: Any, b: Any) -> Any:
    """Smaller of ``a`` and ``b``, elementwise; a tie shares the gradient equally.

    >>> minimum(np.array([1.0, 3.0]), 2.0)
    array([1., 2.])
    """
    return np.minimum(a, b)


@elementwise(
    lambda g, y, x, low, high: guarded_multiply((x >= low) & (x <= high), g),
    lambda g, y, x, low, high: guarded_multiply((x < low) & (low <= high), g),
    lambda g, y, x, low, high: guarded_multiply(maximum(x, low) > high, g),
)
def _clip(x: Any, low: Any, high: Any) -> Any:
    return np.clip(x, low, high)


def clip(x: Any, a_min: Any = None, a_max: Any = None) -> Any:
    """Limit ``x`` to ``[a_min, a_max]``, elementwise; None means no limit on that side.

    The gradient passes inside the limits and at them. Raises ValueError without any limit.

    >>> clip(np.array([-1.0, 0.5, 2.0]), 0, 1)
    array([0. , 0.5, 1. ])
    """
    if a_min is None and a_max is None:
        raise ValueError("clip: a_min and a_max are both None; give at least one limit.")
    if a_min is None or a_max is None:
        smallest, largest = -math.inf, math.inf
        if values(x).dtype.kind in "iu":
            info = np.iinfo(values(x).dtype)
            smallest, largest = info.min, info.max
        a_min = smallest if a_min is None else a_min
        a_max = largest if a_max is None else a_max
    return _clip(x, a_min, a_max)


# ---------------------------------------------------------------- reductions


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return ``axis`` as a tuple. A 0-d array has no axis, but NumPy reduces it over 0 or -1."""
    return tuple(range(ndim)) if axis is None or ndim == 0 else normalize_axis_tuple(axis, ndim)


def _kept(x: Any, like: Any, axis: Axis) -> Any:
    """Give a reduced ``x`` back the axes of length 1 that it lost by ``axis``."""
    if axis is None and x.ndim == 0:
        return x  # it broadcasts as it is
    axes = _axes(axis, like.ndim)
    return reshape(x, tuple(1 if i in axes else n for i, n in enumerate(like.shape)))


@primitive(lambda g, y, x, axis, keepdims: broadcast_to(_kept(g, x, axis), x.shape))
def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Sum over ``axis`` (an int, a tuple, or None for all).

    >>> sum(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    array([4., 6.])
    """
    return np.add.reduce(x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]


def _count(x: Any, axis: Axis) -> int:
    shape = values(x).shape
    return math.prod(shape[i] for i in _axes(axis, len(shape)))


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


@primitive(lambda g, y, x, axis: flip(_cumsum(flip(g, axis), axis), axis))
def _cumsum(x: Any, axis: int) -> Any:
    return np.cumsum(x, axis=axis)


def cumsum(x: Any, axis: int | None = None) -> Any:
    """Running sum along ``axis``; None runs over the flattened array.

    >>> cumsum(np.array([1.0, 2.0, 3.0]))
    array([1., 3., 6.])
    """
    if axis is None or values(x).ndim == 0:
        return _cumsum(ravel(x), axis or 0)
    return _cumsum(x, axis)


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


def _peak(x: Any, axis: Axis) -> Any:
    """Return the largest element, to be subtracted before exp; 0 if it is infinite or absent."""
    if np.size(x) == 0:
        return 0
    top = np.max(np.real(x), axis=axis, keepdims=True)
    return np.where(np.isfinite(top), top, np.zeros((), top.dtype))


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


# ---------------------------------------------------------------- shapes


@primitive(lambda g, y, x, shape: reshape(g, x.shape))
def reshape(x: Any, shape: Any) -> Any:
    """Same elements in another shape; one length may be -1.

    >>> reshape(np.arange(6), (2, -1))
    array([[0, 1, 2],
           [3, 4, 5]])
    """
    return np.reshape(x, shape)


def ravel(x: Any) -> Any:
    """Flatten to one axis.

    >>> ravel(np.array([[1, 2], [3, 4]]))
    array([1, 2, 3, 4])
    """
    return reshape(x, (-1,))


def squeeze(x: Any, axis: Axis = None) -> Any:
    """Drop axes of length 1: all, or those named.

    >>> squeeze(np.ones((1, 2, 1)), axis=0).shape
    (2, 1)
    """
    return reshape(x, np.squeeze(_ghost(x), axis).shape)


def expand_dims(x: Any, axis: int | tuple[int, ...]) -> Any:
    """Insert axes of length 1 at ``axis`` of the result.

    >>> expand_dims(np.ones(3), (0, 2)).shape
    (1, 3, 1)
    """
    return reshape(x, np.expand_dims(_ghost(x), axis).shape)


def _ghost(x: Any) -> np.ndarray:
    """Return an array of x's shape without memory, to ask NumPy what a shape becomes."""
    return np.broadcast_to(np.zeros(()), values(x).shape)


@primitive(lambda g, y, x, axes: transpose(g, axes and tuple(np.argsort(axes).tolist())))
def _transpose(x: Any, axes: Any) -> Any:
    return np.transpose(x, axes)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """Permute the axes; None reverses them.

    >>> transpose(np.ones((2, 3, 4)), (1, 0, 2)).shape
    (3, 2, 4)
    """
    if axes is not None:
        axes = normalize_axis_tuple(tuple(axes), values(x).ndim)
    return _transpose(x, axes)


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Exchange two axes.

    >>> swapaxes(np.ones((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    order = list(range(values(x).ndim))
    i, j = (normalize_axis_index(axis, len(order)) for axis in (axis1, axis2))
    order[i], order[j] = j, i
    return transpose(x, order)


def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """Move axes to new places; the others keep their order.

    >>> moveaxis(np.ones((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    ndim = values(x).ndim
    names = np.moveaxis(np.empty(range(ndim)), source, destination).shape
    return transpose(x, names)


@variadic(
    lambda i, g, y, xs, axis, ends: getitem(
        g, (*(slice(None),) * axis, slice(ends[i] - xs[i].shape[axis], ends[i]))
    )
)
def _concatenate(*xs: Any, axis: int, ends: tuple[int, ...]) -> Any:
    return np.concatenate(xs, axis=axis)


def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Any:
    """Join arrays along an axis that they have; None joins them flattened.

    >>> concatenate([np.ones((2, 3)), np.zeros((1, 3))]).shape
    (3, 3)
    """
    arrays = [ravel(x) if axis is None else as_array("concatenate", x) for x in arrays]
    if not arrays:
        raise ValueError("concatenate: give at least one array.")
    axis = normalize_axis_index(axis or 0, values(arrays[0]).ndim)
    # Where each array ends; one with too few axes is refused by NumPy below.
    ends = itertools.accumulate(math.prod(values(x).shape[axis : axis + 1]) for x in arrays)
    return _concatenate(*arrays, axis=axis, ends=tuple(ends))


def stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Join arrays of one shape along a new axis.

    >>> stack([np.ones(3), np.zeros(3)]).shape
    (2, 3)
    """
    arrays = list(arrays)
    shapes = sorted({values(x).shape for x in arrays})
    if len(shapes) != 1:
        raise ValueError(
            f"stack: give at least one array, and all of the same shape, got shapes {shapes}."
        )
    return concatenate([expand_dims(x, axis) for x in arrays], axis=axis)


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Cut along ``axis``: into that many equal parts, or before each of the indices given.

    >>> [part.tolist() for part in split(np.arange(5), [1, 3])]
    [[0], [1, 2], [3, 4]]
    """
    n = values(x).shape[normalize_axis_index(axis, values(x).ndim)]
    parts = np.split(np.arange(n), indices_or_sections)
    before = (slice(None),) * normalize_axis_index(axis, values(x).ndim)
    return [
        getitem(x, (*before, slice(int(part[0]), int(part[-1]) + 1) if part.size else slice(0, 0)))
        for part in parts
    ]


@primitive(lambda g, y, x, widths, value: getitem(g, _inner(widths, x.shape)))
def _pad(x: Any, widths: Any, value: Any) -> Any:
    return np.pad(x, widths, constant_values=value)


def _inner(widths: Any, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(left, left + n) for (left, _), n in zip(widths, shape, strict=True))


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: float = 0) -> Any:
    """Lengthen axes at both ends; ``pad_width`` as in numpy.pad, down to one int for all.

    Modes: constant, and all of NumPy's that copy elements: edge, reflect, symmetric, wrap.

    >>> pad(np.array([1, 2, 3]), (1, 2), mode="reflect")
    array([2, 1, 2, 3, 2, 1])
    """
    shape = values(x).shape
    if isinstance(pad_width, dict):
        axes = {normalize_axis_index(axis, len(shape)): width for axis, width in pad_width.items()}
        pad_width = [axes.get(i, (0, 0)) for i in range(len(shape))]
        pad_width = [(w, w) if np.ndim(w) == 0 else w for w in pad_width]
    array = np.broadcast_to(np.asarray(pad_width), (len(shape), 2))
    if array.dtype.kind not in "iu" or (array < 0).any():
        raise ValueError(f"pad: pad_width must be non-negative integers, got {pad_width!r}.")
    widths = tuple((int(left), int(right)) for left, right in array)
    if mode == "constant":
        return _pad(x, widths, constant_values)
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise ValueError(
            f"pad: mode must be 'constant', 'edge', 'reflect', 'symmetric' or 'wrap', got {mode!r}."
        )
    for axis, width in enumerate(widths):
        if width != (0, 0):
            index = np.pad(np.arange(shape[axis]), width, mode=mode)  # type: ignore[call-overload]
            x = getitem(x, (*(slice(None),) * axis, index))
    return x


@primitive(lambda g, y, x, axis: flip(g, axis))
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
    )
)
def roll(x: Any, shift: Any, axis: Axis = None) -> Any:
    """Move elements along ``axis`` by ``shift`` places; those that fall off come in again.

    >>> roll(np.array([1, 2, 3]), 1)
    array([3, 1, 2])
    """
    return np.roll(x, shift, axis)


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Repeat each element ``repeats`` times along ``axis``; None flattens first.

    >>> repeat(np.array([1, 2]), 2)
    array([1, 1, 2, 2])
    """
    if axis is None:
        x, axis = ravel(x), 0
    axis = normalize_axis_index(axis, values(x).ndim)
    index = np.repeat(np.arange(values(x).shape[axis]), repeats)
    return getitem(x, (*(slice(None),) * axis, index))


@primitive(lambda g, y, x, dtype: g)
def astype(x: Any, dtype: Any) -> Any:
    """Convert the elements to ``dtype``; gradients return in x's own.

    >>> astype(np.array([1.5, 2.5]), "float32").dtype
    dtype('float32')
    """
    return np.asarray(x).astype(dtype)


# ---------------------------------------------------------------- indexing


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


@primitive(lambda g, y, x, index: _scatter(g, index, x.shape))
def _getitem(x: Any, index: Any) -> Any:
    return np.asarray(x)[index]


@primitive(lambda g, y, x, index, shape: _getitem(g, index))
def _scatter(x: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Put ``x`` into zeros of ``shape`` at ``index``, adding where one place is named twice."""
    y = np.zeros(shape, x.dtype)
    if _selects_once(index):
        y[index] = x
    else:
        np.add.at(y, index, x)
    return y


@primitive(lambda g, y, x, index: _put_last(g, index, size=x.shape[-1]), None)
def _take_last(x: Any, index: Any) -> Any:
    """Select one element of the last axis at each place: x (..., n), integers (...) -> (...)."""
    return np.take_along_axis(x, index[..., None], -1)[..., 0]


@primitive(lambda h, y, x, index, size: _take_last(h, index), None)
def _put_last(x: Any, index: Any, size: int) -> Any:
    """Adjoint of :func:`_take_last`: each element of x in a row of zeros of ``size``."""
    y = np.zeros((*x.shape, size), x.dtype)
    np.put_along_axis(y, index[..., None], x[..., None], -1)
    return y


def getitem(x: Any, index: Any) -> Any:
    """Select ``x[index]``: ints, slices, None, ``...``, masks, integer arrays, as in NumPy.

    >>> getitem(np.array([10, 20, 30]), [0, 0, 2])
    array([10, 10, 30])
    """
    parts = tuple(map(_plain_index, index)) if isinstance(index, tuple) else _plain_index(index)
    return _getitem(x, parts)


# ---------------------------------------------------------------- linear algebra


def _as_matrices(g: Any, a: Any, b: Any) -> tuple[Any, Any, Any]:
    """Give vectors the axis of length 1 that the matrix product treats them as having."""
    if b.ndim == 1:
        g, b = expand_dims(g, -1), expand_dims(b, -1)
    if a.ndim == 1:
        g, a = expand_dims(g, -2), expand_dims(a, 0)
    return g, a, b


def _matmul_vjp_a(g: Any, y: Any, a: Any, b: Any) -> Any:
    shape = a.shape
    g, a, b = _as_matrices(g, a, b)
    return reshape(sum_to(matmul(g, swapaxes(b, -1, -2)), a.shape), shape)


def _matmul_vjp_b(g: Any, y: Any, a: Any, b: Any) -> Any:
    shape = b.shape
    g, a, b = _as_matrices(g, a, b)
    if b.ndim == 2:  # one large product in place of a stack of small ones
        rows = math.prod(a.shape[:-1])
        a, g = reshape(a, (rows, a.shape[-1])), reshape(g, (rows, g.shape[-1]))
    return reshape(sum_to(matmul(swapaxes(a, -1, -2), g), b.shape), shape)


@primitive(_matmul_vjp_a, _matmul_vjp_b)
def matmul(a: Any, b: Any) -> Any:
    """Matrix product ``(..., n, k) @ (..., k, m) -> (..., n, m)``; vectors as in NumPy.

    >>> matmul(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 1.0]))
    array([3., 7.])
    """
    return np.matmul(a, b)


def dot(a: Any, b: Any) -> Any:
    """Dot product: over the last axis of ``a`` and the second to last (or only) one of ``b``.

    >>> dot(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    np.float64(11.0)
    """
    n, m = np.ndim(values(a)), np.ndim(values(b))
    if n == 0 or m == 0:
        return multiply(a, b)
    if m <= 2 or n == 1:
        return matmul(a, b)
    return tensordot(a, b, axes=((n - 1,), (m - 2,)))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Sum of products over ``axes``: a number of axes (last of a, first of b), or a pair of lists.

    >>> tensordot(np.ones((2, 3)), np.ones((3, 4)), axes=1).shape
    (2, 4)
    """
    shape_a, shape_b = values(a).shape, values(b).shape
    n, m = len(shape_a), len(shape_b)
    if isinstance(axes, (int, np.integer)):
        axes = (range(n - axes, n), range(axes))
    over_a, over_b = ([axes_] if np.ndim(axes_) == 0 else list(axes_) for axes_ in axes)
    over_a = [normalize_axis_index(i, n) for i in over_a]
    over_b = [normalize_axis_index(i, m) for i in over_b]
    if [shape_a[i] for i in over_a] != [shape_b[i] for i in over_b]:
        raise ValueError(
            f"tensordot: axes {over_a} of shape {shape_a} and {over_b} of shape {shape_b} "
            "must have the same lengths."
        )
    rest_a = [i for i in range(n) if i not in over_a]
    rest_b = [i for i in range(m) if i not in over_b]
    size = math.prod(shape_a[i] for i in over_a)
    left = tuple(shape_a[i] for i in rest_a)
    right = tuple(shape_b[i] for i in rest_b)
    a = reshape(transpose(a, rest_a + over_a), (math.prod(left), size))
    b = reshape(transpose(b, over_b + rest_b), (size, math.prod(right)))
    return reshape(matmul(a, b), left + right)


def outer(a: Any, b: Any) -> Any:
    """Outer product of two arrays, flattened: ``(n,), (m,) -> (n, m)``.

    >>> outer(np.array([1, 2]), np.array([3, 4]))
    array([[3, 4],
           [6, 8]])
    """
    return reshape(a, (-1, 1)) * reshape(b, (1, -1))


def _einsum_vjp(i: int, g: Any, y: Any, xs: Sequence[Any], subscripts: str) -> Any:
    inputs, output = subscripts.split("->")
    terms = inputs.split(",")
    others = [(t, x) for j, (t, x) in enumerate(zip(terms, xs, strict=True)) if j != i]
    seen = output + "".join(t for t, _ in others)
    alone = "".join(c for c in terms[i] if c not in seen)  # summed within this operand only
    sizes = [xs[i].shape[terms[i].index(c)] for c in alone]
    ones = [(c, np.ones(n, values(g).dtype)) for c, n in zip(alone, sizes, strict=True)]
    factors = [(output, g), *others, *ones]
    return _einsum(
        *[x for _, x in factors],
        subscripts=",".join(t for t, _ in factors) + "->" + terms[i],
    )


@variadic(_einsum_vjp)
def _einsum(*xs: Any, subscripts: str) -> Any:
    return np.einsum(subscripts, *xs, optimize=len(xs) > 2)


def einsum(subscripts: str, *operands: Any) -> Any:
    """Sum of products by Einstein's convention; subscripts as in numpy.einsum.

    Raises ValueError for a subscript that does not fit its operand.

    >>> einsum("ij,ij->i", np.ones((2, 3)), np.ones((2, 3)))
    array([3., 3.])
    """
    if not isinstance(subscripts, str):
        raise TypeError(
            f"einsum: the first argument must be the subscripts, such as 'ij,jk->ik', "
            f"got {type(subscripts).__name__}."
        )
    xs = [as_array("einsum", x) for x in operands]
    shapes = [values(x).shape for x in xs]
    np.einsum(subscripts, *[np.zeros((1,) * len(s)) for s in shapes])  # NumPy's own errors
    terms, output = _explicit(subscripts.replace(" ", ""), [len(s) for s in shapes])
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        own = dict(zip(term, shape, strict=True))
        for c, n in zip(term, shape, strict=True):
            known = sizes.setdefault(c, n)
            if n != own[c] or (n != known and 1 not in (n, known)):
                raise ValueError(
                    f"einsum: in {subscripts!r} one subscript stands for axes of lengths "
                    f"{own[c] if n != own[c] else known} and {n}: the shapes are {shapes}."
                )
            sizes[c] = n if known == 1 else known
    for i, x in enumerate(xs):
        terms[i], xs[i] = _distinct(terms[i], x, sizes)
    return _einsum(*xs, subscripts=",".join(terms) + "->" + output)


def _explicit(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    """Replace each ellipsis by letters of its own and write out the result's subscripts."""
    inputs, arrow, output = subscripts.partition("->")
    terms = inputs.split(",")
    free = [c for c in map(chr, range(ord("A"), ord("z") + 1)) if c.isalpha()]
    free = [c for c in free if c not in subscripts]
    widths = [
        n - len(t.replace("...", "")) if "..." in t else 0
        for t, n in zip(terms, ndims, strict=True)
    ]
    dots = "".join(free[: builtins.max(widths, default=0)])
    if not arrow:
        letters = inputs.replace("...", "").replace(",", "")
        output = "..." + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    terms = [t.replace("...", dots[len(dots) - w :]) for t, w in zip(terms, widths, strict=True)]
    return terms, output.replace("...", dots)


def _distinct(term: str, x: Any, sizes: dict[str, int]) -> tuple[str, Any]:
    """Take diagonals of repeated subscripts; drop axes of length 1 that others broadcast."""
    shape = values(x).shape
    stretched = [i for i, c in enumerate(term) if shape[i] == 1 and sizes[c] != 1]
    if stretched:
        x = squeeze(x, tuple(stretched))
        term = "".join(c for i, c in enumerate(term) if i not in stretched)
    for c in sorted({c for c in term if term.count(c) > 1}):
        places = [i for i, d in enumerate(term) if d == c]
        others = [i for i, d in enumerate(term) if d != c]
        x = transpose(x, places + others)
        along = np.arange(sizes[c])
        x = getitem(x, (along,) * len(places))
        term = c + "".join(term[i] for i in others)
    return term, x


# ---------------------------------------------------------------- activations and their kin


@elementwise(lambda g, y, x: guarded_multiply(x > 0, g))
def relu(x: Any) -> Any:
    """Rectifier ``max(x, 0)``, elementwise. Its slope at 0 is taken as 0.

    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    if type(x) is np.ndarray and x.size > 1000 and x.dtype.kind == "f":
        return np.maximum(x, np.zeros(long_row(x.shape), x.dtype))
    return np.maximum(x, 0)


@elementwise(lambda g, y, x, negative_slope: where(x > 0, g, g * negative_slope))
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """``x`` where positive, else ``negative_slope * x``, elementwise.

    >>> leaky_relu(np.array([-1.0, 2.0]))
    array([-0.2,  2. ])
    """
    return np.where(np.greater(x, 0), x, np.multiply(x, negative_slope))


@elementwise(lambda g, y, x, alpha: where(x > 0, g, guarded_multiply(g, y + alpha)))
def elu(x: Any, alpha: float = 1.0) -> Any:
    """``x`` where positive, else ``alpha * (exp(x) - 1)``, elementwise (Clevert et al. 2016).

    >>> elu(np.array([-1.0, 2.0]))
    array([-0.63212056,  2.        ])
    """
    return np.where(np.greater(x, 0), x, alpha * np.expm1(np.minimum(x, 0)))


@elementwise(lambda g, y, x: guarded_multiply(g, y * (1 - y)))
def sigmoid(x: Any) -> Any:
    """Logistic function ``1 / (1 + exp(-x))``, elementwise, precise in both tails.

    >>> sigmoid(np.array([0.0, -1000.0]))
    array([0.5, 0. ])
    """
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


@elementwise(lambda g, y, x: guarded_multiply(g, sigmoid(x)))
def softplus(x: Any) -> Any:
    """``log(1 + exp(x))``, elementwise, without overflow.

    >>> softplus(np.array([0.0, 1000.0]))
    array([6.93147181e-01, 1.00000000e+03])
    """
    return np.maximum(x, 0) + _log1p(np.exp(-np.abs(x)))


def _log1p(t: Any) -> Any:
    """log(1 + t) for t >= 0, five times as fast as numpy.log1p, and as precise.

    u = 1 + t is rounded; what was lost, t - (u - 1), is added, divided by u in principle: that is
    left out, since where u is not close to 1 the sum is rounded by more.
    """
    u = 1 + t
    return np.log(u) + (t - (u - 1))


@elementwise(lambda g, y, x, target: guarded_multiply(g, logit_slope(x, target)), None)
def logit_crossentropy(x: Any, target: Any) -> Any:
    """``target * softplus(-x) + (1 - target) * softplus(x)``, elementwise, with one logarithm.

    The crossentropy of logits ``x`` for targets in [0, 1], which are constants here.

    >>> logit_crossentropy(np.array([0.0, -1000.0]), np.array([1.0, 0.0]))
    array([0.69314718, 0.        ])
    """
    return x * (_unit_step(x) - target) + _log1p(np.exp(-np.abs(x)))


@elementwise(lambda g, y, x, target: guarded_multiply(g, sigmoid(x) * sigmoid(-x)), None)
def logit_slope(x: Any, target: Any) -> Any:
    """``sigmoid(x) - target``, elementwise, precise in both tails for targets 0 and 1.

    The derivative of :func:`logit_crossentropy`. With t = exp(-|x|) the smaller of sigmoid(x) and
    1 - sigmoid(x) is t / (1 + t).

    >>> logit_slope(np.array([0.0, -1000.0]), np.array([1.0, 0.0]))
    array([-0.5,  0. ])
    """
    t = np.exp(-np.abs(x))
    return (_unit_step(x) - target) - np.copysign(t / (1 + t), x)


def _unit_step(x: Any) -> Any:
    """1 where x is not negative, else 0, in the dtype of x."""
    return np.copysign(0.5, x) + 0.5


def silu(x: Any) -> Any:
    """``x * sigmoid(x)``, elementwise.

    >>> silu(np.array([0.0, 1.0]))
    array([0.        , 0.73105858])
    """
    return multiply(x, sigmoid(x))


def gelu(x: Any, approximate: bool = False) -> Any:
    """``x`` times the normal distribution function of ``x``, elementwise (Hendrycks 2016).

    ``approximate`` uses the tanh formula of the paper.

    >>> gelu(np.array([0.0, 1.0])), gelu(np.array([1.0]), approximate=True)
    (array([0.        , 0.84134475]), array([0.84119199]))
    """
    x = as_array("gelu", x)
    if approximate:
        return 0.5 * x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


@primitive(lambda g, y, x, axis: y * (g - sum(g * y, axis=axis, keepdims=True)))
def softmax(x: Any, axis: int | tuple[int, ...] = -1) -> Any:
    """Exponentials along ``axis``, scaled to sum to 1.

    >>> softmax(np.array([0.0, 1000.0]))
    array([0., 1.])
    """
    power_ = np.exp(x - _peak(x, axis))
    return power_ / np.sum(power_, axis=axis, keepdims=True)


@primitive(lambda g, y, x, axis: g - exp(y) * sum(g, axis=axis, keepdims=True))
def log_softmax(x: Any, axis: int | tuple[int, ...] = -1) -> Any:
    """Logarithm of :func:`softmax`, without underflow.

    >>> log_softmax(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """
    shifted = x - _peak(x, axis)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))
