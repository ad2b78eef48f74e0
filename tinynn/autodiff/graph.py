"""Graphs of recorded operations, and the walk back through them. Knows no operation.

A :class:`Node` is an array with the record of how it came to be; :func:`grad` walks those records
from a result back to the nodes that it came from.
"""

import itertools
from collections.abc import Container, Iterable, Sequence
from contextlib import ContextDecorator
from contextvars import ContextVar
from enum import Enum
from typing import Any, NamedTuple, Self

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.listening import effect
from tinynn.autodiff.memory import keep_freed_memory

_paused: ContextVar[int] = ContextVar("tinynn_paused", default=0)  # how many no_grad() we are in
_births = itertools.count()


class Ownership(Enum):
    """Who else may hold the array of a node."""

    PRIVATE = 0  # a leaf's own array; nobody else has it
    LENT = 1  # a leaf's own array, saved by a graph or seen through a view
    EXPOSED = 2  # a leaf's own array, handed out through .data: it may be written at any time
    RESULT = 3  # what an operation returned: never written


PRIVATE, LENT, EXPOSED, RESULT = Ownership


class Trace(NamedTuple):
    """How a node came to be: ``op(*args, **params)``, computed on ``arrays``, the args' values."""

    op: Any  # a Primitive
    args: tuple[Any, ...]
    arrays: tuple[Any, ...]
    params: dict[str, Any]


RELEASED = Trace(None, (), (), {})  # of a node whose graph a backward() has consumed


class GradientShapeError(ValueError):
    """A vjp returned a gradient whose shape is not that of its argument."""


class Node:
    """An array with the record of how it came to be.

    Arguments are born before results, so sorting by birth number is a topological order. A trace
    refers to arguments only, never to its own node: graphs have no cycles and die by reference
    counting alone.
    """

    __slots__ = ("_birth", "_data", "_ownership", "_requires_grad", "_trace")

    _data: np.ndarray
    _requires_grad: bool
    _trace: Trace | None  # None for a leaf
    _ownership: Ownership
    _birth: int

    @classmethod
    def _result(cls, data: Any, trace: Trace | None) -> Self:
        node = cls.__new__(cls)
        node._data = data if type(data) is np.ndarray else np.asarray(data)
        if trace is not None and node._data.dtype.kind != "f":
            trace = None
        node._trace = trace
        node._requires_grad = trace is not None
        node._ownership = RESULT
        node._birth = next(_births)
        return node

    def _lend(self) -> np.ndarray:
        """Return the array for others to keep: nothing will write to it any more."""
        if self._ownership is EXPOSED:
            return self._data.copy()
        if self._ownership is PRIVATE:
            self._ownership = LENT
        return self._data


class no_grad(ContextDecorator):
    """Record nothing inside: a context manager, or a decorator. Each thread has its own switch.

    >>> from tinynn import Tensor
    >>> x = Tensor([1.0], requires_grad=True)
    >>> with no_grad():
    ...     (2 * x).requires_grad
    False
    """

    def __enter__(self) -> None:
        _paused.set(_paused.get() + 1)

    def __exit__(self, *exc: object) -> None:
        _paused.set(_paused.get() - 1)

    def __call__(self, func: Any) -> Any:
        """Decorate ``func``; a generator or coroutine is refused, it would run outside."""
        return super().__call__(check.run_at_once("no_grad", func))


# ---------------------------------------------------------------- the gradient


def grad(
    y: Node, xs: Node | Iterable[Node], g: Any = None, *, create_graph: bool = False
) -> list[Any]:
    """Return the gradients of ``y`` with respect to each of ``xs``; nothing is stored.

    It may be called again on the same graph.

    Parameters
    ----------
    y : Tensor
        Of any shape.
    xs : Tensor or sequence of Tensors
        With ``requires_grad``, in the graph of ``y``.
    g : array_like, of y's shape, default None
        The gradient of some scalar with respect to ``y``. Needed unless ``y`` has one element.
    create_graph : bool, default False
        Whether to return Tensors that can be differentiated again.

    Returns
    -------
    list of ndarray, or of Tensor
        One for each x, of its shape and dtype.

    Raises
    ------
    ValueError
        If ``y`` is not a scalar and ``g`` is missing or misshaped, or if an x is not in its graph.
    RuntimeError
        If the graph was released.

    Examples
    --------
    >>> from tinynn import Tensor
    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> grad((x * x).sum(), [x])
    [array([2., 4., 6.])]
    """
    targets = [xs] if isinstance(xs, Node) else list(xs)
    for i, x in enumerate(targets):
        if not isinstance(x, Node):
            raise TypeError(f"grad: xs[{i}] must be a Tensor, got {type(x).__name__}.")
        if not x._requires_grad:
            raise ValueError(
                f"grad: xs[{i}], of shape {x._data.shape}, does not require a gradient. "
                "Create it with requires_grad=True before computing y."
            )
    found = {x._birth: share for x, share in gradients("grad", y, g, targets, create_graph)}
    for i, x in enumerate(targets):
        if x._birth not in found:
            raise ValueError(
                f"grad: xs[{i}], of shape {x._data.shape}, is not part of the graph of y, "
                "so y does not depend on it. Leave it out, or compute y from it."
            )
    shares = [found[x._birth] for x in targets]
    return shares if create_graph else [owned(share) for share in shares]


