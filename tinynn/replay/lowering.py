"""Lowering: the operations of a recording as the NumPy calls that they consist of.

The forward of an operation of ours is run once on a :class:`Symbol`, which has a shape and a dtype
but no values, and tells which NumPy functions it was given to. What asks a Symbol for more stays
one call. So does every operation of a user: its forward is run at each replay.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple
from numpy.lib.mixins import NDArrayOperatorsMixin

from tinynn._trees import tree_leaves, tree_map
from tinynn.autodiff import ops
from tinynn.replay import recording as rec
from tinynn.replay.recording import ArraySpec, Recording, Ref, Source, Step
from tinynn.replay.speculation import Visibility, is_own, read_at_the_end, read_by

POWERS: dict[float, np.ufunc] = {1: np.positive, 2: np.square}


@dataclass(eq=False)
class Instruction:
    """``function(*args, **params)`` makes ``result``: a ufunc, its reduce, or a whole operation.

    ``op``: the Primitive that it is, or is a part of; ``exact``: an effect comes before it, so the
    call can no longer be run again eagerly; ``hidden``: a nan in the result may go unseen.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    params: dict[str, Any]
    result: Ref
    op: Any
    exact: bool = False
    hidden: bool = True

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


def lower(recording: Recording) -> Recording:
    """Return a recording of Instructions in place of Steps.

    What is constant or occurs twice is computed once, and what nobody reads never, but for
    operations of users.
    """
    return _Lowering(recording).lowered()


class _Lowering:
    def __init__(self, recording: Recording) -> None:
        self.recording, self.specs = recording, list(recording.specs)
        self.sources = dict(recording.sources)
        self.visibility = Visibility(recording)
        self.same: dict[Ref, Ref] = {}  # numbers of arrays that are the same as an earlier one
        self.known: dict[Any, Ref] = {}  # results by what computes them
        self.steps: list[Any] = []
        self.exact = False
        self.hidden = True  # whether a nan in the result of this step may go unseen

    def lowered(self) -> Recording:
        for part in self.recording.steps:
            if isinstance(part, Step):
                self._step(part)
            else:
                self.steps.append(self._renamed(part))
                if not isinstance(part, rec.Check):
                    self.exact = True
                    self.known.clear()  # the effect may have changed arrays of the user's
        gradients = [(leaf, self.ref(g)) for leaf, g in self.recording.gradients]
        result = tree_map(self._renamed, self.recording.result)
        lowered = Recording(self.specs, self.sources, self.steps, gradients, result)
        return replace(lowered, steps=_used(lowered))

    def ref(self, x: Any) -> Any:
        """Return the number under which an array is computed; all else as it is."""
        return self.same.get(x, x) if isinstance(x, Ref) else x

    def _renamed(self, part: Any) -> Any:
        if isinstance(part, rec.Returned):
            return replace(part, ref=self.ref(part.ref))
        if isinstance(part, rec.Assign):
            return replace(part, value=self.ref(part.value))
        if isinstance(part, rec.Update):
            return replace(part, gradients=list(map(self.ref, part.gradients)))
        return (
            replace(part, args=tuple(map(self.ref, part.args))) if type(part) is rec.Check else part
        )

    def _step(self, step: Step) -> None:
        op, args = step.op, tuple(map(self.ref, step.args))
        if not is_own(op):
            self._add(op.forward, args, step.params, step.result, op)
            return
        if self._changes_nothing(step, args[0]):
            self.same[step.result] = args[0]
            return
        if self._folded(step, args):
            return
        self.hidden = self.visibility.hides(step.result)
        y = self._inside(step, args)
        if y is None:
            spec = self.specs[step.result.index]
            y = self._emit(op.forward, args, step.params, spec, op)
        self.same[step.result] = y

    def _constant(self, x: Any, *, frozen: bool) -> bool:
        source = self.sources.get(x.index) if isinstance(x, Ref) else None
        return source is not None and source.kind == "constant" and source.frozen is frozen

    def _changes_nothing(self, step: Step, x: Any) -> bool:
        """Tell whether a step returns its argument as it is: a reshape to the shape that it has."""
        spec = self.specs[step.result.index]
        if not isinstance(x, Ref) or self.specs[x.index] != spec or self._constant(x, frozen=False):
            return False  # an array of the user's may change before the result is read
        if step.op is ops.astype or step.op.elementwise or len(step.args) > 1:
            return step.op is ops.astype
        array = np.empty(spec.shape, spec.dtype)
        try:
            with np.errstate(all="ignore"):
                y = step.op.forward(array, **step.params)
        except Exception:  # of what these elements happen to be
            return False
        return isinstance(y, np.ndarray) and _place(y) == _place(array)

    def _folded(self, step: Step, args: tuple[Any, ...]) -> bool:
        """Compute a step on constants now; tell whether it is one."""
        if not all(self._constant(x, frozen=True) for x in args if isinstance(x, Ref)):
            return False
        arrays = [self.sources[x.index].value if isinstance(x, Ref) else x for x in args]
        with np.errstate(all="ignore"):
            y = np.asarray(step.op.forward(*arrays, **step.params))
        self.sources[step.result.index] = Source("constant", y, True)
        return True

    def _inside(self, step: Step, args: tuple[Any, ...]) -> Ref | None:
        """Emit what an operation consists of, and return the result; None if that is not clear."""
        spec = self.specs[step.result.index]
        mark, known = len(self.steps), len(self.known)
        symbols = [Symbol(self, step.op, x) if isinstance(x, Ref) else x for x in args]
        try:
            y = step.op.forward(*symbols, **step.params)
            if isinstance(y, Symbol) and self.specs[y.ref.index] == spec and y.ref not in args:
                return y.ref
        except Exception:  # whatever an operation does with values that are none
            pass
        del self.steps[mark:]
        while len(self.known) > known:
            self.known.popitem()
        return None

    def _emit(
        self, function: Any, args: tuple[Any, ...], params: dict[str, Any], spec: ArraySpec, op: Any
    ) -> Ref:
        """Return the number of what a call gives, computed before or here."""
        key = _key(function, args, params)
        if key is not None and key in self.known:
            return self.known[key]
        ref = Ref(len(self.specs))
        self.specs.append(spec)
        self._add(function, args, params, ref, op)
        if key is not None:
            self.known[key] = ref
        return ref

    def _add(self, function: Any, args: Any, params: dict[str, Any], ref: Ref, op: Any) -> None:
        self.steps.append(Instruction(function, args, params, ref, op, self.exact, self.hidden))


