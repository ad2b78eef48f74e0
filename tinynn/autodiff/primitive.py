"""Operations with gradients: what a Primitive is, and the decorators that make one.

A :class:`Primitive` given plain arrays is a NumPy function. Given a Node it also records what it
did, for the walk back of graph.py.
"""

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast, overload

import numpy as np

from tinynn import _checks as check
from tinynn.autodiff.graph import LENT, RESULT, Node, Trace, _paused
from tinynn.autodiff.listening import effect, listener

P = ParamSpec("P")
N = TypeVar("N", bound=Node)
Vjp = Callable[..., Any]

RAW = {np.ndarray, int, float}  # types of most arguments that are no Nodes
SAVED = LENT, RESULT  # ownerships of arrays that nothing writes to
new_trace = tuple.__new__  # quicker than the call of a NamedTuple
PLAIN = {int, float, bool, str, tuple, type(None)}  # types of most parameters


class Operation(Generic[P]):
    """What a type checker knows of an operation: of a Tensor it makes a Tensor."""

    __name__: str

    if TYPE_CHECKING:

        @overload
        def __call__(self, x: N, /, *args: Any, **params: Any) -> N: ...
        @overload
        def __call__(self, xs: Sequence[N], /, *args: Any, **params: Any) -> N: ...
        @overload
        def __call__(self, a: Any, x: N, /, *args: Any, **params: Any) -> N: ...
        @overload
        def __call__(self, a: Any, b: Any, x: N, /, *args: Any, **params: Any) -> N: ...
        @overload
        def __call__(self, *args: P.args, **params: P.kwargs) -> Any: ...
        def __call__(self, *args: Any, **params: Any) -> Any:
            """Compute."""


def operation(f: Callable[P, Any]) -> Operation[P]:
    """Return ``f``, a function composed of operations, with the types of one; a decorator."""
    return cast("Operation[P]", f)


