"""Speculation: what a replay computes faster than it may, because a nan at the end will tell.

Before its first effect a call can still be run again eagerly. Until then two shortcuts are taken:
guarded products multiply plainly, and convolutions of padded batches spread a nan to neighbours.
Both differ from eager code only by a nan. It shows in a checked value, unless something hides it;
where something may, the shortcut is not taken, or what enters it is checked.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn._trees import tree_leaves
from tinynn.autodiff import ops
from tinynn.autodiff.ops import convolution as conv
from tinynn.replay.recording import Assign, Recording, Ref, Returned, Step, Update

GUARDED = ops.guarded_multiply, ops.guarded_divide  # which are lowered to plain products
DRAWN = np.random.default_rng(0).uniform(0.5, 1, 997)
MAPS = conv.conv, conv.conv_input, conv.conv_kernel


def is_own(op: Any) -> bool:
    """Tell whether an operation is one of tinynn's."""
    return bool(op.__module__.startswith("tinynn."))


def read_by(part: Any) -> list[Ref]:
    """Return what a step or effect reads; twice what it reads twice."""
    if isinstance(part, Assign):
        return [part.value]
    inputs: Sequence[Any] = part.gradients if isinstance(part, Update) else part.args
    return [x for x in inputs if isinstance(x, Ref)]


def read_at_the_end(recording: Any) -> list[Ref]:
    """Return what is read when all is computed: gradients and results."""
    returned = [x.ref for x in tree_leaves(recording.result) if isinstance(x, Returned)]
    return returned + [ref for _, ref in recording.gradients if ref is not None]


def read_after_effects(recording: Any) -> set[Ref]:
    """Return what is read by the first effect, after it, and at the end."""
    is_effect = [isinstance(part, (Assign, Update)) for part in recording.steps]
    first = is_effect.index(True) if any(is_effect) else len(is_effect)
    late = [ref for part in recording.steps[first:] for ref in read_by(part)]
    return {*late, *read_at_the_end(recording)}


class Visibility:
    """Which nans of a recording show, before its first effect, in values that are checked."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.checked = {
            ref
            for ref in read_after_effects(recording)
            if recording.specs[ref.index].dtype.kind in "fc"
        }
        self.uses: dict[Ref, list[Any]] = {}
        for part in recording.steps:
            if isinstance(part, (Assign, Update)):
                break
            if isinstance(part, Step):
                for ref in {x for x in part.args if isinstance(x, Ref)}:
                    self.uses.setdefault(ref, []).append(part)
        self._shown: dict[Ref, bool] = {}
        self._hidden: dict[Ref, bool] = {}
        self._settle()

    def hides(self, ref: Ref) -> bool:
        """Tell whether a nan in an array may change what is checked without showing in it."""
        return self._hidden.get(ref, True)

    def _settle(self) -> None:
        """Find it for all results, last ones first, so that each use is known already."""
        for ref in sorted({*self.uses, *self._results()}, reverse=True):
            uses = self.uses.get(ref, [])
            passing = [s for s in uses if s.op.passes_nan or s.op in GUARDED]
            self._shown[ref] = ref in self.checked or any(
                self._shown[s.result] and self._takes_all(s, ref) for s in passing
            )
            self._hidden[ref] = not self._shown[ref] and (
                len(passing) < len(uses) or any(self._hidden[s.result] for s in uses)
            )

    def _results(self) -> set[Ref]:
        return {part.result for part in self.recording.steps if isinstance(part, Step)}

    def _takes_all(self, step: Step, ref: Ref) -> bool:
        """Tell whether a step computes with every element of an argument."""
        if step.op.elementwise or (step.op in MAPS and step.params["strides"] == 1):
            return True
        return is_own(step.op) and self._depends_on_all(step, step.args.index(ref))

    def _depends_on_all(self, step: Step, i: int) -> bool:
        """Tell whether the gradient of an argument is nowhere zero, at a point without meaning."""
        arrays = [self._drawn(x) if isinstance(x, Ref) else x for x in step.args]
        y = self._drawn(step.result)
        try:
            with np.errstate(all="ignore"):
                return bool(
                    np.all(step.op.vjp(i, y[::-1] if y.ndim else y, y, arrays, step.params))
                )
        except Exception:  # an index that this is not, for instance
            return False

    def _drawn(self, ref: Ref) -> np.ndarray:
        spec = self.recording.specs[ref.index]
        array = DRAWN if spec.dtype.kind == "f" else np.zeros(1)
        return np.resize(array, spec.shape).astype(spec.dtype)
