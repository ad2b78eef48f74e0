"""Graphs of recorded operations: nodes, primitives and the walk back. Knows no operation.

A :class:`Primitive` given plain arrays is a NumPy function. Given a :class:`Node` it also records
what it did, and :func:`grad` walks those records from a result back to the nodes it came from.
"""

import copy
import inspect
import itertools
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import ContextDecorator
from contextvars import ContextVar
from typing import Any, Generic, ParamSpec, Self

import numpy as np

P = ParamSpec("P")
Vjp = Callable[..., Any]

_paused: ContextVar[int] = ContextVar("tinynn_paused", default=0)  # how many no_grad() we are in
_births = itertools.count()
# What listens to the operations, when tinynn.compile records a call (see record.py).
_recorder: ContextVar[Any] = ContextVar("tinynn_recorder", default=None)

# Who else may hold the array of a node.
PRIVATE = 0  # a leaf's own array; nobody else has it
LENT = 1  # a leaf's own array, saved by a graph or seen through a view
EXPOSED = 2  # a leaf's own array, handed out through .data: it may be written at any time
RESULT = 3  # what an operation returned: never written
REPLAYED = 4  # a leaf's array that a compiled step writes to: copied before anybody else sees it

RAW = {np.ndarray, int, float}  # types of most arguments that are no Nodes
PLAIN = {int, float, bool, str, tuple, type(None)}  # types of most parameters
RELEASED = ()  # the trace of a node whose graph a backward() has consumed


class GradientShapeError(ValueError):
    """A vjp returned a gradient whose shape is not that of its argument."""


class Node:
    """An array with the record of how it came to be.

    Arguments are born before results, so sorting by birth number is a topological order. A trace
    refers to arguments only, never to its own node: graphs have no cycles and die by reference
    counting alone.
    """

    __slots__ = ("_birth", "_data", "_hold", "_requires_grad", "_trace")

    _data: np.ndarray
    _requires_grad: bool
    _trace: tuple[Any, ...] | None  # (op, args, arrays, params), RELEASED, or None for a leaf
    _hold: int
    _birth: int

    @classmethod
    def _result(cls, data: Any, trace: tuple[Any, ...] | None) -> Self:
        node = cls.__new__(cls)
        node._data = data if type(data) is np.ndarray else np.asarray(data)
        if node._data.dtype.kind != "f":
            trace = None
        node._trace = trace
        node._requires_grad = trace is not None
        node._hold = RESULT
        node._birth = next(_births)
        return node

    def _lend(self) -> np.ndarray:
        """Return the array for others to keep: nothing will write to it any more."""
        if self._hold == EXPOSED:
            return self._data.copy()
        if self._hold == REPLAYED:
            self._data = self._data.copy()
        if self._hold in (PRIVATE, REPLAYED):
            self._hold = LENT
        return self._data


