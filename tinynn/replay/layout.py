"""Layout: which arrays stand in padded batches, and the convolutions between those.

All series of a batch stand end to end, with zeros between them that serve both neighbours as
padding (tinynn/kernels). So do the arrays that elementwise instructions make of them, all between
one convolution and the next, at one pitch: the number of steps from one series to the next.
"""

import itertools
from collections import Counter
from typing import Any

import numpy as np

from tinynn.autodiff.ops import convolution as conv
from tinynn.kernels import choose
from tinynn.kernels.padded_batch import Call, PaddedBatch, Way
from tinynn.kernels.toeplitz import Toeplitz
from tinynn.replay.lowering import Instruction
from tinynn.replay.recording import ArraySpec, Recording, Ref
from tinynn.replay.speculation import MAPS, read_at_the_end, read_by


class Layout:
    """Pitches by the number of an array, and the padded batches that were made."""

    def __init__(self, lowered: Recording) -> None:
        self.specs = lowered.specs
        self.steps = [step for step in lowered.steps if isinstance(step, Instruction)]
        self.maps = {step for step in self.steps if self._is_map(step)}
        self.batches: dict[int, PaddedBatch] = {}  # by number: of which its array is a view
        self.every: list[PaddedBatch] = []
        self.pitch: dict[int, int] = {}
        self.biases: dict[Ref, tuple[Ref, Ref]] = {}  # by a convolution's result: bias and sum
        self._known: dict[Any, np.ndarray] = {}  # what the maps of one convolution share
        if self.maps:
            self._find_sizes()
            self._find_pitches()
            self._find_biases(lowered)

    # ------------------------------------------------------------ which arrays

    def _is_map(self, step: Instruction) -> bool:
        """Tell whether a step is one of the three maps, and of a kind that padded batches serve."""
        if step.op not in MAPS:
            return False
        specs = [self.specs[ref.index] for ref in (*read_by(step), step.result)]
        p = step.params
        return (
            p["strides"] == p["dilation"] == p["groups"] == 1
            and len(specs) == 3
            and len({spec.dtype for spec in specs}) == 1
            and specs[0].dtype.char in "fd"
            and all(spec.size for spec in specs)
            and max(p["padding"]) < self._taps(step)
        )

    def _taps(self, step: Instruction) -> int:
        if step.op is conv.conv_kernel:
            return int(step.params["kernel_size"])
        return self.specs[step.args[1].index].shape[0]

    def _series(self, step: Instruction) -> list[int]:
        """Return the arrays of a step that stand at one pitch, if they stand in padded batches."""
        if step.op in MAPS:
            if step not in self.maps:
                return []
            kernel = step.op is conv.conv_kernel
            return [ref.index for ref in (step.args[0], step.args[1] if kernel else step.result)]
        if not step.elementwise:
            return []
        shape = self.specs[step.result.index].shape
        specs = {ref.index: self.specs[ref.index] for ref in (step.result, *read_by(step))}
        return [
            i for i, s in specs.items() if s.shape == shape and s.ndim == 3 and s.dtype.kind in "fb"
        ]

    def _sizes(self, step: Instruction) -> tuple[int, int, int]:
        channels, filters = (self.specs[i].shape[2] for i in self._series(step))
        return self._taps(step), channels, filters

    def _find_sizes(self) -> None:
        sizes = [self._sizes(step) for step in self.maps]
        longest = max(spec.shape[1] for spec in self.specs if spec.ndim == 3)
        self._gap = max(taps for taps, _, _ in sizes) - 1
        self._room = max(choose.room(*s) for s in sizes)
        self._multiple = Toeplitz.pitch_multiple(sizes, longest)

    def _find_pitches(self) -> None:
        """Give the arrays of a convolution one pitch, and pass it on through elementwise steps."""
        for _ in range(2):  # again, for what was made before it was known
            for step in self.steps:
                series = self._series(step)
                known = [self.pitch[i] for i in series if i in self.pitch]
                if known or step in self.maps:
                    lengths = [self.specs[i].shape[1] for i in series]
                    pitch = known[0] if known else max(lengths) + self._gap
                    for i in series:
                        self.pitch.setdefault(i, -(-pitch // self._multiple) * self._multiple)
        for i, pitch in list(self.pitch.items()):
            if self.specs[i].shape[1] > pitch:
                del self.pitch[i]

    def _find_biases(self, lowered: Recording) -> None:
        """Find convolutions of which nothing is used but the sum with a bias that is known then."""
        reads = Counter(ref for part in lowered.steps for ref in read_by(part))
        reads.update(read_at_the_end(lowered))
        made = {step.result: n for n, step in enumerate(self.steps)}
        place = {ref: n for n, step in enumerate(self.steps) for ref in read_by(step)}
        for n, step in enumerate(self.steps):
            y = step.result
            if step.op is not conv.conv or step not in self.maps or reads[y] != 1 or y not in place:
                continue
            after = self.steps[place[y]]
            others = [x for x in read_by(after) if x != y]
            if after.function is np.add and not after.exact and len(others) == 1:
                spec, total = self.specs[y.index], self.specs[after.result.index]
                bias = self.specs[others[0].index] == ArraySpec(spec.shape[-1:], spec.dtype)
                if bias and total == spec and made.get(others[0], -1) < n:
                    self.biases[y] = others[0], after.result

    # ------------------------------------------------------------ padded batches

    def new(self, spec: ArraySpec, pitch: int) -> PaddedBatch:
        """Return a new padded batch for an array."""
        self.every.append(PaddedBatch(spec.shape, pitch, self._gap, self._room, spec.dtype))
        return self.every[-1]

    def batch_at(self, x: Any, array: Any) -> PaddedBatch | None:
        """Return the padded batch of which the array of a Ref is the view, if any."""
        batch = self.batches.get(x.index) if isinstance(x, Ref) else None
        return batch if batch is not None and batch.array is array else None

    def with_gaps(
        self,
        step: Instruction,
        function: Any,
        args: tuple[Any, ...],
        out: np.ndarray,
    ) -> tuple[tuple[Any, ...], np.ndarray]:
        """Return arguments and result of a ufunc with the gaps, if zeros stay zeros there.

        They lie in one piece, which NumPy runs through two to four times as fast.
        """
        batch = self.batch_at(step.result, out)
        if batch is None:
            return args, out
        bodies, gaps = [], []  # and what may stand in the gap of each: zeros of either sign
        for x, array in zip(step.args, args, strict=True):
            other = self.batch_at(x, array)
            if other is not None and batch.fits(other):
                bodies.append(other.body)
                zero = array.dtype.type(0)
                gaps.append([zero, -zero] if array.dtype.kind == "f" else [zero])
            elif np.ndim(array) == 0 and not isinstance(x, Ref):
                bodies.append(array)
                gaps.append([array])
            else:
                return args, out
        with np.errstate(all="ignore"):
            changed = any(function(*zeros) for zeros in itertools.product(*gaps))
        return (args, out) if changed else (tuple(bodies), batch.body)

    # ------------------------------------------------------------ convolutions

    def serves(self, step: Instruction) -> bool:
        """Tell whether a step is a map for which the zeros behind each series are enough."""
        if step not in self.maps:
            return False
        reach = max(step.params["padding"])
        if step.op is conv.conv_input:
            reach = self._taps(step) - 1 - min(step.params["padding"])
        series = self._series(step)
        pitch = self.pitch.get(series[0], 0)
        room = pitch - self.specs[series[0]].shape[1]
        return reach <= room and all(self.pitch.get(i) == pitch for i in series)

    def convolution(
        self, step: Instruction, args: tuple[np.ndarray, ...], out: np.ndarray, bias: Any
    ) -> tuple[list[np.ndarray], list[Call]]:
        """Return the series that a map reads, and the calls that it consists of."""
        left, (a, b), calls = step.params["padding"][0], step.args, list[Call]()
        first = self._as_batch(step, a, args[0], calls)
        if step.op is conv.conv_kernel:
            second = self._as_batch(step, b, args[1], calls)
            way = self._way(step, first, ("x", a, left), ("g", b))
            calls += way.kernel_gradient(first, second, left, out)
            return [first.array, second.array], calls
        y = self.batches[step.result.index]
        if step.op is conv.conv_input:
            way = self._way(step, first, ("g", a), ("kernel", b))
            calls += way.input_gradient(first, args[1], left, y)
        else:
            way = self._way(step, first, ("x", a, left), ("kernel", b))
            calls += way.forward(first, args[1], left, y, bias)
        return [first.array], calls

    def _as_batch(
        self, step: Instruction, x: Ref, array: np.ndarray, calls: list[Call]
    ) -> PaddedBatch:
        """Return an array as a padded batch; add the call that copies it there if need be."""
        batch, pitch = self.batch_at(x, array), self.pitch[self._series(step)[0]]
        if batch is None or batch.pitch != pitch:
            batch = self.new(self.specs[x.index], pitch)
            calls.append((np.copyto, (batch.array, array)))
        return batch

    def _way(self, step: Instruction, batch: PaddedBatch, *names: Any) -> Way:
        """Return the way to compute a map, which shares transforms with other maps by name."""
        known = {} if step.exact else self._known  # of calls that may be left out
        return choose.way(*self._sizes(step), batch.flat.dtype, known, names)
