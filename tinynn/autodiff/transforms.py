"""Functions that turn a function into its derivatives. They nest.

Inside a function that is being differentiated, whatever depends on its inputs is returned as
Tensors of its graph: the value, gradients, tangents and Jacobians can be differentiated again.
Anywhere else the value is a detached Tensor, and derivatives are ndarrays.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff import graph, ops
from tinynn.autodiff.primitive import as_array, dtype_of, shape_of, values
from tinynn.autodiff.tensor import Tensor

# Birth numbers of the inputs of all functions that are being differentiated right now.
_inputs: ContextVar[frozenset[int]] = ContextVar("tinynn_inputs", default=frozenset())


@contextmanager
def differentiating(inputs: Iterable[graph.Node]) -> Iterator[None]:
    """Call a function of ``inputs`` inside: gradients taken in it become a part of its graph."""
    before = _inputs.set(_outer_inputs() | {x._birth for x in inputs})
    try:
        yield
    finally:
        _inputs.reset(before)


def _outer_inputs() -> frozenset[int]:
    """Return the inputs that a gradient taken now may depend on."""
    return frozenset() if graph._paused.get() else _inputs.get()


def _is_inner(owner: str, parts: Sequence[Any]) -> bool:
    """Tell whether one of ``parts`` depends on an input of an outer function."""
    births = _outer_inputs()
    return bool(births) and any(
        node._birth in births
        for part in parts
        if isinstance(part, graph.Node)
        for node in graph.topological_order(owner, part)
    )


def _input(owner: str, name: str, x: Any) -> Tensor:
    """Return ``x`` as a node of its own, of floats; in an outer function, a part of its graph."""
    x = as_array(owner, x)
    dtype = dtype_of(x)
    if dtype.kind not in "fiu":
        raise TypeError(f"{owner}: {name} must be real numbers, got dtype {dtype}.")
    if isinstance(x, Tensor) and x.requires_grad and _outer_inputs():
        return ops.astype(x, dtype)
    return Tensor(values(x), dtype=None if dtype.kind == "f" else float, requires_grad=True)


def _called(owner: str, f: Any, inputs: Sequence[Tensor], *args: Any, **kwargs: Any) -> Tensor:
    """Return ``f(*args, **kwargs)``, a function of ``inputs``."""
    with differentiating(inputs):
        y = f(*args, **kwargs)
    if not isinstance(y, Tensor):
        raise TypeError(
            f"{owner}: the function must return one Tensor, got {type(y).__name__}. "
            "Compute with tinynn's operations from its arguments to its result."
        )
    if y.dtype.kind != "f":
        raise ValueError(
            f"{owner}: the function returned {y.dtype}, which has no derivative: the result does "
            "not depend on any tensor that requires a gradient. Return floats."
        )
    return y


def _gradients(owner: str, y: Tensor, xs: Sequence[Tensor], g: Any, inner: bool) -> list[Any]:
    """Return the gradient of each x, zeros if ``y`` does not depend on it; Tensors if ``inner``."""
    constant = not y.requires_grad and not graph._paused.get()
    pairs = [] if constant else graph.gradients(owner, y, g, xs, inner)
    found = {x._birth: share for x, share in pairs}
    shares = [found[x._birth] if x._birth in found else np.zeros(x.shape, x.dtype) for x in xs]
    if inner:
        return [a if isinstance(a, graph.Node) else Tensor(a) for a in shares]
    return [graph.owned(a) for a in shares]


def value_and_grad(
    f: Callable[..., Any], argnums: int | tuple[int, ...] = 0
) -> Callable[..., tuple[Tensor, Any]]:
    """Return a function that computes ``f(*args)`` and its gradient in one go.

    Parameters
    ----------
    f : callable
        It must return a scalar Tensor.
    argnums : int or tuple of int, default 0
        Which arguments to differentiate. An int gives one gradient, a tuple a tuple of them.

    Returns
    -------
    callable
        It gives the value, a detached Tensor, and the gradient, an ndarray. In a function that is
        itself being differentiated, both are Tensors of its graph.

    Raises
    ------
    ValueError
        If the value is no scalar.
    IndexError
        If there is no such argument.

    Examples
    --------
    >>> value, g = value_and_grad(lambda w: (w * w).sum())(np.array([1.0, 3.0]))
    >>> float(value), g
    (10.0, array([2., 6.]))
    >>> penalty = lambda x: (value_and_grad(lambda z: (z**3).sum())(x)[1] ** 2).sum()  # 9 x^4
    >>> value_and_grad(penalty)(np.array([1.0, 2.0]))[1]
    array([ 36., 288.])
    """
    return _value_and_grad("value_and_grad", f, argnums)


def _value_and_grad(
    owner: str, f: Callable[..., Any], argnums: int | tuple[int, ...]
) -> Callable[..., tuple[Tensor, Any]]:
    if isinstance(argnums, list):
        raise TypeError(
            f"{owner}: argnums must be an int or a tuple of ints, got {argnums}. Write "
            f"{tuple(argnums)}."
        )
    wanted = argnums if isinstance(argnums, tuple) else (argnums,)
    places = [check.integer(owner, "argnums", i) for i in wanted]

    def wrapped(*args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        if any(not -len(args) <= i < len(args) for i in places):
            raise IndexError(
                f"{owner}: argnums={argnums} asks for an argument that is not among the "
                f"{len(args)} given by position."
            )
        inputs = list(args)
        for i in places:
            inputs[i] = _input(owner, f"argument {i}", args[i])
        xs = [inputs[i] for i in places]
        y = _called(owner, f, xs, *inputs, **kwargs)
        if y.size != 1:
            raise ValueError(
                f"{owner}: the function must return a scalar, got shape {y.shape}. "
                "Reduce it, for instance with .sum(), or use tinynn.jacobian."
            )
        inner = _is_inner(owner, [y, *xs])
        gs = _gradients(owner, y, xs, np.ones(y.shape, y.dtype), inner)
        return y if inner else y.detach(), tuple(gs) if wanted is argnums else gs[0]

    return wrapped


def vjp(f: Callable[..., Any], *xs: Any) -> tuple[Tensor, Callable[[Any], list[Any]]]:
    """Return ``f(*xs)`` and the function that pulls a gradient of it back to each of ``xs``.

    Parameters
    ----------
    f : callable
        A function of arrays that returns one array.
    *xs : array_like
        Its arguments.

    Returns
    -------
    (Tensor, callable)
        The result, and ``pull(g)``. It takes g of the result's shape and returns a list of
        ndarrays, one for each x. In a function that is itself being differentiated, they are
        Tensors.

    Raises
    ------
    ValueError
        If g has another shape.

    Examples
    --------
    >>> y, pull = vjp(lambda x: x * x, np.array([1.0, 3.0]))
    >>> pull(np.array([1.0, 10.0]))
    [array([ 2., 60.])]
    """
    inputs = [_input("vjp", f"xs[{i}]", x) for i, x in enumerate(xs)]
    y = _called("vjp", f, inputs, *inputs)

    def pull(g: Any) -> list[Any]:
        g = as_array("vjp", g)
        if shape_of(g) != y.shape:
            raise ValueError(f"vjp: g must have the result's shape {y.shape}, got {shape_of(g)}.")
        return _gradients("vjp", y, inputs, g, _is_inner("vjp", [y, g, *inputs]))

    return y if _is_inner("vjp", [y, *inputs]) else y.detach(), pull


def jvp(f: Callable[..., Any], xs: Sequence[Any], vs: Sequence[Any]) -> tuple[Tensor, Any]:
    """Return ``f(*xs)`` and its derivative along ``vs``: the Jacobian times the tangents.

    Parameters
    ----------
    f : callable
        A function of arrays that returns one array.
    xs : sequence of array_like
        Its arguments.
    vs : sequence of array_like
        The tangents, of the shapes of ``xs``.

    Returns
    -------
    (Tensor, ndarray)
        The result, and the tangent, of its shape. In a function that is itself being
        differentiated, the tangent is a Tensor of its graph.

    Raises
    ------
    ValueError
        If the shapes do not match.

    References
    ----------
    A vjp is linear in its gradient, so its own vjp is the jvp: J. Townsend 2017, A new trick for
    calculating Jacobian vector products.

    Examples
    --------
    >>> y, tangent = jvp(lambda x: x * x, [np.array([1.0, 3.0])], [np.array([1.0, 0.5])])
    >>> tangent
    array([2., 3.])
    """
    if not isinstance(xs, (list, tuple)) or not isinstance(vs, (list, tuple)) or not xs:
        raise TypeError("jvp: xs and vs must be lists: jvp(f, [x1, x2], [v1, v2]).")
    inputs = [_input("jvp", f"xs[{i}]", x) for i, x in enumerate(xs)]
    vs = [as_array("jvp", v) for v in vs]
    for i, v in enumerate(vs):
        if dtype_of(v).kind not in "fiub":
            raise TypeError(f"jvp: vs[{i}] must be real numbers, got dtype {dtype_of(v)}.")
    shapes = [[shape_of(a) for a in arrays] for arrays in (inputs, vs)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"jvp: xs and vs must match, got shapes {shapes[0]} and {shapes[1]}.")
    y = _called("jvp", f, inputs, *inputs)
    inner = _is_inner("jvp", [y, *inputs, *vs])
    probe = Tensor(np.zeros(y.shape, y.dtype), requires_grad=True)
    pulled = _gradients("jvp", y, inputs, probe, True)
    along = sum(ops.sum(g * v) for g, v in zip(pulled, vs, strict=True))
    tangent = _gradients("jvp", along, [probe], None, inner)[0]
    return y if inner else y.detach(), tangent


def jacobian(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that computes all derivatives of ``f`` at x.

    ``f``: array to array; the Jacobian is an ndarray of shape ``f(x).shape + x.shape``. In a
    function that is itself being differentiated, it is a Tensor of its graph.

    >>> jacobian(lambda x: x * x)(np.array([1.0, 3.0]))
    array([[2., 0.],
           [0., 6.]])
    """
    return _jacobian("jacobian", f)


def _jacobian(owner: str, f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def wrapped(x: Any) -> Any:
        x = _input(owner, "x", x)
        y = _called(owner, f, [x], x)
        inner = _is_inner(owner, [y, x])
        rows: list[Any] = []
        for i in range(max(y.size, 1)):  # one for shape and dtype, if there is none
            unit = np.zeros(y.size, y.dtype)
            unit[i : i + 1] = 1
            rows += _gradients(owner, y, [x], unit.reshape(y.shape), inner)
        return ops.reshape(ops.stack(rows)[: y.size], y.shape + x.shape)

    return wrapped


def hessian(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that computes all second derivatives of a scalar ``f`` at x.

    The Hessian is an ndarray of shape ``x.shape + x.shape``. In a function that is itself being
    differentiated, it is a Tensor of its graph.

    >>> hessian(lambda x: (x * x * x).sum())(np.array([1.0, 3.0]))
    array([[ 6.,  0.],
           [ 0., 18.]])
    """
    gradient = _value_and_grad("hessian", f, 0)
    return _jacobian("hessian", lambda x: gradient(x)[1])
