"""Planning: each instruction becomes a call on fixed arrays, in memory that is used again.

An array lives until its last reader. A result that is a view of an argument stays one, and the
result of an elementwise instruction takes the place of an argument that nobody reads any more.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from tinynn.autodiff import ops
from tinynn.kernels.padded_batch import Call
from tinynn.replay.layout import Layout
from tinynn.replay.lowering import Instruction, Lowered
from tinynn.replay.purity import is_own
from tinynn.replay.recording import ArraySpec, Check, Ref, Source
from tinynn.replay.speculation import read_by

LARGE = 2**20  # bytes of an argument or leaf, from which on it is read where it is
ALONE = 2**17  # multiplications of a product up to which BLAS takes no threads by itself
WORTH_THREADS = 2**22  # the same, from which on its threads pay


class NotFinite(ArithmeticError):
    """A call must be run eagerly, and nothing is updated yet: its values do not allow a replay.

    A gradient or result is not finite, where eager code may give another (speculation.py), or an
    operation or draw of a user's gave another shape or dtype than when it was recorded.
    """


class Planner:
    """The calls of a program, and the arrays that they read and fill.

    ``flat_gradient``: the gradients of the leaves of ``order`` side by side; zeros for none.
    ``copied``: its parts that are to be copied there at the end, and what. ``given``: the large
    arguments of a run, by place; at the planning empty arrays of their shapes stand for them.
    """

    def __init__(
        self, lowered: Lowered, gradients: Sequence[tuple[Any, Any]], order: Sequence[Any] | None
    ) -> None:
        self.specs, self.layout = lowered.specs, Layout(lowered)
        self.arrays: dict[int, np.ndarray] = {}
        self.sources: dict[str, list[tuple[Any, np.ndarray]]] = defaultdict(list)  # by kind
        self.calls: list[Call] = []
        self._work = 0  # multiplications of the largest product
        self.given: dict[int, np.ndarray] = {}
        self._large: dict[int, Callable[[], Any]] = {}  # by id of what stands for it
        # Homes by the number of an array: a place, what fits there, and who lives there.
        self._homes: dict[int, tuple[Any, Any, set[int]]] = {}
        self._free: dict[Any, list[Any]] = defaultdict(list)  # places by what fits there
        self._kept = kept = {ref.index for ref in lowered.kept.values()}
        self._pending = Counter(ref.index for part in lowered.steps for ref in read_by(part))
        self._pending.update(kept)  # these are never free
        self._made = {s.result.index for s in lowered.steps if isinstance(s, Instruction)}
        leaves = [leaf for leaf, ref in gradients if ref] if order is None else order
        self._plan_gradients(leaves, {id(leaf): ref for leaf, ref in gradients}, lowered.kept)
        for index, source in lowered.sources.items():
            self._source(index, source)
        for part in lowered.steps:
            self._part(part)
        checked = [self.arrays[i] for i in (kept & self._made) - self._targets.keys()]
        checked += [self.flat_gradient] if self._targets else []
        if floats := [array for array in checked if array.dtype.kind in "fc"]:
            self._call(check_finite, floats)  # before anything takes effect
        self.light = ALONE < self._work < WORTH_THREADS

    def _plan_gradients(
        self, leaves: Sequence[Any], found: dict[int, Ref | None], kept: dict[Ref, Ref]
    ) -> None:
        """Let the gradients of leaves be computed side by side, or copied there at the end."""
        self._targets: dict[int, np.ndarray] = {}  # by number: where an array is to be computed
        self.copied: list[tuple[np.ndarray, Ref]] = []
        dtype = np.result_type(*[leaf._data.dtype for leaf in leaves], np.float16)
        self.flat_gradient = np.zeros(sum(leaf._data.size for leaf in leaves), dtype)
        free = {i: self.specs[i] for i in self._made if i not in self.layout.pitch}
        start = 0
        for leaf in leaves:
            part = self.flat_gradient[start : start + leaf._data.size].reshape(leaf._data.shape)
            start += part.size
            ref = found.get(id(leaf))
            index = kept[ref].index if ref in kept else -1
            if free.pop(index, None) == ArraySpec(part.shape, part.dtype):
                self._targets[index] = part
            elif ref is not None:
                self.copied.append((part, ref))

    def _source(self, index: int, source: Source) -> None:
        if source.kind == "constant":
            self.arrays[index] = source.value
        elif (
            source.kind in ("argument", "leaf")
            and self.specs[index].nbytes >= LARGE
            and index not in self.layout.pitch.keys() | self._kept
        ):
            spec, value = self.specs[index], source.value
            self.arrays[index] = np.broadcast_to(np.zeros((), spec.dtype), spec.shape)
            if source.kind == "argument":
                self.given[value] = self.arrays[index]
                self._large[id(self.arrays[index])] = lambda: self.given[value]
            else:  # effects come late: until then a leaf is as it was
                self._large[id(self.arrays[index])] = lambda: value._data
        elif self._pending[index] or source.kind == "draw":  # the generator moves on all the same
            self._pending[index] += 1  # it is never free
            self.arrays[index] = self._new(index)
            self.sources[source.kind].append((source.value, self.arrays[index]))

    def _new(self, index: int) -> np.ndarray:
        """Return memory for an array: alone, or in a padded batch."""
        spec, pitch = self.specs[index], self.layout.pitch.get(index)
        fitting = spec.nbytes if pitch is None else (spec, pitch)
        if self._free[fitting]:
            place = self._free[fitting].pop()
        elif pitch is None:
            place = np.empty(spec.nbytes, np.uint8)
        else:
            place = self.layout.new(spec, pitch)
        self._homes[index] = place, fitting, {index}
        return place.view(spec.dtype).reshape(spec.shape) if pitch is None else place.array

    def _part(self, part: Instruction | Check) -> None:
        args = tuple([self.arrays[x.index] if isinstance(x, Ref) else x for x in part.args])
        if isinstance(part, Check):
            self._call(_check, part.check, args)
        elif part in self.layout.maps:
            args = args[0], *map(self._here, args[1:])
            series, calls = self.layout.convolution(part, args, self._out(part.result.index))
            for function, given in calls:
                self._call(function, *given)
            if part.hidden:
                self._call(check_finite, series)
        elif not self._is_view(part, args):
            in_place = part.elementwise and not part.whole
            if in_place:  # the result may take the place of an argument that nobody reads any more
                self._release(part)
            function, given = self._computed(part, args, self._out(part.result.index))
            self._call(function, *given)
            if in_place:
                return
        self._release(part)

    def _release(self, part: Instruction | Check) -> None:
        """Let memory be used again of which a part was the last reader."""
        for (index,) in reversed(read_by(part)):  # the first place is taken first
            self._pending[index] -= 1
            if not self._pending[index] and index in self._homes:
                place, fitting, living = self._homes.pop(index)
                living.discard(index)
                if not living:
                    self._free[fitting].append(place)

    def _call(self, function: Callable[..., Any], *args: Any) -> None:
        self._work = max(self._work, _work(function, args))
        now = tuple(map(self._now, args))
        same = all(a is b for a, b in zip(now, args, strict=True))
        self.calls.append((function, args) if same else (_called, (function, now)))

    def _now(self, x: Any) -> Any:
        """Return a large argument, or what holds one, as what gives it when it is called."""
        if isinstance(x, tuple) and any(self._now(part) is not part for part in x):
            return Later(partial(_current_all, tuple(map(self._now, x))))
        return Later(self._large[id(x)]) if id(x) in self._large else x

    def _here(self, x: Any) -> Any:
        """Return an array that a convolution may take apart now: a large argument is copied."""
        if id(x) not in self._large:
            return x
        array = np.empty(x.shape, x.dtype)
        self._call(np.copyto, array, x)
        return array

    def _is_view(self, step: Instruction, args: tuple[Any, ...]) -> bool:
        """Keep a result that is a view of an argument as one; tell whether it is."""
        index = step.result.index
        if step.elementwise or not step.whole or not is_own(step.op) or index in self._targets:
            return False
        if index in self._kept and any(id(array) in self._large for array in args):
            return False
        with np.errstate(all="ignore"), suppress(Exception):  # of values that are not there yet
            y = np.asarray(step.function(*args, **step.params))
            for ref in read_by(step):
                if np.may_share_memory(y, self.arrays[ref.index]):
                    self.arrays[index] = y
                    if id(self.arrays[ref.index]) in self._large:
                        self._large[id(y)] = partial(_viewed, step, self._now(args))
                    if ref.index in self._homes:
                        self._homes[index] = self._homes[ref.index]
                        self._homes[index][2].add(index)
                    return True
        return False

    def _computed(self, step: Instruction, args: tuple[Any, ...], out: np.ndarray) -> Call:
        """Return the call of an instruction that fills an array."""
        function, batch = step.function, self.layout.batches.get(id(args[0]))
        if step.op is ops.astype:
            args, out = self.layout.with_gaps(step, args, out)
            return np.copyto, (out, args[0], "unsafe")
        if step.op is ops.sum_to and batch is not None and out.shape == args[0].shape[2:]:
            return batch.total(out)
        if step.whole:
            return _run, (function, args, step.params, out)
        if not isinstance(function, np.ufunc):  # the reduction of one
            p = step.params
            how = p.get("axis", 0), p.get("dtype"), out, p.get("keepdims", False)
            return function, (*args, *how)
        if step.elementwise:
            args, out = self.layout.with_gaps(step, _as_arrays(args), out)
        if function in (np.maximum, np.minimum):  # which take no positional output
            return partial(function, out=out), args
        return function, (*args, out)

    def _out(self, index: int) -> np.ndarray:
        """Return memory for a result, where it belongs or anywhere."""
        self.arrays[index] = self._targets[index] if index in self._targets else self._new(index)
        return self.arrays[index]


class Later(partial[Any]):
    """A value that is known when it is called."""


def _current(x: Any) -> Any:
    return x() if isinstance(x, Later) else x


def _current_all(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(map(_current, args))


def _called(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    function(*map(_current, args))


def _viewed(step: Instruction, args: Later) -> np.ndarray:
    return np.asarray(step.function(*args(), **step.params))


def _as_arrays(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return numbers beside arrays of one dtype as arrays of it, which NumPy takes faster."""
    dtypes = {a.dtype for a in args if isinstance(a, np.ndarray)}
    if len(dtypes) != 1 or (dtype := dtypes.pop()).kind != "f":
        return args
    return tuple(np.array(a, dtype) if type(a) in (int, float) else a for a in args)


