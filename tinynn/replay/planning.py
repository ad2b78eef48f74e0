"""Planning: each instruction becomes a call on fixed arrays, in memory that is used again.

An array lives until its last reader. A result that is a view of an argument stays one, and the
result of an elementwise instruction takes the place of an argument that nobody reads any more.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinynn.autodiff import ops
from tinynn.kernels.padded_batch import Call
from tinynn.replay.buffers import Buffers, aligned, side_by_side
from tinynn.replay.layout import Layout
from tinynn.replay.lowering import Instruction
from tinynn.replay.recording import ArraySpec, Assign, Check, Recording, Ref, Source, Update
from tinynn.replay.speculation import is_own, read_after_effects, read_at_the_end, read_by

WORTH_THREADS = 2**22  # multiplications of a product from which BLAS's threads pay


class NotFinite(ArithmeticError):
    """A call must be run eagerly, and nothing is updated yet: its values do not allow a replay.

    A gradient or result is not finite, where eager code may give another (speculation.py), or an
    operation or draw of a user's gave another shape or dtype than when it was recorded.
    """


class Plan:
    """The calls of a program, and the arrays that they read and fill.

    ``calls`` come before the first effect, ``late`` are that effect and all after it.
    ``flat_gradient``: the gradients of the leaves of ``order`` side by side; zeros for none.
    """

    def __init__(self, lowered: Recording, order: Sequence[Any] | None) -> None:
        self.lowered, self.specs, self.layout = lowered, lowered.specs, Layout(lowered)
        self.arrays: dict[int, np.ndarray] = {}
        self.sources: dict[str, list[tuple[Any, np.ndarray]]] = defaultdict(list)  # by kind
        self.calls: list[Call] = []
        self.late: list[Call] = []
        self._now = self.calls
        self._buffers = Buffers()
        self._pending = Counter(ref.index for part in lowered.steps for ref in read_by(part))
        self._pending.update(ref.index for ref in read_at_the_end(lowered))
        self._made = {step.result for step in lowered.steps if isinstance(step, Instruction)}
        self._sums: dict[Ref, Ref] = {}  # by a sum with a bias: the convolution that has made it
        self._plan_gradients(lowered.gradients, order)
        for index, source in lowered.sources.items():
            self._source(index, source)
        for part in lowered.steps:
            self._part(part)
        for target, ref in self._copied:
            self._call(np.copyto, target, self.arrays[ref.index])
        if not self.late:
            self._verify()
        self.light = all(_work(call) < WORTH_THREADS for call in (*self.calls, *self.late))

    def _plan_gradients(self, gradients: list[Any], order: Sequence[Any] | None) -> None:
        """Let the gradients of leaves be computed side by side, or copied there at the end."""
        found = {id(leaf): ref for leaf, ref in gradients}
        leaves = [leaf for leaf, ref in gradients if ref] if order is None else order
        self._targets: dict[int, np.ndarray] = {}  # by number: where an array is to be computed
        self._copied: list[tuple[np.ndarray, Ref]] = []
        self.flat_gradient: np.ndarray | None = None
        if leaves:
            dtype = np.result_type(*[leaf._data.dtype for leaf in leaves])
            shapes = [leaf._data.shape for leaf in leaves]
            self.flat_gradient, parts = side_by_side(shapes, dtype)
            for leaf, part in zip(leaves, parts, strict=True):
                ref = found.get(id(leaf))
                if ref in self._made and self._computes(ref.index, part):
                    self._targets[ref.index] = part
                elif ref is not None and order is not None:
                    self._copied.append((part, ref))

    def _computes(self, index: int, part: np.ndarray) -> bool:
        """Tell whether a result can be computed into a part of the flat gradient."""
        elsewhere = index in self._targets or index in self.layout.pitch
        return not elsewhere and self.specs[index] == ArraySpec(part.shape, part.dtype)

    def _source(self, index: int, source: Source) -> None:
        if source.kind == "constant":
            self.arrays[index] = source.value
        elif self._pending[index] or source.kind == "draw":  # the generator moves on all the same
            self._pending[index] += 1  # it is never free
            self.arrays[index] = self._new(index)
            self.sources[source.kind].append((source.value, self.arrays[index]))

    def _new(self, index: int) -> np.ndarray:
        """Return memory for an array: alone, or in a padded batch."""
        spec, pitch = self.specs[index], self.layout.pitch.get(index)
        if pitch is None:
            n = spec.nbytes
            place = self._buffers.take(index, n, lambda: aligned((n,), np.uint8))
            return place.view(spec.dtype).reshape(spec.shape)
        batch = self._buffers.take(index, (spec, pitch), lambda: self.layout.new(spec, pitch))
        self.layout.batches[index] = batch
        return batch.array

    # ------------------------------------------------------------ the steps, in order

    def _part(self, part: Any) -> None:
        if isinstance(part, (Assign, Update)) and not self.late:
            self._verify()
            self._now = self.late
        if isinstance(part, Instruction):
            self._instruction(part)
        else:
            self._effect(part)
        for ref in read_by(part):
            self._pending[ref.index] -= 1
            if not self._pending[ref.index]:
                self._buffers.release(ref.index)

    def _call(self, function: Callable[..., Any], *args: Any) -> None:
        self._now.append((function, args))

    def value(self, x: Any) -> Any:
        """Return the planned array of a Ref, and plain values as they are."""
        return self.arrays[x.index] if isinstance(x, Ref) else x

    def _verify(self) -> None:
        """Have all that is read from now on checked, before anything takes effect."""
        late = {ref.index for ref in read_after_effects(self.lowered) & self._made}
        late &= self.arrays.keys()
        found = [self.arrays[i] for i in sorted(late - self._targets.keys())]
        if self.flat_gradient is not None and self._targets.keys() <= late:
            found.append(self.flat_gradient)
        else:
            found += [self.arrays[i] for i in self._targets.keys() & late]
        floats = [array for array in found if array.dtype.kind in "fc"]
        if floats:
            self._call(check_finite, floats)

    def _effect(self, part: Any) -> None:
        if isinstance(part, Check):
            self._call(_check, part.check, tuple(map(self.value, part.args)), not self.late)
        elif isinstance(part, Assign):
            self._call(_assign, part.leaf, self.arrays[part.value.index])
        else:
            results = [ref.index for ref in part.results]
            for i in filter(self._pending.__getitem__, results):
                self.arrays[i] = self._new(i)
            gradients = [ref and self.arrays[ref.index] for ref in part.gradients]
            arrays = [self.arrays.get(i) for i in results]
            self._call(_update, part.step, part.parameters, gradients, arrays)

    # ------------------------------------------------------------ one instruction

    def _instruction(self, step: Instruction) -> None:
        index, args = step.result.index, tuple(map(self.value, step.args))
        if step.result in self._sums:
            self._share(index, self._sums[step.result].index)
        elif self.layout.serves(step):
            self._convolution(step, args, self._out(step))
        elif not self._is_view(step, args):
            self._computed(step, args, self._out(step))

    def _is_view(self, step: Instruction, args: tuple[Any, ...]) -> bool:
        """Keep a result that is a view of an argument as one; tell whether it is."""
        index = step.result.index
        if step.elementwise or not step.whole or not is_own(step.op) or index in self._targets:
            return False
        try:
            with np.errstate(all="ignore"):
                y = step.function(*args, **step.params)
        except Exception:  # of values that are not there yet, an index for instance
            return False
        for ref in read_by(step):
            if isinstance(y, np.ndarray) and np.may_share_memory(y, self.arrays[ref.index]):
                self.arrays[index] = y
                self._buffers.share(index, ref.index)
                return True
        return False

    def _convolution(self, step: Instruction, args: tuple[Any, ...], out: np.ndarray) -> None:
        bias = None
        if step.result in self.layout.biases:
            ref, total = self.layout.biases[step.result]
            bias, self._sums[total] = self.arrays[ref.index], step.result
        series, calls = self.layout.convolution(step, args, out, bias)
        if step.exact:
            self._call(_if_finite, out, calls, (step.function, args, step.params, out))
            return
        self._now += calls
        if step.hidden:
            self._call(check_finite, series)

    def _computed(self, step: Instruction, args: tuple[Any, ...], out: np.ndarray) -> None:
        """Add the call of an instruction that fills an array."""
        function, batch = step.function, self.layout.batch_at(step.args[0], args[0])
        if step.op is ops.astype:
            args, out = self.layout.with_gaps(step, np.asarray, args, out)
            self._call(np.copyto, out, args[0], "unsafe")
        elif step.op is ops.sum_to and batch is not None and out.shape == args[0].shape[2:]:
            self._now.append(batch.total(out))
        elif step.whole:
            self._call(_run, function, args, step.params, out)
        elif not isinstance(function, np.ufunc):  # the reduction of one
            p = step.params
            how = p.get("axis", 0), p.get("dtype"), out, p.get("keepdims", False)
            self._call(function, *args, *how)
        elif function in (np.maximum, np.minimum):  # which take no positional output
            args, out = self.layout.with_gaps(step, function, _as_numpy_likes(args), out)
            row = ops.long_row(out.shape)  # three times as fast as with a number
            given = zip(args, step.args, strict=True)
            args = tuple(
                a if isinstance(x, Ref) else np.full(row, a, out.dtype) for a, x in given
            )
            self._call(partial(function, out=out), *args)
        else:
            if step.elementwise:
                args, out = self.layout.with_gaps(step, function, _as_numpy_likes(args), out)
            self._call(function, *args, out)

    def _out(self, step: Instruction) -> np.ndarray:
        """Return memory for a result: an argument's that dies here, or other."""
        index = step.result.index
        if index in self._targets:
            self.arrays[index] = self._targets[index]
        elif (place := self._overwritten(step)) is not None:
            self._share(index, place)
        else:
            self.arrays[index] = self._new(index)
        if not self._pending[index]:  # nobody reads it: an operation of a user's
            self._buffers.release(index)
        return self.arrays[index]

    def _share(self, index: int, place: int) -> None:
        """Let a result stand where another array stands."""
        self.arrays[index] = self.arrays[place]
        self._buffers.share(index, place)
        if place in self.layout.batches:
            self.layout.batches[index] = self.layout.batches[place]

    def _overwritten(self, step: Instruction) -> int | None:
        """Return an argument in whose place the result can be computed, if there is one."""
        refs = read_by(step) if isinstance(step.function, np.ufunc) and step.elementwise else []
        for ref in refs:
            if (
                self._buffers.alone(ref.index)
                and self._pending[ref.index] == refs.count(ref)
                and self.specs[ref.index] == self.specs[step.result.index]
                and self.arrays[ref.index].flags.writeable  # not one number seen many times
            ):
                return ref.index
        return None


