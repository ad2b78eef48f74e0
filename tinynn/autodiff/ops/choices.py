"""Comparisons and choices: where, the larger, the smaller, limits."""

import math
from typing import Any

import numpy as np

from tinynn.autodiff.ops.arithmetic import guarded_multiply
from tinynn.autodiff.ops.broadcasting import elementwise
from tinynn.autodiff.primitive import dtype_of, operation


@operation
def equal(a: Any, b: Any) -> Any:
    """Tell where ``a`` equals ``b``, elementwise: booleans, without gradient."""
    return compare(a, b, np.equal)


@elementwise(None, None)
def compare(a: Any, b: Any, relation: np.ufunc) -> Any:
    """Relation between ``a`` and ``b``, elementwise, such as numpy.less: without gradient."""
    return relation(a, b)


compare.title = "comparison"


@elementwise(None)
def holds(x: Any, predicate: np.ufunc) -> Any:
    """Property of each element, such as numpy.isnan: without gradient."""
    return predicate(x)


@elementwise(
    None,
    lambda g, y, condition, a, b: where(condition, g, 0),
    lambda g, y, condition, a, b: where(condition, 0, g),
)
def where(condition: Any, a: Any, b: Any) -> Any:
    """Take ``a`` where ``condition`` holds, else ``b``. The other branch gets gradient 0, not nan.

    For that a gradient of 0 stays 0 by an infinite slope, here or before: the first derivative of
    ``sqrt(x) ** 2`` is 0 at 0, too. Its second derivative then is not finite.

    >>> where(np.array([True, False]), np.array([1.0, 2.0]), 0)
    array([1., 0.])
    """
    return np.where(condition, a, b)


@elementwise(
    lambda g, y, a, b: where(equal(a, b), 0.5 * g, guarded_multiply(a > b, g)),
    lambda g, y, a, b: where(equal(a, b), 0.5 * g, guarded_multiply(a < b, g)),
    passes_nan=True,
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
    passes_nan=True,
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
    passes_nan=True,
)
def _clip(x: Any, low: Any, high: Any) -> Any:
    return np.clip(x, low, high)


@operation
def clip(x: Any, a_min: Any = None, a_max: Any = None) -> Any:
    """Limit ``x`` to ``[a_min, a_max]``, elementwise; None means no limit on that side.

    The gradient passes inside the limits and at them. Raises ValueError without any limit.

    >>> clip(np.array([-1.0, 0.5, 2.0]), 0, 1)
    array([0. , 0.5, 1. ])
    """
    if a_min is None and a_max is None:
        raise ValueError("clip: a_min and a_max are both None; give at least one limit.")
    info: Any = np.iinfo(dtype) if (dtype := dtype_of(x)).kind in "iu" else None
    low = a_min if a_min is not None else info.min if info else -math.inf
    high = a_max if a_max is not None else info.max if info else math.inf
    return _clip(x, low, high)
