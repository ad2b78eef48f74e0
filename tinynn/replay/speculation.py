"""Speculation: what a replay computes faster than it may, because a nan at the end will tell.

Before its first effect a call can still be run again eagerly. Until then two shortcuts are taken:
guarded products multiply plainly, and convolutions of padded batches spread a nan to neighbours.
Both differ from eager code only by a nan. It shows in a value that is kept, and checked, unless
something hides it; where something may, the shortcut is not taken, or what enters it is checked.
"""

from collections import defaultdict
from collections.abc import Sequence, Set
from contextlib import suppress
from typing import Any

import numpy as np

from tinynn._trees import tree_leaves
from tinynn.autodiff import ops
from tinynn.autodiff.ops import convolution as conv
from tinynn.replay.purity import is_own
from tinynn.replay.recording import ArraySpec, Assign, Recording, Ref, Returned, Step, Update

GUARDED = ops.guarded_multiply, ops.guarded_divide  # which are lowered to plain products
MAPS = conv.conv, conv.conv_input, conv.conv_kernel


def read_by(part: Any) -> list[Ref]:
    """Return what a step or effect reads; twice what it reads twice."""
    if isinstance(part, Assign):
        return [part.value]
    inputs: Sequence[Any] = part.gradients if isinstance(part, Update) else part.args
    return [x for x in inputs if isinstance(x, Ref)]


def split(recording: Recording) -> tuple[list[Any], list[Any], set[Ref], set[Ref]]:
    """Return what comes before the first step of an optimizer, and the rest with all effects.

    New data of a leaf can wait until then. And what the rest and the end read, with that of it
    which the rest does not make.
    """
    parts = recording.steps
    first = next((n for n, part in enumerate(parts) if isinstance(part, Update)), len(parts))
    early = [part for part in parts[:first] if not isinstance(part, Assign)]
    late = [part for part in parts[:first] if isinstance(part, Assign)] + parts[first:]
    read = {x.ref for x in tree_leaves(recording.result) if isinstance(x, Returned)}
    read.update(ref for _, ref in recording.gradients if ref is not None)
    read.update(ref for part in late for ref in read_by(part))
    made = {part.result for part in late if isinstance(part, Step)}
    made.update(ref for part in late if isinstance(part, Update) for ref in part.results)
    return early, late, read, read - made


def hidden(parts: Sequence[Any], kept: Set[Ref], specs: Sequence[ArraySpec]) -> set[Ref]:
    """Return the results in which a nan may change what is kept without showing in it."""
    shown = {ref for ref in kept if specs[ref.index].dtype.kind in "fc"}
    found: set[Ref] = set()
    uses: dict[Ref, list[Step]] = defaultdict(list)
    for step in reversed([part for part in parts if isinstance(part, Step)]):
        ref = step.result  # of which all uses are known by now
        passing = [s for s in uses[ref] if s.op.passes_nan or s.op in GUARDED]
        if any(s.result in shown and _takes_all(s, ref, specs) for s in passing):
            shown.add(ref)
        elif ref not in shown and (passing != uses[ref] or any(s.result in found for s in passing)):
            found.add(ref)
        for x in set(read_by(step)):
            uses[x].append(step)
    return found


def _takes_all(step: Step, ref: Ref, specs: Sequence[ArraySpec]) -> bool:
    """Tell whether a step computes with every element of an argument: no derivative there is 0."""
    if step.op.elementwise or (step.op in MAPS and step.params["strides"] == 1):
        return True
    y, *arrays = [
        _ones(specs[x.index]) if isinstance(x, Ref) else x for x in (step.result, *step.args)
    ]
    with np.errstate(all="ignore"), suppress(Exception):  # ones that it does not take
        slope = step.op.vjp(step.args.index(ref), y, y, arrays, step.params)
        return is_own(step.op) and bool(np.all(slope))
    return False


def _ones(spec: ArraySpec) -> np.ndarray:
    """Return ones, but zeros for what may be an index or a mask."""
    return np.full(spec.shape, spec.dtype.kind == "f", spec.dtype)