@effect
def owned(gradient: Any) -> Any:
    """Return a gradient as an array that nobody else has."""
    return np.array(gradient)


@effect
def gradients(
    caller: str,
    y: Node,
    g: Any,
    targets: Sequence[Node] | None,
    as_nodes: bool = False,
    release: bool = False,
) -> list[tuple[Any, Any]]:
    """Return (target, gradient) for each target that ``y`` depends on; None means all leaves.

    ``as_nodes``: as Nodes that can be differentiated again, else as arrays, which may be shared;
    ``release``: let the graph go, after success.
    """
    keep_freed_memory()
    seed = _seed(caller, y, g, as_nodes)
    order = topological_order(caller, y)
    needed = None if targets is None else _leading_to({x._birth for x in targets}, order)
    if targets is None:
        targets = [node for node in order if node._trace is None]
    found = walk_back(order, seed, {x._birth for x in targets}, needed, as_nodes)
    for node in order if release else ():
        if node._trace is not None:
            node._trace = RELEASED
    return [(x, found[x._birth]) for x in targets if x._birth in found]


def topological_order(caller: str, y: Node) -> list[Node]:
    """Return ``y`` and all that it was computed from and that requires a gradient, last born first.

    Raises RuntimeError if a part of the graph has been released.
    """
    nodes = {y._birth: y}
    stack = [y]
    while stack:
        trace = stack.pop()._trace
        if trace is None:
            continue
        if trace is RELEASED:
            raise RuntimeError(
                f"{caller}: a backward() has already released this graph. Compute y again, or use "
                "grad(), which keeps the graph, for every pass but the last."
            )
        for arg in trace.args:
            if isinstance(arg, Node) and arg._requires_grad and arg._birth not in nodes:
                nodes[arg._birth] = arg
                stack.append(arg)
    return [nodes[birth] for birth in sorted(nodes, reverse=True)]


def walk_back(
    order: Sequence[Node], seed: Any, targets: set[int], needed: Container[int] | None,
    as_nodes: bool,
) -> dict[int, Any]:  # fmt: skip
    """Return the gradients of the targets by birth number; ``seed`` is that of the first node.

    When a node's turn comes, all that was computed from it has passed its share on. ``needed``:
    the nodes to which shares are passed, None for all.
    """
    gradients = {order[0]._birth: seed}
    with _derivatives(as_nodes):
        for node in order:
            if node._trace is None or node._birth not in gradients:
                continue
            kept = node._birth in targets
            gradient = gradients[node._birth] if kept else gradients.pop(node._birth)
            for argument, share in shares_of(node, gradient, needed, as_nodes):
                before = gradients.get(argument._birth)
                gradients[argument._birth] = share if before is None else before + share
    return gradients


def shares_of(
    node: Node, gradient: Any, needed: Container[int] | None, as_nodes: bool
) -> list[tuple[Node, Any]]:
    """Return what the gradient of a result gives each of the arguments that are needed."""
    op, args, arrays, params = node._trace  # type: ignore[misc]
    y, inputs = (node, _unchanged(node)) if as_nodes else (node._data, arrays)
    shares = []
    for i, arg in enumerate(args):
        if not isinstance(arg, Node) or not arg._requires_grad or not op.differentiable(i):
            continue
        if needed is None or arg._birth in needed:
            share = op.vjp(i, gradient, y, inputs, params)
            shares.append((arg, _checked(op, i, share, arrays[i], as_nodes)))
    return shares


# ---------------------------------------------------------------- before and around the walk


