"""Functions that turn a function into its derivatives, each built on grad() alone."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff import ops
from tinynn.autodiff.graph import Node, grad
from tinynn.autodiff.tensor import Tensor


def _leaf(owner: str, name: str, x: Any) -> Tensor:
    """Return a fresh leaf with the values of ``x``, integers as floats."""
    array = ops.values(x)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{owner}: {name} must be real numbers, got dtype {array.dtype}.")
    return Tensor(array, dtype=None if array.dtype.kind == "f" else float, requires_grad=True)


def _result(owner: str, y: Any) -> Tensor:
    if not isinstance(y, Tensor):
        raise TypeError(
            f"{owner}: the function must return one Tensor, got {type(y).__name__}. "
            "Compute with tinynn's operations from its arguments to its result."
        )
    return y


def _gradients(y: Tensor, xs: Sequence[Tensor], g: Any, create_graph: bool = False) -> list[Any]:
    """Return grad(), with zeros for each x that ``y`` does not depend on."""
    for x in xs:  # adding the sum of no elements makes y depend on x, and changes no value
        y = y + ops.sum(ops.ravel(x)[:0]).astype(y.dtype)
    return grad(y, xs, g, create_graph=create_graph)


def value_and_grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Return a function that computes ``f(*args)`` and its gradient in one go.

    ``f`` must return a scalar Tensor. ``argnums``: which arguments to differentiate; an int gives
    one ndarray, a tuple a tuple of them. The value is a detached Tensor. Raises ValueError if the
    value is no scalar, IndexError if there is no such argument.

    >>> value, g = value_and_grad(lambda w: (w * w).sum())(np.array([1.0, 3.0]))
    >>> float(value), g
    (10.0, array([2., 6.]))
    """
    several = isinstance(argnums, tuple)
    places = [
        check.integer("value_and_grad", "argnums", i)
        for i in (argnums if isinstance(argnums, tuple) else (argnums,))
    ]

    def wrapped(*args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        if any(not -len(args) <= i < len(args) for i in places):
            raise IndexError(
                f"value_and_grad: argnums={argnums} asks for an argument that is not among the "
                f"{len(args)} given by position."
            )
        inputs = list(args)
        for i in places:
            inputs[i] = _leaf("value_and_grad", f"argument {i}", args[i])
        y = _result("value_and_grad", f(*inputs, **kwargs))
        if y.size != 1:
            raise ValueError(
                f"value_and_grad: the function must return a scalar, got shape {y.shape}. "
                "Reduce it, for instance with .sum(), or use tinynn.jacobian."
            )
        gs = _gradients(y, [inputs[i] for i in places], np.ones(y.shape, y.dtype))
        return y.detach(), tuple(gs) if several else gs[0]

    return wrapped


def vjp(f: Callable[..., Any], *xs: Any) -> tuple[Tensor, Callable[[Any], list[Any]]]:
    """Return ``f(*xs)`` and the function that pulls a gradient of it back to each of ``xs``.

    ``xs``: arrays or Tensors; ``pull(g)`` takes g of the result's shape and returns a list of
    ndarrays, one per x, of its shape. Raises ValueError if g has another shape.

    >>> y, pull = vjp(lambda x: x * x, np.array([1.0, 3.0]))
    >>> pull(np.array([1.0, 10.0]))
    [array([ 2., 60.])]
    """
    leaves = [_leaf("vjp", f"xs[{i}]", x) for i, x in enumerate(xs)]
    y = _result("vjp", f(*leaves))

    def pull(g: Any) -> list[Any]:
        array = ops.values(g)
        if array.shape != y.shape:
            raise ValueError(f"vjp: g must have the result's shape {y.shape}, got {array.shape}.")
        return _gradients(y, leaves, array.astype(y.dtype))

    return y.detach(), pull


def jvp(f: Callable[..., Any], xs: Sequence[Any], vs: Sequence[Any]) -> tuple[Tensor, np.ndarray]:
    """Return ``f(*xs)`` and its derivative along ``vs``: the Jacobian times the tangents.

    ``xs``, ``vs``: sequences of arrays of equal shapes. The tangent is an ndarray of the result's
    shape. Raises ValueError if the shapes do not match. (A vjp is linear in its gradient, so its
    own vjp is the jvp: J. Townsend 2017, "A new trick for calculating Jacobian vector products".)

    >>> y, tangent = jvp(lambda x: x * x, [np.array([1.0, 3.0])], [np.array([1.0, 0.5])])
    >>> tangent
    array([2., 3.])
    """
    if not isinstance(xs, (list, tuple)) or not isinstance(vs, (list, tuple)):
        raise TypeError("jvp: xs and vs must be lists: jvp(f, [x1, x2], [v1, v2]).")
    shapes = [[ops.values(a).shape for a in arrays] for arrays in (xs, vs)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"jvp: xs and vs must match, got shapes {shapes[0]} and {shapes[1]}.")
    leaves = [_leaf("jvp", f"xs[{i}]", x) for i, x in enumerate(xs)]
    y = _result("jvp", f(*leaves))
    probe = Tensor(np.zeros(y.shape, y.dtype), requires_grad=True)
    pulled = _gradients(y, leaves, probe, create_graph=True)
    along = [(g * ops.values(v)).sum() for g, v in zip(pulled, vs, strict=True)]
    return y.detach(), _gradients(ops.sum(ops.stack(along)), [probe], 1.0)[0]


def jacobian(f: Callable[[Any], Any]) -> Callable[[Any], np.ndarray]:
    """Return a function that computes all derivatives of ``f`` at x.

    ``f``: array to array; the Jacobian is an ndarray of shape ``f(x).shape + x.shape``.

    >>> jacobian(lambda x: x * x)(np.array([1.0, 3.0]))
    array([[2., 0.],
           [0., 6.]])
    """

    def wrapped(x: Any) -> np.ndarray:
        y, pull = vjp(f, x)
        unit = np.zeros(y.shape, y.dtype)
        rows = np.empty((y.size, *np.shape(ops.values(x))), pull(unit)[0].dtype)
        for i in range(y.size):
            unit.flat[i] = 1
            rows[i] = pull(unit)[0]
            unit.flat[i] = 0
        return rows.reshape(y.shape + rows.shape[1:])

    return wrapped


def hessian(f: Callable[[Any], Any]) -> Callable[[Any], np.ndarray]:
    """Return a function that computes all second derivatives of a scalar ``f`` at x.

    The Hessian is an ndarray of shape ``x.shape + x.shape``.

    >>> hessian(lambda x: (x * x * x).sum())(np.array([1.0, 3.0]))
    array([[ 6.,  0.],
           [ 0., 18.]])
    """

    def gradient(x: Node) -> Tensor:
        y = _result("hessian", f(x))
        if y.size != 1:
            raise ValueError(f"hessian: the function must return a scalar, got shape {y.shape}.")
        ones = np.ones(y.shape, y.dtype)
        return _gradients(y, [x], ones, create_graph=True)[0]  # type: ignore[list-item]

    return jacobian(gradient)
