"""Replaying a recording: the same operations, into buffers planned once by how long each is needed.

A :class:`Program` is a flat list of calls whose arguments, outputs included, are fixed arrays.
Running it is a loop over that list: no tape, no allocation, hardly any Python.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from tinynn.autodiff import blocks, conv, graph, lanes, ops, record
from tinynn.autodiff.memory import aligned, side_by_side
from tinynn.autodiff.record import Like, NotReplayable, Recording, Ref, Source, Step

Call = tuple[Callable[..., Any], tuple[Any, ...]]
WORTH_THREADS = 2**22  # multiplications of a product from which BLAS's threads pay
HIDING = ops.where.forward, ops._clip.forward, np.fmax, np.fmin, np.isnan, np.isfinite
CONVERSIONS = record.converted, ops.astype.forward


def quiet() -> np.errstate:
    """Silence NumPy where it would warn, for results that are checked as a whole."""
    warned = {kind: "ignore" for kind, action in np.geterr().items() if action == "warn"}
    return np.errstate(**warned)  # type: ignore[arg-type]


class NotFinite(ArithmeticError):
    """A gradient or result is not finite, and nothing has been updated yet.

    A replay multiplies plainly where the operations keep a zero gradient zero beside an infinite
    slope (:func:`tinynn.autodiff.ops.guarded_multiply`). The two differ only by a nan, which shows
    at the end: such a call is run again, eagerly.
    """


class Block:
    """Memory that holds one array at a time, and the numbers of those that live in it now."""

    def __init__(self, memory: np.ndarray) -> None:
        self.memory = memory
        self.holders: set[int] = set()


class Program:
    """A recording bound to memory of its own. Not for two threads at once."""

    def __init__(
        self,
        recording: Recording,
        arguments: int,
        homes: Mapping[int, np.ndarray] = MappingProxyType({}),
    ) -> None:
        self.recording = recording
        self.arrays: dict[int, np.ndarray] = {}  # by number: what a replay computes it into
        self.calls: list[Call] = []
        self._owned: list[tuple[Any, np.ndarray]] = []  # leaves, and the homes they move to
        self._read: list[list[Any]] = []  # leaves, their copies, and what was copied last
        self.arguments: list[np.ndarray | None] = [None] * arguments
        self._blocks: dict[int, Block | lanes.Lane] = {}  # by number: where a planned array lives
        self._free: list[Block | lanes.Lane] = []
        self._lanes: dict[int, lanes.Lane] = {}  # by number: the lane that its array is a view of
        self._pitch: dict[int, int] = {}  # by number: the pitch of the lane that it is to have
        self._order = list(homes)
        self._homes: dict[int, np.ndarray] = {
            index: homes[id(source.value)]
            for index, source in recording.sources.items()
            if source.kind == "variable" and id(source.value) in homes
        }
        self._every_lane: list[lanes.Lane] = []
        self._known: dict[Any, np.ndarray] = {}  # what block transforms share
        self._constant: set[int] = set()  # numbers of arrays that are the same at each replay
        self._targets: dict[int, np.ndarray] = {}  # by number: where a gradient is to be computed
        self._biased: dict[int, tuple[Ref, int]] = {}  # by a convolution's number: bias and sum
        self._summed: dict[int, int] = {}  # by number of a sum: the convolution that has made it
        self.flat_gradient: np.ndarray | None = None  # all gradients side by side, in homes' order
        self._guarded = not _ends_in_effects(recording.steps)
        # Once something has been updated, a call can no longer be run again eagerly.
        self._hides = not self._guarded and self._may_hide()
        self._pending = self._count_uses()
        self._plan()
        self._free.clear()
        self._blocks.clear()
        # Whether no product is so large that several threads would be quicker at it.
        self.light = all(_work(call) < WORTH_THREADS for call in self.calls)

    # ------------------------------------------------------------ planning

    def _count_uses(self) -> dict[int, int]:
        """Return how often each number is still to be read: by steps, and at the end."""
        pending = dict.fromkeys(range(len(self.recording.arrays)), 0)
        for step in self.recording.steps:
            for ref in _refs(step.args):
                pending[ref.index] += 1
        for ref in _refs(self._outcome()):
            pending[ref.index] += 1
        for source in self.recording.sources.values():
            if source.kind == "view":
                pending[source.value[0].index] += 1 << 30  # a view may be read at any time
        return pending

    def _may_hide(self) -> bool:
        """Tell whether a nan may go unseen, though it has reached outputs that do not see it.

        A product in lanes spreads a nan among neighbours. It shows in results and gradients, unless
        something selects by a comparison, or the results are no floats.
        """
        if any(step.function in HIDING for step in self.recording.steps):
            return True
        results = [self.recording.arrays[ref.index] for ref in _refs(self._outcome())]
        return any(array.dtype.kind != "f" for array in results)

    def _final_gradients(self) -> list[tuple[Any, Ref | None]]:
        return list(self.recording.gradients.values())

    def _plan(self) -> None:
        self._plan_homes()
        self._plan_lanes()
        for index in sorted(self.recording.sources):
            if self.recording.sources[index].kind != "view":
                self._source(index, self.recording.sources[index])
        verified = self._guarded
        for step in self.recording.steps:
            for ref in _refs(step.args):
                self._view(ref.index)
            if step.is_effect:
                self._refuse_old_values(step)
            if step.is_effect and not verified:
                verified = self._verify()
            self._lower(step)
            for ref in _refs(step.args):
                self._release(ref.index)
        for ref in _refs(self._outcome()):
            self._view(ref.index)
        if not verified:
            self._verify()
        elif self._guarded:
            self._targets.clear()
            self.flat_gradient = None

    def _refuse_old_values(self, effect: Step) -> None:
        """Refuse a view of a parameter that is still to be read when the parameter has changed."""
        changed = [self._view(ref.index) for ref in _refs(effect.args[0])]
        own = {ref.index for ref in _refs(effect.args)}
        for index in self.arrays.keys() - own - self._constant:
            array = self.arrays[index]
            if self._pending[index] and any(np.may_share_memory(array, w) for w in changed):
                raise NotReplayable(
                    "compile: the function cannot be replayed: it uses the old values of a "
                    "parameter that it has updated. Take a copy of them, such as w + 0."
                )

    def _outcome(self) -> Any:
        return self.recording.result, [g for _, g in self._final_gradients()]

    def _verify(self) -> bool:
        """Have gradients and results checked before they take effect; see :class:`NotFinite`."""
        for index, target in self._targets.items():
            if self.arrays[index] is not target:  # the gradient is a view
                self.calls.append((np.copyto, (target, self.arrays[index])))
        indices = {ref.index for ref in _refs(self._outcome())} & self.arrays.keys()
        found = [self.arrays[i] for i in sorted(indices) if i not in self._targets]
        if self._targets and self.flat_gradient is not None:
            found.append(self.flat_gradient)
        if self._every_lane:  # a product in lanes spreads a nan, which an activation may hide
            found += [a for a in self.arguments if a is not None]
        found = [a for a in found if a.dtype.kind == "f"]
        self.calls.append((_check_finite, (found,)))
        return True

    def _plan_homes(self) -> None:
        """Lay the leaves that an optimizer updates side by side, and all gradients likewise."""
        arrays = self.recording.arrays
        for step in self.recording.steps:
            if step.is_update and not any(r.index in self._homes for r in step.args[0]):
                flat, parts = side_by_side([arrays[ref.index] for ref in step.args[0]])
                if flat is not None:
                    indices = (ref.index for ref in step.args[0])
                    self._homes |= dict(zip(indices, parts, strict=True))
        leaves = self._order or [id(self.recording.sources[i].value) for i in self._homes]
        order = {leaf: n for n, leaf in enumerate(leaves)}
        found = [(order.get(id(p), len(order)), g) for p, g in self._final_gradients() if g]
        refs = [g for _, g in sorted(found, key=lambda pair: pair[0])]
        computed = {step.result.index for step in self.recording.steps if step.result}
        if len({g.index for g in refs} & computed) == len(refs) > 0:
            self.flat_gradient, parts = side_by_side([arrays[g.index] for g in refs])
            if self.flat_gradient is not None:
                self._targets = {g.index: part for g, part in zip(refs, parts, strict=True)}

    def _plan_lanes(self) -> None:
        """Find which arrays are to stand in lanes: all between one convolution and the next."""
        steps = [step for step in self.recording.steps if _in_lanes(step, self.recording)]
        self._gap = max((_taps(step, self.recording) - 1 for step in steps), default=0)
        sizes = [_sizes(step, self.recording) for step in steps]
        self._room = max((max(lanes.room(*s), blocks.room(*s)) for s in sizes), default=0)
        longest = max((a.shape[1] for a in self.recording.arrays if a.ndim == 3), default=0)
        multiple = lanes.common(sizes, longest)
        self._find_biases()
        for _ in range(2 if steps else 0):  # again, for what was made before it was known
            for step in self.recording.steps:
                together = _series_of(step, self.recording)
                lengths = [self.recording.arrays[i].shape[1] for i in together]
                known = [self._pitch[i] for i in together if i in self._pitch]
                if known or _in_lanes(step, self.recording):
                    pitch = known[0] if known else max(lengths) + self._gap
                    for i in together:
                        self._pitch.setdefault(i, -(-pitch // multiple) * multiple)
        for i, pitch in list(self._pitch.items()):
            if self.recording.arrays[i].shape[1] > pitch:
                del self._pitch[i]

    def _assigned(self) -> set[int]:
        """Return the leaves that the call gives new data itself."""
        return {
            ref.index
            for step in self.recording.steps
            if step.is_effect
            for ref in _refs(step.args[0])
        }

    def _find_biases(self) -> None:
        """Find convolutions of which nothing is used but their sum with a bias, the next step."""
        steps, arrays = self.recording.steps, self.recording.arrays
        for step, after in itertools.pairwise(steps):
            if step.function is not conv.conv.forward or after.function is not np.add:
                continue
            y, others = step.result, [ref for ref in after.args if ref != step.result]
            if len(others) == 1 and isinstance(others[0], Ref) and y and after.result:
                bias, product, total = (arrays[i.index] for i in (others[0], y, after.result))
                fits = bias.shape == product.shape[-1:] and bias.dtype == product.dtype
                if fits and total.dtype == product.dtype and self._pending[y.index] == 1:
                    self._biased[y.index] = others[0], after.result.index

    def _new_lane(self, index: int, like: Like) -> lanes.Lane:
        lane = lanes.Lane(like.shape, self._pitch[index], self._gap, self._room, like.dtype)
        self._lanes[index] = lane
        self._every_lane.append(lane)
        return lane

    def _as_lane(self, ref: Ref, pitch: int) -> lanes.Lane:
        """Return the lane of an array; one that has none is copied into one."""
        lane = self._lanes.get(ref.index)
        array = self.arrays[ref.index]
        if lane is None or lane.pitch != pitch or lane.array is not array:
            lane = lanes.Lane(array.shape, pitch, self._gap, self._room, array.dtype)
            self._every_lane.append(lane)
            self.calls.append((np.copyto, (lane.array, array)))
        return lane

    def _gaps_suffice(self, step: Step) -> bool:
        """Tell whether the zeros behind each series are enough for the padding."""
        reach = max(step.params["padding"])
        if step.function is conv.conv_input.forward:
            reach = _taps(step, self.recording) - 1 - min(step.params["padding"])
        series = _series_of(step, self.recording)
        pitch = self._pitch.get(series[0], 0)
        room = pitch - self.recording.arrays[series[0]].shape[1]
        return reach <= room and all(self._pitch.get(i) == pitch for i in series)

    def _lower_conv(self, step: Step, like: Like) -> None:
        """Add the calls of a convolution, or of one of its adjoints, on lanes."""
        left = step.params["padding"][0]
        a, b = step.args
        pitch = self._pitch[_series_of(step, self.recording)[0]]
        first = self._as_lane(a, pitch)
        if self._hides:
            self.calls.append((_check_finite, ([first.array],)))
        if step.function is conv.conv_kernel.forward:
            second, out = self._as_lane(b, pitch), self._out(step, like)
            way = self._way(step, first, ("x", a, left), ("g", b))
            self.calls += way.correlate_kernel(first, second, left, out)
            return
        self._out(step, like)
        index = step.result.index if step.result is not None else -1
        kernel, second = self.value(b), self._lanes[index]
        of_kernel = "kernel", b, len(self.calls) if self._guarded else 0
        if step.function is conv.conv_input.forward:
            way = self._way(step, first, ("g", a), of_kernel)
            self.calls += way.correlate_input(first, kernel, left, second)
            return
        bias = None
        if index in self._biased:
            ref, total = self._biased[index]
            bias, self._summed[total] = self._view(ref.index), index
        way = self._way(step, first, ("x", a, left), of_kernel)
        self.calls += way.correlate(first, kernel, left, second, bias)

    def _way(self, step: Step, lane: lanes.Lane, *names: Any) -> Any:
        """Return what has the three maps as methods: direct products, or block transforms."""
        sizes = _sizes(step, self.recording)
        size = blocks.best_size(*sizes)
        if size is None:
            return lanes
        return blocks.Blocks(
            size, sizes[0], lane, self._known, [(*n, size, sizes[0]) for n in names]
        )

    def _source(self, index: int, source: Source) -> None:
        like = source.array
        if source.kind == "constant":
            self.arrays[index] = like
            if source.made:
                self._constant.add(index)
            return
        home = self._homes.get(index)
        if home is None and index in self._pitch and like.ndim == 3 and like.dtype.kind == "f":
            home = self._new_lane(index, like).array
        elif home is None:
            home = aligned(like.shape, like.dtype)
        self.arrays[index] = home
        if source.kind == "argument":
            self.arguments[source.value] = home
        elif source.kind == "variable":
            if index in self._homes or index in self._assigned():
                self._owned.append((source.value, home))
            else:
                self._read.append([source.value, home, None])
        elif source.kind == "gradient":
            self.calls.append((_refill, (home, partial(getattr, source.value, "_grad"))))
        elif source.kind == "fresh":
            self.calls.append((_refill, (home, source.value)))

    def _view(self, index: int) -> np.ndarray:
        """Return the array of a number, made now if it is a view that NumPy took of another."""
        if index not in self.arrays:
            base, offset = self.recording.sources[index].value
            like, whole = self.recording.sources[index].array, self._view(base.index)
            if not whole.flags.c_contiguous:
                raise NotReplayable("compile: a view of an array that is not laid out in one piece")
            self.arrays[index] = np.ndarray(
                like.shape, like.dtype, whole.reshape(-1).view(np.uint8), offset, like.strides
            )
        return self.arrays[index]

    def value(self, x: Any) -> Any:
        """Return the planned array of a Ref, and plain values as they are."""
        return self.arrays[x.index] if isinstance(x, Ref) else x

    def _lower(self, step: Step) -> None:
        """Add the calls that repeat a step."""
        args = () if step.is_update else tuple(map(self.value, step.args))
        if step.result is None:
            self.calls.append(self._effect(step, args))
            return
        like = self.recording.arrays[step.result.index]
        if _in_lanes(step, self.recording) and self._gaps_suffice(step):
            self._lower_conv(step, like)
            return
        index = step.result.index
        if index in self._summed:
            self._share(index, self._summed[index], self.arrays[self._summed[index]])
            return
        if step.function in CONVERSIONS and self._private(step, like):
            self._share(index, step.args[0].index, args[0])
            return
        if step.view:
            y = np.asarray(step.function(*args, **step.params))
            for ref in _refs(step.args):
                if np.may_share_memory(y, self.arrays[ref.index]):
                    self._share(index, ref.index, y)
                    return
        refs = _refs(step.args)
        if all(ref.index in self._constant for ref in refs) and index not in self._targets:
            self.arrays[index] = np.asarray(step.function(*args, **step.params))
            self._constant.add(index)
            return
        self._compute(step, args, like)

    def _compute(self, step: Step, args: tuple[Any, ...], like: Like) -> None:
        """Add the calls of an operation that fills an array of its own."""
        function, kwargs = step.function, step.params
        guarded = function is ops.guarded_multiply.forward or function is ops.guarded_divide.forward
        if guarded and not self._guarded:
            function = np.multiply if function is ops.guarded_multiply.forward else np.divide
        if isinstance(function, np.ufunc) and not kwargs:
            out = self._out(step, like, inplace=function is not np.matmul)
            if function is not np.matmul:
                args, out = self._whole(step, function, self._fixed(args), out)
            if function in (np.maximum, np.minimum):  # three times as fast with a row of numbers
                row = ops.long_row(out.shape)
                args = tuple(
                    a if isinstance(x, Ref) else np.full(row, a, out.dtype)
                    for x, a in zip(step.args, args, strict=True)
                )
            self.calls.append(_with_out(function, args, out))
        elif isinstance(getattr(function, "__self__", None), np.ufunc) and kwargs.keys() <= {
            *("axis", "keepdims", "dtype")
        }:
            how = kwargs.get("axis", 0), kwargs.get("dtype")
            out = self._out(step, like)
            self.calls.append((function, (*args, *how, out, kwargs.get("keepdims", False))))
        else:
            lane = self._lane_at(step.args[0], args[0]) if step.args else None
            out = self._out(step, like)
            if function is ops.sum_to.forward and lane is not None and like.ndim == 1:
                self.calls.append(lanes.total(lane, out))
            else:
                self.calls.append((_run, (function, args, kwargs, out)))

    def _fixed(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return arguments as NumPy takes them fastest: scalars as arrays of the others' dtype."""
        dtypes = [a.dtype for a in args if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
        plain = dtypes and all(d == dtypes[0] for d in dtypes)
        fixed = []
        for a in args:
            if plain and type(a) in (int, float):
                a = np.array(a, dtypes[0])
            elif isinstance(a, np.ndarray) and a.size > 1 and not any(a.strides):
                a = a[(slice(0, 1),) * a.ndim].reshape(())  # one number everywhere: a view of it
            fixed.append(a)
        return tuple(fixed)

    def _whole(
        self, step: Step, function: np.ufunc, args: tuple[Any, ...], out: np.ndarray
    ) -> tuple[tuple[Any, ...], np.ndarray]:
        """Return arguments and output as lanes with their gaps, if zeros stay zeros there.

        They lie in one piece, which NumPy runs through two to four times as fast.
        """
        lane = self._lane_at(step.result, out)
        if lane is None:
            return args, out
        bodies, gaps = [], []  # and what may stand in the gap of each: zeros of either sign
        for ref, array in zip(step.args, args, strict=True):
            other = self._lane_at(ref, array)
            if other is not None and lane.fits(other):
                bodies.append(other.body)
                zero = array.dtype.type(0)
                gaps.append([zero, -zero] if array.dtype.kind == "f" else [zero])
            elif np.ndim(array) == 0 and not isinstance(ref, Ref):
                bodies.append(array)
                gaps.append([array])
            else:
                return args, out
        with np.errstate(all="ignore"):
            changed = any(function(*zeros) for zeros in itertools.product(*gaps))
        return (args, out) if changed else (tuple(bodies), lane.body)

    def _lane_at(self, ref: Any, array: Any) -> lanes.Lane | None:
        """Return the lane that an array is the view of, if any."""
        lane = self._lanes.get(ref.index) if isinstance(ref, Ref) else None
        return lane if lane is not None and lane.array is array else None

    def _effect(self, step: Step, args: tuple[Any, ...]) -> Call:
        if not step.is_update:
            return step.function, args
        weights, gradients = ([self.arrays[ref.index] for ref in refs] for refs in step.args[:2])
        return step.function(weights, gradients, step.args[2]), ()

    def _private(self, step: Step, like: Like) -> bool:
        """Tell whether a copy in the same dtype is needless: nobody writes to its source."""
        ref = step.args[0]
        source = self.recording.sources.get(ref.index) if isinstance(ref, Ref) else None
        own = source is not None and source.kind == "argument"
        return isinstance(ref, Ref) and own and self.arrays[ref.index].dtype == like.dtype

    # ------------------------------------------------------------ memory

    def _out(self, step: Step, like: Like, *, inplace: bool = False) -> np.ndarray:
        """Return memory for a result: an argument's that dies here, a free block, or a new one."""
        index = step.result.index if step.result is not None else -1
        if index in self._targets:
            self.arrays[index] = self._targets[index]
            return self._targets[index]
        if inplace:
            for ref in _refs(step.args):
                block = self._blocks.get(ref.index)
                array = self.arrays[ref.index]
                if (
                    block is not None
                    and block.holders == {ref.index}
                    and self._pending[ref.index] == 1
                    and array.shape == like.shape
                    and array.dtype == like.dtype
                    and array.flags.writeable  # not a broadcast view
                    and (index not in self._pitch or self._lane_fits(ref.index, index))
                ):
                    block.holders = {index}
                    del self._blocks[ref.index]
                    self._blocks[index] = block
                    self.arrays[index] = array
                    if ref.index in self._lanes:
                        self._lanes[index] = self._lanes[ref.index]
                    return array
        if index in self._pitch and like.ndim == 3:
            return self._lane_out(index, like)
        fits = [
            b
            for b in self._free
            if isinstance(b, Block) and like.nbytes <= b.memory.nbytes <= 2 * like.nbytes + 4096
        ]
        if fits:
            block = min(fits, key=lambda b: b.memory.nbytes)
            self._free.remove(block)
        else:
            block = Block(aligned((like.nbytes,), np.uint8))
        block.holders = {index}
        self._blocks[index] = block
        array = block.memory[: like.nbytes].view(like.dtype).reshape(like.shape)
        self.arrays[index] = array
        return array

    def _lane_fits(self, index: int, result: int) -> bool:
        lane = self._lanes.get(index)
        return lane is not None and lane.pitch == self._pitch[result]

    def _lane_out(self, index: int, like: Like) -> np.ndarray:
        """Return a lane's array for a result: of a lane that is free, or of a new one."""
        for lane in self._free:
            if (
                isinstance(lane, lanes.Lane)
                and lane.array.shape == like.shape
                and lane.array.dtype == like.dtype
                and lane.pitch == self._pitch[index]
            ):
                self._free.remove(lane)
                self._lanes[index] = lane
                break
        else:
            lane = self._new_lane(index, like)
        lane.holders = {index}
        self._blocks[index] = lane
        self.arrays[index] = lane.array
        return lane.array

    def _share(self, index: int, with_: int, array: np.ndarray) -> None:
        self.arrays[index] = array
        lane = self._lanes.get(with_)
        if lane is not None and lane.array is array:
            self._lanes[index] = lane
        block = self._blocks.get(with_)
        if block is not None:
            block.holders.add(index)
            self._blocks[index] = block

    def _release(self, index: int) -> None:
        self._pending[index] -= 1
        block = self._blocks.get(index)
        if self._pending[index] == 0 and block is not None:
            block.holders.discard(index)
            del self._blocks[index]
            if not block.holders:
                self._free.append(block)

    # ------------------------------------------------------------ running

    def run(self, arguments: Sequence[np.ndarray]) -> None:
        """Replay on other arguments of the same shapes and dtypes."""
        self.load(arguments)
        self.settle()
        self.execute()

    def execute(self) -> None:
        """Make the calls, on the arguments and leaves as they stand in their homes."""
        try:
            for function, args in self.calls:
                function(*args)
        except BaseException:
            for lane in self._every_lane:  # a product may have filled the gaps
                lane.empty_gaps()
            raise

    def load(self, arguments: Sequence[np.ndarray]) -> None:
        """Take over the arguments."""
        for home, given in zip(self.arguments, arguments, strict=True):
            if home is not None:
                np.copyto(home, given)

    def settle(self) -> None:
        """Take over the data of leaves that were given others since the last replay."""
        for leaf, home in self._owned:
            if leaf._data is not home:
                np.copyto(home, leaf._data)
                leaf._data, leaf._hold = home, graph.REPLAYED
        for entry in self._read:
            leaf, copy, last = entry
            if leaf._data is not last or leaf._hold in (graph.EXPOSED, graph.REPLAYED):
                np.copyto(copy, leaf._data)
                entry[2] = leaf._data

    def hand_out(self) -> Any:
        """Set the gradients as the recorded call did, and return its result, in fresh arrays."""
        for leaf, gradient in self.gradients():
            leaf._grad = None if gradient is None else np.array(gradient)
        return self.result()

    def gradients(self) -> list[tuple[Any, np.ndarray | None]]:
        """Return the leaves whose gradients the call set, and those, in memory of the program."""
        return [
            (leaf, None if ref is None else self.arrays[ref.index])
            for leaf, ref in self._final_gradients()
        ]

    def result(self) -> Any:
        """Return what the call returned, in fresh arrays."""
        return record.mapped(self._handed_out, self.recording.result)

    def _handed_out(self, value: Any) -> Any:
        return value.make(self.arrays[value.ref.index]) if isinstance(value, Result) else value


def _in_lanes(step: Step, recording: Recording) -> bool:
    """Tell whether a step is a convolution, or an adjoint, that lanes can compute."""
    maps = conv.conv.forward, conv.conv_input.forward, conv.conv_kernel.forward
    if step.function not in maps or step.result is None:
        return False
    p = step.params
    arrays = [recording.arrays[ref.index] for ref in (*_refs(step.args), step.result)]
    return (
        p["strides"] == p["dilation"] == p["groups"] == 1
        and len(arrays) == 3
        and len({a.dtype for a in arrays}) == 1
        and all(a.size for a in arrays)
        and max(p["padding"]) < _taps(step, recording)
    )


def _taps(step: Step, recording: Recording) -> int:
    if step.function is conv.conv_kernel.forward:
        return int(step.params["kernel_size"])
    return int(recording.arrays[step.args[1].index].shape[0])


def _sizes(step: Step, recording: Recording) -> tuple[int, int, int]:
    channels, filters = (recording.arrays[i].shape[2] for i in _series_of(step, recording))
    return _taps(step, recording), channels, filters


def _series_of(step: Step, recording: Recording) -> list[int]:
    """Return the arrays of a step that stand in lanes of one pitch, if they stand in lanes."""
    if step.result is None:
        return []
    if _in_lanes(step, recording):
        kernel = step.function is conv.conv_kernel.forward
        series: tuple[Ref, ...] = step.args if kernel else (step.args[0], step.result)
        return [ref.index for ref in series]
    like = recording.arrays[step.result.index]
    elementwise = isinstance(step.function, np.ufunc) and step.function is not np.matmul
    if not (elementwise or step.function in (ops.guarded_multiply.forward, *CONVERSIONS)):
        return []
    refs = [step.result, *_refs(step.args)]
    arrays = [recording.arrays[ref.index] for ref in refs]
    return [
        ref.index
        for ref, array in zip(refs, arrays, strict=True)
        if array.shape == like.shape and array.ndim == 3 and array.dtype.kind in "fb"
    ]


def _refs(value: Any) -> list[Ref]:
    """Return all Refs in nested tuples, lists, dicts and results."""
    if isinstance(value, Ref):
        return [value]
    if isinstance(value, (tuple, list)):
        return [ref for part in value for ref in _refs(part)]
    if isinstance(value, dict):
        return [ref for part in value.values() for ref in _refs(part)]
    if isinstance(value, Result):
        return [value.ref]
    return []


class Result:
    """A place in what the function returns: which array, and as what it is handed out."""

    def __init__(self, ref: Ref, make: Callable[[np.ndarray], Any]) -> None:
        self.ref, self.make = ref, make

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Result) and self.ref == other.ref

    __hash__ = None  # type: ignore[assignment]