def _as_numpy_likes(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return arguments of a ufunc as NumPy takes them fastest: numbers as arrays of one dtype."""
    dtypes = {a.dtype for a in args if isinstance(a, np.ndarray)}
    dtype = dtypes.pop() if len(dtypes) == 1 else np.dtype(bool)
    liked = []
    for a in args:
        if dtype.kind == "f" and type(a) in (int, float):
            a = np.array(a, dtype)
        elif isinstance(a, np.ndarray) and a.size > 1 and not any(a.strides):
            a = a[(slice(0, 1),) * a.ndim].reshape(())  # one number everywhere: a view of it
        liked.append(a)
    return tuple(liked)


def _work(call: Call) -> int:
    """Return the multiplications of one product of a matmul, 0 for another call."""
    function, args = call
    if function is _run:  # what it does is not known: a convolution with stride, for instance
        return 64 * int(args[3].size)
    if function is not np.matmul or args[0].ndim < 2:
        return 0
    return math.prod(args[0].shape[-2:]) * int(args[1].shape[-1])


# ---------------------------------------------------------------- what is called at each run


def check_finite(arrays: Sequence[np.ndarray]) -> None:
    """Raise NotFinite if an element of any array is infinite or nan."""
    if not all(map(ops.all_finite, arrays)):
        raise NotFinite("compile: a value is not finite; the call must be run eagerly.")


def _run(
    function: Callable[..., Any], args: tuple[Any, ...], params: dict[str, Any], out: np.ndarray
) -> None:
    fill(out, function(*args, **params), function.__name__)


def fill(out: np.ndarray, y: Any, maker: str) -> None:
    """Copy what a function of a user's may have made into ``out``."""
    y = np.asarray(y)
    if y.shape != out.shape or y.dtype != out.dtype:
        raise NotFinite(
            f"compile: {maker} returned shape {y.shape} and dtype {y.dtype}, when it was recorded "
            f"{out.shape} and {out.dtype}."
        )
    np.copyto(out, y)


def _if_finite(out: np.ndarray, calls: Sequence[Call], slowly: tuple[Any, ...]) -> None:
    """Make the calls; if not all that they give is finite, compute it slowly."""
    for function, args in calls:
        function(*args)
    if not ops.all_finite(out):
        _run(*slowly)


def _check(check: Callable[..., None], args: tuple[Any, ...], repeatable: bool) -> None:
    try:
        check(*args)
    except Exception:
        if repeatable:  # eager code may have got other values than those that are not finite
            check_finite([a for a in args if isinstance(a, np.ndarray) and a.dtype.kind == "f"])
        raise


def _assign(leaf: Any, array: np.ndarray) -> None:
    leaf._replace(array.copy())


def _update(
    step: Callable[[], None], leaves: Sequence[Any], gradients: Sequence[Any], read: Sequence[Any]
) -> None:
    for leaf, gradient in zip(leaves, gradients, strict=True):
        leaf._grad = None if gradient is None else gradient.copy()
    step()
    for leaf, array in zip(leaves, read, strict=True):
        if array is not None:
            np.copyto(array, leaf._data)
