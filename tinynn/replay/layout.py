"""Layout: which arrays stand in padded batches, and the convolutions between those.

All series of a batch stand end to end, with zeros between them that serve both neighbours as
padding (tinynn/kernels). So do the arrays that elementwise instructions make of them, all between
one convolution and the next, at one pitch: the number of steps from one series to the next.
"""

import itertools
from typing import Any

import numpy as np

from tinynn.autodiff.ops import convolution as conv
from tinynn.kernels import choose
from tinynn.kernels.padded_batch import Call, PaddedBatch
from tinynn.kernels.toeplitz import Toeplitz
from tinynn.replay.lowering import Instruction, Lowered
from tinynn.replay.recording import ArraySpec, Ref
from tinynn.replay.speculation import MAPS, read_by


class Layout:
    """Pitches by the number of an array, and the padded batches that were made.

    ``maps``: the convolutions and their adjoints that are computed in padded batches.
    """

    def __init__(self, lowered: Lowered) -> None:
        self.specs = lowered.specs
        self.steps = [step for step in lowered.steps if isinstance(step, Instruction)]
        self.batches: dict[int, PaddedBatch] = {}  # by id of the view of all series
        self.pitch: dict[int, int] = {}
        self._known: dict[Any, np.ndarray] = {}  # what the maps of one convolution share
        self.maps = {step for step in self.steps if step.op in MAPS and self._is_served(step)}
        if self.maps:
            self._find_pitches()
            self.maps = {step for step in self.maps if self._fits(step)}

    def _is_served(self, step: Instruction) -> bool:
        """Tell whether one of the three maps is of a kind that padded batches serve."""
        specs = [self.specs[ref.index] for ref in (*read_by(step), step.result)]
        p = step.params
        return (
            p["strides"] == p["dilation"] == p["groups"] == 1
            and len(specs) == 3 + (step.op is conv.conv and step.args[2] is not None)
            and len({spec.dtype for spec in specs}) == 1
            and specs[0].dtype.char in "fd"
            and all(spec.nbytes for spec in specs)
            and max(p["padding"]) < self._sizes(step)[0]
        )

    def _series(self, step: Instruction) -> list[int]:
        """Return the arrays of a step that stand at one pitch, if they stand in padded batches."""
        if step in self.maps:
            other = step.args[1] if step.op is conv.conv_kernel else step.result
            return [step.args[0].index, other.index]
        shape = self.specs[step.result.index].shape
        if not step.elementwise or len(shape) != 3:
            return []
        found = {i: self.specs[i] for (i,) in (step.result, *read_by(step))}
        return [i for i, s in found.items() if s.shape == shape and s.dtype.kind in "fb"]

    def _sizes(self, step: Instruction) -> tuple[int, int, int]:
        """Return taps, and the channels of both series, of a map."""
        kernel = step.result if step.op is conv.conv_kernel else step.args[1]
        taps, a, b = self.specs[kernel.index].shape
        return (taps, b, a) if step.op is conv.conv_input else (taps, a, b)

    def _find_pitches(self) -> None:
        """Give the arrays of a convolution one pitch, and pass it on through elementwise steps."""
        sizes = [self._sizes(step) for step in self.maps]
        longest = max(spec.shape[1] for spec in self.specs if len(spec.shape) == 3)
        self._gap = max(taps for taps, _, _ in sizes) - 1
        self._room = max(choose.room(*s) for s in sizes)
        multiple = Toeplitz.pitch_multiple(sizes, longest)
        for step in self.steps * 2:  # again, for what was made before it was known
            series = self._series(step)
            known = [self.pitch[i] for i in series if i in self.pitch]
            if known or step in self.maps:
                longest = max(self.specs[i].shape[1] for i in series)
                pitch = known[0] if known else -(-(longest + self._gap) // multiple) * multiple
                for i in series:
                    self.pitch.setdefault(i, pitch)
        self.pitch = {i: p for i, p in self.pitch.items() if self.specs[i].shape[1] <= p}

    def _fits(self, step: Instruction) -> bool:
        """Tell whether the zeros behind each series are enough for a map."""
        reach = max(step.params["padding"])
        if step.op is conv.conv_input:
            reach = self._sizes(step)[0] - 1 - min(step.params["padding"])
        pitches = {self.pitch.get(i, 0) for i in self._series(step)}
        return len(pitches) == 1 and reach + self.specs[step.args[0].index].shape[1] <= max(pitches)

    def new(self, spec: ArraySpec, pitch: int) -> PaddedBatch:
        """Return a new padded batch for an array."""
        batch = PaddedBatch(spec.shape, pitch, self._gap, self._room, spec.dtype)
        self.batches[id(batch.array)] = batch
        return batch

    def with_gaps(
        self, step: Instruction, args: tuple[Any, ...], out: np.ndarray
    ) -> tuple[tuple[Any, ...], np.ndarray]:
        """Return arguments and result of a ufunc with the gaps, if zeros stay zeros there.

        They lie in one piece, which NumPy runs through two to four times as fast.
        """
        batch = self.batches.get(id(out))
        if batch is None:
            return args, out
        bodies, gaps = [], []  # and what may stand in the gap of each: zeros of either sign
        for x, array in zip(step.args, args, strict=True):
            other = self.batches.get(id(array))
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
            changed = any(step.function(*z, **step.params) for z in itertools.product(*gaps))
        return (args, out) if changed else (tuple(bodies), batch.body)

    def convolution(
        self, step: Instruction, args: tuple[np.ndarray, ...], out: np.ndarray
    ) -> tuple[list[np.ndarray], list[Call]]:
        """Return the series that a map reads, and the calls that it consists of."""
        left, (a, b), calls = step.params["padding"][0], step.args[:2], list[Call]()
        names = {
            conv.conv: (("x", a, left), ("kernel", b)),
            conv.conv_input: (("g", a), ("kernel", b)),
            conv.conv_kernel: (("x", a, left), ("g", b)),
        }
        first = self._as_batch(step, a, args[0], calls)
        sizes, dtype = self._sizes(step), first.flat.dtype
        way = choose.way(*sizes, dtype, self._known, names[step.op])  # shares transforms by name
        if step.op is conv.conv_kernel:
            second = self._as_batch(step, b, args[1], calls)
            return [first.array, second.array], calls + way.kernel_gradient(
                first, second, left, out
            )
        y = self.batches[id(out)]
        if step.op is conv.conv_input:
            return [first.array], calls + way.input_gradient(first, args[1], left, y)
        return [first.array], calls + way.forward(first, args[1], left, y, args[2])

    def _as_batch(
        self, step: Instruction, x: Ref, array: np.ndarray, calls: list[Call]
    ) -> PaddedBatch:
        """Return an array as a padded batch; add the call that copies it there if need be."""
        batch, pitch = self.batches.get(id(array)), self.pitch[step.args[0].index]
        if batch is None or batch.pitch != pitch:
            batch = self.new(self.specs[x.index], pitch)
            calls.append((np.copyto, (batch.array, array)))
        return batch
