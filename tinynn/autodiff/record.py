"""Recording one call of a function: which operations ran, on what, and what came out.

A :class:`Recorder` listens to the raw calls of primitives. Every array gets a number; an array is
known by where its elements lie in memory, so a view made on the way is still the same array. What
enters from outside is one of four things: an argument of the call, the array of a leaf Tensor (a
parameter), a constant, or a fresh draw. :class:`Recording` is plain data; replay.py runs it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, NoReturn

import numpy as np

from tinynn.autodiff import graph
from tinynn.autodiff.graph import Node, Primitive, Watched, unwatched, watched

PYTHON_NUMBERS = "it computes or decides in Python with a value of a Tensor"


class NotReplayable(RuntimeError):
    """A function given to :func:`tinynn.compile` does what a recording cannot repeat."""


@dataclass(frozen=True)
class Like:
    """What is kept of an array when its elements are no longer needed."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the elements take."""
        return self.size * self.dtype.itemsize


@dataclass(frozen=True)
class Ref:
    """The number of an array of the recording."""

    index: int


@dataclass
class Source:
    """Where an array comes from that no step of the recording computes."""

    kind: str  # argument, variable, gradient, constant, fresh or view
    value: Any  # place among the arguments, leaf, leaf, array, maker, (Ref, byte offset)
    array: Any  # the array of a constant, of others what it is Like
    made: bool = False  # a constant that the call makes itself, so that nobody can change it


@dataclass(eq=False)
class Step:
    """One operation: ``function(*args, **params)``; ``result`` is None for a mere effect."""

    function: Callable[..., Any]
    args: tuple[Any, ...]  # Ref, or a plain value
    params: dict[str, Any]
    result: Ref | None
    name: str
    view: bool = False  # whether the result was a view of an argument
    is_update: bool = False  # a step of an optimizer
    is_effect: bool = False  # that, or new data for a leaf


@dataclass
class Recording:
    """What a call did: sources and steps in order, and what it left in gradients and result."""

    sources: dict[int, Source] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    arrays: list[Any] = field(default_factory=list)  # by number: what each is Like
    gradients: dict[int, tuple[Node, Ref | None]] = field(default_factory=dict)  # by id of the leaf
    guards: dict[Any, tuple[Callable[[], Any], Any]] = field(default_factory=dict)  # ask, answer
    result: Any = None

    def differences(self, other: "Recording") -> str | None:
        """Say why this recording and an ``other`` of the same call are not one program."""
        if len(self.steps) != len(other.steps):
            return (
                f"it ran {len(other.steps)} operations at one call and {len(self.steps)} at the "
                "next: a Python branch or loop depends on something that changes"
            )
        for mine, theirs in zip(self.steps, other.steps, strict=True):
            if mine.name != theirs.name or mine.result != theirs.result:
                return f"it ran {theirs.name} at one call where it ran {mine.name} at the next"
            if not (_same(mine.args, theirs.args) and _same(mine.params, theirs.params)):
                return f"{mine.name} was given other plain values at one call than at the next"
        if self.sources.keys() != other.sources.keys():
            return "its operations took other arrays at one call than at the next"
        for index, mine_ in self.sources.items():
            theirs_ = other.sources[index]
            if mine_.kind != theirs_.kind or mine_.array.shape != theirs_.array.shape:
                return "its operations took other arrays at one call than at the next"
            if mine_.kind == "constant" and not _same(mine_.array, theirs_.array):
                return (
                    f"an array of shape {mine_.array.shape} that it made with NumPy was another "
                    "at the next call. Pass it as an argument, compute it with tinynn's "
                    "operations, or draw random numbers with tinynn.fresh"
                )
            mine_.made = mine_.kind == "constant" and mine_.array is not theirs_.array
            if mine_.kind in ("variable", "gradient") and mine_.value is not theirs_.value:
                return "it computed on other Tensors at one call than at the next"
        if not _same(self.result, other.result):
            return "it returned other plain values at one call than at the next"
        return None