class Primitive(Operation[P]):
    """A NumPy function with one vjp for each differentiable argument; see :func:`primitive`.

    ``elementwise``: the result is computed element by element, with broadcasting;
    ``passes_nan``: a nan in an array shows in every result computed from it.
    """

    def __init__(
        self,
        forward: Callable[P, Any],
        vjps: Sequence[Vjp | None] | Vjp,
        *,
        elementwise: bool = False,
        passes_nan: bool = False,
    ) -> None:
        if not callable(forward):
            raise TypeError(
                f"primitive: got {type(forward).__name__} in place of the forward function. "
                "Write @primitive(vjp_x, ...) or @elementwise(vjp_x, ...) above a function; "
                "without vjps it is taken for one itself."
            )
        self.forward = forward
        self.elementwise, self.passes_nan = elementwise, passes_nan
        self.__name__ = forward.__name__
        self.title = forward.__name__.strip("_")  # for errors: that of the function it serves
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
        else:
            self.vjps = tuple(vjps)
            self._check_vjps(names)
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

    def _check_vjps(self, names: list[str]) -> None:
        """Raise TypeError unless there is one vjp for each of the first arguments."""
        if any("VAR_" in p.kind.name for p in self.signature.parameters.values()):
            raise TypeError(
                f"primitive: {self.__name__}{self.signature} must name each of its arguments, "
                "so that its vjps see them; *args and **kwargs are not supported."
            )
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

    def __repr__(self) -> str:
        return f"<primitive {self.__name__}{self.signature}>"

    def __reduce__(self) -> str:  # copied and pickled by name, as functions are
        return self.__qualname__

    def _called(self, *args: Any, **kwargs: Any) -> Any:
        """Compute; record too if an argument is a Node that requires a gradient."""
        heard = listener.get()
        if heard is not None:
            return heard.operation(self, *self._bind(args, kwargs))
        kinds = RAW
        for i, arg in enumerate(args):
            if i == self.arity:
                kinds = PLAIN
            if type(arg) not in kinds:
                break
        else:
            if self.arity and (not kwargs or self._are_plain(kwargs)):  # nothing is recorded
                try:
                    return self.forward(*args, **kwargs)
                except TypeError:
                    self._bind(args, kwargs)  # raises a better one if the call itself is wrong
                    raise
        if kwargs or not self._plain or len(args) != self.arity:
            args, kwargs = self._bind(args, kwargs)
        return self.apply(args, kwargs)

    if not TYPE_CHECKING:
        __call__ = _called

    def _are_plain(self, kwargs: dict[str, Any]) -> bool:
        for name, value in kwargs.items():
            if type(value) not in PLAIN or name not in self._param_set:
                return False
        return True

    def apply(self, inputs: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Compute on the arrays and Nodes ``inputs``, with all parameters by name; record."""
        first, live = None, False
        for i, arg in enumerate(inputs):
            if isinstance(arg, Node):
                first = arg if first is None else first
                if arg._requires_grad and (self.variadic or self.vjps[i] is not None):
                    live = True
        live = live and not _paused.get()
        found = []
        for arg in inputs:
            quick = isinstance(arg, Node) and arg._ownership in SAVED
            found.append(arg._data if quick else _array_of(self.title, arg, live))
        arrays = tuple(found)
        if first is None:
            return self.forward(*arrays, **params)
        try:
            data = self.forward(*arrays, **params)
        except ValueError as error:
            self._name_shapes(arrays, error)
            raise
        if not isinstance(data, (np.ndarray, np.generic, int, float)):
            raise TypeError(
                f"{self.title}: an operation must return one array, got {type(data).__name__}."
            )
        trace = new_trace(Trace, (self, inputs, arrays, params)) if live else None
        return type(first)._result(data, trace)

    def _name_shapes(self, arrays: Sequence[Any], error: ValueError) -> None:
        """Raise an error that names operation and shapes, if NumPy found that those do not fit."""
        known = ("broadcast", "core dimension", "input array")
        if len(arrays) < 2 or not any(words in str(error) for words in known):
            return
        *rest, last = (str(np.shape(array)) for array in arrays)
        raise ValueError(
            f"{self.title}: shapes {', '.join(rest)} and {last} do not fit. Reshape one of "
            f"them. (NumPy: {error})"
        ) from None

    def _bind(
        self, args: tuple[Any, ...], params: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Split a call into array arguments, in order, and all other parameters, by name."""
        if self.variadic:
            params = {**self._defaults, **params}
        elif not params and len(args) == self.arity + len(self._param_names):
            params = dict(zip(self._param_names, args[self.arity :], strict=True))
            args = args[: self.arity]
        elif len(args) != self.arity or params.keys() != self._param_set:
            args, params = self._arranged(args, params)
        for name, value in params.items():
            if type(value) in PLAIN:
                continue
            if isinstance(value, Node):
                raise TypeError(
                    f"{self.title}: {name} takes plain values, got a {type(value).__name__}; "
                    f"no gradient could flow through it. Give its values: numpy.asarray({name})."
                )
            if isinstance(value, (list, np.ndarray)):
                params[name] = copy.copy(value)  # the caller may change it before the backward
        return args, params

    def _arranged(
        self, args: tuple[Any, ...], params: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return arrays and parameters of a call that gives them in another way."""
        extra = dict(zip(self._param_names, args[self.arity :], strict=False))
        full = {**self._defaults, **extra, **params}
        if (
            not self.arity <= len(args) <= self.arity + len(self._param_names)
            or full.keys() != self._param_set
            or (extra and extra.keys() & params.keys())
        ):
            try:
                bound = self.signature.bind(*args, **params)
            except TypeError as error:
                raise TypeError(f"{self.title}: {error}.") from None
            bound.apply_defaults()
            args = tuple(bound.arguments[name] for name in self._array_names)
            full = {name: bound.arguments[name] for name in self._param_names}
        return args[: self.arity], full

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


# ---------------------------------------------------------------- making one


def register(forward: Callable[P, Any], vjps: Sequence[Vjp | None] | Vjp, **facts: bool) -> Any:
    """Make the primitive and enter it in ``PRIMITIVES``."""
    op: Primitive[P] = Primitive(forward, vjps, **facts)
    PRIMITIVES[f"{op.__module__}.{op.__qualname__}"] = op
    return op


def primitive(
    *vjps: Vjp | None, passes_nan: bool = False
) -> Callable[[Callable[P, Any]], Primitive[P]]:
    """Turn a NumPy function into an operation with gradients; a decorator.

    The function body is the forward, on plain arrays. Its first ``len(vjps)`` arguments are arrays;
    all further ones are parameters.

    Parameters
    ----------
    *vjps : callable or None
        One for each array: ``(g, y, *args, **params) -> gradient`` of exactly its shape; None if no
        gradient flows to it. Written with tinynn's operations it can itself be differentiated.
    passes_nan : bool, default False
        The promise that a nan in an argument makes every result nan that is computed from it. Sums
        do so, comparisons do not.

    Returns
    -------
    callable
        The decorator.

    Raises
    ------
    TypeError
        If the vjps do not fit the function.
    GradientShapeError
        In the backward pass, if a vjp returns another shape than its argument's.

    Examples
    --------
    >>> @primitive(lambda g, y, x: 3.0 * g * x * x)
    ... def cube(x):
    ...     return x**3
    >>> cube(np.array([1.0, 2.0]))
    array([1., 8.])
    """

    for vjp in filter(inspect.isfunction, vjps):
        kinds = [parameter.kind.name for parameter in inspect.signature(vjp).parameters.values()]
        taken = sum("POSITIONAL_" in kind for kind in kinds)
        if taken < 2 + len(vjps) and "VAR_POSITIONAL" not in kinds:
            raise TypeError(
                f"primitive: {vjp.__name__} takes {taken} arguments, but a vjp takes "
                f"(g, y, *args, **params), here {2 + len(vjps)} at least. "
                "Write @primitive(vjp_x, ...) above the forward function."
            )

    def decorate(forward: Callable[P, Any]) -> Primitive[P]:
        return register(forward, vjps, passes_nan=passes_nan)

    return decorate


def variadic(rule: Vjp, *, passes_nan: bool = False) -> Callable[[Callable[P, Any]], Primitive[P]]:
    """Like :func:`primitive`, for any number of arrays: ``rule(i, g, y, args, **params)``."""

    def decorate(forward: Callable[P, Any]) -> Primitive[P]:
        return register(forward, rule, passes_nan=passes_nan)

    return decorate


# ---------------------------------------------------------------- arguments


def _array_of(owner: str, arg: Any, keep: bool) -> Any:
    """Return the array of an argument; numbers stay as they are, since those are weak."""
    if isinstance(arg, Node):
        return arg._lend()
    if arg is None or isinstance(arg, (int, float, complex)):
        return arg
    array = arg if type(arg) is np.ndarray else _foreign(owner, arg)
    if array.dtype.kind not in "fiubc":
        raise TypeError(
            f"{owner}: arrays must hold numbers, got {type(arg).__name__} of dtype {array.dtype}. "
            "Convert it to an array of floats or integers first."
        )
    # The caller may write to this array, or to its base, before the backward pass reads it.
    return array.copy() if keep and (array.flags.writeable or array.base is not None) else array


def _foreign(owner: str, arg: Any) -> np.ndarray:
    """Return the values of an array of another kind."""
    if isinstance(arg, np.matrix) and owner in ("multiply", "power"):
        raise TypeError(
            f"{owner}: a numpy.matrix means the product of matrices by * and **, a Tensor that of "
            "elements. Give numpy.asarray(matrix), and use @ for the product of matrices."
        )
    array: np.ndarray = as_array(owner, arg)
    return array


def refuse_hidden(owner: str, items: Sequence[Any]) -> None:
    """Raise TypeError if a list holds gradients or masks, which NumPy would drop."""
    for item in items:
        if isinstance(item, (list, tuple)):
            refuse_hidden(owner, item)
        elif isinstance(item, np.ndarray):
            check.unmasked(owner, item)
        elif isinstance(item, Node) and item._requires_grad:
            raise TypeError(
                f"{owner}: the list holds Tensors that require a gradient, which would be lost. "
                "Join them with tinynn.stack or tinynn.concatenate."
            )


def as_array(owner: str, x: Any) -> Any:
    """Return Nodes and arrays as they are, and all else as an array.

    Raises TypeError for what would lose a gradient or a mask.
    """
    if isinstance(x, Node) or type(x) is np.ndarray:
        return x
    if isinstance(x, (list, tuple)):
        refuse_hidden(owner, x)
    check.unmasked(owner, x)
    return np.asarray(x)


@effect
def values(x: Any) -> Any:
    """Return the values of an array or Tensor, without gradient: an ndarray."""
    return x._data if isinstance(x, Node) else np.asarray(check.unmasked("tinynn", x))


def shape_of(x: Any) -> tuple[int, ...]:
    """Return the shape of an array, Tensor, number or nested list."""
    return x._data.shape if isinstance(x, Node) else np.shape(x)


def dtype_of(x: Any) -> np.dtype[Any]:
    """Return the dtype of an array, Tensor, number or nested list."""
    if isinstance(x, Node):
        return x._data.dtype
    return x.dtype if isinstance(x, (np.ndarray, np.generic)) else np.asarray(x).dtype


# ---------------------------------------------------------------- what is no operation


@effect
def fresh(make: Callable[[], np.ndarray]) -> Any:
    """Return the array ``make()``; a compiled function calls it again at each replay.

    It is how :func:`tinynn.compile` gets new random numbers, or whatever else is to be made anew.

    Parameters
    ----------
    make : callable
        A function without arguments that returns an array.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> fresh(lambda: rng.integers(10, size=3))
    array([8, 6, 5])
    """
    return make()


@effect
def inspected(check: Callable[..., None], *arrays: Any) -> None:
    """Call ``check`` on the values of ``arrays``, for the errors that it raises."""
    check(*map(values, arrays))