def _work(function: Callable[..., Any], args: tuple[Any, ...]) -> int:
    """Return the multiplications of one product of a matmul, 0 for another call."""
    if function is _run:  # what it does is not known: a convolution with stride, for instance
        return 64 * int(args[3].size)
    if function is not np.matmul or args[0].ndim < 2:
        return 0
    return math.prod(args[0].shape[-2:]) * int(args[1].shape[-1])


def check_finite(arrays: Sequence[np.ndarray]) -> None:
    """Raise NotFinite if an element of any array is infinite or nan."""
    if not all(map(ops.all_finite, arrays)):
        raise NotFinite("compile: a value is not finite; the call must be run eagerly.")


def _run(
    function: Callable[..., Any], args: tuple[Any, ...], params: dict[str, Any], out: np.ndarray
) -> None:
    fill(out, function(*args, **params), function.__name__)


def fill(out: np.ndarray, y: Any, maker: str, error: type[Exception] = NotFinite) -> None:
    """Copy what a function of a user's may have made into ``out``."""
    y = np.asarray(y)
    if y.shape != out.shape or y.dtype != out.dtype:
        raise error(
            f"compile: {maker} returned shape {y.shape} and dtype {y.dtype}, when it was recorded "
            f"{out.shape} and {out.dtype}."
        )
    np.copyto(out, y)


def _check(check: Callable[..., None], args: tuple[Any, ...]) -> None:
    try:
        check(*args)
    except Exception:  # eager code may have got other values than those that are not finite
        check_finite([a for a in args if isinstance(a, np.ndarray) and a.dtype.kind == "f"])
        raise
