"""A program: what a recording does, as calls on fixed arrays; running it is a loop over a list."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn._trees import tree_map
from tinynn.autodiff.graph import EXPOSED
from tinynn.autodiff.tensor import Tensor
from tinynn.replay.lowering import lower
from tinynn.replay.planning import NotFinite, Planner, fill
from tinynn.replay.recording import Assign, Check, Recording, Ref, Returned, Step, Update
from tinynn.training.steps import quiet


class Program:
    """A recording bound to memory of its own; threads run it one after the other.

    ``order``: leaves whose final gradients are computed side by side into ``flat_gradient``, in
    their order, and not set on the leaves. A leaf without gradient has zeros there. The dtype is
    that of the leaves, the widest if they differ.

    ``draws``: arrays that the next execution uses in place of drawing, once; ``drawn``: those that
    the last one has used; ``light``: whether BLAS has to be kept from taking threads.
    """

    def __init__(self, recording: Recording, *, order: Sequence[Any] | None = None) -> None:
        lowered = lower(recording)
        plan = Planner(lowered, recording.gradients, order)
        self.calls, self.padded = plan.calls, plan.layout.batches.values()
        self.light = plan.light and not any(isinstance(part, Step) for part in lowered.late)
        self.flat_gradient = plan.flat_gradient
        self.draws: list[np.ndarray] | None = None
        self.drawn: list[np.ndarray] = []
        self._given, self._lock = plan.given, threading.RLock()
        self._sources, self._copied = plan.sources, plan.copied if order is not None else []
        self._leaves = [[leaf, array, None] for leaf, array in plan.sources["leaf"]]
        self._arrays = {ref: plan.arrays[same.index] for ref, same in lowered.kept.items()}
        self._late, self._read = lowered.late, lowered.read
        self._specs, self._result = recording.specs, recording.result
        given = {  # gradients with which an optimizer stepped last: these it has left already
            id(leaf): ref
            for part in lowered.late
            if isinstance(part, Update)
            for leaf, ref in zip(part.parameters, part.gradients, strict=True)
        }
        self._left = [
            (leaf, ref)
            for leaf, ref in recording.gradients
            if order is None and given.get(id(leaf), self) != ref
        ]

    def run(self, arguments: Sequence[np.ndarray]) -> Any:
        """Do what the recorded call did, for other arguments of the same shapes and dtypes.

        Returns its result, in fresh arrays, and sets the gradients that it left. Raises NotFinite
        before anything has been changed, if the call has to be run eagerly.
        """
        with self._lock:  # two predictions of one model, for instance
            self.load(arguments)
            with quiet():
                self.execute()
            for leaf, ref in self._left:
                leaf._grad = None if ref is None else self._arrays[ref].copy()
            return self.result()

    def load(self, arguments: Sequence[np.ndarray]) -> None:
        """Take over the arguments, leaves that changed since, and gradients from before."""
        for place, array in self._sources["argument"]:
            np.copyto(array, arguments[place])
        for place in self._given:
            self._given[place] = arguments[place]
        for entry in self._leaves:
            leaf, array, last = entry
            if leaf._data is not last or leaf._ownership is EXPOSED:
                np.copyto(array, leaf._data)
                entry[2] = leaf._data
        for leaf, array in self._sources["gradient"]:
            np.copyto(array, leaf._grad)

    def execute(self, whole: bool = False) -> None:
        """Make the calls, on the arguments and leaves as they were taken over.

        NumPy warns where it would, though what is not finite is found out as a whole. ``whole``:
        all calls are made even if one finds what is not finite, for others wait for the rest.
        """
        try:
            self._draw()
            failed: NotFinite | None = None
            for function, args in self.calls:
                try:
                    function(*args)
                except NotFinite as error:
                    if not whole:
                        raise
                    failed = error
            if failed is not None:
                raise failed
        except BaseException as error:
            for batch in self.padded:  # a product may have filled the gaps
                batch.empty_gaps()
            if isinstance(error, FloatingPointError):
                raise NotFinite("compile: NumPy raised it where eager code may not.") from error
            raise
        for part in self._late:
            self._do(part)
        for target, ref in self._copied:
            np.copyto(target, self._arrays[ref])

    def _do(self, part: Any) -> None:
        """Do what comes late: an effect, or a step as a whole."""
        arrays = self._arrays
        if isinstance(part, Assign):
            part.leaf._replace(arrays[part.value].copy())
        elif isinstance(part, Update):
            for leaf, ref in zip(part.parameters, part.gradients, strict=True):
                leaf._grad = None if ref is None else arrays[ref].copy()
            part.step()
            for leaf, ref in zip(part.parameters, part.results, strict=True):
                if ref in self._read:
                    arrays[ref] = leaf._data.copy()
        else:
            args = [arrays[x] if isinstance(x, Ref) else x for x in part.args]
            if isinstance(part, Check):
                part.check(*args)
                return
            spec = self._specs[part.result.index]
            arrays[part.result] = np.empty(spec.shape, spec.dtype)
            y = part.op.forward(*args, **part.params)
            fill(arrays[part.result], y, part.op.__name__, RuntimeError)

    def _draw(self) -> None:
        draws, self.draws, self.drawn = self.draws, None, []
        for i, (make, array) in enumerate(self._sources["draw"]):
            self.drawn.append(np.asarray(make() if draws is None else draws[i]))
            fill(array, self.drawn[-1], "a draw")

    def result(self) -> Any:
        """Return what the call returned, in fresh arrays."""
        return tree_map(self._handed_out, self._result)

    def _handed_out(self, x: Any) -> Any:
        if not isinstance(x, Returned):
            return x
        array = self._arrays[x.ref]
        if x.kind == "number":
            return array.item()
        if x.kind == "tensor":
            return Tensor._result(array.copy(), None)
        return array.copy() if array.ndim else array[()]  # a NumPy scalar, as of eager code
