"""Broadcasting and its adjoint, and the decorator of all operations that broadcast."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, ParamSpec

import numpy as np

from tinynn.autodiff.primitive import Primitive, Vjp, primitive, register

P = ParamSpec("P")
FEW = 512  # rows that a product adds up as precisely as a sum, in a fifth of the time
_ones = lru_cache(maxsize=64)(np.ones)


@primitive(lambda g, y, x, shape: sum_to(g, x.shape), passes_nan=True)
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


@primitive(lambda g, y, x, shape: broadcast_to(g, x.shape), passes_nan=True)
def sum_to(x: Any, shape: tuple[int, ...]) -> Any:
    """Sum ``x`` down to ``shape``: the adjoint of :func:`broadcast_to`.

    >>> sum_to(np.ones((3, 2)), (2,))
    array([3., 3.])
    """
    axes = _broadcast_axes(x.shape, shape)
    if axes == (0, 1) and x.ndim == 3 and x.dtype.kind == "f" and x.itemsize > 2:
        rows = x.shape[0] * x.shape[1]
        if type(x) is np.ndarray and rows <= FEW and x.dtype.char in "fd":
            return _ones(rows, x.dtype).dot(x.reshape(rows, x.shape[2])).reshape(shape)
        steps = np.empty(x.shape[1:], x.dtype)  # one axis after the other: ten times as fast
        return np.add.reduce(np.add.reduce(x, axis=0, out=steps), axis=0).reshape(shape)
    return add_up(x, axes).reshape(shape) if axes else x.reshape(shape)


def add_up(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Sum an array; half precision in single precision, rounded once."""
    how: dict[str, Any] = {"axis": axis, "keepdims": keepdims}
    if x.dtype.char != "e":
        return np.add.reduce(x, **how)
    with np.errstate(over="ignore"):  # the sum itself may be beyond half precision
        return np.add.reduce(x, dtype=np.float32, **how).astype(np.float16)


def floats(x: Any) -> Any:
    """Return an array, integers and booleans as float64: for formulas that NumPy has no name for.

    NumPy's own functions give half precision for the smallest integers, or wrap around.
    """
    x = x if hasattr(x, "dtype") else np.asarray(x)
    return x.astype(np.float64) if x.dtype.kind in "iub" else x


def widened(x: Any) -> Any:
    """Return half precision in single precision, all else as it is."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


@lru_cache(maxsize=512)
def _broadcast_axes(shape: tuple[int, ...], of: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes of ``shape`` along which an array of shape ``of`` was repeated."""
    lead = len(shape) - len(of)
    stretched = (i + lead for i, n in enumerate(of) if n == 1 and shape[i + lead] != 1)
    return (*range(lead), *stretched)


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


def elementwise(
    *vjps: Vjp | None, passes_nan: bool = False
) -> Callable[[Callable[P, Any]], Primitive[P]]:
    """Turn a NumPy function that broadcasts into an operation with gradients; a decorator.

    Parameters
    ----------
    *vjps : callable or None
        As in :func:`tinynn.primitive`, but one may return a gradient of the result's shape: it is
        summed over the axes along which the argument was broadcast.
    passes_nan : bool, default False
        The promise that a nan in an argument makes every result nan that is computed from it.

    Returns
    -------
    callable
        The decorator.

    Examples
    --------
    >>> @elementwise(lambda g, y, a, b: g * b, lambda g, y, a, b: g * a)
    ... def product(a, b):
    ...     return a * b
    >>> product(np.array([1.0, 2.0]), 3.0)
    array([3., 6.])
    """

    def decorate(forward: Callable[P, Any]) -> Primitive[P]:
        rules = [_unbroadcast(vjp, i) for i, vjp in enumerate(vjps)]
        return register(forward, rules, elementwise=True, passes_nan=passes_nan)

    return decorate
