"""Planning: each instruction becomes a call on fixed arrays, in memory that is used again.

An array lives until its last reader. A result that is a view of an argument stays one, and the
result of an elementwise instruction takes the place of an argument that nobody reads any more.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinynn.autodiff import ops
from tinynn.replay.buffers import Buffers, aligned, parts_of
from tinynn.replay.layout import Layout
from tinynn.replay.lowering import Instruction, Lowered
from tinynn.replay.recording import ArraySpec, Assign, Check, Ref, Source, Update
from tinynn.replay.speculation import is_own, read_after_effects, read_at_the_end, read_by

Call = tuple[Callable[..., Any], tuple[Any, ...]]
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

    def __init__(
        self, lowered: Lowered, sources: dict[int, Source], order: Sequence[Any] | None
    ) -> None:
        self.lowered, self.specs = lowered, lowered.specs
        self.arrays: dict[int, np.ndarray] = dict(lowered.constants)
        self.sources = {kind: [] for kind in ("argument", "leaf", "gradient", "draw")}
        self.calls: list[Call] = []
        self.late: list[Call] = []
        self.flat_gradient: np.ndarray | None = None
        self.buffers = Buffers()
        self.layout = Layout(lowered)
        self._sums: dict[Ref, Ref] = {}  # by a sum with a bias: the convolution that has made it
        self._now = self.calls
        self._pending = Counter(ref.index for part in lowered.steps for ref in read_by(part))
        self._pending.update(ref.index for ref in read_at_the_end(lowered))
        self._targets: dict[int, np.ndarray] = {}  # by number: where a gradient is computed
        self._copied: list[tuple[np.ndarray, Ref]] = []  # gradients that are copied at the end
        self._plan_gradients(order)
        for index, source in sources.items():
            self._source(index, source)
        self._plan()
        self.largest = max((a.nbytes for a in self.arrays.values()), default=0)
        self.light = all(_work(call) < WORTH_THREADS for call in (*self.calls, *self.late))

    # ------------------------------------------------------------ before the steps

    def _plan_gradients(self, order: Sequence[Any] | None) -> None:
        """Let gradients be computed side by side: in that order, or all that there are."""
        made = {part.result for part in self.lowered.steps if isinstance(part, Instruction)}
        if order is None:
            refs = [g for _, g in self.lowered.gradients]
            for part in self.lowered.steps:
                refs += part.gradients if isinstance(part, Update) else []
            refs = list(dict.fromkeys(g for g in refs if g in made))
            specs = [self.specs[g.index] for g in refs]
        else:
            found = {id(leaf): g for leaf, g in self.lowered.gradients}
            refs = [found.get(id(leaf)) for leaf in order]
            specs = [ArraySpec(leaf._data.shape, leaf._data.dtype) for leaf in order]
        if not specs or (order is None and len({s.dtype for s in specs}) > 1):
            return
        dtype = np.result_type(*[s.dtype for s in specs])
        self.flat_gradient = aligned((sum(s.size for s in specs),), dtype)
        self.flat_gradient[...] = 0
        parts = parts_of(self.flat_gradient, [s.shape for s in specs])
        for ref, part in zip(refs, parts, strict=True):
            if ref in made and ref.index not in self._targets and self._fits(ref, part):
                self._targets[ref.index] = part
            elif ref is not None:
                self._copied.append((part, ref))

    def _fits(self, ref: Ref, part: np.ndarray) -> bool:
        return self.specs[ref.index] == ArraySpec(part.shape, part.dtype)

    def _source(self, index: int, source: Source) -> None:
        if source.kind == "constant":
            self.arrays[index] = source.value
            return
        if not self._pending[index] and source.kind != "draw":  # whose generator moves on
            return
        spec = self.specs[index]
        if index in self.layout.pitch and spec.dtype.kind == "f":
            self.layout.batches[index] = self.layout.new(index)
            self.arrays[index] = self.layout.batches[index].array
        else:
            self.arrays[index] = aligned(spec.shape, spec.dtype)
        self.sources[source.kind].append((source.value, self.arrays[index]))

    # ------------------------------------------------------------ the steps, in order

    def _plan(self) -> None:
        for part in self.lowered.steps:
            if isinstance(part, (Assign, Update)) and self._now is self.calls:
                self._verify()
                self._now = self.late
            if isinstance(part, Instruction):
                self._instruction(part)
            else:
                self._effect(part)
            for ref in read_by(part):
                self._pending[ref.index] -= 1
                if not self._pending[ref.index]:
                    self.buffers.release(ref.index)
        for target, ref in self._copied:
            self._call(np.copyto, target, self.arrays[ref.index])
        if self._now is self.calls:
            self._verify()

    def _call(self, function: Callable[..., Any], *args: Any) -> None:
        self._now.append((function, args))

    def _verify(self) -> None:
        """Have all that is read from now on checked, before anything takes effect."""
        made = {p.result for p in self.lowered.steps if isinstance(p, Instruction) and not p.exact}
        late = sorted(read_after_effects(self.lowered) & made)
        found = [self.arrays[ref.index] for ref in late if ref.index not in self._targets]
        if self.flat_gradient is not None and not any(
            isinstance(p, Instruction) and p.exact and p.result.index in self._targets
            for p in self.lowered.steps
        ):
            found.append(self.flat_gradient)
        else:
            found += [self._targets[ref.index] for ref in late if ref.index in self._targets]
        floats = [a for a in found if a.dtype.kind in "fc"]
        if floats:
            self._call(check_finite, floats)

    def _effect(self, part: Any) -> None:
        if isinstance(part, Check):
            args = tuple(map(self.value, part.args))
            self._call(_check, part.check, args, self._now is self.calls)
        elif isinstance(part, Assign):
            self._call(_assign, part.leaf, self.arrays[part.value.index])
        else:
            gradients = [g and self.arrays[g.index] for g in part.gradients]
            leaves = list(zip(part.parameters, gradients, strict=True))
            read: list[tuple[Any, np.ndarray]] = []
            for leaf, ref in zip(part.parameters, part.results, strict=True):
                if self._pending[ref.index]:
                    self.arrays[ref.index] = self.buffers.array(ref.index, self.specs[ref.index])
                    read.append((leaf, self.arrays[ref.index]))
            self._call(_update, part.step, leaves, read)

    def value(self, x: Any) -> Any:
        """Return the planned array of a Ref, and plain values as they are."""
        return self.arrays[x.index] if isinstance(x, Ref) else x

    # ------------------------------------------------------------ one instruction

    def _instruction(self, step: Instruction) -> None:
        if step.result in self._sums:
            self._share(step.result.index, self._sums[step.result].index)
        elif self.layout.serves(step):
            self._convolution(step)
        elif not self._is_view(step):
            self._computed(step, tuple(map(self.value, step.args)), self._out(step))

    def _convolution(self, step: Instruction) -> None:
        args, out = tuple(map(self.value, step.args)), self._out(step)
        bias = None
        if step.result in self.layout.biases:
            ref, total = self.layout.biases[step.result]
            bias, self._sums[total] = self.arrays[ref.index], step.result
        series, calls = self.layout.convolution(step, args, out, bias)
        if step.exact:
            slowly = _run, (step.function, args, step.params, out)
            self._call(_if_finite, [*series, out], calls, slowly)
            return
        self._now += calls
        if step.hidden:
            self._call(check_finite, series)

    def _computed(self, step: Instruction, args: tuple[Any, ...], out: np.ndarray) -> None:
        """Add the call of an instruction that fills an array."""
        function, layout = step.function, self.layout
        if step.op is ops.astype:
            (args, out) = layout.with_gaps(step, np.positive, args, out)
            self._call(np.copyto, out, *args, "unsafe")
        elif self._sums_to_channels(step, args[0], out):
            self._now.append(layout.batches[step.args[0].index].total(out))
        elif step.whole:
            self._call(_run, function, args, step.params, out)
        elif isinstance(function, np.ufunc):
            if step.elementwise:
                args, out = layout.with_gaps(step, function, _as_numpy_likes(args), out)
            if function in (np.maximum, np.minimum):
                row = ops.long_row(out.shape)  # three times as fast as with a number
                args = tuple(a if np.ndim(a) else np.full(row, a, out.dtype) for a in args)
                function = partial(function, out=out)  # which takes no positional one
                self._call(function, *args)
            else:
                self._call(function, *args, out)
        else:
            p = step.params
            how = p.get("axis", 0), p.get("dtype"), out, p.get("keepdims", False)
            self._call(function, *args, *how)

    def _sums_to_channels(self, step: Instruction, x: Any, out: np.ndarray) -> bool:
        """Tell whether a step sums a padded batch over series and steps."""
        padded = step.op is ops.sum_to and self.layout.batch_at(step.args[0], x) is not None
        return padded and out.shape == x.shape[2:]

    def _is_view(self, step: Instruction) -> bool:
        """Keep a result that is a view of an argument as one; tell whether it is."""
        if step.elementwise or not (step.whole and is_own(step.op)):
            return False
        index, args = step.result.index, tuple(map(self.value, step.args))
        if index in self._targets:
            return False
        try:
            with np.errstate(all="ignore"):
                y = step.function(*args, **step.params)
        except Exception:  # of values that are not there yet, an index for instance
            return False
        for ref in read_by(step):
            if isinstance(y, np.ndarray) and np.may_share_memory(y, self.arrays[ref.index]):
                self.arrays[index] = y
                self.buffers.share(index, ref.index)
                return True
        return False

    def _out(self, step: Instruction) -> np.ndarray:
        """Return memory for a result: an argument's that dies here, a free buffer, or a new one."""
        index = step.result.index
        if index in self._targets:
            self.arrays[index] = self._targets[index]
        elif (place := self._overwritten(step)) is not None:
            self._share(index, place)
        elif (key := self.layout.key(index)) is not None:
            batch = self.buffers.free_place(index, key)
            if batch is None:
                batch = self.layout.new(index)
                self.buffers.hold(index, batch, key)
            self.layout.batches[index], self.arrays[index] = batch, batch.array
        else:
            self.arrays[index] = self.buffers.array(index, self.specs[index])
        if not self._pending[index]:  # nobody reads it: an operation of a user's
            self.buffers.release(index)
        return self.arrays[index]

    def _share(self, index: int, place: int) -> None:
        """Let a result stand where another array stands."""
        self.arrays[index] = self.arrays[place]
        self.buffers.share(index, place)
        if place in self.layout.batches:
            self.layout.batches[index] = self.layout.batches[place]

    def _overwritten(self, step: Instruction) -> int | None:
        """Return an argument in whose place the result can be computed, if there is one."""
        if not isinstance(step.function, np.ufunc) or not step.elementwise:
            return None
        spec = self.specs[step.result.index]
        refs = read_by(step)
        for ref in refs:
            if (
                self.buffers.alone(ref.index)
                and self._pending[ref.index] == refs.count(ref)
                and self.specs[ref.index] == spec
                and self.arrays[ref.index].flags.writeable  # not one number seen many times
                and self.layout.overwrites(step.result.index, ref.index)
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


# ---------------------------------------------------------------- what is called at each run


def check_finite(arrays: Sequence[np.ndarray]) -> None:
    """Raise NotFinite if an element of any array is infinite or nan."""
    for array in arrays:
        if not ops.all_finite(array):
            raise NotFinite("compile: a value is not finite; the call must be run eagerly.")


def _run(
    function: Callable[..., Any], args: tuple[Any, ...], params: dict[str, Any], out: np.ndarray
) -> None:
    y = np.asarray(function(*args, **params))
    if y.shape != out.shape or y.dtype != out.dtype:
        raise NotFinite(
            f"compile: {function.__name__} returned shape {y.shape} and dtype {y.dtype}, when it "
            f"was recorded {out.shape} and {out.dtype}."
        )
    np.copyto(out, y)


def _if_finite(arrays: Sequence[np.ndarray], calls: Sequence[Call], slowly: Call) -> None:
    """Make the calls; if not all arrays are finite, before or after, do it slowly."""
    *series, out = arrays
    if all(map(ops.all_finite, series)):
        for function, args in calls:
            function(*args)
        if ops.all_finite(out):
            return
    function, args = slowly
    function(*args)


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
    step: Callable[[], None],
    leaves: Sequence[tuple[Any, np.ndarray | None]],
    read: Sequence[tuple[Any, np.ndarray]],
) -> None:
    for leaf, gradient in leaves:
        leaf._grad = None if gradient is None else gradient.copy()
    step()
    for leaf, array in read:
        np.copyto(array, leaf._data)


def _work(call: Call) -> int:
    """Return the multiplications of one product of a matmul, 0 for another call."""
    function, args = call
    if function is _run:  # what it does is not known: a convolution with stride, for instance
        return 64 * int(args[3].size)
    if function is not np.matmul or args[0].ndim < 2:
        return 0
    return math.prod(args[0].shape[-2:]) * int(args[1].shape[-1])