class Watched(np.ndarray):
    """An array of a call that is being recorded: what NumPy computes from it is recorded too."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Apply ``ufunc`` to plain arrays, and let the recorder know."""
        if any(isinstance(x, Node) for x in inputs):
            return NotImplemented
        recorder = _recorder.get()
        if recorder is not None:
            return recorder.ufunc(ufunc, method, inputs, kwargs)
        return getattr(ufunc, method)(*map(unwatched, inputs), **kwargs)

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        """Convert the elements, recorded while a recording goes on."""
        recorder = _recorder.get()
        plain = self.view(np.ndarray).astype(dtype, *args, **kwargs)
        return plain if recorder is None else recorder.converted(self, plain)

    def __bool__(self) -> bool:
        recorder = _recorder.get()
        if recorder is not None:
            recorder.refuse("the truth of an array decides what it does")
        return bool(self.view(np.ndarray))

    def item(self, *args: Any) -> Any:
        """Return an element as a Python number, which is remembered while a recording goes on."""
        recorder = _recorder.get()
        number = self.view(np.ndarray).item(*args)
        return number if recorder is None else recorder.number(self, number)

    def __float__(self) -> float:
        return float(self.item())

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Refuse, while recording, what computes its result out of hearing."""
        result = super().__array_function__(func, types, args, kwargs)
        recorder = _recorder.get()
        parts = result if isinstance(result, (tuple, list)) else [result]
        deaf = [
            p for p in parts if isinstance(p, (np.ndarray, np.generic)) and type(p) is not Watched
        ]
        if recorder is not None and deaf:
            recorder.refuse(f"numpy.{func.__name__} computes with its data, which is not recorded")
        return result

    def __getitem__(self, index: Any) -> Any:
        part = self.view(np.ndarray)[unwatched(index)]
        if _recorder.get() is not None and isinstance(part, np.generic):
            index = index if isinstance(index, tuple) else (index,)
            part = self.view(np.ndarray)[tuple(slice(i, i + 1 or None) for i in index)].reshape(())
        return part.view(Watched) if isinstance(part, np.ndarray) else part

    def _told(self, what: str) -> Any:
        recorder = _recorder.get()
        if recorder is not None:
            recorder.refuse(f"its data become Python numbers by {what}")
        return self.view(np.ndarray)

    def __int__(self) -> int:
        return int(self._told("int()"))

    def __index__(self) -> int:
        return self._told("being an index").__index__()

    def __iter__(self) -> Any:
        return iter(self._told("being iterated over"))

    def mean(self, axis: Any = None, dtype: Any = None, out: Any = None, **kwargs: Any) -> Any:
        """Return the mean, by operations that are recorded."""
        total = self.sum(axis=axis, dtype=dtype, out=out, **kwargs)
        return total / (self.size / max(1, np.size(total)))

    def tolist(self) -> Any:
        """Return nested lists, which cannot be done while a recording goes on."""
        return self._told("tolist()").tolist()

    def argmax(self, *args: Any, **kwargs: Any) -> Any:
        """Return the place of the largest element, not while a recording goes on."""
        return self._told("argmax()").argmax(*args, **kwargs)

    def argmin(self, *args: Any, **kwargs: Any) -> Any:
        """Return the place of the smallest element, not while a recording goes on."""
        return self._told("argmin()").argmin(*args, **kwargs)

    def __setitem__(self, index: Any, value: Any) -> None:
        recorder = _recorder.get()
        if recorder is not None:
            recorder.refuse("it writes into an array in place")
        self.view(np.ndarray)[index] = unwatched(value)


def watched(array: np.ndarray) -> Watched:
    """Return an array as one that is listened to, and that NumPy does not write to unheard."""
    view = array.view(Watched)
    view.flags.writeable = False
    return view


def unwatched(x: Any) -> Any:
    """Return a Watched array as a plain one, all else as it is."""
    return x.view(np.ndarray) if type(x) is Watched else x


class Primitive(Generic[P]):
    """A NumPy function with one vjp for each differentiable argument; see :func:`primitive`."""

    def __init__(self, forward: Callable[P, Any], vjps: Sequence[Vjp | None] | Vjp) -> None:
        if not callable(forward):
            raise TypeError(
                f"primitive: got {type(forward).__name__} in place of the forward function. "
                "Write @primitive(vjp_x, ...) or @elementwise(vjp_x, ...) above a function; "
                "without vjps it is taken for one itself."
            )
        self.forward = forward
        self.__name__ = forward.__name__
        self.__qualname__ = forward.__qualname__
        self.__module__ = forward.__module__
        self.__doc__ = forward.__doc__
        self.__wrapped__ = forward
        self.signature = inspect.signature(forward)
        self.variadic = callable(vjps)
        names = list(self.signature.parameters)
        if callable(vjps):
            self._rule: Vjp = vjps
            self.vjps: tuple[Vjp | None, ...] = ()
            names = names[1:]
        elif any("VAR_" in p.kind.name for p in self.signature.parameters.values()):
            raise TypeError(
                f"primitive: {self.__name__}{self.signature} must name each of its arguments, "
                "so that its vjps see them; *args and **kwargs are not supported."
            )
        else:
            self.vjps = tuple(vjps)
            if not self.vjps or any(not (v is None or callable(v)) for v in self.vjps):
                raise TypeError(
                    f"primitive: {self.__name__} needs one vjp (a function, or None) for each "
                    f"differentiable argument, got {self.vjps!r}. Write @primitive(vjp_x, ...)."
                )
            if len(self.vjps) > len(names):
                raise TypeError(
                    f"primitive: {self.__name__} has {len(names)} arguments, "
                    f"got {len(self.vjps)} vjps. Give at most one vjp an argument."
                )
        self.arity = len(self.vjps)
        self._array_names = tuple(names[: self.arity])
        self._param_names = tuple(names[self.arity :])
        self._param_set = frozenset(self._param_names)
        self._defaults = {
            name: self.signature.parameters[name].default
            for name in self._param_names
            if self.signature.parameters[name].default is not inspect.Parameter.empty
        }
        self._plain = not self._param_names and not self.variadic

    def __repr__(self) -> str:
        return f"<primitive {self.__name__}{self.signature}>"

    def __reduce__(self) -> str:  # copied and pickled by name, as functions are
        return self.__qualname__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Compute; record too if an argument is a Node that requires a gradient."""
        recorder = _recorder.get()
        if recorder is None and self._takes_plainly(args, kwargs):
            try:
                return self.forward(*args, **kwargs)
            except TypeError:
                self._bind(args, kwargs)  # raises a better one if the call itself is wrong
                raise
        params: dict[str, Any] = kwargs
        inputs: tuple[Any, ...] = args
        if not (self._plain and not params and len(inputs) == self.arity):
            inputs, params = self._bind(inputs, params)
        if recorder is not None:
            return recorder.call(self, inputs, params)
        first = None
        live = False
        for i, arg in enumerate(inputs):
            if isinstance(arg, Node):
                if first is None:
                    first = arg
                if arg._requires_grad and (self.variadic or self.vjps[i] is not None):
                    live = True
            elif isinstance(arg, (list, tuple)):
                refuse_hidden(self.__name__, arg)
        if first is None:
            return self.forward(*inputs, **params)
        live = live and not _paused.get()
        arrays = tuple([_array_of(arg, live) for arg in inputs])
        try:
            data = self.forward(*arrays, **params)
        except ValueError as error:
            self._name_shapes(arrays, error)
            raise
        if not isinstance(data, (np.ndarray, np.generic, int, float)):
            raise TypeError(
                f"{self.__name__}: an operation must return one array, got {type(data).__name__}."
            )
        return type(first)._result(data, (self, inputs, arrays, params) if live else None)

    def _takes_plainly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Tell whether all arguments are arrays and plain values, so that nothing is recorded."""
        if self.variadic:
            return False
        arity = self.arity
        for i, arg in enumerate(args):
            if type(arg) not in RAW and (i < arity or type(arg) not in PLAIN):
                return False
        for name, value in kwargs.items():
            if type(value) not in PLAIN or name not in self._param_set:
                return False
        return True

    def _name_shapes(self, arrays: Sequence[Any], error: ValueError) -> None:
        """Raise an error that names operation and shapes, if NumPy found that those do not fit."""
        if len(arrays) < 2 or not any(w in str(error) for w in ("broadcast", "core dimension")):
            return
        *rest, last = (str(np.shape(array)) for array in arrays)
        raise ValueError(
            f"{self.__name__}: shapes {', '.join(rest)} and {last} do not fit. Reshape one of "
            f"them. (NumPy: {error})"
        ) from None

    def _bind(
        self, args: tuple[Any, ...], params: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Split a call into array arguments, in order, and all other parameters, by name."""
        if self.variadic:
            params = {**self._defaults, **params}
        elif len(args) != self.arity or params.keys() != self._param_set:
            extra = dict(zip(self._param_names, args[self.arity :], strict=False))
            full = {**self._defaults, **extra, **params}
            if (
                not self.arity <= len(args) <= self.arity + len(self._param_names)
                or full.keys() != set(self._param_names)
                or (extra and extra.keys() & params.keys())
            ):
                try:
                    bound = self.signature.bind(*args, **params)
                except TypeError as error:
                    raise TypeError(f"{self.__name__}: {error}.") from None
                bound.apply_defaults()
                args = tuple(bound.arguments[name] for name in self._array_names)
                full = {name: bound.arguments[name] for name in self._param_names}
            args, params = args[: self.arity], full
        for name, value in params.items():
            if type(value) in PLAIN:
                continue
            if isinstance(value, Node):
                raise TypeError(
                    f"{self.__name__}: {name} takes plain values, got a {type(value).__name__}; "
                    f"no gradient could flow through it. Give its values: numpy.asarray({name})."
                )
            if isinstance(value, (list, np.ndarray)):
                params[name] = copy.copy(value)  # the caller may change it before the backward
        return args, params

    def vjp(self, i: int, g: Any, y: Any, arrays: Sequence[Any], params: dict[str, Any]) -> Any:
        """Return the gradient of argument ``i``, given ``g``, that of the result ``y``."""
        if self.variadic:
            return self._rule(i, g, y, arrays, **params)
        rule = self.vjps[i]
        try:
            return None if rule is None else rule(g, y, *arrays, **params)
        except TypeError as error:
            names = ["g", "y", *self._array_names, *(f"{name}=..." for name in params)]
            error.add_note(
                f"Raised by vjp {i} of {self.__name__}, which calls it as vjp({', '.join(names)})."
            )
            raise

    def differentiable(self, i: int) -> bool:
        """Tell whether a gradient flows to argument ``i``."""
        return self.variadic or self.vjps[i] is not None


