"""Arithmetic: sums, products and quotients of elements, and conversion of their dtype."""

import math
from typing import Any

import numpy as np

from tinynn.autodiff.ops.broadcasting import elementwise
from tinynn.autodiff.primitive import primitive


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


def all_finite(array: Any) -> bool:
    """Tell whether no element is infinite or nan; of large values it may say False wrongly."""
    if array.dtype.kind == "c" or array.dtype.itemsize < 4:
        return bool(np.isfinite(array).all())
    return math.isfinite(np.add.reduce(array, axis=None))


@primitive(lambda g, y, x, dtype: g)
def astype(x: Any, dtype: Any) -> Any:
    """Convert the elements to ``dtype``; gradients return in x's own.

    >>> astype(np.array([1.5, 2.5]), "float32").dtype
    dtype('float32')
    """
    return np.asarray(x).astype(dtype)
