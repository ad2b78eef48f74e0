"""Elementary functions of each element: powers and roots, exponentials, trigonometry, erf."""

import math
from typing import Any

import numpy as np

from tinynn.autodiff.ops.arithmetic import guarded_divide, guarded_multiply
from tinynn.autodiff.ops.broadcasting import elementwise, floats
from tinynn.autodiff.ops.choices import compare, equal, where


def _power_vjp_base(g: Any, y: Any, x: Any, p: Any) -> Any:
    if isinstance(p, (int, float)):
        return guarded_multiply(g, p * power(x, p - 1)) if p else where(False, g, 0)
    constant = compare(equal(p, 0), equal(x, 0), np.logical_and)  # 0 * 0 ** -1
    return guarded_multiply(g, p * power(where(constant, 1, x), p - 1.0))  # unsigned p - 1 may wrap


def _power_vjp_exponent(g: Any, y: Any, x: Any, p: Any) -> Any:
    # y log x tends to 0 at x = 0 for p > 0, and at x = inf for p < 0.
    vanishing = where(compare(p, 0, np.less), equal(x, math.inf), equal(x, 0))
    return guarded_multiply(g, y * log(where(vanishing, 1, x)))


@elementwise(_power_vjp_base, _power_vjp_exponent)
def power(x: Any, p: Any) -> Any:
    """Raise ``x`` to the power ``p``, elementwise.

    dy/dx = p x^(p-1), 0 for p = 0; dy/dp = y log x, taken as 0 at x = 0 for p >= 0.

    >>> power(np.array([1.0, 2.0]), 3)
    array([1., 8.])
    """
    return x**p if isinstance(x, np.ndarray) else np.power(x, p)


@elementwise(lambda g, y, x: guarded_multiply(g, 2 * x), passes_nan=True)
def square(x: Any) -> Any:
    """Square ``x * x``, elementwise.

    >>> square(np.array([1.0, -2.0]))
    array([1., 4.])
    """
    return np.square(x)


@elementwise(lambda g, y, x: guarded_divide(0.5 * g, y), passes_nan=True)
def sqrt(x: Any) -> Any:
    """Non-negative square root, elementwise.

    >>> sqrt(np.array([1.0, 4.0]))
    array([1., 2.])
    """
    return np.sqrt(x)


@elementwise(lambda g, y, x: guarded_multiply(g, sign(x)), passes_nan=True)
def abs(x: Any) -> Any:
    """Absolute value, elementwise. Its slope at 0 is taken as 0.

    >>> abs(np.array([1.0, -2.0]))
    array([1., 2.])
    """
    return np.abs(x)


@elementwise(lambda g, y, x: where(False, g, 0), passes_nan=True)
def sign(x: Any) -> Any:
    """Sign -1, 0 or 1, elementwise. Its slope is 0 everywhere.

    >>> sign(np.array([1.5, 0.0, -2.0]))
    array([ 1.,  0., -1.])
    """
    return np.sign(x)


@elementwise(lambda g, y, x: guarded_multiply(g, y), passes_nan=True)
def exp(x: Any) -> Any:
    """Exponential function, elementwise.

    >>> exp(np.array([0.0, 1.0]))
    array([1.        , 2.71828183])
    """
    return np.exp(x)


@elementwise(lambda g, y, x: guarded_multiply(g, y * math.log(2)), passes_nan=True)
def exp2(x: Any) -> Any:
    """Powers of two ``2 ** x``, elementwise.

    >>> exp2(np.array([0.0, 3.0]))
    array([1., 8.])
    """
    return np.exp2(x)


@elementwise(lambda g, y, x: guarded_multiply(g, y + 1), passes_nan=True)
def expm1(x: Any) -> Any:
    """``exp(x) - 1``, precise for small ``x``, elementwise.

    >>> expm1(np.array([1e-20]))
    array([1.e-20])
    """
    return np.expm1(x)


@elementwise(lambda g, y, x: guarded_divide(g, x), passes_nan=True)
def log(x: Any) -> Any:
    """Natural logarithm, elementwise.

    >>> log(np.array([1.0, np.e]))
    array([0., 1.])
    """
    return np.log(x)


@elementwise(lambda g, y, x: guarded_divide(g, x * math.log(2)), passes_nan=True)
def log2(x: Any) -> Any:
    """Logarithm to base 2, elementwise.

    >>> log2(np.array([1.0, 8.0]))
    array([0., 3.])
    """
    return np.log2(x)


@elementwise(lambda g, y, x: guarded_divide(g, x * math.log(10)), passes_nan=True)
def log10(x: Any) -> Any:
    """Logarithm to base 10, elementwise.

    >>> log10(np.array([1.0, 1000.0]))
    array([0., 3.])
    """
    return np.log10(x)


@elementwise(lambda g, y, x: guarded_divide(g, 1 + x), passes_nan=True)
def log1p(x: Any) -> Any:
    """``log(1 + x)``, precise for small ``x``, elementwise.

    >>> log1p(np.array([1e-20]))
    array([1.e-20])
    """
    return np.log1p(x)


@elementwise(lambda g, y, x: guarded_multiply(g, cos(x)), passes_nan=True)
def sin(x: Any) -> Any:
    """Sine of ``x`` in radians, elementwise.

    >>> sin(np.array([0.0, np.pi / 2]))
    array([0., 1.])
    """
    return np.sin(x)


@elementwise(lambda g, y, x: -guarded_multiply(g, sin(x)), passes_nan=True)
def cos(x: Any) -> Any:
    """Cosine of ``x`` in radians, elementwise.

    >>> cos(np.array([0.0, np.pi]))
    array([ 1., -1.])
    """
    return np.cos(x)


