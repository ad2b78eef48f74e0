"""Activations of neural networks, and their kin."""

import math
from functools import lru_cache
from typing import Any

import numpy as np

from tinynn.autodiff.ops.arithmetic import guarded_multiply, zeros_kept
from tinynn.autodiff.ops.broadcasting import elementwise, floats
from tinynn.autodiff.ops.choices import compare, equal, holds, where
from tinynn.autodiff.ops.elementary import abs, erf, tanh
from tinynn.autodiff.primitive import as_array, operation


@elementwise(lambda g, y, x: guarded_multiply(x > 0, g), passes_nan=True)
def relu(x: Any) -> Any:
    """Rectifier ``max(x, 0)``, elementwise. Its slope at 0 is taken as 0.

    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    if type(x) is np.ndarray and x.size > 1000 and x.dtype.kind == "f":
        return np.maximum(x, np.zeros(long_row(x.shape), x.dtype))
    return np.maximum(x, 0)


@elementwise(lambda g, y, x, negative_slope: where(x > 0, g, g * negative_slope), passes_nan=True)
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """``x`` where positive, else ``negative_slope * x``, elementwise.

    Parameters
    ----------
    x : array_like
        Of any shape.
    negative_slope : float, default 0.2
        The slope below 0, that of Keras.

    Examples
    --------
    >>> leaky_relu(np.array([-1.0, 2.0]))
    array([-0.2,  2. ])
    """
    x = floats(x)
    return np.where(np.greater(x, 0), x, np.multiply(x, negative_slope))


@elementwise(
    lambda g, y, x, alpha: where(x > 0, g, guarded_multiply(g, y + alpha)), passes_nan=True
)
def elu(x: Any, alpha: float = 1.0) -> Any:
    """``x`` where positive, else ``alpha * (exp(x) - 1)``, elementwise.

    Parameters
    ----------
    x : array_like
        Of any shape.
    alpha : float, default 1.0
        Minus the limit at minus infinity.

    References
    ----------
    Clevert et al. 2016, Fast and accurate deep network learning by exponential linear units.

    Examples
    --------
    >>> elu(np.array([-1.0, 2.0]))
    array([-0.63212056,  2.        ])
    """
    x = floats(x)
    return np.where(np.greater(x, 0), x, alpha * np.expm1(np.minimum(x, 0)))


@elementwise(lambda g, y, x: guarded_multiply(g, y * (1 - y)), passes_nan=True)
def sigmoid(x: Any) -> Any:
    """Logistic function ``1 / (1 + exp(-x))``, elementwise, precise in both tails.

    >>> sigmoid(np.array([0.0, -1000.0]))
    array([0.5, 0. ])
    """
    x = floats(x)
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


@elementwise(lambda g, y, x: guarded_multiply(g, sigmoid(x)), passes_nan=True)
def softplus(x: Any) -> Any:
    """``log(1 + exp(x))``, elementwise, without overflow.

    >>> softplus(np.array([0.0, 1000.0]))
    array([6.93147181e-01, 1.00000000e+03])
    """
    x = floats(x)
    return np.maximum(x, 0) + _log1p(np.exp(-np.abs(x)))


def _log1p(t: Any) -> Any:
    """log(1 + t) for t >= 0, five times as fast as numpy.log1p, and as precise."""
    u = 1 + t
    return np.log(u) + (t - (u - 1))  # what rounding lost, / u: that matters for u = 1 alone


def _share(a: Any, b: Any) -> Any:
    """Return exp(a) / (exp(a) + exp(b)); at equal infinities 1/2, or 0 of minus infinity."""
    same = compare(equal(a, b), holds(a, np.isinf), np.logical_and)
    shares = sigmoid(where(same, 0, a - b))
    return where(compare(same, compare(a, 0, np.less), np.logical_and), 0, shares)


@elementwise(
    lambda g, y, a, b: guarded_multiply(g, _share(a, b)),
    lambda g, y, a, b: guarded_multiply(g, _share(b, a)),
    passes_nan=True,
)
def logaddexp(a: Any, b: Any) -> Any:
    """``log(exp(a) + exp(b))``, elementwise, without overflow.

    >>> logaddexp(np.array([0.0, 1000.0]), 0.0)
    array([6.93147181e-01, 1.00000000e+03])
    """
    return np.logaddexp(a, b)


@elementwise(
    lambda g, y, x, target: guarded_multiply(g, logit_slope(x, target)), None, passes_nan=True
)
def logit_crossentropy(x: Any, target: Any) -> Any:
    """``target * softplus(-x) + (1 - target) * softplus(x)``, elementwise, with one logarithm.

    The crossentropy of logits ``x`` for targets in [0, 1], which are constants here.

    >>> logit_crossentropy(np.array([0.0, -1000.0]), np.array([1.0, 0.0]))
    array([0.69314718, 0.        ])
    """
    x = floats(x)
    off = _unit_step(x) - target
    with np.errstate(invalid="ignore"):  # an infinite logit that is right costs nothing
        linear = zeros_kept(x * off, lambda: np.equal(off, 0))
    return linear + _log1p(np.exp(-np.abs(x)))


@elementwise(
    lambda g, y, x, target: guarded_multiply(g, sigmoid(x) * sigmoid(-x)), None, passes_nan=True
)
def logit_slope(x: Any, target: Any) -> Any:
    """``sigmoid(x) - target``, elementwise, precise in both tails for targets 0 and 1.

    The derivative of :func:`logit_crossentropy`. With t = exp(-|x|) the smaller of sigmoid(x) and
    1 - sigmoid(x) is t / (1 + t).

    >>> logit_slope(np.array([0.0, -1000.0]), np.array([1.0, 0.0]))
    array([-0.5,  0. ])
    """
    x = floats(x)
    t = np.exp(-np.abs(x))
    return (_unit_step(x) - target) - np.copysign(t / (1 + t), x)


def _unit_step(x: Any) -> Any:
    """1 where x is not negative, else 0, in the dtype of x."""
    return np.copysign(0.5, x) + 0.5


def _silu_vjp(g: Any, y: Any, x: Any) -> Any:
    s = sigmoid(x)
    return guarded_multiply(g, s * (1 + where(holds(x, np.isinf), 0, x) * (1 - s)))


@elementwise(_silu_vjp, passes_nan=True)
def silu(x: Any) -> Any:
    """``x * sigmoid(x)``, elementwise.

    >>> silu(np.array([0.0, 1.0]))
    array([0.        , 0.73105858])
    """
    s = sigmoid.forward(x)
    with np.errstate(invalid="ignore"):
        return zeros_kept(x * s, lambda: np.equal(s, 0))


@operation
def gelu(x: Any, approximate: bool = False) -> Any:
    """``x`` times the normal distribution function of ``x``, elementwise.

    Parameters
    ----------
    x : array_like
        Of any shape.
    approximate : bool, default False
        Whether to use the tanh formula of the paper.

    References
    ----------
    Hendrycks and Gimpel 2016, Gaussian error linear units.

    Examples
    --------
    >>> gelu(np.array([0.0, 1.0])), gelu(np.array([1.0]), approximate=True)
    (array([0.        , 0.84134475]), array([0.84119199]))
    """
    x = as_array("gelu", x)
    beyond = compare(abs(x), 40, np.greater)  # it is x or 0 there; the formulas give 0 * infinity
    z = where(beyond, 0, x)
    if approximate:
        bend = tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z * z * z))
    else:
        bend = erf(z * math.sqrt(0.5))
    return where(beyond, relu(x), 0.5 * z * (1 + bend))


@lru_cache(maxsize=256)
def long_row(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the fewest last axes that hold a thousand elements; () if those are above 2**16.

    NumPy takes the maximum of an array and such a row much faster than with a number or short row.
    """
    size, first = 1, len(shape)
    while first and size < 1000:
        first -= 1
        size *= shape[first]
    return shape[first:] if size <= 2**16 else ()