def _same(a: Any, b: Any) -> bool:
    if a is b or isinstance(a, Node) or isinstance(b, Node):
        return a is b
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return a is b or (type(a) is type(b) and a.dtype == b.dtype and a.tobytes() == b.tobytes())
    if isinstance(a, (tuple, list)) and type(a) is type(b):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b)
    return bool(type(a) is type(b) and a == b)


Key = tuple[int, tuple[int, ...], tuple[int, ...], str]


def _key(array: np.ndarray) -> Key:
    return array.ctypes.data, array.shape, array.strides, array.dtype.str


class Recorder:
    """Listens while a function runs once; ``recording`` is what it heard."""

    def __init__(self, arguments: Sequence[np.ndarray]) -> None:
        self.recording = Recording()
        self._numbers: dict[Key, int] = {}
        self._kept: list[np.ndarray] = []  # no other array gets their memory
        self._made: dict[int, Node] = {}  # leaves that the call itself made, by id
        self._variables: dict[int, Ref] = {}  # leaves from outside, by id
        self._current: set[Ref] = set()  # their numbers
        self._known: dict[Any, Ref] = {}  # results by what computed them
        self._constants: dict[int, Ref] = {}  # computed Tensors from outside, by id
        self._start = next(graph._births)  # what is born later is made by the call
        for i, array in enumerate(arguments):
            self._enter("argument", i, array)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Record what this thread does inside."""
        token = graph._recorder.set(self)
        try:
            yield
        finally:
            graph._recorder.reset(token)

    def finish(self) -> Recording:
        """Return the recording, without the elements of any array but constants."""
        record = self.recording
        for step in record.steps:
            if step.result is not None:
                y = record.arrays[step.result.index]
                given = [record.arrays[x.index] for x in step.args if isinstance(x, Ref)]
                step.view = any(np.may_share_memory(y, x) for x in given)
        record.arrays = [Like(a.shape, a.dtype, a.strides) for a in record.arrays]
        for index, source in record.sources.items():
            if source.kind != "constant":
                source.array = record.arrays[index]
        return record

    def refuse(self, what: str) -> NoReturn:
        """Raise NotReplayable: ``what`` the function does."""
        raise NotReplayable(
            f"compile: the function cannot be replayed: {what}. "
            "Keep that outside of it, or do not compile it."
        )

    # ------------------------------------------------------------ numbers

    def _number(self, array: np.ndarray) -> Ref:
        ref = Ref(len(self.recording.arrays))
        self.recording.arrays.append(array)  # kept, so that its memory is not given to another
        self._numbers[_key(array)] = ref.index
        return ref

    def _enter(self, kind: str, value: Any, array: np.ndarray) -> Ref:
        ref = self._number(array)
        self.recording.sources[ref.index] = Source(kind, value, array)
        return ref

    def find(self, array: np.ndarray) -> Ref | None:
        """Return the number of an array, or of the view of one; None if it is unknown."""
        index = self._numbers.get(_key(array))
        if index is not None:
            return Ref(index)
        owner = _owner(array)
        if owner is array or not array.size:
            return None
        low, high = np.lib.array_utils.byte_bounds(array)
        for i, known in enumerate(self.recording.arrays):
            if _owner(known) is owner and known.flags.c_contiguous:
                first, last = np.lib.array_utils.byte_bounds(known)
                if first <= low and high <= last:
                    return self._enter("view", (Ref(i), low - first), array)
        return None

    def ref(self, x: Any) -> Any:
        """Return the Ref of an array or Tensor, and plain values as they are."""
        if isinstance(x, Node):
            array = x._data
        elif isinstance(x, np.ndarray):
            array = unwatched(x)
        elif isinstance(x, (list, tuple)):
            array = np.asarray(x)
        else:
            if isinstance(x, Number):
                self.refuse(PYTHON_NUMBERS)
            return x
        if isinstance(x, Node) and x._hold == graph.RESULT and x._birth < self._start:
            return self._outside(x)
        found = self.find(array)
        if found is not None:
            self._check_current(x, array, found)
            return found
        if isinstance(x, Node) and x._hold != graph.RESULT and id(x) not in self._made:
            return self._variable(x)
        if isinstance(x, Watched):
            self.refuse(
                f"NumPy computed an array of shape {x.shape} from its data in a way that is not "
                "recorded. Use tinynn's operations for that"
            )
        return self._enter("constant", array, array)

    def _check_current(self, x: Any, array: np.ndarray, found: Ref) -> None:
        """Refuse an array that a parameter had before it was given new data."""
        source = self.recording.sources.get(found.index)
        if source is None or source.kind != "variable" or x is source.value:
            return
        if _key(array) != _key(source.value._data):
            self.refuse(
                "it uses the old values of a parameter that it has updated; take a copy of them, "
                "such as w + 0"
            )

    def _outside(self, x: Node) -> Ref:
        """Return the number of a computed Tensor from outside: a constant of its own."""
        if id(x) not in self._constants:
            ref = Ref(len(self.recording.arrays))
            self.recording.arrays.append(x._data)
            self.recording.sources[ref.index] = Source("constant", x, x._data)
            self._constants[id(x)] = ref
        return self._constants[id(x)]

    def _variable(self, leaf: Node) -> Ref:
        """Return the number of a leaf from outside; it stays the same when its data change."""
        ref = self._variables.get(id(leaf))
        if ref is None:
            ref = self._variables[id(leaf)] = self._enter("variable", leaf, leaf._data)
            self._current.add(ref)
            self.guard(("requires_grad", id(leaf)), lambda: leaf._requires_grad)
        self._alias(leaf._data, ref)
        return ref

    def _alias(self, array: np.ndarray, ref: Ref) -> None:
        """Let ``array`` go by a number that another one has."""
        self._numbers[_key(array)] = ref.index
        self._kept.append(array)

    def _note(
        self, function: Callable[..., Any], name: str, args: Any, params: Any, array: np.ndarray
    ) -> None:
        """Add a step, unless its result is an argument seen as it was, or known already."""
        if _key(array) in self._numbers:
            return
        key = self._signature(function, args, params)
        if key is not None and key in self._known:
            self._alias(array, self._known[key])
            return
        ref = self._number(array)
        self.recording.steps.append(Step(function, args, params, ref, name))
        if key is not None:
            self._known[key] = ref

    def _signature(self, function: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Return what makes a NumPy function's result the same again, or None if nothing does."""
        if not isinstance(function, np.ufunc) or params:
            return None
        if any(isinstance(x, Ref) and x in self._current for x in args):
            return None  # a parameter may be another array later in the call
        if not all(isinstance(x, (Ref, int, float, bool)) for x in args):
            return None
        return function, *((type(x), x) for x in args)

    # ------------------------------------------------------------ what can be heard

    def call(self, op: Primitive[Any], inputs: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Run a primitive and record it."""
        for value in params.values():
            if any(isinstance(part, Watched) for part in _parts(value)):
                self.refuse(f"a parameter of {op.__name__} depends on its data")
        refs = tuple(self.ref(x) for x in inputs)
        with self.deaf():
            result = op(*[unwatched(x) for x in inputs], **params)
        array = result._data if isinstance(result, Node) else np.asarray(result)
        if isinstance(result, Node) and result._trace:
            for ref, saved in zip(refs, result._trace[2], strict=True):
                if isinstance(ref, Ref) and _key(saved) not in self._numbers:
                    self._alias(saved, ref)  # the graph has a copy of its own
        inside = self._inside(op, inputs, params, array)
        if inside is None:
            self._note(op.forward, op.__name__, refs, params, array)
        elif _key(array) not in self._numbers:
            self._alias(array, inside)
        return result if isinstance(result, Node) else array.view(Watched)

    def _inside(
        self, op: Primitive[Any], inputs: tuple[Any, ...], params: dict[str, Any], result: Any
    ) -> Ref | None:
        """Record an operation of ours as the NumPy functions it consists of, if it does."""
        if not op.__module__.startswith("tinynn.") or op.variadic:
            return None
        mark = len(self.recording.steps), len(self.recording.arrays)
        arrays = [x._data if isinstance(x, Node) else x for x in inputs]
        heard = [a.view(Watched) if isinstance(a, np.ndarray) else a for a in arrays]
        try:
            with np.errstate(all="ignore"):
                y = op.forward(*heard, **params)
            found = self.find(y) if isinstance(y, Watched) else None
        except NotReplayable:
            found = None
        # Into an array of its own it may have written elements, unheard; a view is no computation.
        new = takewhile(lambda index: index >= mark[1], reversed(self.recording.sources))
        sources = [self.recording.sources[index] for index in new]
        unclear = any(
            source.kind == "view" or (source.kind == "constant" and source.array.size > 1)
            for source in sources
        )
        if found is None or unclear or not _same(unwatched(y), result):
            self._forget(*mark)
            return None
        return found

    def _forget(self, steps: int, arrays: int) -> None:
        """Take back what was recorded since there were that many steps and arrays."""
        record = self.recording
        for i in range(arrays, len(record.arrays)):
            record.sources.pop(i, None)
            self._numbers.pop(_key(record.arrays[i]), None)
        del record.steps[steps:], record.arrays[arrays:]
        while self._known:  # what came last stands last
            key, ref = self._known.popitem()
            if ref.index < arrays:
                self._known[key] = ref
                break

    def ufunc(
        self, ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run a NumPy function on Watched arrays and record it."""
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        kwargs = {name: value for name, value in kwargs.items() if not _void(name, value)}
        out = kwargs.pop("out", None)
        if method not in ("__call__", "reduce") or any(x is not None for x in out or ()):
            self.refuse(f"numpy.{ufunc.__name__} writes into an array in place")
        refs = tuple(self.ref(x) for x in inputs)
        array = np.asarray(function(*map(unwatched, inputs), **kwargs))
        self._note(function, f"numpy.{ufunc.__name__}", refs, kwargs, array)
        return array.view(Watched)

    def converted(self, source: Any, array: np.ndarray) -> Any:
        """Record that ``array`` is ``source`` in another dtype, or a copy of it."""
        self._note(converted, "astype", (self.ref(source),), {"dtype": array.dtype}, array)
        return array.view(Watched)

    def copied(self, source: Any) -> Any:
        """Return a copy of an array or Tensor as an array."""
        array = np.array(source._data if isinstance(source, Node) else unwatched(source))
        return self.converted(source, array)

    def made(self, leaf: Node, data: Any) -> None:
        """Record that a leaf was made from ``data``."""
        self._made[id(leaf)] = leaf
        if isinstance(data, (Node, Watched)):
            self.converted(data, leaf._data)
        else:
            self._enter("constant", leaf._data, leaf._data)

    def fresh(self, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Record that ``make`` is to be called again at each replay."""
        array = np.asarray(make())
        self._enter("fresh", make, array)
        return array.view(Watched)

    def always(self, do: Callable[..., None], arrays: Sequence[Any]) -> None:
        """Record an effect."""
        refs = tuple(self.ref(x) for x in arrays)
        do(*[unwatched(x) for x in arrays])
        self.recording.steps.append(Step(do, refs, {}, None, getattr(do, "__name__", "effect")))

    def number(self, source: Watched, value: Any) -> Any:
        """Return an element as a number that remembers where it comes from."""
        if not isinstance(value, float) or source.size != 1:
            self.refuse("a Python number made of its data is used as such")
        return Number(value, self.ref(source), self)

    def set_gradient(self, leaf: Node, g: Any) -> np.ndarray | None:
        """Record that ``leaf.grad`` becomes ``g``, and return it as an array of its own."""
        if g is None:
            self.recording.gradients[id(leaf)] = (leaf, None)
            return None
        ref = self.ref(g)
        array = np.array(g._data if isinstance(g, Node) else unwatched(g))
        self._alias(array, ref)
        self.recording.gradients[id(leaf)] = (leaf, ref)
        return array

    def gradient(self, leaf: Any, array: np.ndarray | None) -> Watched | None:
        """Return ``leaf.grad``, Watched; one from before the call is a source of its own."""
        key = "gradient", id(leaf)
        if key not in self.recording.guards and id(leaf) not in self.recording.gradients:
            self.guard(key, lambda: leaf._grad is None)  # it is read before it is set
        if array is None:
            return None
        if self.find(array) is None:
            self._enter("gradient", leaf, array)
        return watched(array)

    def assign(self, leaf: Node, value: Any) -> None:
        """Record that a leaf takes over ``value``; its array is replaced after this call."""
        refs = self._variable(leaf), self.ref(value)
        self.recording.steps.append(Step(np.copyto, refs, {}, None, "assign", is_effect=True))

    def update(self, updater: Any, leaves: Sequence[Any]) -> None:
        """Record a step of an optimizer, for its ``_bound`` to repeat."""
        with_gradient = [leaf for leaf in leaves if leaf._grad is not None]
        weights = tuple(self._variable(leaf) for leaf in with_gradient)
        gradients = tuple(self.ref(self.gradient(leaf, leaf._grad)) for leaf in with_gradient)
        places = tuple(i for i, leaf in enumerate(leaves) if leaf._grad is not None)
        args = (weights, gradients, places)
        step = Step(updater._bound, args, {}, None, "update", is_update=True, is_effect=True)
        self.recording.steps.append(step)

    def guard(self, key: Any, ask: Callable[[], Any]) -> None:
        """Record that a replay is right only as long as ``ask()`` answers as it does now."""
        self.recording.guards[key] = ask, ask()

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """Record nothing inside."""
        token = graph._recorder.set(None)
        try:
            yield
        finally:
            graph._recorder.reset(token)


def _owner(array: np.ndarray) -> Any:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from _parts(part)
    else:
        yield value


def mapped(leaf: Callable[[Any], Any], value: Any) -> Any:
    """Return nested tuples, lists and dicts with ``leaf(part)`` for each part that is neither."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(leaf, part) for part in value))
    if isinstance(value, (tuple, list)):
        return type(value)(mapped(leaf, part) for part in value)
    if isinstance(value, dict):
        return {key: mapped(leaf, part) for key, part in value.items()}
    return leaf(value)


def _void(name: str, value: Any) -> bool:
    """Tell whether a keyword of a NumPy function says what is so anyway."""
    return value is np._NoValue or (name, value) in (
        *(("dtype", None), ("where", True), ("keepdims", False)),
    )


def converted(x: np.ndarray, dtype: Any) -> np.ndarray:
    """Return a copy in another dtype, or in the same."""
    return x.astype(dtype)


class Number(float):
    """A Python number read from an array while recording: it may be returned, not computed with."""

    ref: Ref
    recorder: Recorder

    def __new__(cls, value: float, ref: Ref, recorder: Recorder) -> "Number":
        """Return a float with the reference to the array that it was read from."""
        number = super().__new__(cls, value)
        number.ref, number.recorder = ref, recorder
        return number


def _refusing(name: str) -> Callable[..., Any]:
    plain = getattr(float, name)

    def method(self: Number, *args: Any) -> Any:
        if graph._recorder.get() is self.recorder:
            self.recorder.refuse(PYTHON_NUMBERS)
        return plain(self, *args)

    return method


for _name in (
    "__bool__ __lt__ __le__ __gt__ __ge__ __eq__ __ne__ __add__ __radd__ __sub__ __rsub__ __mul__ "
    "__rmul__ __truediv__ __rtruediv__ __pow__ __rpow__ __neg__ __abs__ __int__ __float__ "
    "__round__ __format__ __str__ __repr__ __floordiv__ __mod__ __hash__"
).split():
    setattr(Number, _name, _refusing(_name))