@elementwise(lambda g, y, x: guarded_multiply(g, 1 + y * y), passes_nan=True)
def tan(x: Any) -> Any:
    """Tangent of ``x`` in radians, elementwise.

    >>> tan(np.array([0.0, 1.0]))
    array([0.        , 1.55740772])
    """
    return np.tan(x)


@elementwise(lambda g, y, x: guarded_divide(g, sqrt((1 - x) * (1 + x))), passes_nan=True)
def arcsin(x: Any) -> Any:
    """Inverse sine in radians, elementwise. Its slope is infinite at -1 and 1.

    >>> arcsin(np.array([0.0, 1.0]))
    array([0.        , 1.57079633])
    """
    return np.arcsin(x)


@elementwise(lambda g, y, x: -guarded_divide(g, sqrt((1 - x) * (1 + x))), passes_nan=True)
def arccos(x: Any) -> Any:
    """Inverse cosine in radians, elementwise. Its slope is minus infinity at -1 and 1.

    >>> arccos(np.array([1.0, 0.0]))
    array([0.        , 1.57079633])
    """
    return np.arccos(x)


@elementwise(lambda g, y, x: guarded_divide(g, 1 + x * x), passes_nan=True)
def arctan(x: Any) -> Any:
    """Inverse tangent in radians, elementwise.

    >>> arctan(np.array([0.0, 1.0]))
    array([0.        , 0.78539816])
    """
    return np.arctan(x)


def _arctan2_slope(y: Any, x: Any, of_y: bool) -> Any:
    """Return x / (x^2 + y^2) or -y / (x^2 + y^2), whose squares may not overflow."""
    flat = compare(abs(x), abs(y), np.greater_equal)
    long = where(flat, x, y)
    ratio = where(flat, y, x) / long
    slope = 1 / (long * (1 + ratio * ratio))
    return where(flat, slope, ratio * slope) if of_y else -where(flat, ratio * slope, slope)


@elementwise(
    lambda g, angle, y, x: guarded_multiply(g, _arctan2_slope(y, x, True)),
    lambda g, angle, y, x: guarded_multiply(g, _arctan2_slope(y, x, False)),
    passes_nan=True,
)
def arctan2(y: Any, x: Any) -> Any:
    """Angle of the point ``(x, y)`` in radians, from -pi to pi, elementwise.

    At the origin there is no derivative, and the gradient is nan.

    >>> arctan2(np.array([0.0, 1.0]), np.array([-1.0, 1.0]))
    array([3.14159265, 0.78539816])
    """
    return np.arctan2(y, x)


@elementwise(lambda g, y, x: guarded_multiply(g, cosh(x)), passes_nan=True)
def sinh(x: Any) -> Any:
    """Hyperbolic sine, elementwise.

    >>> sinh(np.array([0.0, 1.0]))
    array([0.        , 1.17520119])
    """
    return np.sinh(x)


@elementwise(lambda g, y, x: guarded_multiply(g, sinh(x)), passes_nan=True)
def cosh(x: Any) -> Any:
    """Hyperbolic cosine, elementwise.

    >>> cosh(np.array([0.0, 1.0]))
    array([1.        , 1.54308063])
    """
    return np.cosh(x)


@elementwise(lambda g, y, x: guarded_multiply(g, 1 - y * y), passes_nan=True)
def tanh(x: Any) -> Any:
    """Hyperbolic tangent, elementwise.

    >>> tanh(np.array([0.0, 1.0]))
    array([0.        , 0.76159416])
    """
    return np.tanh(x)


# log((1 - erf z) exp(z^2) / t) with t = 2 / (2 + z), z >= 0, as a Chebyshev series in 2 t - 1.
_ERFC_SERIES = (
    -0.6513268598908547, 0.6419697923564902, 0.019476473204185836, -0.009561514786808632,
    -0.0009465953444820368, 0.00036683949785276145, 4.2523324806907776e-05, -2.027857811253425e-05,
    -1.6242900046470207e-06, 1.3036558355805188e-06, 1.562644172207037e-08, -8.523809591493047e-08,
    6.529054439102472e-09, 5.059343495548183e-09, -9.91364156490099e-10, -2.2736512229574948e-10,
    9.646791102233921e-11, 2.394038081248956e-12, -6.886027525110881e-12, 8.944879263334013e-13,
    3.1309214049367887e-13, -1.1270822375373606e-13, 3.810902455039784e-16, 7.106098312185193e-15,
    -1.5230293148083846e-15, -9.457342361969772e-17, 1.2102179633567605e-16, -2.816431821588822e-17,
)  # fmt: skip


@elementwise(
    lambda g, y, x: guarded_multiply(g, (2 / math.sqrt(math.pi)) * exp(-x * x)), passes_nan=True
)
def erf(x: Any) -> Any:
    """Error function, elementwise, to about 1e-15 (absolute).

    >>> erf(np.array([0.5, -30.0]))
    array([ 0.52049988, -1.        ])
    """
    z = np.abs(floats(x))
    t = 2 / (2 + z)
    u = 2 * t - 1
    b1, b2 = np.zeros_like(u), np.zeros_like(u)
    for c in _ERFC_SERIES[:0:-1]:  # Clenshaw's recurrence
        b1, b2 = 2 * u * b1 - b2 + c, b1
    tail = t * np.exp(u * b1 - b2 + _ERFC_SERIES[0] - z * z)
    return np.copysign(1 - tail, x)