def _with_out(ufunc: np.ufunc, args: tuple[Any, ...], out: np.ndarray) -> Call:
    if ufunc in (np.maximum, np.minimum):  # of which NumPy wants no positional output
        return partial(ufunc, out=out), args
    return ufunc, (*args, out)


def _refill(home: np.ndarray, make: Callable[[], np.ndarray]) -> None:
    np.copyto(home, make())


def _work(call: Call) -> int:
    """Return the multiplications of one product of a matmul, 0 for another call."""
    function, args = call
    if function is _run:  # what it does is not known: a convolution with stride, for instance
        return 64 * int(args[3].size)
    if function is not np.matmul or args[0].ndim < 2:
        return 0
    return int(args[0].shape[-2] * args[0].shape[-1] * args[1].shape[-1])


def _run(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], out: np.ndarray
) -> None:
    np.copyto(out, function(*args, **kwargs))


def _ends_in_effects(steps: Sequence[Step]) -> bool:
    """Tell whether nothing is computed any more once something has been updated."""
    effects = [step.is_effect for step in steps]
    return not any(effects[:-1])


def _check_finite(arrays: Sequence[np.ndarray]) -> None:
    for array in arrays:
        if not math.isfinite(np.add.reduce(array, None) if array.ndim else array.item()):
            raise NotFinite