def _place(array: np.ndarray) -> tuple[Any, ...]:
    return array.ctypes.data, array.strides


def _key(function: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """Return what makes a result the same again, or None if that cannot be told."""
    if any(isinstance(x, np.ndarray) for x in tree_leaves([args, params])):
        return None
    return function, repr(args), repr(params)  # in which 0.0 is not -0.0, nor 1


def _used(lowered: Recording) -> list[Any]:
    """Return the steps without operations of ours whose results nobody reads."""
    read = set(read_at_the_end(lowered))
    kept = []
    for part in reversed(lowered.steps):
        idle = isinstance(part, Instruction) and part.result not in read and is_own(part.op)
        if not idle:
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
        self.shape, self.dtype, self.ndim, self.size = spec.shape, spec.dtype, spec.ndim, spec.size

    def __float__(self) -> float:
        """Say of a sum, asked whether it is finite, that it is: if not, a check will tell."""
        if self.ndim or self.lowering.exact or self.lowering.hidden:
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
        spec = ArraySpec(_shape(function, inputs, params), _dtype(function, inputs, params))
        ref = self.lowering._emit(function, args, params, spec, self.op)
        return Symbol(self.lowering, self.op, ref)


def _says_nothing(name: str, value: Any) -> bool:
    """Tell whether a keyword of a NumPy function says what is so anyway."""
    if value is None or value is np._NoValue:
        return name != "axis"
    return value is {"where": True, "keepdims": False}.get(name)


def _shape(function: Any, inputs: Sequence[Any], params: dict[str, Any]) -> tuple[int, ...]:
    """Return the shape of what a ufunc, or its reduction, gives."""
    shapes = [np.shape(x) for x in inputs]
    if function is np.matmul and min(map(len, shapes)) >= 2:
        (*a, n, _), (*b, _, m) = shapes
        return *np.broadcast_shapes(tuple(a), tuple(b)), n, m
    if isinstance(function, np.ufunc):
        if function.signature is not None:
            _refuse(function)
        return np.broadcast_shapes(*shapes)
    lengths, axis = shapes[0], params.get("axis", 0)
    axes = range(len(lengths)) if axis is None else normalize_axis_tuple(axis, len(lengths))
    if params.get("keepdims"):
        return tuple(1 if i in axes else n for i, n in enumerate(lengths))
    return tuple(n for i, n in enumerate(lengths) if i not in axes)


def _dtype(function: Any, inputs: Sequence[Any], params: dict[str, Any]) -> np.dtype[Any]:
    """Return the dtype of a call's result, found on single elements."""
    ones = [np.ones((1,) * x.ndim, x.dtype) if isinstance(x, Symbol) else x for x in inputs]
    with np.errstate(all="ignore"):
        return np.asarray(function(*ones, **params)).dtype
