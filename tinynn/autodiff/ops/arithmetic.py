"""Arithmetic: sums, products and quotients of elements, and conversion of their dtype."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynn.autodiff.ops.broadcasting import elementwise
from tinynn.autodiff.primitive import primitive
from tinynn.kernels.finite import all_finite as all_finite


@elementwise(lambda g, y, a, b: g, lambda g, y, a, b: g, passes_nan=True)
def add(a: Any, b: Any) -> Any:
    """Sum ``a + b``, elementwise.

    >>> add(np.array([1, 2]), 3)
    array([4, 5])
    """
    bias = type(a) is type(b) is np.ndarray and b.ndim == 1 < len(b) and a.shape[2:] == b.shape
    if bias and len(a) > 1:
        b, row = np.empty(a.shape[1:], b.dtype), b  # NumPy prefers long rows
        b[...] = row
    return np.add(a, b)


@elementwise(lambda g, y, a, b: g, lambda g, y, a, b: -g, passes_nan=True)
def subtract(a: Any, b: Any) -> Any:
    """Difference ``a - b``, elementwise.

    >>> subtract(np.array([1, 2]), 3)
    array([-2, -1])
    """
    return np.subtract(a, b)


@elementwise(
    lambda g, y, a, b: guarded_multiply(g, b),
    lambda g, y, a, b: guarded_multiply(g, a),
    passes_nan=True,
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
    passes_nan=True,
)
def divide(a: Any, b: Any) -> Any:
    """Quotient ``a / b``, elementwise.

    >>> divide(np.array([1.0, 2.0]), 4)
    array([0.25, 0.5 ])
    """
    return np.divide(a, b)


@elementwise(lambda g, y, x: -g, passes_nan=True)
def negative(x: Any) -> Any:
    """Negation ``-x``, elementwise.

    >>> negative(np.array([1, -2]))
    array([-1,  2])
    """
    return np.negative(x)


# ---------------------------------------------------------------- products that keep a zero
#
# In a vjp a gradient of exactly 0 says "no gradient": the branch that where did not take. It has
# to stay 0 by a slope that is infinite or undefined. But a gradient may also happen to be 0, as
# that of sqrt(x) ** 2 is at 0, and its derivative is not. So the derivative of these products in
# ``g`` is that of a plain product, also where they kept a zero: infinite or nan, to be seen. It
# ends at the where that made the zero, if one did.


@elementwise(
    lambda h, y, g, slope: _seen_product(h, slope, g),
    lambda h, y, g, slope: product_of_gradients(h, g),
)
def guarded_multiply(g: Any, slope: Any) -> Any:
    """Multiply ``g`` by ``slope``, but 0 wherever ``g`` is 0, also where ``slope`` is inf or nan.

    >>> guarded_multiply(np.array([0.0, 2.0]), np.array([1.0, 3.0]))
    array([0., 6.])
    """
    return zeros_kept(np.multiply(g, slope), lambda: np.equal(g, 0))


@elementwise(
    lambda h, y, g, d: _seen_quotient(h, d, g),
    lambda h, y, g, d: -guarded_divide(product_of_gradients(h, y), d),
)
def guarded_divide(g: Any, d: Any) -> Any:
    """Divide ``g`` by ``d``, but 0 wherever ``g`` is 0, also where ``d`` is 0 or nan.

    >>> guarded_divide(np.array([0.0, 6.0]), np.array([1.0, 3.0]))
    array([0., 2.])
    """
    return zeros_kept(np.divide(g, d), lambda: np.equal(g, 0))


@elementwise(
    lambda h, y, a, b: product_of_gradients(h, b), lambda h, y, a, b: product_of_gradients(h, a)
)
def product_of_gradients(a: Any, b: Any) -> Any:
    """Multiply, but 0 wherever either is 0."""
    return zeros_kept(np.multiply(a, b), lambda: np.equal(a, 0) | np.equal(b, 0))


@elementwise(
    lambda k, y, h, slope, g: guarded_multiply(k, slope),
    lambda k, y, h, slope, g: product_of_gradients(k, h),
    None,
)
def _seen_product(h: Any, slope: Any, g: Any) -> Any:
    """The derivative of ``guarded_multiply(g, slope)`` in g: guarded only where g is not 0."""
    return zeros_kept(np.multiply(h, slope), lambda: np.equal(h, 0) & np.not_equal(g, 0))


@elementwise(
    lambda k, y, h, d, g: guarded_divide(k, d),
    lambda k, y, h, d, g: -guarded_divide(product_of_gradients(k, y), d),
    None,
)
def _seen_quotient(h: Any, d: Any, g: Any) -> Any:
    """The derivative of ``guarded_divide(g, d)`` in g: guarded only where g is not 0."""
    return zeros_kept(np.divide(h, d), lambda: np.equal(h, 0) & np.not_equal(g, 0))


def zeros_kept(array: Any, places: Callable[[], Any]) -> Any:
    """Return ``array``; if not all of it is finite, with 0 at ``places()``."""
    if all_finite(array):
        return array
    return np.where(places(), np.zeros((), array.dtype), array)


@primitive(lambda g, y, x, dtype: g)
def astype(x: Any, dtype: Any) -> Any:
    """Convert the elements to ``dtype``; gradients return in x's own.

    >>> astype(np.array([1.5, 2.5]), "float32").dtype
    dtype('float32')
    """
    return np.asarray(x).astype(dtype)
