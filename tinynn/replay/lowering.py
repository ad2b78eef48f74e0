"""Lowering: the operations of a recording as the NumPy calls that they consist of.

The forward of an operation of ours is run once on a :class:`Symbol`, which has a shape and a dtype
but no values, and tells which NumPy functions it was given to. What asks a Symbol for more stays
one call. So does every operation of a user: its forward is run at each replay. Lowered is only what
comes before the first step of an optimizer; what comes after is rare.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from tinynn._trees import tree_leaves
from tinynn.autodiff import ops
from tinynn.replay.purity import is_own
from tinynn.replay.recording import ArraySpec, Check, Recording, Ref, Source, Step
from tinynn.replay.speculation import hidden, read_by, split

SHAPED = ops.reshape, ops.sum_to, ops.broadcast_to, ops.astype  # nothing, to what an array is
POWERS: dict[float, np.ufunc] = {1: np.positive, 2: np.square}


@dataclass(eq=False)
class Instruction:
    """``function(*args, **params)`` makes ``result``: a ufunc, its reduce, or a whole operation.

    ``op``: the Primitive that it is, or is a part of; ``hidden``: a nan in the result may go
    unseen.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    params: dict[str, Any]
    result: Ref
    op: Any
    hidden: bool

    @property
    def whole(self) -> bool:
        """Whether it is the forward of an operation."""
        return self.function is self.op.forward

    @property
    def elementwise(self) -> bool:
        """Whether each element of the result is computed from those at its place."""
        if isinstance(self.function, np.ufunc):
            return self.function.signature is None
        return self.whole and (self.op.elementwise or self.op is ops.astype)


@dataclass
class Lowered:
    """A recording as Instructions and Checks, and what is left for ``late``: effects, and steps.

    ``read``: what is read late or at the end; ``kept``: that of it which is computed before, and
    the number under which it is computed.
    """

    specs: list[ArraySpec]
    sources: dict[int, Source]
    steps: list[Any]
    late: list[Any]
    read: set[Ref]
    kept: dict[Ref, Ref]


def lower(recording: Recording) -> Lowered:
    """Lower what comes before the first step of an optimizer.

    What occurs twice is computed once, and what nobody reads never, but for operations of users.
    """
    early, late, read, before = split(recording)
    lowering = _Lowering(recording, hidden(early, before, recording.specs))
    for part in early:
        lowering.add(part)
    kept = {ref: lowering.ref(ref) for ref in before}
    steps = _used(lowering.steps, set(kept.values()))
    return Lowered(lowering.specs, lowering.sources, steps, late, read, kept)


class _Lowering:
    def __init__(self, recording: Recording, hidden: set[Ref]) -> None:
        self.specs, self.sources = list(recording.specs), dict(recording.sources)
        self.results = hidden
        self.same: dict[Ref, Ref] = {}  # numbers of arrays that are the same as an earlier one
        self.known: dict[Any, Instruction] = {}  # by what they compute
        self.steps: list[Any] = []
        self.hidden = True  # whether a nan in the result of this step may go unseen

    def ref(self, x: Any) -> Any:
        """Return the number under which an array is computed; all else as it is."""
        return self.same.get(x, x) if isinstance(x, Ref) else x

    def add(self, part: Step | Check) -> None:
        """Add a check, or the calls of a step."""
        args = tuple(map(self.ref, part.args))
        if isinstance(part, Check):
            self.steps.append(Check(part.check, args))
            return
        op, self.hidden = part.op, part.result in self.results
        if not is_own(op):
            call = op.forward, args, part.params, part.result, op, self.hidden
            self.steps.append(Instruction(*call))
            return
        spec, first = self.specs[part.result.index], args[0]
        if op in SHAPED and first.index not in self.sources and self.specs[first.index] == spec:
            self.same[part.result] = first
        else:
            self.same[part.result] = self._inside(part, args) or self.emit(
                op.forward, args, part.params, spec, op
            )

    def _inside(self, step: Step, args: tuple[Any, ...]) -> Ref | None:
        """Emit what an operation consists of, and return the result; None if that is not clear."""
        mark, known = len(self.steps), len(self.known)
        symbols = [Symbol(self, step.op, x) if isinstance(x, Ref) else x for x in args]
        with suppress(Exception):  # whatever an operation does with values that are none
            y = step.op.forward(*symbols, **step.params)
            if self.specs[y.ref.index] == self.specs[step.result.index] and y.ref not in args:
                return y.ref
        del self.steps[mark:]
        while len(self.known) > known:
            self.known.popitem()
        return None

    def emit(
        self, function: Any, args: tuple[Any, ...], params: dict[str, Any], spec: ArraySpec, op: Any
    ) -> Ref:
        """Return the number of what a call gives, computed before or here."""
        plain = not any(isinstance(x, np.ndarray) for x in tree_leaves([args, params]))
        key = function, repr(args), repr(params)  # in which 0.0 is not -0.0, nor 1
        if plain and (known := self.known.get(key)):
            known.hidden |= self.hidden
            return known.result
        ref = Ref(len(self.specs))
        self.specs.append(spec)
        step = Instruction(function, args, params, ref, op, self.hidden)
        self.steps.append(step)
        if plain:
            self.known[key] = step
        return ref