class _derivatives:
    """Record inside only if derivatives are wanted as Nodes; an infinite slope is no error."""

    # An infinite slope in a branch that carries no gradient would warn.

    def __init__(self, as_nodes: bool) -> None:
        self.errors = np.errstate(divide="ignore", invalid="ignore", over="ignore")
        self.paused = 0 if as_nodes else 1

    def __enter__(self) -> None:
        self.token = _paused.set(self.paused)
        self.errors.__enter__()

    def __exit__(self, *exc: Any) -> None:
        self.errors.__exit__(*exc)
        _paused.reset(self.token)


def _seed(caller: str, y: Node, g: Any, as_nodes: bool) -> Any:
    """Return the gradient to begin with: ``g``, checked, or 1 for a scalar."""
    if not isinstance(y, Node):
        raise TypeError(f"{caller}: y must be a Tensor, got {type(y).__name__}.")
    if not y._requires_grad:
        raise ValueError(
            f"{caller}: y does not depend on any tensor that requires a gradient, or was computed "
            "under no_grad. Create the inputs with requires_grad=True."
        )
    shape, dtype = y._data.shape, y._data.dtype
    if g is None:
        if y._data.size != 1:
            raise ValueError(
                f"{caller}: y has shape {shape}, and only a scalar has a gradient of its own. "
                "Reduce it, for instance with .sum(), or give the gradient with respect to y."
            )
        seed = np.ones(shape, dtype)
    elif isinstance(g, Node) and as_nodes:
        if g._data.shape != shape:
            raise ValueError(f"{caller}: g must have y's shape {shape}, got {g._data.shape}.")
        return g if g._data.dtype == dtype else g.astype(dtype)  # type: ignore[attr-defined]
    else:
        seed = np.array(g._data if isinstance(g, Node) else check.unmasked(caller, g))
        if seed.shape != shape:
            raise ValueError(f"{caller}: g must have y's shape {shape}, got {seed.shape}.")
        if seed.dtype.kind not in "fiub":
            raise TypeError(f"{caller}: g must be real numbers, got dtype {seed.dtype}.")
        seed = seed.astype(dtype)
    seed.flags.writeable = False
    return type(y)._result(seed, None) if as_nodes else seed


def _leading_to(targets: set[int], order: Sequence[Node]) -> set[int]:
    """Return the nodes from which a way leads back to a target."""
    needed = set()
    for node in reversed(order):
        args = node._trace.args if node._trace is not None else ()
        if node._birth in targets or any(
            isinstance(arg, Node) and arg._birth in needed for arg in args
        ):
            needed.add(node._birth)
    return needed


def _unchanged(node: Node) -> list[Any]:
    """Return the arguments as Nodes, having made sure that they still hold what was computed on."""
    trace: Trace = node._trace  # type: ignore[assignment]
    for arg, array in zip(trace.args, trace.arrays, strict=True):
        if (
            isinstance(arg, Node)
            and arg._data is not array
            and not np.array_equal(arg._data, array, equal_nan=array.dtype.kind in "fc")
        ):
            raise RuntimeError(
                f"grad: an argument of {trace.op.__name__}, of shape {array.shape}, was changed "
                "after the forward pass, so a graph of its gradient would be wrong. Take gradients "
                "with create_graph=True before you update it."
            )
    return [
        arg if isinstance(arg, Node) else array
        for arg, array in zip(trace.args, trace.arrays, strict=True)
    ]


def _checked(op: Any, i: int, gradient: Any, array: Any, as_nodes: bool) -> Any:
    """Return what a vjp returned, in the shape and dtype of its argument, or say what is wrong."""
    plain = type(gradient) is np.ndarray and not as_nodes
    if plain and gradient.dtype is array.dtype and gradient.shape == array.shape:
        return gradient  # nearly always
    if gradient is None or (as_nodes and not isinstance(gradient, Node)):
        got = type(gradient).__name__
        raise TypeError(
            f"{op.__name__}: the vjp of argument {i} returned None. Return the gradient; for an "
            "argument that has none, give None in place of the vjp."
            if gradient is None
            else f"{op.__name__}: the vjp of argument {i} returned {got} where create_graph needs "
            "a Tensor, so a second derivative would be lost. Write the vjp with tinynn's "
            "operations."
        )
    if isinstance(gradient, Node):
        data = gradient._data
    else:
        data = gradient if type(gradient) is np.ndarray else np.asarray(gradient)
    if not as_nodes:
        gradient = data
    if data.shape != array.shape:
        raise GradientShapeError(
            f"{op.__name__}: the vjp of argument {i} returned shape {data.shape}, "
            f"but the argument has shape {array.shape}. Sum or reshape it in the vjp "
            "(@elementwise does so for broadcasting)."
        )
    return gradient if data.dtype == array.dtype else gradient.astype(array.dtype)