PRIMITIVES: dict[str, Primitive[Any]] = {}


def _array_of(arg: Any, keep: bool) -> Any:
    if isinstance(arg, Node):
        return arg._lend()
    if isinstance(arg, np.ndarray):
        # The caller may write to this array, or to its base, before the backward pass reads it.
        return arg.copy() if keep and (arg.flags.writeable or arg.base is not None) else arg
    return np.asarray(arg) if isinstance(arg, (list, tuple)) else arg


def refuse_hidden(owner: str, items: Sequence[Any]) -> None:
    """Raise TypeError if a list holds Nodes that require a gradient: NumPy would drop it."""
    for item in items:
        if isinstance(item, (list, tuple)):
            refuse_hidden(owner, item)
        elif isinstance(item, Node) and item._requires_grad:
            raise TypeError(
                f"{owner}: the list holds Tensors that require a gradient, which would be lost. "
                "Join them with tinynn.stack or tinynn.concatenate."
            )


def as_array(owner: str, x: Any) -> Any:
    """Return Nodes and arrays as they are, and all else as an array."""
    if isinstance(x, (list, tuple)):
        refuse_hidden(owner, x)
    return x if isinstance(x, (Node, Watched)) else np.asarray(x)


def fresh(make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array ``make()``; a compiled function calls it again at each replay.

    It is how :func:`tinynn.compile` gets new random numbers, or whatever else is to be made anew.

    >>> rng = np.random.default_rng(0)
    >>> fresh(lambda: rng.integers(10, size=3))
    array([8, 6, 5])
    """
    recorder = _recorder.get()
    return make() if recorder is None else recorder.fresh(make)


def always(do: Callable[..., None], *arrays: Any) -> None:
    """Call ``do`` on plain arrays, for its errors or effects; a compiled step does so each time."""
    recorder = _recorder.get()
    if recorder is None:
        do(*arrays)
    else:
        recorder.always(do, arrays)


def register(forward: Callable[P, Any], vjps: Sequence[Vjp | None] | Vjp) -> Primitive[P]:
    """Make the primitive and enter it in ``PRIMITIVES``."""
    op = Primitive(forward, vjps)
    PRIMITIVES[f"{op.__module__}.{op.__qualname__}"] = op
    return op


def primitive(*vjps: Vjp | None) -> Callable[[Callable[P, Any]], Primitive[P]]:
    """Turn a NumPy function into an operation with gradients; a decorator.

    The function body is the forward, on plain arrays. The first ``len(vjps)`` arguments are
    arrays; each has a vjp ``(g, y, *args, **params) -> gradient`` of exactly its shape, or None
    if no gradient flows to it. All further arguments are parameters. A vjp written with tinynn's
    operations (or their NumPy namesakes) can itself be differentiated.

    Raises TypeError if the vjps do not fit the function; the backward pass raises
    GradientShapeError if a vjp returns another shape than its argument's.

    >>> @primitive(lambda g, y, x: 3.0 * g * x * x)
    ... def cube(x):
    ...     return x**3
    >>> cube(np.array([1.0, 2.0]))
    array([1., 8.])
    """

    for vjp in filter(inspect.isfunction, vjps):
        code = vjp.__code__
        if code.co_argcount < 2 + len(vjps) and not code.co_flags & inspect.CO_VARARGS:
            raise TypeError(
                f"primitive: {vjp.__name__} takes {code.co_argcount} arguments, but a vjp takes "
                f"(g, y, *args, **params), here {2 + len(vjps)} at least. "
                "Write @primitive(vjp_x, ...) above the forward function."
            )

    def decorate(forward: Callable[P, Any]) -> Primitive[P]:
        return register(forward, vjps)

    return decorate


def variadic(rule: Vjp) -> Callable[[Callable[P, Any]], Primitive[P]]:
    """Like :func:`primitive`, for any number of arrays: ``rule(i, g, y, args, **params)``."""

    def decorate(forward: Callable[P, Any]) -> Primitive[P]:
        return register(forward, rule)

    return decorate


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
        if inspect.isgeneratorfunction(func) or inspect.iscoroutinefunction(func):
            raise TypeError(
                f"no_grad: {func.__name__} is a generator or coroutine, whose body runs after the "
                "decorator has returned. Use 'with no_grad():' inside it."
            )
        return super().__call__(func)


def grad(
    y: Node, xs: Node | Iterable[Node], g: Any = None, *, create_graph: bool = False
) -> list[Any]:
    """Return the gradients of ``y`` with respect to each of ``xs``; nothing is stored.

    ``y``: a Tensor of any shape; ``g``: the gradient of some scalar with respect to ``y``, of y's
    shape, needed unless ``y`` has one element. Returns one ndarray for each x, of its shape and
    dtype; with ``create_graph`` Tensors that can be differentiated again. May be called again on
    the same graph. Raises ValueError if ``y`` is not a scalar and ``g`` is missing or misshaped,
    or if an x is not in the graph of ``y``; RuntimeError if the graph was released.

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
    births = {x._birth for x in targets}
    found = walk(y, g, births, create_graph=create_graph, caller="grad")
    for i, x in enumerate(targets):
        if x._birth not in found:
            raise ValueError(
                f"grad: xs[{i}], of shape {x._data.shape}, is not part of the graph of y, "
                "so y does not depend on it. Leave it out, or compute y from it."
            )
    gradients = [found[x._birth][1] for x in targets]
    if create_graph:
        return gradients
    recorder = _recorder.get()
    return [np.array(g) if recorder is None else recorder.copied(g) for g in gradients]


def walk(
    y: Node,
    g: Any,
    targets: set[int] | None,
    *,
    create_graph: bool = False,
    release: bool = False,
    caller: str,
) -> dict[int, tuple[Node, Any]]:
    """Walk back from ``y``; return node and gradient of each target, by birth number.

    ``targets`` None means all leaves. ``release`` drops the records on the way, after success.
    """
    as_nodes = create_graph or _recorder.get() is not None  # raw arrays are not recorded
    seed = _seed(y, g, as_nodes, caller)
    nodes = _reachable(y, caller)
    order = sorted(nodes, reverse=True)
    if targets is None:
        targets = {birth for birth in order if nodes[birth]._trace is None}
        needed: Container[int] = nodes.keys()
    else:
        needed = _leading_to(targets, nodes, order)
    grads: dict[int, Any] = {y._birth: seed}
    found: dict[int, tuple[Node, Any]] = {}
    token = _paused.set(0 if create_graph else 1)
    try:
        # An infinite slope in a branch that carries no gradient is not an error.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for birth in order:
                if birth not in grads:
                    continue
                node, gradient = nodes[birth], grads.pop(birth)
                if birth in targets:
                    found[birth] = (node, gradient)
                if node._trace:
                    _push_back(node, gradient, grads, needed, as_nodes)
    finally:
        _paused.reset(token)
    if release:
        for node in nodes.values():
            if node._trace is not None:
                node._trace = RELEASED
    return found


def _seed(y: Node, g: Any, as_nodes: bool, caller: str) -> Any:
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
        seed = np.array(g._data if isinstance(g, Node) else g)
        if seed.shape != shape:
            raise ValueError(f"{caller}: g must have y's shape {shape}, got {seed.shape}.")
        if seed.dtype.kind not in "fiub":
            raise TypeError(f"{caller}: g must be real numbers, got dtype {seed.dtype}.")
        seed = seed.astype(dtype)
    return type(y)._result(seed, None) if as_nodes else seed


def _reachable(y: Node, caller: str) -> dict[int, Node]:
    nodes = {y._birth: y}
    stack = [y]
    while stack:
        trace = stack.pop()._trace
        if trace is None:
            continue
        if not trace:
            raise RuntimeError(
                f"{caller}: a backward() has already released this graph. Compute y again, or use "
                "grad(), which keeps the graph, for every pass but the last."
            )
        for arg in trace[1]:
            if isinstance(arg, Node) and arg._requires_grad and arg._birth not in nodes:
                nodes[arg._birth] = arg
                stack.append(arg)
    return nodes


def _leading_to(targets: set[int], nodes: dict[int, Node], order: list[int]) -> set[int]:
    needed = set()
    for birth in reversed(order):
        trace = nodes[birth]._trace
        if birth in targets or (
            trace and any(isinstance(a, Node) and a._birth in needed for a in trace[1])
        ):
            needed.add(birth)
    return needed


def _push_back(
    node: Node, g: Any, grads: dict[int, Any], needed: Container[int], as_nodes: bool
) -> None:
    """Add to ``grads`` what ``g``, the gradient of ``node``, gives each of its arguments."""
    op, args, arrays, params = node._trace  # type: ignore[misc]
    y = node if as_nodes else node._data
    inputs = arrays
    if as_nodes:
        inputs = _unchanged(op, args, arrays)
    for i, arg in enumerate(args):
        if not (isinstance(arg, Node) and arg._birth in needed and op.differentiable(i)):
            continue
        gradient = _checked(op, i, op.vjp(i, g, y, inputs, params), arrays[i], as_nodes)
        before = grads.get(arg._birth)
        grads[arg._birth] = gradient if before is None else before + gradient


def _unchanged(op: Primitive[Any], args: tuple[Any, ...], arrays: tuple[Any, ...]) -> list[Any]:
    """Return the arguments as Nodes, having made sure that they still hold what was computed on."""
    for arg, array in zip(args, arrays, strict=True):
        if (
            isinstance(arg, Node)
            and arg._data is not array
            and not np.array_equal(arg._data, array, equal_nan=array.dtype.kind in "fc")
        ):
            raise RuntimeError(
                f"grad: an argument of {op.__name__}, of shape {array.shape}, was changed after "
                "the forward pass, so a graph of its gradient would be wrong. Take gradients with "
                "create_graph=True before you update it."
            )
    return [
        arg if isinstance(arg, Node) else array for arg, array in zip(args, arrays, strict=True)
    ]


def _checked(op: Primitive[Any], i: int, gradient: Any, array: Any, as_nodes: bool) -> Any:
    if gradient is None:
        raise TypeError(
            f"{op.__name__}: the vjp of argument {i} returned None. Return the gradient; for an "
            "argument that has none, give None in place of the vjp."
        )
    if as_nodes and not isinstance(gradient, Node):
        raise TypeError(
            f"{op.__name__}: the vjp of argument {i} returned {type(gradient).__name__} where "
            "create_graph needs a Tensor, so a second derivative would be lost. "
            "Write the vjp with tinynn's operations."
        )
    data = gradient._data if isinstance(gradient, Node) else np.asarray(gradient)
    if not as_nodes:
        gradient = data
    if data.shape != array.shape:
        raise GradientShapeError(
            f"{op.__name__}: the vjp of argument {i} returned shape {data.shape}, "
            f"but the argument has shape {array.shape}. Sum or reshape it in the vjp "
            "(@elementwise does so for broadcasting)."
        )
    return gradient if data.dtype == array.dtype else gradient.astype(array.dtype)