def _used(steps: list[Any], read: set[Ref]) -> list[Any]:
    """Return the steps without operations of ours whose results nobody reads."""
    kept = []
    for part in reversed(steps):
        if not isinstance(part, Instruction) or part.result in read or not is_own(part.op):
            kept.append(part)
            read.update(read_by(part))
    return kept[::-1]


# ---------------------------------------------------------------- arrays without values


def _refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
    raise TypeError("a Symbol has no values")


class Symbol(NDArrayOperatorsMixin):
    """An array of which only shape and dtype are known; NumPy's functions of it are emitted."""

    def __init__(self, lowering: _Lowering, op: Any, ref: Ref) -> None:
        self.lowering, self.op, self.ref = lowering, op, ref
        spec = lowering.specs[ref.index]
        self.shape, self.dtype = spec.shape, spec.dtype
        self.ndim, self.size = len(spec.shape), math.prod(spec.shape)

    def __float__(self) -> float:
        """Say of a sum, asked whether it is finite, that it is: if not, a check will tell."""
        if self.ndim or self.lowering.hidden:
            _refuse(self)
        return 0.0

    __array__ = __bool__ = __int__ = __index__ = __complex__ = _refuse
    __len__ = __iter__ = __getitem__ = __setitem__ = __contains__ = _refuse

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Emit a call of a ufunc, or its reduction along axes."""
        params = {n: v for n, v in kwargs.items() if not _says_nothing(n, v)}
        if any(isinstance(x, np.ndarray) and x.ndim for x in inputs):
            _refuse(self)  # made inside, of what cannot be seen
        if method == "reduce" and params.keys() <= {"axis", "dtype", "keepdims"}:
            function = ufunc.reduce
        elif method == "__call__" and not params and ufunc.nout == 1:
            if ufunc is np.power and type(inputs[1]) in (int, float) and inputs[1] in POWERS:
                ufunc, inputs = POWERS[inputs[1]], inputs[:1]  # as the operator ** of an array
            function = ufunc
        else:
            _refuse(self)
        args = tuple([x.ref if isinstance(x, Symbol) else x for x in inputs])
        ref = self.lowering.emit(function, args, params, _spec(function, inputs, params), self.op)
        return Symbol(self.lowering, self.op, ref)


def _says_nothing(name: str, value: Any) -> bool:
    """Tell whether a keyword of a NumPy function says what is so anyway."""
    if value is None or value is np._NoValue:
        return name != "axis"
    return value is {"where": True, "keepdims": False}.get(name)


def _spec(function: Any, inputs: Sequence[Any], params: dict[str, Any]) -> ArraySpec:
    """Return shape and dtype of what a ufunc, or its reduction, gives."""
    if not isinstance(function, np.ufunc):
        y = function(np.broadcast_to(np.ones((), inputs[0].dtype), inputs[0].shape), **params)
        return ArraySpec(y.shape, y.dtype)
    types = [x.dtype if hasattr(x, "dtype") else type(x) for x in inputs]
    shapes, dtype = [np.shape(x) for x in inputs], function.resolve_dtypes((*types, None))[-1]
    if function is np.matmul:
        (*a, n, _), (*b, _, m) = shapes  # of vectors it stays a whole operation
        return ArraySpec((*np.broadcast_shapes(tuple(a), tuple(b)), n, m), dtype)
    if function.signature is not None:
        _refuse(function)
    return ArraySpec(np.broadcast_shapes(*shapes), dtype)
